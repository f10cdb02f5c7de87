package pool

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// start is the time at which tests begin: no monotonic reading, whole second.
var start = time.Unix(1795193388, 0)

func prefixes(s ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, x := range s {
		out = append(out, netip.MustParsePrefix(x))
	}
	return out
}

func newPool(t testing.TB, c Config) *Pool {
	t.Helper()
	p, err := New(c, start)
	require.NoError(t, err)
	return p
}

func host(s string) [16]byte { return netip.MustParseAddr(s).As16() }
func addr(s string) [4]byte  { return netip.MustParseAddr(s).As4() }

// assign leases an address and returns it as text, or "denied".
func assign(p *Pool, h string) string {
	a, ok := p.Assign(host(h))
	if !ok {
		return "denied"
	}
	return netip.AddrFrom4(a).String()
}

// TestChoice holds addresses that tayga was seen to give, on little-endian
// machines.
func TestChoice(t *testing.T) {
	type pair struct{ host, addr string }
	tests := []struct {
		name     string
		pool     string
		reserved []string
		want     []pair
	}{
		{"own-address-in-slash-24", "172.16.2.0/24", []string{"172.16.2.1/32"}, []pair{
			{"2001:db8:77::1", "172.16.2.95"},
			{"2001:db8:77::2", "172.16.2.96"},
			{"2001:db8:77::3", "172.16.2.97"},
		}},
		{"own-address-and-map-in-slash-29", "172.16.2.0/29", []string{"172.16.2.1/32", "172.16.2.5/32"}, []pair{
			{"2001:db8:77::1", "172.16.2.2"},
			{"2001:db8:77::2", "172.16.2.3"},
			{"2001:db8:77::3", "172.16.2.4"},
			{"2001:db8:77::4", "172.16.2.6"},
			{"2001:db8:77::5", "172.16.2.7"},
			{"2001:db8:77::6", "denied"},
		}},
		{"slash-30-never-the-lowest", "172.16.2.0/30", nil, []pair{
			{"2001:db8:77::1", "172.16.2.2"},
			{"2001:db8:77::2", "172.16.2.3"},
			{"2001:db8:77::3", "172.16.2.1"},
			{"2001:db8:77::4", "denied"},
		}},
		{"slash-20", "172.16.0.0/20", nil, []pair{
			{"2001:db8:4d25:deb3:54f4:6a69:10ac:ff00", "172.16.14.3"},
			{"2001:db8:960d:5a8f:9a65:6aaf:d141:2584", "172.16.8.7"},
			{"2001:db8:b248:9191:7b12:1dc5:4e5a:3a26", "172.16.8.43"},
		}},
		{"slash-12", "172.16.0.0/12", nil, []pair{
			{"2001:db8:4ffc:bf42:1792:1e6c:8b8e:8f4e", "172.27.57.104"},
		}},
		{"link-local-pool", "169.254.0.0/24", nil, []pair{
			{"2001:db8::69", "169.254.0.80"},
		}},
		{"slash-31-has-one-address", "172.16.2.0/31", nil, []pair{
			{"2001:db8:77::1", "172.16.2.1"},
			{"2001:db8:77::2", "denied"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPool(t, Config{Prefixes: prefixes(tt.pool), Reserved: prefixes(tt.reserved...)})
			for _, w := range tt.want {
				require.Equal(t, w.addr, assign(p, w.host), w.host)
				if w.addr != "denied" {
					h, ok := p.Host(addr(w.addr))
					require.True(t, ok)
					require.Equal(t, host(w.host), h)
				}
			}
			for _, w := range tt.want { // and once more: nothing moves
				require.Equal(t, w.addr, assign(p, w.host), w.host)
			}
		})
	}
}

// TestStartOffset compares the search's start with the rule done by hand, in
// wide arithmetic, one step at a time.
func TestStartOffset(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var h [16]byte
		for i := range h {
			h[i] = byte(r.Uint32())
		}
		for bits := 1; bits <= 28; bits++ {
			s, size := uint64(0), uint64(1)<<bits
			for i := 0; i < 4; i++ {
				w := uint64(h[4*i]) + uint64(h[4*i+1])*256 + uint64(h[4*i+2])*65536 + uint64(h[4*i+3])*16777216
				s = (s + w) % (1 << 32)
				for s >= size {
					s = s%size + s/size
				}
			}
			require.Equal(t, uint32(s), startOffset(&h, bits))
		}
	}
}

