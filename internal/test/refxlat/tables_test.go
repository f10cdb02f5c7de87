package refxlat_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// icmpRow is what an ICMP type with one of the codes from to until becomes.
type icmpRow struct {
	typ, from, to int
	outTyp, code  int // code -1: as it was
	kind          byte
}

// Kinds of rows: what the second word of the result holds.
const (
	query     = 'q' // identifier and sequence number
	plain     = 'p' // zero, or the length of the quote
	mtu       = 'm' // MTU and, in ICMPv4, the length
	pointer   = 'o' // pointer, no length in either family
	nextField = 'n' // ICMPv6 pointer to the Next Header field
)

var rows4to6 = []icmpRow{
	{0, 0, 255, 129, -1, query},
	{8, 0, 255, 128, -1, query},
	{3, 0, 1, 1, 0, plain},
	{3, 2, 2, 4, 1, nextField},
	{3, 3, 3, 1, 4, plain},
	{3, 4, 4, 2, 0, mtu},
	{3, 5, 8, 1, 0, plain},
	{3, 9, 10, 1, 1, plain},
	{3, 11, 12, 1, 0, plain},
	{3, 13, 13, 1, 1, plain},
	{3, 15, 15, 1, 1, plain},
	{11, 0, 255, 3, -1, plain},
	{12, 0, 0, 4, 0, pointer},
	{12, 2, 2, 4, 0, pointer},
}

var rows6to4 = []icmpRow{
	{128, 0, 255, 8, -1, query},
	{129, 0, 255, 0, -1, query},
	{1, 0, 0, 3, 1, plain},
	{1, 1, 1, 3, 10, plain},
	{1, 2, 3, 3, 1, plain},
	{1, 4, 4, 3, 3, plain},
	{2, 0, 255, 3, 4, mtu},
	{3, 0, 255, 11, -1, plain},
	{4, 0, 0, 12, 0, pointer},
	{4, 1, 1, 3, 2, plain},
}

func find(rows []icmpRow, typ, code int) *icmpRow {
	for i, r := range rows {
		if r.typ == typ && r.from <= code && code <= r.to {
			return &rows[i]
		}
	}
	return nil
}

// TestICMPTypes sends every type and code both ways, without and with an
// extension, and looks at type, code and the second word.
func TestICMPTypes(t *testing.T) {
	x := fixture(t)
	for _, dir := range []struct {
		name   string
		header pt.Header
		rows   []icmpRow
		quote  []byte
		words  map[byte]uint32 // second word in, without extension
		wants  map[byte]uint32 // and out
		ext    map[byte]uint32 // what the extension adds to it
	}{
		{
			"4to6", pt.From4(), rows4to6, quote4,
			map[byte]uint32{query: 0x12345678, plain: 0xab00cdef, mtu: 1400, pointer: 8<<24 | 0xff, nextField: 0xff00ffff},
			map[byte]uint32{query: 0x12345678, plain: 0, mtu: 1420, pointer: 7, nextField: 6},
			map[byte]uint32{plain: 19 << 24}, // 128 quoted bytes became 148
		},
		{
			"6to4", pt.From6(), rows6to4, quote6,
			map[byte]uint32{query: 0x12345678, plain: 0x00abcdef, mtu: 1400, pointer: 7},
			map[byte]uint32{query: 0x12345678, plain: 0, mtu: 1380, pointer: 8 << 24},
			map[byte]uint32{plain: 32 << 16}, // 128 bytes of padded quote
		},
	} {
		t.Run(dir.name, func(t *testing.T) {
			for typ := range 256 {
				for code := range 256 {
					row := find(dir.rows, typ, code)
					word := uint32(1280)
					if row != nil {
						word = dir.words[row.kind]
						if dir.name == "6to4" && typ == 4 && code == 1 {
							word = 6
						}
					}
					pkt := pt.IP(dir.header, pt.ICMP(uint8(typ), uint8(code), word, dir.quote))
					if row == nil {
						refused(t, x, pkt, translate.ICMPType)
						continue
					}
					want := []byte{byte(row.outTyp), byte(row.code)}
					if row.code < 0 {
						want[1] = byte(code)
					}
					out := data(forwarded(t, x, pkt))
					require.Equal(t, want, out[:2], "%d/%d", typ, code)
					require.Equal(t, dir.wants[row.kind], binary.BigEndian.Uint32(out[4:]), "%d/%d", typ, code)
					if row.kind == query {
						require.Equal(t, dir.quote, out[8:])
						continue
					}
					if dir.header.Src.Is6() && row.kind != plain || typ == 4 {
						continue // ICMPv6 2 and 4 have no extension
					}
					ext := pt.IP(dir.header, pt.ExtendedError(uint8(typ), uint8(code), word&^lengthMask[dir.name], dir.quote, pt.MPLS()))
					out = data(forwarded(t, x, ext))
					require.Equal(t, want, out[:2], "%d/%d", typ, code)
					require.Equal(t, dir.wants[row.kind]|dir.ext[row.kind], binary.BigEndian.Uint32(out[4:]), "%d/%d with extension", typ, code)
					require.Equal(t, row.kind == plain, string(out[len(out)-12:]) == string(pt.MPLS()), "%d/%d", typ, code)
				}
			}
		})
	}
}

