package netlab

// sum16 adds the 16-bit words of b in ones' complement to the sum so far: RFC
// 1071. An odd last byte counts as the high half of a word.
func sum16(sum uint16, b []byte) uint16 {
	s := uint64(sum)
	for ; len(b) >= 2; b = b[2:] {
		s += uint64(b[0])<<8 | uint64(b[1])
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}
