package translate

import (
	"encoding/binary"
	"net/netip"
)

// Sizes in bytes that the RFCs name.
const (
	minMTU4 = 68    // RFC 791 §3.2
	minMTU6 = 1280  // RFC 8200 §5
	maxLen  = 65535 // RFC 791 §3.1: Total Length
)

// On the packet path addresses are integers, which fit registers; arrays would
// travel through memory.
type (
	addr4 uint32
	addr6 struct{ hi, lo uint64 }
)

func make4(b [4]byte) addr4 { return addr4(binary.BigEndian.Uint32(b[:])) }

func make6(b [16]byte) addr6 {
	return addr6{binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])}
}

func (a addr4) array() (b [4]byte) {
	binary.BigEndian.PutUint32(b[:], uint32(a))
	return b
}

func (a addr6) array() (b [16]byte) {
	binary.BigEndian.PutUint64(b[:], a.hi)
	binary.BigEndian.PutUint64(b[8:], a.lo)
	return b
}

// sum is the sum of the address's 16-bit words; see fold. For IPv6 it fits 34
// bits.
func (a addr4) sum() uint64 { return uint64(a) }
func (a addr6) sum() uint64 {
	return a.hi>>32 + a.hi&0xffffffff + a.lo>>32 + a.lo&0xffffffff
}

// scope4 is what an IPv4 address may be used for.
type scope4 uint8

const (
	unicast   scope4 = iota
	reserved         // 240.0.0.0/4: unicast if the operator says so
	invalid          // 0.0.0.0/8, 127.0.0.0/8: no packet on a wire has it
	multicast        // 224.0.0.0/4
	broadcast        // 255.255.255.255
)

// class4 sorts an IPv4 address: RFC 1812 §5.3.7, RFC 6890.
func class4(a addr4) scope4 {
	switch o := a >> 24; {
	case o-1 < 126: // 1 to 126, by far the most frequent
		return unicast
	case o == 0, o == 127:
		return invalid
	case o < 224:
		return unicast
	case o < 240:
		return multicast
	case a == 0xffffffff:
		return broadcast
	}
	return reserved
}

// illegal4 reports whether no translated packet may have the address a.
func (c *Config) illegal4(a addr4) bool {
	s := class4(a)
	return s != unicast && (s != reserved || !c.AllowClassE)
}

// illegalRouter4 is illegal4 for the source of an ICMP error, which may be any address
// that looks like a host's, so that traceroute stays useful: RFC 7915 §4.1.
func illegalRouter4(a addr4) bool {
	s := class4(a)
	return s == multicast || s == broadcast
}

// illegal6 reports whether no translated packet may have the address a: ::,
// ::1, ::ffff:0:0/96, fe80::/10 and ff00::/8 (RFC 7915 §5.1).
func illegal6(a addr6) bool {
	if a.hi >= 0xfe<<56 {
		return a.hi>>56 == 0xff || a.hi>>54&3 == 2
	}
	return a.hi == 0 && (a.lo <= 1 || a.lo>>32 == 0xffff)
}

// noHosts6 are the prefixes that illegal6 knows. What IPv6 hosts send is looked
// at by illegal6; what a table makes of IPv4 addresses keeps out of them.
var noHosts6 = []netip.Prefix{
	netip.MustParsePrefix("::/127"),
	netip.MustParsePrefix("::ffff:0:0/96"),
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("ff00::/8"),
}

// silent4 are the prefixes that class4 and linkLocal4 know.
var silent4 = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("224.0.0.0/3"),
}

// linkLocal4 is what addresses of 169.254.0.0/16 begin with: RFC 3927.
const linkLocal4 = 0xa9fe

// nonGlobal lists the IPv4 addresses that the well-known prefix must not
// represent: RFC 6052 §3.1, RFC 6890 §2.2.2, RFC 6598. 192.88.99.0/24 (6to4
// relays) is left out: it is deprecated, not private.
var nonGlobal = [...]struct{ prefix, mask uint32 }{
	{0x00000000, 0xff000000}, // 0.0.0.0/8
	{0x0a000000, 0xff000000}, // 10.0.0.0/8
	{0x64400000, 0xffc00000}, // 100.64.0.0/10
	{0x7f000000, 0xff000000}, // 127.0.0.0/8
	{0xa9fe0000, 0xffff0000}, // 169.254.0.0/16
	{0xac100000, 0xfff00000}, // 172.16.0.0/12
	{0xc0000000, 0xffffff00}, // 192.0.0.0/24
	{0xc0000200, 0xffffff00}, // 192.0.2.0/24
	{0xc0a80000, 0xffff0000}, // 192.168.0.0/16
	{0xc6120000, 0xfffe0000}, // 198.18.0.0/15
	{0xc6336400, 0xffffff00}, // 198.51.100.0/24
	{0xcb007100, 0xffffff00}, // 203.0.113.0/24
	{0xe0000000, 0xe0000000}, // 224.0.0.0/4, 240.0.0.0/4
}

// nonGlobalByte tells which first bytes need a look at nonGlobal.
var nonGlobalByte = func() (t [256]bool) {
	for i := range t {
		for _, n := range nonGlobal {
			t[i] = t[i] || (uint32(i)<<24^n.prefix)&n.mask>>24 == 0
		}
	}
	return t
}()

// isNonGlobal reports whether a is on the list above.
func isNonGlobal(a addr4) bool {
	if !nonGlobalByte[a>>24] {
		return false
	}
	for _, n := range nonGlobal {
		if uint32(a)&n.mask == n.prefix {
			return true
		}
	}
	return false
}

// wellKnown is the well-known prefix: RFC 6052 §2.1.
var wellKnown = netip.MustParsePrefix("64:ff9b::/96")
