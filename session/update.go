package session

import (
	"errors"
	"runtime"
	"time"

	"github.com/steppe-nat64/steppe/translate"
)

// addStatic makes a static binding, or makes the dynamic one static that is the same. The
// port is free, or that of the latter. All shards are locked, or no other goroutine knows the table.
func (t *Table) addStatic(c *settings, s Static) {
	proto, host := number(s.Proto), addr6(s.Host.Addr())
	ip := bits4(s.Addr.Addr())
	sh := t.shard(host)
	group := uint64(c.find(ip).group)
	m := meta(aBinding, proto, group, uint64(s.Pref64))
	k := key{host, uint64(s.Host.Port()), local(ip, s.Addr.Port(), m)}
	if b := t.binding(&k); b != 0 {
		e := t.mem.at(b)
		if stateOf(e.word.Load()) != permanent {
			t.forget(c, t.subs.at(t.mem.at(e.parent).parent), &k)
		}
		e.word.Store(e.word.Load()>>40<<40 | uint64(permanent)<<32)
		e.local.Store(k.local)
		return
	}
	h := t.host(c, sh, &k, 0)
	i := t.alloc(sh)
	if h == 0 || i == 0 {
		return // no memory for an entry: 2^26 are in use
	}
	a := c.address(ip)
	a.reserve(proto, s.Addr.Port())
	if addrOf(t.mem.at(h).local.Load()) == 0 {
		t.pair(t.mem.at(h), a)
	}
	t.link(c, sh, i, h, k, permanent)
}

// Update replaces the configuration. Sessions that it still allows go on: those of clients,
// by a binding that is static or has a port of a pool. Others end. It fails, and changes
// nothing, if cfg is invalid or changes PortBlock or Limits.PrefixLen. A table is as large
// as Limits.Sessions of New needs; with many more it becomes slower.
//
// Packets pass meanwhile, and sessions begin: it looks through the entries one by one, and
// locks all shards only to exchange the configuration and to add static bindings.
func (t *Table) Update(now time.Duration, cfg Config) error {
	c, err := compile(cfg)
	if err != nil {
		return err
	}
	t.upkeep.Lock()
	defer t.upkeep.Unlock()
	old := t.cfg.Load()
	switch {
	case c.block != old.block:
		return errors.New("session: Update cannot change PortBlock")
	case c.limits.PrefixLen != old.limits.PrefixLen:
		return errors.New("session: Update cannot change Limits.PrefixLen")
	}
	c.path = old.path
	p := &pending{c, newStatics(c)}
	t.next.Store(p)
	for i := range t.shards {
		t.shards[i].barrier() // who had the lock may not have seen it
	}
	ended := t.endOthers(old, p, second(now))
	t.replace(old, p, ended)
	t.held.resize(max(c.limits.HeldSYN, 0))
	return nil
}

// barrier waits until all that was done with the shard when it was called is done.
func (sh *shard) barrier() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
}

// A pending configuration is one that Update is about to make the table's. What begins
// meanwhile is allowed by both.
type pending struct {
	*settings
	static *statics
}

// refuses reports whether a binding that has just begun is not allowed by the configuration
// that is pending.
func (p *pending) refuses(e *entry) bool { return p != nil && !p.allows(e, p.static) }

// endOthers ends what a pending configuration does not allow, and reports whether that was
// anything: it marks the bindings, ends their sessions, and then those that had none.
func (t *Table) endOthers(old *settings, p *pending, sec uint32) bool {
	if p.filtering == AddressDependent && old.filtering != AddressDependent {
		t.permitAll()
	}
	n := 0
	t.each(aBinding, func(_ *shard, _ uint32, e *entry) {
		if !p.allows(e, p.static) {
			e.parent |= doomed
			n++
		}
	})
	if n == 0 {
		return false
	}
	t.each(aSession, func(sh *shard, i uint32, e *entry) {
		if w := e.word.Load(); t.mem.at(e.parent).parent&doomed != 0 {
			for !e.kill(w) {
				w = e.word.Load()
			}
			t.end(old, sh, i, w, dead, sec)
		}
	})
	t.each(aBinding, func(sh *shard, i uint32, e *entry) {
		if e.parent&doomed != 0 { // it had no session
			t.endBinding(old, sh, i, sec)
		}
	})
	return true
}

