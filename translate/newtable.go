package translate

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"
)

// NewTable builds a Table. Its error names the invalid mapping:
//   - a prefix that RFC 6052 §2.2 does not allow;
//   - a Map with more IPv4 suffix bits than IPv6 suffix bits (RFC 7757 §3.2);
//   - a Map whose IPv4 or IPv6 prefix another Map or a pool has (RFC 7757 §5);
//   - a Map that contains IPv6 addresses that no host can have;
//   - a prefix or pool that is given twice;
//   - a Pool or a rule of a prefix that does not exist or already has one;
//   - shared addresses without Sessions or a prefix, or Sessions without these.
//
// Host bits in maps and pools are ignored. IPv4 addresses that no packet may have can be
// mapped and leased: their packets are dropped.
func NewTable(c TableConfig) (*Table, error) {
	t := &Table{
		maps: slices.Clone(c.Maps), pools: slices.Clone(c.Pools),
		sessions: c.Sessions, shared: slices.Clone(c.Shared),
	}
	for _, x := range c.Prefixes {
		p, err := newPrefix6052(x)
		if err != nil {
			return nil, err
		}
		if t.numberOf(x) > 0 {
			return nil, fmt.Errorf("translate: prefix %s: given twice", x)
		}
		p.number = uint8(min(len(t.prefixes)+1, MaxPref64))
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
			if err := t.addPool(p, entry{pool: true, pref64: t.numberOf(pool.Pref64)}); err != nil {
				return nil, err
			}
		}
	}
	if err := t.addShared(); err != nil {
		return nil, err
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
	t.odd = t.odd || slices.ContainsFunc(silent4, p4.Overlaps)
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

// addShared adds the shared addresses as a pool, and numbers the prefixes.
func (t *Table) addShared() error {
	switch {
	case t.sessions == nil && len(t.shared) == 0:
		return nil
	case t.sessions == nil:
		return fmt.Errorf("translate: shared addresses: no Sessions")
	case len(t.shared) == 0:
		return fmt.Errorf("translate: Sessions: no shared addresses")
	case len(t.prefixes) == 0:
		return fmt.Errorf("translate: shared addresses: no prefix")
	case len(t.prefixes) >= MaxPref64:
		return fmt.Errorf("translate: shared addresses: %d prefixes, more than %d", len(t.prefixes), MaxPref64-1)
	}
	for _, p := range t.shared {
		if err := t.addPool(p, entry{pool: true, shared: true}); err != nil {
			return err
		}
	}
	t.numbered = make([]*prefix6052, len(t.prefixes)+1)
	t.numbered[0] = &t.free
	for i := range t.prefixes {
		t.numbered[t.prefixes[i].number] = &t.prefixes[i]
	}
	return nil
}

func (t *Table) addPool(p netip.Prefix, e entry) error {
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
	t.to6.Insert(p, e)
	return nil
}
