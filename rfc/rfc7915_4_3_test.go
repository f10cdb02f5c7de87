package rfc

import (
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// RFC 7915 §4.3: the packet in an ICMPv4 error.
func TestRFC7915_4_3(t *testing.T) {
	// unreachable expects a Port Unreachable about quote to become one about
	// quote6.
	unreachable := func(x *xlat, quote, quote6 []byte) {
		x.t.Helper()
		x.becomes(error4(3, 3, 0, quote), error4as6(1, 4, 0, quote6))
	}

	row(t, "7915-4.3-01", func(t *testing.T) {
		goldens(t, "V11", "V18")
		x := newXlat(t, nil)
		h, h6 := sent4, sent4as6
		h.TOS, h6.TOS = 0xb9, 0xb9
		for _, p := range []pt.Payload{
			udp(33), pt.TCP(1, 2, pt.Bytes(33, 0)), pt.DCCP(1, 2, pt.Bytes(33, 0)), pt.UDPLite(1, 2, 8, pt.Bytes(33, 0)),
			pt.EchoRequest(1, 2, pt.Bytes(33, 0)), pt.EchoReply(1, 2, pt.Bytes(33, 0)), pt.Raw(132, pt.Bytes(33, 0)),
		} {
			unreachable(x, pt.IP(h, p), pt.IP(h6, p))
		}
	})

	row(t, "7915-4.3-02", func(t *testing.T) {
		x := newXlat(t, nil)
		for ttl := range 256 {
			// An expired TTL stands in every Time Exceeded.
			quote := pt.Edit(pt.IP(sent4, udp(4)), func(b []byte) { b[8] = uint8(ttl) })
			out := x.forward(error4(11, 0, 0, quote))
			is(t, "quoted hop limit", int(ip6(out[48:]).hopLimit()), ttl)
			is(t, "hop limit", ip6(out).hopLimit(), 63)
		}
	})

	row(t, "7915-4.3-03", func(t *testing.T) {
		x := newXlat(t, nil)
		out := x.forward(error4(3, 3, 0, pt.IP(sent4, udp(0))))
		is(t, "payload length", ip6(out).payloadLen(), 56)
		is(t, "bytes", len(out), 40+8+48)
		for n := range 200 {
			out := x.forward(error4(3, 3, 0, pt.IP(sent4, udp(n))))
			is(t, "payload length", ip6(out).payloadLen(), 56+n)
			is(t, "bytes", len(out), 96+n)
		}
	})

	row(t, "7915-4.3-04", func(t *testing.T) {
		x := newXlat(t, nil)
		for typ := range 256 {
			for _, body := range [][]byte{nil, pt.IP(sent6as4, udp(4))} {
				p := pt.ICMP(uint8(typ), 0, 0x00010002, body)
				in := error4(11, 0, 0, pt.IP(sent4, p))
				switch typ {
				case 0:
					x.becomes(in, error4as6(3, 0, 0, pt.IP(sent4as6, pt.ICMP(129, 0, 0x00010002, body))))
				case 8:
					x.becomes(in, error4as6(3, 0, 0, pt.IP(sent4as6, pt.ICMP(128, 0, 0x00010002, body))))
				case 3, 4, 5, 11, 12:
					x.drop(in, translate.ICMPQuotedError)
				default:
					x.drop(in, translate.ICMPQuote)
				}
			}
		}
		// Errors within errors within errors, as deep as they fit.
		in := pt.IP(sent4, udp(4))
		for len(in) < 1400 {
			in = error4(3, 3, 0, in)
			if len(in) > 100 {
				x.drop(in, translate.ICMPQuotedError)
			}
		}
	})

	row(t, "7915-4.3-05", func(t *testing.T) {
		goldens(t, "V11")
		x := newXlat(t, nil)
		whole, whole6 := pt.IP(sent4, udp(1472)), pt.IP(sent4as6, udp(1472))
		for n := 28; n < 500; n += 9 {
			out := x.forward(error4(3, 3, 0, whole[:n]))
			is(t, "quoted payload length", ip6(out[48:]).payloadLen(), 1480)
			wantPacket(t, out, error4as6(1, 4, 0, whole6[:n+20]))
		}
	})

	row(t, "7915-4.3-06", func(t *testing.T) {
		x := newXlat(t, nil)
		for _, p := range []struct {
			pt.Payload
			checksum int // where it ends, counted from the transport header
		}{
			{udp(100), 8},
			{pt.TCP(1, 2, pt.Bytes(100, 0)), 18},
			{pt.DCCP(1, 2, pt.Bytes(100, 0)), 8},
			{pt.UDPLite(1, 2, 8, pt.Bytes(100, 0)), 8},
			{pt.Raw(132, pt.Bytes(100, 0)), 0},
		} {
			whole, whole6 := pt.IP(sent4, p.Payload), pt.IP(sent4as6, p.Payload)
			for n := range 60 { // bytes of transport that are quoted
				in := error4(3, 3, 0, whole[:20+n])
				out := x.forward(in)
				if n < p.checksum {
					// It is not all there: it stays as it is, or is missing.
					wantBytes(t, "quoted transport", out[48+40:], whole[20:20+n])
					continue
				}
				wantPacket(t, out, error4as6(1, 4, 0, whole6[:40+n]))
			}
		}
		// A datagram that had no checksum has none in the quote.
		none := pt.UDPNoSum(1, 2, pt.Bytes(4, 0))
		unreachable(x, pt.IP(sent4, none), pt.IP(sent4as6, none))
	})

	row(t, "7915-4.3-07", func(t *testing.T) {
		x := newXlat(t, nil)
		frag := func(off8 uint16, more, df bool) pt.Header {
			return with(sent4, func(h *pt.Header) { h.ID, h.Off8, h.MF, h.DF = 0xbeef, off8, more, df })
		}
		data := pt.Raw(17, pt.Bytes(64, 0))
		unreachable(x, pt.IP(frag(185, false, false), data), pt.IP(sent4as6, pt.Fragment(0xbeef, 185, false, data)))
		unreachable(x, pt.IP(frag(185, true, true), data), pt.IP(sent4as6, pt.Fragment(0xbeef, 185, true, data)))
		first := pt.Part(udp(200), 0, 64)
		unreachable(x, pt.IP(frag(0, true, false), first), pt.IP(sent4as6, pt.Fragment(0xbeef, 0, true, first)))

		// But fragments of ICMP messages are not translated, quoted or not.
		echo := pt.EchoRequest(1, 2, pt.Bytes(56, 0))
		x.drop(error4(11, 1, 0, pt.IP(frag(0, true, false), echo)), translate.ICMPQuote)
		x.drop(error4(11, 1, 0, pt.IP(frag(8, false, false), echo)), translate.ICMPQuote)

		// Large and without DF: no reason to cut what has been sent already.
		large := pt.IP(frag(0, false, false), udp(1472))[:92]
		out := x.forward(error4(3, 3, 0, large))
		is(t, "quoted next header", ip6(out[48:]).next(), 17)
		wantPacket(t, out, error4as6(1, 4, 0, pt.IP(sent4as6, udp(1472))[:112]))
	})

	row(t, "7915-4.3-08", func(t *testing.T) {
		x := newXlat(t, nil)
		for n := 4; n <= 40; n += 4 {
			h := with(sent4, func(h *pt.Header) { h.Options = make([]byte, n) })
			unreachable(x, pt.IP(h, udp(64)), pt.IP(sent4as6, udp(64)))
			// An unexpired source route is no reason for an error about an error.
			h.Options[0] = 1
			if n >= 8 {
				copy(h.Options[1:], []byte{0x83, 7, 4, 10, 0, 0, 1})
			}
			unreachable(x, pt.IP(h, udp(64)), pt.IP(sent4as6, udp(64)))
		}
	})

	row(t, "7915-4.3-09", func(t *testing.T) {
		x := newXlat(t, nil)
		in := error4(3, 3, 0, pt.IP(sent4, udp(1500-56)))
		is(t, "bytes in", len(in), 1500)
		out := x.forward(in)
		is(t, "bytes", len(out), 1280)
		wantPacket(t, out, error4as6(1, 4, 0, pt.IP(sent4as6, udp(1500-56))[:1232]))
		is(t, "bytes at the limit", len(x.forward(error4(3, 3, 0, pt.IP(sent4, udp(1232-48))))), 1280)
		is(t, "bytes below the limit", len(x.forward(error4(3, 3, 0, pt.IP(sent4, udp(1231-48))))), 1279)
	})

	row(t, "7915-4.3-10", func(t *testing.T) {
		x := newXlat(t, nil)
		quote := pt.IP(sent4, udp(64))
		for n := range 20 {
			x.drop(error4(3, 3, 0, quote[:n]), translate.ICMPQuote)
		}
		for version := range byte(16) {
			if version != 4 {
				in := error4(3, 3, 0, pt.Edit(quote, func(b []byte) { b[0] = version<<4 | 5 }))
				x.drop(in, translate.ICMPQuote)
			}
		}
		for ihl := range byte(5) {
			x.drop(error4(3, 3, 0, pt.Edit(quote, func(b []byte) { b[0] = 0x40 | ihl })), translate.ICMPQuote)
		}
		for total := range byte(20) { // a total length within the header
			x.drop(error4(3, 3, 0, pt.Edit(quote, func(b []byte) { b[3] = total })), translate.ICMPQuote)
		}
		// A header of 60 bytes of which fewer are there.
		options := pt.IP(with(sent4, func(h *pt.Header) { h.Options = make([]byte, 40) }), udp(0))
		for n := 20; n < 60; n++ {
			x.drop(error4(3, 3, 0, options[:n]), translate.ICMPQuote)
		}

		// Without a prefix only mapped hosts can be quoted.
		r4 := translate.Map{IPv4: mustPrefix("203.0.113.1/32"), IPv6: mustPrefix("2001:db8:7::1/128")}
		mapsOnly := newXlat(t, func(s *settings) { s.Prefixes, s.Maps = nil, append(s.Maps, r4) })
		mapsOnly.drop(error4(3, 3, 0, quote), translate.ICMPQuote)
		back := pt.IP(pt.Header{Src: pt.M4, Dst: pt.R4}, udp(64))
		mapsOnly.forward(error4(3, 3, 0, back))
		// And no host sent a packet to or from these.
		for _, a := range []string{"0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1"} {
			x.drop(error4(3, 3, 0, pt.IP(pt.Header{Src: pt.M4, Dst: addr(a)}, udp(64))), translate.ICMPQuote)
			x.drop(error4(3, 3, 0, pt.IP(pt.Header{Src: addr(a), Dst: pt.H4}, udp(64))), translate.ICMPQuote)
		}
	})
}
