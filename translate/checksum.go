package translate

import "encoding/binary"

// Sums are one's complement sums of 16-bit words, kept in 64 bits until they
// are folded: 2^16, 2^32 and 2^64 are all 1 modulo 65535, so words of any of
// these widths may be added. A negative term is added as its complement.

// fold brings a sum down to 16 bits. It is 0 only for a sum of zeros.
func fold(s uint64) uint16 {
	s = s>>32 + s&0xffffffff // 33 bits
	s = s>>16 + s&0xffff     // 18 bits
	s = s>>16 + s&0xffff     // 17 bits
	s = s>>16 + s&0xffff
	return uint16(s)
}

// sum adds up b, padded with a zero octet if its length is odd. The sum of
// 65,535 octets fits 46 bits.
func sum(b []byte) (s uint64) {
	for len(b) >= 32 {
		s += sum8(b) + sum8(b[8:]) + sum8(b[16:]) + sum8(b[24:])
		b = b[32:]
	}
	for len(b) >= 4 {
		s += uint64(binary.BigEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		s += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	return s
}

// sum8 adds up eight octets; the sum fits 33 bits.
func sum8(b []byte) uint64 {
	v := binary.BigEndian.Uint64(b)
	return v>>32 + v&0xffffffff
}

// minus is −s for a sum s.
func minus(s uint64) uint64 { return uint64(^fold(s)) }

// update adds delta to the checksum at c[0:2]: RFC 1624 §3, equation 3. The
// checksum is wrong afterwards exactly if it was wrong before.
func update(c []byte, delta uint64) {
	s := uint64(^binary.BigEndian.Uint16(c)) + delta
	binary.BigEndian.PutUint16(c, ^fold(s))
}
