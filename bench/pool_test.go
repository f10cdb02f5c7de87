package bench

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/steppe-nat64/steppe/pool"
)

// BenchmarkPool is the cost of finding a lease that is held, by host (op=assign,
// what a packet from IPv6 asks) and by address (op=host, what one from IPv4
// asks). Hosts follow each other at random. packets/s is the number of answers
// that all goroutines get together.
func BenchmarkPool(b *testing.B) {
	for _, n := range counts {
		var x *lookups
		for _, op := range []string{"assign", "host"} {
			for _, goroutines := range []int{1, 2} {
				b.Run(fmt.Sprintf("op=%s/hosts=%d/goroutines=%d", op, n, goroutines), func(b *testing.B) {
					if x == nil {
						x = newLookups(b, n)
					}
					x.measure(b, op, goroutines)
				})
			}
		}
	}
}

// lookups are questions to a pool, in the order in which they are asked: one
// after the other in memory, so that asking costs as little as can be.
type lookups struct {
	pool  *pool.Pool
	v6    [orderLen][16]byte
	v4    [orderLen][4]byte
	wrong atomic.Bool
}

func newLookups(b *testing.B, n int) *lookups {
	p, v4s := leases(b, n)
	x, v6s := &lookups{pool: p}, hosts(n)
	for i, host := range order(n) {
		x.v6[i], x.v4[i] = v6s[host], v4s[host]
	}
	return x
}

func (x *lookups) measure(b *testing.B, op string, goroutines int) {
	ask := x.assign
	if op == "host" {
		ask = x.host
	}
	share := (b.N + goroutines - 1) / goroutines
	b.ReportAllocs()
	b.ResetTimer()
	var all sync.WaitGroup
	for i := 1; i < goroutines; i++ {
		all.Go(func() { ask(orderLen*i/goroutines, share) })
	}
	if goroutines == 1 {
		measureSingle(b, func() { ask(0, share) })
	} else {
		ask(0, share)
	}
	all.Wait()
	b.StopTimer()
	if x.wrong.Load() {
		b.Fatal("a lease was not found")
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
}

func (x *lookups) assign(from, n int) {
	for i := from; i < from+n; i++ {
		if _, ok := x.pool.Assign(x.v6[i%orderLen]); !ok {
			x.wrong.Store(true)
		}
	}
}

func (x *lookups) host(from, n int) {
	for i := from; i < from+n; i++ {
		if _, ok := x.pool.Host(x.v4[i%orderLen]); !ok {
			x.wrong.Store(true)
		}
	}
}
