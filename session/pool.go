package session

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// An address is a shared IPv4 address: the ports of each protocol, and how many hosts are
// paired with it.
type address struct {
	ip    uint32
	hosts atomic.Int32
	avail [protocols]atomic.Int32 // ports that are free or in quarantine

	mu        sync.Mutex
	low, high uint16
	sets      [protocols]*portSet // made when first used
	blocks    []uint64            // by number: whether a block is taken

	blocksLeft atomic.Int32
}

func newAddress(ip uint32, low, high uint16, block int) *address {
	a := &address{ip: ip, low: low, high: high}
	for p := range a.avail {
		a.avail[p].Store(int32(high) - int32(low) + 1)
	}
	a.avail[icmp].Store(65536)
	if block != 0 {
		a.blocks = make([]uint64, (65536/block+63)/64)
		a.noteBlocks(block)
	}
	return a
}

// set returns the ports of a protocol. a.mu is held.
func (a *address) set(proto uint64) *portSet {
	if a.sets[proto] == nil {
		low, high := a.rangeOf(proto)
		a.sets[proto] = newPortSet(low, high)
	}
	return a.sets[proto]
}

// rangeOf returns the ports to assign; ICMP has all identifiers.
func (a *address) rangeOf(proto uint64) (low, high int) {
	if proto == icmp {
		return 0, 65535
	}
	return int(a.low), int(a.high)
}

func (a *address) inRange(proto uint64, port uint16) bool {
	low, high := a.rangeOf(proto)
	return low <= int(port) && int(port) <= high
}

// noteFree stores how many ports could be had. a.mu is held.
func (a *address) noteFree(proto uint64) {
	a.avail[proto].Store(int32(a.sets[proto].left + a.sets[proto].cooled))
}

// pick assigns a random port that fits a source port.
func (a *address) pick(c *settings, proto uint64, port uint16, sec uint32) (uint16, bool) {
	if a.avail[proto].Load() == 0 {
		return 0, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.set(proto)
	s.rotate(sec, c.quarantine)
	p, ok := s.pick(proto, port)
	a.noteFree(proto)
	return p, ok
}

// reserve makes a certain port that of a static binding, in or out of the range. No other
// binding has it.
func (a *address) reserve(proto uint64, port uint16) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.set(proto); !s.recall(port) && !s.isBusy(port) {
		s.take(port)
	}
	a.noteFree(proto)
}

// claim assigns a certain port and reports false if it is not free.
func (a *address) claim(proto uint64, port uint16) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.set(proto)
	if s.isBusy(port) {
		return false
	}
	s.take(port)
	a.noteFree(proto)
	return true
}

// unclaim undoes claim.
func (a *address) unclaim(proto uint64, port uint16) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sets[proto].release(port)
	a.noteFree(proto)
}

// release ends the assignment of a port.
func (a *address) release(c *settings, proto uint64, port uint16, sec uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.set(proto)
	if !a.inRange(proto, port) {
		return // stays busy
	}
	if proto == tcp || c.quarantine == 0 || !s.quarantine(port, sec, c.quarantine, a.cooling(c, proto)) {
		s.release(port)
	}
	a.noteFree(proto)
}

// cooling returns how many ports of an address may be in quarantine.
func (a *address) cooling(c *settings, proto uint64) int {
	if c.cooling != 0 {
		return c.cooling
	}
	low, high := a.rangeOf(proto)
	return max((high-low+1)/4, 64)
}

// narrow gives an address another range. own says which ports outside the old one are
// assigned.
func (a *address) narrow(low, high uint16, block int, own func(proto uint64, port uint16) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, proto := range []uint64{tcp, udp} {
		if s := a.sets[proto]; s != nil {
			a.sets[proto] = s.narrow(int(a.low), int(a.high), int(low), int(high), func(port uint16) bool { return own(proto, port) })
			a.noteFree(proto)
		} else {
			a.avail[proto].Store(int32(high) - int32(low) + 1)
		}
	}
	a.low, a.high = low, high
	if a.blocks != nil {
		a.noteBlocks(block)
	}
}

// inUse returns how many ports of a protocol are assigned, in the range, and how many are
// in quarantine.
func (a *address) inUse(proto uint64) (assigned, cooling int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sets[proto]
	if s == nil {
		return 0, 0
	}
	low, high := a.rangeOf(proto)
	return high - low + 1 - s.left - s.cooled, s.cooled
}

