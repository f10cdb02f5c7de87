package translate

import (
	"encoding/binary"
	"net/netip"
)

// Sizes in octets that the RFCs name.
const (
	minMTU4 = 68    // RFC 791 §3.2
	minMTU6 = 1280  // RFC 8200 §5
	maxLen  = 65535 // RFC 791 §3.1: Total Length
)

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
func class4(a [4]byte) scope4 {
	switch {
	case a[0]-1 < 126: // 1 to 126, by far the most frequent
		return unicast
	case a[0] == 0, a[0] == 127:
		return invalid
	case a[0] < 224:
		return unicast
	case a[0] < 240:
		return multicast
	case a == [4]byte{255, 255, 255, 255}:
		return broadcast
	}
	return reserved
}

// illegal4 reports whether no translated packet may have the address a.
func (c *Config) illegal4(a [4]byte) bool {
	s := class4(a)
	return s != unicast && (s != reserved || !c.AllowClassE)
}

// illegal6 reports whether no translated packet may have the address a: ::,
// ::1, ::ffff:0:0/96, fe80::/10 and ff00::/8 (RFC 7915 §5.1).
func illegal6(a [16]byte) bool {
	if a[0] >= 0xfe {
		return a[0] == 0xff || a[1]&0xc0 == 0x80
	}
	if a[0] != 0 || binary.BigEndian.Uint64(a[:8]) != 0 {
		return false
	}
	low := binary.BigEndian.Uint64(a[8:])
	return low <= 1 || low>>32 == 0xffff
}

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

// nonGlobalOctet tells which first octets need a look at nonGlobal.
var nonGlobalOctet = func() (t [256]bool) {
	for i := range t {
		for _, n := range nonGlobal {
			t[i] = t[i] || (uint32(i)<<24^n.prefix)&n.mask&0xff000000 == 0
		}
	}
	return t
}()

// isNonGlobal reports whether a is on the list above.
func isNonGlobal(a [4]byte) bool {
	if !nonGlobalOctet[a[0]] {
		return false
	}
	v := binary.BigEndian.Uint32(a[:])
	for _, n := range nonGlobal {
		if v&n.mask == n.prefix {
			return true
		}
	}
	return false
}

// wellKnown is the well-known prefix: RFC 6052 §2.1.
var wellKnown = netip.MustParsePrefix("64:ff9b::/96")
