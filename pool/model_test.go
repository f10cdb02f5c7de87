package pool

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A model is a pool that is slow and obvious: a list of leases and the rules in
// the order in which one would tell them.
type model struct {
	c        Config
	reserved []netip.Prefix
	now      int64
	leases   []*modelLease
	events   []string
}

type modelLease struct {
	host, addr netip.Addr
	used       int64
	held       bool
}

func (m *model) find(f func(*modelLease) bool) *modelLease {
	for _, l := range m.leases {
		if f(l) {
			return l
		}
	}
	return nil
}

func (m *model) byHost(h netip.Addr) *modelLease {
	return m.find(func(l *modelLease) bool { return l.host == h })
}

func (m *model) byAddr(a netip.Addr) *modelLease {
	return m.find(func(l *modelLease) bool { return l.addr == a })
}

func (m *model) end(l *modelLease) {
	m.leases = slices.DeleteFunc(m.leases, func(x *modelLease) bool { return x == l })
}

func (m *model) tell(k EventKind, l *modelLease) {
	m.events = append(m.events, fmt.Sprint(k, " ", l.addr, " ", l.host))
}

func (m *model) assignable(pool netip.Prefix, a netip.Addr) bool {
	if a == pool.Addr() {
		return false
	}
	for _, r := range m.reserved {
		if r.Bits() >= pool.Bits() && r.Contains(a) {
			return false
		}
	}
	return true
}

func (m *model) assign(h netip.Addr) (netip.Addr, bool) {
	allowed := len(m.c.Clients) == 0
	for _, c := range m.c.Clients {
		allowed = allowed || c.Contains(h)
	}
	l := m.byHost(h)
	if l != nil && l.held {
		l.used = m.now
		return l.addr, true
	}
	if q := m.c.MaxPerPrefix; q.Leases > 0 {
		n, net := 0, netip.PrefixFrom(h, q.Len).Masked()
		for _, x := range m.leases {
			if x.held && net.Contains(x.host) {
				n++
			}
		}
		allowed = allowed && n < q.Leases
	}
	if !allowed {
		return netip.Addr{}, false
	}
	if l != nil {
		l.held, l.used = true, m.now
		m.tell(Reactivated, l)
		return l.addr, true
	}
	for _, p := range m.c.Prefixes {
		size := uint32(1) << (32 - p.Bits())
		h16 := h.As16()
		off := startOffset(&h16, 32-p.Bits())
		for range size {
			a := bitsAddr(addrBits(p.Addr()) + off%size)
			if m.assignable(p, a) && m.byAddr(a) == nil {
				return m.grant(Assigned, h, a), true
			}
			off++
		}
	}
	var oldest *modelLease
	for _, x := range m.leases {
		if !x.held && (oldest == nil || x.used < oldest.used || x.used == oldest.used && x.addr.Less(oldest.addr)) {
			oldest = x
		}
	}
	if oldest == nil {
		return netip.Addr{}, false
	}
	m.end(oldest)
	return m.grant(Reassigned, h, oldest.addr), true
}

func (m *model) grant(k EventKind, h, a netip.Addr) netip.Addr {
	l := &modelLease{h, a, m.now, true}
	m.leases = append(m.leases, l)
	m.tell(k, l)
	return a
}

func (m *model) expire() {
	slices.SortFunc(m.leases, func(a, b *modelLease) int {
		if a.used != b.used {
			return int(a.used - b.used)
		}
		return a.addr.Compare(b.addr)
	})
	for _, l := range m.leases {
		if l.held && m.now-l.used >= int64(m.c.LeaseTime/time.Second) {
			l.held = false
			m.tell(Dormant, l)
		}
	}
	for _, l := range slices.Clone(m.leases) {
		if !l.held && m.now-l.used >= int64(m.c.Retention/time.Second) {
			m.end(l)
			m.tell(Forgotten, l)
		}
	}
}

