package pool

import (
	"iter"
	"net/netip"
	"time"
)

// A Lease says which host has which address.
type Lease struct {
	Host netip.Addr // IPv6
	Addr netip.Addr // IPv4
	Used time.Time  // of its last packet in either direction, to the second, by the clock of the last Tick
	Held bool       // or else dormant
}

// An EventKind says how a lease changed.
type EventKind uint8

const (
	Assigned    EventKind = iota // a free address was assigned
	Reactivated                  // a dormant lease is held again
	Reassigned                   // the address of a dormant lease, of the host Old, was leased to another, Host
	Dormant                      // a held lease has not been used for Config.LeaseTime
	Loaded                       // Load took the lease from a file
	Forgotten                    // a dormant lease has not been used for Config.Retention
	Removed                      // Reserve or Remove ended the lease
)

// String returns the kind's name in lower case, as tayga logs it.
func (k EventKind) String() string {
	names := [...]string{"assigned", "reactivated", "reassigned", "dormant", "loaded", "forgotten", "removed"}
	if int(k) >= len(names) {
		return "unknown"
	}
	return names[k]
}

// An Event is a change of a lease.
type Event struct {
	Kind EventKind
	Host netip.Addr // IPv6
	Addr netip.Addr // IPv4
	Old  netip.Addr // IPv6: the host that had Addr before; of Reassigned only
}

func (p *Pool) tell(k EventKind, e *entry) {
	if p.onEvent != nil {
		p.onEvent(Event{Kind: k, Host: netip.AddrFrom16(e.host), Addr: bitsAddr(e.addr)})
	}
}

// All returns the leases, held and dormant, in the order of the prefixes and their
// addresses. It takes no lock, and the body of the loop may call the pool. A lease that
// exists during the whole loop is seen once. One that begins or ends meanwhile may be
// seen or not. A host whose address changes meanwhile may be seen twice.
func (p *Pool) All() iter.Seq[Lease] {
	return func(yield func(Lease) bool) {
		at := p.clock.reading(&p.now)
		p.each(func(e *entry, w uint64) bool { return yield(at.lease(e, w)) })
	}
}

// each calls f with each lease and its word, and ends early if f reports false.
func (p *Pool) each(f func(e *entry, w uint64) bool) {
	for i := range p.spans {
		for j := range p.spans[i].chunks {
			c := p.spans[i].chunks[j].Load()
			if c == nil {
				continue
			}
			for k := range c {
				if e, w := live(&c[k]); e != nil && !f(e, w) {
					return
				}
			}
		}
	}
}

// Stats are figures of a pool at one moment.
type Stats struct {
	Size    int    // addresses that can be leased: not reserved, not a prefix's lowest
	Held    int    // leases held
	Dormant int    // leases that are dormant
	Denied  uint64 // calls of Assign that returned false, since New
}

// Stats returns the pool's figures.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Stats{Held: p.held, Dormant: p.dormant.Len(), Denied: p.denied.Load()}
	for _, t := range p.taken {
		s.Size += t.clear
	}
	s.Size += s.Held + s.Dormant
	return s
}

// Changes counts the leases that began or ended. A caller that keeps leases in a file
// has to write the file again when the number differs from that before the last Save.
// Use of a lease, and a change between held and dormant, do not count.
func (p *Pool) Changes() uint64 { return p.changes.Load() }
