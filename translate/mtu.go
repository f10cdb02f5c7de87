package translate

// plateaus are the MTUs to try when an IPv4 router does not name one, RFC 1191
// §7.1. Those below 1280 are left out: RFC 7915 §4.2 has no use for them. So is 65535,
// as no packet is longer.
var plateaus = [...]int{32000, 17914, 8166, 4352, 2002, 1492}

// ptbFromFragNeeded is the MTU of the Packet Too Big that a Fragmentation Needed
// becomes: RFC 7915 §4.2. mtu is the one it carries, quotedLen the Total Length
// of the packet that it quotes.
func (s *state) ptbFromFragNeeded(mtu, quotedLen int) int {
	if mtu == 0 {
		for _, p := range plateaus {
			if p < quotedLen {
				mtu = p
				break
			}
		}
	}
	return max(minMTU6, min(mtu+len6-len4, s.mtu6, s.mtu4+len6-len4))
}

// fragNeededFromPTB is the MTU of the Fragmentation Needed that a Packet Too Big
// becomes: RFC 7915 §5.2. If the quoted packet q has a Fragment Header, packets
// like it grow by 28 bytes on their way into IPv6, not by 20.
func (s *state) fragNeededFromPTB(mtu uint32, q *header) int {
	shrink := len6 - len4
	if q.fh {
		shrink += lenFrag
	}
	m := int(min(mtu, maxLen+uint32(shrink)))
	return max(minMTU4, min(m-shrink, s.mtu4, s.mtu6-shrink))
}

// minPTB is the lowest MTU in a Packet Too Big that leaves room for the lowest
// IPv4 MTU after translation.
const minPTB = minMTU4 + len6 - len4
