package translate

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// TestSourceRouteBounds: options that hold a source route which is not used up, and
// those that do not, to the byte.
func TestSourceRouteBounds(t *testing.T) {
	for _, c := range []struct {
		opts string
		want bool
	}{
		{"\x83\x07\x04\x01\x01\x01\x01\x00", true},
		{"\x89\x07\x04\x01\x01\x01\x01\x00", true},
		{"\x82\x07\x04\x01\x01\x01\x01\x00", false}, // another option
		{"\x83\x07\x07\x01\x01\x01\x01\x00", true},
		{"\x83\x07\x08\x01\x01\x01\x01\x00", false}, // used up
		{"\x83\x03\x03\x00", true},
		{"\x83\x03\x04\x00", false},
		{"\x83\x02\x00\x00", false},                 // without a pointer
		{"\x83\x02\x83\x03\x01\x00\x00\x00", true},  // one without, and another
		{"\x83\x01\x01\x00", false},                 // shorter than its own header
		{"\x83\x00\x01\x00", false},                 //
		{"\x07\x01\x83\x03\x01\x00\x00\x00", false}, // what follows one cannot be read
		{"\x07\x02\x83\x03\x01\x00\x00\x00", true},
		{"\x07\x03\x83\x83\x03\x01\x00\x00", true},
		{"\x07\x04\x83\x03\x01\x00\x00\x00", false},
		{"\x83\x08\x04\x01\x01\x01\x01\x01", true},  // all of the options
		{"\x83\x09\x04\x01\x01\x01\x01\x01", false}, // more than there are
		{"\x01\x01\x01\x83\x03\x01\x00\x00", true},
		{"\x00\x01\x01\x83\x03\x01\x00\x00", false}, // after the end
		{"\x01\x01\x01\x83\x03", false},
		{"\x01\x01\x01\x83", false},
		{"\x01\x01\x01\x01", false},
		{"", false},
	} {
		b := make([]byte, len(c.opts)) // no room after it
		copy(b, c.opts)
		if got := sourceRouted(b); got != c.want {
			t.Errorf("%x: %v", c.opts, got)
		}
	}
}

// TestRead4Bounds: the lengths in an IPv4 header against each other and against what
// there is.
func TestRead4Bounds(t *testing.T) {
	for _, c := range []struct {
		first      byte
		total, len int
		want       Reason
	}{
		{0x45, 20, 20, pass}, {0x45, 20, 19, BadHeader}, {0x45, 19, 20, BadHeader}, {0x45, 0, 20, BadHeader},
		{0x45, 65535, 20, pass}, {0x44, 20, 20, BadHeader}, {0x46, 24, 24, pass}, {0x46, 24, 23, BadHeader}, {0x46, 23, 24, BadHeader},
		{0x4f, 60, 60, pass}, {0x4f, 60, 59, BadHeader}, {0x40, 20, 20, BadHeader}, {0x55, 20, 20, BadHeader}, {0x35, 20, 20, BadHeader},
	} {
		b := make([]byte, c.len)
		b[0] = c.first
		binary.BigEndian.PutUint16(b[2:], uint16(c.total))
		var h header
		got := h.read4(b)
		if got != c.want {
			t.Errorf("%#x, total length %d, %d bytes: %v, want %v", c.first, c.total, c.len, got, c.want)
		}
		if n := int(c.first&15) * 4; got == pass && (h.hdrLen != n || h.dataLen != c.total-n) {
			t.Errorf("%#x, total length %d: header %d, data %d", c.first, c.total, h.hdrLen, h.dataLen)
		}
	}
	for word, want := range map[uint16]header{
		0x0000: {}, 0x4000: {df: true}, 0x8000: {},
		0x2000: {frag: true, fh: true, more: true}, 0x0001: {frag: true, fh: true, off8: 1}, 0x1fff: {frag: true, fh: true, off8: 0x1fff},
		0x7001: {frag: true, fh: true, more: true, df: true, off8: 0x1001},
	} {
		b := make([]byte, 20)
		b[0], b[3] = 0x45, 20
		binary.BigEndian.PutUint16(b[6:], word)
		want.hdrLen = 20
		var h header
		if h.read4(b); h != want {
			t.Errorf("fragment word %#x: %+v", word, h)
		}
	}
}

// TestBadFragmentBounds: a fragment may end at 65,535 and not after, and one that is not
// the last has data, of a multiple of 8 bytes.
func TestBadFragmentBounds(t *testing.T) {
	for _, c := range []struct {
		off8 uint16
		data int
		more bool
		bad  bool
	}{
		{0, 0, false, false}, {0, 0, true, true}, {0, 8, true, false}, {0, 7, true, true}, {0, 9, true, true}, {1, 1, false, false},
		{0x1fff, 7, false, false}, {0x1fff, 8, false, true}, {0x1fff, 8, true, true}, {0x1ffe, 8, true, false}, {1, 65527, false, false}, {1, 65528, false, true},
		{1, 65528, true, true}, {0, 65535, false, false}, {0, 65528, true, false},
	} {
		h := header{off8: c.off8, dataLen: c.data, more: c.more}
		if got := h.badFragment(); got != c.bad {
			t.Errorf("%d bytes at %d, more %v: bad %v", c.data, int(c.off8)*8, c.more, got)
		}
	}
}

