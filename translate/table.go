package translate

import (
	"cmp"
	"fmt"
	"iter"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"
)

// A Map is an explicit address mapping, RFC 7757 §3.1: addresses of IPv4 stand
// for addresses of IPv6 and back. The bits behind the IPv4 prefix go to those
// right behind the IPv6 prefix; there must be room for them. Bits that are set
// behind a prefix length are ignored.
type Map struct {
	IPv4, IPv6 netip.Prefix
}

// isHost reports whether m maps a single address to a single address.
func (m Map) isHost() bool { return m.IPv4.Bits() == 32 && m.IPv6.Bits() == 128 }

func (m Map) String() string { return m.IPv4.String() + " " + m.IPv6.String() }

// TableConfig holds the address mappings of a Table.
type TableConfig struct {
	// Prefixes are RFC 6052 prefixes of length 32, 40, 48, 56, 64 or 96. IPv4
	// addresses are composed with the first, but for what Pools say; any of them is
	// recognised, the longest first.
	Prefixes []netip.Prefix
	// Maps are explicit mappings. They come before Prefixes, the longest match
	// first on either side: RFC 7757 §3.3.
	Maps []Map
	// Pools are the IPv4 addresses that hosts without a Map lease: at most one Pool
	// for each of Prefixes, and one for no prefix. What is sent to the addresses of a
	// longer Map inside a pool goes to that; a shorter Map around yields to the pool.
	Pools []Pool
	// Rules are rules for addresses inside some of Prefixes, one PrefixRule for a
	// prefix at most. A prefix without one has the zero value.
	Rules []PrefixRule
}

// A PrefixRule says what holds for addresses inside one prefix. With several
// prefixes, hosts may be numbered from one of them and not from another.
type PrefixRule struct {
	Prefix netip.Prefix // one of TableConfig.Prefixes
	// DropSource drops IPv6 packets whose source address lies inside Prefix and has
	// no Map, as Config.RefuseEmbeddedSource does for all prefixes: RFC 6052 §5.1.
	DropSource bool
	// CheckLoops says that no IPv6 host is numbered from Prefix, as is the case for
	// 64:ff9b::/96 (RFC 6052 §3.1). An IPv4 packet whose source has no Map and whose
	// destination only this prefix maps is then for an address that is routed to the
	// translator and has no mapping: translated, it comes back, until its hop limit
	// runs out. It is answered like a packet to any destination without a mapping
	// (NoDestination); an ICMP error is dropped. The same holds for an IPv6 packet
	// from inside Prefix to another address that only a prefix maps. A source with a
	// Map may be a host in front of a CLAT, whose packets do not come back.
	CheckLoops bool
}

// A Pool is IPv4 addresses with the Dynamic that leases them.
//
// A Pool with a Pref64 is bound to that prefix. A host that talks to an address inside
// it leases from this pool, beside another lease that it may have, and is answered
// from inside the same prefix. The Pool without is for all other destinations, and
// packets to its addresses come from the first prefix without a Pool. So without any
// bound pool, a host that talks to an address inside the second prefix is answered
// from inside the first.
type Pool struct {
	Prefixes []netip.Prefix // IPv4; bits after a prefix length are ignored
	Pref64   netip.Prefix   // one of TableConfig.Prefixes, or the zero value
	Dynamic  Dynamic        // nil leases nothing
}

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

	dyn   Dynamic // of the pool that is bound to no prefix; may be nil
	pools []Pool
}

// entry is a Map made ready for the packet path, or a pool.
type entry struct {
	v6     addr6 // IPv6 prefix
	v4     addr4 // IPv4 prefix
	suffix addr4 // mask of the bits behind the IPv4 prefix
	via    int32 // of a pool: which of Table.prefixes it is bound to, from 1 on; 0: none
	shift  uint8 // how far left these bits stand in the IPv6 address
	pool   bool
}