func TestSeveralPrefixesInOrder(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/30", "192.168.0.0/31", "10.0.0.8/31")})
	var got []string
	for i := range 6 {
		got = append(got, assign(p, fmt.Sprintf("2001:db8::%x", i)))
	}
	slices.Sort(got[:3])
	require.Equal(t, []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "192.168.0.1", "10.0.0.9", "denied"}, got)
	require.Equal(t, Stats{Size: 5, Held: 5, Denied: 1}, p.Stats())
}

func TestLifeOfALease(t *testing.T) {
	var events []string
	p := newPool(t, Config{
		Prefixes: prefixes("10.0.0.0/30"),
		OnEvent:  func(e Event) { events = append(events, fmt.Sprint(e.Kind, " ", e.Addr, " ", e.Host)) },
	})
	told := func(want ...string) {
		t.Helper()
		require.Equal(t, want, events)
		events = nil
	}
	now := start
	pass := func(d time.Duration) (dormant, forgotten int) {
		now = now.Add(d)
		return p.Expire(now)
	}
	counts := func(dormant, forgotten int) [2]int { return [2]int{dormant, forgotten} }

	require.Equal(t, "10.0.0.2", assign(p, "2001:db8::3"))
	require.Equal(t, "10.0.0.3", assign(p, "2001:db8::4"))
	told("assigned 10.0.0.2 2001:db8::3", "assigned 10.0.0.3 2001:db8::4")

	// Each direction, and an address looked up for an ICMP error, keeps a lease.
	require.Equal(t, counts(0, 0), counts(pass(7439*time.Second)))
	_, ok := p.Host(addr("10.0.0.2"))
	require.True(t, ok)
	_, ok = p.Addr(host("2001:db8::4"))
	require.True(t, ok)
	require.Equal(t, counts(0, 0), counts(pass(7439*time.Second)))
	told()

	// 7440 s after the last packet, not one earlier.
	require.Equal(t, "10.0.0.3", assign(p, "2001:db8::4"))
	require.Equal(t, counts(1, 0), counts(pass(time.Second)))
	told("dormant 10.0.0.2 2001:db8::3")
	_, ok = p.Host(addr("10.0.0.2"))
	require.False(t, ok, "a dormant lease leads nowhere")
	_, ok = p.Addr(host("2001:db8::3"))
	require.False(t, ok, "a dormant lease is not held")

	// The host comes back, though a newcomer has been there meanwhile.
	require.Equal(t, "10.0.0.1", assign(p, "2001:db8::99"))
	require.Equal(t, "10.0.0.2", assign(p, "2001:db8::3"))
	told("assigned 10.0.0.1 2001:db8::99", "reactivated 10.0.0.2 2001:db8::3")
	require.Equal(t, "denied", assign(p, "2001:db8::a"))

	// Forgotten 14 days after the last packet.
	require.Equal(t, counts(3, 0), counts(pass(7440*time.Second)))
	events = nil
	require.Equal(t, counts(0, 0), counts(pass(DefaultRetention-7442*time.Second)))
	require.Equal(t, counts(0, 1), counts(pass(time.Second)), "::4 was last seen a second before the others")
	require.Equal(t, counts(0, 2), counts(pass(time.Second)))
	require.Len(t, events, 3)
	require.Contains(t, events, "forgotten 10.0.0.2 2001:db8::3")
	require.Equal(t, Stats{Size: 3, Denied: 1}, p.Stats())
	require.Equal(t, "10.0.0.2", assign(p, "2001:db8::3"), "free again")
}