// chain builds extension headers: pairs of a header's number and its length in bytes, the
// number of the protocol, and 4 bytes of data. A Routing header has segments left.
func chain(proto byte, pairs ...int) []byte {
	b := make([]byte, 40)
	b[0] = 0x60
	next := 6
	for i := 0; i < len(pairs); i += 2 {
		at, n := len(b), pairs[i+1]
		b[next] = byte(pairs[i])
		b = append(b, make([]byte, n)...)
		switch pairs[i] {
		case protoAH:
			b[at+1] = byte(n/4 - 2)
		case protoFragment:
			b[at+1] = 0xee // reserved
		default:
			b[at+1] = byte(n/8 - 1)
		}
		if pairs[i] == protoRouting {
			b[at+3] = 1
		}
		next = at
	}
	b[next] = proto
	b = append(b, 1, 2, 3, 4)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	return b
}

// TestWalk6Bounds: extension headers that end with what there is, or a byte later.
func TestWalk6Bounds(t *testing.T) {
	const hop, route, frag, dest = protoHopByHop, protoRouting, protoFragment, protoDestOpts
	for _, pairs := range [][]int{
		{hop, 8}, {hop, 16}, {dest, 8}, {dest, 2048}, {route, 8}, {route, 24}, {frag, 8}, {hop, 8, dest, 16}, {hop, 8, route, 8, dest, 8}, {hop, 24, frag, 8}, {dest, 8, route, 16, frag, 8},
	} {
		whole := chain(protoUDP, pairs...)
		at, routing, nextOff := 40, 0, 0
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == route && routing == 0 {
				routing = at
			}
			nextOff = at
			at += pairs[i+1]
		}
		for n := 40; n <= len(whole); n++ {
			b := make([]byte, n) // no room after it
			copy(b, whole)
			var h header
			got, want := h.read6(b), pass
			if n < at {
				want = BadExtensionHeader
			}
			if got != want {
				t.Fatalf("%v, %d bytes: %v, want %v", pairs, n, got, want)
			}
			if got == pass && (h.hdrLen != at || h.dataLen != 4 || int(h.routing) != routing || int(h.nextOff) != nextOff || h.proto != protoUDP) {
				t.Fatalf("%v, %d bytes: %+v", pairs, n, h)
			}
		}
		// The payload ends inside of a header that is there.
		for n := 40; n < at; n++ {
			b := bytes.Clone(whole)
			binary.BigEndian.PutUint16(b[4:], uint16(n-40))
			var h header
			if got := h.read6(b); got != BadExtensionHeader {
				t.Fatalf("%v, payload of %d bytes: %v", pairs, n-40, got)
			}
		}
	}
	for proto := range 256 {
		var h header
		got, want := h.read6(chain(byte(proto), frag, 8)), pass
		switch proto {
		case 0, 43, 44, 51, 60, 135, 139, 140:
			want = FragmentChain
		}
		if got != want {
			t.Errorf("protocol %d after a Fragment Header: %v, want %v", proto, got, want)
		}
	}
}

// TestLeadsElsewhereBounds: where a chain of headers leads, to the byte.
func TestLeadsElsewhereBounds(t *testing.T) {
	const frag, dest, ah = protoFragment, protoDestOpts, protoAH
	for _, pairs := range [][]int{
		{frag, 8, dest, 8}, {frag, 8, dest, 24}, {frag, 8, frag, 8}, {frag, 8, ah, 8}, {frag, 8, ah, 12}, {frag, 8, ah, 24, dest, 16}, {frag, 8, protoMobility, 8}, {frag, 8, protoHIP, 40},
	} {
		for proto, leads := range map[byte]bool{protoUDP: true, protoICMPv6: false, protoICMPv4: true, 59: true} {
			whole := chain(proto, pairs...)
			for n := 40; n <= len(whole); n++ {
				b := make([]byte, n)
				copy(b, whole)
				if got, want := leadsElsewhere(b), leads && n > len(whole)-4; got != want {
					t.Fatalf("%v to %d, %d bytes of %d: %v", pairs, proto, n, len(whole), got)
				}
			}
		}
	}
}

// TestHeaderSumBounds: the checksum covers all of an IPv4 header and nothing after it.
func TestHeaderSumBounds(t *testing.T) {
	for n := 20; n <= 60; n += 4 {
		b := make([]byte, 64)
		for i := range b {
			b[i] = byte(i * 7)
		}
		first := headerSum4(b, n)
		for i := range b {
			b[i] ^= 1
			if changed := headerSum4(b, n) != first; changed != (i < n) {
				t.Errorf("header of %d bytes: byte %d counts: %v", n, i, changed)
			}
			b[i] ^= 1
		}
	}
}
