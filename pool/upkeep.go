package pool

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// epoch is the pool's second in which New was called. Seconds count from there
// by elapsed time, so a lease can be 68 years older, and a pool can grow as old.
const epoch = 1 << 31

// A clock turns the caller's time into the pool's seconds. They only go forward, by the
// time that elapsed between ticks: the age of a lease must not change when the wall clock
// is set, as on a router that boots in 1970. Ages are converted to wall time by that of
// the last Tick.
type clock struct {
	mu      sync.Mutex
	last    time.Time
	elapsed time.Duration // since the start of the second in which New was called
}

// lastSecond is the last of the pool's seconds: its clock stops there and does not wrap
// around.
const lastSecond = (math.MaxUint32 - epoch) * time.Second

// Tick sets the pool's time. Between two calls the time does not advance, so call it
// about once a second. An earlier time than the last one does not move the pool's clock.
// A step forward counts for ten years at most, which is longer than any retention. With
// a monotonic reading, as from time.Now, setting the wall clock ends no lease.
func (p *Pool) Tick(now time.Time) {
	c := &p.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last.IsZero() {
		c.elapsed = time.Duration(now.Nanosecond()) // so seconds change when the wall clock's do
	} else if d := now.Sub(c.last); d > 0 {
		c.elapsed = min(c.elapsed+min(d, longest), lastSecond)
	}
	c.last = now
	if s := epoch + uint32(c.elapsed/time.Second); s != p.now.Load() {
		p.now.Store(s)
	}
}

// A reading pairs the pool's clock with the wall clock.
type reading struct {
	now  uint32
	wall int64 // Unix seconds
}

func (c *clock) reading(now *atomic.Uint32) reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	return reading{now.Load(), c.last.Unix()}
}

// unix returns the Unix time of one of the pool's seconds.
func (r reading) unix(used uint32) int64 { return r.wall + int64(used) - int64(r.now) }

func (r reading) lease(e *entry, w uint64) Lease {
	return Lease{
		Host: netip.AddrFrom16(e.host),
		Addr: bitsAddr(e.addr),
		Used: time.Unix(r.unix(uint32(w)), 0),
		Held: w>>32 == held,
	}
}

// live returns the lease in a slot of the arrays, or nil.
func live(slot *atomic.Pointer[entry]) (e *entry, w uint64) {
	for {
		if e = slot.Load(); e == nil {
			return nil, w
		}
		if w = e.word.Load(); w>>32 == held || w>>32 == dormant {
			return e, w
		}
	}
}

// batch is how many leases a pass handles before it releases the lock for new hosts.
const batch = 256

// Expire is Tick and an upkeep pass: it makes dormant the leases that have not been used
// for Config.LeaseTime, and removes those that have not been used for Config.Retention.
// It returns the numbers of both. tayga does it every 45 seconds. Meanwhile, packets of
// hosts with a held lease do not wait; new hosts wait for a millisecond at most.
func (p *Pool) Expire(now time.Time) (dormant, forgotten int) {
	p.upkeep.Lock()
	defer p.upkeep.Unlock()
	p.Tick(now)
	t := p.now.Load()
	if p.used != nil {
		p.askUsed(t, min(unseen, p.leaseTime))
	}
	return p.retire(t - p.leaseTime), p.removeAll(t - p.retention)
}

// unseen is after how many seconds without a packet Config.Used is asked about a lease.
const unseen = 30

// Refresh asks Config.Used about all held leases, so that All and Save know their last use.
// Expire does that for those that the pool was not asked about for half a minute.
func (p *Pool) Refresh() {
	if p.used == nil {
		return
	}
	p.upkeep.Lock()
	defer p.upkeep.Unlock()
	p.askUsed(p.now.Load(), 1)
}

// Ask is Refresh for a lease that All has returned, and returns it with its last use.
func (p *Pool) Ask(l Lease) Lease {
	if p.used == nil || !l.Held {
		return l
	}
	host, at := l.Host.As16(), p.clock.reading(&p.now)
	p.ask(host, addrBits(l.Addr), at.now)
	if e := p.find(&host); e != nil && e.addr == addrBits(l.Addr) {
		if w := e.word.Load(); w>>32 == held {
			return at.lease(e, w)
		}
	}
	return l
}

// askUsed notes the use that Config.Used knows of held leases that were used some seconds ago
// or earlier.
func (p *Pool) askUsed(now, ago uint32) {
	type lease struct {
		host [16]byte
		addr uint32
	}
	var leases []lease
	for i := range p.tables {
		leases = leases[:0]
		p.mu.Lock() // so that no table is replaced meanwhile
		s := p.tables[i].Load().slots
		for j := range s {
			if w := s[j].word.Load(); w>>32 == held && uint32(w) <= now-ago {
				leases = append(leases, lease{s[j].host, s[j].addr})
			}
		}
		p.mu.Unlock()
		for _, l := range leases {
			p.ask(l.host, l.addr, now)
		}
	}
}

