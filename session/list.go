package session

import (
	"net/netip"
	"slices"
	"time"

	"github.com/steppe-nat64/steppe/translate"
)

// A Binding is the mapping of a host's port to an IPv4 address and port, or of an ICMP
// identifier.
type Binding struct {
	Proto  uint8 // 6, 17 or 1
	Static bool
	Host   netip.AddrPort
	Addr   netip.AddrPort
	Pref64 uint8 // number of the prefix by which the host was mapped
}

// A Session is a binding in use with a remote address.
type Session struct {
	Proto   uint8 // 6, 17 or 1
	State   string
	Host    netip.AddrPort
	Addr    netip.AddrPort
	Remote  netip.AddrPort // of ICMP, the port is 0
	Pref64  uint8          // number of the prefix inside which the host sees Remote
	Idle    time.Duration  // since the last packet that counts, in whole seconds
	Expires time.Duration  // until the session ends or changes its state if no packet comes
}

// A Filter selects bindings and sessions. The zero Filter selects all.
type Filter struct {
	Host  netip.Prefix // IPv6: of the host, if valid
	Addr  netip.Prefix // IPv4: of the shared or the remote address, if valid
	Proto uint8        // 6, 17 or 1, if not 0
}

// A Page says where a listing goes on. The zero Page is the begin.
type Page uint32

// perPage limits how many entries a call looks at.
const perPage = 1 << 16

// Sessions appends up to limit sessions that f selects to to. It returns the Page to go on
// with, 0 after the last. It takes no lock and looks at a bounded number of sessions, so a
// page may be short, or empty, without being the last. A session that exists during the
// whole listing is seen once.
func (t *Table) Sessions(to []Session, now time.Duration, f Filter, from Page, limit int) ([]Session, Page) {
	c, sec := t.cfg.Load(), second(now)
	next := t.page(f, from, aSession, limit, func(k *key, w uint64) bool {
		if c.over(w, sec) {
			return false
		}
		to = append(to, c.session(k, w, sec))
		return true
	})
	return to, next
}

func (c *settings) session(k *key, w uint64, sec uint32) Session {
	idle := max(int32(sec-used(w)), 0)
	return Session{
		Proto:   header(protoOf(k.local)),
		State:   stateOf(w).String(),
		Host:    hostPort(k.host, hostPortOf(k.ends)),
		Addr:    netip.AddrPortFrom(addr4(addrOf(k.local)), portOf(k.local)),
		Remote:  netip.AddrPortFrom(addr4(remoteOf(k.ends)), remotePortOf(k.ends)),
		Pref64:  uint8(prefOf(k.local)),
		Idle:    time.Duration(idle) * time.Second,
		Expires: time.Duration(max(int32(c.timeout[stateOf(w)])-idle, 0)) * time.Second,
	}
}

// Bindings is Sessions for bindings.
func (t *Table) Bindings(to []Binding, f Filter, from Page, limit int) ([]Binding, Page) {
	next := t.page(f, from, aBinding, limit, func(k *key, w uint64) bool {
		to = append(to, binding(k, w))
		return true
	})
	return to, next
}

// page calls add for entries that f selects until limit of them were added.
func (t *Table) page(f Filter, from Page, kind uint64, limit int, add func(k *key, w uint64) bool) Page {
	size := t.mem.size()
	end := min(uint64(from)+perPage, uint64(size))
	for i := uint64(from); i < end; i++ {
		if limit <= 0 {
			return Page(i)
		}
		e := t.mem.at(uint32(i))
		w := e.word.Load()
		k := key{e.host(), e.ends.Load(), e.local.Load()}
		if stateOf(w) == dead || !sameVersion(w, e.word.Load()) || kindOf(k.local) != kind || !f.selects(&k) {
			continue
		}
		if add(&k, w) {
			limit--
		}
	}
	if end == uint64(size) {
		return 0
	}
	return Page(end)
}

func (f *Filter) selects(k *key) bool {
	return (f.Proto == 0 || f.Proto == header(protoOf(k.local))) &&
		(!f.Host.IsValid() || f.Host.Contains(netip6(k.host))) &&
		(!f.Addr.IsValid() || f.Addr.Contains(addr4(addrOf(k.local))) || f.Addr.Contains(addr4(remoteOf(k.ends))))
}

