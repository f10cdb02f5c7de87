package session

import (
	"net/netip"
	"slices"
	"time"
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
// with, 0 after the last. It looks at a bounded number of sessions, so a page may be short,
// or empty, without being the last. It takes no lock but, with Config.Path, that of one host
// at a time, to ask when a session was used. A session that exists during the
// whole listing is seen once.
func (t *Table) Sessions(to []Session, now time.Duration, f Filter, from Page, limit int) ([]Session, Page) {
	c, sec := t.cfg.Load(), second(now)
	next := t.page(f, from, aSession, limit, func(e *entry, k *key, w uint64) bool {
		if used(w) != sec {
			w = t.ask(e, w)
		}
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
	next := t.page(f, from, aBinding, limit, func(_ *entry, k *key, w uint64) bool {
		to = append(to, binding(k, w))
		return true
	})
	return to, next
}

// Begun calls yield with what has begun and not ended, as OnEvent was told: with the kind
// BindingMade for each binding, and BlockTaken for each block. What begins or ends meanwhile
// may be left out or be there. No lock is held during a call.
func (t *Table) Begun(yield func(Event) bool) {
	const some = 256
	var list []Binding
	for from, more := Page(0), true; more; more = from != 0 {
		list, from = t.Bindings(list[:0], Filter{}, from, some)
		for _, b := range list {
			if !yield(Event{Kind: BindingMade, Proto: b.Proto, Static: b.Static, Host: b.Host, Addr: b.Addr}) {
				return
			}
		}
	}
	c := t.cfg.Load()
	for i, end := uint32(0), uint32(1); i < end; i++ {
		var sub *subscriber
		var prefix netip.Prefix
		t.subs.mu.Lock()
		if end = t.subs.n; i < end {
			sub = t.subs.at(i)
			prefix = c.prefix(sub)
		}
		t.subs.mu.Unlock()
		if sub == nil {
			return
		}
		sub.mu.Lock()
		blocks := slices.Clone(sub.blocks)
		sub.mu.Unlock()
		for _, b := range blocks {
			if !yield(Event{Kind: BlockTaken, Addr: netip.AddrPortFrom(addr4(b.addr.ip), b.low), Subscriber: prefix, Ports: c.block}) {
				return
			}
		}
	}
}

// page calls add for entries that f selects until limit of them were added.
func (t *Table) page(f Filter, from Page, kind uint64, limit int, add func(e *entry, k *key, w uint64) bool) Page {
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
		if add(e, &k, w) {
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