func TestLeastRecentlyUsedIsTakenOver(t *testing.T) {
	var last Event
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/30"), OnEvent: func(e Event) { last = e }})
	now := start
	for i, h := range []string{"2001:db8::1", "2001:db8::2", "2001:db8::3"} {
		p.Tick(now.Add(time.Duration(i) * time.Second))
		require.NotEqual(t, "denied", assign(p, h))
	}
	p.Tick(now.Add(10 * time.Second))
	first := assign(p, "2001:db8::1") // so ::2 is the oldest
	now = now.Add(3 * time.Hour)
	p.Expire(now)

	a, ok := p.Assign(host("2001:db8::9"))
	require.True(t, ok)
	require.Equal(t, Event{Reassigned, netip.MustParseAddr("2001:db8::9"), netip.AddrFrom4(a), netip.MustParseAddr("2001:db8::2")}, last)
	h, ok := p.Host(a)
	require.True(t, ok)
	require.Equal(t, host("2001:db8::9"), h)

	require.Equal(t, first, assign(p, "2001:db8::1"))
	require.Equal(t, Reactivated, last.Kind)

	// ::2 lost its address, so it takes ::3's, the only dormant one.
	require.NotEqual(t, "denied", assign(p, "2001:db8::2"))
	require.Equal(t, Reassigned, last.Kind)
	require.Equal(t, "denied", assign(p, "2001:db8::3"))
}

func TestQuota(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/24"), MaxPerPrefix: Quota{Len: 64, Leases: 2}})
	one := assign(p, "2001:db8:0:1::1")
	require.NotEqual(t, "denied", one)
	require.NotEqual(t, "denied", assign(p, "2001:db8:0:1::2"))
	require.Equal(t, "denied", assign(p, "2001:db8:0:1::3"))
	require.NotEqual(t, "denied", assign(p, "2001:db8:0:2::3"), "another /64")
	require.Equal(t, one, assign(p, "2001:db8:0:1::1"), "what is held stays")

	p.Expire(start.Add(3 * time.Hour))
	require.Empty(t, p.perNet, "no memory for prefixes that hold nothing")
	require.NotEqual(t, "denied", assign(p, "2001:db8:0:1::3"), "dormant leases do not count")
	require.Equal(t, one, assign(p, "2001:db8:0:1::1"))
	require.Equal(t, "denied", assign(p, "2001:db8:0:1::2"), "nor can they be woken beyond the quota")
	require.Equal(t, Stats{Size: 255, Held: 2, Dormant: 2, Denied: 2}, p.Stats())

	require.Equal(t, 1, p.Remove(func(l Lease) bool { return l.Host == netip.MustParseAddr("2001:db8:0:1::3") }))
	require.NotEqual(t, "denied", assign(p, "2001:db8:0:1::2"))
}

// TestQuotaOfAnyLength: the shortest and the longest prefix that a quota can have. With a
// length of 1, all of 2000::/3 is one client.
func TestQuotaOfAnyLength(t *testing.T) {
	for _, c := range []struct {
		length         int
		first          string
		same, another  string // same: in the prefix of first
		sameIsTheFirst bool
	}{
		{1, "2001:db8::1", "3fff::1", "fd00::1", false},
		{2, "2001:db8::1", "3fff::1", "4000::1", false},
		{127, "2001:db8::", "2001:db8::1", "2001:db8::2", false},
		{128, "2001:db8::1", "2001:db8::1", "2001:db8::2", true},
	} {
		p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/24"), MaxPerPrefix: Quota{Len: c.length, Leases: 1}})
		first := assign(p, c.first)
		require.NotEqual(t, "denied", first, c.length)
		if c.sameIsTheFirst {
			require.Equal(t, first, assign(p, c.same), c.length)
		} else {
			require.Equal(t, "denied", assign(p, c.same), c.length)
		}
		require.NotEqual(t, "denied", assign(p, c.another), c.length)
	}
	for _, q := range []Quota{{-1, 1}, {0, 1}, {129, 1}, {1, 0}, {1, -1}} {
		_, err := New(Config{Prefixes: prefixes("10.0.0.0/24"), MaxPerPrefix: q}, start)
		require.Error(t, err, q)
	}
}

func TestClients(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/24"), Clients: prefixes("2001:db8:1::/48", "fd00::/8")})
	require.NotEqual(t, "denied", assign(p, "2001:db8:1::1"))
	require.NotEqual(t, "denied", assign(p, "fd00:1::1"))
	require.Equal(t, "denied", assign(p, "2001:db8:2::1"))
}

