package session

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/steppe-nat64/steppe/translate"
)

// A subscriber is an IPv6 prefix whose hosts share limits and, if Config.PortBlock is set,
// blocks of ports.
type subscriber struct {
	prefix translate.Addr6
	hosts  int // under subscribers.mu

	sessions, halfOpen, inbound atomic.Int32
	bindings                    [protocols]atomic.Int32 // that are not static

	mu     sync.Mutex
	blocks []block

	nblocks atomic.Int32 // blocks, for readers without mu
}

// A block is a range of ports of one address, for all protocols.
type block struct {
	addr *address
	low  uint16
	used int // ports that are assigned
}

// subscribers are those that have a host, by prefix and by number. Numbers are read
// without the lock.
type subscribers struct {
	dir [maxSubs / subSlab]atomic.Pointer[[subSlab]subscriber]

	mu       sync.Mutex
	byPrefix map[translate.Addr6]uint32
	free     []uint32
	n        uint32
}

const (
	subSlab = 1024
	maxSubs = 1 << 22
)

func (s *subscribers) at(i uint32) *subscriber { return &s.dir[i/subSlab].Load()[i%subSlab] }

// join returns the number of a prefix's subscriber, which has a host more, or false if there
// are too many.
func (s *subscribers) join(prefix translate.Addr6) (uint32, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, found := s.byPrefix[prefix]
	if !found {
		if n := len(s.free); n > 0 {
			i, s.free = s.free[n-1], s.free[:n-1]
		} else if i = s.n; i == maxSubs {
			return 0, false
		} else {
			if i%subSlab == 0 {
				s.dir[i/subSlab].Store(new([subSlab]subscriber))
			}
			s.n++
		}
		s.byPrefix[prefix] = i
		s.at(i).prefix = prefix
	}
	s.at(i).hosts++
	return i, true
}

// leave is the end of a host.
func (s *subscribers) leave(i uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.at(i)
	if sub.hosts--; sub.hosts == 0 {
		delete(s.byPrefix, sub.prefix)
		s.free = append(s.free, i)
	}
}

// pickBlocked assigns a port out of the blocks of a subscriber, or out of a new one. at is
// the address that the host is paired with, nil if it is with none.
func (t *Table) pickBlocked(c *settings, sub *subscriber, at *address, group, proto uint64, port uint16, sec uint32) (*address, uint16, bool) {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	for i := range sub.blocks {
		if s := c.find(sub.blocks[i].addr.ip); at == nil && s != nil && uint64(s.group) == group {
			at = sub.blocks[i].addr
		}
	}
	parity := anyParity
	if proto == udp {
		parity = int(port % 2)
	}
	if p, ok := sub.pick(c, at, proto, parity, sec); ok {
		return at, p, true
	}
	take := func(a *address) bool {
		low, ok := a.takeBlock(c, proto, sec)
		if !ok {
			return false
		}
		at = a
		sub.blocks = append(sub.blocks, block{addr: a, low: low})
		sub.nblocks.Add(1)
		t.tellBlock(c, BlockTaken, sub, sub.blocks[len(sub.blocks)-1])
		return true
	}
	taken := false
	if at != nil {
		taken = take(at)
	} else {
		taken = t.choose(c, group, proto, sec, take)
	}
	if taken {
		if p, ok := sub.pick(c, at, proto, parity, sec); ok {
			t.dropEmpty(c, sub)
			return at, p, true
		}
	}
	p, ok := sub.pick(c, at, proto, anyParity, sec)
	t.dropEmpty(c, sub)
	return at, p, ok
}

// pick assigns a port out of the blocks that a subscriber has at an address. sub.mu is
// held.
func (sub *subscriber) pick(c *settings, at *address, proto uint64, parity int, sec uint32) (uint16, bool) {
	for i := range sub.blocks {
		b := &sub.blocks[i]
		if b.addr != at {
			continue
		}
		if p, ok := at.pickIn(c, proto, b.low, parity, sec); ok {
			b.used++
			return p, true
		}
	}
	return 0, false
}

// releaseBlocked counts the end of an assignment, and releases blocks without one.
func (t *Table) releaseBlocked(c *settings, sub *subscriber, ip uint32, port uint16) {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	for i := range sub.blocks {
		b := &sub.blocks[i]
		if b.addr.ip == ip && port >= b.low && int(port) < int(b.low)+c.block && b.used > 0 {
			b.used--
			t.dropEmpty(c, sub)
			return
		}
	}
}

// dropEmpty releases the blocks of which no port is assigned. sub.mu is held.
func (t *Table) dropEmpty(c *settings, sub *subscriber) {
	for i := 0; i < len(sub.blocks); i++ {
		if b := sub.blocks[i]; b.used == 0 {
			b.addr.giveBlock(b.low, c.block)
			t.tellBlock(c, BlockReleased, sub, b)
			sub.blocks = append(sub.blocks[:i], sub.blocks[i+1:]...)
			sub.nblocks.Add(-1)
			i--
		}
	}
}

// restoreBlock gives a subscriber the block of a port that Load assigns. It reports false if
// that belongs to another.
func (t *Table) restoreBlock(c *settings, sub *subscriber, a *address, port uint16) bool {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	low := port / uint16(c.block) * uint16(c.block)
	for i := range sub.blocks {
		if b := &sub.blocks[i]; b.addr == a && b.low == low {
			b.used++
			return true
		}
	}
	if !a.claimBlock(low, c.block) {
		return false
	}
	sub.blocks = append(sub.blocks, block{addr: a, low: low, used: 1})
	sub.nblocks.Add(1)
	t.tellBlock(c, BlockTaken, sub, sub.blocks[len(sub.blocks)-1])
	return true
}

// prefix returns the prefix of a subscriber.
func (c *settings) prefix(sub *subscriber) netip.Prefix {
	return netip.PrefixFrom(netip6(sub.prefix), c.limits.PrefixLen)
}
