package rfc

import (
	"encoding/binary"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// reassembled puts the pieces of a packet together and checks the whole.
func reassembled(t *testing.T, pieces [][]byte) []byte {
	t.Helper()
	whole, err := pt.Reassemble(pieces)
	if err != nil {
		t.Fatal(err)
	}
	if err := pt.Check(whole); err != nil {
		t.Error("reassembled: ", err)
	}
	return whole
}

// RFC 7915 §4.1: packets that are too large.
func TestRFC7915_4_1_Size(t *testing.T) {
	row(t, "7915-4.1-01", func(t *testing.T) {
		x := newXlat(t, nil)
		data := random(1480-8, 2)
		out := x.pieces(pt.IP(noDF, pt.UDP(5000, 6001, data)))
		if len(out) != 2 {
			t.Fatalf("%d pieces, want 2", len(out))
		}
		a, b := ip6(out[0]), ip6(out[1])
		is(t, "first payload length", a.payloadLen(), 1240)
		is(t, "first offset", a.frag().off8(), 0)
		is(t, "first M", a.frag().more(), true)
		is(t, "first data", len(a)-48, 1232)
		is(t, "second payload length", b.payloadLen(), 256)
		is(t, "second offset", b.frag().off8(), 154)
		is(t, "second M", b.frag().more(), false)
		is(t, "second data", len(b)-48, 248)
		wantPacket(t, reassembled(t, out), pt.IP(as6, pt.UDP(5000, 6001, data)))

		// Whatever the size and the limit: no piece beyond it, all but the last
		// as long as can be.
		for _, low := range []int{1280, 1281, 1287, 1288, 1400, 1500} {
			x := newXlat(t, func(s *settings) { s.LowestIPv6MTU = low })
			for n := low - 40; n < 4*low; n += 97 {
				in := pt.IP(noDF, udp(n))
				out := x.pieces(in)
				for _, b := range out[:len(out)-1] {
					is(t, "bytes", len(b), 48+(low-48)/8*8)
				}
				if last := len(out[len(out)-1]); last > low {
					t.Errorf("last piece has %d bytes, more than %d", last, low)
				}
				wantPacket(t, reassembled(t, out), pt.IP(as6, udp(n)))
			}
		}
		// A next hop below the limit bounds the pieces too.
		x = newXlat(t, func(s *settings) { s.LowestIPv6MTU, s.MTU6 = 1500, 1300 })
		is(t, "bytes", len(x.pieces(pt.IP(noDF, udp(1400)))[0]), 48+1248)
	})

	row(t, "7915-4.1-02", func(t *testing.T) {
		x := newXlat(t, nil)
		whole := x.forward(pt.IP(noDF, udp(1260-28)))
		is(t, "bytes", len(whole), 1280)
		is(t, "next header", ip6(whole).next(), 17)
		out := x.pieces(pt.IP(noDF, udp(1261-28)))
		is(t, "pieces", len(out), 2)
		is(t, "first data", len(out[0])-48, 1232)
		is(t, "second data", len(out[1])-48, 9)
	})

	row(t, "7915-4.1-03", func(t *testing.T) {
		x := newXlat(t, nil)
		options := with(noDF, func(h *pt.Header) { h.Options = make([]byte, 40) })
		in := pt.IP(options, udp(1300-68))
		is(t, "bytes in", len(in), 1300)
		is(t, "IHL", in[0]&15, 15)
		out := x.forward(in)
		is(t, "bytes", len(out), 1280)
		wantPacket(t, out, pt.IP(as6, udp(1232)))
		is(t, "pieces", len(x.pieces(pt.IP(options, udp(1301-68)))), 2)
	})

	row(t, "7915-4.1-04", func(t *testing.T) {
		x := newXlat(t, nil)
		h := with(noDF, func(h *pt.Header) { h.TOS, h.TTL = 0xb9, 10 })
		for _, p := range []pt.Payload{udp(1472), pt.TCP(1, 2, pt.Bytes(1460, 1)), pt.EchoRequest(1, 2, pt.Bytes(1472, 1))} {
			out := x.pieces(pt.IP(h, p))
			for _, b := range out {
				is(t, "traffic class", ip6(b).tc(), 0xb9)
				is(t, "flow label", ip6(b).label(), 0)
				is(t, "hop limit", ip6(b).hopLimit(), 9)
				is(t, "identification", ip6(b).frag().id(), 0xbeef)
				wantEnds(t, b, "2001:db8:64::c633:6404 > 2001:db8:6::6")
			}
			// The checksum, wherever in the first piece it stands, is that of
			// the whole: for ICMPv6 over a pseudo-header with length 1480.
			wantPacket(t, reassembled(t, out),
				pt.IP(with(as6, func(h *pt.Header) { h.TOS, h.TTL = 0xb9, 9 }), p))
		}
	})

	row(t, "7915-4.1-05", func(t *testing.T) {
		x := newXlat(t, nil)
		data := pt.Bytes(1480, 3)
		for _, more := range []bool{true, false} {
			in := pt.IP(with(noDF, func(h *pt.Header) { h.Off8, h.MF = 185, more }), pt.Raw(17, data))
			out := x.pieces(in)
			is(t, "pieces", len(out), 2)
			wantPacket(t, out[0], pt.IP(as6, pt.Fragment(0xbeef, 185, true, pt.Raw(17, data[:1232]))))
			wantPacket(t, out[1], pt.IP(as6, pt.Fragment(0xbeef, 339, more, pt.Raw(17, data[1232:]))))
		}
	})

	row(t, "7915-4.1-06", func(t *testing.T) {
		x := newXlat(t, nil)
		in := pt.IP(pt.From4(), udp(1481-28))
		msg := x.err4(in, 3, 4)
		is(t, "bytes 4 and 5", be16(msg, 4), 0)
		is(t, "MTU", be16(msg, 6), 1480)
		wantBytes(t, "quote", msg[8:], in[:548])
		x.becomes(pt.IP(pt.From4(), udp(1480-28)), pt.IP(as6, udp(1480-28)))

		// Options count although they vanish: the rule names Total Length.
		options := with(pt.From4(), func(h *pt.Header) { h.Options = make([]byte, 40) })
		is(t, "MTU", be16(x.err4(pt.IP(options, udp(1481-68)), 3, 4), 6), 1480)
		x.forward(pt.IP(options, udp(1480-68)))

		// A fragment grows by 28, so 20 would let the source try in vain again.
		first := with(pt.From4(), func(h *pt.Header) { h.MF = true })
		is(t, "MTU for fragments", be16(x.err4(pt.IP(first, udp(1476-28)), 3, 4), 6), 1472)
		x.forward(pt.IP(first, udp(1468-28)))
	})

	row(t, "7915-4.1-07", func(t *testing.T) {
		x := newXlat(t, nil)
		out := x.forward(pt.IP(pt.From4(), udp(1480-28)))
		is(t, "bytes", len(out), 1500)
		is(t, "next header", ip6(out).next(), 17)
		for n := 1260 - 28; n <= 1480-28; n += 11 {
			is(t, "bytes", len(x.forward(pt.IP(pt.From4(), udp(n)))), 40+8+n)
		}
	})
}

// RFC 7915 §4.1: the fields of the IPv6 header.
func TestRFC7915_4_1_Fields(t *testing.T) {
	row(t, "7915-4.1-08", func(t *testing.T) {
		x := newXlat(t, nil)
		for _, s := range corpus(t) {
			if s.pkt[0]>>4 != 4 {
				continue
			}
			out, res := x.send(s.pkt)
			if res.Verdict == translate.Reply {
				continue
			}
			for _, b := range out {
				is(t, s.name+": version", b[0]>>4, 6)
			}
		}
	})

	row(t, "7915-4.1-09", func(t *testing.T) {
		x := newXlat(t, nil)
		is(t, "traffic class", ip6(x.forward(pt.IP(with(pt.From4(), func(h *pt.Header) { h.TOS = 0xb9 }), udp(4)))).tc(), 0xb9)
		for tos := range 256 {
			out := x.forward(pt.IP(with(pt.From4(), func(h *pt.Header) { h.TOS = uint8(tos) }), udp(4)))
			wantPacket(t, out, pt.IP(with(as6, func(h *pt.Header) { h.TOS = uint8(tos) }), udp(4)))
		}
	})

	row(t, "7915-4.1-10", func(t *testing.T) {
		x := newXlat(t, func(s *settings) { s.TOS4to6 = translate.TOS{Override: true} })
		for tos := range 256 {
			out := x.forward(pt.IP(with(pt.From4(), func(h *pt.Header) { h.TOS = uint8(tos) }), udp(4)))
			is(t, "traffic class", ip6(out).tc(), 0)
		}
		// Off, the byte counts again.
		out := newXlat(t, nil).forward(pt.IP(with(pt.From4(), func(h *pt.Header) { h.TOS = 0xb9 }), udp(4)))
		is(t, "traffic class", ip6(out).tc(), 0xb9)
	})

	row(t, "7915-4.1-11", func(t *testing.T) {
		x := newXlat(t, nil)
		for _, s := range corpus(t) {
			if s.pkt[0]>>4 != 4 {
				continue
			}
			out, res := x.send(s.pkt)
			if res.Verdict == translate.Reply {
				continue
			}
			for _, b := range out {
				is(t, s.name+": flow label", ip6(b).label(), 0)
			}
		}
	})

	row(t, "7915-4.1-12", func(t *testing.T) {
		x := newXlat(t, nil)
		in := pt.IP(pt.From4(), udp(8))
		is(t, "total length", ip4(in).totalLen(), 36)
		padded := append(in, make([]byte, 10)...) // an Ethernet frame has 46 bytes of data
		out := x.forward(padded)
		is(t, "payload length", ip6(out).payloadLen(), 16)
		is(t, "bytes", len(out), 56)
		wantPacket(t, out, pt.IP(as6, udp(8)))
		for options := 0; options <= 40; options += 4 {
			h := with(pt.From4(), func(h *pt.Header) { h.Options = make([]byte, options) })
			is(t, "payload length", ip6(x.forward(pt.IP(h, udp(8)))).payloadLen(), 16)
			h.DF, h.MF = false, true
			is(t, "payload length of a fragment", ip6(x.forward(pt.IP(h, udp(8)))).payloadLen(), 24)
		}
	})

	row(t, "7915-4.1-13", func(t *testing.T) {
		out := newXlat(t, nil).forward(pt.IP(pt.From4(), pt.EchoRequest(1, 2, nil)))
		is(t, "next header", ip6(out).next(), 58)
	})

	row(t, "7915-4.1-14", func(t *testing.T) {
		x := newXlat(t, nil)
		data := pt.Bytes(40, 7)
		for proto := range 256 {
			p := pt.Raw(uint8(proto), data)
			switch proto {
			case 0, 43, 44, 58, 60: // would mean an extension header or ICMPv6
				x.prohibited(pt.IP(pt.From4(), p), translate.NoProtocol)
				continue
			case 1, 2: // ICMP and IGMP have rows of their own
				continue
			case 6:
				p = pt.TCP(1, 2, data)
			case 17:
				p = udp(40)
			case 33:
				p = pt.DCCP(1, 2, data)
			case 136:
				p = pt.UDPLite(1, 2, 0, data)
			}
			out := x.forward(pt.IP(pt.From4(), p))
			is(t, "next header", int(ip6(out).next()), proto)
			wantPacket(t, out, pt.IP(as6, p))
		}
	})

	row(t, "7915-4.1-15", func(t *testing.T) {
		x := newXlat(t, nil)
		for ttl := 2; ttl <= 255; ttl++ {
			out := x.forward(pt.IP(with(pt.From4(), func(h *pt.Header) { h.TTL = uint8(ttl) }), udp(4)))
			is(t, "hop limit", int(ip6(out).hopLimit()), ttl-1)
		}
		out := x.pieces(pt.IP(with(noDF, func(h *pt.Header) { h.TTL = 10 }), udp(2000)))
		for _, b := range out {
			is(t, "hop limit of a piece", ip6(b).hopLimit(), 9)
		}
	})

	row(t, "7915-4.1-16", func(t *testing.T) {
		x := newXlat(t, nil)
		one := with(pt.From4(), func(h *pt.Header) { h.TTL = 1 })
		wantPacket(t, x.reply(pt.IP(one, udp(4))), hexBytes(t, `
			45 c0 003c 0000 0000 40 01 0000 c00002fe c6336404 # from 192.0.2.254 to 198.51.100.4
			0b 00 e15b 00000000                               # time exceeded in transit
			45 00 0020 0000 4000 01 11 8d8f c6336404 c0000206 # the packet
			1388 1771 000c e498 01020304`))

		for _, in := range [][]byte{
			pt.IP(one, udp(4)),
			pt.Edit(pt.IP(one, udp(4)), func(b []byte) { b[8] = 0 }),
			pt.IP(one, pt.EchoReply(1, 2, pt.Bytes(8, 0))),
			pt.IP(one, pt.EchoRequest(1, 2, pt.Bytes(8, 0))),
		} {
			msg := x.err4(in, 11, 0)
			is(t, "second word", be32(msg, 4), 0)
			wantBytes(t, "quote", msg[8:], in)
		}
		two := with(pt.From4(), func(h *pt.Header) { h.TTL = 2 })
		is(t, "hop limit", ip6(x.forward(pt.IP(two, udp(4)))).hopLimit(), 1)

		quote := pt.IP(sent4, udp(4))
		for ttl := range uint8(2) {
			in := pt.Edit(error4(3, 3, 0, quote), func(b []byte) { b[8] = ttl })
			x.drop(in, translate.HopLimit)
		}
	})

	row(t, "7915-4.1-17", func(t *testing.T) {
		out := newXlat(t, nil).forward(pt.IP(pt.From4(), udp(4)))
		wantBytes(t, "source", out[8:24], hexBytes(t, "2001 0db8 0064 0000 0000 0000 c633 6404"))
	})

	row(t, "7915-4.1-18", func(t *testing.T) {
		x := newXlat(t, nil)
		strange := newXlat(t, func(s *settings) { s.AllowClassE = true })
		from := func(src string) pt.Header { return pt.Header{Src: addr(src), Dst: pt.M4} }
		for _, src := range []string{
			"0.0.0.0", "0.1.2.3", "0.255.255.255", "127.0.0.0", "127.0.0.1", "127.255.255.255",
			"224.0.0.0", "224.0.0.5", "239.255.255.255", "255.255.255.255",
		} {
			for _, p := range []pt.Payload{udp(4), pt.TCP(1, 2, nil), pt.EchoRequest(1, 2, nil)} {
				x.drop(pt.IP(from(src), p), translate.IllegalSource)
				strange.drop(pt.IP(from(src), p), translate.IllegalSource)
			}
		}
		for _, src := range []string{"240.0.0.0", "240.0.0.1", "255.255.255.254"} {
			x.drop(pt.IP(from(src), udp(4)), translate.IllegalSource)
			strange.forward(pt.IP(from(src), udp(4)))
		}
		for _, src := range []string{"1.0.0.0", "126.255.255.255", "128.0.0.0", "223.255.255.255", "10.0.0.1"} {
			x.forward(pt.IP(from(src), udp(4)))
		}
	})

	row(t, "7915-4.1-19", func(t *testing.T) {
		x := newXlat(t, nil)
		quote, quote6 := pt.IP(sent4, udp(4)), pt.IP(sent4as6, udp(4))
		from := func(src string) []byte {
			return pt.IP(pt.Header{Src: addr(src), Dst: pt.M4}, pt.ICMP(11, 0, 0, quote))
		}
		for src, src6 := range map[string]string{
			"10.1.1.1":       "2001:db8:64::a01:101",
			"192.168.0.1":    "2001:db8:64::c0a8:1",
			"127.0.0.1":      "2001:db8:64::7f00:1",
			"0.0.0.0":        "2001:db8:64::",
			"0.1.2.3":        "2001:db8:64::1:203",
			"240.0.0.1":      "2001:db8:64::f000:1",
			"100.127.255.25": "2001:db8:64::647f:ff19",
		} {
			x.becomes(from(src), pt.IP(pt.Header{Src: addr(src6), Dst: pt.M6, TTL: 63}, pt.ICMP(3, 0, 0, quote6)))
		}
		// No host has these.
		x.drop(from("224.0.0.5"), translate.IllegalSource)
		x.drop(from("255.255.255.255"), translate.IllegalSource)

		// The well-known prefix must not stand for private addresses, in errors
		// neither: RFC 6052 §3.1 is stronger than the note in RFC 7915.
		strict := newXlat(t, func(s *settings) { s.Prefixes = prefixes("64:ff9b::/96") })
		strict.drop(from("10.1.1.1"), translate.NonGlobal)
	})

	row(t, "7915-4.1-20", func(t *testing.T) {
		out := newXlat(t, nil).forward(pt.IP(pt.From4(), udp(4)))
		wantBytes(t, "destination", out[24:40], hexBytes(t, "2001 0db8 0006 0000 0000 0000 0000 0006"))
	})
}

// RFC 7915 §4.1: IPv4 options.
func TestRFC7915_4_1_Options(t *testing.T) {
	options := func(opts ...byte) pt.Header {
		for len(opts)%4 != 0 {
			opts = append(opts, 0)
		}
		return with(pt.From4(), func(h *pt.Header) { h.Options = opts })
	}

	row(t, "7915-4.1-21", func(t *testing.T) {
		x := newXlat(t, nil)
		h := options(
			7, 7, 4, 0, 0, 0, 0, // record route
			68, 8, 5, 0, 0, 0, 0, 0, // timestamp
			1, // no operation
			0) // end of list
		in := pt.IP(h, udp(4))
		is(t, "IHL", in[0]&15, 10)
		out := x.forward(in)
		wantBytes(t, "ports", out[40:44], hexBytes(t, "1388 1771"))
		wantPacket(t, out, pt.IP(as6, udp(4)))

		// Lists that cannot be read end where they cannot be read.
		for _, h := range []pt.Header{
			options(7),                      // length missing
			options(1, 1, 1, 7),             // length missing at the very end
			options(7, 0, 0, 0),             // length 0: no way forward
			options(7, 1, 0x83, 3, 3),       // length 1
			options(7, 5, 0, 0),             // one byte beyond the header
			options(7, 255, 0, 0),           // far beyond
			options(7, 0, 0x83, 7, 4, 0, 0), // a source route after what cannot be read
			options(0, 0x83, 7, 4, 0, 0, 0), // a source route after the end
			options(0x83, 2, 1, 1),          // a source route without a pointer
			options(1, 1, 0x83, 7),          // a source route beyond the header
			options(1, 1, 1, 0x83),          // a source route without a length
		} {
			x.becomes(pt.IP(h, udp(4)), pt.IP(as6, udp(4)))
		}
		// And whatever the bytes, nothing worse than a refusal happens.
		for i := range 20_000 {
			n := 4 + i%10*4
			in := pt.IP(options(random(n, uint64(i))...), udp(4))
			out, res := x.checked(in)
			switch {
			case res.Verdict == translate.Forward:
				wantPacket(t, out[0], pt.IP(as6, udp(4)))
			case res.Reason != translate.SourceRoute:
				t.Errorf("%v (%v)\nin %x", res.Verdict, res.Reason, in)
			}
		}
	})

	row(t, "7915-4.1-22", func(t *testing.T) {
		x := newXlat(t, nil)
		in := pt.IP(options(0x83, 7, 4, 10, 0, 0, 1, 0), udp(4))
		msg := x.err4(in, 3, 5)
		is(t, "second word", be32(msg, 4), 0)
		wantBytes(t, "quote", msg[8:], in)
		for _, h := range []pt.Header{
			options(0x89, 7, 4, 10, 0, 0, 1, 0),                     // strict
			options(1, 1, 0x83, 7, 4, 10, 0, 0, 1, 0),               // after two bytes of nothing
			options(7, 3, 4, 0x89, 7, 7, 10, 0, 0, 1),               // after another option
			options(0x83, 11, 8, 10, 0, 0, 1, 10, 0, 0, 2, 0),       // one hop done, one to go
			options(0x83, 7, 8, 1, 1, 1, 1, 0x89, 7, 4, 1, 1, 1, 1), // the second one is unexpired
			options(0x83, 3, 3),                                     // the pointer points at itself
		} {
			x.err4(pt.IP(h, udp(4)), 3, 5)
		}
		for pointer := range 8 {
			x.err4(pt.IP(options(0x83, 7, byte(pointer), 10, 0, 0, 1), udp(4)), 3, 5)
		}
	})

	row(t, "7915-4.1-23", func(t *testing.T) {
		x := newXlat(t, nil)
		for _, option := range []byte{0x83, 0x89} {
			for pointer := 8; pointer < 256; pointer++ {
				in := pt.IP(options(option, 7, byte(pointer), 10, 0, 0, 1, 0), udp(4))
				x.becomes(in, pt.IP(as6, udp(4)))
			}
		}
	})
}

// RFC 7915 §4.1: the Fragment Header.
func TestRFC7915_4_1_Fragment(t *testing.T) {
	frag := func(off8 uint16, more bool) pt.Header {
		return with(noDF, func(h *pt.Header) { h.Off8, h.MF = off8, more })
	}
	first := func(n int) pt.Payload { return pt.Part(udp(100), 0, n) }

	row(t, "7915-4.1-24", func(t *testing.T) {
		x := newXlat(t, nil)
		is(t, "whole", ip6(x.forward(pt.IP(noDF, udp(4)))).next(), 17)
		is(t, "whole, DF", ip6(x.forward(pt.IP(pt.From4(), udp(4)))).next(), 17)
		is(t, "first fragment", ip6(x.forward(pt.IP(frag(0, true), first(16)))).next(), 44)
		is(t, "middle fragment", ip6(x.forward(pt.IP(frag(5, true), first(16)))).next(), 44)
		is(t, "last fragment", ip6(x.forward(pt.IP(frag(5, false), first(16)))).next(), 44)
		for _, b := range x.pieces(pt.IP(noDF, udp(1300))) {
			is(t, "piece", ip6(b).next(), 44)
		}
	})

	row(t, "7915-4.1-25", func(t *testing.T) {
		out := newXlat(t, nil).forward(pt.IP(frag(0, true), first(16)))
		is(t, "next header", ip6(out).next(), 44)
		is(t, "payload length", ip6(out).payloadLen(), 24)
		wantPacket(t, out, pt.IP(as6, pt.Fragment(0xbeef, 0, true, first(16))))
	})

	row(t, "7915-4.1-26", func(t *testing.T) {
		x := newXlat(t, nil)
		is(t, "of UDP", ip6(x.forward(pt.IP(frag(0, true), first(16)))).frag().next(), 17)
		for _, proto := range []uint8{6, 17, 33, 47, 50, 51, 59, 132, 136, 253} {
			out := x.forward(pt.IP(frag(2, false), pt.Raw(proto, pt.Bytes(24, 0))))
			is(t, "next header", ip6(out).frag().next(), proto)
		}
		for _, b := range x.pieces(pt.IP(noDF, pt.EchoRequest(1, 2, pt.Bytes(1472, 0)))) {
			is(t, "of an Echo Request", ip6(b).frag().next(), 58)
		}
	})

	row(t, "7915-4.1-27", func(t *testing.T) {
		x := newXlat(t, nil)
		is(t, "word", ip6(x.forward(pt.IP(frag(5, false), first(16)))).frag().word(), 0x0028)
		is(t, "word with M", ip6(x.forward(pt.IP(frag(5, true), first(16)))).frag().word(), 0x0029)
		for off8 := range uint16(8189) {
			in := pt.IP(frag(off8, true), first(16))
			out := ip6(x.forward(in))
			is(t, "offset", out.frag().word(), off8*8+1)
			if off8 > 0 {
				wantBytes(t, "data", out[48:], in[20:])
			}
		}
	})

	row(t, "7915-4.1-28", func(t *testing.T) {
		x := newXlat(t, nil)
		is(t, "M", ip6(x.forward(pt.IP(frag(0, true), first(16)))).frag().more(), true)
		is(t, "M", ip6(x.forward(pt.IP(frag(7, true), first(16)))).frag().more(), true)
		is(t, "M", ip6(x.forward(pt.IP(frag(7, false), first(16)))).frag().more(), false)
	})

	row(t, "7915-4.1-29", func(t *testing.T) {
		x := newXlat(t, nil)
		out := x.forward(pt.IP(frag(0, true), first(16)))
		wantBytes(t, "identification", out[44:48], []byte{0, 0, 0xbe, 0xef})
		for _, b := range x.pieces(pt.IP(noDF, udp(2000))) {
			wantBytes(t, "identification of a piece", b[44:48], []byte{0, 0, 0xbe, 0xef})
		}
	})

	row(t, "7915-4.1-30", func(t *testing.T) {
		x := newXlat(t, nil)
		for _, bits := range []uint16{0x0000, 0x4000, 0x8000, 0xc000} { // none, DF, reserved, both
			for _, word := range []uint16{0x2000, 0x2005, 0x0005} {
				in := pt.Edit(pt.IP(noDF, first(16)), func(b []byte) { binary.BigEndian.PutUint16(b[6:], bits|word) })
				out := ip6(x.forward(in))
				is(t, "reserved byte", out[41], 0)
				is(t, "fragment word", out.frag().word(), word<<3|word>>13)
			}
			// In a packet that is no fragment they do not make it one.
			in := pt.Edit(pt.IP(noDF, udp(8)), func(b []byte) { binary.BigEndian.PutUint16(b[6:], bits) })
			is(t, "next header", ip6(x.forward(in)).next(), 17)
		}
	})
}
