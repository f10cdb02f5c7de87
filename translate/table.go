package translate

import (
	"iter"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"
)

// A Table maps addresses between the families. It is immutable: to change a
// mapping, build another and call Translator.Update.
type Table struct {
	first    prefix6052   // composes; bits is 0 if there is no prefix
	free     prefix6052   // the first without a Pool, or else the first
	prefixes []prefix6052 // longest first

	// Explicit maps and pools, but for maps of a single address to a single
	// address: those are in hosts. A nil tree is an empty one.
	hosts hosts
	to6   *bart.Fast[entry]
	to4   *bart.Fast[entry]
	maps  []Map

	// What spares most packets a lookup that finds nothing, and with many maps
	// its cache misses: which /16s have maps or pools at all, and whether
	// addresses inside prefixes have maps.
	listed4 [1 << 16 / 64]uint64
	inside  bool

	odd bool // a map leads to IPv4 addresses of which packets are dropped silently

	dyn   Dynamic // of the pool that is bound to no prefix; may be nil
	pools []Pool

	sessions Sessions // nil: no address is shared
	shared   []netip.Prefix
	numbered []*prefix6052 // by the number in a Tuple6
}

// Prefixes returns the translation prefixes, the longest first.
func (t *Table) Prefixes() iter.Seq[netip.Prefix] {
	return func(yield func(netip.Prefix) bool) {
		for i := range t.prefixes {
			if !yield(t.prefixes[i].prefix()) {
				return
			}
		}
	}
}

// Pools returns the pools in the order in which they were given.
func (t *Table) Pools() iter.Seq[Pool] { return slices.Values(t.pools) }

// Sessions returns what maps the flows of hosts that share IPv4 addresses, and these
// addresses. It is nil if there are none.
func (t *Table) Sessions() (s Sessions, shared iter.Seq[netip.Prefix]) {
	return t.sessions, slices.Values(t.shared)
}

// Maps returns the explicit mappings in the order in which they were given.
func (t *Table) Maps() iter.Seq[Map] { return slices.Values(t.maps) }

// Fixed reports whether an IPv6 address has a mapping of its own, by an explicit
// map or a prefix: no lease can be its host's.
func (t *Table) Fixed(a netip.Addr) bool {
	if !a.Is6() {
		return false
	}
	v6 := make6(a.As16())
	for i := range t.prefixes {
		if t.prefixes[i].contains(v6) {
			return true
		}
	}
	_, found := t.hosts.to4(v6)
	return found || t.to4 != nil && t.to4.Contains(netip.AddrFrom16(v6.array()))
}

// unlisted4 reports whether neither a map nor a pool can cover a.
func (t *Table) unlisted4(a addr4) bool { return t.listed4[a>>22]>>(a>>16&63)&1 == 0 }
