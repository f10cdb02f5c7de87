package pool

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// testHost returns the i-th of many hosts, spread over networks.
func testHost(i int) (h [16]byte) {
	binary.BigEndian.PutUint64(h[:], 0x20010db8_00000000|uint64(i%7))
	binary.BigEndian.PutUint64(h[8:], uint64(i)*0x9e3779b97f4a7c15)
	return h
}

// TestReadersWhileWriting looks up hosts that hold their addresses all the time
// while others come and go, tables are replaced, addresses are reserved and
// upkeep runs. The held ones must be found by each lookup in either direction,
// and no reader may see a mixture of two leases.
func TestReadersWhileWriting(t *testing.T) {
	const stable, others = 200, 6000
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/22", "10.0.8.0/22"), LeaseTime: 5 * time.Second, Retention: 20 * time.Second})
	kinds := map[EventKind]int{}
	p.onEvent = func(e Event) { kinds[e.Kind]++ }
	var addrs [stable][4]byte
	for i := range addrs {
		a, ok := p.Assign(testHost(i))
		require.True(t, ok)
		addrs[i] = a
	}
	ownerOf := make(map[[16]byte]bool)
	for i := range stable + others + 1 {
		ownerOf[testHost(i)] = true
	}

	var stop atomic.Bool
	var wg sync.WaitGroup
	reader := func(seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		for !stop.Load() {
			for i, want := range addrs { // each within a few ticks: none may expire
				h := testHost(i)
				var got [4]byte
				var ok bool
				if r.IntN(2) == 0 {
					got, ok = p.Addr(h)
				} else {
					got, ok = p.Assign(h)
				}
				if !ok || got != want {
					t.Errorf("host %d: %v %v, want %v", i, got, ok, want)
					return
				}
				if owner, ok := p.Host(want); !ok || owner != h {
					t.Errorf("address %v: %x %v, want %x", want, owner, ok, h)
					return
				}
				a := [4]byte{10, 0, 1, byte(r.IntN(256))} // not all: it keeps them from expiring
				if owner, ok := p.Host(a); ok && !ownerOf[owner] {
					t.Errorf("address %v: %x belongs to no host", a, owner)
					return
				}
			}
		}
	}
	churn := func(seed uint64) {
		r := rand.New(rand.NewPCG(seed, 2))
		for !stop.Load() {
			// A crowd that moves on: who leaves it becomes dormant, and is
			// forgotten or has to make room for others. Then a pause.
			tick := int(p.now.Load() - epoch)
			if tick%80 > 50 {
				time.Sleep(time.Millisecond)
				continue
			}
			i := tick*50 + r.IntN(600)
			p.Assign(testHost(stable + i%others))
		}
	}
	for i := range uint64(2) {
		wg.Go(func() { reader(i) })
		wg.Go(func() { churn(i) })
	}
	wg.Go(func() {
		for !stop.Load() {
			for range p.All() {
			}
			p.Stats()
		}
	})

	// Time passes only when all stable leases were used in it.
	now := start
	for tick := range 100 {
		now = now.Add(time.Second)
		p.Tick(now)
		if tick%8 == 0 {
			p.Assign(testHost(stable + others)) // a host that comes back when it is dormant
		}
		for i := range addrs {
			p.Addr(testHost(i))
		}
		p.Expire(now)
		// Stable hosts came first, so they are all in the first prefix.
		r := []string{"10.0.8.0/24", "10.0.9.0/25", "10.0.10.0/23"}[now.Unix()%3]
		if _, err := p.Reserve(prefixes(r)); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			break
		}
		time.Sleep(time.Millisecond)
	}
	stop.Store(true)
	wg.Wait()
	check(t, p)
	for k := Assigned; k <= Removed; k++ {
		if k != Loaded {
			require.NotZero(t, kinds[k], "%v never happened: the test is not doing its work", k)
		}
	}
}

// TestUseIsNotLost marks leases as used while the table under them is being
// replaced: each mark must survive.
func TestUseIsNotLost(t *testing.T) {
	const hosts = 2000 // in one shard: the more, the longer a replacement takes
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/20")})
	for i := range hosts {
		p.Assign(testHost(i))
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for now := start; !stop.Load(); now = now.Add(time.Second) {
			p.Tick(now)
		}
	})
	wg.Go(func() {
		for !stop.Load() {
			p.mu.Lock()
			p.replace(0)
			p.mu.Unlock()
		}
	})
	var marked [hosts]uint32
	for range 30 {
		for i := range marked { // long enough to meet every stage of a replacement
			h := testHost(i)
			marked[i] = p.now.Load()
			a, ok := p.Addr(h)
			if ok && i%2 == 0 {
				marked[i] = p.now.Load()
				_, ok = p.Host(a)
			}
			require.True(t, ok)
		}
		p.mu.Lock()
		for i := range marked {
			h := testHost(i)
			require.GreaterOrEqual(t, uint32(p.find(&h).word.Load()), marked[i])
		}
		p.mu.Unlock()
	}
	stop.Store(true)
	wg.Wait()
	check(t, p)
}

// TestUseOfTheOldTable is one of the moments that TestUseIsNotLost may meet: a
// packet that found its lease in the old table marks it after it was copied.
func TestUseOfTheOldTable(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/24")})
	h := testHost(1)
	p.Assign(h)
	old, e := p.tables[0].Load(), p.find(&h)
	p.renew(0)
	p.Tick(start.Add(time.Second))
	require.Equal(t, uint64(held), e.touch(p.now.Load()))
	p.closeTable(old)
	require.Equal(t, uint64(moved), e.touch(p.now.Load()), "look again")
	require.Equal(t, word(held, epoch+1), p.find(&h).word.Load())
	check(t, p)
}

// TestAssignRace has several workers meet the same new host at once: all get
// the same address, and one lease begins.
func TestAssignRace(t *testing.T) {
	p := newPool(t, Config{Prefixes: prefixes("10.0.0.0/16")})
	for i := range 2000 {
		var got [4][4]byte
		var wg sync.WaitGroup
		for k := range got {
			wg.Go(func() { got[k], _ = p.Assign(testHost(i)) })
		}
		wg.Wait()
		for _, a := range got {
			require.Equal(t, got[0], a)
		}
	}
	require.Equal(t, uint64(2000), p.Changes())
}