func (m *model) all() (out []Lease) {
	for _, l := range m.leases {
		out = append(out, Lease{l.host, l.addr, time.Unix(l.used, 0), l.held})
	}
	return out
}

func byAddress(leases []Lease) []Lease {
	slices.SortFunc(leases, func(a, b Lease) int { return a.Addr.Compare(b.Addr) })
	return leases
}

// TestModel does the same random things to a pool and to the model and compares
// every answer, every event, and what there is afterwards.
func TestModel(t *testing.T) {
	tests := []struct {
		name  string
		c     Config
		hosts int
	}{
		{"roomy", Config{Prefixes: prefixes("10.0.0.0/24")}, 60},
		{"tight", Config{Prefixes: prefixes("10.0.0.0/28")}, 60},
		{"two-prefixes", Config{Prefixes: prefixes("10.0.9.0/29", "10.0.1.0/28")}, 40},
		{"quota-and-clients", Config{Prefixes: prefixes("10.0.0.0/27"), Clients: prefixes("2001:db8:0:1::/64", "2001:db8:0:2::/64"),
			MaxPerPrefix: Quota{Len: 64, Leases: 4}}, 60},
		{"many-slots", Config{Prefixes: prefixes("10.0.0.0/20")}, 500},
	}
	for _, tt := range tests {
		for seed := range uint64(4) {
			t.Run(fmt.Sprint(tt.name, "/", seed), func(t *testing.T) { runModel(t, tt.c, tt.hosts, seed) })
		}
	}
}

func runModel(t *testing.T, c Config, hosts int, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	c.LeaseTime, c.Retention = 100*time.Second, 1000*time.Second
	m := &model{c: c, now: start.Unix()}
	var events []string
	c.OnEvent = func(e Event) { events = append(events, fmt.Sprint(e.Kind, " ", e.Addr, " ", e.Host)) }
	p := newPool(t, c)

	anyHost := func() netip.Addr {
		return netip.MustParseAddr(fmt.Sprintf("2001:db8:0:%x::%x", r.IntN(3)+1, r.IntN(hosts)*0x9e37&0xffff))
	}
	anyAddr := func() netip.Addr {
		x := c.Prefixes[r.IntN(len(c.Prefixes))]
		return bitsAddr(addrBits(x.Addr()) + r.Uint32N(1<<(32-x.Bits())))
	}
	for range 3000 {
		switch r.IntN(12) {
		case 0, 1, 2, 3, 4:
			h := anyHost()
			got, ok := p.Assign(h.As16())
			want, wok := m.assign(h)
			require.Equal(t, wok, ok, h)
			if ok {
				require.Equal(t, want, netip.AddrFrom4(got), h)
			}
		case 5:
			h := anyHost()
			got, ok := p.Addr(h.As16())
			l := m.byHost(h)
			require.Equal(t, l != nil && l.held, ok)
			if ok {
				require.Equal(t, l.addr, netip.AddrFrom4(got))
				l.used = m.now
			}
		case 6:
			a := anyAddr()
			got, ok := p.Host(a.As4())
			l := m.byAddr(a)
			require.Equal(t, l != nil && l.held, ok)
			if ok {
				require.Equal(t, l.host, netip.AddrFrom16(got))
				l.used = m.now
			}
		case 7, 8:
			m.now += int64(r.IntN(8))
			p.Tick(time.Unix(m.now, 0))
		case 9:
			m.now += int64(r.IntN(40))
			m.expire()
			p.Expire(time.Unix(m.now, 0))
		case 10:
			switch r.IntN(8) {
			case 0:
				m.reserve(t, r, p, anyAddr)
			case 1:
				m.remove(t, p, anyHost())
			case 2:
				p = m.restart(t, p, c)
			}
		}
		slices.Sort(m.events) // of one call: their order is not promised
		slices.Sort(events)
		require.Equal(t, m.events, events)
		m.events, events = nil, nil
	}
	require.Equal(t, byAddress(m.all()), byAddress(slices.Collect(p.All())))
	check(t, p)
}

