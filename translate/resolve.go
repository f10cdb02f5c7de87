package translate

import (
	"encoding/binary"
	"net/netip"

	"github.com/steppe-nat64/steppe/internal/checksum"
)

// portsOf returns the ports of a packet, whose data may be cut short. Both are 0 where the
// protocol has none and in fragments but the first; of an ICMP Echo message both are the
// identifier.
func (h *header) portsOf(data []byte) (src, dst uint16) {
	switch {
	case h.off8 != 0:
	case checksumOffset(h.proto) != 0 && len(data) >= 4:
		return binary.BigEndian.Uint16(data), binary.BigEndian.Uint16(data[2:])
	case (h.proto == protoICMPv4 || h.proto == protoICMPv6) && len(data) >= 6:
		id := binary.BigEndian.Uint16(data[4:])
		return id, id
	}
	return 0, 0
}

// addresses are those of a tuple in both families.
type addresses struct {
	src6, dst6 addr6
	src4, dst4 addr4
}

// to6 and to4 are the change of the pseudo-header's sum when a packet comes to be of
// that family.
func (a addresses) to6() uint64 {
	return a.src6.sum() + a.dst6.sum() + checksum.Minus(a.src4.sum()+a.dst4.sum())
}

func (a addresses) to4() uint64 {
	return a.src4.sum() + a.dst4.sum() + checksum.Minus(a.src6.sum()+a.dst6.sum())
}

// A refusal says why a packet has no mapping: NoSource or NoDestination, and how that
// address is mapped, or what Sessions say. The zero value is none.
type refusal struct {
	why Reason
	how origin
}

// reason is the reason that is counted.
func (no refusal) reason() Reason {
	switch no.how {
	case illegal:
		if no.why == NoDestination {
			return IllegalDestination
		}
		return IllegalSource
	case linkLocal:
		return LinkLocal
	case embedded:
		return EmbeddedSource
	case notGlobal:
		return NonGlobal
	}
	return no.why
}

// first4 maps the first packet between two addresses, and keeps them in f.
func (w *Worker) first4(h *header, data []byte, f *flow, src, dst addr4) refusal {
	src6, dst6, no := w.resolve4(h, data, src, dst)
	if no.why == pass {
		a := addresses{src6, dst6, src, dst}
		w.keep(f, a, a.to6(), h.ports)
	}
	return no
}

// resolve4 maps an IPv4 packet that is no ICMP error.
func (w *Worker) resolve4(h *header, data []byte, src, dst addr4) (src6, dst6 addr6, no refusal) {
	if w.s.tab.sessions != nil && w.s.tab.shares4(dst) {
		return w.resolveShared4(h, data, src, dst)
	}
	dst6, dstHow, pref64 := w.from4(dst, &w.s.tab.first)
	if !dstHow.mapped() {
		return src6, dst6, refusal{NoDestination, dstHow}
	}
	src6, srcHow := w.remote4(src, pref64)
	if !srcHow.mapped() {
		return src6, dst6, refusal{NoSource, srcHow}
	}
	if w.s.tab.loop4(dstHow, srcHow) {
		return src6, dst6, refusal{NoDestination, unmapped}
	}
	return src6, dst6, no
}

// resolve6 maps an IPv6 packet that is no ICMP error. A source without a map leases an
// IPv4 address; only where there is nothing to lease it may share one. If the destination is the IPv4 address of an IPv6 host, back
// is the prefix under which that was addressed: the packet is to be mapped again, see
// hairpin.
func (w *Worker) resolve6(h *header, data []byte, src, dst addr6) (src4, dst4 addr4, back *prefix6052, no refusal) {
	dst4, dstHow, pref64 := w.from6(dst)
	if w.staysLocal(dst4) {
		return src4, dst4, nil, refusal{NoDestination, linkLocal}
	}
	if !dstHow.mapped() {
		return src4, dst4, nil, refusal{NoDestination, dstHow}
	}
	src4, srcHow, from := w.source6(src, pref64)
	if srcHow == unmapped && w.s.tab.sessions != nil && w.dynamicOf(src, pref64) == nil {
		var why Reason
		if src4, why = w.outbound(h, data, src, dst4, numberOf6(pref64)); why != pass {
			return src4, dst4, nil, refusal{why: why}
		}
		srcHow = bySession
	}
	if !srcHow.mapped() {
		return src4, dst4, nil, refusal{NoSource, srcHow}
	}
	if w.loop6(from, pref64, dst4) {
		return src4, dst4, nil, refusal{NoDestination, unmapped}
	}
	if pref64 != nil && w.s.cfg.Hairpin == HairpinIntrinsic && w.leadsBack(dst4) {
		back = pref64
	}
	return src4, dst4, back, no
}

