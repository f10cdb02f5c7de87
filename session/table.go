package session

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/steppe-nat64/steppe/translate"
)

// A Table has the bindings and sessions of hosts that share IPv4 addresses. All its methods
// may be called at any time from any goroutine.
type Table struct {
	// Set by New, then only read.
	keys   hashKeys
	s6, s4 *index // sessions
	b6, b4 *index // bindings, hosts, permissions

	cfg  atomic.Pointer[settings]
	next atomic.Pointer[pending] // nil unless Update is at work

	mem  slabs
	subs subscribers
	held held
	full [translate.MaxPref64][protocols]atomic.Uint32 // the second when a group had no port left

	probes probes

	_ [64]byte
	// Written when sessions begin and end.
	sessions, halfOpen, inbound atomic.Int64
	_                           [64]byte

	shards [shards]shard

	events sync.Mutex
	upkeep sync.Mutex // Update, Load and Expire; taken before the locks of shards
	cursor int        // the shard where Expire continues; shards if it is through
	swept  uint32     // the second up to which all shards have been expired
}

// Shards divide the hosts. What belongs to a host begins and ends under the lock of its
// shard, and is in its wheel.
const shards = 64

type shard struct {
	mu    sync.Mutex
	free  uint32 // list of entries
	nfree int
	wheel wheel

	// Figures, under mu.
	states   [states]int
	bindings [protocols]int
	hosts    int
	made     [protocols]uint64
	loaded   uint64                            // how many of them by Load
	ended    [states]uint64                    // by the state whose time ran out; dead: by Update
	results  [translate.FlowDrop + 1][2]uint64 // by side
	limited  [limits]uint64                    // results that are FlowLimit
	_        [64]byte
}

// New returns a Table.
func New(cfg Config) (*Table, error) {
	c, err := compile(cfg)
	if err != nil {
		return nil, err
	}
	t := &Table{keys: newHashKeys(), cursor: shards}
	t.subs.byPrefix = map[translate.Addr6]uint32{}
	n := c.limits.Sessions
	t.s6, t.s4 = newIndex(&t.mem, by6, 2*n), newIndex(&t.mem, by4, 2*n)
	t.b6, t.b4 = newIndex(&t.mem, by6, 2*n), newIndex(&t.mem, by4, n)
	t.held.init(c.limits.HeldSYN)
	for i := range c.spans {
		s := &c.spans[i]
		for a := uint64(s.first); a <= uint64(s.last); a++ {
			s.addrs = append(s.addrs, newAddress(uint32(a), s.low, s.high, c.block))
		}
	}
	t.cfg.Store(c)
	for _, s := range c.static {
		t.addStatic(c, s)
	}
	return t, nil
}

// second returns a time in the seconds that entries have: they begin at 1, so that
// differences to earlier times fit, and end after 34 years.
func second(now time.Duration) uint32 {
	s := now / time.Second
	return uint32(min(max(s, 0), math.MaxInt32/2)) + 1
}

func (t *Table) shard(host translate.Addr6) *shard {
	return &t.shards[t.keys.ofHost(host)%shards]
}

// alloc returns a free entry, or 0 if memory has a limit that is reached. The shard is
// locked.
func (t *Table) alloc(sh *shard) uint32 {
	if sh.free == 0 {
		if sh.free = t.mem.take(); sh.free == 0 {
			return 0
		}
		for i := sh.free; i != 0; i = t.mem.at(i).after {
			sh.nfree++
		}
	}
	i := sh.free
	e := t.mem.at(i)
	sh.free = e.after
	sh.nfree--
	e.after, e.before, e.parent, e.count = 0, 0, 0, 0
	return i
}

// fill sets the words of a new entry, which readers do not see before its state is set.
func (e *entry) fill(k *key, s state, sec uint32) {
	e.hi.Store(k.host.Hi)
	e.lo.Store(k.host.Lo)
	e.ends.Store(k.ends)
	e.local.Store(k.local)
	e.word.Store(e.word.Load()>>40<<40 | uint64(s)<<32 | uint64(sec))
}

// kill ends the life of an entry, if its word is w still.
func (e *entry) kill(w uint64) bool {
	return e.word.CompareAndSwap(w, (w>>40<<40)+versionStep)
}

// recycle makes an entry free that is in no index any more.
func (t *Table) recycle(sh *shard, i uint32) {
	t.mem.at(i).after = sh.free
	sh.free = i
	if sh.nfree++; sh.nfree < 4*batch {
		return
	}
	head := sh.free
	last := t.mem.at(head)
	for range batch - 1 {
		last = t.mem.at(last.after)
	}
	sh.free, last.after = last.after, 0
	sh.nfree -= batch
	t.mem.give(head)
}

// deny counts a result that is not FlowMapped. The shard is locked.
func (sh *shard) deny(side int, r translate.FlowResult) translate.FlowResult {
	sh.results[r][side]++
	return r
}
