package clat

import "net/netip"

// policies are the labels of the default policy table: RFC 6724 §2.1.
var policies = [...]struct {
	prefix netip.Prefix
	label  int
}{
	{netip.MustParsePrefix("::1/128"), 0},
	{netip.MustParsePrefix("::/0"), 1},
	{netip.MustParsePrefix("::ffff:0:0/96"), 4},
	{netip.MustParsePrefix("2002::/16"), 2},
	{netip.MustParsePrefix("2001::/32"), 5},
	{netip.MustParsePrefix("fc00::/7"), 13},
	{netip.MustParsePrefix("::/96"), 3},
	{netip.MustParsePrefix("fec0::/10"), 11},
	{netip.MustParsePrefix("3ffe::/16"), 12},
}

// label returns the label of an address, that of the longest prefix.
func label(a netip.Addr) int {
	longest, label := -1, 0
	for _, p := range policies {
		if p.prefix.Bits() > longest && p.prefix.Contains(a) {
			longest, label = p.prefix.Bits(), p.label
		}
	}
	return label
}

// ChooseSource returns which address of an uplink, each with the length of its prefix, suits
// best as a source towards pref64: RFC 6724 §5, rule 6 (matching label), then rule 8
// (longest matching prefix). Of equal ones the first counts that leaves room for another
// address, then the first. It returns -1 if there is none. Rules 2 to 4 are for the caller:
// it gives no link-local, deprecated, or tentative addresses.
func ChooseSource(pref64 netip.Prefix, addrs []netip.Prefix) int {
	best := -1
	var most [3]int
	for i, a := range addrs {
		if !a.IsValid() || !a.Addr().Is6() || a.Addr().Is4In6() {
			continue
		}
		if s := suits(pref64, a); best < 0 || more(s, most) {
			best, most = i, s
		}
	}
	return best
}

// suits has what ChooseSource compares, the most important first.
func suits(pref64, a netip.Prefix) (s [3]int) {
	if label(a.Addr()) == label(pref64.Addr()) {
		s[0] = 1
	}
	// Of the destination nothing is known after the prefix.
	s[1] = min(common(a.Addr(), pref64.Addr()), a.Bits(), pref64.Bits())
	if a.Bits() <= MaxStableBits {
		s[2] = 1
	}
	return s
}

func more(a, b [3]int) bool {
	for i := range a {
		if a[i] != b[i] {
			return a[i] > b[i]
		}
	}
	return false
}

// common returns how many leading bits two IPv6 addresses have in common.
func common(a, b netip.Addr) int {
	x, y := a.As16(), b.As16()
	for i := range 128 {
		if (x[i/8]^y[i/8])&(0x80>>(i%8)) != 0 {
			return i
		}
	}
	return 128
}