// leadsBack reports whether the IPv4 destination of a packet from IPv6 belongs to an IPv6
// host: the question that intrinsic hairpinning asks, RFC 7757 §4.2.2. Packets to the own
// address leave for the IPv4 network, which returns them, also if hosts share it: so a
// host can ping it.
func (w *Worker) leadsBack(dst4 addr4) bool {
	return w.s.tab.covers4(dst4) && !(w.s.ownShared && dst4 == w.s.own4)
}

// proto4 is the protocol that an IPv6 packet has in IPv4.
func (h *header) proto4() uint8 {
	if h.proto == protoICMPv6 {
		return protoICMPv4
	}
	return h.proto
}

// inside4 maps the IPv4 destination of a hairpinned packet into IPv6 again. newPref64 is
// the prefix inside which that host sees the sender.
func (w *Worker) inside4(h *header, data []byte, a *addresses, pref64 *prefix6052) (dst6 addr6, newPref64 *prefix6052, no refusal) {
	dst4 := a.dst4
	if w.s.tab.sessions != nil && w.s.tab.shares4(dst4) {
		dst6, why := w.inbound(h, data, a.src4, dst4, a)
		return dst6, w.s.tab.prefixOf(h.ports.pref64), refusal{why: why}
	}
	dst6, how, newPref64 := w.from4(dst4, pref64)
	if !how.mapped() {
		return dst6, newPref64, refusal{NoDestination, how}
	}
	return dst6, newPref64, no
}

// An origin says how an address was mapped, or why it was not.
type origin uint8

const (
	unmapped  origin = iota
	byMap            // explicit map, RFC 7757
	byLease          // Dynamic
	byPrefix         // RFC 6052
	bySession        // Sessions
	illegal          // maps to an address that no packet may have
	notGlobal        // well-known prefix and non-global IPv4 address
	linkLocal        // source that is an IPv4 link-local address
	embedded         // source inside a prefix, which the configuration does not allow
)

func (h origin) mapped() bool { return h >= byMap && h <= bySession }

// resolveError4 maps the addresses of an ICMPv4 error and of the packet that it quotes.
// bad is what is wrong with the quote: for the tables the outer destination decides
// first. An error that would come back is dropped, as is one of our own, and one about
// a packet to an address without a map: there, routers without a mapping have nothing
// to report.
func (w *Worker) resolveError4(e *icmpError, bad Reason, src, dst addr4) Reason {
	var (
		dst6   addr6
		dstHow = bySession
		pref64 = &w.s.tab.first
		simple = w.s.cfg.Hairpin == HairpinSimple
		shared = w.s.tab.sessions != nil && w.s.tab.shares4(dst)
	)
	switch {
	case !shared:
		dst6, dstHow, pref64 = w.from4(dst, pref64)
		if !dstHow.mapped() {
			return refusal{NoDestination, dstHow}.reason()
		}
	case bad != pass:
		return bad // without a quote the host is not known
	default:
		var why Reason
		if dst6, pref64, why = w.quotedShared4(e, dst); why != pass {
			return why
		}
	}

	// In a hairpin, the source of the error may be the host that the packet was sent to.
	src6, srcHow := addr6{}, unmapped
	if simple && len(e.msg) >= lenICMP+len4 && e.msg[lenICMP]>>4 == 4 && src == (*hdr4)(e.msg[lenICMP:]).dst() {
		src6, srcHow = w.embed(pref64, src)
	} else {
		src6, srcHow, _ = w.from4(src, pref64)
	}
	if why := w.mayReplace(srcHow, len(w.s.sources6)); why != pass {
		return why
	}
	if w.s.tab.loop4(dstHow, srcHow) || w.s.sends4(src) && w.s.tab.loop4(dstHow, byPrefix) {
		return NoDestination
	}
	if bad != pass {
		return bad
	}

	v := (*hdr4)(e.quote)
	in := &e.inner
	in.src4, in.dst4 = v.src(), v.dst()
	qsrc6, qsrcHow, qpref64 := dst6, dstHow, pref64
	if !shared {
		qsrc6, qsrcHow, qpref64 = w.from4(in.src4, &w.s.tab.first)
	}
	qdst6, qdstHow := w.remote4(in.dst4, qpref64)
	if !qsrcHow.mapped() || !qdstHow.mapped() || w.s.cfg.illegal4(in.src4) || w.s.cfg.illegal4(in.dst4) ||
		w.staysLocal(in.src4) || w.staysLocal(in.dst4) {
		return ICMPQuote
	}
	if w.s.tab.loop4(dstHow, qdstHow) {
		return NoDestination
	}
	in.src6, in.dst6 = qsrc6, qdst6
	if !srcHow.mapped() {
		src6 = pick(w, &w.t.last6, w.s.sources6)
	}
	e.outer.src6, e.outer.dst6 = src6, dst6
	return pass
}