// TestReserveHostBits: bits after the length of a reservation say nothing.
// Fuzzing found that 10.0.0.5/30 reserved .5 to .8, and at the end of a pool
// there was a panic.
func TestReserveHostBits(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/25"), Reserved: prefixes("10.0.0.127/26")})
	require.Equal(t, 63, p.Stats().Size)
	_, err := p.Reserve(prefixes("10.0.0.5/30"))
	require.NoError(t, err)
	require.Equal(t, 127-4, p.Stats().Size)
	_, err = p.Reserve(prefixes("10.0.0.4/30"))
	require.NoError(t, err)
	require.Zero(t, p.room.Load()-int64(127-4), "the same addresses")
}

func TestReserve(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/29"), Reserved: prefixes("10.0.0.0/8", "10.0.0.6/32")})
	require.Equal(t, 6, p.Stats().Size, "a shorter prefix than the pool's reserves nothing")
	got := map[string]string{}
	for i := range 7 {
		h := fmt.Sprintf("2001:db8::%x", i)
		got[h] = assign(p, h)
	}
	require.NotContains(t, got, "10.0.0.6")
	require.Equal(t, Stats{Size: 6, Held: 6, Denied: 1}, p.Stats())

	// 1 to 3 become reserved, 6 is given back; 4, 5 and 7 stay as they are.
	ended, err := p.Reserve(prefixes("10.0.0.0/30"))
	require.NoError(t, err)
	require.Equal(t, 3, ended)
	require.Equal(t, Stats{Size: 4, Held: 3, Denied: 1}, p.Stats())
	again := 0
	for h, a := range got {
		switch b := assign(p, h); a {
		case "10.0.0.4", "10.0.0.5", "10.0.0.7":
			require.Equal(t, a, b)
		default:
			require.Contains(t, []string{"10.0.0.6", "denied"}, b)
			if b != "denied" {
				again++
			}
		}
	}
	require.Equal(t, 1, again)

	// A dormant lease, too.
	p.Expire(start.Add(3 * time.Hour))
	ended, err = p.Reserve(prefixes("10.0.0.0/29"))
	require.NoError(t, err)
	require.Equal(t, 4, ended)
	require.Equal(t, "denied", assign(p, "2001:db8::1"))
	require.Equal(t, 0, p.Stats().Size)

	_, err = p.Reserve([]netip.Prefix{{}})
	require.Error(t, err)
	_, err = p.Reserve(nil)
	require.NoError(t, err)
	require.Equal(t, 7, p.Stats().Size)
}

func TestHostOutsideThePool(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/24", "10.1.0.0/16")})
	for _, a := range []string{"0.0.0.0", "9.255.255.255", "10.0.1.0", "10.2.0.0", "255.255.255.255", "10.1.7.7", "10.0.0.0"} {
		_, ok := p.Host(addr(a))
		require.False(t, ok, a)
	}
}

// TestClock is about the caller's clock being set: what counts is elapsed time.
func TestClock(t *testing.T) {
	used := func(p *Pool) time.Time {
		for l := range p.All() {
			return l.Used
		}
		return time.Time{}
	}
	t.Run("back", func(t *testing.T) {
		p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/24")})
		assign(p, "2001:db8::1")
		back := start.Add(-50 * 365 * 24 * time.Hour)
		p.Expire(back)
		require.True(t, back.Equal(used(p)), "the age stays")
		dormant, _ := p.Expire(back.Add(7439 * time.Second))
		require.Zero(t, dormant)
		dormant, _ = p.Expire(back.Add(7440 * time.Second))
		require.Equal(t, 1, dormant)
	})
	t.Run("forward-with-monotonic-reading", func(t *testing.T) {
		now := time.Now()
		p, err := New(Config{Prefixes: prefixes("10.0.0.0/24")}, now)
		require.NoError(t, err)
		assign(p, "2001:db8::1")
		later := now.Add(100 * time.Second) // adds to both readings
		p.Expire(later)
		require.Equal(t, later.Unix()-100, used(p).Unix())
	})
	t.Run("stepped-by-days-while-it-runs", func(t *testing.T) {
		now := time.Now()
		for _, step := range []time.Duration{-10 * 24 * time.Hour, 10 * 24 * time.Hour, -50 * 365 * 24 * time.Hour} {
			p, err := New(Config{Prefixes: prefixes("10.0.0.0/24")}, now)
			require.NoError(t, err)
			a := assign(p, "2001:db8::1")
			later := stepped(t, now.Add(100*time.Second), step)
			dormant, forgotten := p.Expire(later)
			require.Equal(t, [2]int{0, 0}, [2]int{dormant, forgotten})
			require.Equal(t, later.Unix()-100, used(p).Unix(), "by the clock as it is now")
			require.Equal(t, a, assign(p, "2001:db8::1"))
		}
	})
	t.Run("parts-of-a-second-add-up", func(t *testing.T) {
		p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/24"), LeaseTime: 2 * time.Second})
		assign(p, "2001:db8::1")
		for i := 1; i <= 4; i++ {
			dormant, _ := p.Expire(start.Add(time.Duration(i) * 600 * time.Millisecond))
			require.Equal(t, i == 4, dormant == 1, i)
		}
	})
	t.Run("whole-seconds-are-the-wall-clocks", func(t *testing.T) {
		at := start.Add(900 * time.Millisecond)
		p, err := New(Config{Prefixes: prefixes("10.0.0.0/24")}, at)
		require.NoError(t, err)
		p.Tick(at.Add(200 * time.Millisecond))
		assign(p, "2001:db8::1")
		p.Tick(at.Add(5 * time.Second))
		require.Equal(t, start.Unix()+1, used(p).Unix())
	})
}

