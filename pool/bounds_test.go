package pool

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestConfigBounds: the last value that each number of a Config may have, and the first
// that it may not.
func TestConfigBounds(t *testing.T) {
	ok := prefixes("10.0.0.0/24")
	for name, c := range map[string]struct{ good, bad Config }{
		"prefix-long":     {Config{Prefixes: prefixes("10.0.0.0/31")}, Config{Prefixes: prefixes("10.0.0.0/32")}},
		"prefix-short":    {Config{Prefixes: prefixes("96.0.0.0/4")}, Config{Prefixes: prefixes("96.0.0.0/3")}},
		"lease-time":      {Config{Prefixes: ok, LeaseTime: time.Second}, Config{Prefixes: ok, LeaseTime: time.Second - 1}},
		"whole-seconds":   {Config{Prefixes: ok, LeaseTime: 2 * time.Second}, Config{Prefixes: ok, LeaseTime: 2*time.Second + 1}},
		"longest":         {Config{Prefixes: ok, Retention: longest}, Config{Prefixes: ok, Retention: longest + time.Second}},
		"lease-retention": {Config{Prefixes: ok, LeaseTime: 9 * time.Second, Retention: 9 * time.Second}, Config{Prefixes: ok, LeaseTime: 10 * time.Second, Retention: 9 * time.Second}},
		"refresh":         {Config{Prefixes: ok, Refresh: RefreshOutbound}, Config{Prefixes: ok, Refresh: RefreshOutbound + 1}},
		"quota-short":     {Config{Prefixes: ok, MaxPerPrefix: Quota{1, 1}}, Config{Prefixes: ok, MaxPerPrefix: Quota{0, 1}}},
		"quota-long":      {Config{Prefixes: ok, MaxPerPrefix: Quota{128, 1}}, Config{Prefixes: ok, MaxPerPrefix: Quota{129, 1}}},
		"quota-leases":    {Config{Prefixes: ok, MaxPerPrefix: Quota{64, 1}}, Config{Prefixes: ok, MaxPerPrefix: Quota{64, 0}}},
	} {
		_, err := New(c.good, start)
		assert.NoError(t, err, name)
		_, err = New(c.bad, start)
		assert.Error(t, err, name)
	}
}

// TestReservedBounds: the highest address of a prefix can be reserved, as can all of a
// prefix, and the address after it is none of the pool's.
func TestReservedBounds(t *testing.T) {
	for reserved, size := range map[string]int{
		"10.0.0.0/30": 3, "10.0.0.4/32": 3, "10.0.0.5/32": 2, "10.0.0.7/32": 2, "10.0.0.6/31": 1,
		"10.0.0.4/30": 0, "10.0.0.0/29": 3, "10.0.0.8/32": 3, "10.0.0.3/32": 3,
	} {
		p := newPool(t, Config{Prefixes: prefixes("10.0.0.4/30"), Reserved: prefixes(reserved)})
		assert.Equal(t, size, p.Stats().Size, reserved)
		check(t, p)
	}
}

// TestReserveCountsLeases: the number that Reserve returns is that of leases, not of
// addresses.
func TestReserveCountsLeases(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/24")})
	a := assign(p, "2001:db8::1")
	for _, c := range []struct {
		reserved string
		ended    int
	}{{"10.0.0.0/25", 0}, {a + "/32", 1}, {"10.0.0.0/24", 0}, {"10.0.0.0/32", 0}} {
		ended, err := p.Reserve(prefixes(c.reserved))
		require.NoError(t, err)
		require.Equal(t, c.ended, ended, c.reserved)
		check(t, p)
	}
}

// TestChangesByOne: each lease that begins or ends counts once.
func TestChangesByOne(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/30"), LeaseTime: time.Second, Retention: 9 * time.Second})
	for i := range 3 {
		assign(p, fmt.Sprint("2001:db8::", i))
	}
	require.EqualValues(t, 3, p.Changes())
	p.Expire(start.Add(2 * time.Second))
	require.EqualValues(t, 3, p.Changes(), "all are dormant")
	assign(p, "2001:db8::9") // takes over an address: one ends, one begins
	require.EqualValues(t, 5, p.Changes())
	p.Expire(start.Add(10 * time.Second))
	require.EqualValues(t, 7, p.Changes(), "two are forgotten")
}

// TestAssignLocked: what assignNew found out before it had the lock may have changed
// since: another goroutine assigned an address to the host, or took the last one.
func TestAssignLocked(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/31")})
	a := assign(p, "2001:db8::1")
	p.mu.Lock()
	defer p.mu.Unlock()
	got, ok := p.assignLocked(host("2001:db8::1"))
	require.True(t, ok)
	require.Equal(t, a, bitsAddr(got).String())
	_, ok = p.assignLocked(host("2001:db8::2"))
	require.False(t, ok)
}

// TestRemoveLooksAgain: an address that went to another host after Remove had looked at
// its lease stays with that host. match stands for another goroutine here.
func TestRemoveLooksAgain(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/31"), LeaseTime: time.Second, Retention: time.Hour})
	assign(p, "2001:db8::1")
	p.Expire(start.Add(2 * time.Second))
	ended := p.Remove(func(l Lease) bool {
		require.Equal(t, "10.0.0.1", assign(p, "2001:db8::2"))
		return true
	})
	require.Zero(t, ended)
	require.Equal(t, "10.0.0.1", assign(p, "2001:db8::2"))
	check(t, p)
}

