package translate

import (
	"encoding/binary"
	"math/bits"

	"github.com/steppe-nat64/steppe/internal/checksum"
)

// A host says in its SYN how large the segments are that it takes: the MSS option, which
// counts neither the IP nor the TCP header (RFC 9293 §3.7.1). It knows the MTU of its own
// link alone. Where errors about the path MTU get lost, its connections stall, unless a
// router on the path lowers what it says.

// MSSAuto as Config.MSSClamp is what fits through MTU4 and MTU6.
const MSSAuto = -1

// minMSS is the lowest MSS that is set. It is what a host may send to another that has not
// said anything (RFC 9293 §3.7.1, MUST-15), so every IPv4 path carries it, in fragments at
// worst. The 1220 bytes of IPv6 are no lower bound: the same segments go through IPv4.
const minMSS = 536

// lenTCP is the length of a TCP header without options.
const lenTCP = 20

// mssClamp is the largest MSS that a SYN may keep, 0 for any. A segment is an IPv4 packet
// on one side and an IPv6 packet on the other, whichever way it goes, so one limit serves
// both. Segments of DF packets, which nearly all are, have no Fragment Header.
func (c *Config) mssClamp() uint16 {
	if c.MSSClamp != MSSAuto {
		return uint16(c.MSSClamp)
	}
	return uint16(max(minMSS, min(c.MTU4-len4, c.MTU6-len6)-lenTCP))
}

// LargestMSS returns the MSS in bytes that SYNs are lowered to, 0 if they are left alone: of
// MSSAuto, what follows from MTU4 and MTU6.
func (s Settings) LargestMSS() int { return int(s.mssClamp()) }

// isSYN reports whether a transport header is that of a TCP segment with the SYN flag.
func (h *header) isSYN(data []byte) bool {
	return h.proto == protoTCP && len(data) >= lenTCP && data[13]&2 != 0
}

// clampMSS lowers each MSS option of a SYN that is above h.mss, and returns the change of
// the checksum's sum. Receivers differ in which of several options they take. A header
// that is not all there, or whose options cannot be read, stays from there on as it is.
func (h *header) clampMSS(data []byte) (delta uint64) {
	const end, nop, mss, lenMSS = 0, 1, 2, 4 // RFC 9293 §3.2
	n := int(data[12]>>4) * 4
	if n > len(data) {
		return 0
	}
	for at := lenTCP; at+lenMSS <= n; {
		kind, length := data[at], int(data[at+1])
		switch {
		case kind == nop:
			length = 1
		case kind == end || length < 2:
			return delta
		case kind == mss && length == lenMSS:
			delta += h.lowerMSS(data[at+2:], at%2 != 0)
		}
		at += length
	}
	return delta
}

// lowerMSS is clampMSS for one option. odd says that v lies across two words of the
// checksum. A partial checksum covers no options.
func (h *header) lowerMSS(v []byte, odd bool) (delta uint64) {
	was, now := binary.BigEndian.Uint16(v), h.mss
	if was <= now {
		return 0
	}
	binary.BigEndian.PutUint16(v, now)
	if h.partial {
		return 0
	}
	if odd {
		was, now = bits.ReverseBytes16(was), bits.ReverseBytes16(now)
	}
	return uint64(now) + checksum.Minus(uint64(was))
}
