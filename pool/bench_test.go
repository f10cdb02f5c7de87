package pool

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// filled returns a pool with n leases, and their hosts and addresses in random
// order: a program that visits them finds no neighbour in the cache.
func filled(b testing.TB, prefix string, n int) (p *Pool, hosts [][16]byte, addrs [][4]byte) {
	b.Helper()
	p, err := New(Config{Prefixes: []netip.Prefix{netip.MustParsePrefix(prefix)}}, start)
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	hosts, addrs = make([][16]byte, n), make([][4]byte, n)
	for i := range hosts {
		binary.BigEndian.PutUint64(hosts[i][:], 0x20010db8_00000000+uint64(r.IntN(1000)))
		binary.BigEndian.PutUint64(hosts[i][8:], r.Uint64())
		a, ok := p.Assign(hosts[i])
		if !ok {
			b.Fatal("no address left")
		}
		addrs[i] = a
	}
	r.Shuffle(n, func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	r.Shuffle(n, func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	return p, hosts, addrs
}

// BenchmarkPool measures hits. order=random visits all hosts, in an order that
// no cache foresees; order=same asks for one of them again and again.
func BenchmarkPool(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000, 1_000_000} {
		p, hosts, addrs := filled(b, "10.0.0.0/8", n)
		for _, order := range []string{"random", "same"} {
			m := n
			if order == "same" {
				m = 1
			}
			b.Run(fmt.Sprintf("op=assign/order=%s/hosts=%d", order, n), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if i == m {
						i = 0
					}
					if _, ok := p.Assign(hosts[i]); !ok {
						b.Fatal("miss")
					}
				}
			})
			b.Run(fmt.Sprintf("op=host/order=%s/hosts=%d", order, n), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if i == m {
						i = 0
					}
					if _, ok := p.Host(addrs[i]); !ok {
						b.Fatal("miss")
					}
				}
			})
		}
	}
}

// BenchmarkPoolParallel is BenchmarkPool for all cores at once, with a clock
// that ticks.
func BenchmarkPoolParallel(b *testing.B) {
	for _, n := range []int{10, 1_000_000} {
		p, hosts, _ := filled(b, "10.0.0.0/8", n)
		b.Run(fmt.Sprintf("op=assign/hosts=%d", n), func(b *testing.B) {
			var worker, stop atomic.Int64
			go func() {
				for now := start; stop.Load() == 0; now = now.Add(time.Second) {
					p.Tick(now)
					time.Sleep(10 * time.Millisecond) // a hundred times too often
				}
			}()
			b.RunParallel(func(pb *testing.PB) {
				i := int(worker.Add(1)) * n / 3 % n
				for pb.Next() {
					if _, ok := p.Assign(hosts[i]); !ok {
						b.Error("miss")
						return
					}
					if i++; i == n {
						i = 0
					}
				}
			})
			stop.Store(1)
		})
	}
}

// BenchmarkPoolMiss measures what a newcomer costs.
func BenchmarkPoolMiss(b *testing.B) {
	b.Run("answer=assign", func(b *testing.B) {
		p, _, _ := filled(b, "10.0.0.0/8", 0)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if i == 1<<23 {
				b.StopTimer()
				p, _, _ = filled(b, "10.0.0.0/8", 0)
				i = 0
				b.StartTimer()
			}
			p.Assign(testHost(i))
		}
	})
	b.Run("answer=deny", func(b *testing.B) {
		p, _, _ := filled(b, "10.0.0.0/16", 1<<16-1)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			p.Assign(testHost(i))
		}
	})
	b.Run("answer=free-address", func(b *testing.B) {
		p, _, _ := filled(b, "10.0.0.0/16", 1)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			p.Host([4]byte{10, 0, byte(i >> 8), byte(i)})
		}
	})
}

// BenchmarkExpire measures an upkeep pass that finds nothing to do.
func BenchmarkExpire(b *testing.B) {
	for _, n := range []int{1000, 1_000_000} {
		p, _, _ := filled(b, "10.0.0.0/8", n)
		b.Run(fmt.Sprintf("hosts=%d", n), func(b *testing.B) {
			for b.Loop() {
				p.Expire(start)
			}
		})
	}
}

// heap returns the bytes that live objects take.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestMemory says what a lease costs where there are a million, and holds it to
// its bound.
func TestMemory(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("makes a million leases: not with -short, and under the race detector it would measure that")
	}
	const n = 1_000_000
	before := heap()
	p, hosts, addrs := filled(t, "10.0.0.0/12", n)
	before += uint64(len(hosts)*16 + len(addrs)*4)
	h := (heap() - before) / n
	p.Expire(start.Add(3 * time.Hour))
	d := (heap() - before) / n
	t.Logf("%d bytes a held lease, %d a dormant one", h, d)
	if h > 100 || d > 200 {
		t.Errorf("more than 100 and 200 bytes")
	}
	runtime.KeepAlive(hosts)
	runtime.KeepAlive(addrs)
	runtime.KeepAlive(p)
}

// TestEmptyPoolIsSmall makes the largest pool of practice: it pays for leases,
// not for addresses.
func TestEmptyPoolIsSmall(t *testing.T) {
	before := heap()
	p, _, _ := filled(t, "10.0.0.0/8", 0)
	if size := int64(heap() - before); size > 6<<20 {
		t.Errorf("%d bytes for a /8 without leases", size)
	}
	runtime.KeepAlive(p)
}