// resolveError6 is resolveError4 for an ICMPv6 error. If the error is to go back into
// IPv6, back is the prefix under which the sender of the quoted packet was addressed.
func (w *Worker) resolveError6(e *icmpError, bad Reason, src, dst addr6) (back *prefix6052, why Reason) {
	dst4, dstHow, pref64 := w.from6(dst)
	if w.staysLocal(dst4) {
		return nil, LinkLocal
	}
	if !dstHow.mapped() {
		return nil, refusal{NoDestination, dstHow}.reason()
	}
	var host quotedHost // that the quoted packet went to
	if w.s.tab.sessions != nil && bad == pass {
		if host, why = w.quotedShared6(e); why != pass {
			return nil, why
		}
	}
	src4, srcHow, from := w.from6(src)
	if srcHow == unmapped {
		src4, srcHow = w.s.addr(w.dynamicFor(pref64), src)
	}
	if srcHow == unmapped && host.shares && (src == host.v6 || len(w.s.sources4) == 0) {
		src4, srcHow = host.v4, bySession // RFC 5508 §4.2: of a router that has none, too
	}
	switch {
	case w.s.dropsSource(src4, from):
		return nil, EmbeddedSource
	case srcHow == illegal:
		return nil, IllegalSource
	}
	if why := w.mayReplace(srcHow, len(w.s.sources4)); why != pass {
		return nil, why
	}
	e.replaced = !srcHow.mapped()
	if !e.replaced && w.loop6(from, pref64, dst4) {
		return nil, NoDestination
	}
	if bad != pass {
		return nil, bad
	}

	v := (*hdr6)(e.quote)
	in := &e.inner
	in.src6, in.dst6 = v.src(), v.dst()
	qsrc4, qsrcHow, srcPref64 := w.from6(in.src6)
	qdst4, qdstHow, dstPref64 := w.from6(in.dst6)
	if qsrcHow == unmapped {
		qsrc4, qsrcHow = w.s.addr(w.dynamicFor(dstPref64), in.src6)
	}
	switch {
	case host.shares:
		qdst4, qdstHow = host.v4, bySession
	case qdstHow == unmapped:
		qdst4, qdstHow = w.s.addr(w.dynamicFor(srcPref64), in.dst6)
	}
	if !qsrcHow.mapped() || !qdstHow.mapped() || w.staysLocal(qsrc4) || w.staysLocal(qdst4) {
		return nil, ICMPQuote
	}
	in.src4, in.dst4 = qsrc4, qdst4
	if e.replaced {
		src4 = pick(w, &w.t.last4, w.s.sources4)
	}
	e.outer.src4, e.outer.dst4 = src4, dst4
	if srcPref64 != nil && w.s.cfg.Hairpin == HairpinIntrinsic && w.leadsBack(in.src4) {
		return srcPref64, pass
	}
	return nil, pass
}