// TestTickOfANanosecond: no time is lost between ticks, however close they are.
func TestTickOfANanosecond(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/24")})
	p.Tick(start.Add(time.Second - 1))
	require.EqualValues(t, uint32(epoch), p.now.Load())
	p.Tick(start.Add(time.Second))
	require.EqualValues(t, uint32(epoch)+1, p.now.Load())
}

// TestTouchAgo: the time that Touch is told is the time of use, in whole seconds.
func TestTouchAgo(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/24")})
	h := host("2001:db8::1")
	p.Assign(h)
	p.Tick(start.Add(100 * time.Second))
	for _, c := range []struct {
		ago  time.Duration
		used int // seconds after start
	}{{100 * time.Second, 0}, {99*time.Second + 1, 1}, {50 * time.Second, 50}, {2*time.Second - 1, 99}, {time.Second, 99}, {time.Second - 1, 100}} {
		require.True(t, p.Touch(h, c.ago))
		for l := range p.All() {
			require.Equal(t, start.Add(time.Duration(c.used)*time.Second).Unix(), l.Used.Unix(), c.ago)
		}
	}
}

// TestTablesGrow: a table is replaced when it would be more than half full, and not
// before, by the smallest that has room for more; dormant leases move as held ones do.
func TestTablesGrow(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/22"), LeaseTime: time.Second, Retention: time.Hour})
	first := assign(p, "2001:db8:1::1")
	p.Expire(start.Add(2 * time.Second))
	for i := range 500 {
		old, f := p.tables[0].Load(), p.fill[0]
		assign(p, fmt.Sprintf("2001:db8::%x", i))
		want := len(old.slots)
		if 2*(f.filled+1) > want {
			for want = 8; 8*(f.live+1) > 3*want; want *= 2 {
			}
		}
		require.Len(t, p.tables[0].Load().slots, want, "%d leases", f.live)
		require.Equal(t, 2*(f.filled+1) > len(old.slots), p.tables[0].Load() != old)
	}
	check(t, p)
	require.Equal(t, first, assign(p, "2001:db8:1::1"))
}

// TestShards: how many shards a pool of a size has.
func TestShards(t *testing.T) {
	for size, want := range map[uint64]int{
		2: 1, 4095: 1, 4096: 1, 4097: 2, 8191: 2, 8192: 2, 16384: 4, 1 << 19: 128, 1 << 20: 256, 1 << 24: 256, 1 << 28: 256,
	} {
		tables, shift := newTables(size)
		assert.Len(t, tables, want, size)
		assert.Equal(t, uint(64-bits.TrailingZeros(uint(want))), shift, size)
	}
}

// TestSpans: a chunk for each 512 addresses, and one for fewer.
func TestSpans(t *testing.T) {
	for p, want := range map[string]int{"10.0.0.0/31": 1, "10.0.0.0/24": 1, "10.0.0.0/23": 1, "10.0.0.0/22": 2, "10.0.0.0/8": 1 << 15} {
		s := newSpan(netip.MustParsePrefix(p))
		assert.Len(t, s.chunks, want, p)
	}
}

// TestHash: each bit of a host changes its hash, the halves are not exchangeable, and
// the bits of hashes are balanced, whatever the keys. A hash that ignores bits lets a
// host choose the slot of another.
func TestHash(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for range 50 {
		k, h := newHashKeys(), [16]byte{}
		for i := range h {
			h[i] = byte(r.Uint32())
		}
		hash := k.hash(&h)
		for i := range 128 {
			h[i/8] ^= 1 << (i % 8)
			require.NotEqual(t, hash, k.hash(&h), "bit %d", i)
			h[i/8] ^= 1 << (i % 8)
		}
		swapped := [16]byte(append(h[8:16:16], h[:8]...))
		require.NotEqual(t, hash, k.hash(&swapped))
		ones := 0
		for range 1000 {
			h[r.IntN(16)] = byte(r.Uint32())
			ones += bits.OnesCount64(k.hash(&h))
		}
		require.InDelta(t, 32_000, ones, 3000)
	}
}

// TestLineBounds: a line may have 510 bytes before its end, whatever that is, and a
// message about one quotes 80.
func TestLineBounds(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/28")})
	for _, end := range []string{"\n", "\r\n", "", "\n\n"} {
		for n := 505; n <= 520; n++ {
			var said []*LineError
			line := "10.0.0.1 2001:db8::1 7 #" + strings.Repeat("x", n-24) + end
			_, err := p.Load(strings.NewReader(line), func(Lease) error { return nil }, func(e *LineError) { said = append(said, e) })
			require.NoError(t, err)
			long := len(said) == 1 && strings.Contains(said[0].Error(), "longer than 510 bytes")
			require.Equal(t, n > 510, long, "%d bytes and %q: %v", n, end, said)
		}
	}
	for n := 78; n <= 82; n++ {
		_, err := p.Load(strings.NewReader(strings.Repeat("x", n)), nil, func(e *LineError) {
			require.Len(t, e.Text, min(n, 80))
		})
		require.NoError(t, err)
	}
}

