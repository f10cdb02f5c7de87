package taygaconf

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// checkStateful checks the directives about shared addresses against each other and
// against the rest of the file.
func (r *reader) checkStateful() {
	s := &r.c.Stateful
	if _, given := r.at["stateful-pool"]; !given {
		r.checkWithoutShared()
		return
	}
	if len(s.Pools) == 0 {
		return // the line has an error of its own
	}
	prefixes := r.checkSharedPrefixes()
	r.checkSharedReach()
	r.checkSharedAddresses()
	r.checkSharedClients()
	if s.Log == LogBlocks && s.PortBlock == 0 {
		r.errorf(r.at["stateful-log"], "stateful-log", "blocks: ports are assigned one by one: add a line such as %q, or write bindings", "stateful-port-block 512")
	}
	for _, p := range s.Pools {
		if n := s.PortBlock; n > 0 && (int(p.Low)+n-1)/n > (int(p.High)+1)/n-1 {
			r.errorf(max(p.Line, r.at["stateful-port-block"]), "stateful-port-block",
				"ports %d-%d of stateful-pool %s, line %d, contain no block of %d that begins at a multiple of it: use a wider range or smaller blocks", p.Low, p.High, p.Prefix, p.Line, n)
		}
	}
	for i := range s.Pools {
		s.Pools[i].static = r.c.staticPref64(s.Pools[i])
	}
	if prefixes {
		r.checkBindings()
	}
}

// checkWithoutShared reports directives that need a stateful-pool.
func (r *reader) checkWithoutShared() {
	for _, name := range slices.Sorted(maps.Keys(r.at)) {
		if strings.HasPrefix(name, "stateful-") {
			r.errorf(r.at[name], name, "there is no stateful-pool: add a line such as %q", "stateful-pool "+r.poolFor(name).String())
		}
	}
}

// poolFor returns an address for the stateful-pool that a directive needs: of stateful-map,
// its own.
func (r *reader) poolFor(directive string) netip.Addr {
	for _, b := range r.c.Stateful.Bindings {
		if b.Line == r.at[directive] && r.c.mayShare(b) == nil {
			return b.Addr.Addr()
		}
	}
	return netip.AddrFrom4([4]byte{192, 0, 2, 1})
}

// mayShare says why the address of a binding cannot be in a stateful-pool.
func (c *Config) mayShare(b Binding) error {
	a := b.Addr.Addr()
	switch _, err := checkUnicast(a); {
	case err != nil:
		return err
	case this4.Contains(a):
		return fmt.Errorf("%s lies in %s: packets with such an address are not translated", a, this4)
	}
	taken := func(p netip.Prefix, directive string, line int) error {
		o := owner{p, directive + " " + p.String(), c.File, line}
		return fmt.Errorf("%s is in no stateful-pool, but belongs to %s", a, o.from(b.File))
	}
	for _, m := range c.Maps {
		if m.IPv4.Contains(a) {
			return taken(m.IPv4, "map", m.Line)
		}
	}
	for _, l := range c.PoolLines() {
		if l.Prefix.Contains(a) {
			return taken(l.Prefix, "dynamic-pool", l.Line)
		}
	}
	return nil
}

