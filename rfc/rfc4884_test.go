package rfc

import (
	"bytes"
	"fmt"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// Headers of extended errors from R4 to M4, and as M6 gets them.
var (
	fromR4    = pt.Header{Src: pt.R4, Dst: pt.M4}
	fromR4as6 = pt.Header{Src: pt.R4in6, Dst: pt.M6, TTL: 63}
)

// quoted is the first n bytes of the packet that h and a datagram with size
// bytes of data make, as many as there are.
func quoted(h pt.Header, size, n int) []byte {
	b := pt.IP(h, udp(size))
	return b[:min(n, len(b))]
}

func TestRFC4884(t *testing.T) {
	mpls := pt.MPLS()
	row(t, "4884-3-01", func(t *testing.T) {
		x := newXlat(t, nil)
		q4, q6 := pt.IP(sent4, ping), pt.IP(sent4as6, ping)
		for _, e := range []struct {
			typ, code   uint8
			word        uint32
			typ6, code6 uint8
			word6       uint32
			carried     bool
		}{
			{3, 0, 0, 1, 0, 0, true},
			{3, 3, 0, 1, 4, 0, true},
			{3, 13, 0, 1, 1, 0, true},
			{11, 0, 0, 3, 0, 0, true},
			{11, 1, 0, 3, 1, 0, true},
			{3, 4, 1400, 2, 0, 1420, false},
			{3, 2, 0, 4, 1, 6, false},
			{12, 0, 8 << 24, 4, 0, 7, false},
			{12, 2, 9 << 24, 4, 0, 6, false},
		} {
			want := pt.ICMP(e.typ6, e.code6, e.word6, q6)
			if e.carried {
				want = pt.ExtendedError(e.typ6, e.code6, e.word6, q6, mpls)
			}
			x.becomes(pt.IP(fromR4, pt.ExtendedError(e.typ, e.code, e.word, q4, mpls)), pt.IP(fromR4as6, want))
		}
		// Back: the word of these two types is MTU or pointer, never a length.
		q4, q6 = pt.IP(sent6as4, ping), pt.IP(sent6, ping)
		x.becomes(error6(2, 0, 0x10000578, q6), error6as4(3, 4, 1480, q4))
		x.drop(error6(4, 0, 0x10000006, q6), translate.ICMPPointer)
		for _, e := range [][4]uint8{{1, 0, 3, 1}, {1, 4, 3, 3}, {3, 0, 11, 0}, {3, 1, 11, 1}} {
			x.becomes(pt.IP(pt.From6(), pt.ExtendedError(e[0], e[1], 0, q6, mpls)),
				pt.IP(as4, pt.ExtendedError(e[2], e[3], 0, q4, mpls)))
		}
	})
	row(t, "4884-4-01", func(t *testing.T) {
		goldens(t, "V13", "V15")
		x := newXlat(t, nil)
		// The bytes around the length are unused in these types.
		x.becomes(
			pt.IP(fromR4, pt.ExtendedError(11, 0, 0xff00ffff, pt.IP(sent4, ping), mpls)),
			pt.IP(fromR4as6, pt.ExtendedError(3, 0, 0, pt.IP(sent4as6, ping), mpls)))
		b := x.forward(pt.IP(pt.From6(), pt.ExtendedError(3, 0, 0, pt.IP(sent6, ping), mpls)))
		wantBytes(t, "second word", b[24:28], []byte{0, 32, 0, 0})
	})
	row(t, "4884-4-02", func(t *testing.T) {
		goldens(t, "V13", "V15")
		x := newXlat(t, nil)
		x.becomes(
			pt.IP(pt.From6(), pt.ExtendedError(3, 0, 0x00ffffff, pt.IP(sent6, ping), mpls)),
			pt.IP(as4, pt.ExtendedError(11, 0, 0, pt.IP(sent6as4, ping), mpls)))
		b := x.forward(pt.IP(fromR4, pt.ExtendedError(11, 0, 0, pt.IP(sent4, ping), mpls)))
		wantBytes(t, "second word", b[44:48], []byte{16, 0, 0, 0})
	})
	row(t, "4884-4-03", func(t *testing.T) {
		goldens(t, "V13", "V15", "V16")
		x := newXlat(t, nil)
		for size := range 200 {
			b := x.forward(pt.IP(fromR4, pt.ExtendedError(11, 0, 0, quoted(sent4, size, 128), mpls)))
			if n := int(b[44]) * 8; n < 128 || len(bytes.Trim(b[48+min(48+size, 148):48+n], "\x00")) != 0 {
				t.Fatalf("datagram of %d: quote of %d bytes: %x", size, n, b)
			}
			b = x.forward(pt.IP(pt.From6(), pt.ExtendedError(3, 0, 0, quoted(sent6, size, 128), mpls)))
			if n := int(b[25]) * 4; n < 128 || len(bytes.Trim(b[28+min(28+size, 108):28+n], "\x00")) != 0 {
				t.Fatalf("datagram of %d: quote of %d bytes: %x", size, n, b)
			}
		}
	})
	row(t, "4884-4-04", func(t *testing.T) {
		goldens(t, "V14")
		x := newXlat(t, nil)
		options := with(sent4, func(h *pt.Header) { h.Options = bytes.Repeat([]byte{1}, 40) })
		fragment := with(sent4, func(h *pt.Header) { h.MF = true })
		for _, c := range []struct {
			h            pt.Header
			real, padded int
			length       byte
			data         int // of the datagram, a multiple of 8 for the fragment
		}{
			{sent4, 28, 128, 16, 0},
			{sent4, 100, 128, 16, 72},
			{sent4, 128, 152, 19, 500},
			{fragment, 128, 160, 20, 504},
			{options, 128, 128, 16, 500},
		} {
			b := x.forward(pt.IP(fromR4, pt.ExtendedError(11, 0, 0, quoted(c.h, c.data, c.real), mpls)))
			is(t, fmt.Sprint("length for ", c.real), b[44], c.length)
			wantBytes(t, "extension", b[48+c.padded:], mpls)
		}
		for _, c := range []struct {
			p            pt.Payload
			real, padded int
			length       byte
		}{
			{udp(0), 48, 128, 32},
			{udp(72), 120, 128, 32},
			{udp(500), 152, 132, 33},
			{pt.Fragment(7, 0, true, udp(504)), 160, 132, 33},
			{udp(500), 128, 128, 32},
		} {
			q := pt.IP(sent6, c.p)[:c.real]
			b := x.forward(pt.IP(pt.From6(), pt.ExtendedError(3, 0, 0, q, mpls)))
			is(t, fmt.Sprint("length for ", c.real), b[25], c.length)
			wantBytes(t, "extension", b[28+c.padded:], mpls)
		}
	})
	row(t, "4884-4-05", func(t *testing.T) {
		goldens(t, "V13", "V15")
		x := newXlat(t, nil)
		// 512 bytes of quote, of which 36 are the packet: the padding is made anew.
		wide := func(q []byte) []byte { return append(q, make([]byte, 512-len(q))...) }
		x.becomes(
			pt.IP(fromR4, pt.ExtendedError(11, 0, 0, wide(pt.IP(sent4, udp(8))), mpls)),
			pt.IP(fromR4as6, pt.ExtendedError(3, 0, 0, pt.IP(sent4as6, udp(8)), mpls)))
		x.becomes(
			pt.IP(pt.From6(), pt.ExtendedError(3, 0, 0, wide(pt.IP(sent6, udp(8))), mpls)),
			pt.IP(as4, pt.ExtendedError(11, 0, 0, pt.IP(sent6as4, udp(8)), mpls)))
	})
	row(t, "4884-5.4-01", func(t *testing.T) {
		x := newXlat(t, nil)
		x.becomes(error4(11, 0, 0, quoted(sent4, 1000, 200)), error4as6(3, 0, 0, quoted(sent4as6, 1000, 220)))
		q4 := quoted(with(sent6as4, func(h *pt.Header) { h.DF = false }), 1000, 180)
		x.becomes(error6(3, 0, 0, quoted(sent6, 1000, 200)), error6as4(11, 0, 0, q4))
	})
	row(t, "4884-5.5-01", func(t *testing.T) {
		// The structure stands where old software put it, and there is no length.
		x := newXlat(t, nil)
		in := append(quoted(sent4, 1000, 128), mpls...)
		want := append(quoted(sent4as6, 1000, 148), mpls...)
		x.becomes(error4(11, 0, 0, in), error4as6(3, 0, 0, want))
		in = append(quoted(sent6, 1000, 128), mpls...)
		want = append(quoted(sent6as4, 1000, 108), mpls...)
		x.becomes(error6(3, 0, 0, in), error6as4(11, 0, 0, want))
	})
	row(t, "4884-7-01", func(t *testing.T) {
		unsummed := pt.MPLS()
		unsummed[2], unsummed[3] = 0, 0
		for _, ext := range [][]byte{
			mpls,
			pt.Extension(pt.Object(1, 1, pt.Bytes(12, 3)), pt.Object(2, 0x04, pt.Bytes(20, 9)), pt.Object(3, 1, pt.Bytes(32, 1))),
			unsummed,
		} {
			carried(t, ext)
		}
	})
	row(t, "4884-7-02", func(t *testing.T) {
		x := newXlat(t, nil)
		ext := pt.Extension(pt.Object(1, 1, pt.Bytes(12, 3))) // 20 bytes
		b := x.forward(pt.IP(pt.From6(), pt.ExtendedError(3, 0, 0, quoted(sent6, 2000, 1000), ext)))
		is(t, "bytes", len(b), 576)
		is(t, "length", b[25], 132) // 528 bytes = 576 - 20 - 8 - 20
		wantBytes(t, "quote", b[28:28+528], quoted(with(sent6as4, func(h *pt.Header) { h.DF = true }), 2000, 528))
		wantBytes(t, "extension", b[28+528:], ext)

		ext = pt.Extension(pt.Object(0xf7, 1, pt.Bytes(392, 3))) // 400 bytes
		b = x.forward(pt.IP(fromR4, pt.ExtendedError(11, 0, 0, quoted(sent4, 2000, 1020), ext)))
		is(t, "bytes", len(b), 1280)
		is(t, "length", b[44], 104) // 832 bytes = 1280 - 40 - 8 - 400
		wantBytes(t, "quote", b[48:48+832], quoted(sent4as6, 2000, 832))
		wantBytes(t, "extension", b[48+832:], ext)

		// The limits, with what does not fit beside 128 bytes of quote left out.
		for _, c := range []struct {
			ext     int
			carried bool
		}{{420, true}, {424, false}, {1104, false}, {2000, false}} {
			ext := pt.Extension(pt.Object(0xf7, 1, make([]byte, c.ext-8)))
			b := x.forward(pt.IP(pt.From6(), pt.ExtendedError(3, 0, 0, quoted(sent6, 2000, 1000), ext)))
			is(t, "bytes", len(b), 576)
			is(t, fmt.Sprint("carried: ", c.ext), b[25] != 0, c.carried)
		}
		for _, c := range []struct {
			ext     int
			carried bool
		}{{1104, true}, {1108, false}, {2000, false}} {
			ext := pt.Extension(pt.Object(0xf7, 1, make([]byte, c.ext-8)))
			b := x.forward(pt.IP(fromR4, pt.ExtendedError(11, 0, 0, quoted(sent4, 2000, 1020), ext)))
			is(t, fmt.Sprint("carried: ", c.ext), b[44] != 0, c.carried)
			if n := len(b); n > 1280 {
				t.Errorf("%d bytes", n)
			}
		}
	})
	row(t, "4884-8-01", func(t *testing.T) {
		for _, class := range []uint8{0, 1, 3, 4, 0xf7, 0xff} {
			carried(t, pt.Extension(pt.Object(class, 0x2a, pt.Bytes(16, class))))
			carried(t, pt.Extension(pt.Object(class, 0xff, nil)))
		}
	})
	row(t, "4884-9-01", func(t *testing.T) {
		x := newXlat(t, nil)
		err4 := func(length uint32, body []byte) []byte { return pt.IP(fromR4, pt.ICMP(11, 0, length<<16, body)) }
		err6 := func(length uint32, body []byte) []byte { return pt.IP(pt.From6(), pt.ICMP(3, 0, length<<24, body)) }
		q4, q6 := pt.IP(sent4, udp(24)), pt.IP(sent6, udp(4)) // 52 bytes each: messages of 60
		x.drop(err4(255, q4), translate.ICMPExtension)
		x.drop(err6(255, q6), translate.ICMPExtension)
		for length := range uint32(256) {
			want := translate.Forward
			if length != 13 && length != 0 { // all lengths but 52 bytes are too long, or cut the quoted headers off
				want = translate.Drop
			}
			if l := int(length) * 4; l >= 20 && l < 52 { // an extension is there, if not a sensible one
				want = translate.Forward
			}
			_, res := x.send(err4(length, q4))
			is(t, fmt.Sprint("ICMPv4 length ", length), res.Verdict, want)
			want = translate.Drop
			if length == 0 || length == 5 || length == 6 { // 40 and 48 bytes
				want = translate.Forward
			}
			_, res = x.send(err6(length, q6))
			is(t, fmt.Sprint("ICMPv6 length ", length), res.Verdict, want)
		}
		// All of the message is quote: no structure, so no length.
		long4, long6 := quoted(sent4, 500, 128), quoted(sent6, 500, 128)
		x.becomes(err4(32, long4), error4as6(3, 0, 0, quoted(sent4as6, 500, 148)))
		x.becomes(err6(16, long6), error6as4(11, 0, 0, quoted(sent6as4, 500, 108)))
	})
	row(t, "4884-6-01", lengthAndStructureTogether)
}

// carried expects ext to arrive as it was, in both directions.
func carried(t *testing.T, ext []byte) {
	t.Helper()
	x := newXlat(t, nil)
	x.becomes(
		pt.IP(fromR4, pt.ExtendedError(3, 3, 0, pt.IP(sent4, ping), ext)),
		pt.IP(fromR4as6, pt.ExtendedError(1, 4, 0, pt.IP(sent4as6, ping), ext)))
	x.becomes(
		pt.IP(pt.From6(), pt.ExtendedError(1, 4, 0, pt.IP(sent6, ping), ext)),
		pt.IP(as4, pt.ExtendedError(3, 3, 0, pt.IP(sent6as4, ping), ext)))
}

// lengthAndStructureTogether sends errors of all types and many sizes. With a
// length there is a whole structure after the quote; without one the error is
// the same as if there had never been a structure.
func lengthAndStructureTogether(t *testing.T) {
	x := newXlat(t, nil)
	exts := [][]byte{pt.MPLS(), pt.Extension(pt.Object(0xf7, 1, pt.Bytes(392, 3))), pt.Extension(pt.Object(0xf7, 1, pt.Bytes(396, 3))), pt.Extension(pt.Object(0xf7, 1, make([]byte, 1200)))}
	check := func(head, hdr, unit, at int, bare, extended, ext []byte) {
		t.Helper()
		b := x.forward(extended)
		length := int(b[hdr+at]) * unit
		switch {
		case hdr+8+length > len(b):
			t.Errorf("length %d in %x", length, b)
		case length > 0:
			wantBytes(t, "structure", b[hdr+8+length:], ext)
		default:
			plain := x.forward(bare)
			wantBytes(t, "quote", b[head:], plain[head:])
		}
	}
	for _, ext := range exts {
		for _, size := range []int{0, 1, 71, 72, 73, 100, 300, 500, 900, 1200} {
			for _, cut := range []int{128, 136, 256, 544, 1016} {
				q4, q6 := quoted(sent4, size, cut), quoted(sent6, size, cut)
				for _, e := range [][2]uint8{{3, 0}, {3, 2}, {3, 3}, {3, 4}, {11, 0}, {12, 0}} {
					// Byte 4 of the ICMPv6 message is the length in types 1 and 3.
					at := 4
					if e[1] == 2 || e[1] == 4 || e[0] == 12 {
						at = 5 // MTU or pointer: a byte that is 0 here
					}
					check(48, 40, 8, at, pt.IP(fromR4, pt.ICMP(e[0], e[1], 0, q4)), pt.IP(fromR4, pt.ExtendedError(e[0], e[1], 0, q4, ext)), ext)
				}
				for _, e := range [][2]uint8{{1, 0}, {1, 4}, {3, 0}, {3, 1}} {
					check(28, 20, 4, 5, pt.IP(pt.From6(), pt.ICMP(e[0], e[1], 0, q6)), pt.IP(pt.From6(), pt.ExtendedError(e[0], e[1], 0, q6, ext)), ext)
				}
			}
		}
	}
}