// ask notes the use of a held lease that Config.Used knows of.
func (p *Pool) ask(host [16]byte, addr, now uint32) {
	from, to := p.used(host, bitsAddr(addr).As4())
	ago := from
	if p.refresh == RefreshBoth && (ago < 0 || 0 <= to && to < ago) {
		ago = to
	}
	if ago < 0 || ago >= time.Duration(now)*time.Second {
		return
	}
	if e := p.find(&host); e != nil && e.addr == addr {
		e.refresh(e.word.Load(), now-uint32(ago/time.Second))
	}
}

// retire makes dormant the leases that were last used at cutoff or earlier, the least
// recently used first. That keeps p.dormant in order, since the pass before this one left
// no held lease that was used up to its own cutoff.
func (p *Pool) retire(cutoff uint32) (n int) {
	type idle struct{ used, addr uint32 }
	var leases []idle
	for i := range p.tables {
		p.mu.Lock() // so that no table is replaced meanwhile
		s := p.tables[i].Load().slots
		for j := range s {
			if w := s[j].word.Load(); w>>32 == held && uint32(w) <= cutoff {
				leases = append(leases, idle{uint32(w), s[j].addr})
			}
		}
		p.mu.Unlock()
	}
	slices.SortFunc(leases, func(a, b idle) int {
		return cmp.Or(cmp.Compare(a.used, b.used), cmp.Compare(a.addr, b.addr))
	})
	for part := range slices.Chunk(leases, batch) {
		p.mu.Lock()
		for _, l := range part {
			if e := p.entryAt(l.addr); e != nil && e.rest(cutoff) {
				p.generation.Add(1)
				p.countHeld(e.host, -1)
				p.dormant.Add(l.addr, struct{}{})
				p.room.Add(1)
				p.tell(Dormant, e)
				n++
			}
		}
		p.mu.Unlock()
	}
	return n
}

// removeAll ends the dormant leases that were last used at cutoff or earlier.
func (p *Pool) removeAll(cutoff uint32) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		a, _, ok := p.dormant.GetOldest()
		if !ok {
			return n
		}
		e := p.entryAt(a)
		if uint32(e.word.Load()) > cutoff {
			return n
		}
		p.end(e)
		p.vacate(a)
		p.tell(Forgotten, e)
		if n++; n%batch == 0 {
			p.mu.Unlock()
			p.mu.Lock()
		}
	}
}

// Reserve replaces the set of addresses that are never leased, at first Config.Reserved.
// Leases on addresses that become reserved end at once, also held ones: their hosts get
// other addresses with their next packets. Addresses that are no longer reserved can be
// leased again. It returns the number of leases that it ended.
//
// A prefix that is shorter than a prefix of the pool reserves nothing in it: as in
// routing, the more specific one counts. If the whole pool is reserved, no address can
// be leased.
func (p *Pool) Reserve(prefixes []netip.Prefix) (ended int, err error) {
	if err := checkReserved(prefixes); err != nil {
		return ended, err
	}
	p.upkeep.Lock()
	defer p.upkeep.Unlock()
	p.byCaller = slices.Clone(prefixes)
	return p.reserve(), nil
}

// Exclude is Reserve for a second set, which is empty at first: the addresses that a
// translate.Translator excludes from leasing, its own and those with a map.
func (p *Pool) Exclude(prefixes []netip.Prefix) (ended int, err error) {
	if err := checkReserved(prefixes); err != nil {
		return ended, err
	}
	p.upkeep.Lock()
	defer p.upkeep.Unlock()
	p.byTranslator = slices.Clone(prefixes)
	return p.reserve(), nil
}

// reserve applies both sets, and returns how many leases that has ended.
func (p *Pool) reserve() (ended int) {
	was := p.reserved
	p.reserved = p.reservations(slices.Concat(p.byCaller, p.byTranslator))
	n := 0
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.spans {
		for off := range changedBits(was[i], p.reserved[i]) {
			if p.setReserved(i, off, p.reserved[i].has(off)) {
				ended++
			}
			if n++; n%batch == 0 {
				p.mu.Unlock()
				p.mu.Lock()
			}
		}
	}
	return ended
}

// setReserved changes what one address is, and reports whether that ended a
// lease.
func (p *Pool) setReserved(i int, off uint32, reserved bool) bool {
	a := p.spans[i].first + off
	if !reserved {
		p.vacate(a)
		return false
	}
	e := p.entryAt(a)
	if e == nil {
		p.occupy(a)
		return false
	}
	p.end(e)
	p.tell(Removed, e)
	return true
}

// Remove ends the leases for which match returns true, for example those of hosts that
// have got an explicit map. It returns their number. match must not call methods that
// change the pool.
func (p *Pool) Remove(match func(Lease) bool) (ended int) {
	p.upkeep.Lock()
	defer p.upkeep.Unlock()
	var out []Lease
	for l := range p.All() {
		if match(l) {
			out = append(out, l)
		}
	}
	for part := range slices.Chunk(out, batch) {
		p.mu.Lock()
		for _, l := range part {
			// Meanwhile, the address may have been leased to another host.
			if e := p.entryAt(addrBits(l.Addr)); e != nil && e.host == l.Host.As16() {
				p.end(e)
				p.vacate(e.addr)
				p.tell(Removed, e)
				ended++
			}
		}
		p.mu.Unlock()
	}
	return ended
}