// checkSharedPrefixes checks what pools are bound to. It reports whether there is a prefix at
// all.
func (r *reader) checkSharedPrefixes() bool {
	first := r.c.Stateful.Pools[0]
	switch n := len(r.c.Prefixes); {
	case r.badTable:
		return false
	case !slices.ContainsFunc(r.c.Prefixes, func(p netip.Prefix) bool { return !isOdd(p) }):
		r.errorf(first.Line, "stateful-pool", "there is no prefix of RFC 6052, inside which hosts would see IPv4 addresses: add a line such as %q", "prefix 64:ff9b::/96")
		return false
	case n > maxNumbered:
		r.errorf(max(first.Line, r.prefixLines[maxNumbered]), "stateful-pool", "more than %d prefixes: beside a stateful-pool there can be no more", maxNumbered)
	}
	var bound []netip.Prefix
	for _, p := range r.c.Stateful.Pools {
		switch {
		case !p.Pref64.IsValid():
		case !slices.Contains(r.c.Prefixes, p.Pref64):
			r.errorf(p.Line, "stateful-pool", "via %s: there is no such prefix: add a line such as %q", p.Pref64, "prefix "+p.Pref64.String())
		case isOdd(p.Pref64):
			r.errorf(p.Line, "stateful-pool", "via %s: bits 64 to 71 must be zero for that (RFC 6052 §2.2)", p.Pref64)
		case !slices.Contains(bound, p.Pref64):
			bound = append(bound, p.Pref64)
		}
	}
	i := slices.IndexFunc(r.c.Stateful.Pools, func(p SharedPool) bool { return !p.Pref64.IsValid() })
	if i >= 0 && len(bound) > 0 && len(bound) == len(r.c.Prefixes) {
		p := r.c.Stateful.Pools[i]
		r.warnf(p.Line, "stateful-pool", "%s is for no prefix, since each has pools via it: only hosts that send to the IPv6 address of a map share it", p.Prefix)
	}
	return true
}

// checkSharedReach warns of pools by whose addresses hosts cannot reach each other: the only
// prefix stands for global addresses alone.
func (r *reader) checkSharedReach() {
	if !r.c.WKPFStrict || !slices.Equal(r.c.Prefixes, []netip.Prefix{wellKnown}) {
		return
	}
	for _, p := range r.c.Stateful.Pools {
		if slices.ContainsFunc(unreached4, p.Prefix.Overlaps) {
			r.warnf(p.Line, "stateful-pool", "hosts cannot reach each other by %s: packets to private and documentation addresses inside %s are rejected (RFC 6052 §3.1): if they have to, use another prefix, or add wkpf-strict no", p.Prefix, wellKnown)
		}
	}
}

// unreached4 is what the translator rejects inside the well-known prefix, of what a pool may
// contain.
var unreached4 = append([]netip.Prefix{netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("240.0.0.0/4")}, private4...)

// checkSharedAddresses looks for other owners of the addresses of pools.
func (r *reader) checkSharedAddresses() {
	for _, p := range r.c.Stateful.Pools {
		mine := owner{p.Prefix, "stateful-pool", r.file, p.Line}
		for _, m := range r.c.Maps {
			if m.IPv4.Overlaps(p.Prefix) {
				r.overlap(mine, owner{m.IPv4, "map", r.file, m.Line})
			}
		}
		for _, l := range r.c.PoolLines() {
			if l.Prefix.Overlaps(p.Prefix) {
				r.overlap(mine, owner{l.Prefix, "dynamic-pool", r.file, l.Line})
			}
		}
		for i, ip := range r.c.TunIPs {
			if p.Prefix.Contains(ip.Addr()) {
				line := r.tunIPLines[i]
				r.errorf(max(p.Line, line), "stateful-pool", "the tun-ip %s on line %d gives the kernel an address of %s, line %d, and hosts get no packets: remove it", ip.Addr(), line, p.Prefix, p.Line)
			}
		}
	}
	for i, s := range r.c.EmbeddedSource {
		if !s.On {
			line := r.switchLines["embedded-source"][i]
			r.errorf(max(line, r.at["stateful-pool"]), "embedded-source", "forward on line %d: beside a stateful-pool a host could send with the address that others share (RFC 6146 §3.5): remove it", line)
		}
	}
}

// overlap reports that two lines have an address in common.
func (r *reader) overlap(a, b owner) {
	if a.line < b.line {
		a, b = b, a
	}
	r.errorf(a.line, a.directive, "%s overlaps %s %s on line %d: give each its own addresses", a.at, b.directive, b.at, b.line)
}