func (m *model) reserve(t *testing.T, r *rand.Rand, p *Pool, anyAddr func() netip.Addr) {
	m.reserved = nil
	for range r.IntN(4) {
		x, err := anyAddr().Prefix(30 + r.IntN(3))
		require.NoError(t, err)
		m.reserved = append(m.reserved, x)
	}
	n := 0
	for _, l := range slices.Clone(m.leases) {
		for _, pool := range m.c.Prefixes {
			if pool.Contains(l.addr) && !m.assignable(pool, l.addr) {
				m.end(l)
				m.tell(Removed, l)
				n++
			}
		}
	}
	ended, err := p.Reserve(m.reserved)
	require.NoError(t, err)
	require.Equal(t, n, ended)
}

func (m *model) remove(t *testing.T, p *Pool, h netip.Addr) {
	n := 0
	if l := m.byHost(h); l != nil {
		m.end(l)
		m.tell(Removed, l)
		n++
	}
	require.Equal(t, n, p.Remove(func(l Lease) bool { return l.Host == h }))
}

// restart moves the leases to a new pool by way of a file.
func (m *model) restart(t *testing.T, p *Pool, c Config) *Pool {
	p.Expire(time.Unix(m.now, 0)) // so state follows from age, as it does after reading
	m.expire()
	var file bytes.Buffer
	require.NoError(t, p.Save(&file))
	c.Reserved = m.reserved
	q, err := New(c, time.Unix(m.now, 0))
	require.NoError(t, err)
	n, err := q.Load(&file, nil, func(e *LineError) { t.Error(e) })
	require.NoError(t, err)
	require.Equal(t, len(m.leases), n)
	for _, l := range m.leases {
		m.tell(Loaded, l)
	}
	return q
}

// check holds the pool's books against each other.
func check(t *testing.T, p *Pool) {
	t.Helper()
	heldN, live := 0, 0
	for l := range p.All() {
		a, h := addrBits(l.Addr), l.Host.As16()
		require.Same(t, p.entryAt(a), p.find(&h), "both directions lead to one entry")
		i, off, _ := p.locate(a)
		require.True(t, p.taken[i].has(off))
		require.False(t, p.reserved[i].has(off))
		require.Equal(t, !l.Held, p.dormant.Contains(a))
		live++
		if l.Held {
			heldN++
		}
	}
	require.Equal(t, p.held, heldN)
	require.Equal(t, p.dormant.Len(), live-heldN)
	clear := 0
	for i := range p.spans {
		clear += p.taken[i].clear
		for off := range p.spans[i].size() {
			want := p.reserved[i].has(uint32(off)) || p.entryAt(p.spans[i].first+uint32(off)) != nil
			require.Equal(t, want, p.taken[i].has(uint32(off)))
		}
	}
	require.Equal(t, int64(clear+p.dormant.Len()), p.room.Load())
	fill := 0
	for i := range p.fill {
		filled, alive := 0, 0
		for j := range p.tables[i].Load().slots {
			switch p.tables[i].Load().slots[j].word.Load() >> 32 {
			case empty:
				continue
			case held, dormant:
				alive++
			}
			filled++
		}
		require.Equal(t, shardFill{filled, alive}, p.fill[i])
		require.True(t, 2*filled <= len(p.tables[i].Load().slots) || filled == 0)
		fill += alive
	}
	require.Equal(t, live, fill)
	if p.perNet != nil {
		sum := 0
		for _, n := range p.perNet {
			require.Positive(t, n)
			sum += n
		}
		require.Equal(t, heldN, sum)
	}
	var used uint32
	for _, a := range p.dormant.Keys() {
		u := uint32(p.entryAt(a).word.Load())
		require.LessOrEqual(t, used, u, "dormant leases are in order of use")
		used = u
	}
}