// lengthMask is where the RFC 4884 length lies in the second word.
var lengthMask = map[string]uint32{"4to6": 0x00ff0000, "6to4": 0xff000000}

func TestParameterProblemPointers(t *testing.T) {
	x := fixture(t)
	want4 := map[int]uint32{0: 0, 1: 1, 2: 4, 3: 4, 8: 7, 9: 6, 12: 8, 13: 8, 14: 8, 15: 8, 16: 24, 17: 24, 18: 24, 19: 24}
	for p := range 256 {
		for _, code := range []uint8{0, 2} {
			pkt := pt.IP(pt.From4(), pt.ICMP(12, code, uint32(p)<<24, quote4))
			want, ok := want4[p]
			if !ok {
				refused(t, x, pkt, translate.ICMPPointer)
				continue
			}
			require.Equal(t, want, binary.BigEndian.Uint32(data(forwarded(t, x, pkt))[4:]))
		}
	}
	want6 := map[uint32]uint32{0: 0, 1: 1, 4: 2, 5: 2, 6: 9, 7: 8}
	for p := uint32(8); p < 24; p++ {
		want6[p], want6[p+16] = 12, 16
	}
	pointers := []uint32{0x100, 0x106, 0x10000, 0x06000000, 0xffffffff}
	for p := range uint32(300) {
		pointers = append(pointers, p)
	}
	for _, p := range pointers {
		pkt := pt.IP(pt.From6(), pt.ICMP(4, 0, p, quote6))
		want, ok := want6[p]
		if !ok {
			refused(t, x, pkt, translate.ICMPPointer)
			continue
		}
		require.Equal(t, want<<24, binary.BigEndian.Uint32(data(forwarded(t, x, pkt))[4:]))
	}
}

