package session

import (
	"time"

	"github.com/steppe-nat64/steppe/translate"
)

// key6 returns the key of a flow's session in the index by IPv6. It reports false for
// protocols and hosts that have none.
func (c *settings) key6(f *translate.Tuple6) (k key, ok bool) {
	proto := number(f.Proto)
	if proto == 0 {
		return k, false
	}
	return key{
		host:  f.Host,
		ends:  ends(f.Remote, keyPort(proto, f.RemotePort), f.HostPort),
		local: meta(aSession, proto, uint64(c.group[f.Pref64%translate.MaxPref64]), 0),
	}, true
}

// set4 makes to the tuple of a flow whose host has local.
func set4(to *translate.Tuple4, local, ends uint64) {
	to.Local = addrOf(local)
	to.LocalPort = portOf(local)
	to.Remote = remoteOf(ends)
	to.RemotePort = remotePortOf(ends)
	if protoOf(local) == icmp {
		to.RemotePort = portOf(local)
	}
	to.Proto = header(protoOf(local))
}

// Outbound maps a packet of an IPv6 host, and makes a binding and a session for it as RFC
// 6146 §3.5 says. flags are those of a TCP header. For a session that exists it takes no
// lock, except to change a TCP session's state, and does not allocate. The caller makes
// sure that the host's address may be a source, and Remote a destination.
func (t *Table) Outbound(now time.Duration, f *translate.Tuple6, flags uint8, to *translate.Tuple4) translate.FlowResult {
	c := t.cfg.Load()
	k, ok := c.key6(f)
	if !ok {
		return translate.FlowUnshared
	}
	sec := second(now)
	i, w, local := t.s6.find6(t.keys.of6(&k), &k)
	if i == 0 {
		bk, hk := bindingKey(&k), hostKey(&k)
		t.b6.touch(t.keys.of6(&bk))
		t.b6.touch(t.keys.of6(&hk))
	} else if prefOf(local) == uint64(f.Pref64) && c.passes(t.mem.at(i), w, from6, flags, sec) {
		set4(to, local, k.ends)
		return translate.FlowMapped
	}
	return t.outbound(f, flags, sec, to)
}

// passes reports whether a packet belongs to a session and leaves its state as it is, and
// marks the use. It writes at most once a second.
func (c *settings) passes(e *entry, w uint64, side int, flags uint8, sec uint32) bool {
	for {
		s := stateOf(w)
		a := actions[side][s&15][flags&flagMask]
		if a.state() != s {
			return false
		}
		idle := int32(sec - used(w))
		switch {
		case idle <= 0: // below 0 if the time has gone back
			return true
		case idle > int32(c.timeout[s]):
			return false
		case a&refresh == 0:
			return true
		case e.word.CompareAndSwap(w, w>>32<<32|uint64(sec)):
			return true
		}
		now := e.word.Load()
		if !sameVersion(w, now) {
			return false
		}
		w = now
	}
}

// outbound is Outbound for packets that change something.
func (t *Table) outbound(f *translate.Tuple6, flags uint8, sec uint32, to *translate.Tuple4) translate.FlowResult {
	sh := t.shard(f.Host)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	c := t.cfg.Load()
	k, ok := c.key6(f)
	if !ok || f.Pref64 >= translate.MaxPref64 {
		return translate.FlowUnshared
	}
	k.local |= uint64(f.Pref64)
	find := k
	find.local &= local6
	if i, _, _ := t.s6.get6(t.keys.of6(&find), &find); i != 0 {
		if e := t.mem.at(i); t.settle(c, sh, i, sec) {
			t.step(c, sh, i, from6, flags, sec)
			if local := e.local.Load(); prefOf(local) != prefOf(k.local) {
				c.undelegate(e)
				e.local.Store(local&^63 | prefOf(k.local)) // the host answers by this prefix now
			}
			set4(to, e.local.Load(), k.ends)
			return translate.FlowMapped
		}
	}
	if !c.isClient(f.Host) || !c.pooled[groupOf(k.local)] {
		return translate.FlowUnshared
	}
	proto := protoOf(k.local)
	b := t.binding(&k)
	switch {
	case proto == tcp && !opens(flags) && b == 0:
		return sh.deny(from6, translate.FlowDrop)
	case proto == tcp && !opens(flags):
		set4(to, t.mem.at(b).local.Load(), k.ends)
		return translate.FlowMapped // RFC 6146 §3.5.2.2, CLOSED
	}
	local, r := t.open(c, sh, &k, b, from6, sec)
	if r != translate.FlowMapped {
		return sh.deny(from6, r)
	}
	set4(to, local, k.ends)
	return r
}

// OutboundError maps the packet that an ICMPv6 error quotes, by its session. The quoted
// packet went to the host, so f.Host is its destination. It changes nothing: RFC 6146
// §3.5. FlowDrop means that there is no such session; it allocates nothing.
func (t *Table) OutboundError(now time.Duration, f *translate.Tuple6, to *translate.Tuple4) translate.FlowResult {
	c := t.cfg.Load()
	k, ok := c.key6(f)
	if !ok {
		return translate.FlowUnshared
	}
	h := t.keys.of6(&k)
	i, w, local := t.s6.find6(h, &k)
	if i == 0 { // it may be there: see index
		i, w, local = t.s6.get6(h, &k)
	}
	if w == 0 && (!c.isClient(f.Host) || !c.pooled[groupOf(k.local)]) {
		return translate.FlowUnshared
	}
	if stateOf(w) == dead || t.isOver(c, i, w, second(now)) {
		return translate.FlowDrop
	}
	set4(to, local, k.ends)
	return translate.FlowMapped
}

// over reports whether the time of a session has run out.
func (c *settings) over(w uint64, sec uint32) bool {
	limit := c.timeout[stateOf(w)]
	if stateOf(w) == established {
		limit += c.timeout[trans]
	}
	return int32(sec-used(w)) > int32(limit)
}

// isOver is over for a session that was found without a lock, and that the path may have used
// since.
func (t *Table) isOver(c *settings, i uint32, w uint64, sec uint32) bool {
	return c.over(w, sec) && c.over(t.ask(t.mem.at(i), w), sec)
}