// checkSharedClients warns of a pool that no host can use, since each leases an address.
func (r *reader) checkSharedClients() {
	if len(r.c.Pools) == 0 || len(r.c.PoolClients) > 0 {
		return
	}
	for _, p := range r.c.Stateful.Pools {
		free := func(pref64 netip.Prefix) bool { return r.c.servesShared(p, pref64) && !r.c.leases(pref64) }
		if !slices.ContainsFunc(r.c.Prefixes, free) {
			r.warnf(p.Line, "stateful-pool", "no host shares %s: each leases an address of a dynamic-pool, which goes first: name its hosts by a line with dynamic-pool-clients", p.Prefix)
		}
	}
}

// servesShared reports whether hosts that send to pref64 share the addresses of p.
func (c *Config) servesShared(p SharedPool, pref64 netip.Prefix) bool {
	if p.Pref64.IsValid() {
		return p.Pref64 == pref64
	}
	return !slices.ContainsFunc(c.Stateful.Pools, func(q SharedPool) bool { return q.Pref64 == pref64 })
}

// leases reports whether hosts that send to pref64 lease addresses.
func (c *Config) leases(pref64 netip.Prefix) bool {
	return slices.ContainsFunc(c.Pools, func(p Pool) bool { return p.Pref64 == pref64 || !p.Pref64.IsValid() })
}

// staticPref64 returns SharedPool.static of p: a prefix whose hosts share the addresses of p;
// better, and lease none.
func (c *Config) staticPref64(p SharedPool) (found netip.Prefix) {
	for _, pref64 := range c.Prefixes {
		if isOdd(pref64) || !c.servesShared(p, pref64) {
			continue
		}
		if !c.leases(pref64) {
			return pref64
		}
		if !found.IsValid() {
			found = pref64
		}
	}
	return found
}

// poolOf returns the stateful-pool with an address.
func (c *Config) poolOf(a netip.Addr) (SharedPool, bool) {
	for _, p := range c.Stateful.Pools {
		if p.Prefix.Contains(a) {
			return p, true
		}
	}
	return SharedPool{}, false
}

// checkBindings checks the static bindings of the file, and notes them for map-files.
func (r *reader) checkBindings() {
	t := &r.c.taken
	t.bits6 = lengths(r.c.Maps)
	t.bound = make(map[end]owner)
	for _, b := range r.c.Stateful.Bindings {
		if err := r.c.checkBinding(b); err != nil {
			r.errorf(b.Line, "stateful-map", "%v", err)
			continue
		}
		if at, o, found := t.addBinding(b); found {
			r.errorf(b.Line, "stateful-map", "%s", twice(b, at, o.from(r.file)))
			continue
		}
		t.hosts = append(t.hosts, owner{netip.PrefixFrom(b.Host.Addr(), 128), "stateful-map", r.file, b.Line})
	}
	slices.SortStableFunc(t.hosts, func(a, b owner) int { return a.at.Addr().Compare(b.at.Addr()) })
}

// hostIn returns the first host inside p that has a static binding.
func (t *taken) hostIn(p netip.Prefix) (o owner, found bool) {
	i, _ := slices.BinarySearchFunc(t.hosts, p.Addr(), func(o owner, a netip.Addr) int { return o.at.Addr().Compare(a) })
	if i < len(t.hosts) && p.Contains(t.hosts[i].at.Addr()) {
		return t.hosts[i], true
	}
	return o, false
}

// An end is an address and port of a static binding.
type end struct {
	proto uint8
	at    netip.AddrPort
}

// bindingOf returns the owner of an end of b.
func (t *taken) bindingOf(b Binding) (at netip.AddrPort, o owner, found bool) {
	for _, at := range []netip.AddrPort{b.Addr, b.Host} {
		if o, found := t.bound[end{b.Proto, at}]; found {
			return at, o, true
		}
	}
	return at, o, false
}

// addBinding gives both ends of b to its line, or returns the owner of one.
func (t *taken) addBinding(b Binding) (at netip.AddrPort, o owner, found bool) {
	if at, o, found = t.bindingOf(b); found {
		return at, o, true
	}
	for _, at := range []netip.AddrPort{b.Addr, b.Host} {
		t.bound[end{b.Proto, at}] = owner{netip.PrefixFrom(at.Addr(), at.Addr().BitLen()), "stateful-map", b.File, b.Line}
	}
	return at, o, false
}