func TestMTUs(t *testing.T) {
	for _, c := range []struct{ mtu4, mtu6, in, quoted, want int }{
		{1500, 1500, 68, 0, 1280}, {1500, 1500, 576, 0, 1280}, {1500, 1500, 1260, 0, 1280},
		{1500, 1500, 1261, 0, 1281}, {1500, 1500, 1400, 0, 1420}, {1500, 1500, 1480, 0, 1500},
		{1500, 1500, 1500, 0, 1500}, {1500, 1500, 9000, 0, 1500},
		{1500, 1500, 0, 1500, 1500}, {1500, 1500, 0, 1492, 1280}, {1500, 1500, 0, 9000, 1500},
		{9000, 9000, 68, 0, 1280}, {9000, 9000, 576, 0, 1280}, {9000, 9000, 1260, 0, 1280},
		{9000, 9000, 1261, 0, 1281}, {9000, 9000, 1400, 0, 1420}, {9000, 9000, 1480, 0, 1500},
		{9000, 9000, 1500, 0, 1520}, {9000, 9000, 9000, 0, 9000},
		{9000, 9000, 0, 1500, 1512}, {9000, 9000, 0, 1492, 1280}, {9000, 9000, 0, 9000, 8186},
		{9000, 9000, 0, 4500, 4372}, {9000, 9000, 0, 20, 1280}, {1400, 9000, 8000, 0, 1420},
		{65535, 65535, 0, 65535, 32020}, {65535, 65535, 65535, 0, 65535},
	} {
		t.Run(fmt.Sprintf("4to6/%d-%d/%d-quoted-%d", c.mtu4, c.mtu6, c.in, c.quoted), func(t *testing.T) {
			quote := pt.Edit(quote4[:28], func(b []byte) {
				if c.quoted != 0 {
					binary.BigEndian.PutUint16(b[2:], uint16(c.quoted))
				}
			})
			if c.quoted == 20 {
				quote[9] = 132 // nothing after the header
				quote = pt.Edit(quote, func([]byte) {})
			}
			pkt := pt.IP(pt.From4(), pt.ICMP(3, 4, uint32(c.in), quote))
			out := data(forwarded(t, fixture(t, mtus(c.mtu4, c.mtu6)), pkt))
			require.EqualValues(t, c.want, binary.BigEndian.Uint32(out[4:]))
		})
	}
	for _, c := range []struct {
		mtu4, mtu6 int
		in         uint32
		frag       bool
		want       int // 0: dropped
	}{
		{1500, 1500, 1280, false, 1260}, {1500, 1500, 1281, false, 1261}, {1500, 1500, 1400, false, 1380},
		{1500, 1500, 1500, false, 1480}, {1500, 1500, 1501, false, 1480}, {1500, 1500, 9000, false, 1480},
		{1500, 1500, 65535, false, 1480}, {1500, 1500, 66936, false, 1480}, {1500, 1500, 0xffffffff, false, 1480},
		{1500, 1500, 1400, true, 1372}, {1500, 1500, 1280, true, 1252}, {1500, 1500, 9000, true, 1472},
		{9000, 9000, 1280, false, 1260}, {9000, 9000, 1281, false, 1261}, {9000, 9000, 1400, false, 1380},
		{9000, 9000, 1500, false, 1480}, {9000, 9000, 1501, false, 1481}, {9000, 9000, 9000, false, 8980},
		{9000, 9000, 65535, false, 8980}, {9000, 9000, 66936, false, 8980}, {9000, 9000, 1400, true, 1372},
		{1300, 1500, 1400, false, 1300}, {1500, 1500, 87, false, 0}, {1500, 1500, 0, false, 0},
		{1500, 1500, 88, false, 68}, {1500, 1500, 88, true, 68},
	} {
		t.Run(fmt.Sprintf("6to4/%d-%d/%d-frag-%t", c.mtu4, c.mtu6, c.in, c.frag), func(t *testing.T) {
			quote := quote6
			if c.frag {
				quote = pt.IP(pt.Header{Src: pt.H4in6, Dst: pt.M6}, pt.Fragment(9, 0, true, pt.UDP(7001, 7000, pt.Bytes(96, 0))))
			}
			pkt := pt.IP(pt.From6(), pt.ICMP(2, 0, c.in, quote))
			x := fixture(t, mtus(c.mtu4, c.mtu6))
			if c.want == 0 {
				refused(t, x, pkt, translate.ICMPMTU)
				return
			}
			require.EqualValues(t, c.want, binary.BigEndian.Uint32(data(forwarded(t, x, pkt))[4:]))
		})
	}
}

