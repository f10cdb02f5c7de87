package clat

import (
	"net/netip"
	"testing"
)

// TestChooseSource: rule 6, then rule 8, then room for another address, then the order.
func TestChooseSource(t *testing.T) {
	for _, c := range []struct {
		name, pref64 string
		addrs        []string
		want         int
	}{
		{"none", "64:ff9b::/96", nil, -1},
		{"no-ipv6", "64:ff9b::/96", []string{"192.0.2.1/24", "::ffff:192.0.2.1/96"}, -1},
		{"one", "64:ff9b::/96", []string{"2001:db8:1::1/64"}, 0},
		// A unique local address is of no use towards a prefix of the Internet.
		{"label-global", "64:ff9b::/96", []string{"fd00::1/64", "2001:db8:1::1/64"}, 1},
		{"label-global-first", "2001:db8:64::/96", []string{"2001:db8:1::1/64", "fd00::1/64"}, 0},
		{"label-local", "fd00:64::/96", []string{"2001:db8:1::1/64", "fd00:1::1/64"}, 1},
		{"label-6to4", "2001:db8:64::/96", []string{"2002:c000:201::1/64", "2a00::1/64"}, 1},
		{"label-teredo", "2001:db8:64::/96", []string{"2001::1/64", "2a00::1/64"}, 1},
		{"label-only-local", "64:ff9b::/96", []string{"fd00::1/64"}, 0},
		// Rule 6 comes before rule 8.
		{"label-before-length", "2001:db8:64::/96", []string{"2001:0:db8::1/64", "a000::1/64"}, 1},
		{"longest", "2001:db8:64::/96", []string{"2001:db9:1::1/64", "2001:db8:1::1/64", "2a00::1/64"}, 1},
		{"longest-nat64-of-the-provider", "2a00:1:ffff::/96", []string{"2a00:2::1/64", "2a00:1::1/64"}, 1},
		// Bits after the prefix of the source, or after that of the NAT64, do not count.
		{"up-to-the-source", "2001:db8:1:1::/96", []string{"2001:db8:1:0::1/48", "2001:db8:1:1::1/48"}, 0},
		{"up-to-pref64", "2001:db8::/32", []string{"2001:db8:1::1/64", "2001:db8::1/64"}, 0},
		{"room", "64:ff9b::/96", []string{"2001:db8:1::5/128", "2001:db8:1::1/64"}, 1},
		{"room-comes-last", "2001:db8:64::/96", []string{"2001:db8:1::5/128", "2a00::1/64"}, 0},
		{"first", "64:ff9b::/96", []string{"2001:db8:2::1/64", "2001:db8:1::1/64"}, 0},
	} {
		var addrs []netip.Prefix
		for _, a := range c.addrs {
			addrs = append(addrs, netip.MustParsePrefix(a))
		}
		addrs = append(addrs, netip.Prefix{})
		if got := ChooseSource(netip.MustParsePrefix(c.pref64), addrs); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// TestLabel: the default policy table of RFC 6724 §2.1.
func TestLabel(t *testing.T) {
	for addr, want := range map[string]int{
		"::1": 0, "2001:db8::1": 1, "64:ff9b::1": 1, "2002::1": 2, "::2": 3, "::ffff:192.0.2.1": 4,
		"2001::1": 5, "2001:1::1": 1, "fec0::1": 11, "3ffe::1": 12, "fc00::1": 13, "fd00::1": 13,
	} {
		if got := label(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %d, want %d", addr, got, want)
		}
	}
}
