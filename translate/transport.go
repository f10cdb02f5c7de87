package translate

import "encoding/binary"

// minTransport is the length of the shortest header of a protocol that we
// change something in.
func minTransport(proto uint8) int {
	switch proto {
	case protoTCP:
		return 20
	case protoUDP, protoUDPLite, protoICMPv4, protoICMPv6:
		return 8
	case protoDCCP:
		return 12
	}
	return 0
}

// shape checks that data holds the transport header that a whole packet or a
// first fragment must begin with, and refuses fragments that would overwrite
// one: RFC 1858 §3, RFC 3128.
func (h *header) shape(data []byte) Reason {
	if h.off8 != 0 {
		if h.off8 == 1 && h.proto == protoTCP {
			return TinyFragment
		}
		return pass
	}
	if len(data) < minTransport(h.proto) {
		if h.frag {
			return TinyFragment
		}
		return ShortTransport
	}
	if h.proto == protoUDPLite && data[6]|data[7] == 0 {
		return UDPZeroChecksum // never allowed: RFC 3828 §3.1
	}
	return pass
}

// udpZero checks a UDP packet without checksum that is to become IPv6, RFC 7915
// §4.5: by mode it is refused, passed on, or given a checksum by setUDP6.
func (h *header) udpZero(mode UDPZero, data []byte) Reason {
	switch mode {
	case UDPZeroForward:
		return pass
	case UDPZeroCompute:
		if h.more {
			break // the rest of the datagram is not here
		}
		if n := udpLen(data); n < 8 || n > len(data) {
			return ShortTransport
		}
		return pass
	}
	return UDPZeroChecksum
}

// hasNoChecksum reports whether data begins with the header of a UDP packet
// without checksum.
func (h *header) hasNoChecksum(data []byte) bool {
	return h.proto == protoUDP && h.off8 == 0 && data[6]|data[7] == 0 && !h.partial
}

func udpLen(data []byte) int { return int(binary.BigEndian.Uint16(data[4:])) }
