package translate

import (
	"net/netip"
	"slices"
	"testing"
)

// around yields the first and the last address of a prefix, and those that differ from
// them in one bit: each wrong bit of a prefix, of a mask or of a bound shows in one.
func around(p netip.Prefix) []netip.Addr {
	first, bits := p.Masked().Addr().AsSlice(), p.Addr().BitLen()
	last := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < bits; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	var all []netip.Addr
	for _, edge := range [][]byte{first, last} {
		a, _ := netip.AddrFromSlice(edge)
		all = append(all, a)
		for i := range bits {
			edge[i/8] ^= 0x80 >> (i % 8)
			a, _ := netip.AddrFromSlice(edge)
			all = append(all, a)
			edge[i/8] ^= 0x80 >> (i % 8)
		}
	}
	return all
}

// inAny is the slow way to say whether one of the prefixes contains a.
func inAny(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// TestNonGlobalBounds: the list of RFC 6890 by its edges. Random addresses hit none of
// the narrow prefixes, so a wrong one went unnoticed.
func TestNonGlobalBounds(t *testing.T) {
	var list []netip.Prefix
	for _, p := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
		"172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15",
		"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	} {
		list = append(list, netip.MustParsePrefix(p))
	}
	for _, p := range list {
		for _, a := range around(p) {
			if got, want := isNonGlobal(make4(a.As4())), inAny(list, a); got != want {
				t.Errorf("isNonGlobal(%s) = %v, want %v", a, got, want)
			}
		}
	}
	for i, got := range nonGlobalByte { // the others need no look at the list
		all := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(i)}), 8)
		if want := slices.ContainsFunc(list, all.Overlaps); got != want {
			t.Errorf("nonGlobalByte[%d] = %v, want %v", i, got, want)
		}
	}
}

// TestIllegal6Bounds: the IPv6 addresses that no packet may have, by their edges.
func TestIllegal6Bounds(t *testing.T) {
	list := []netip.Prefix{
		netip.MustParsePrefix("::/128"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("::ffff:0:0/96"),
		netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"),
	}
	for _, p := range append(list, netip.MustParsePrefix("fd80::/10"), netip.MustParsePrefix("fe00::/9"), netip.MustParsePrefix("fec0::/10")) {
		for _, a := range around(p) {
			// netip says that a prefix of IPv6 contains no IPv4-mapped address.
			want := inAny(list, a) || a.Is4In6()
			if got := illegal6(make6(a.As16())); got != want {
				t.Errorf("illegal6(%s) = %v, want %v", a, got, want)
			}
		}
	}
}

// TestPrefixBounds: which addresses lie inside a prefix, for each length.
func TestPrefixBounds(t *testing.T) {
	for _, s := range []string{
		"2001:db8::/32", "2001:db8:100::/40", "2001:db8:122::/48", "2001:db8:122:300::/56",
		"2001:db8:122:344::/64", "2001:db8:122:344::/96", "64:ff9b::/96",
	} {
		p := netip.MustParsePrefix(s)
		ready, err := newPrefix6052(p)
		if err != nil {
			t.Fatal(err)
		}
		if got := ready.prefix(); got != p {
			t.Errorf("%s comes back as %s", p, got)
		}
		for _, a := range around(p) {
			if got := ready.contains(make6(a.As16())); got != p.Contains(a) {
				t.Errorf("%s contains %s: %v", p, a, got)
			}
		}
	}
}

// TestPrefixesThatAreTaken: the lengths of RFC 6052 §2.2 and no others, without host
// bits, without bits 64 to 71, and unicast.
func TestPrefixesThatAreTaken(t *testing.T) {
	allowed := map[int]bool{32: true, 40: true, 48: true, 56: true, 64: true, 96: true}
	for bits := range 129 {
		p, _ := netip.MustParseAddr("2001:db8::").Prefix(bits)
		if _, err := newPrefix6052(p); (err == nil) != allowed[bits] {
			t.Errorf("%s: %v", p, err)
		}
	}
	for s, taken := range map[string]bool{
		"2001:db8::80:0:0:0/96":   true,  // bit 72
		"2001:db8::100:0:0:0/96":  false, // bit 71
		"2001:db8:0:0:8000::/96":  false, // bit 64
		"2001:db8:0:1::/96":       true,  // bit 63
		"2001:db8:1::/32":         false, // a host bit
		"2001:db8:0:0:0:0:1:0/96": false,
		"::/96":                   false,
		"::/64":                   false,
		"::/32":                   false,
		"::1:0:0/96":              true,
		"fe80::/64":               false,
		"febf::/32":               false,
		"fec0::/32":               true,
		"ff00::/32":               false,
		"ffff::/96":               false,
	} {
		if _, err := newPrefix6052(netip.MustParsePrefix(s)); (err == nil) != taken {
			t.Errorf("%s: %v", s, err)
		}
	}
}