// stepped is what time.Now returns at a moment if the wall clock was set
// meanwhile: the monotonic reading goes on. Package time makes no such Time but
// from the system's clocks.
func stepped(t *testing.T, now time.Time, by time.Duration) time.Time {
	after := now
	*(*uint64)(unsafe.Pointer(&after)) += uint64(by/time.Second) << 30 // whole seconds of the wall clock
	require.Zero(t, after.Sub(now), "package time has changed")
	require.Equal(t, by, after.Round(0).Sub(now.Round(0)), "package time has changed")
	return after
}

func TestNewRefuses(t *testing.T) {
	ok := prefixes("10.0.0.0/24")
	tests := []struct {
		name string
		c    Config
		want string
	}{
		{"no-prefix", Config{}, "pool: no prefix"},
		{"single-address", Config{Prefixes: prefixes("10.0.0.0/32")}, "pool: prefix 10.0.0.0/32: length must be 4 to 31"},
		{"too-short", Config{Prefixes: prefixes("0.0.0.0/3")}, "pool: prefix 0.0.0.0/3: length must be 4 to 31"},
		{"host-bits", Config{Prefixes: prefixes("10.0.0.1/24")}, "pool: prefix 10.0.0.1/24: has host bits set (10.0.0.0/24?)"},
		{"ipv6", Config{Prefixes: prefixes("2001:db8::/120")}, "pool: prefix 2001:db8::/120: not an IPv4 prefix"},
		{"zero-prefix", Config{Prefixes: make([]netip.Prefix, 1)}, "pool: prefix invalid Prefix: not an IPv4 prefix"},
		{"overlap", Config{Prefixes: prefixes("10.0.0.0/24", "10.0.0.128/25")}, "pool: prefix 10.0.0.128/25 overlaps 10.0.0.0/24"},
		{"reserved-ipv6", Config{Prefixes: ok, Reserved: prefixes("2001:db8::1/128")}, "pool: reserved 2001:db8::1/128: not an IPv4 prefix"},
		{"client-ipv4", Config{Prefixes: ok, Clients: prefixes("10.0.0.0/8")}, "pool: clients 10.0.0.0/8: not an IPv6 prefix"},
		{"lease-time-too-short", Config{Prefixes: ok, LeaseTime: time.Millisecond}, "pool: lease time 1ms: want whole seconds, at most 10 years"},
		{"lease-time-negative", Config{Prefixes: ok, LeaseTime: -time.Second}, "pool: lease time -1s: want whole seconds, at most 10 years"},
		{"retention-shorter-than-lease-time", Config{Prefixes: ok, LeaseTime: time.Hour, Retention: time.Minute}, "pool: retention 1m0s is shorter than the lease time 1h0m0s"},
		{"quota-of-none", Config{Prefixes: ok, MaxPerPrefix: Quota{Len: 64}}, "pool: at most 0 leases per /64: want at least 1, and a length of 1 to 128"},
		{"quota-length", Config{Prefixes: ok, MaxPerPrefix: Quota{Len: 129, Leases: 1}}, "pool: at most 1 leases per /129: want at least 1, and a length of 1 to 128"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.c, start)
			require.EqualError(t, err, tt.want)
		})
	}
}

