package rfc

import (
	"net/netip"
	"testing"

	own "github.com/steppe-nat64/steppe/internal/clat"
)

func TestRFC4861(t *testing.T) {
	row(t, "4861-7.1.1-01", invalidSolicitation)
	row(t, "4861-7.1.2-01", invalidIgnored)
	row(t, "4861-7.2.4-01", solicitedAnswer)
	row(t, "4861-7.2.4-02", unicastAnswer)
	row(t, "4861-7.2.4-03", probeAnswer)
	row(t, "4861-7.2.6-01", unsolicited)
}

func TestRFC4862(t *testing.T) {
	row(t, "4862-5.4-01", probeOfDAD)
	row(t, "4862-5.4.2-01", groupsOfDAD)
	row(t, "4862-5.4.2-02", noDelayOfDAD)
	row(t, "4862-5.4.3-01", unicastSourceIgnored)
	row(t, "4862-5.4.3-02", duplicatedByProbe)
	row(t, "4862-5.4.3-03", loopedIgnored)
	row(t, "4862-5.4.4-01", duplicatedByAdvertisement)
}

// stableAddress returns the address of a counter.
func stableAddress(t *testing.T, counter uint32, edit func(s *own.Stable)) netip.Addr {
	t.Helper()
	s := own.Stable{Secret: []byte("0123456789abcdef"), Prefix: mustPrefix("2001:db8:1::/64"), Interface: "eth0", Network: "home"}
	edit(&s)
	a, _ := s.Address(counter)
	is(t, "in the prefix", s.Prefix.Contains(a), true)
	return a
}

func TestRFC7217(t *testing.T) {
	row(t, "7217-5-01", func(t *testing.T) {
		same := func(*own.Stable) {}
		first := stableAddress(t, 0, same)
		is(t, "again", stableAddress(t, 0, same), first)
		identifiers := map[[8]byte]bool{}
		for _, a := range []netip.Addr{
			first,
			stableAddress(t, 1, same),
			stableAddress(t, 0, func(s *own.Stable) { s.Prefix = mustPrefix("2001:db8:2::/64") }),
			stableAddress(t, 0, func(s *own.Stable) { s.Interface = "eth1" }),
			stableAddress(t, 0, func(s *own.Stable) { s.Network = "work" }),
			stableAddress(t, 0, func(s *own.Stable) { s.Secret = []byte("another secret key") }),
		} {
			b := a.As16()
			identifiers[[8]byte(b[8:])] = true
		}
		is(t, "identifiers", len(identifiers), 6)
	})
	row(t, "7217-5-02", func(t *testing.T) {
		s := own.Stable{Secret: make([]byte, 15), Prefix: mustPrefix("2001:db8::/64")}
		is(t, "120 bits", s.Check() != nil, true)
		s.Secret = make([]byte, 16)
		is(t, "128 bits", s.Check(), nil)
	})
	row(t, "7217-5-03", func(t *testing.T) {
		s := own.Stable{Secret: make([]byte, 16), Prefix: mustPrefix("2001:db8::/120")}
		refused := 0
		for counter := range uint32(1000) {
			// The routers' anycast address, and the 128 of RFC 2526.
			a, ok := s.Address(counter)
			last := a.As16()[15]
			is(t, a.String(), ok, last != 0 && last < 128)
			if !ok {
				refused++
			}
		}
		is(t, "some are reserved, and some are not", refused > 0 && refused < 1000, true)
	})
	row(t, "7217-5-04", ownIdentifierAvoided)
	row(t, "7217-6-01", nextCounter)
	row(t, "7217-6-02", limitedCounters)
}

func TestRFC6724(t *testing.T) {
	chosen := func(pref64 string, addrs ...string) string {
		if i := own.ChooseSource(mustPrefix(pref64), prefixesWithHosts(addrs...)); i >= 0 {
			return addrs[i]
		}
		return ""
	}
	row(t, "6724-2.1-01", func(t *testing.T) {
		for pref64, want := range map[string]string{
			"64:ff9b::/96":       "2a00::1/64", // label 1
			"2002:c000:1::/96":   "2002::1/64", // label 2
			"2001:0:1::/96":      "2001::1/64", // label 5
			"fd00:64::/96":       "fd12::1/64", // label 13
			"2001:db8:64::/96":   "2a00::1/64", // label 1, and not that of 2001::/32
			"64:ff9b:1:2::/96":   "2a00::1/64",
			"2a00:1:2:3:64::/96": "2a00::1/64",
		} {
			is(t, pref64, chosen(pref64, "2002::1/64", "2001::1/64", "fd12::1/64", "2a00::1/64"), want)
		}
	})
	row(t, "6724-5-06", func(t *testing.T) {
		is(t, "before rule 8", chosen("2001:db8:64::/96", "2001:0:db8::1/64", "a000::1/64"), "a000::1/64")
		is(t, "none matches", chosen("64:ff9b::/96", "fd00::1/64"), "fd00::1/64")
	})
	row(t, "6724-5-08", func(t *testing.T) {
		is(t, "longest", chosen("2001:db8:64::/96", "2a00::1/64", "2001:db9::1/64", "2001:db8::1/64"), "2001:db8::1/64")
		is(t, "up to the source's prefix", chosen("2001:db8:1:1::/96", "2001:db8:1:2::1/48", "2001:db8:1:1::1/48"), "2001:db8:1:2::1/48")
	})
}

// prefixesWithHosts returns addresses with the lengths of their prefixes.
func prefixesWithHosts(texts ...string) (list []netip.Prefix) {
	for _, s := range texts {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}
