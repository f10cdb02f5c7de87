package packettest

import (
	"encoding/binary"
	"slices"
)

// Mutate returns a copy of pkt with one thing changed: a byte or a bit, mostly
// in the headers; the packet cut short or padded; a length field that lies. In
// about half of the cases the checksums of the IPv4 header and of an
// unfragmented ICMP message are right again afterwards, so that the change is
// not discovered by them.
func (g *Gen) Mutate(pkt []byte) []byte {
	b := slices.Clone(pkt)
	if len(b) == 0 {
		return b
	}
	at := g.rng.IntN(len(b))
	if !g.one(4) {
		at = g.rng.IntN(min(len(b), 120))
	}
	switch g.rng.IntN(10) {
	case 0, 1:
		b[at] ^= 1 << g.rng.IntN(8)
	case 2:
		b[at] = g.byte()
	case 3:
		b[at] = pick(g, uint8(0), 0xff, ^b[at])
	case 4:
		b = b[:at]
	case 5:
		b = b[:g.rng.IntN(len(b))]
	case 6:
		b = append(b, g.bytes(1+g.rng.IntN(32))...)
	case 7, 8:
		g.lie(b)
	case 9: // cut, and the length field knows
		if n := headerLen(b); n < len(b) {
			b = b[:n+g.rng.IntN(len(b)-n)]
			tellLength(b)
		}
	}
	if g.one(2) {
		FixChecksums(b)
	}
	return b
}

// lie changes the length field of the header.
func (g *Gen) lie(b []byte) {
	at := 2
	if b[0]>>4 == 6 {
		at = 4
	}
	if len(b) < at+2 {
		return
	}
	n := int(binary.BigEndian.Uint16(b[at:]))
	n = pick(g, n-1, n+1, n-8, n+8, n-g.rng.IntN(n+1), 0, 20, 40, 65535, g.rng.IntN(65536))
	binary.BigEndian.PutUint16(b[at:], uint16(n))
}

// headerLen is the length of the fixed header, with IPv4 options.
func headerLen(b []byte) int {
	if b[0]>>4 == 4 {
		return int(b[0]&15) * 4
	}
	return 40
}

// tellLength makes the length field fit the packet.
func tellLength(b []byte) {
	switch {
	case len(b) < 20:
	case b[0]>>4 == 4:
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	case len(b) >= 40:
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	}
}

// FixChecksums makes the checksums of the IPv4 header and of an ICMP message
// right as far as they can be found: the message is taken from after the fixed
// header, extension headers are not skipped.
func FixChecksums(b []byte) {
	FixHeader(b)
	if len(b) < 20 {
		return
	}
	n := headerLen(b)
	switch {
	case b[0]>>4 == 4 && b[9] == 1 && n >= 20:
		end := min(len(b), int(binary.BigEndian.Uint16(b[2:])))
		if n+4 <= end {
			binary.BigEndian.PutUint16(b[n+2:], 0)
			binary.BigEndian.PutUint16(b[n+2:], ^Sum(b[n:end]))
		}
	case b[0]>>4 == 6 && len(b) >= 44 && b[6] == 58:
		end := min(len(b), 40+int(binary.BigEndian.Uint16(b[4:])))
		if end >= 44 {
			h, _, _ := take(b)
			binary.BigEndian.PutUint16(b[42:], 0)
			binary.BigEndian.PutUint16(b[42:], ^Sum(Pseudo(h.Src, h.Dst, 58, end-40), b[40:end]))
		}
	}
}
