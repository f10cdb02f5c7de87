package rfc

import (
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// RFC 7915 §5.2: the checksum, the type, and informational messages.
func TestRFC7915_5_2_Queries(t *testing.T) {
	row(t, "7915-5.2-01", func(t *testing.T) {
		goldens(t, "V02", "V12", "V15")
		x := wkp46(t)
		echo := pt.EchoRequest(1, 2, pt.Bytes(16, 0))
		in := pt.IP(between("64:ff9b::1.1.1.1", "64:ff9b::8.8.8.8"), echo)
		out := x.forward(in)
		wantPacket(t, out, pt.IP(with(between("1.1.1.1", "8.8.8.8"), func(h *pt.Header) { h.TTL, h.DF = 63, false }), echo))
		if be16(in, 42) == be16(out, 22) {
			t.Error("the checksum is that of ICMPv6")
		}
	})

	row(t, "7915-5.2-02", func(t *testing.T) {
		x := newXlat(t, nil)
		quote, quote4 := pt.IP(sent6, udp(64)), pt.IP(sent6as4, udp(64))
		for _, e := range []struct {
			typ, code   uint8
			word        uint32
			typ4, code4 uint8
			word4       uint32
		}{
			{1, 0, 0, 3, 1, 0},
			{1, 4, 0, 3, 3, 0},
			{2, 0, 1400, 3, 4, 1380},
			{3, 0, 0, 11, 0, 0},
			{4, 0, 7, 12, 0, 8 << 24},
			{4, 1, 6, 3, 2, 0},
		} {
			out := x.forward(error6(e.typ, e.code, e.word, quote))
			is(t, "version of the quoted packet", out[28]>>4, 4)
			wantPacket(t, out, error6as4(e.typ4, e.code4, e.word4, quote4))
		}
	})

	row(t, "7915-5.2-03", func(t *testing.T) {
		goldens(t, "V02")
		x := newXlat(t, nil)
		for _, n := range []int{0, 1, 7, 56, 1204} {
			data := random(n, uint64(n))
			for _, echo := range []pt.Payload{pt.EchoRequest(0x1234, 0xfffe, data), pt.EchoReply(0x1234, 0xfffe, data)} {
				x.becomes(pt.IP(pt.From6(), echo), pt.IP(as4, echo))
			}
		}
		request := x.forward(pt.IP(pt.From6(), pt.EchoRequest(0x1234, 1, nil)))
		reply := x.forward(pt.IP(pt.From6(), pt.EchoReply(0x1234, 1, nil)))
		wantBytes(t, "type and code of a request", request[20:22], []byte{8, 0})
		wantBytes(t, "type and code of a reply", reply[20:22], []byte{0, 0})
		wantBytes(t, "identifier and sequence number", request[24:28], []byte{0x12, 0x34, 0, 1})
	})

	silent := func(x *xlat, typ int) {
		x.t.Helper()
		for _, body := range [][]byte{nil, pt.Bytes(24, 0), pt.IP(sent6, udp(64))} {
			for code := 0; code < 256; code += 5 {
				x.drop(pt.IP(pt.From6(), pt.ICMP(uint8(typ), uint8(code), 0, body)), translate.ICMPType)
			}
		}
		one := with(pt.From6(), func(h *pt.Header) { h.TTL = 1 })
		x.drop(pt.IP(one, pt.ICMP(uint8(typ), 0, 0, nil)), translate.ICMPType)
	}
	row(t, "7915-5.2-04", func(t *testing.T) {
		for _, typ := range []int{130, 131, 132, 143} {
			silent(newXlat(t, nil), typ)
		}
	})
	row(t, "7915-5.2-05", func(t *testing.T) {
		for typ := 133; typ <= 137; typ++ {
			silent(newXlat(t, nil), typ)
		}
		// A Redirect to an unknown destination gets no error either.
		unknown := pt.Header{Src: pt.M6, Dst: pt.R6}
		newXlat(t, nil).drop(pt.IP(unknown, pt.ICMP(137, 0, 0, pt.Bytes(32, 0))), translate.ICMPType)
	})
	row(t, "7915-5.2-06", func(t *testing.T) {
		x := newXlat(t, nil)
		for typ := 138; typ < 256; typ++ {
			silent(x, typ)
		}
	})
}

// RFC 7915 §5.2: errors.
func TestRFC7915_5_2_Errors(t *testing.T) {
	quote, quote4 := pt.IP(sent6, udp(64)), pt.IP(sent6as4, udp(64))

	// becomes expects ICMPv6 typ/code to become ICMPv4 typ4/code4.
	becomes := func(x *xlat, typ, code uint8, word uint32, typ4, code4 uint8, word4 uint32) {
		x.t.Helper()
		x.becomes(error6(typ, code, word, quote), error6as4(typ4, code4, word4, quote4))
	}

	row(t, "7915-5.2-07", func(t *testing.T) {
		x := newXlat(t, nil)
		for _, code := range []uint8{0, 2, 3} {
			becomes(x, 1, code, 0, 3, 1, 0)
			becomes(x, 1, code, 0x00ffffff, 3, 1, 0) // bytes 5 to 7 mean nothing
		}
	})

	row(t, "7915-5.2-08", func(t *testing.T) { becomes(newXlat(t, nil), 1, 1, 0, 3, 10, 0) })
	row(t, "7915-5.2-09", func(t *testing.T) { becomes(newXlat(t, nil), 1, 4, 0, 3, 3, 0) })

	row(t, "7915-5.2-10", func(t *testing.T) {
		x := newXlat(t, nil)
		for code := 5; code < 256; code++ {
			x.drop(error6(1, uint8(code), 0, quote), translate.ICMPType)
		}
	})

	row(t, "7915-5.2-11", func(t *testing.T) {
		for _, c := range []struct {
			mtu4, mtu6 int
			in, out    uint32
		}{
			{1500, 1500, 1400, 1380},
			{1500, 1500, 1280, 1260},
			{1500, 1500, 1281, 1261},
			{1500, 1500, 1500, 1480},
			{1500, 1500, 1501, 1480},
			{1500, 1500, 9000, 1480},
			{1500, 1500, 65535, 1480},
			{1500, 1500, 0x00010578, 1480}, // 66936: the low 16 bits alone would be 1400
			{1500, 1500, 0xffffffff, 1480},
			{1300, 1500, 1400, 1300},
			{9000, 9000, 1500, 1480},
			{9000, 9000, 9000, 8980},
			{9000, 9000, 66936, 8980},
			{65535, 65535, 0xffffffff, 65515},
			{1500, 1500, 576, 556},
			{1500, 1500, 88, 68},
		} {
			x := newXlat(t, func(s *settings) { s.MTU4, s.MTU6 = c.mtu4, c.mtu6 })
			becomes(x, 2, 0, c.in, 3, 4, c.out)
			becomes(x, 2, 77, c.in, 3, 4, c.out) // the code means nothing
		}
		// An MTU below what IPv4 allows cannot be valid.
		x := newXlat(t, nil)
		for mtu := range uint32(88) {
			x.drop(error6(2, 0, mtu, quote), translate.ICMPMTU)
		}
	})

	row(t, "7915-5.2-12", func(t *testing.T) {
		fragment := func(off8 uint16, more bool) ([]byte, []byte) {
			p := pt.Raw(17, pt.Bytes(64, 0))
			return pt.IP(sent6, pt.Fragment(0xbeef, off8, more, p)),
				pt.IP(with(sent6as4, func(h *pt.Header) { h.ID, h.Off8, h.MF = 0xbeef, off8, more }), p)
		}
		x := newXlat(t, nil)
		for _, c := range []struct{ in, out uint32 }{
			{1280, 1252}, {1400, 1372}, {1500, 1472}, {9000, 1472}, {96, 68}, {88, 68},
		} {
			in, out := fragment(8, true)
			x.becomes(error6(2, 0, c.in, in), error6as4(3, 4, c.out, out))
			in, out = fragment(8, false)
			x.becomes(error6(2, 0, c.in, in), error6as4(3, 4, c.out, out))
			becomes(x, 2, 0, 1280, 3, 4, 1260) // without, 20 as ever
		}
	})

	row(t, "7915-5.2-13", func(t *testing.T) {
		x := newXlat(t, nil)
		becomes(x, 3, 0, 0, 11, 0, 0)
		becomes(x, 3, 1, 0, 11, 1, 0)
	})

	row(t, "7915-5.2-14", func(t *testing.T) {
		x := newXlat(t, nil)
		moved := map[uint32]uint32{0: 0, 1: 1, 4: 2, 5: 2, 6: 9, 7: 8}
		for at := uint32(8); at < 24; at++ {
			moved[at], moved[at+16] = 12, 16
		}
		for at := range uint32(300) {
			if to, found := moved[at]; found {
				becomes(x, 4, 0, at, 12, 0, to<<24)
			} else {
				x.drop(error6(4, 0, at, quote), translate.ICMPPointer)
			}
		}
		for _, at := range []uint32{0x00000106, 0x00010006, 0x01000006, 0x06000000, 0xffffffff} {
			x.drop(error6(4, 0, at, quote), translate.ICMPPointer)
		}
	})

	row(t, "7915-5.2-15", func(t *testing.T) {
		x := newXlat(t, nil)
		becomes(x, 4, 1, 6, 3, 2, 0)
		becomes(x, 4, 1, 0xffffffff, 3, 2, 0)
	})

	row(t, "7915-5.2-16", func(t *testing.T) {
		x := newXlat(t, nil)
		for code := 2; code < 256; code++ {
			x.drop(error6(4, uint8(code), 6, quote), translate.ICMPType)
		}
	})

	row(t, "7915-5.2-17", func(t *testing.T) {
		x := newXlat(t, nil)
		for typ := range uint8(128) {
			if typ >= 1 && typ <= 4 {
				continue
			}
			for code := 0; code < 256; code += 51 {
				x.drop(error6(typ, uint8(code), 0, quote), translate.ICMPType)
			}
		}
	})
}

// RFC 7915 §5.2: ICMP extensions.
func TestRFC7915_5_2_Extensions(t *testing.T) {
	row(t, "7915-5.2-18", func(t *testing.T) {
		goldens(t, "V15")
		x := newXlat(t, nil)
		for n := 48; n <= 508; n += 4 { // bytes quoted; they shrink by 20
			quote, quote4 := pt.IP(sent6, udp(n-48)), pt.IP(sent6as4, udp(n-48))
			out := x.forward(pt.IP(pt.From6(), pt.ExtendedError(3, 0, 0, quote, pt.MPLS())))
			wantPacket(t, out, pt.IP(as4, pt.ExtendedError(11, 0, 0, quote4, pt.MPLS())))
			is(t, "length in units of 4", int(out[25]), max(128, (n-20+3)/4*4)/4)
			is(t, "byte of the old length", out[24], 0)
		}
	})

	row(t, "7915-5.2-19", func(t *testing.T) {
		x := newXlat(t, nil)
		for _, ext := range [][]byte{
			pt.MPLS(),
			// RFC 5837: IPv6 address of the incoming interface, 2001:db8:6::6.
			pt.Extension(pt.Object(2, 0x14, append([]byte{0, 2, 0, 0}, pt.M6.AsSlice()...))),
			// An unknown class, which holds 2001:db8:64::c633:6404.
			pt.Extension(pt.Object(247, 3, pt.H4in6.AsSlice()), pt.Object(1, 1, []byte{0, 1, 1, 1})),
			append([]byte{0x20, 0, 0, 0}, pt.Object(1, 1, []byte{0, 1, 1, 1})...),
		} {
			out := x.forward(pt.IP(pt.From6(), pt.ExtendedError(1, 4, 0, pt.IP(sent6, udp(64)), ext)))
			wantBytes(t, "extension", out[len(out)-len(ext):], ext)
			wantPacket(t, out, pt.IP(as4, pt.ExtendedError(3, 3, 0, pt.IP(sent6as4, udp(64)), ext)))
		}
	})
}
