package translate

import "net/netip"

// How an address was mapped, or why it was not.
type how uint8

const (
	unmapped  how = iota
	byMap         // explicit map, RFC 7757
	byLease       // Dynamic
	byPrefix      // RFC 6052
	illegal       // maps to an address that no packet may have
	notGlobal     // well-known prefix and non-global IPv4 address
	linkLocal     // source that is an IPv4 link-local address
	embedded      // source inside a prefix, which the configuration refuses
)

func (h how) mapped() bool { return h >= byMap && h <= byPrefix }

// from4 maps an IPv4 address into IPv6, with p where RFC 6052 applies. With
// embedOnly nothing else does, as hairpinning wants for some addresses: RFC 7757
// §4.2.1. A host with a lease knows whom it talks to by an address inside peer;
// otherwise peer is p.
func (w *Worker) from4(a addr4, embedOnly bool, p *prefix6052) (v6 addr6, how how, peer *prefix6052) {
	t := w.s.tab
	if !embedOnly && !t.unlisted4(a) {
		if v6, found := t.hosts.to6(a); found {
			return v6, byMap, p
		}
		if t.to6 != nil {
			if e, found := t.to6.Lookup(netip.AddrFrom4(a.array())); found {
				if !e.pool {
					return e.to6(a), byMap, p
				}
				peer = t.peer(&e, p)
				v6, how = w.s.host(w.lender(t.via(&e)), a)
				return v6, how, peer
			}
		}
	}
	v6, how = w.embed(p, a)
	return v6, how, p
}

// via returns the prefix that a pool is bound to, nil if there is none.
func (t *Table) via(e *entry) *prefix6052 {
	if e.via == 0 {
		return nil
	}
	return &t.prefixes[e.via-1]
}

// peer returns the prefix inside which the holder of an address of a pool sees
// those that it talks to: p, unless that leads to leases of another pool.
func (t *Table) peer(e *entry, p *prefix6052) *prefix6052 {
	switch via := t.via(e); {
	case via != nil:
		return via
	case p.bound:
		return &t.free
	}
	return p
}

// lender returns whom a host leases from that talks to an address inside p, which
// is nil if a map says who that is. It may be nil.
func (w *Worker) lender(p *prefix6052) Dynamic {
	if p != nil && p.bound {
		return p.dyn
	}
	return w.s.tab.dyn
}

// embed composes an IPv4-embedded address and guards the well-known prefix.
func (w *Worker) embed(p *prefix6052, a addr4) (v6 addr6, how how) {
	if p.bits == 0 {
		return v6, unmapped
	}
	if p.wellKnown && !w.s.cfg.AllowPrivate && isNonGlobal(a) {
		return v6, notGlobal
	}
	return p.embed(a), byPrefix
}

// covers4 reports whether an explicit map or a pool covers a: the question that
// intrinsic hairpinning asks, RFC 7757 §4.2.2.
func (t *Table) covers4(a addr4) bool {
	if t.unlisted4(a) {
		return false
	}
	if _, found := t.hosts.to6(a); found {
		return true
	}
	return t.to6 != nil && t.to6.Contains(netip.AddrFrom4(a.array()))
}

// names4 reports whether a map or a pool is there for the sake of a: a pool that
// covers it, or a map of no more than 16 suffix bits. A wider map only happens to
// contain a.
func (t *Table) names4(a addr4) bool {
	if t.unlisted4(a) {
		return false
	}
	if _, found := t.hosts.to6(a); found {
		return true
	}
	if t.to6 == nil {
		return false
	}
	e, found := t.to6.Lookup(netip.AddrFrom4(a.array()))
	return found && (e.pool || e.suffix <= 0xffff)
}

// staysLocal reports whether a is an IPv4 link-local address, whose packets are
// not forwarded: RFC 3927 §2.7, §7. On a rented machine the metadata service
// would otherwise be open to every IPv6 client. What the operator has named passes:
// the own address, and addresses of a map or a pool.
func (w *Worker) staysLocal(a addr4) bool {
	return a>>16 == linkLocal4 && a != w.s.own4 && !w.s.tab.names4(a)
}

// from6 maps an IPv6 address into IPv4 by explicit map or prefix. pfx is the
// prefix if it was byPrefix.
func (w *Worker) from6(a addr6) (v4 addr4, how how, pfx *prefix6052) {
	t := w.s.tab
	if t.inside {
		if v4, how = w.from6map(a); how != unmapped {
			return v4, how, nil
		}
	}
	for i := range t.prefixes {
		p := &t.prefixes[i]
		if !p.contains(a) {
			continue
		}
		v4 = p.extract(a)
		switch {
		case w.s.cfg.illegal4(v4):
			return v4, illegal, p
		case p.wellKnown && !w.s.cfg.AllowPrivate && isNonGlobal(v4):
			return v4, notGlobal, p
		}
		return v4, byPrefix, p
	}
	if !t.inside {
		v4, how = w.from6map(a)
	}
	return v4, how, nil
}