// TestLaterLeases: a line that a later one replaces is reported as a lease; of many
// lines those for one host go as those for one address do.
func TestLaterLeases(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/28")})
	var said []string
	n, err := p.Load(strings.NewReader("10.0.0.1 2001:db8::1 7\n10.0.0.1 2001:db8::2 9\n10.0.0.3 2001:db8::2 8\n"), nil, func(e *LineError) {
		require.True(t, e.Lease)
		said = append(said, e.Error())
	})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.ElementsMatch(t, []string{
		"line 1: address has a later lease: \"10.0.0.1\\t2001:db8::1\\t7\"",
		"line 3: host has a later lease: \"10.0.0.3\\t2001:db8::2\\t8\"",
	}, said)

	kept := latest([]record{{host("::1"), 1, 1, 7}, {host("::2"), 1, 2, 9}, {host("::2"), 2, 3, 8}, {host("::3"), 3, 4, 6}}, func(e *LineError) {})
	require.Equal(t, []record{{host("::2"), 1, 2, 9}, {host("::3"), 3, 4, 6}}, kept)
}

// TestTimesOfLines: at most five minutes ahead is now, more is a lease of unknown age.
func TestTimesOfLines(t *testing.T) {
	for ahead, want := range map[int]string{
		-1: "10.0.0.1 1 held", 0: "10.0.0.1 0 held", 1: "10.0.0.1 0 held", 299: "10.0.0.1 0 held", 300: "10.0.0.1 0 held", 301: "10.0.0.1 7440 dormant",
		-7439: "10.0.0.1 7439 held", -7440: "10.0.0.1 7440 dormant",
		-14 * 86400: "10.0.0.1 1209600 dormant", -14*86400 - 1: "10.0.0.1 1209600 dormant",
	} {
		p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/28")})
		_, err := p.Load(strings.NewReader(fmt.Sprintf("10.0.0.1 2001:db8::1 %d\n", start.Unix()+int64(ahead))), nil, nil)
		require.NoError(t, err)
		require.Equal(t, want, state(p, "2001:db8::1"), ahead)
	}
}

// TestLoadBesideDormant: the room of a pool that has dormant leases when it loads more.
func TestLoadBesideDormant(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/28"), LeaseTime: time.Second, Retention: time.Hour})
	assign(p, "2001:db8::1")
	assign(p, "2001:db8::2")
	p.Expire(start.Add(5 * time.Second))
	for i, age := range []int64{3, 0} {
		n, err := p.Load(strings.NewReader(fmt.Sprintf("10.0.0.%d 2001:db8:1::%d %d\n", 12+i, i, start.Unix()+5-age)), nil, nil)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		check(t, p)
	}
}

// TestSaveAt1970: a clock that was not set yet writes the least time that is accepted.
func TestSaveAt1970(t *testing.T) {
	p, err := New(Config{Prefixes: prefixes("10.0.0.0/28")}, time.Unix(0, 0))
	require.NoError(t, err)
	a := assign(p, "2001:db8::1")
	var b strings.Builder
	require.NoError(t, p.Save(&b))
	require.Contains(t, b.String(), a+"\t2001:db8::1\t1\n")
}

// TestSyncErrors: what a directory that cannot be synced says is no error, all else is.
func TestSyncErrors(t *testing.T) {
	require.NoError(t, syncError(nil))
	require.NoError(t, syncError(fmt.Errorf("sync: %w", syscall.EINVAL)))
	require.NoError(t, syncError(syscall.ENOTSUP))
	require.ErrorIs(t, syncError(syscall.EIO), syscall.EIO)
}

// TestSetRangeBounds: ranges that begin and end anywhere around words of a bitmap.
func TestSetRangeBounds(t *testing.T) {
	for lo := uint32(0); lo <= 130; lo++ {
		for hi := lo; hi <= lo+140; hi++ {
			b := newBitmap(512)
			b.setRange(lo, hi)
			for i := range uint32(512) {
				if b.has(i) != (i >= lo && i <= hi) {
					t.Fatalf("%d to %d: %d is %v", lo, hi, i, b.has(i))
				}
			}
			if b.clear != 512-int(hi-lo+1) {
				t.Fatalf("%d to %d: %d are missing", lo, hi, b.clear)
			}
		}
	}
}

// TestSetRangeOverOthers: what is in the set before counts once.
func TestSetRangeOverOthers(t *testing.T) {
	for before := range uint32(256) {
		b := newBitmap(256)
		b.set(before)
		b.setRange(64, 200)
		want := 256 - 137
		if before < 64 || before > 200 {
			want--
		}
		if b.clear != want {
			t.Errorf("with %d: %d are missing, want %d", before, b.clear, want)
		}
		for i := range uint32(256) {
			if b.has(i) != (i == before || i >= 64 && i <= 200) {
				t.Fatalf("with %d: %d is %v", before, i, b.has(i))
			}
		}
	}
}
