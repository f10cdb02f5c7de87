// Package pool assigns IPv4 addresses to IPv6 hosts. A *Pool is a translate.Dynamic:
// it knows the leases, when each was last used, and for how long an address stays
// reserved for its host after that.
//
// The rules are those of the tayga daemon, so that a host finds the address
// that it had under tayga:
//
//   - A host that has a lease, also a dormant one, gets that address again.
//   - Otherwise the sum of its four 32-bit words, read as little-endian numbers
//     and folded into the prefix, is the start of a search; the first address from
//     there on that is neither leased nor reserved is assigned. Several prefixes
//     are tried in order.
//   - If there is none, the address of the dormant lease that was used least recently
//     is assigned.
//   - If there is no dormant lease either, the pool is exhausted and the request is
//     denied.
//
// A lease is held until the first upkeep pass (Expire) that comes LeaseTime (7440 s)
// after its last packet in either direction (see Refresh). Then it is dormant: packets to
// the address reach no host, but the host gets it back with its next packet. It is
// removed Retention (14 days) after its last packet. The lowest address of a
// prefix is never assigned; the highest one is.
//
// # The packet path
//
// Assign for a host that has a lease, Addr and Host take no lock and do
// not allocate, however many hosts there are; they may be called from any
// number of goroutines. Assign for a new host, Expire, Load, Reserve and Remove share
// one lock, which the former never take.
//
// The package starts no goroutine and reads no clock. The caller passes the time to
// Tick, about once a second, and to Expire, about every 45 seconds.
//
// # With a translator
//
//	p, err := pool.New(pool.Config{Prefixes: prefixes}, time.Now())
//	…
//	tab, err := translate.NewTable(translate.TableConfig{
//		Prefixes: []netip.Prefix{pref64},
//		Pools:    []translate.Pool{{Prefixes: prefixes, Dynamic: p}},
//	})
//
// Each table that replaces tab, by translate.Translator.Update, has the same p. Leases are
// kept across restarts by Save and Load; ReplaceFile replaces the file in one step.
//
// # Files
//
//	pool.go     configuration, the packet path
//	entry.go    a lease and its states
//	table.go    host → lease: seeded open addressing in shards
//	prefix.go   address → lease: arrays; which address a host gets
//	bitmap.go   the set of taken addresses
//	assign.go   assigning addresses, also those of dormant leases
//	upkeep.go   the clock, expiry, reservations
//	lease.go    what callers see: leases, events, figures
//	mapfile.go  tayga's dynamic.map
package pool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// The times of tayga, which zero fields of a Config mean.
const (
	DefaultLeaseTime = 7440 * time.Second
	DefaultRetention = 14 * 24 * time.Hour
)

// longest is the longest LeaseTime and Retention.
const longest = 10 * 365 * 24 * time.Hour

// Config configures a Pool. New checks it; later changes to it have no effect.
type Config struct {
	// Prefixes are the IPv4 prefixes to assign addresses from, tried in order: at
	// least one, of length 4 to 31, without host bits, not overlapping.
	Prefixes []netip.Prefix
	// Reserved are addresses that are not leased, until Reserve names others. A
	// translate.Translator excludes its own addresses and those with a map by itself,
	// see Exclude.
	Reserved []netip.Prefix

	// LeaseTime is how long a lease stays held after its last packet. Retention is how
	// long after that packet the address stays reserved for its host. Both are in whole
	// seconds. 0 means DefaultLeaseTime, and DefaultRetention or LeaseTime, whichever
	// is longer. LeaseTime ≤ Retention ≤ 10 years.
	LeaseTime, Retention time.Duration

	// Refresh says which packets renew a lease.
	Refresh Refresh

	// Clients are the IPv6 prefixes whose hosts may lease; none means all.
	Clients []netip.Prefix
	// MaxPerPrefix limits the addresses that hosts of one IPv6 prefix can hold
	// at once. The zero Quota is no limit.
	MaxPerPrefix Quota

	// OnEvent, if not nil, is called for each change of a lease, in order. It is
	// called with the pool's lock held, and never on the packet path of a host that
	// has a held lease. It must return soon and must not call the pool.
	OnEvent func(Event)

	// Used, if not nil, returns how long ago a packet from the host of a lease, and one to
	// it, was translated by something that does not ask the pool, such as a program in the
	// kernel; negative if none is known. Expire calls it, without a lock, for leases that
	// are held and that the pool has not been asked about for half a minute, or for LeaseTime
	// if that is shorter; see also Pool.Refresh and Pool.Ask. Packets count by the rules of
	// Refresh.
	Used func(host [16]byte, addr [4]byte) (from, to time.Duration)
}