// replace makes a pending configuration that of the table. If no binding was ended, static
// bindings of both are there already.
func (t *Table) replace(old *settings, p *pending, ended bool) {
	for i := range t.shards {
		t.shards[i].mu.Lock() // in this order; no other goroutine locks two
	}
	c := p.settings
	for i := range c.spans {
		s := &c.spans[i]
		for ip := uint64(s.first); ip <= uint64(s.last); ip++ {
			s.addrs = append(s.addrs, old.renew(c, uint32(ip), s, p.static))
		}
	}
	t.cfg.Store(c)
	t.next.Store(nil)
	there := map[Static]bool{}
	for _, s := range old.static {
		there[s] = true
	}
	for _, s := range c.static {
		if ended || !there[s] {
			t.addStatic(c, s)
		}
	}
	for i := range t.shards {
		t.shards[i].mu.Unlock()
	}
}

// renew returns the address of a new pool, which may have been in an old one.
func (c *settings) renew(to *settings, ip uint32, s *span, static *statics) *address {
	a := c.address(ip)
	switch {
	case a == nil:
		a = newAddress(ip, s.low, s.high, to.block)
	case a.low != s.low || a.high != s.high:
		a.narrow(s.low, s.high, to.block, func(proto uint64, port uint16) bool {
			_, own := static.byAddr[endpoint4{proto, ip, port}]
			return own
		})
	}
	return a
}

// allows reports whether a binding may go on.
func (c *settings) allows(e *entry, static *statics) bool {
	host, ends, l := e.host(), e.ends.Load(), e.local.Load()
	proto, group := protoOf(l), groupOf(l)
	span := c.find(addrOf(l))
	if span == nil || uint64(span.group) != group || uint64(c.group[prefOf(l)]) != group || !c.isClient(host) {
		return false
	}
	at4 := endpoint4{proto, addrOf(l), portOf(l)}
	at6 := endpoint6{proto, group, host, hostPortOf(ends)}
	to6, found4 := static.byAddr[at4]
	_, found6 := static.byHost[at6]
	switch {
	case found4:
		return to6 == at6
	case found6 || stateOf(e.word.Load()) == permanent:
		return false
	}
	return proto == icmp || span.low <= portOf(l) && portOf(l) <= span.high
}

// statics are the static bindings of a configuration by both sides.
type statics struct {
	byAddr map[endpoint4]endpoint6
	byHost map[endpoint6]endpoint4
}

type endpoint4 struct {
	proto uint64
	addr  uint32
	port  uint16
}

type endpoint6 struct {
	proto, group uint64
	host         translate.Addr6
	port         uint16
}

func newStatics(c *settings) *statics {
	s := &statics{map[endpoint4]endpoint6{}, map[endpoint6]endpoint4{}}
	for _, b := range c.static {
		ip := bits4(b.Addr.Addr())
		at4 := endpoint4{number(b.Proto), ip, b.Addr.Port()}
		at6 := endpoint6{at4.proto, uint64(c.find(ip).group), addr6(b.Host.Addr()), b.Host.Port()}
		s.byAddr[at4], s.byHost[at6] = at6, at4
	}
	return s
}

// doomed marks a binding that Update ends.
const doomed = 1 << 30

// permitAll gives each session a permission.
func (t *Table) permitAll() {
	t.each(aSession, func(sh *shard, i uint32, e *entry) {
		if e.count&permitted == 0 {
			t.permit(sh, e, &key{e.host(), e.ends.Load(), e.local.Load()})
		}
	})
}

// each calls f for each entry of a kind, with its shard locked. Of entries that begin or end
// meanwhile it may miss some.
func (t *Table) each(kind uint64, f func(sh *shard, i uint32, e *entry)) {
	for i := range t.mem.size() {
		if i%slabSize == 0 {
			runtime.Gosched() // packets may wait for the processor
		}
		e := t.mem.at(i)
		w := e.word.Load()
		if stateOf(w) == dead || kindOf(e.local.Load()) != kind {
			continue
		}
		sh := t.shard(e.host())
		sh.mu.Lock()
		if now := e.word.Load(); sameVersion(w, now) && stateOf(now) != dead {
			f(sh, i, e)
		}
		sh.mu.Unlock()
	}
}