// twice says that another line has an end of b.
func twice(b Binding, at netip.AddrPort, line string) string {
	if at == b.Host {
		return fmt.Sprintf("%s of the host has a binding by %s: a port has one (RFC 6146 §3.1)", at, line)
	}
	return fmt.Sprintf("%s is taken by %s", at, line)
}

// checkBinding checks b against all but other bindings.
func (c *Config) checkBinding(b Binding) error {
	host := b.Host.Addr()
	pool, found := c.poolOf(b.Addr.Addr())
	if !found {
		if err := c.mayShare(b); err != nil {
			return err
		}
		return fmt.Errorf("%s is in no stateful-pool: add a line such as %q", b.Addr.Addr(), "stateful-pool "+b.Addr.Addr().String())
	}
	if host == c.IPv6 {
		return fmt.Errorf("%s is the translator's own address: no host can have it", host)
	}
	for _, o := range c.taken.prefixes {
		if o.at.Contains(host) {
			return fmt.Errorf("%s lies inside prefix %s, line %d: no host can have that address", host, o.at, o.line)
		}
	}
	if o, found := c.taken.mapOf(host); found {
		return fmt.Errorf("%s has an address of its own by %s, and would not answer from %s", host, o.from(b.File), b.Addr.Addr())
	}
	contains := func(p netip.Prefix) bool { return p.Contains(host) }
	if list := c.Stateful.Clients; len(list) > 0 && !slices.ContainsFunc(list, contains) {
		return fmt.Errorf("%s is no client: add a line such as %q", host, "stateful-clients "+host.String())
	}
	if !pool.static.IsValid() {
		return fmt.Errorf("stateful-pool %s, line %d, is for no prefix: %s would answer from another address: choose one of a pool via a prefix", pool.Prefix, pool.Line, host)
	}
	switch {
	case !c.leases(pool.static):
	case len(c.PoolClients) == 0:
		return fmt.Errorf("%s leases an address of a dynamic-pool, as all hosts do, and would not answer from %s: name those that lease by a line with dynamic-pool-clients, without this one, or give it a map", host, b.Addr.Addr())
	case slices.ContainsFunc(c.PoolClients, contains):
		return fmt.Errorf("%s leases an address of a dynamic-pool, and would not answer from %s: leave it out of dynamic-pool-clients, or give it a map", host, b.Addr.Addr())
	}
	return nil
}

// lengths lists the lengths of the IPv6 prefixes of maps.
func lengths(maps []Map) (list []int) {
	for _, m := range maps {
		if n := m.IPv6.Bits(); !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	return list
}

// mapOf returns the map that has a host.
func (t *taken) mapOf(host netip.Addr) (o owner, found bool) {
	for _, n := range t.bits6 {
		p, _ := host.Prefix(n)
		if o, found := t.by6[p]; found && o.directive == "map" {
			return o, true
		}
	}
	return o, false
}

// Owners says from which pools hosts without a map get addresses if they send to a prefix.
type Owners struct {
	Pref64 netip.Prefix
	Leased []netip.Prefix // dynamic pools: PoolClients, or all hosts if there are none
	Shared []netip.Prefix // stateful pools: of Stateful.Clients, those that lease nothing
}

// Owners lists this for each prefix.
func (c *Config) Owners() (list []Owners) {
	for _, pref64 := range c.Prefixes {
		o := Owners{Pref64: pref64}
		bound := slices.ContainsFunc(c.Pools, func(p Pool) bool { return p.Pref64 == pref64 })
		for _, p := range c.Pools {
			if p.Pref64 == pref64 || !bound && !p.Pref64.IsValid() {
				o.Leased = append(o.Leased, p.Prefixes...)
			}
		}
		for _, p := range c.Stateful.Pools {
			if !isOdd(pref64) && c.servesShared(p, pref64) {
				o.Shared = append(o.Shared, p.Prefix)
			}
		}
		list = append(list, o)
	}
	return list
}