// from6map maps an IPv6 address into IPv4 by explicit map.
func (w *Worker) from6map(a addr6) (v4 addr4, how how) {
	t := w.s.tab
	v4, found := t.hosts.to4(a)
	if !found && t.to4 != nil {
		var e entry
		if e, found = t.to4.Lookup(netip.AddrFrom16(a.array())); found {
			v4 = e.to4(a)
		}
	}
	switch {
	case !found:
		return v4, unmapped
	case w.s.cfg.illegal4(v4):
		return v4, illegal
	}
	return v4, byMap
}

// illegalSource4 reports whether no packet may come from src. An ICMP error may
// come from any address that looks like a host's, so that traceroute stays
// useful: RFC 7915 §4.1.
func (s *state) illegalSource4(src addr4, isError bool) bool {
	if isError {
		c := class4(src)
		return c == multicast || c == broadcast
	}
	return s.cfg.illegal4(src)
}

// source6 maps the source of a packet that is no ICMP error, and lends it an
// IPv4 address if it has none. peer is the prefix of the destination, nil if that
// has a map; pfx is the prefix of the source, nil if it lies inside none.
func (w *Worker) source6(src addr6, peer *prefix6052) (v4 addr4, how how, pfx *prefix6052) {
	v4, how, pfx = w.from6(src)
	switch {
	case w.s.dropsSource(pfx):
		return v4, embedded, pfx
	case w.staysLocal(v4):
		return v4, linkLocal, pfx
	case how == unmapped:
		v4, how = w.s.assign(w.lender(peer), src)
	}
	return v4, how, pfx
}

// dropsSource reports whether no IPv6 host may send from inside pfx, which is nil
// for a source outside all prefixes: RFC 6052 §5.1.
func (s *state) dropsSource(pfx *prefix6052) bool {
	return pfx != nil && (pfx.dropSource || s.cfg.RefuseEmbeddedSource)
}

// host asks a pool who holds a. A host that no packet may come from has not got
// it by asking, so nothing is sent there.
func (s *state) host(dyn Dynamic, a addr4) (host addr6, how how) {
	if dyn == nil {
		return host, unmapped
	}
	h, held := dyn.Host(a.array())
	host = make6(h)
	if !held || illegal6(host) {
		return host, unmapped
	}
	return host, byLease
}

// addr asks a pool what host holds.
func (s *state) addr(dyn Dynamic, host addr6) (addr4, how) {
	if dyn == nil {
		return 0, unmapped
	}
	return s.leased(dyn.Addr(host.array()))
}

// assign asks a pool for an address for host.
func (s *state) assign(dyn Dynamic, host addr6) (addr4, how) {
	if dyn == nil {
		return 0, unmapped
	}
	return s.leased(dyn.Assign(host.array()))
}

// leased judges an answer of the pool, whose prefixes may hold addresses that no
// packet may have.
func (s *state) leased(v4 [4]byte, found bool) (a addr4, how how) {
	a = make4(v4)
	switch {
	case !found:
		return a, unmapped
	case s.cfg.illegal4(a):
		return a, illegal
	}
	return a, byLease
}

// Packets that would come back: see PrefixRule.

// loop4 reports whether an IPv4 packet would come back whose addresses are mapped
// as said, its destination into first, the prefix that composes. A host with a
// lease is an IPv6 host: its packets come from IPv4 only if they went round already.
func (t *Table) loop4(dst, src how) bool {
	return dst == byPrefix && (src == byPrefix || src == byLease) && t.first.checkLoops
}

// loop6 reports whether an IPv6 packet would come back from inside the prefix src
// to inside the prefix dst, for dst4. Either prefix is nil if none maps the address.
func (w *Worker) loop6(src, dst *prefix6052, dst4 addr4) bool {
	return src != nil && src.checkLoops && dst != nil && dst4 != w.s.own4 && !w.s.tab.covers4(dst4)
}

// sends4 reports whether errors of the translator's own may come from a.
func (s *state) sends4(a addr4) bool {
	for _, source := range s.sources4 {
		if source == a {
			return true
		}
	}
	return s.own4 != 0 && a == s.own4
}