// resolveHairpinError maps an error and its quoted packet, which have been mapped into
// IPv4, into IPv6 again.
func (w *Worker) resolveHairpinError(e *icmpError, pref64 *prefix6052) Reason {
	var (
		in, out   = &e.inner, &e.outer
		newDst    addr6
		dstHow    = bySession
		newPref64 = pref64
		shared    = w.s.tab.sessions != nil && w.s.tab.shares4(out.dst4)
	)
	if shared {
		var why Reason
		if newDst, newPref64, why = w.inboundError(&e.q, e.data(), in.src4, in.dst4, out.dst4); why != pass {
			return why
		}
	} else {
		newDst, dstHow, newPref64 = w.from4(out.dst4, pref64)
	}
	switch {
	case dstHow == notGlobal:
		return NonGlobal
	case !dstHow.mapped(), dstHow == byPrefix && pref64.checkLoops:
		return NoDestination
	}
	newSrc, srcHow := addr6{}, unmapped
	if out.src4 == in.dst4 {
		newSrc, srcHow = w.embed(newPref64, out.src4)
	} else {
		newSrc, srcHow, _ = w.from4(out.src4, newPref64)
	}
	if why := w.mayReplace(srcHow, len(w.s.sources6)); why != pass {
		return why
	}
	if !srcHow.mapped() {
		newSrc = pick(w, &w.t.last6, w.s.sources6)
	}
	newQsrc, qsrcHow, qpref64 := newDst, dstHow, newPref64
	if !shared {
		newQsrc, qsrcHow, qpref64 = w.from4(in.src4, pref64)
	}
	newQdst, qdstHow := w.embed(qpref64, in.dst4)
	if !qsrcHow.mapped() || !qdstHow.mapped() {
		return ICMPQuote
	}
	out.src6, out.dst6 = newSrc, newDst
	e.delta = newQsrc.sum() + newQdst.sum() + checksum.Minus(in.src6.sum()+in.dst6.sum())
	in.src6, in.dst6 = newQsrc, newQdst
	return pass
}

// from4 maps an IPv4 address into IPv6, with p where RFC 6052 applies. A host with a
// lease sees its peers at addresses inside pref64; for other addresses pref64 is p.
func (w *Worker) from4(a addr4, p *prefix6052) (v6 addr6, how origin, pref64 *prefix6052) {
	t := w.s.tab
	if !t.unlisted4(a) {
		if v6, found := t.hosts.to6(a); found {
			return v6, byMap, p
		}
		if t.to6 != nil {
			if e, found := t.to6.Lookup(netip.AddrFrom4(a.array())); found {
				switch {
				case !e.pool:
					return e.to6(a), byMap, p
				case e.shared: // of a peer: RFC 6146 §3.6 maps that by the prefix
					v6, how = w.embed(p, a)
					return v6, how, p
				}
				pref64 = t.pref64Of(&e, p)
				v6, how = w.s.host(w.dynamicFor(t.boundTo(&e)), a)
				return v6, how, pref64
			}
		}
	}
	v6, how = w.embed(p, a)
	return v6, how, p
}

// remote4 maps the IPv4 address of the far end of a packet from IPv4, for a host that
// sees it inside p. With simple hairpinning RFC 6052 alone applies: RFC 7757 §4.2.1.
func (w *Worker) remote4(a addr4, p *prefix6052) (v6 addr6, how origin) {
	if w.s.cfg.Hairpin == HairpinSimple {
		return w.embed(p, a)
	}
	v6, how, _ = w.from4(a, p)
	return v6, how
}

// boundTo returns the prefix that a pool is bound to, nil if there is none.
func (t *Table) boundTo(e *entry) *prefix6052 {
	if e.pref64 == 0 {
		return nil
	}
	return &t.prefixes[e.pref64-1]
}

// pref64Of returns the prefix inside which the host that leases an address of a pool sees
// its peers: p, unless that belongs to another pool.
func (t *Table) pref64Of(e *entry, p *prefix6052) *prefix6052 {
	switch bound := t.boundTo(e); {
	case bound != nil:
		return bound
	case p.bound:
		return &t.free
	}
	return p
}

// dynamicFor returns the Dynamic for a host that sends to an address inside p. p is nil if
// that address has a map. The result may be nil.
func (w *Worker) dynamicFor(p *prefix6052) Dynamic {
	if p != nil && p.bound {
		return p.dyn
	}
	return w.s.tab.dyn
}

