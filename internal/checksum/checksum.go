// Package checksum computes and updates the Internet checksum: RFC 1071, RFC 1624.
//
// Sums are one's complement sums of 16-bit words, kept in 64 bits until they are
// folded: 2^16, 2^32 and 2^64 are all 1 modulo 65535, so words of any of these widths
// may be added. A negative term is added as its complement. Nothing here allocates.
package checksum

import (
	"encoding/binary"
	"math/bits"
)

// Fold brings a sum down to 16 bits. It is 0 only for a sum of zeros.
func Fold(s uint64) uint16 {
	s = s>>32 + s&0xffffffff // 33 bits
	s = s>>16 + s&0xffff     // 18 bits
	s = s>>16 + s&0xffff     // 17 bits
	s = s>>16 + s&0xffff
	return uint16(s)
}

// Sum adds the 16-bit words of b up, padded with a zero byte if its length is odd. The
// sum is less than 1<<36, so that many can be added up before they are folded, and 0
// only if all bytes are.
func Sum(b []byte) (s uint64) {
	if len(b) >= 32 {
		var carry uint64
		for ; len(b) >= 32; b = b[32:] {
			s, carry = bits.Add64(s, binary.BigEndian.Uint64(b), carry)
			s, carry = bits.Add64(s, binary.BigEndian.Uint64(b[8:]), carry)
			s, carry = bits.Add64(s, binary.BigEndian.Uint64(b[16:]), carry)
			s, carry = bits.Add64(s, binary.BigEndian.Uint64(b[24:]), carry)
		}
		s, carry = bits.Add64(s, 0, carry)
		s += carry
		s = s>>32 + s&0xffffffff
	}
	for ; len(b) >= 8; b = b[8:] {
		s += Sum8(b)
	}
	if len(b) >= 4 {
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

// Sum8 is Sum for eight bytes; it panics if b is shorter. It is inlined.
func Sum8(b []byte) uint64 {
	v := binary.BigEndian.Uint64(b)
	return v>>32 + v&0xffffffff
}

// Minus is −s for a sum s.
func Minus(s uint64) uint64 { return uint64(^Fold(s)) }

// Update adds delta to the checksum at c[0:2]: RFC 1624 §3, equation 3. The checksum
// is wrong afterwards exactly if it was wrong before.
func Update(c []byte, delta uint64) {
	s := uint64(^binary.BigEndian.Uint16(c)) + delta
	binary.BigEndian.PutUint16(c, ^Fold(s))
}