// Refresh says which packets renew a lease, so that it stays held.
type Refresh uint8

const (
	// RefreshBoth: packets to and from the host, and ICMP errors about these.
	RefreshBoth Refresh = iota
	// RefreshOutbound: packets from the host that are no ICMP errors. In a pool of
	// addresses that the internet reaches, scans would otherwise renew the leases of
	// hosts that have left: RFC 4787 §4.3 REQ-6, RFC 5508 §4.3 REQ-6.
	RefreshOutbound
)

// A Quota allows each IPv6 prefix of length Len (1 to 128) at most Leases held leases
// (1 or more). Dormant leases do not count.
type Quota struct{ Len, Leases int }

// A Pool assigns addresses. All its methods may be called at any time from any
// goroutine.
type Pool struct {
	// Set by New, then only read.
	spans     []span
	tables    []atomic.Pointer[table]
	shift     uint
	keys      hashKeys
	leaseTime uint32 // seconds
	retention uint32
	clients   []netip.Prefix
	quota     Quota
	refresh   Refresh
	onEvent   func(Event)
	used      func(host [16]byte, addr [4]byte) (from, to time.Duration)

	// Written about once a second, read for each packet: on a line of its own.
	_   [64]byte
	now atomic.Uint32 // the clock of entry.word
	_   [52]byte

	// Written when a held lease ends, read once for each batch of packets.
	generation atomic.Uint64

	room    atomic.Int64 // addresses that a new host could get: free and dormant
	denied  atomic.Uint64
	changes atomic.Uint64

	mu      sync.Mutex // the writer's
	fill    []shardFill
	taken   []*bitmap                        // a set per span: leased or reserved
	dormant *simplelru.LRU[uint32, struct{}] // addresses, least recently used first
	held    int                              // leases
	perNet  map[[16]byte]int                 // held leases per client prefix, if there is a quota

	upkeep                 sync.Mutex     // one of Expire, Load, Reserve, Remove at a time; taken before mu
	reserved               []*bitmap      // a set per span, under upkeep
	byCaller, byTranslator []netip.Prefix // what they consist of

	clock clock
}

// New makes a Pool whose clock starts at now.
func New(c Config, now time.Time) (*Pool, error) {
	p := &Pool{
		keys:    newHashKeys(),
		clients: append([]netip.Prefix(nil), c.Clients...),
		quota:   c.MaxPerPrefix,
		refresh: c.Refresh,
		onEvent: c.OnEvent,
		used:    c.Used,
	}
	if err := p.setPrefixes(c.Prefixes); err != nil {
		return nil, err
	}
	if err := p.setTimes(c.LeaseTime, c.Retention); err != nil {
		return nil, err
	}
	if err := checkReserved(c.Reserved); err != nil {
		return nil, err
	}
	if c.Refresh > RefreshOutbound {
		return nil, fmt.Errorf("pool: refresh %d: out of range", c.Refresh)
	}
	for _, x := range c.Clients {
		if !x.IsValid() || !x.Addr().Is6() {
			return nil, fmt.Errorf("pool: clients %s: not an IPv6 prefix", x)
		}
	}
	if q := c.MaxPerPrefix; q != (Quota{}) {
		if q.Len < 1 || q.Len > 128 || q.Leases < 1 {
			return nil, fmt.Errorf("pool: at most %d leases per /%d: want at least 1, and a length of 1 to 128", q.Leases, q.Len)
		}
		p.perNet = make(map[[16]byte]int)
	}

	size := p.size()
	p.tables, p.shift = newTables(size)
	p.fill = make([]shardFill, len(p.tables))
	lru, err := simplelru.NewLRU[uint32, struct{}](int(min(size, math.MaxInt)), nil) // so it never evicts by itself
	if err != nil {
		return nil, fmt.Errorf("pool: %w", err)
	}
	p.dormant = lru
	p.byCaller = slices.Clone(c.Reserved)
	p.reserved = p.reservations(p.byCaller)
	p.taken = p.reservations(p.byCaller)
	for _, t := range p.taken {
		p.room.Add(int64(t.clear))
	}
	p.now.Store(epoch)
	p.Tick(now)
	return p, nil
}

func (p *Pool) setPrefixes(prefixes []netip.Prefix) error {
	if len(prefixes) == 0 {
		return errors.New("pool: no prefix")
	}
	for i, x := range prefixes {
		switch {
		case !x.IsValid() || !x.Addr().Is4():
			return fmt.Errorf("pool: prefix %s: not an IPv4 prefix", x)
		case x != x.Masked():
			return fmt.Errorf("pool: prefix %s: has host bits set (%s?)", x, x.Masked())
		case x.Bits() < 4 || x.Bits() > 31:
			return fmt.Errorf("pool: prefix %s: length must be 4 to 31", x)
		}
		for _, y := range prefixes[:i] {
			if x.Overlaps(y) {
				return fmt.Errorf("pool: prefix %s overlaps %s", x, y)
			}
		}
		p.spans = append(p.spans, newSpan(x))
	}
	return nil
}

