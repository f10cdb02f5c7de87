package session

import "github.com/steppe-nat64/steppe/translate"

// What begins and ends: sessions, then bindings, then hosts. All of it under the lock of the
// host's shard.

// bindingKey is that of the binding of a session.
func bindingKey(k *key) key {
	return key{k.host, k.ends & 0xffff, k.local&0x3fc0 | aBinding<<14}
}

// hostKey is that of the host of a session.
func hostKey(k *key) key { return key{k.host, 0, k.local&0xfc0 | aHost<<14} }

// binding returns the binding of a session's host and port, or 0.
func (t *Table) binding(k *key) uint32 {
	bk := bindingKey(k)
	i, _, _ := t.b6.get6(t.keys.of6(&bk), &bk)
	return i
}

// open makes a session, and a binding and a host if there are none. b is the binding, 0 if
// there is none. It returns the local word of the session.
func (t *Table) open(c *settings, sh *shard, k *key, b uint32, side int, sec uint32) (uint64, translate.FlowResult) {
	if b != 0 && t.mem.at(b).parent&doomed != 0 {
		return 0, translate.FlowDrop // Update is about to end it
	}
	s := first(protoOf(k.local), side, remotePortOf(k.ends))
	if l := t.reserve(c, s, side); l != noLimit {
		return 0, sh.limit(l)
	}
	i, r := t.build(c, sh, k, b, s, side, sec)
	if r != translate.FlowMapped {
		t.unreserve(s, side)
		return 0, r
	}
	local := t.mem.at(i).local.Load()
	if s == v6Init && t.held.cancel(local, k.ends) {
		t.step(c, sh, i, from4, flagSYN, sec) // a simultaneous open, RFC 6146 §3.5.2.2
	}
	return local, r
}

// build makes what is missing for a session, and the session.
func (t *Table) build(c *settings, sh *shard, k *key, b uint32, s state, side int, sec uint32) (uint32, translate.FlowResult) {
	h := t.host(c, sh, k, b)
	if h == 0 {
		return 0, sh.limit(limitMemory)
	}
	host := t.mem.at(h)
	sub := t.subs.at(host.parent)
	r := translate.FlowMapped
	if l := sub.reserve(c, s, side); l != noLimit {
		r = sh.limit(l)
	} else {
		if b == 0 {
			if b, r = t.bind(c, sh, h, k, sec); b != 0 && t.next.Load().refuses(t.mem.at(b)) {
				r = translate.FlowDrop
			}
		}
		if r == translate.FlowMapped {
			if i := t.add(c, sh, k, b, s, side, sec); i != 0 {
				return i, r
			}
			r = sh.limit(limitMemory)
		}
		sub.unreserve(s, side)
	}
	switch {
	case b != 0:
		t.endUnused(c, sh, b, sec)
	case host.count == 0:
		t.endHost(c, sh, h)
	}
	return 0, r
}

// reserve counts a session that is about to begin, or returns the limit that denies it.
func (t *Table) reserve(c *settings, s state, side int) limit {
	l := noLimit
	switch {
	case t.sessions.Add(1) > int64(c.limits.Sessions):
		t.sessions.Add(-1)
		return limitSessions
	case s == v6Init && t.halfOpen.Add(1) > int64(c.limits.HalfOpen):
		l = limitHalfOpen
	case side == from4 && t.inbound.Add(1) > int64(c.limits.Inbound):
		l = limitInbound
	default:
		return noLimit
	}
	t.unreserve(s, side)
	return l
}

func (t *Table) unreserve(s state, side int) {
	t.sessions.Add(-1)
	if s == v6Init {
		t.halfOpen.Add(-1)
	}
	if side == from4 {
		t.inbound.Add(-1)
	}
}

// reserve is the same for a subscriber.
func (sub *subscriber) reserve(c *settings, s state, side int) limit {
	n := &sub.sessions
	if side == from4 {
		n = &sub.inbound
	}
	if n.Add(1) > int32(c.limits.PerPrefix) {
		n.Add(-1)
		return limitPerPrefix
	}
	if s == v6Init && sub.halfOpen.Add(1) > int32(c.limits.HalfOpenPerPrefix) {
		sub.unreserve(s, side)
		return limitHalfOpenPerPrefix
	}
	return noLimit
}

func (sub *subscriber) unreserve(s state, side int) {
	if side == from4 {
		sub.inbound.Add(-1)
	} else {
		sub.sessions.Add(-1)
	}
	if s == v6Init {
		sub.halfOpen.Add(-1)
	}
}