// TestHeaders4to6 looks at every field of the IPv6 header and the Fragment
// Header.
func TestHeaders4to6(t *testing.T) {
	x := fixture(t)
	udp := pt.UDP(1, 2, pt.Bytes(92, 0)) // 100 bytes
	for tos := range 256 {
		h := pt.From4()
		h.TOS, h.TTL = uint8(tos), uint8(tos)|2
		h.ID = 0x4711
		out := forwarded(t, x, pt.IP(h, udp))
		require.Equal(t, uint32(6<<28|tos<<20), binary.BigEndian.Uint32(out))
		require.Equal(t, []byte{0, 100, 17, uint8(tos) | 2 - 1}, out[4:8])
		require.Equal(t, pt.H4in6.AsSlice(), out[8:24])
		require.Equal(t, pt.M6.AsSlice(), out[24:40])
	}
	for _, c := range []struct {
		off8    uint16
		mf, df  bool
		evil    bool
		n       int
		want    uint16
		hasFrag bool
	}{
		{0, false, true, false, 100, 0, false},
		{0, false, false, false, 100, 0, false},
		{0, true, false, false, 96, 1, true},
		{5, false, true, false, 100, 5 << 3, true},
		{5, true, false, true, 96, 5<<3 | 1, true},
		{8000, true, false, false, 96, 8000<<3 | 1, true},
	} {
		h := pt.From4()
		h.Off8, h.MF, h.DF, h.ID = c.off8, c.mf, c.df, 0xbeef
		h.Options = []byte{7, 7, 4, 0, 0, 0, 0, 0} // record route
		pkt := pt.IP(h, pt.Part(udp, 0, c.n))
		if c.evil {
			pkt = pt.Edit(pkt, func(b []byte) { b[6] |= 0x80 })
		}
		out := forwarded(t, x, pkt)
		if !c.hasFrag {
			require.Equal(t, []byte{0, 100, 17}, out[4:7])
			continue
		}
		require.Equal(t, []byte{0, byte(c.n) + 8, 44}, out[4:7])
		require.Equal(t, []byte{17, 0, byte(c.want >> 8), byte(c.want), 0, 0, 0xbe, 0xef}, out[40:48])
		if c.off8 != 0 {
			require.Equal(t, pkt[28:], out[48:])
		}
	}
}

// TestHeaders6to4 looks at every field of the IPv4 header.
func TestHeaders6to4(t *testing.T) {
	x := fixture(t)
	udp := pt.UDP(1, 2, pt.Bytes(92, 0))
	for tc := range 256 {
		h := pt.From6()
		h.TOS, h.TTL, h.FlowLabel = uint8(tc), uint8(tc)|2, 0xabcde
		out := forwarded(t, x, pt.IP(h, udp))
		require.Equal(t, []byte{0x45, uint8(tc), 0, 120, 0, 0, 0, 0, uint8(tc) | 2 - 1, 17}, out[:10])
		require.Equal(t, pt.M4.AsSlice(), out[12:16])
		require.Equal(t, pt.H4.AsSlice(), out[16:20])
	}
	for _, c := range []struct {
		name string
		p    pt.Payload
		want []byte // bytes 2 to 9
	}{
		{"1280", pt.UDP(1, 2, make([]byte, 1232)), []byte{1260 >> 8, 1260 & 255, 0, 0, 0, 0, 63, 17}},
		{"1281", pt.UDP(1, 2, make([]byte, 1233)), []byte{1261 >> 8, 1261 & 255, 0, 0, 0x40, 0, 63, 17}},
		{"1288-with-hop-by-hop", pt.HopByHop(8, pt.UDP(1, 2, make([]byte, 1232))), []byte{1260 >> 8, 1260 & 255, 0, 0, 0, 0, 63, 17}},
		{"atomic", pt.Fragment(0x12345, 0, false, udp), []byte{0, 120, 0x23, 0x45, 0, 0, 63, 17}},
		{"atomic-large", pt.Fragment(1, 0, false, pt.UDP(1, 2, make([]byte, 1400))), []byte{1428 >> 8, 1428 & 255, 0, 1, 0, 0, 63, 17}},
		{"atomic-echo", pt.Fragment(0x12345, 0, false, pt.EchoRequest(1, 2, nil)), []byte{0, 28, 0x23, 0x45, 0, 0, 63, 1}},
		{"first", pt.Fragment(0x1234beef, 0, true, pt.Part(udp, 0, 96)), []byte{0, 116, 0xbe, 0xef, 0x20, 0, 63, 17}},
		{"middle", pt.Fragment(0x1234beef, 5, true, pt.Part(udp, 0, 96)), []byte{0, 116, 0xbe, 0xef, 0x20, 5, 63, 17}},
		{"last", pt.Fragment(0x1234beef, 5, false, pt.Part(udp, 0, 99)), []byte{0, 119, 0xbe, 0xef, 0, 5, 63, 17}},
		{"chain", pt.HopByHop(8, pt.DestOpts(24, pt.Routing(0, pt.DestOpts(8, udp)))), []byte{0, 120, 0, 0, 0, 0, 63, 17}},
		{"hop-by-hop-fragment", pt.HopByHop(8, pt.Fragment(7, 0, true, pt.Part(udp, 0, 24))), []byte{0, 44, 0, 7, 0x20, 0, 63, 17}},
		{"reserved-bits", reserved(pt.Fragment(7, 0, true, pt.Part(udp, 0, 24))), []byte{0, 44, 0, 7, 0x20, 0, 63, 17}},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, forwarded(t, x, pt.IP(pt.From6(), c.p))[2:10])
		})
	}
}

