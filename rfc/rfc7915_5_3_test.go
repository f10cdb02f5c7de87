package rfc

import (
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// RFC 7915 §5.3: the packet in an ICMPv6 error.
func TestRFC7915_5_3(t *testing.T) {
	// unreachable expects a Port Unreachable about quote to become one about
	// quote4.
	unreachable := func(x *xlat, quote, quote4 []byte) {
		x.t.Helper()
		x.becomes(error6(1, 4, 0, quote), error6as4(3, 3, 0, quote4))
	}

	row(t, "7915-5.3-01", func(t *testing.T) {
		goldens(t, "V12")
		x := newXlat(t, nil)
		h, h4 := sent6, sent6as4
		h.TOS, h.FlowLabel, h4.TOS = 0xb9, 0xabcde, 0xb9
		for _, p := range []pt.Payload{
			udp(33), pt.TCP(1, 2, pt.Bytes(33, 0)), pt.DCCP(1, 2, pt.Bytes(33, 0)), pt.UDPLite(1, 2, 8, pt.Bytes(33, 0)),
			pt.EchoRequest(1, 2, pt.Bytes(33, 0)), pt.EchoReply(1, 2, pt.Bytes(33, 0)), pt.Raw(132, pt.Bytes(33, 0)),
		} {
			unreachable(x, pt.IP(h, p), pt.IP(h4, p))
		}
		// A datagram that had no checksum has none in the quote.
		none := pt.UDPNoSum(1, 2, pt.Bytes(4, 0))
		unreachable(x, pt.IP(h, none), pt.IP(h4, none))
	})

	row(t, "7915-5.3-02", func(t *testing.T) {
		x := newXlat(t, nil)
		for hops := range 256 {
			quote := pt.Edit(pt.IP(sent6, udp(4)), func(b []byte) { b[7] = uint8(hops) })
			out := x.forward(error6(3, 0, 0, quote))
			is(t, "quoted TTL", int(ip4(out[28:]).ttl()), hops)
			is(t, "TTL", ip4(out).ttl(), 63)
		}
	})

	row(t, "7915-5.3-03", func(t *testing.T) {
		goldens(t, "V12")
		x := newXlat(t, nil)
		for n := range 200 {
			out := x.forward(error6(1, 4, 0, pt.IP(sent6, udp(n))))
			is(t, "total length", ip4(out).totalLen(), 20+8+28+n)
			is(t, "bytes", len(out), 56+n)
		}
		// 576 bytes are the most that an ICMPv4 error should have.
		out := x.forward(error6(1, 4, 0, pt.IP(sent6, udp(1232-48))))
		is(t, "bytes", len(out), 576)
		wantPacket(t, out, error6as4(3, 3, 0, pt.IP(sent6as4, udp(1232-48))[:548]))
	})

	row(t, "7915-5.3-04", func(t *testing.T) {
		x := newXlat(t, nil)
		for typ := range 256 {
			for _, body := range [][]byte{nil, pt.IP(sent4as6, udp(4))} {
				p := pt.ICMP(uint8(typ), 0, 0x00010002, body)
				in := error6(3, 0, 0, pt.IP(sent6, p))
				switch {
				case typ == 128:
					x.becomes(in, error6as4(11, 0, 0, pt.IP(sent6as4, pt.ICMP(8, 0, 0x00010002, body))))
				case typ == 129:
					x.becomes(in, error6as4(11, 0, 0, pt.IP(sent6as4, pt.ICMP(0, 0, 0x00010002, body))))
				case typ < 128:
					x.drop(in, translate.ICMPQuotedError)
				default:
					x.drop(in, translate.ICMPQuote)
				}
			}
		}
		in := pt.IP(sent6, udp(4))
		for len(in) < 1400 {
			in = error6(1, 4, 0, in)
			if len(in) > 150 {
				x.drop(in, translate.ICMPQuotedError)
			}
		}
	})

	row(t, "7915-5.3-05", func(t *testing.T) {
		goldens(t, "V12") // quotes 68 of 1488 bytes
		x := newXlat(t, nil)
		for _, size := range []int{100, 1260, 1261, 1400, 1480} { // of the IPv4 packet
			whole, whole4 := pt.IP(sent6, udp(size-28)), pt.IP(with(sent6as4, func(h *pt.Header) { h.DF = size > 1260 }), udp(size-28))
			for n := 48; n < min(len(whole), 500); n += 9 {
				out := x.forward(error6(1, 4, 0, whole[:n]))
				is(t, "quoted total length", ip4(out[28:]).totalLen(), size)
				is(t, "quoted DF", ip4(out[28:]).df(), size > 1260)
				is(t, "sum of the quoted header", pt.Sum(out[28:48]), 0xffff)
				wantPacket(t, out, error6as4(3, 3, 0, whole4[:n-20]))
			}
		}
		// 65 515 bytes of data are the most that IPv4 can have.
		huge := pt.Edit(pt.IP(sent6, udp(64)), func(b []byte) { b[4], b[5] = 0xff, 0xeb })
		is(t, "quoted total length", ip4(x.forward(error6(1, 4, 0, huge))[28:]).totalLen(), 65535)
		huge[5]++
		x.drop(error6(1, 4, 0, huge), translate.ICMPQuote)
	})

	row(t, "7915-5.3-06", func(t *testing.T) {
		x := newXlat(t, nil)
		unreachable(x, pt.IP(sent6, pt.HopByHop(8, udp(64))), pt.IP(sent6as4, udp(64)))
		unreachable(x, pt.IP(sent6, pt.HopByHop(8, pt.DestOpts(24, pt.Routing(0, pt.TCP(1, 2, nil))))), pt.IP(sent6as4, pt.TCP(1, 2, nil)))
		unreachable(x, pt.IP(sent6, pt.HopByHop(8, pt.EchoRequest(1, 2, nil))), pt.IP(sent6as4, pt.EchoRequest(1, 2, nil)))

		frag := func(off8 uint16, more bool) pt.Header {
			return with(sent6as4, func(h *pt.Header) { h.ID, h.Off8, h.MF = 0xbeef, off8, more })
		}
		data := pt.Raw(17, pt.Bytes(64, 0))
		unreachable(x, pt.IP(sent6, pt.Fragment(0x1234beef, 185, true, data)), pt.IP(frag(185, true), data))
		unreachable(x, pt.IP(sent6, pt.DestOpts(8, pt.Fragment(0x1234beef, 185, false, data))), pt.IP(frag(185, false), data))
		first := pt.Part(udp(200), 0, 64)
		unreachable(x, pt.IP(sent6, pt.Fragment(0x1234beef, 0, true, first)), pt.IP(frag(0, true), first))
		unreachable(x, pt.IP(sent6, pt.Fragment(0x1234beef, 0, false, udp(1400)))[:100], pt.IP(frag(0, false), udp(1400))[:72])

		// But fragments of ICMP messages are not translated, quoted or not.
		echo := pt.EchoRequest(1, 2, pt.Bytes(56, 0))
		x.drop(error6(3, 1, 0, pt.IP(sent6, pt.Fragment(7, 0, true, echo))), translate.ICMPQuote)
		x.drop(error6(3, 1, 0, pt.IP(sent6, pt.Fragment(7, 8, false, echo))), translate.ICMPQuote)
		unreachable(x, pt.IP(sent6, pt.Fragment(0xbeef, 0, false, echo)), pt.IP(frag(0, false), echo))

		// A chain that is not all there, or that may go on in another fragment.
		whole := pt.IP(sent6, pt.HopByHop(8, pt.DestOpts(24, udp(64))))
		for n := 40; n < 72; n++ {
			x.drop(error6(1, 4, 0, whole[:n]), translate.ICMPQuote)
		}
		unreachable(x, whole[:72], pt.IP(sent6as4, udp(64))[:20])
		whole = pt.IP(sent6, pt.Fragment(7, 0, true, first))
		for n := 40; n < 48; n++ {
			x.drop(error6(1, 4, 0, whole[:n]), translate.ICMPQuote)
		}
		for _, next := range []uint8{0, 43, 44, 51, 60, 135, 139, 140} {
			x.drop(error6(1, 4, 0, pt.IP(sent6, pt.Fragment(7, 0, true, pt.Raw(next, pt.Bytes(64, 0))))), translate.ICMPQuote)
		}
	})

	row(t, "7915-5.3-07", func(t *testing.T) {
		x := newXlat(t, nil)
		quote := pt.IP(sent6, udp(64))
		for n := range 40 {
			x.drop(error6(1, 4, 0, quote[:n]), translate.ICMPQuote)
		}
		for version := range byte(16) {
			if version != 6 {
				x.drop(error6(1, 4, 0, pt.Edit(quote, func(b []byte) { b[0] = version << 4 })), translate.ICMPQuote)
			}
		}
		for _, a := range []string{
			"2001:db8:bad::1",                                        // neither mapped nor in P
			"2001:db8:64::", "2001:db8:64::7f00:1", "ff02::1", "::1", // never on an IPv4 wire
			"2001:db8:64::e000:1", "2001:db8:64::ffff:ffff",
		} {
			x.drop(error6(1, 4, 0, pt.IP(pt.Header{Src: pt.H4in6, Dst: addr(a)}, udp(64))), translate.ICMPQuote)
			x.drop(error6(1, 4, 0, pt.IP(pt.Header{Src: addr(a), Dst: pt.M6}, udp(64))), translate.ICMPQuote)
		}
	})
}