// add makes the session of a binding, or returns 0.
func (t *Table) add(c *settings, sh *shard, k *key, b uint32, s state, side int, sec uint32) uint32 {
	i := t.alloc(sh)
	if i == 0 {
		return 0
	}
	be := t.mem.at(b)
	words := *k
	words.local = be.local.Load()>>16<<16 | k.local&0x3fff
	e := t.mem.at(i)
	e.parent = b
	if side == from4 {
		e.count |= inbound
	}
	if next := t.next.Load(); c.filtering == AddressDependent || next != nil && next.filtering == AddressDependent {
		t.permit(sh, e, &words)
	}
	be.count++
	e.fill(&words, s, sec)
	t.schedule(sh, i, c.due(e.word.Load()))
	words.local &= local6
	t.s6.link(t.keys.of6(&words), i)
	k4 := key{ends: words.ends & ends4, local: e.local.Load() & local4}
	t.s4.link(t.keys.of4(&k4), i)
	sh.states[s]++
	sh.made[protoOf(k.local)]++
	return i
}

// end ends a session that was killed when its word was w, and its binding if that was the
// last. why is the state whose time ran out, or dead.
func (t *Table) end(c *settings, sh *shard, i uint32, w uint64, why state, sec uint32) {
	e := t.mem.at(i)
	k := key{e.host(), e.ends.Load(), e.local.Load()}
	c.undelegate(e)
	t.unschedule(sh, i)
	k6 := key{k.host, k.ends, k.local & local6}
	t.s6.unlink(t.keys.of6(&k6), i)
	k4 := key{ends: k.ends & ends4, local: k.local & local4}
	t.s4.unlink(t.keys.of4(&k4), i)
	s, side := stateOf(w), from6
	if e.count&inbound != 0 {
		side = from4
	}
	if e.count&permitted != 0 {
		t.unpermit(sh, &k)
	}
	b := e.parent
	t.unreserve(s, side)
	t.subs.at(t.mem.at(t.mem.at(b).parent&^doomed).parent).unreserve(s, side)
	sh.states[s]--
	sh.ended[why]++
	t.mem.at(b).count--
	t.recycle(sh, i)
	t.endUnused(c, sh, b, sec)
}

// bind makes a binding with a port that is free.
func (t *Table) bind(c *settings, sh *shard, h uint32, k *key, sec uint32) (uint32, translate.FlowResult) {
	var (
		host        = t.mem.at(h)
		proto, port = protoOf(k.local), hostPortOf(k.ends)
		group       = groupOf(k.local)
		sub         = t.subs.at(host.parent)
		a           = c.address(addrOf(host.local.Load()))
		p           uint16
		ok          bool
	)
	if n := &sub.bindings[proto]; int64(n.Add(1)) > c.share[group][proto] {
		n.Add(-1)
		return 0, sh.limit(limitPortsPerPrefix)
	}
	switch {
	case c.block != 0:
		a, p, ok = t.pickBlocked(c, sub, a, group, proto, port, sec)
	case a != nil:
		p, ok = a.pick(c, proto, port, sec) // or none: RFC 6888 §4 REQ-2
	default:
		ok = t.choose(c, group, proto, sec, func(x *address) bool {
			a = x
			p, ok = x.pick(c, proto, port, sec)
			return ok
		})
	}
	if !ok {
		sub.bindings[proto].Add(-1)
		return 0, translate.FlowNoPort
	}
	i := t.alloc(sh)
	if i == 0 {
		t.release(c, sub, a, proto, p, sec)
		return 0, sh.limit(limitMemory)
	}
	t.pair(host, a)
	bk := key{k.host, uint64(port), local(a.ip, p, aBinding<<14|k.local&0x3fff)}
	s4 := key{ends: k.ends & ends4, local: bk.local & local4 &^ (3 << 14)}
	t.s4.touch(t.keys.of4(&s4))
	t.link(c, sh, i, h, bk, alive)
	return i, translate.FlowMapped
}

// pair makes an address that of a host.
func (t *Table) pair(host *entry, a *address) {
	l := host.local.Load()
	if addrOf(l) != a.ip {
		a.hosts.Add(1)
		host.local.Store(uint64(a.ip)<<32 | l&0xffffffff)
	}
}

// link makes entry i the binding k of host h.
func (t *Table) link(c *settings, sh *shard, i, h uint32, k key, s state) {
	e := t.mem.at(i)
	e.parent = h
	e.fill(&k, s, 0)
	k6 := key{k.host, k.ends, k.local & local6}
	k4 := key{local: k.local & local4}
	h4 := t.keys.of4(&k4)
	t.b4.touch(h4)
	t.b6.link(t.keys.of6(&k6), i)
	t.b4.link(h4, i)
	t.mem.at(h).count++
	sh.bindings[protoOf(k.local)]++
	t.tell(c, BindingMade, e)
}

