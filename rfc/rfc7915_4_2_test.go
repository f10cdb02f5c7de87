package rfc

import (
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// wkp46 is a translator that composes both sides with the well-known prefix.
func wkp46(t *testing.T) *xlat {
	return newXlat(t, func(s *settings) { s.Prefixes, s.Maps = prefixes("64:ff9b::/96"), nil })
}

// RFC 7915 §4.2: the checksum, the type, and queries.
func TestRFC7915_4_2_Queries(t *testing.T) {
	row(t, "7915-4.2-01", func(t *testing.T) {
		goldens(t, "V01")
		// Addresses that sum to nothing leave the rest of the pseudo-header and
		// the type: 8 → 128, length 24 and next header 58.
		x := wkp46(t)
		echo := pt.EchoRequest(1, 2, pt.Bytes(16, 0))
		in := pt.IP(between("8.8.8.8", "1.1.1.1"), echo)
		out := x.forward(in)
		want := pt.IP(with(between("64:ff9b::8.8.8.8", "64:ff9b::1.1.1.1"), func(h *pt.Header) { h.TTL = 63 }), echo)
		wantPacket(t, out, want)
		if be16(in, 22) == be16(out, 42) {
			t.Error("the checksum is that of ICMPv4")
		}
	})

	row(t, "7915-4.2-02", func(t *testing.T) {
		x := newXlat(t, nil)
		quote, quote6 := pt.IP(sent4, udp(64)), pt.IP(sent4as6, udp(64))
		for _, e := range []struct {
			typ, code   uint8
			word        uint32
			typ6, code6 uint8
			word6       uint32
		}{
			{3, 0, 0, 1, 0, 0},
			{3, 2, 0, 4, 1, 6},
			{3, 3, 0, 1, 4, 0},
			{3, 4, 1400, 2, 0, 1420},
			{11, 0, 0, 3, 0, 0},
			{12, 0, 8 << 24, 4, 0, 7},
		} {
			out := x.forward(error4(e.typ, e.code, e.word, quote))
			is(t, "version of the quoted packet", out[48]>>4, 6)
			wantPacket(t, out, error4as6(e.typ6, e.code6, e.word6, quote6))
		}
	})

	row(t, "7915-4.2-03", func(t *testing.T) {
		goldens(t, "V01")
		x := newXlat(t, func(s *settings) { s.MTU6 = 9000 })
		for _, n := range []int{0, 1, 7, 56, 1471, 1472} {
			data := random(n, uint64(n))
			for _, echo := range []pt.Payload{pt.EchoRequest(0x1234, 0xfffe, data), pt.EchoReply(0x1234, 0xfffe, data)} {
				x.becomes(pt.IP(pt.From4(), echo), pt.IP(as6, echo))
			}
		}
		request := x.forward(pt.IP(pt.From4(), pt.EchoRequest(0x1234, 1, nil)))
		reply := x.forward(pt.IP(pt.From4(), pt.EchoReply(0x1234, 1, nil)))
		wantBytes(t, "type and code of a request", request[40:42], []byte{128, 0})
		wantBytes(t, "type and code of a reply", reply[40:42], []byte{129, 0})
		wantBytes(t, "identifier and sequence number", request[44:48], []byte{0x12, 0x34, 0, 1})
	})

	// silent expects every code of the ICMPv4 type typ to end here, whatever it
	// carries.
	silent := func(x *xlat, typ int) {
		x.t.Helper()
		for _, body := range [][]byte{nil, pt.Bytes(12, 0), pt.IP(sent4, udp(64))} {
			for code := 0; code < 256; code += 5 {
				x.drop(pt.IP(pt.From4(), pt.ICMP(uint8(typ), uint8(code), 0, body)), translate.ICMPType)
			}
		}
		// Not even when an error would be due.
		one := with(pt.From4(), func(h *pt.Header) { h.TTL = 1 })
		x.drop(pt.IP(one, pt.ICMP(uint8(typ), 0, 0, nil)), translate.ICMPType)
	}
	row(t, "7915-4.2-04", func(t *testing.T) {
		for _, typ := range []int{13, 14, 15, 16, 17, 18} {
			silent(newXlat(t, nil), typ)
		}
	})
	row(t, "7915-4.2-05", func(t *testing.T) {
		silent(newXlat(t, nil), 9)
		silent(newXlat(t, nil), 10)
	})
	row(t, "7915-4.2-06", func(t *testing.T) {
		x := newXlat(t, nil)
		for typ := range 256 {
			switch typ {
			case 0, 3, 8, 11, 12:
			default:
				silent(x, typ)
			}
		}
	})
	row(t, "7915-4.2-07", func(t *testing.T) {
		for _, typ := range []int{4, 5, 6} {
			silent(newXlat(t, nil), typ)
		}
	})

	row(t, "7915-4.2-08", func(t *testing.T) {
		x := newXlat(t, nil)
		query := hexBytes(t, "11 64 ee9b 00000000") // membership query
		x.drop(pt.IP(pt.From4(), pt.Raw(2, query)), translate.NoProtocol)
		x.drop(pt.IP(with(pt.From4(), func(h *pt.Header) { h.TTL = 1 }), pt.Raw(2, query)), translate.NoProtocol)
		x.drop(pt.IP(with(noDF, func(h *pt.Header) { h.Off8 = 3 }), pt.Raw(2, query)), translate.NoProtocol)
	})
}

// RFC 7915 §4.2: errors.
func TestRFC7915_4_2_Errors(t *testing.T) {
	quote, quote6 := pt.IP(sent4, udp(64)), pt.IP(sent4as6, udp(64))

	// becomes expects ICMPv4 typ/code to become ICMPv6 typ6/code6.
	becomes := func(x *xlat, typ, code uint8, word uint32, typ6, code6 uint8, word6 uint32) {
		x.t.Helper()
		x.becomes(error4(typ, code, word, quote), error4as6(typ6, code6, word6, quote6))
	}

	row(t, "7915-4.2-09", func(t *testing.T) {
		x := newXlat(t, nil)
		for _, code := range []uint8{0, 1, 5, 6, 7, 8, 11, 12, 9, 10, 13, 15, 3} {
			out := x.forward(error4(3, code, 0xaa00bbcc, quote)) // byte 5, the length, is 0
			is(t, "type", out[40], 1)
			is(t, "second word", be32(out, 44), 0)
		}
	})

	row(t, "7915-4.2-10", func(t *testing.T) {
		x := newXlat(t, nil)
		for _, code := range []uint8{0, 1, 5, 6, 7, 8, 11, 12} {
			becomes(x, 3, code, 0, 1, 0, 0)
		}
	})

	row(t, "7915-4.2-11", func(t *testing.T) {
		goldens(t, "V17")
		becomes(newXlat(t, nil), 3, 2, 0, 4, 1, 6)
		becomes(newXlat(t, nil), 3, 2, 0xff00ffff, 4, 1, 6)
	})

	row(t, "7915-4.2-12", func(t *testing.T) { becomes(newXlat(t, nil), 3, 3, 0, 1, 4, 0) })

	row(t, "7915-4.2-13", func(t *testing.T) {
		x := newXlat(t, nil)
		for _, code := range []uint8{9, 10, 13, 15} {
			becomes(x, 3, code, 0, 1, 1, 0)
		}
	})

	row(t, "7915-4.2-14", func(t *testing.T) {
		x := newXlat(t, nil)
		x.drop(error4(3, 14, 0, quote), translate.ICMPType)
		for code := 16; code < 256; code++ {
			x.drop(error4(3, uint8(code), 0, quote), translate.ICMPType)
		}
	})

	row(t, "7915-4.2-15", func(t *testing.T) {
		for _, c := range []struct{ mtu6, mtu4, in, out int }{
			{1500, 1500, 1400, 1420},
			{1500, 1500, 1480, 1500},
			{1500, 1500, 1500, 1500},
			{1500, 1500, 1260, 1280},
			{1500, 1500, 1261, 1281},
			{1500, 1500, 1000, 1280},
			{1500, 1500, 68, 1280},
			{1500, 1500, 1, 1280},
			{1500, 1500, 65535, 1500},
			{9000, 1400, 8000, 1420},
			{9000, 9000, 8000, 8020},
			{9000, 9000, 1500, 1520},
			{9000, 9000, 9000, 9000},
			{9000, 1000, 9000, 1280},
		} {
			x := newXlat(t, func(s *settings) { s.MTU6, s.MTU4 = c.mtu6, c.mtu4 })
			becomes(x, 3, 4, uint32(c.in), 2, 0, uint32(c.out))
			becomes(x, 3, 4, 0xff<<24|uint32(c.in), 2, 0, uint32(c.out)) // byte 4 means nothing
		}
		// Byte 5 is the length of the quote and no part of the MTU.
		x := newXlat(t, nil)
		in := pt.IP(pt.Header{Src: pt.R4, Dst: pt.M4}, pt.ExtendedError(3, 4, 1400, quote, pt.MPLS()))
		is(t, "length byte", in[25], 32)
		x.becomes(in, error4as6(2, 0, 1420, quote6))
	})

	row(t, "7915-4.2-16", func(t *testing.T) {
		x := newXlat(t, nil)
		becomes(x, 3, 4, 576, 2, 0, 1280)
		for in := uint32(1); in <= 1260; in += 13 {
			becomes(x, 3, 4, in, 2, 0, 1280)
		}
	})

	row(t, "7915-4.2-17", func(t *testing.T) {
		for _, c := range []struct{ mtu, quoted, out int }{
			{1500, 1500, 1500}, // plateau 1492
			{1500, 1493, 1500}, // plateau 1492
			{1500, 1492, 1280}, // none: the next is 1006
			{1500, 92, 1280},
			{9000, 4500, 4372},    // plateau 4352
			{9000, 4352, 2022},    // plateau 2002
			{9000, 2002, 1512},    // plateau 1492
			{9000, 9000, 8186},    // plateau 8166
			{9000, 65535, 9000},   // plateau 32000
			{65535, 65535, 32020}, // plateau 32000
			{65535, 32000, 17934}, // plateau 17914
			{65535, 17914, 8186},  // plateau 8166
		} {
			x := newXlat(t, func(s *settings) { s.MTU6, s.MTU4 = c.mtu, c.mtu })
			// Only the first 92 bytes of the packet are quoted.
			big := pt.Edit(quote, func(b []byte) { b[2], b[3] = byte(c.quoted>>8), byte(c.quoted) })
			out := x.forward(error4(3, 4, 0, big))
			is(t, "type", out[40], 2)
			if got := be32(out, 44); got != uint32(c.out) {
				t.Errorf("quoted length %d, MTUs %d: Packet Too Big says %d, want %d", c.quoted, c.mtu, got, c.out)
			}
		}
	})

	row(t, "7915-4.2-18", func(t *testing.T) {
		x := newXlat(t, nil)
		becomes(x, 11, 0, 0, 3, 0, 0)
		becomes(x, 11, 1, 0, 3, 1, 0)
	})

	row(t, "7915-4.2-19", func(t *testing.T) {
		x := newXlat(t, nil)
		becomes(x, 12, 0, 8<<24, 4, 0, 7)
		becomes(x, 12, 2, 2<<24, 4, 0, 4)
		becomes(x, 12, 0, 16<<24|0x00ffff, 4, 0, 24) // bytes 6 and 7 mean nothing
	})

	row(t, "7915-4.2-20", func(t *testing.T) {
		x := newXlat(t, nil)
		for code := range 256 {
			if code != 0 && code != 2 {
				x.drop(error4(12, uint8(code), 8<<24, quote), translate.ICMPType)
			}
		}
	})

	row(t, "7915-4.2-21", func(t *testing.T) {
		x := newXlat(t, nil)
		moved := map[int]uint32{
			0: 0, 1: 1, 2: 4, 3: 4, 8: 7, 9: 6,
			12: 8, 13: 8, 14: 8, 15: 8,
			16: 24, 17: 24, 18: 24, 19: 24,
		}
		for at := range 256 {
			for _, code := range []uint8{0, 2} {
				if to, found := moved[at]; found {
					becomes(x, 12, code, uint32(at)<<24, 4, 0, to)
				} else {
					x.drop(error4(12, code, uint32(at)<<24, quote), translate.ICMPPointer)
				}
			}
		}
	})
}

// RFC 7915 §4.2: ICMP extensions.
func TestRFC7915_4_2_Extensions(t *testing.T) {
	from := pt.Header{Src: pt.R4, Dst: pt.M4}
	to := pt.Header{Src: pt.R4in6, Dst: pt.M6, TTL: 63}

	row(t, "7915-4.2-22", func(t *testing.T) {
		goldens(t, "V13", "V14")
		x := newXlat(t, nil)
		for n := 28; n <= 1016; n += 4 { // bytes quoted; they grow by 20
			quote, quote6 := pt.IP(sent4, udp(n-28)), pt.IP(sent4as6, udp(n-28))
			out := x.forward(pt.IP(from, pt.ExtendedError(11, 0, 0, quote, pt.MPLS())))
			wantPacket(t, out, pt.IP(to, pt.ExtendedError(3, 0, 0, quote6, pt.MPLS())))
			is(t, "length in units of 8", int(out[44]), max(128, (n+20+7)/8*8)/8)
		}
		// Where the counterpart has no extension, none of it gets into the quote
		// either, although the quoted packet was longer than what is quoted.
		quote, quote6 := pt.IP(sent4, udp(1000))[:128], pt.IP(sent4as6, udp(1000))[:148]
		for _, e := range []struct {
			typ, code   uint8
			word        uint32
			typ6, code6 uint8
			word6       uint32
		}{{3, 2, 0, 4, 1, 6}, {3, 4, 1400, 2, 0, 1420}, {12, 0, 8 << 24, 4, 0, 7}} {
			x.becomes(pt.IP(from, pt.ExtendedError(e.typ, e.code, e.word, quote, pt.MPLS())),
				pt.IP(to, pt.ICMP(e.typ6, e.code6, e.word6, quote6)))
		}
	})

	row(t, "7915-4.2-23", func(t *testing.T) {
		x := newXlat(t, nil)
		structure := func(n int) []byte { return pt.Extension(pt.Object(9, 9, pt.Bytes(n-8, 0))) }
		translated := func(quoted, ext int) []byte {
			return x.forward(pt.IP(from, pt.ExtendedError(11, 0, 0, pt.IP(sent4, udp(quoted-28)), structure(ext))))
		}
		quote6 := func(n int) []byte { return pt.IP(sent4as6, udp(1500))[:n] }

		// 512 and 400 bytes fit: 40 + 8 + 536 + 400.
		out := translated(512, 400)
		is(t, "bytes", len(out), 984)
		is(t, "length", out[44], 536/8)
		wantBytes(t, "extension", out[584:], structure(400))

		// 1020 and 400 don't: the quote gives way, down to 832 bytes.
		out = translated(1020, 400)
		is(t, "bytes", len(out), 40+8+832+400)
		is(t, "length", out[44], 832/8)
		wantBytes(t, "extension", out[880:], structure(400))
		wantBytes(t, "quoted data", out[48+48:880], quote6(832)[48:])

		// The quote is cut to whole units of 8, whatever is left of them.
		out = translated(1020, 404)
		is(t, "bytes", len(out), 40+8+824+404)
		is(t, "length", out[44], 824/8)
		wantBytes(t, "extension", out[872:], structure(404))

		// With 1104 bytes of extension it is down to 128 …
		out = translated(1020, 1104)
		is(t, "bytes", len(out), 1280)
		is(t, "length", out[44], 128/8)
		wantBytes(t, "extension", out[176:], structure(1104))

		// … and with 4 more the extension gives way, as a whole.
		out = translated(1020, 1108)
		is(t, "bytes", len(out), 1280-1232+1040)
		is(t, "length", out[44], 0)
		out = translated(128, 1108)
		is(t, "bytes", len(out), 40+8+148)
		is(t, "length", out[44], 0)
	})

	row(t, "7915-4.2-24", func(t *testing.T) {
		x := newXlat(t, nil)
		for _, ext := range [][]byte{
			pt.MPLS(),
			// RFC 5837: IPv4 address of the incoming interface, 192.0.2.6.
			pt.Extension(pt.Object(2, 0x14, []byte{0, 1, 0, 0, 192, 0, 2, 6})),
			// Two objects, one of an unknown class, which holds 198.51.100.4.
			pt.Extension(pt.Object(1, 1, []byte{0, 1, 1, 1}), pt.Object(247, 3, []byte{198, 51, 100, 4})),
			// An extension without checksum stays without.
			append([]byte{0x20, 0, 0, 0}, pt.Object(1, 1, []byte{0, 1, 1, 1})...),
		} {
			out := x.forward(pt.IP(from, pt.ExtendedError(3, 3, 0, pt.IP(sent4, udp(64)), ext)))
			wantBytes(t, "extension", out[len(out)-len(ext):], ext)
			wantPacket(t, out, pt.IP(to, pt.ExtendedError(1, 4, 0, pt.IP(sent4as6, udp(64)), ext)))
		}
	})
}