func (p *Pool) setTimes(leaseTime, retention time.Duration) error {
	if leaseTime == 0 {
		leaseTime = DefaultLeaseTime
	}
	if retention == 0 {
		retention = max(DefaultRetention, leaseTime)
	}
	for _, d := range []time.Duration{leaseTime, retention} {
		if d < time.Second || d%time.Second != 0 || d > longest {
			return fmt.Errorf("pool: lease time %v: want whole seconds, at most 10 years", d)
		}
	}
	if leaseTime > retention {
		return fmt.Errorf("pool: retention %v is shorter than the lease time %v", retention, leaseTime)
	}
	p.leaseTime, p.retention = uint32(leaseTime/time.Second), uint32(retention/time.Second)
	return nil
}

func checkReserved(prefixes []netip.Prefix) error {
	for _, x := range prefixes {
		if !x.IsValid() || !x.Addr().Is4() {
			return fmt.Errorf("pool: reserved %s: not an IPv4 prefix", x)
		}
	}
	return nil
}

// Assign returns the address that host has leased. If it has none, Assign makes the
// host's dormant lease held again, or assigns an address by the rules above. It reports
// false if host may not lease, if its address is invalid as a source (multicast,
// link-local, loopback, unspecified or IPv4-mapped), or if the pool is exhausted. In an
// exhausted pool it takes no lock either.
func (p *Pool) Assign(host [16]byte) (addr [4]byte, ok bool) {
	if addr, ok = p.addr(host, p.now.Load()); ok {
		return addr, true
	}
	return p.assignNew(host)
}

// Addr returns the address that host has leased and, with RefreshBoth, marks the lease
// as used. It reports false if there is no lease or it is dormant.
func (p *Pool) Addr(host [16]byte) (addr [4]byte, ok bool) {
	return p.addr(host, p.passive())
}

// passive is the second up to which a lease counts as used by a packet that is not
// the host's: now, or one that is always past.
func (p *Pool) passive() uint32 {
	if p.refresh == RefreshOutbound {
		return 0
	}
	return p.now.Load()
}

// addr returns the address that host has leased, and marks the lease as used.
func (p *Pool) addr(host [16]byte, used uint32) (addr [4]byte, ok bool) {
	h := p.keys.hash(&host)
	shard := &p.tables[p.shard(h)]
	for {
		e := shard.Load().find(h, &host)
		if e == nil {
			return addr, false
		}
		switch e.touch(used) {
		case held:
			binary.BigEndian.PutUint32(addr[:], e.addr)
			return addr, true
		case dormant:
			return addr, false
		}
		// Dead or moved since it was found: look for the newer entry.
	}
}

// Touch marks the lease of host as used at the time ago before the pool's time, for
// callers that see the host's packets without Addr and Host. It reports false if host has
// no held lease; a dormant lease stays dormant. It takes no lock and does not allocate.
func (p *Pool) Touch(host [16]byte, ago time.Duration) bool {
	now := p.now.Load()
	used := now - uint32(min(max(ago, 0)/time.Second, time.Duration(now)))
	h := p.keys.hash(&host)
	shard := &p.tables[p.shard(h)]
	for {
		e := shard.Load().find(h, &host)
		if e == nil {
			return false
		}
		switch e.refresh(e.word.Load(), used) {
		case held:
			return true
		case dormant:
			return false
		}
		// Dead or moved since it was found: look for the newer entry.
	}
}

// Generation changes whenever a held lease has ended, before its address is leased
// again: earlier results of Assign, Addr and Host may then be out of date. It takes no
// lock and does not allocate.
func (p *Pool) Generation() uint64 { return p.generation.Load() }

// Host returns the host that has leased addr and, with RefreshBoth, marks the lease as
// used. It reports false if there is none: the address is free, reserved, not of this
// pool, or its lease is dormant.
func (p *Pool) Host(addr [4]byte) (host [16]byte, ok bool) {
	slot := p.slot(binary.BigEndian.Uint32(addr[:]))
	if slot == nil {
		return host, false
	}
	used := p.passive()
	for {
		e := slot.Load()
		if e == nil {
			return host, false
		}
		switch e.touch(used) {
		case held:
			return e.host, true
		case dormant:
			return host, false
		}
		// Dead or moved since it was loaded; the slot was changed before that.
	}
}