// release ends the assignment of a port.
func (t *Table) release(c *settings, sub *subscriber, a *address, proto uint64, port uint16, sec uint32) {
	sub.bindings[proto].Add(-1)
	a.release(c, proto, port, sec)
	if c.block != 0 {
		t.releaseBlocked(c, sub, a.ip, port)
	}
}

// forget is the end of what a subscriber has for the dynamic binding k.
func (t *Table) forget(c *settings, sub *subscriber, k *key) {
	sub.bindings[protoOf(k.local)].Add(-1)
	if c.block != 0 {
		t.releaseBlocked(c, sub, addrOf(k.local), portOf(k.local))
	}
}

// endUnused ends a binding without sessions, unless it is static.
func (t *Table) endUnused(c *settings, sh *shard, b uint32, sec uint32) {
	e := t.mem.at(b)
	if e.count == 0 && stateOf(e.word.Load()) != permanent {
		t.endBinding(c, sh, b, sec)
	}
}

// endBinding ends a binding without sessions, and its host if that was the last.
func (t *Table) endBinding(c *settings, sh *shard, b uint32, sec uint32) {
	e := t.mem.at(b)
	k := key{e.host(), e.ends.Load(), e.local.Load()}
	h := e.parent &^ doomed
	host := t.mem.at(h)
	k6 := key{k.host, k.ends, k.local & local6}
	t.b6.unlink(t.keys.of6(&k6), b)
	k4 := key{local: k.local & local4}
	t.b4.unlink(t.keys.of4(&k4), b)
	t.tell(c, BindingEnded, e)
	if a := c.address(addrOf(k.local)); a != nil {
		a.release(c, protoOf(k.local), portOf(k.local), sec)
	}
	if stateOf(e.word.Load()) != permanent {
		t.forget(c, t.subs.at(host.parent), &k)
	}
	e.kill(e.word.Load())
	t.recycle(sh, b)
	sh.bindings[protoOf(k.local)]--
	if host.count--; host.count == 0 {
		t.endHost(c, sh, h)
	}
}

// host returns the host of a session that begins, and makes one if there is none, or
// returns 0.
func (t *Table) host(c *settings, sh *shard, k *key, b uint32) uint32 {
	if b != 0 {
		return t.mem.at(b).parent
	}
	hk := hostKey(k)
	hash := t.keys.of6(&hk)
	if h, _, _ := t.b6.get6(hash, &hk); h != 0 {
		return h
	}
	sub, ok := t.subs.join(and6(k.host, c.mask))
	if !ok {
		return 0
	}
	h := t.alloc(sh)
	if h == 0 {
		t.subs.leave(sub)
		return 0
	}
	e := t.mem.at(h)
	e.parent = sub
	e.fill(&hk, alive, 0)
	t.b6.link(hash, h)
	sh.hosts++
	return h
}

// endHost ends a host without bindings.
func (t *Table) endHost(c *settings, sh *shard, h uint32) {
	e := t.mem.at(h)
	l := e.local.Load()
	hk := key{e.host(), 0, l & local6}
	t.b6.unlink(t.keys.of6(&hk), h)
	if a := c.address(addrOf(l)); a != nil {
		a.hosts.Add(-1)
	}
	t.subs.leave(e.parent)
	e.kill(e.word.Load())
	t.recycle(sh, h)
	sh.hosts--
}

// Permissions count the sessions of a binding with a remote address, for address-dependent
// filtering.

// permissionKey is that for a session with the words of k.
func permissionKey(k *key) key {
	return key{ends: k.ends >> 32 << 32, local: k.local&local4&^(3<<14) | aPermission<<14}
}

// permits reports whether a host has a session with the remote address of a packet to its
// binding. k is the key of the packet.
func (t *Table) permits(k *key) bool {
	pk := permissionKey(k)
	i, _, _ := t.b4.get4(t.keys.of4(&pk), &pk)
	return i != 0
}

// permit counts a session. Without memory for it, the session has no permission.
func (t *Table) permit(sh *shard, e *entry, k *key) {
	pk := permissionKey(k)
	hash := t.keys.of4(&pk)
	i, _, _ := t.b4.get4(hash, &pk)
	if i == 0 {
		if i = t.alloc(sh); i == 0 {
			return
		}
		t.mem.at(i).fill(&pk, alive, 0)
		t.b4.link(hash, i)
	}
	t.mem.at(i).count++
	e.count |= permitted
}

func (t *Table) unpermit(sh *shard, k *key) {
	pk := permissionKey(k)
	hash := t.keys.of4(&pk)
	i, _, _ := t.b4.get4(hash, &pk)
	e := t.mem.at(i)
	if e.count--; e.count == 0 {
		t.b4.unlink(hash, i)
		e.kill(e.word.Load())
		t.recycle(sh, i)
	}
}