func TestChanges(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/31")})
	n := p.Changes()
	step := func(what string, want bool) {
		t.Helper()
		require.Equal(t, want, p.Changes() != n, what)
		n = p.Changes()
	}
	assign(p, "2001:db8::1")
	step("assigned", true)
	assign(p, "2001:db8::1")
	assign(p, "2001:db8::2")
	step("used, denied", false)
	p.Expire(start.Add(3 * time.Hour))
	step("dormant", false)
	assign(p, "2001:db8::1")
	step("reactivated", false)
	p.Expire(start.Add(6 * time.Hour))
	assign(p, "2001:db8::2")
	step("reassigned", true)
	p.Remove(func(Lease) bool { return true })
	step("removed", true)
}

func TestHitsDoNotAllocate(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/16"), MaxPerPrefix: Quota{64, 10}})
	h := host("2001:db8::1")
	a, ok := p.Assign(h)
	require.True(t, ok)
	dormant := host("2001:db8::2")
	old, _ := p.Assign(dormant)
	now := start.Add(3 * time.Hour)
	p.Tick(now)
	p.Assign(h)
	p.Expire(now)
	for name, f := range map[string]func(){
		"assign":       func() { p.Assign(h) },
		"addr":         func() { p.Addr(h) },
		"host":         func() { p.Host(a) },
		"addr-dormant": func() { p.Addr(dormant) },
		"host-dormant": func() { p.Host(old) },
		"host-free":    func() { p.Host([4]byte{10, 0, 200, 200}) },
		"host-foreign": func() { p.Host([4]byte{192, 0, 2, 1}) },
		"tick":         func() { now = now.Add(time.Second); p.Tick(now); p.Assign(h) },
	} {
		require.Zero(t, testing.AllocsPerRun(1000, f), name)
	}
}

// TestSpoofedSources sends a million sources at a small pool: what it keeps of
// them is bounded by its addresses, and denying is fast.
func TestSpoofedSources(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/24")})
	now := start
	var h [16]byte
	sources := 1_000_000
	if raceDetector {
		sources = 100_000
	}
	for i := range sources {
		h[0] = 0x20
		binary.BigEndian.PutUint64(h[8:], uint64(i))
		p.Assign(h)
		if i%1000 == 0 { // take-over after take-over, too
			now = now.Add(2 * time.Hour)
			p.Expire(now)
		}
	}
	slots, dormant := 0, p.dormant.Len()
	for i := range p.tables {
		slots += len(p.tables[i].Load().slots)
	}
	require.LessOrEqual(t, slots, 2048)
	require.LessOrEqual(t, dormant, 255)
	s := p.Stats()
	require.Equal(t, 255, s.Size)
	require.Equal(t, 255, s.Held+s.Dormant)
}

// TestPacketPathTakesNoLock does with the writer's lock held what must not need
// it; a call that wants it would never return.
func TestPacketPathTakesNoLock(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/31"), Clients: prefixes("2001:db8::/32")})
	h := host("2001:db8::1")
	a, ok := p.Assign(h)
	require.True(t, ok)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.upkeep.Lock()
	defer p.upkeep.Unlock()
	p.Tick(start.Add(time.Second))
	got, ok := p.Assign(h)
	require.True(t, ok)
	require.Equal(t, a, got)
	_, ok = p.Host(a)
	require.True(t, ok)
	_, ok = p.Assign(host("2001:db8::2"))
	require.False(t, ok, "exhausted")
	_, ok = p.Assign(host("2001:db9::2"))
	require.False(t, ok, "not a client")
}

// TestExclude: what a translator keeps from being leased is apart from what the
// caller reserves; each can be taken back without the other.
func TestExclude(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("198.18.0.0/29"), Reserved: prefixes("198.18.0.1/32")})
	size := func() int { return p.Stats().Size }
	require.Equal(t, 6, size())
	a, _ := p.Assign(host("2001:db8::1"))
	ended, err := p.Exclude([]netip.Prefix{netip.PrefixFrom(netip.AddrFrom4(a), 32), netip.MustParsePrefix("198.18.0.1/32")})
	require.NoError(t, err)
	require.Equal(t, 1, ended)
	require.Equal(t, 5, size())
	_, err = p.Reserve(prefixes("198.18.0.6/31"))
	require.NoError(t, err)
	for h := range byte(8) {
		got, ok := p.Assign([16]byte{0x20, 1, 15: h})
		require.False(t, ok && (got == a || got[3] == 1 || got[3] >= 6), got)
	}
	_, err = p.Exclude(nil)
	require.NoError(t, err)
	require.Equal(t, 5, size(), "all but the lowest and the two reserved")
	_, err = p.Exclude(prefixes("2001:db8::/32"))
	require.Error(t, err)
}

