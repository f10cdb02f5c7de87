package taygaconf

import (
	"fmt"
	"net/netip"

	"github.com/steppe-nat64/steppe/translate"
)

// taken is the addresses that are spoken for.
type taken struct {
	by4, by6 map[netip.Prefix]owner // exactly this prefix
	prefixes []owner                // and everything inside these
	refresh  bool                   // the file has a dynamic-pool-refresh

	bits6 []int         // the lengths of IPv6 prefixes of maps
	bound map[end]owner // of static bindings, with a stateful-pool
	hosts []owner       // of these, in the order of their addresses
}

// An owner is the line of a file that has an address or a prefix.
type owner struct {
	at        netip.Prefix
	directive string
	file      string
	line      int
}

// from names the owner to a reader of the named file.
func (o owner) from(file string) string {
	if o.file != file {
		return fmt.Sprintf("%s in %s, line %d", o.directive, o.file, o.line)
	}
	return fmt.Sprintf("%s on line %d", o.directive, o.line)
}

// by finds an owner that cannot stand beside the map m, and what the two argue
// about. Nested maps are no conflict: the longest match wins on each side.
func (t *taken) by(m translate.Map) (at netip.Prefix, o owner, found bool) {
	if o, found = t.by4[m.IPv4]; found {
		return m.IPv4, o, true
	}
	if o, found = t.by6[m.IPv6]; found {
		return m.IPv6, o, true
	}
	for _, o := range t.prefixes {
		if o.at.Bits() <= m.IPv6.Bits() && o.at.Contains(m.IPv6.Addr()) {
			return m.IPv6, o, true
		}
	}
	return netip.Prefix{}, owner{}, false
}