// dynamicOf is dynamicFor for a host that may share an address instead: it is nil if that
// is no client.
func (w *Worker) dynamicOf(host addr6, p *prefix6052) Dynamic {
	dyn := w.dynamicFor(p)
	if dyn == nil || w.s.tab.sessions == nil {
		return dyn
	}
	if s, selects := dyn.(Selector); selects && !s.Serves(host.array()) {
		return nil
	}
	return dyn
}

// embed composes an IPv4-embedded address and guards the well-known prefix.
func (w *Worker) embed(p *prefix6052, a addr4) (v6 addr6, how origin) {
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

// from6 maps an IPv6 address into IPv4 by explicit map or prefix. pref64 is the
// prefix if it was byPrefix.
func (w *Worker) from6(a addr6) (v4 addr4, how origin, pref64 *prefix6052) {
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

// embeds reports whether a lies inside a prefix.
func (t *Table) embeds(a addr6) bool {
	for i := range t.prefixes {
		if t.prefixes[i].contains(a) {
			return true
		}
	}
	return false
}

// embeds4 reports whether a is v4 inside a prefix.
func (t *Table) embeds4(a addr6, v4 addr4) bool {
	for i := range t.prefixes {
		if p := &t.prefixes[i]; p.contains(a) && p.extract(a) == v4 {
			return true
		}
	}
	return false
}

// from6map maps an IPv6 address into IPv4 by explicit map.
func (w *Worker) from6map(a addr6) (v4 addr4, how origin) {
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

// source6 maps the source of a packet that is no ICMP error, and leases an IPv4 address if
// it has none. dstPref64 is the prefix of the destination, nil if that has a map;
// srcPref64 is the prefix of the source, nil if it is inside none.
func (w *Worker) source6(src addr6, dstPref64 *prefix6052) (v4 addr4, how origin, srcPref64 *prefix6052) {
	v4, how, srcPref64 = w.from6(src)
	switch {
	case w.s.dropsSource(v4, srcPref64):
		return v4, embedded, srcPref64
	case w.staysLocal(v4):
		return v4, linkLocal, srcPref64
	case how == unmapped:
		v4, how = w.s.assign(w.dynamicOf(src, dstPref64), src)
	}
	return v4, how, srcPref64
}

// dropsSource reports whether no IPv6 host may send from v4 inside pref64, which is nil
// for a source outside all prefixes: RFC 6052 §5.1. No host is numbered from an address
// that hosts share: its packets would reach into the sessions of these, RFC 6146 §5.4.
func (s *state) dropsSource(v4 addr4, pref64 *prefix6052) bool {
	return pref64 != nil && (pref64.dropSource || s.cfg.DropEmbeddedSource || s.tab.shares4(v4))
}

// silent6 returns why a packet is dropped silently for its addresses, whatever else is
// wrong with it: an answer to a source inside a prefix would go to an IPv4 host that
// has sent nothing. It is asked before an answer, since addresses are mapped later.
func (w *Worker) silent6(src, dst addr6) Reason {
	if dst != w.s.own6 {
		switch dst4, how, _ := w.from6(dst); {
		case w.staysLocal(dst4):
			return LinkLocal
		case how == illegal:
			return IllegalDestination
		}
	}
	if !w.s.tab.odd && !w.s.tab.embeds(src) {
		return pass // most hosts
	}
	switch src4, how, from := w.from6(src); {
	case w.s.dropsSource(src4, from):
		return EmbeddedSource
	case w.staysLocal(src4):
		return LinkLocal
	case how == illegal:
		return IllegalSource
	}
	return pass
}

// host returns the host that leases a. An address that no packet may come from cannot have
// leased it, so nothing is sent there.
func (s *state) host(dyn Dynamic, a addr4) (host addr6, how origin) {
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

// addr returns the address that host leases.
func (s *state) addr(dyn Dynamic, host addr6) (addr4, origin) {
	if dyn == nil {
		return 0, unmapped
	}
	return s.leased(dyn.Addr(host.array()))
}

// assign leases an address for host.
func (s *state) assign(dyn Dynamic, host addr6) (addr4, origin) {
	if dyn == nil {
		return 0, unmapped
	}
	return s.leased(dyn.Assign(host.array()))
}

// leased checks an address of the pool, whose prefixes may contain addresses that no
// packet may have.
func (s *state) leased(v4 [4]byte, found bool) (a addr4, how origin) {
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
func (t *Table) loop4(dst, src origin) bool {
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