// TestGeneration: it changes when an address ceases to lead to its host, and for
// nothing else.
func TestGeneration(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("198.18.0.0/30"), LeaseTime: 10 * time.Second, Retention: 100 * time.Second})
	changes := func(what string, want bool, f func()) {
		t.Helper()
		before := p.Generation()
		f()
		require.Equal(t, want, p.Generation() != before, what)
	}
	var a [4]byte
	changes("a new lease", false, func() { a, _ = p.Assign(host("2001:db8::1")) })
	changes("use", false, func() { p.Assign(host("2001:db8::1")); p.Host(a); p.Touch(host("2001:db8::1"), 0) })
	changes("upkeep with the lease in use", false, func() { p.Expire(start.Add(9 * time.Second)) })
	changes("dormant", true, func() { p.Expire(start.Add(20 * time.Second)) })
	changes("reactivated", false, func() { p.Assign(host("2001:db8::1")) })
	changes("removed", true, func() { p.Remove(func(Lease) bool { return true }) })
	p.Assign(host("2001:db8::1"))
	changes("reserved", true, func() { p.Reserve(prefixes("198.18.0.0/30")) })
	changes("free again", false, func() { p.Reserve(nil) })
}

// TestTouch: a lease that is used elsewhere stays held for as long as that is
// reported, and an old report shortens nothing.
func TestTouch(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("198.18.0.0/24"), LeaseTime: 10 * time.Second, Retention: 100 * time.Second})
	h := host("2001:db8::1")
	require.False(t, p.Touch(h, 0), "a host without a lease")
	p.Assign(h)
	p.Expire(start.Add(9 * time.Second))
	require.True(t, p.Touch(h, 2*time.Second)) // used at 7 s
	require.True(t, p.Touch(h, time.Hour))
	require.True(t, p.Touch(h, 1<<62))
	p.Expire(start.Add(16 * time.Second))
	require.True(t, p.Touch(h, -time.Second)) // the future is now: 16 s
	p.Expire(start.Add(25 * time.Second))
	require.Equal(t, 1, p.Stats().Held)
	p.Expire(start.Add(26 * time.Second))
	require.Equal(t, 0, p.Stats().Held)
	require.False(t, p.Touch(h, 0), "a dormant lease")
	require.Equal(t, 1, p.Stats().Dormant)
	require.Zero(t, testing.AllocsPerRun(100, func() { p.Touch(h, 0) }))
}

// TestReassignedNamesOldHost: a program that mirrors the leases needs to know where an
// address came from.
func TestReassignedNamesOldHost(t *testing.T) {
	var last Event
	p := newPool(t, Config{Prefixes: prefixes("198.18.0.0/31"), LeaseTime: 10 * time.Second, OnEvent: func(e Event) { last = e }})
	a, _ := p.Assign(host("2001:db8::1"))
	p.Expire(start.Add(time.Minute))
	p.Assign(host("2001:db8::2"))
	require.Equal(t, Event{Reassigned, netip.MustParseAddr("2001:db8::2"), netip.AddrFrom4(a), netip.MustParseAddr("2001:db8::1")}, last)
}

// TestUseNeverGoesBack has a worker that read the clock before it was preempted
// meet one that read it later.
func TestUseNeverGoesBack(t *testing.T) {
	var e entry
	e.word.Store(word(held, 100))
	require.Equal(t, uint64(held), e.touch(99))
	require.Equal(t, word(held, 100), e.word.Load())
	require.Equal(t, uint64(held), e.touch(101))
	require.Equal(t, word(held, 101), e.word.Load())
	require.False(t, e.rest(100))
	require.True(t, e.rest(101))
	require.Equal(t, uint64(dormant), e.touch(102))
	require.Equal(t, word(dormant, 101), e.word.Load())
}