// TestExtensions is the table of RFC 4884 lengths: bytes quoted, bytes
// translated, bytes padded, length field.
func TestExtensions(t *testing.T) {
	x := fixture(t)
	long4 := pt.IP(pt.Header{Src: pt.M4, Dst: pt.H4}, pt.UDP(1, 2, pt.Bytes(400, 0)))
	long6 := pt.IP(pt.Header{Src: pt.H4in6, Dst: pt.M6}, pt.UDP(1, 2, pt.Bytes(400, 0)))
	frag4 := pt.IP(pt.Header{Src: pt.M4, Dst: pt.H4, MF: true}, pt.Part(pt.UDP(1, 2, pt.Bytes(400, 0)), 0, 400))
	frag6 := pt.IP(pt.Header{Src: pt.H4in6, Dst: pt.M6}, pt.Fragment(1, 0, true, pt.Part(pt.UDP(1, 2, pt.Bytes(400, 0)), 0, 400)))
	opts4 := pt.IP(pt.Header{Src: pt.M4, Dst: pt.H4, Options: make([]byte, 40)}, pt.UDP(1, 2, pt.Bytes(400, 0)))
	udp := func(src, dst string, n int) []byte {
		return pt.IP(pt.Header{Src: addr(src), Dst: addr(dst)}, pt.UDP(1, 2, pt.Bytes(n, 0)))
	}
	for _, c := range []struct {
		name                   string
		quote                  []byte
		translated, padded, ln int
	}{
		{"28", udp("192.0.2.6", "198.51.100.4", 0), 48, 128, 16},
		{"100", udp("192.0.2.6", "198.51.100.4", 72), 120, 128, 16},
		{"128", long4[:128], 148, 152, 19},
		{"128-fragment", frag4[:128], 156, 160, 20},
		{"128-options", opts4[:128], 108, 128, 16},
		{"48", udp("2001:db8:64::c633:6404", "2001:db8:6::6", 0), 28, 128, 32},
		{"120", udp("2001:db8:64::c633:6404", "2001:db8:6::6", 72), 100, 128, 32},
		{"152", long6[:152], 132, 132, 33},
		{"160-fragment", frag6[:160], 132, 132, 33},
		{"128-6to4", long6[:128], 108, 128, 32},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, typ, lenAt := pt.From4(), uint8(11), 4
			if c.quote[0]>>4 == 6 {
				h, typ, lenAt = pt.From6(), 3, 5
			}
			out := data(forwarded(t, x, pt.IP(h, pt.ExtendedError(typ, 0, 0, c.quote, pt.MPLS()))))
			require.EqualValues(t, c.ln, out[lenAt])
			require.Len(t, out, 8+c.padded+len(pt.MPLS()))
			require.Equal(t, pt.MPLS(), out[8+c.padded:])
			require.Equal(t, make([]byte, c.padded-c.translated), out[8+c.translated:8+c.padded])
			end := c.quote[len(c.quote)-8 : len(c.quote)-4] // before a UDP checksum
			require.Equal(t, end, out[8+c.translated-8:8+c.translated-4], "end of the quote")
		})
	}
}

func reserved(p pt.Payload) pt.Payload {
	return func(src, dst netip.Addr) (uint8, []byte) {
		proto, b := p(src, dst)
		b[1], b[3] = 0xff, b[3]|6
		return proto, b
	}
}
