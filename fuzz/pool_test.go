package fuzz

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/pool"
)

// start is the time at which pools begin: no whole second.
var start = time.Unix(1_795_193_388, 250_000_000)

func prefixes(list ...string) (all []netip.Prefix) {
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// poolConfigs are pools of all kinds, small enough to run out.
var poolConfigs = []pool.Config{
	{Prefixes: prefixes("10.0.0.0/28")},
	{Prefixes: prefixes("10.0.0.0/24"), Reserved: prefixes("10.0.0.1/32", "10.0.0.64/26")},
	{Prefixes: prefixes("10.0.9.0/29", "10.0.1.0/30")},
	{Prefixes: prefixes("10.0.0.0/27"), Clients: prefixes("2001:db8:0:1::/64", "2001:db8:0:2::/64"),
		MaxPerPrefix: pool.Quota{Len: 64, Leases: 4}},
	{Prefixes: prefixes("10.0.0.0/31")},
	{Prefixes: prefixes("10.0.0.0/30"), Reserved: prefixes("10.0.0.0/8"), MaxPerPrefix: pool.Quota{Len: 128, Leases: 1}},
}

// leaseTimes are Config.Hold and Config.Forget.
var leaseTimes = [][2]time.Duration{{100 * time.Second, 1000 * time.Second}, {100 * time.Second, 100 * time.Second}}

// A list is a pool that is slow and obvious: the leases in a list, and the rules
// as tayga's manual would tell them.
type list struct {
	c        pool.Config
	reserved []netip.Prefix
	wall     time.Time
	elapsed  time.Duration // by the pool's clock, which never goes back
	leases   []*lease
	events   []string
	refused  uint64
	changes  uint64
	lines    map[*lease]int // where load found them
}

type lease struct {
	host, addr netip.Addr
	used       int64 // seconds of elapsed
	held       bool
}

func newList(c pool.Config, now time.Time) *list {
	return &list{c: c, reserved: c.Reserved, wall: now, elapsed: time.Duration(now.Nanosecond())}
}

func (m *list) now() int64 { return int64(m.elapsed / time.Second) }

func (m *list) find(match func(*lease) bool) *lease {
	if i := slices.IndexFunc(m.leases, match); i >= 0 {
		return m.leases[i]
	}
	return nil
}

func (m *list) byHost(h netip.Addr) *lease { return m.find(func(l *lease) bool { return l.host == h }) }
func (m *list) byAddr(a netip.Addr) *lease { return m.find(func(l *lease) bool { return l.addr == a }) }

func (m *list) tell(k pool.EventKind, l *lease) {
	m.events = append(m.events, fmt.Sprint(k, " ", l.addr, " ", l.host))
}

func (m *list) end(l *lease) {
	m.leases = slices.DeleteFunc(m.leases, func(x *lease) bool { return x == l })
	m.changes++
}

func (m *list) begin(k pool.EventKind, h, a netip.Addr) netip.Addr {
	l := &lease{h, a, m.now(), true}
	m.leases = append(m.leases, l)
	m.changes++
	m.tell(k, l)
	return a
}

// assignable reports whether a in the pool's prefix p can be assigned at all.
func (m *list) assignable(p netip.Prefix, a netip.Addr) bool {
	return a != p.Addr() && !slices.ContainsFunc(m.reserved, func(r netip.Prefix) bool {
		return r.Bits() >= p.Bits() && r.Contains(a) // a shorter one yields to the pool
	})
}

// each calls f with each address of p, beginning with the one at offset from,
// until f reports false.
func each(p netip.Prefix, from uint32, f func(netip.Addr) bool) {
	b := p.Addr().As4()
	first, size := binary.BigEndian.Uint32(b[:]), uint32(1)<<(32-p.Bits())
	for i := range size {
		binary.BigEndian.PutUint32(b[:], first+(from+i)%size)
		if !f(netip.AddrFrom4(b)) {
			return
		}
	}
}

// offset is where tayga begins to look for an address for h among n host bits.
func offset(h netip.Addr, n int) uint32 {
	b, s := h.As16(), uint32(0)
	for i := 0; i < 16; i += 4 {
		s += uint32(b[i]) | uint32(b[i+1])<<8 | uint32(b[i+2])<<16 | uint32(b[i+3])<<24
		for s >= 1<<n {
			s = s%(1<<n) + s/(1<<n)
		}
	}
	return s
}

func (m *list) mayLease(h netip.Addr) bool {
	if !h.IsGlobalUnicast() || h.Is4In6() {
		return false
	}
	return len(m.c.Clients) == 0 || slices.ContainsFunc(m.c.Clients, func(p netip.Prefix) bool { return p.Contains(h) })
}

// full reports whether the client prefix of h holds all that it may.
func (m *list) full(h netip.Addr) bool {
	q, n := m.c.MaxPerPrefix, 0
	for _, l := range m.leases {
		if q.Leases > 0 && l.held && netip.PrefixFrom(h, q.Len).Masked().Contains(l.host) {
			n++
		}
	}
	return q.Leases > 0 && n >= q.Leases
}

func (m *list) assign(h netip.Addr) (a netip.Addr, ok bool) {
	l := m.byHost(h)
	switch {
	case l != nil && l.held:
		l.used = m.now()
		return l.addr, true
	case !m.mayLease(h), m.full(h):
		m.refused++
		return a, false
	case l != nil:
		l.held, l.used = true, m.now()
		m.tell(pool.Reactivated, l)
		return l.addr, true
	}
	for _, p := range m.c.Prefixes {
		each(p, offset(h, 32-p.Bits()), func(x netip.Addr) bool {
			if m.assignable(p, x) && m.byAddr(x) == nil {
				a, ok = x, true
			}
			return !ok
		})
		if ok {
			return m.begin(pool.Assigned, h, a), true
		}
	}
	var oldest *lease
	for _, x := range m.leases {
		if !x.held && (oldest == nil || x.used < oldest.used || x.used == oldest.used && x.addr.Less(oldest.addr)) {
			oldest = x
		}
	}
	if oldest == nil {
		m.refused++
		return a, false
	}
	m.end(oldest)
	return m.begin(pool.Reassigned, h, oldest.addr), true
}

func (m *list) expire() (dormant, forgotten int) {
	for _, l := range slices.Clone(m.leases) {
		age := time.Duration(m.now()-l.used) * time.Second
		if l.held && age >= m.c.LeaseTime {
			l.held = false
			m.tell(pool.Dormant, l)
			dormant++
		}
		if !l.held && age >= m.c.Retention {
			m.end(l)
			m.tell(pool.Forgotten, l)
			forgotten++
		}
	}
	return dormant, forgotten
}

func (m *list) remove(match func(*lease) bool) (n int) {
	for _, l := range slices.Clone(m.leases) {
		if match(l) {
			m.end(l)
			m.tell(pool.Removed, l)
			n++
		}
	}
	return n
}

func (m *list) tick(d time.Duration) time.Time {
	m.wall = m.wall.Add(d)
	m.elapsed += max(d, 0)
	return m.wall
}

// all are the leases as Pool.All shows them.
func (m *list) all() (out []pool.Lease) {
	for _, l := range m.leases {
		out = append(out, pool.Lease{Host: l.host, Addr: l.addr, Held: l.held,
			Used: time.Unix(m.wall.Unix()-(m.now()-l.used), 0)})
	}
	place := func(a netip.Addr) int {
		return slices.IndexFunc(m.c.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	slices.SortFunc(out, func(a, b pool.Lease) int {
		return cmp.Or(cmp.Compare(place(a.Addr), place(b.Addr)), a.Addr.Compare(b.Addr))
	})
	return out
}

func (m *list) stats() (s pool.Stats) {
	for _, p := range m.c.Prefixes {
		each(p, 0, func(a netip.Addr) bool {
			if m.assignable(p, a) {
				s.Size++
			}
			return true
		})
	}
	for _, l := range m.leases {
		if l.held {
			s.Held++
		} else {
			s.Dormant++
		}
	}
	s.Denied = m.refused
	return s
}

// A poolRun is a pool and its list, to which the same operations are applied.
type poolRun struct {
	t *testing.T
	stream
	c      pool.Config
	p      *pool.Pool
	m      *list
	events []string
}

func newPoolRun(t *testing.T, program []byte) *poolRun {
	l := &poolRun{t: t, stream: program}
	l.c = poolConfigs[l.n(len(poolConfigs))]
	times := leaseTimes[l.n(len(leaseTimes))]
	l.c.LeaseTime, l.c.Retention = times[0], times[1]
	l.c.OnEvent = func(e pool.Event) { l.events = append(l.events, fmt.Sprint(e.Kind, " ", e.Addr, " ", e.Host)) }
	var err error
	if l.p, err = pool.New(l.c, start); err != nil {
		t.Fatal(err)
	}
	l.m = newList(l.c, start)
	return l
}

// host is one of 1024 hosts, in four /64s, or an address that none can have.
func (l *poolRun) host() netip.Addr {
	net := l.byte()
	if net >= 0xfc {
		return []netip.Addr{netip.IPv6Unspecified(), netip.IPv6Loopback(), netip.IPv6LinkLocalAllNodes(), netip.MustParseAddr("fe80::1")}[net&3]
	}
	a := [16]byte{0x20, 1, 0xd, 0xb8, 0, 0, 0, net & 3}
	a[15] = l.byte()
	return netip.AddrFrom16(a)
}

// addr is an address of the pool, or just after it.
func (l *poolRun) addr() netip.Addr {
	b := l.c.Prefixes[l.n(len(l.c.Prefixes))].Addr().As4()
	b[3] += l.byte() & 0x3f
	return netip.AddrFrom4(b)
}

// seconds is a time that goes by, in quarters of a second up to 20 minutes.
func (l *poolRun) seconds() time.Duration {
	return time.Duration(binary.BigEndian.Uint16([]byte{l.byte() & 31, l.byte()})) * time.Second / 4
}

// same fails the test if the pool's answer is not the list's.
func (l *poolRun) same(what string, got, want any) {
	l.t.Helper()
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		l.t.Fatalf("%s: %s, want %s", what, g, w)
	}
}

// step does one thing.
func (l *poolRun) step() {
	switch op := l.n(16); op {
	default:
		h := l.host()
		got, ok := l.p.Assign(h.As16())
		want, wok := l.m.assign(h)
		l.same(fmt.Sprint("assign ", h), answer(netip.AddrFrom4(got), ok), answer(want, wok))
	case 6:
		h := l.host()
		got, ok := l.p.Addr(h.As16())
		x := l.m.byHost(h)
		l.same(fmt.Sprint("address of ", h), answer(netip.AddrFrom4(got), ok), l.use(x, func() netip.Addr { return x.addr }))
	case 7:
		a := l.addr()
		got, ok := l.p.Host(a.As4())
		x := l.m.byAddr(a)
		l.same(fmt.Sprint("host at ", a), answer(netip.AddrFrom16(got), ok), l.use(x, func() netip.Addr { return x.host }))
	case 8, 9:
		l.p.Tick(l.m.tick(l.seconds()))
	case 10, 11:
		d, f := l.p.Expire(l.m.tick(l.seconds()))
		wd, wf := l.m.expire()
		l.same("expire", []int{d, f}, []int{wd, wf})
	case 12:
		l.p.Tick(l.m.tick(-l.seconds())) // the clock is set back
	case 13:
		l.reserve()
	case 14:
		h := l.host()
		got := l.p.Remove(func(x pool.Lease) bool { return x.Host == h })
		l.same("remove", got, l.m.remove(func(x *lease) bool { return x.host == h }))
	case 15:
		l.restart()
	}
	slices.Sort(l.events) // of one step
	slices.Sort(l.m.events)
	l.same("events", l.events, l.m.events)
	l.events, l.m.events = nil, nil
}

// answer is what a lookup says.
func answer(a netip.Addr, ok bool) string {
	if !ok {
		return "none"
	}
	return a.String()
}

// use marks a lease that is held as used, and returns what f says of it.
func (l *poolRun) use(x *lease, f func() netip.Addr) string {
	if x == nil || !x.held {
		return "none"
	}
	x.used = l.m.now()
	return f().String()
}

func (l *poolRun) reserve() {
	var set []netip.Prefix
	for n := l.n(4); n > 0; n-- {
		set = append(set, netip.PrefixFrom(l.addr(), 24+l.n(9)))
	}
	got, err := l.p.Reserve(set)
	if err != nil {
		l.t.Fatal(err)
	}
	l.m.reserved = set
	l.c.Reserved = set
	l.same("reserve", got, l.m.remove(func(x *lease) bool {
		for _, p := range l.c.Prefixes {
			if p.Contains(x.addr) {
				return !l.m.assignable(p, x.addr)
			}
		}
		return true
	}))
}

// restart moves the leases to a new pool by way of a file. Upkeep goes before,
// since a file does not say what is dormant.
func (l *poolRun) restart() {
	d, f := l.p.Expire(l.m.wall)
	wd, wf := l.m.expire()
	l.same("expire", []int{d, f}, []int{wd, wf})
	var file bytes.Buffer
	if err := l.p.Save(&file); err != nil {
		l.t.Fatal(err)
	}
	p, err := pool.New(l.c, l.m.wall)
	if err != nil {
		l.t.Fatal(err)
	}
	text := file.String()
	n, err := p.Load(&file, nil, func(e *pool.LineError) { l.t.Errorf("%v in\n%s", e, text) })
	if err != nil || n != len(l.m.leases) {
		l.t.Fatalf("%d leases loaded, %d saved (%v)\n%s", n, len(l.m.leases), err, text)
	}
	old := l.m
	l.p, l.m = p, newList(l.c, old.wall)
	for _, x := range old.leases {
		x.used += l.m.now() - old.now()
		l.m.leases = append(l.m.leases, x)
		l.m.changes++
		old.tell(pool.Loaded, x)
	}
	l.m.events = old.events
}

// FuzzPool: a program of up to 200 steps, done to a pool and to a list of leases
// that follows tayga's rules: assign, look up either way, time that goes by or is
// set back, upkeep, reserve, remove, save and load. Every answer and every event
// is the list's; in the end All shows the list's leases in order, Stats and
// Changes its numbers, and both directions of every held lease lead to each other.
func FuzzPool(f *testing.F) {
	fill := func(n int) (b []byte) { // n hosts ask for an address
		for i := range n {
			b = append(b, 0, byte(i), byte(i))
		}
		return b
	}
	f.Add(slices.Concat([]byte{0, 0}, fill(17)))                                                            // one more than there are
	f.Add(slices.Concat([]byte{0, 0}, fill(15), []byte{10, 2, 0}, fill(20)))                                // the least recently used is taken over
	f.Add(slices.Concat([]byte{0, 1}, fill(15), []byte{10, 2, 0}, fill(3)))                                 // forgotten at once
	f.Add(slices.Concat([]byte{3, 0}, fill(40), []byte{10, 2, 0}, fill(40)))                                // quota and clients
	f.Add(slices.Concat([]byte{1, 0}, fill(20), []byte{13, 2, 0, 5, 4, 0, 9, 2}, fill(20)))                 // leases end for a reservation
	f.Add(slices.Concat([]byte{2, 0}, fill(9), []byte{8, 0, 9, 15}, fill(12), []byte{10, 31, 0, 15, 7, 0})) // restarts
	f.Add(slices.Concat([]byte{0, 0}, fill(4), []byte{12, 9, 9, 10, 1, 150}, fill(5)))                      // the clock is set back
	f.Add(slices.Concat([]byte{4, 0}, fill(3), []byte{7, 0, 1, 6, 0, 0, 14, 0, 0}, fill(2)))                // one address
	f.Add(slices.Concat([]byte{0, 0}, fill(2), []byte{0, 252, 0, 253, 0, 254, 0, 255, 15}))                 // addresses that no host can have: pool TestHostsThatCannotBe
	f.Add(slices.Concat([]byte{5, 0}, fill(5)))                                                             // a reservation around the pool yields
	f.Fuzz(func(t *testing.T, program []byte) {
		l := newPoolRun(t, program)
		for range 200 {
			if len(l.stream) == 0 {
				break
			}
			l.step()
		}
		l.same("leases", slices.Collect(l.p.All()), l.m.all())
		l.same("stats", l.p.Stats(), l.m.stats())
		l.same("changes", l.p.Changes(), l.m.changes)
		for _, x := range l.m.leases {
			h, ok := l.p.Host(x.addr.As4())
			a, ok2 := l.p.Addr(x.host.As16())
			l.same("either way", []any{x.held, x.held}, []any{ok && netip.AddrFrom16(h) == x.host, ok2 && netip.AddrFrom4(a) == x.addr})
		}
	})
}

// A leaseLine is a line of a dynamic.map that makes sense.
type leaseLine struct {
	host, addr netip.Addr
	time       int64
}

// maxLease is a length of lines that is surely too long.
const maxLease = 514

var errNoLease = errors.New("no lease")

// load begins the leases of a file, as Pool.Load has it. It reports false where a
// line is about as long as a line may be.
func (m *list) load(file []byte) bool {
	type found struct {
		leaseLine
		line int
	}
	var all []found
	for i, line := range strings.Split(string(file), "\n") {
		switch n := len(line); {
		case n > maxLease:
			continue
		case n > maxLease-4:
			return false
		}
		l, err := readLease(line)
		fits := slices.ContainsFunc(m.c.Prefixes, func(p netip.Prefix) bool { return p.Contains(l.addr) && m.assignable(p, l.addr) })
		if err == nil && fits && m.mayLease(l.host) {
			all = append(all, found{l, i + 1})
		}
	}
	slices.SortStableFunc(all, func(a, b found) int { return cmp.Compare(b.time, a.time) })
	m.lines = make(map[*lease]int)
	for _, l := range all {
		if m.byAddr(l.addr) != nil || m.byHost(l.host) != nil {
			continue
		}
		hold := int64(m.c.LeaseTime / time.Second)
		age := min(max(m.wall.Unix()-l.time, 0), int64(m.c.Retention/time.Second))
		held := age < hold && l.time-m.wall.Unix() <= 300 && !m.full(l.host)
		if !held {
			age = max(age, hold)
		}
		x := &lease{l.host, l.addr, m.now() - age, held}
		m.leases = append(m.leases, x)
		m.lines[x] = l.line
	}
	return true
}

// readLease reads a line as plainly as possible. It returns an error if it makes
// no sense, errNoLease if there is nothing on it.
func readLease(line string) (l leaseLine, err error) {
	words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r", r) })
	if i := slices.IndexFunc(words, func(w string) bool { return w[0] == '#' }); i >= 0 {
		words = words[:i]
	}
	if len(words) == 0 {
		return l, errNoLease
	}
	if len(words) != 3 {
		return l, fmt.Errorf("%d words", len(words))
	}
	if l.addr, err = netip.ParseAddr(words[0]); err != nil || !l.addr.Is4() {
		return l, errors.New("address")
	}
	l.host, err = netip.ParseAddr(words[1])
	if err != nil || !l.host.Is6() || l.host.Zone() != "" || l.host.Is4In6() || !l.host.IsGlobalUnicast() {
		return l, errors.New("host")
	}
	n, err := strconv.ParseUint(words[2], 10, 63)
	if err != nil || n == 0 {
		return l, errors.New("time")
	}
	l.time = int64(n)
	return l, nil
}

// FuzzDynamicMap: any file as dynamic.map. No panic and no error; the leases are
// those that a plain reader finds, of two lines for an address or a host the
// later use, held or dormant by age and quota; each line is loaded or reported,
// once; and what Save writes, held ones first and latest use first, is loaded
// again as it is.
func FuzzDynamicMap(f *testing.F) {
	at := func(ago int64) string { return strconv.FormatInt(start.Unix()-ago, 10) }
	f.Add(uint8(0), []byte("### remark\n\n10.0.0.1\t2001:db8:0:1::1\t"+at(5)+"\n10.0.0.2\t2001:db8:0:1::2\t"+at(500)+"\r\n"))    // held and dormant
	f.Add(uint8(0), []byte("10.0.0.1 2001:db8::1 "+at(9)+"\n10.0.0.1 2001:db8::2 "+at(8)+"\n10.0.0.2 2001:db8::1 "+at(7)))       // the later use counts
	f.Add(uint8(1), []byte("10.0.0.1 2001:db8::1 5\n10.0.0.0 2001:db8::2 5\n10.0.0.65 2001:db8::3 5\n10.0.1.1 2001:db8::4 5\n")) // reserved, lowest, outside
	f.Add(uint8(3), []byte("10.0.0.1 2001:db8:0:1::1 "+at(1)+"\n10.0.0.2 2001:db8:0:1::2 "+at(2)+"\n10.0.0.3 2001:db8:0:1::3 "+at(3)+
		"\n10.0.0.4 2001:db8:0:1::4 "+at(4)+"\n10.0.0.5 2001:db8:0:1::5 "+at(5)+"\n10.0.0.6 2001:db8:0:9::5 "+at(5)+"\n")) // one too many; no client
	f.Add(uint8(0), []byte("10.0.0.1 ff02::1 5\n10.0.0.1 ::1 5\n10.0.0.1 fe80::1 5\n10.0.0.1 ::ffff:1.2.3.4 5\n10.0.0.1 2001:db8::%1 5\n")) // no hosts: pool TestLoad/hosts-that-cannot-be
	f.Add(uint8(0), []byte("10.0.0.1 2001:db8::1 9223372036854775807\n10.0.0.2 2001:db8::2 "+at(-299)+"\n10.0.0.3 2001:db8::3 "+at(-301)))  // the future
	f.Add(uint8(0), []byte("10.0.0.1 2001:db8::1\n10.0.0.1 2001:db8::1 0\n10.0.0.1 2001:db8::1 -1\n010.0.0.1 2001:db8::1 1\n10.0.0.1 2001:db8::1 1 #\n"))
	f.Add(uint8(0), append(bytes.Repeat([]byte("a"), 1025), "\n10.0.0.1 2001:db8::1 1\x00\n"...)) // too long a line
	f.Fuzz(func(t *testing.T, which uint8, file []byte) {
		if len(file) > 1<<14 {
			return
		}
		c := poolConfigs[int(which)%len(poolConfigs)]
		c.LeaseTime, c.Retention = leaseTimes[0][0], leaseTimes[0][1]
		p, err := pool.New(c, start)
		if err != nil {
			t.Fatal(err)
		}
		reported := map[int]int{}
		n, err := p.Load(bytes.NewReader(file), nil, func(e *pool.LineError) { reported[e.Line]++ })
		if err != nil {
			t.Fatal(err)
		}
		m := newList(c, start)
		if !m.load(file) {
			return
		}
		if got := slices.Collect(p.All()); n != len(got) || !slices.Equal(got, m.all()) {
			t.Fatalf("%d leases loaded:\n%v, want\n%v", n, got, m.all())
		}
		for i, line := range strings.Split(string(file), "\n") {
			_, err := readLease(line)
			loaded := slices.ContainsFunc(m.leases, func(l *lease) bool { return m.lines[l] == i+1 })
			want := 1
			if loaded || errors.Is(err, errNoLease) && len(line) < maxLease {
				want = 0
			}
			if reported[i+1] != want {
				t.Errorf("line %d, %.80q, is reported %d times, want %d", i+1, line, reported[i+1], want)
			}
			delete(reported, i+1)
		}
		if len(reported) > 0 {
			t.Errorf("lines that are not there were reported: %v", reported)
		}
		checkSave(t, p, c)
	})
}

// checkSave fails the test if the leases of p do not survive being saved.
func checkSave(t *testing.T, p *pool.Pool, c pool.Config) {
	t.Helper()
	var b bytes.Buffer
	if err := p.Save(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	held, last := true, start.Unix()
	for line := range strings.Lines(text) {
		l, err := readLease(strings.TrimSuffix(line, "\n"))
		if errors.Is(err, errNoLease) {
			continue
		}
		if err != nil || len(line) > 510 {
			t.Fatalf("written: %q: %v", line, err)
		}
		if now := start.Unix()-l.time < int64(c.LeaseTime/time.Second); held && !now {
			held, last = false, start.Unix()
		} else if now != held {
			t.Fatalf("a held lease after a dormant one:\n%s", text)
		}
		if l.time > last {
			t.Fatalf("not in the order of use:\n%s", text)
		}
		last = l.time
	}
	q, err := pool.New(c, start)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Load(&b, nil, func(e *pool.LineError) { t.Errorf("saved: %v", e) }); err != nil {
		t.Fatal(err)
	}
	if a, b := slices.Collect(p.All()), slices.Collect(q.All()); !slices.Equal(a, b) {
		t.Fatalf("saved:\n%v\nloaded:\n%v", a, b)
	}
}
