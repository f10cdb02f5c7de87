package pool

import (
	"encoding/binary"
	"net/netip"
)

// assignNew is Assign for a host that had no held lease a moment ago.
func (p *Pool) assignNew(host [16]byte) (addr [4]byte, ok bool) {
	if !p.mayLease(netip.AddrFrom16(host)) || p.room.Load() == 0 && p.find(&host) == nil {
		p.denied.Add(1)
		return addr, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.assignLocked(host)
	if !ok {
		p.denied.Add(1)
		return addr, false
	}
	binary.BigEndian.PutUint32(addr[:], a)
	return addr, true
}

func (p *Pool) assignLocked(host [16]byte) (addr uint32, ok bool) {
	now := p.now.Load()
	e := p.find(&host)
	if e != nil && e.touch(now) == held {
		return e.addr, true // another worker was faster
	}
	if !p.quotaLeft(host) {
		return addr, false
	}
	if e != nil {
		p.dormant.Remove(e.addr)
		e.word.Store(word(held, now))
		p.room.Add(-1)
		p.countHeld(host, 1)
		p.tell(Reactivated, e)
		return e.addr, true
	}
	if a, ok := p.free(&host); ok {
		p.occupy(a)
		p.tell(Assigned, p.place(host, a, held, now))
		return a, true
	}
	if a, _, ok := p.dormant.GetOldest(); ok {
		old := p.entryAt(a)
		from := old.host
		p.end(old)
		p.place(host, a, held, now)
		if p.onEvent != nil {
			p.onEvent(Event{Reassigned, netip.AddrFrom16(host), bitsAddr(a), netip.AddrFrom16(from)})
		}
		return a, true
	}
	return addr, false
}

// occupy marks a free address as taken.
func (p *Pool) occupy(a uint32) {
	i, off, _ := p.locate(a)
	p.taken[i].set(off)
	p.room.Add(-1)
}

// vacate marks an address without a lease as free.
func (p *Pool) vacate(a uint32) {
	i, off, _ := p.locate(a)
	p.taken[i].unset(off)
	p.room.Add(1)
}

// place begins a lease on an address that is marked as taken and has none. A
// dormant one is still to be put among the others.
func (p *Pool) place(host [16]byte, a uint32, state uint64, used uint32) *entry {
	slot := p.makeSlot(a)
	e := p.insert(host, a, word(state, used))
	slot.Store(e)
	if state == held {
		p.countHeld(host, 1)
	}
	p.changes.Add(1)
	return e
}

// end ends a lease: neither direction finds it from here on. The address stays
// marked as taken.
func (p *Pool) end(e *entry) {
	p.slot(e.addr).Store(nil) // first: who finds the entry dead looks here again
	if e.word.Swap(word(dead, 0))>>32 == held {
		p.generation.Add(1)
		p.countHeld(e.host, -1)
	} else {
		p.dormant.Remove(e.addr)
		p.room.Add(-1)
	}
	p.fill[p.shard(p.keys.hash(&e.host))].live--
	p.changes.Add(1)
}

// canBe reports whether a host can have an address: those of RFC 7915 §5.1 are
// no host's.
func canBe(host netip.Addr) bool {
	return !(host.IsMulticast() || host.IsLinkLocalUnicast() || host.IsLoopback() || host.IsUnspecified() || host.Is4In6())
}

// Serves reports whether host is a client: one that the pool leases an address, unless none
// is left.
func (p *Pool) Serves(host [16]byte) bool { return p.mayLease(netip.AddrFrom16(host)) }

func (p *Pool) mayLease(host netip.Addr) bool {
	if !canBe(host) {
		return false
	}
	for _, x := range p.clients {
		if x.Contains(host) {
			return true
		}
	}
	return len(p.clients) == 0
}

// quotaKey returns the client prefix of a host.
func (p *Pool) quotaKey(host [16]byte) [16]byte {
	x, _ := netip.AddrFrom16(host).Prefix(p.quota.Len) // New checked the length
	return x.Addr().As16()
}

func (p *Pool) quotaLeft(host [16]byte) bool {
	return p.perNet == nil || p.perNet[p.quotaKey(host)] < p.quota.Leases
}

// countHeld counts a lease that becomes held (+1) or ceases to be (−1).
func (p *Pool) countHeld(host [16]byte, n int) {
	p.held += n
	if p.perNet == nil {
		return
	}
	k := p.quotaKey(host)
	if p.perNet[k] += n; p.perNet[k] == 0 {
		delete(p.perNet, k)
	}
}