// Stats are figures of a Table.
type Stats struct {
	Sessions, HalfOpen, Inbound, HeldSYN int
	Hosts, Subscribers                   int
	// ByState counts sessions by state: "udp", "established" and so on.
	ByState  map[string]int
	Bindings map[uint8]int // by protocol: 6, 17, 1; static ones included

	Made, Ended uint64 // sessions, since New
	// Denied counts packets that were not mapped, by FlowResult.String, from IPv6 and
	// from IPv4.
	Denied6, Denied4 map[string]uint64

	Memory int // bytes of entries and indexes
}

// Stats returns the figures. It locks one shard at a time.
func (t *Table) Stats() Stats {
	s := Stats{
		ByState: map[string]int{}, Bindings: map[uint8]int{},
		Denied6: map[string]uint64{}, Denied4: map[string]uint64{},
		HeldSYN:  int(t.held.n.Load()),
		Sessions: int(t.sessions.Load()), HalfOpen: int(t.halfOpen.Load()), Inbound: int(t.inbound.Load()),
	}
	for i := range t.shards {
		t.shards[i].addTo(&s)
	}
	t.subs.mu.Lock()
	s.Subscribers = len(t.subs.byPrefix)
	t.subs.mu.Unlock()
	s.Memory = int(t.mem.size()) * 64
	for _, x := range []*index{t.s6, t.s4, t.b6, t.b4} {
		s.Memory += 4*len(x.buckets) + 64*stripes
	}
	return s
}

func (sh *shard) addTo(s *Stats) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for st, n := range sh.states {
		if n != 0 {
			s.ByState[state(st).String()] += n
		}
	}
	for p, n := range sh.bindings {
		if n != 0 {
			s.Bindings[header(uint64(p))] += n
		}
	}
	for r, n := range sh.results {
		for side, to := range []map[string]uint64{s.Denied6, s.Denied4} {
			if n[side] != 0 {
				to[translate.FlowResult(r).String()] += n[side]
			}
		}
	}
	s.Hosts += sh.hosts
	s.Made += sh.made
	s.Ended += sh.ended
}

// AddressUse says how far an address is used.
type AddressUse struct {
	Addr            netip.Addr
	Hosts           int
	TCP, UDP, ICMP  int // ports of the range, or identifiers, that are assigned
	Quarantine      int // and those that wait to be assigned again
	PortLow, PortHi uint16
}

// Addresses returns the use of each address that has a host, in order.
func (t *Table) Addresses() []AddressUse {
	var all []AddressUse
	c := t.cfg.Load()
	for i := range c.spans {
		for _, a := range c.spans[i].addrs {
			if a.hosts.Load() == 0 {
				continue
			}
			u := AddressUse{Addr: addr4(a.ip), Hosts: int(a.hosts.Load()), PortLow: c.spans[i].low, PortHi: c.spans[i].high}
			for proto, n := range map[uint64]*int{tcp: &u.TCP, udp: &u.UDP, icmp: &u.ICMP} {
				used, cooling := a.inUse(proto)
				*n = used
				u.Quarantine += cooling
			}
			all = append(all, u)
		}
	}
	return all
}

// SubscriberUse says what a subscriber uses.
type SubscriberUse struct {
	Prefix                      netip.Prefix
	Hosts                       int
	Sessions, HalfOpen, Inbound int
	Blocks                      int
}

// Subscribers returns the n subscribers with most sessions, most first.
func (t *Table) Subscribers(n int) []SubscriberUse {
	c := t.cfg.Load()
	t.subs.mu.Lock()
	all := make([]SubscriberUse, 0, len(t.subs.byPrefix))
	for _, i := range t.subs.byPrefix {
		sub := t.subs.at(i)
		all = append(all, SubscriberUse{
			Prefix: c.prefix(sub), Hosts: sub.hosts,
			Sessions: int(sub.sessions.Load()), HalfOpen: int(sub.halfOpen.Load()), Inbound: int(sub.inbound.Load()),
			Blocks: int(sub.nblocks.Load()),
		})
	}
	t.subs.mu.Unlock()
	slices.SortFunc(all, func(a, b SubscriberUse) int {
		if d := b.Sessions + b.Inbound - a.Sessions - a.Inbound; d != 0 {
			return d
		}
		return a.Prefix.Addr().Compare(b.Prefix.Addr())
	})
	return all[:min(max(n, 0), len(all))]
}
