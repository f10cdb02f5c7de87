package translate

import "encoding/binary"

// checksumOffset is where a protocol keeps its checksum over the pseudo-header,
// or 0 for protocols that have none or that we do not know. ICMP is not here:
// its two versions differ.
func checksumOffset(proto uint8) int {
	switch proto {
	case protoTCP:
		return 16
	case protoUDP, protoDCCP, protoUDPLite: // RFC 768, RFC 4340 §5.1, RFC 3828 §3.1
		return 6
	}
	return 0
}

// fixChecksum adds delta, the change of the pseudo-header, to the checksum in
// data, complete or partial. A partial one is the sum itself, not its complement.
func (h *header) fixChecksum(data []byte, delta uint64) {
	if !h.partial {
		fixTransport(data, h.proto, delta)
		return
	}
	c := data[checksumOffset(h.proto):]
	binary.BigEndian.PutUint16(c, fold(uint64(binary.BigEndian.Uint16(c))+delta))
}

// fixTransport adds delta, the change of the pseudo-header, to the checksum in
// data, which begins with a transport header and may end before the checksum.
func fixTransport(data []byte, proto uint8, delta uint64) {
	off := checksumOffset(proto)
	if off == 0 || len(data) < off+2 {
		return
	}
	c := data[off : off+2]
	if proto == protoTCP || proto == protoDCCP {
		update(c, delta)
		return
	}
	if proto == protoUDP && c[0]|c[1] == 0 {
		return // no checksum: RFC 768
	}
	update(c, delta)
	if c[0]|c[1] == 0 {
		c[0], c[1] = 0xff, 0xff // RFC 768: zero would mean "no checksum"
	}
}

// complete finishes a partial checksum, which fragments cannot have.
func (h *header) complete(data []byte) {
	if h.partial {
		finishChecksum(data, nil, h.proto, uint64(binary.BigEndian.Uint16(data[checksumOffset(h.proto):])))
		h.partial = false
	}
}

// finishChecksum computes the checksum of a TCP or UDP packet that consists of
// hdr, which holds the checksum field and has even length, and payload. pseudo is
// the sum of the pseudo-header.
func finishChecksum(hdr, payload []byte, proto uint8, pseudo uint64) {
	c := hdr[checksumOffset(proto):][:2]
	c[0], c[1] = 0, 0
	v := ^fold(sum(hdr) + sum(payload) + pseudo)
	if v == 0 && proto == protoUDP {
		v = 0xffff
	}
	binary.BigEndian.PutUint16(c, v)
}

// setUDP6 gives the UDP packet in data the checksum that it never had.
func setUDP6(data []byte, src, dst addr6) {
	n := udpLen(data)
	c := ^fold(sum(data[:n]) + src.sum() + dst.sum() + uint64(n) + protoUDP)
	if c == 0 {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(data[6:], c)
}

// echo6 turns the ICMPv4 Echo message in data, which may be cut short, into its
// ICMPv6 counterpart. addrs is the sum of the IPv6 addresses, length that of the
// whole message: ICMPv4 has no pseudo-header, ICMPv6 has one (RFC 7915 §4.2).
func echo6(data []byte, addrs uint64, length int) {
	to, _, _ := icmpCounterpart(rules4to6[:], data[0], 0)
	delta := addrs + pseudo6(length) + uint64(to)<<8 + minus(uint64(data[0])<<8)
	data[0] = to
	if len(data) >= 4 {
		update(data[2:], delta)
	}
}

// echo4 turns the ICMPv6 Echo message in data, which may be cut short, into its
// ICMPv4 counterpart; see echo6. RFC 7915 §5.2.
func echo4(data []byte, addrs uint64, length int) {
	to, _, _ := icmpCounterpart(rules6to4[:], data[0], 0)
	delta := minus(addrs+pseudo6(length)) + uint64(to)<<8 + minus(uint64(data[0])<<8)
	data[0] = to
	if len(data) >= 4 {
		updateICMP4(data, delta)
	}
}

// updateICMP4 is update for the ICMPv4 message that data has become. It has no
// pseudo-header, so an Echo Reply may hold nothing but zeros: the only sum that is
// 0, which equation 3 takes for 0xffff.
func updateICMP4(data []byte, delta uint64) {
	c := data[2:4]
	update(c, delta)
	if c[0]|c[1] == 0 && sum(data) == 0 {
		c[0], c[1] = 0xff, 0xff
	}
}

// pseudo6 is the part of the ICMPv6 pseudo-header that ICMPv4 does not have,
// addresses aside: RFC 8200 §8.1.
func pseudo6(length int) uint64 { return uint64(length) + protoICMPv6 }