// addresses returns those of a group.
func (c *settings) addresses(group uint64) (n int, at func(i int) *address) {
	for i := range c.spans {
		if uint64(c.spans[i].group) == group {
			n += len(c.spans[i].addrs)
		}
	}
	return n, func(i int) *address {
		for s := range c.spans {
			if span := &c.spans[s]; uint64(span.group) == group {
				if i < len(span.addrs) {
					return span.addrs[i]
				}
				i -= len(span.addrs)
			}
		}
		return nil
	}
}

// maxTries is how many addresses that may have a port left are asked for a new host.
const maxTries = 64

// choose assigns a new host an address and a port: of two random addresses that which has
// fewer hosts, or another if both have no port left. A large pool without any is not
// searched again in the same second, since each search takes long.
func (t *Table) choose(c *settings, group, proto uint64, sec uint32, try func(*address) bool) bool {
	n, at := c.addresses(group)
	full := &t.full[group][proto]
	if n == 0 || n > maxTries && full.Load() == sec {
		return false
	}
	start := rand.IntN(n)
	a, b := at(start), at(rand.IntN(n))
	if b.hosts.Load() < a.hosts.Load() {
		a = b
	}
	if try(a) {
		return true
	}
	for i, tried := 0, 0; i < n && tried < maxTries; i++ {
		x := at((start + i) % n)
		if x.avail[proto].Load() == 0 || c.block != 0 && x.blocksLeft.Load() == 0 {
			continue
		}
		if tried++; try(x) {
			return true
		}
	}
	full.Store(sec)
	return false
}

// blocksIn returns the numbers of the first and last block of n ports that lie in a range.
func blocksIn(low, high uint16, n int) (first, last int) {
	if n == 0 {
		return 0, -1
	}
	return (int(low) + n - 1) / n, (int(high)+1)/n - 1
}

// takeBlock assigns a random free block that has a port of a protocol left, and returns its
// lowest port. Those of the subscriber before may all be in quarantine.
func (a *address) takeBlock(c *settings, proto uint64, sec uint32) (low uint16, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.blocksLeft.Load() == 0 {
		return 0, false
	}
	s := a.set(proto)
	s.rotate(sec, c.quarantine)
	n, seen := c.block, 0
	var at int // the number of the block
	for i, last := blocksIn(a.low, a.high, n); i <= last; i++ {
		if a.blocks[i/64]>>(i%64)&1 != 0 || s.leftIn(uint16(i*n), n, anyParity) == 0 {
			continue
		}
		if seen++; rand.IntN(seen) == 0 {
			at = i
		}
	}
	if seen == 0 {
		return 0, false
	}
	a.blocks[at/64] |= 1 << (at % 64)
	a.noteBlocks(n)
	return uint16(at * n), true
}

// noteBlocks counts the free blocks. a.mu is held, or no other goroutine knows a.
func (a *address) noteBlocks(n int) {
	free := 0
	for i, last := blocksIn(a.low, a.high, n); i <= last; i++ {
		free += int(^a.blocks[i/64] >> (i % 64) & 1)
	}
	a.blocksLeft.Store(int32(free))
}

func (a *address) giveBlock(low uint16, n int) {
	a.mu.Lock()
	i := int(low) / n
	a.blocks[i/64] &^= 1 << (i % 64)
	a.noteBlocks(n)
	a.mu.Unlock()
}

// pickIn is pick among the ports of a block.
func (a *address) pickIn(c *settings, proto uint64, low uint16, parity int, sec uint32) (uint16, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.set(proto)
	s.rotate(sec, c.quarantine)
	p, ok := s.pickBlock(low, c.block, parity)
	a.noteFree(proto)
	return p, ok
}

// claimBlock assigns a certain block and reports false if it is taken, or out of range.
func (a *address) claimBlock(low uint16, n int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := int(low) / n
	first, last := blocksIn(a.low, a.high, n)
	if i < first || i > last || a.blocks[i/64]>>(i%64)&1 != 0 {
		return false
	}
	a.blocks[i/64] |= 1 << (i % 64)
	a.noteBlocks(n)
	return true
}
