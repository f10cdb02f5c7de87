package pref64

import "net/netip"

// The well-known IPv4 addresses: the addresses of ipv4only.arpa (RFC 7050 §2.2).
var wellKnown4 = [...][4]byte{{192, 0, 0, 170}, {192, 0, 0, 171}}

// places are where RFC 6052 §2.2 has the bytes of the IPv4 address, by prefix length.
var places = [...]struct {
	bits int
	at   [4]int
}{
	{96, [4]int{12, 13, 14, 15}},
	{64, [4]int{9, 10, 11, 12}},
	{56, [4]int{7, 9, 10, 11}},
	{48, [4]int{6, 7, 9, 10}},
	{40, [4]int{5, 6, 7, 9}},
	{32, [4]int{4, 5, 6, 7}},
}

// search finds the prefix in an address of ipv4only.arpa: RFC 7050 §3. A well-known address
// has to be in it once, in one of the six places. If more is found, as in an address of
// 2001:db8:c000:aa::/96, an address that is in it once and ends it counts, with nothing but
// zeros after it. Otherwise the address is ambiguous, and has no prefix.
func search(a netip.Addr) (netip.Prefix, bool) {
	if !a.Is6() || a.Is4In6() {
		return netip.Prefix{}, false
	}
	b := a.As16()
	var found, ending []netip.Prefix
	total := 0
	for _, w := range wellKnown4 {
		n, bits, ends := occurrences(b, w)
		total += n
		if n != 1 || bits == 0 {
			continue
		}
		p := netip.PrefixFrom(a, bits).Masked()
		found = append(found, p)
		if ends {
			ending = append(ending, p)
		}
	}
	switch {
	case total == 1 && len(found) == 1:
		return found[0], true
	case len(ending) == 1:
		return ending[0], true
	}
	return netip.Prefix{}, false
}

// occurrences returns how often w is in b: on each byte boundary, and around byte 8, which
// RFC 6052 leaves out. bits is the prefix length of one that is in a place of RFC 6052, 0 if
// none is; ends says that only zeros are after that.
func occurrences(b [16]byte, w [4]byte) (n, bits int, ends bool) {
	for i := 0; i+4 <= len(b); i++ {
		if [4]byte(b[i:i+4]) == w {
			n++
		}
	}
	for _, p := range places {
		if p.bits < 96 && b[8] != 0 || w != [4]byte{b[p.at[0]], b[p.at[1]], b[p.at[2]], b[p.at[3]]} {
			continue
		}
		if p.at[3]-p.at[0] > 3 {
			n++ // not counted above
		}
		bits, ends = p.bits, zero(b[p.at[3]+1:])
	}
	return n, bits, ends
}

func zero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
