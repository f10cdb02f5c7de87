package refxlat

import (
	"encoding/binary"
	"slices"
)

// words cuts b into 16-bit words; an odd length is filled with a zero byte.
func words(b []byte) []uint16 {
	b = slices.Clone(b)
	if len(b)%2 != 0 {
		b = append(b, 0)
	}
	var w []uint16
	for i := 0; i < len(b); i += 2 {
		w = append(w, binary.BigEndian.Uint16(b[i:]))
	}
	return w
}

// add is ones' complement addition: the carry goes around.
func add(a, b uint16) uint16 {
	s := uint32(a) + uint32(b)
	if s > 0xffff {
		s -= 0xffff
	}
	return uint16(s)
}

// sum is the ones' complement sum of b, RFC 1071.
func sum(b []byte) uint16 {
	s := uint16(0)
	for _, w := range words(b) {
		s = add(s, w)
	}
	return s
}

// update is RFC 1624, equation 3: HC' = ~(~HC + ~m + m'). Bytes before, which
// hc covers, have become after; both begin at an even offset. A checksum that
// was wrong stays wrong.
func update(hc uint16, before, after []byte) uint16 {
	s := ^hc
	for _, m := range words(before) {
		s = add(s, ^m)
	}
	for _, m := range words(after) {
		s = add(s, m)
	}
	return ^s
}

// pseudo is what the checksum of p covers besides p's data: addresses, length
// and protocol, RFC 8200 §8.1. The shorter form for IPv4, RFC 768, has the same
// sum. ICMPv4 has none.
func pseudo(p packet) []byte {
	if p.proto == icmp4 {
		return nil
	}
	b := append(p.src.AsSlice(), p.dst.AsSlice()...)
	b = binary.BigEndian.AppendUint32(b, uint32(p.length))
	return binary.BigEndian.AppendUint32(b, uint32(p.proto))
}

// checksumAt is where a protocol's checksum lies, if a change of addresses
// matters to it.
var checksumAt = map[uint8]int{tcp: 16, udp: 6, dccp: 6, udpLite: 6, icmp4: 2, icmp6: 2}

// carry moves the checksum in after.data, a copy of before.data, from the
// addresses, the protocol and the first bytes of before to those of after: the type of
// an ICMP message, ports, and identifiers.
// Later fragments and data cut before the checksum stay as they are, and
// so does a UDP checksum of 0. To UDP-Lite 0 is a number like any other, which
// only a quote can hold.
func carry(before, after packet) {
	at, ok := checksumAt[after.proto]
	if !ok || after.off8 != 0 || len(after.data) < at+2 {
		return
	}
	ck := binary.BigEndian.Uint16(after.data[at:])
	if ck == 0 && after.proto == udp {
		return
	}
	ck = update(ck, append(pseudo(before), covered(before.data, at)...), append(pseudo(after), covered(after.data, at)...))
	if ck == 0 && (after.proto == udp || after.proto == udpLite) {
		ck = 0xffff
	}
	binary.BigEndian.PutUint16(after.data[at:], ck)
	if after.proto == icmp4 && sum(after.data) == 0 {
		// An Echo Reply of nothing but zeros: nothing else has this sum, and
		// equation 3 takes it for 0xffff.
		binary.BigEndian.PutUint16(after.data[at:], 0xffff)
	}
}

// covered is what the translator may change of a transport header: of the first eight bytes,
// as far as they are there, all but the checksum.
func covered(data []byte, at int) []byte {
	data = data[:min(8, len(data)/2*2)]
	if at >= len(data) {
		return data
	}
	return append(slices.Clone(data[:at]), data[at+2:]...)
}

// computeUDP gives the datagram p a checksum over as many bytes as its own
// length field says.
func computeUDP(p packet) {
	p.length = int(binary.BigEndian.Uint16(p.data[4:]))
	ck := ^sum(append(pseudo(p), p.data[:p.length]...))
	if ck == 0 {
		ck = 0xffff
	}
	binary.BigEndian.PutUint16(p.data[6:], ck)
}

// icmpChecksum returns the checksum of the ICMP message p, whose checksum field
// is 0.
func icmpChecksum(p packet) uint16 { return ^sum(append(pseudo(p), p.data...)) }

// icmpRight reports whether the checksum of the ICMP message p is right.
func icmpRight(p packet) bool { return sum(append(pseudo(p), p.data...)) == 0xffff }
