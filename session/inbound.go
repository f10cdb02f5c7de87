package session

import (
	"time"

	"github.com/steppe-nat64/steppe/translate"
)

// key4 returns the key of a flow's session in the index by IPv4.
func key4(f *translate.Tuple4) (k key, ok bool) {
	proto := number(f.Proto)
	if proto == 0 {
		return k, false
	}
	return key{
		ends:  ends(f.Remote, keyPort(proto, f.RemotePort), 0),
		local: local(f.Local, f.LocalPort, meta(aSession, proto, 0, 0)),
	}, true
}

// set6 makes to the tuple of a flow whose session or binding has the words of k.
func set6(to *translate.Tuple6, k *key, f *translate.Tuple4) {
	to.Host = k.host
	to.HostPort = hostPortOf(k.ends)
	to.Remote = f.Remote
	to.RemotePort = f.RemotePort
	if protoOf(k.local) == icmp {
		to.RemotePort = hostPortOf(k.ends)
	}
	to.Proto = f.Proto
	to.Pref64 = uint8(prefOf(k.local))
}

// Inbound maps a packet from IPv4. It makes a session where there is a binding that lets
// the packet in, and never a binding: RFC 6146 §3.5. FlowHold says that the packet is a
// SYN that the host may expect: see Hold. As with Outbound, a session that exists costs no
// lock and no allocation.
func (t *Table) Inbound(now time.Duration, f *translate.Tuple4, flags uint8, to *translate.Tuple6) translate.FlowResult {
	k, ok := key4(f)
	if !ok {
		return translate.FlowUnshared
	}
	sec := second(now)
	if i, w, found := t.s4.find4(t.keys.of4(&k), &k); i != 0 {
		if t.cfg.Load().passes(t.mem.at(i), w, from4, flags, sec) || t.again(i, w, &found, flags, sec) {
			set6(to, &found, f)
			return translate.FlowMapped
		}
	}
	return t.inbound4(f, &k, flags, sec, to)
}

// again passes a packet of a session that was found without a lock, and which it changes.
// It reports false if the session has ended.
func (t *Table) again(i uint32, w uint64, found *key, flags uint8, sec uint32) bool {
	sh := t.shard(found.host)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if now := t.mem.at(i).word.Load(); !sameVersion(w, now) || stateOf(now) == dead {
		return false
	}
	c := t.cfg.Load()
	if !t.settle(c, sh, i, sec) {
		return false
	}
	t.step(c, sh, i, from4, flags, sec)
	return true
}

// inbound4 is Inbound for packets that change something.
func (t *Table) inbound4(f *translate.Tuple4, k *key, flags uint8, sec uint32, to *translate.Tuple6) translate.FlowResult {
	proto := protoOf(k.local)
	bk := *k
	bk.ends = 0
	bk.local = k.local&^(3<<14) | aBinding<<14
	hb := t.keys.of4(&bk)
	for {
		b, w, found := t.b4.get4(hb, &bk)
		if b == 0 {
			return t.unbound(f, proto, flags)
		}
		if r, ok := t.toHost(f, k, b, w, found.host, flags, sec, to); ok {
			return r
		}
		// The binding has ended meanwhile.
	}
}

// unbound is what happens to a packet to an address and port that no host has.
func (t *Table) unbound(f *translate.Tuple4, proto uint64, flags uint8) translate.FlowResult {
	c := t.cfg.Load()
	r := translate.FlowNoBinding
	switch {
	case c.find(f.Local) == nil:
		return translate.FlowUnshared
	case proto == tcp && opens(flags) && c.limits.HeldSYN > 0:
		return translate.FlowHold
	case proto == tcp:
		r = translate.FlowDrop
	}
	sh := &t.shards[uint64(f.Remote)%shards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.deny(from4, r)
}

// toHost is inbound4 for a packet to a binding. It reports false if that has ended.
func (t *Table) toHost(f *translate.Tuple4, k *key, b uint32, w uint64, host translate.Addr6, flags uint8, sec uint32, to *translate.Tuple6) (r translate.FlowResult, ok bool) {
	sh := t.shard(host)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	c := t.cfg.Load()
	be := t.mem.at(b)
	if now := be.word.Load(); !sameVersion(w, now) || stateOf(now) == dead {
		return r, false
	}
	if i, _, _ := t.s4.get4(t.keys.of4(k), k); i != 0 && t.settle(c, sh, i, sec) {
		t.step(c, sh, i, from4, flags, sec)
		e := t.mem.at(i)
		set6(to, &key{e.host(), e.ends.Load(), e.local.Load()}, f)
		return translate.FlowMapped, true
	}
	if now := be.word.Load(); stateOf(now) == dead || !sameVersion(w, now) {
		return r, false // with its last session, which settle has ended
	}

	found := key{be.host(), be.ends.Load(), be.local.Load()}
	proto := protoOf(k.local)
	open := c.filtering == EndpointIndependent || stateOf(be.word.Load()) == permanent
	switch {
	case proto == tcp && opens(flags) && !open:
		if c.limits.HeldSYN > 0 {
			return translate.FlowHold, true
		}
		return sh.deny(from4, translate.FlowDrop), true // no answer: RFC 5382 §4.3 REQ-4
	case !open && !t.permits(k):
		return sh.deny(from4, translate.FlowFiltered), true
	case proto == tcp && !opens(flags): // RFC 6146 §3.5.2.2, CLOSED
		set6(to, &found, f)
		return translate.FlowMapped, true
	}
	s := found
	s.ends = k.ends | found.ends&0xffff
	s.local = found.local &^ (3 << 14)
	if _, r := t.open(c, sh, &s, b, from4, sec); r != translate.FlowMapped {
		return sh.deny(from4, r), true
	}
	set6(to, &s, f)
	return translate.FlowMapped, true
}

// InboundError maps the packet that an ICMPv4 error quotes, by its session. The quoted
// packet came from the host, so f.Local is its source. It changes nothing: RFC 6146 §3.5.
// FlowDrop means that there is no such session.
func (t *Table) InboundError(now time.Duration, f *translate.Tuple4, to *translate.Tuple6) translate.FlowResult {
	k, ok := key4(f)
	if !ok {
		return translate.FlowUnshared
	}
	h := t.keys.of4(&k)
	i, w, found := t.s4.find4(h, &k)
	if i == 0 { // it may be there: see index
		i, w, found = t.s4.get4(h, &k)
	}
	c := t.cfg.Load()
	if stateOf(w) == dead && c.find(f.Local) == nil {
		return translate.FlowUnshared
	}
	if stateOf(w) == dead || t.isOver(c, i, w, second(now)) {
		return translate.FlowDrop
	}
	set6(to, &found, f)
	return translate.FlowMapped
}
