package translate

import (
	"encoding/binary"

	"github.com/steppe-nat64/steppe/internal/checksum"
)

// ports are what a transport header gets as its source and destination port; of an
// ICMP Echo message both are the identifier. Tables leave them alone: only who maps a
// flow by its ports sets them.
type ports struct {
	src, dst uint16
	set      bool
	pref64   uint8 // the number of the prefix inside which the host sees its peer
}

// rewriteTo6 rewrites the transport header that the data of an IPv4 packet begins
// with for the addresses a, and returns the next header value of what it is now: RFC
// 7915 §4.2, §4.5. data may be cut short, as in a quote; what is cut off is left out.
// delta is a.to6().
func (h *header) rewriteTo6(data []byte, a *addresses, delta uint64) (next uint8) {
	switch {
	case h.proto == protoICMPv4:
		if h.off8 == 0 {
			// ICMPv4 has no pseudo-header, ICMPv6 has one.
			to, _, _ := icmpCounterpart(rules4to6[:], data[0], 0)
			h.rewriteEcho(data, to, a.src6.sum()+a.dst6.sum()+pseudo6(h.dataLen))
		}
		return protoICMPv6
	case h.off8 == 0:
		h.rewritePorts(data, delta)
	}
	return h.proto
}

// rewriteTo4 is rewriteTo6 for an IPv6 packet that becomes IPv4: RFC 7915 §5.2, §5.5.
// delta is a.to4().
func (h *header) rewriteTo4(data []byte, a *addresses, delta uint64) (proto uint8) {
	switch {
	case h.proto == protoICMPv6:
		if h.off8 == 0 {
			to, _, _ := icmpCounterpart(rules6to4[:], data[0], 0)
			h.rewriteEcho(data, to, checksum.Minus(a.src6.sum()+a.dst6.sum()+pseudo6(h.dataLen)))
			zeroSum4(data)
		}
		return protoICMPv4
	case h.off8 == 0:
		h.rewritePorts(data, delta)
	}
	return h.proto
}

// rewriteHairpin is rewriteTo6 for an IPv6 packet that stays one. delta is the change of
// the pseudo-header's sum.
func (h *header) rewriteHairpin(data []byte, delta uint64) {
	switch {
	case h.off8 != 0:
	case h.proto == protoICMPv6:
		h.rewriteEcho(data, data[0], delta)
	default:
		h.rewritePorts(data, delta)
	}
}

// rewriteEcho gives the ICMP Echo message in data another type and, if that is set,
// identifier. pseudo is the change of its pseudo-header's sum.
func (h *header) rewriteEcho(data []byte, to uint8, pseudo uint64) {
	delta := pseudo + uint64(to)<<8 + checksum.Minus(uint64(data[0])<<8)
	data[0] = to
	if h.ports.set && len(data) >= 6 {
		id := data[4:6]
		delta += uint64(h.ports.src) + checksum.Minus(uint64(binary.BigEndian.Uint16(id)))
		binary.BigEndian.PutUint16(id, h.ports.src)
	}
	if len(data) >= 4 {
		checksum.Update(data[2:], delta)
	}
}

// rewritePorts sets the ports in data, if they are to be set, lowers the MSS of a SYN, and
// updates the checksum. delta is the change of the pseudo-header's sum. data may end before the
// checksum.
func (h *header) rewritePorts(data []byte, delta uint64) {
	off := checksumOffset(h.proto)
	if h.ports.set && off != 0 && len(data) >= 4 {
		delta += h.setPorts(data)
	}
	if h.mss != 0 && h.isSYN(data) {
		delta += h.clampMSS(data)
	}
	if off == 0 || len(data) < off+2 {
		return
	}
	c := data[off : off+2]
	switch {
	case h.partial:
		binary.BigEndian.PutUint16(c, checksum.Fold(uint64(binary.BigEndian.Uint16(c))+delta))
	case h.proto == protoTCP || h.proto == protoDCCP:
		checksum.Update(c, delta)
	case h.proto == protoUDP && c[0]|c[1] == 0: // no checksum: RFC 768
	default:
		checksum.Update(c, delta)
		if c[0]|c[1] == 0 {
			c[0], c[1] = 0xff, 0xff // RFC 768: zero would mean "no checksum"
		}
	}
}

// setPorts sets the ports in data and returns the change of the checksum's sum. A
// partial checksum is the sum of the pseudo-header itself, not its complement, and
// covers no ports.
func (h *header) setPorts(data []byte) (delta uint64) {
	was, now := binary.BigEndian.Uint32(data), uint32(h.ports.src)<<16|uint32(h.ports.dst)
	binary.BigEndian.PutUint32(data, now)
	if h.partial {
		return 0
	}
	return uint64(now) + checksum.Minus(uint64(was))
}

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
	v := ^checksum.Fold(checksum.Sum(hdr) + checksum.Sum(payload) + pseudo)
	if v == 0 && proto == protoUDP {
		v = 0xffff
	}
	binary.BigEndian.PutUint16(c, v)
}

// setUDP6 gives the UDP packet in data the checksum that it never had.
func setUDP6(data []byte, src, dst addr6) {
	n := udpLen(data)
	c := ^checksum.Fold(checksum.Sum(data[:n]) + src.sum() + dst.sum() + uint64(n) + protoUDP)
	if c == 0 {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(data[6:], c)
}

// zeroSum4 repairs the checksum that update has left in an ICMPv4 message of zeros
// alone. ICMPv4 has no pseudo-header, so an Echo Reply may be one: the only sum that
// is 0, which RFC 1624 equation 3 takes for 0xffff.
func zeroSum4(data []byte) {
	if len(data) >= 4 && data[2]|data[3] == 0 && checksum.Sum(data) == 0 {
		data[2], data[3] = 0xff, 0xff
	}
}

// pseudo6 is the part of the ICMPv6 pseudo-header that ICMPv4 does not have,
// addresses aside: RFC 8200 §8.1.
func pseudo6(length int) uint64 { return uint64(length) + protoICMPv6 }