// NewTable builds a Table. Its error names the mapping that cannot be: a prefix
// that RFC 6052 §2.2 does not allow, a Map with more IPv4 suffix bits than IPv6
// suffix bits (RFC 7757 §3.2), one whose IPv4 or IPv6 prefix is already taken, by
// a pool too (RFC 7757 §5), one around IPv6 addresses that no host can have, a
// prefix or pool that is given twice, or a Pool or a rule of a prefix that is not there or
// has one already. Bits behind a prefix are ignored in maps and pools. IPv4 addresses
// that no packet may have can be mapped and leased: their packets are dropped.
func NewTable(c TableConfig) (*Table, error) {
	t := &Table{maps: slices.Clone(c.Maps), pools: slices.Clone(c.Pools)}
	for _, pfx := range c.Prefixes {
		p, err := newPrefix6052(pfx)
		if err != nil {
			return nil, err
		}
		if t.numberOf(pfx) > 0 {
			return nil, fmt.Errorf("translate: prefix %s: given twice", pfx)
		}
		t.prefixes = append(t.prefixes, p)
	}
	if err := t.bindPools(); err != nil {
		return nil, err
	}
	if err := t.addRules(c.Rules); err != nil {
		return nil, err
	}
	if len(t.prefixes) > 0 {
		i := slices.IndexFunc(t.prefixes, func(p prefix6052) bool { return !p.bound })
		t.first, t.free = t.prefixes[0], t.prefixes[max(i, 0)]
	}
	slices.SortStableFunc(t.prefixes, func(a, b prefix6052) int { return cmp.Compare(b.bits, a.bits) })

	n := 0
	for _, m := range c.Maps {
		if m.isHost() {
			n++
		}
	}
	t.hosts = newHosts(n)
	for _, m := range c.Maps {
		if err := t.addMap(m); err != nil {
			return nil, err
		}
	}
	for _, pool := range c.Pools {
		for _, p := range pool.Prefixes {
			if err := t.addPool(p, t.numberOf(pool.Pref64)); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}

// bindPools notes which prefix has which Dynamic.
func (t *Table) bindPools() error {
	for i, pool := range t.pools {
		n := t.numberOf(pool.Pref64)
		switch {
		case slices.ContainsFunc(t.pools[:i], func(q Pool) bool { return q.Pref64 == pool.Pref64 }):
			return fmt.Errorf("translate: pool for %s: given twice", pool.name())
		case pool.Pref64 == netip.Prefix{}:
			t.dyn = pool.Dynamic
		case n == 0:
			return fmt.Errorf("translate: pool for %s: not one of the prefixes", pool.name())
		default:
			t.prefixes[n-1].bound, t.prefixes[n-1].dyn = true, pool.Dynamic
		}
	}
	return nil
}

// name says which pool it is.
func (p *Pool) name() string {
	if p.Pref64 == (netip.Prefix{}) {
		return "no prefix"
	}
	return p.Pref64.String()
}

// addRules applies the rules to the prefixes.
func (t *Table) addRules(rules []PrefixRule) error {
	for i, r := range rules {
		n := t.numberOf(r.Prefix)
		if n == 0 {
			return fmt.Errorf("translate: rule for %s: not one of the prefixes", r.Prefix)
		}
		if slices.ContainsFunc(rules[:i], func(q PrefixRule) bool { return q.Prefix == r.Prefix }) {
			return fmt.Errorf("translate: rule for %s: given twice", r.Prefix)
		}
		p := &t.prefixes[n-1]
		p.dropSource, p.checkLoops = r.DropSource, r.CheckLoops
	}
	return nil
}

// numberOf returns the place of p in t.prefixes, from 1 on; 0 if it is not there.
func (t *Table) numberOf(p netip.Prefix) int32 {
	return int32(slices.IndexFunc(t.prefixes, func(q prefix6052) bool { return q.prefix() == p })) + 1
}

func (t *Table) addMap(m Map) error {
	p4, p6 := m.IPv4.Masked(), m.IPv6.Masked()
	if !p4.IsValid() || !p4.Addr().Is4() {
		return fmt.Errorf("translate: map %s: first prefix is not IPv4", m)
	}
	if !p6.IsValid() || !p6.Addr().Is6() {
		return fmt.Errorf("translate: map %s: second prefix is not IPv6", m)
	}
	for _, r := range noHosts6 {
		if r.Overlaps(p6) {
			return fmt.Errorf("translate: map %s: no host has an address in %s", m, r)
		}
	}
	bits4, bits6 := 32-p4.Bits(), 128-p6.Bits()
	if bits4 > bits6 {
		return fmt.Errorf("translate: map %s: %d IPv4 suffix bits do not fit %d IPv6 suffix bits (RFC 7757 §3.2)", m, bits4, bits6)
	}
	if t.taken4(p4) {
		return fmt.Errorf("translate: map %s: %s is mapped already", m, p4)
	}
	if t.taken6(p6) {
		return fmt.Errorf("translate: map %s: %s is mapped already", m, p6)
	}
	t.list4(p4)
	for i := range t.prefixes {
		t.inside = t.inside || t.prefixes[i].prefix().Overlaps(p6)
	}
	v4, v6 := make4(p4.Addr().As4()), make6(p6.Addr().As16())
	if m.isHost() {
		e := host{v6: v6, v4: v4, used: true}
		*t.hosts.find4(v4) = e
		*t.hosts.find6(v6) = e
		return nil
	}
	e := entry{v6: v6, v4: v4, suffix: addr4(1<<bits4 - 1), shift: uint8(bits6 - bits4)}
	if t.to6 == nil {
		t.to6 = new(bart.Fast[entry])
	}
	if t.to4 == nil {
		t.to4 = new(bart.Fast[entry])
	}
	t.to6.Insert(p4, e)
	t.to4.Insert(p6, e)
	return nil
}

// list4 notes that p has a map or is a pool.
func (t *Table) list4(p netip.Prefix) {
	first := make4(p.Addr().As4()) >> 16
	for i := range addr4(1) << max(16-p.Bits(), 0) {
		t.listed4[(first+i)>>6] |= 1 << ((first + i) & 63)
	}
}

// unlisted4 reports whether neither a map nor a pool can cover a.
func (t *Table) unlisted4(a addr4) bool { return t.listed4[a>>22]>>(a>>16&63)&1 == 0 }

// taken4 reports whether there is a map or a pool of exactly p.
func (t *Table) taken4(p netip.Prefix) bool {
	if p.Bits() == 32 {
		if _, found := t.hosts.to6(make4(p.Addr().As4())); found {
			return true
		}
	}
	if t.to6 == nil {
		return false
	}
	_, found := t.to6.Get(p)
	return found
}

// taken6 reports whether there is a map of exactly p.
func (t *Table) taken6(p netip.Prefix) bool {
	if p.Bits() == 128 {
		if _, found := t.hosts.to4(make6(p.Addr().As16())); found {
			return true
		}
	}
	if t.to4 == nil {
		return false
	}
	_, found := t.to4.Get(p)
	return found
}

func (t *Table) addPool(p netip.Prefix, via int32) error {
	if !p.IsValid() || !p.Addr().Is4() {
		return fmt.Errorf("translate: pool %s: not an IPv4 prefix", p)
	}
	p = p.Masked()
	if t.to6 == nil {
		t.to6 = new(bart.Fast[entry])
	}
	if e, found := t.to6.Get(p); found && e.pool {
		return fmt.Errorf("translate: pool %s: given twice", p)
	}
	if t.taken4(p) {
		return fmt.Errorf("translate: pool %s: a map has the same prefix", p)
	}
	t.list4(p)
	t.to6.Insert(p, entry{pool: true, via: via})
	return nil
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

// Warnings returns a line for everything in the table that is allowed and
// probably not meant: maps that overlap (RFC 7757 §5; the longest match wins on
// each side by itself), hosts numbered from the well-known prefix (RFC 6052
// §3.1), and prefixes around the well-known one, which as a /96 has no other
// length and keeps its guard to itself (RFC 6052 §2.2).
func (t *Table) Warnings() []string {
	var lines []string
	for _, p := range t.prefixes {
		if pfx := p.prefix(); !p.wellKnown && pfx.Overlaps(wellKnown) {
			lines = append(lines, fmt.Sprintf("prefix %s: is not the well-known prefix, which has length 96, and is not guarded like it (RFC 6052 §2.2)", pfx))
		}
	}
	for _, m := range t.maps {
		for _, side := range []struct {
			tree *bart.Fast[entry]
			pfx  netip.Prefix
		}{{t.to6, m.IPv4.Masked()}, {t.to4, m.IPv6.Masked()}} {
			if side.tree == nil {
				continue
			}
			for around, e := range side.tree.Supernets(side.pfx) {
				if around != side.pfx && !e.pool {
					lines = append(lines, fmt.Sprintf("map %s: lies inside %s of another map; the longest match wins", m, around))
				}
			}
		}
		if wellKnown.Overlaps(m.IPv6) {
			lines = append(lines, fmt.Sprintf("map %s: hosts should not be numbered from %s (RFC 6052 §3.1)", m, wellKnown))
		}
	}
	return lines
}

// to6 maps an IPv4 address that the entry covers: RFC 7757 §3.3.1.
func (e *entry) to6(a addr4) addr6 {
	s, v6 := uint64(a&e.suffix), e.v6
	if e.shift < 64 {
		v6.lo |= s << e.shift
		v6.hi |= s >> (64 - e.shift)
	} else {
		v6.hi |= s << (e.shift - 64)
	}
	return v6
}

// to4 maps an IPv6 address that the entry covers; surplus bits at its end are
// thrown away: RFC 7757 §3.3.2.
func (e *entry) to4(a addr6) addr4 {
	s := a.hi >> (e.shift - 64)
	if e.shift < 64 {
		s = a.lo>>e.shift | a.hi<<(64-e.shift)
	}
	return e.v4 | addr4(s)&e.suffix
}
