package packettest

import (
	"encoding/binary"
	"net/netip"
)

// Sum returns the ones' complement sum of b, RFC 1071, taken as 16-bit words in
// network order with a zero byte after an odd length. It is the plain loop,
// folded after every word. A part that carries its right checksum sums to
// 0xffff.
func Sum(parts ...[]byte) uint16 {
	var all []byte
	for _, b := range parts {
		all = append(all, b...)
	}
	if len(all)%2 != 0 {
		all = append(all, 0)
	}
	sum := uint32(0)
	for i := 0; i < len(all); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(all[i:]))
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// Pseudo returns the pseudo-header of an upper-layer packet of length bytes:
// RFC 768 for IPv4 addresses, RFC 8200 §8.1 for IPv6 addresses.
func Pseudo(src, dst netip.Addr, proto uint8, length int) []byte {
	b := append(src.AsSlice(), dst.AsSlice()...)
	if src.Is4() {
		b = append(b, 0, proto)
		return binary.BigEndian.AppendUint16(b, uint16(length))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(length))
	return append(b, 0, 0, 0, proto)
}
