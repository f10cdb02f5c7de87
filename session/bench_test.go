package session_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// large is a table for n sessions of hosts at 64 addresses.
func large(tb testing.TB, n int) *session.Table {
	tb.Helper()
	t, err := session.New(session.Config{
		Pools:  []session.Pool{{Prefix: netip.MustParsePrefix("198.51.100.0/26")}},
		Limits: session.Limits{Sessions: n, HalfOpen: n, Inbound: n, PerPrefix: n, HalfOpenPerPrefix: n},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// flow is connection number i: of 4096 hosts, each to servers of its own.
func flow(i int) translate.Tuple6 {
	h := uint64(i % 4096)
	return translate.Tuple6{
		Host:     translate.Addr6{Hi: 0x20010db8_00000000 | h>>4, Lo: h&15 + 1},
		HostPort: uint16(1024 + i/4096%60000), Remote: 0xcb007100 | uint32(i%199), RemotePort: 443, Proto: 6,
	}
}

const (
	fin = 1
	syn = 2
	rst = 4
	ack = 16
)

// connect does the three packets of a connection.
func connect(tb testing.TB, t *session.Table, now time.Duration, f *translate.Tuple6) translate.Tuple4 {
	var (
		to   translate.Tuple4
		back translate.Tuple6
	)
	if r := t.Outbound(now, f, syn, &to); r != translate.FlowMapped {
		tb.Fatal(r)
	}
	if r := t.Inbound(now, &to, syn|ack, &back); r != translate.FlowMapped {
		tb.Fatal(r)
	}
	if r := t.Outbound(now, f, ack, &to); r != translate.FlowMapped {
		tb.Fatal(r)
	}
	return to
}

func BenchmarkHit(b *testing.B) {
	for _, n := range []int{1, 1_000_000} {
		b.Run(fmt.Sprintf("sessions=%d", n), func(b *testing.B) { benchmarkHit(b, n) })
	}
}

func benchmarkHit(b *testing.B, n int) {
	t := large(b, n+1)
	flows := make([]translate.Tuple6, n)
	back := make([]translate.Tuple4, n)
	for i := range flows {
		flows[i] = flow(i)
		back[i] = connect(b, t, 0, &flows[i])
	}
	rand.Shuffle(n, func(i, j int) {
		flows[i], flows[j] = flows[j], flows[i]
		back[i], back[j] = back[j], back[i]
	})
	b.Run("dir=6to4", func(b *testing.B) {
		b.ReportAllocs()
		var to4 translate.Tuple4
		i := 0
		for b.Loop() {
			if r := t.Outbound(time.Second, &flows[i], ack, &to4); r != translate.FlowMapped {
				b.Fatal(r)
			}
			if i++; i == n {
				i = 0
			}
		}
	})
	b.Run("dir=4to6", func(b *testing.B) {
		b.ReportAllocs()
		var to6 translate.Tuple6
		i := 0
		for b.Loop() {
			if r := t.Inbound(time.Second, &back[i], ack, &to6); r != translate.FlowMapped {
				b.Fatal(r)
			}
			if i++; i == n {
				i = 0
			}
		}
	})
}

// BenchmarkEstablish makes TCP connections, three packets each.
func BenchmarkEstablish(b *testing.B) {
	const n = 1_000_000
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			var t *session.Table
			var next atomic.Int64
			next.Store(n)
			for b.Loop() {
				b.StopTimer()
				t = large(b, n)
				b.StartTimer()
				next.Store(0)
				var wg sync.WaitGroup
				for range workers {
					wg.Go(func() {
						for {
							i := next.Add(1000)
							if i > n {
								return
							}
							for j := i - 1000; j < i; j++ {
								f := flow(int(j))
								connect(b, t, 0, &f)
							}
						}
					})
				}
				wg.Wait()
			}
			b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "conn/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkExpire ends a million sessions whose time has run out at once.
func BenchmarkExpire(b *testing.B) {
	const n = 1_000_000
	longest := time.Duration(0)
	for b.Loop() {
		b.StopTimer()
		t := large(b, n)
		for i := range n {
			f := flow(i)
			f.Proto = 17
			t.Outbound(0, &f, 0, new(translate.Tuple4))
		}
		runtime.GC()
		b.StartTimer()
		for more := true; more; {
			start := time.Now()
			more = t.Expire(time.Hour)
			longest = max(longest, time.Since(start))
		}
		if s := t.Stats(); s.Sessions != 0 || s.Hosts != 0 {
			b.Fatalf("%+v", s)
		}
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "sessions/s")
	b.ReportMetric(float64(longest.Microseconds()), "µs-longest-call")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkMemory is what a session takes with its binding.
func BenchmarkMemory(b *testing.B) {
	const n = 1_000_000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		t := large(b, n)
		for i := range n {
			f := flow(i)
			connect(b, t, 0, &f)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/session")
		if t.Stats().Sessions != n {
			b.Fatal(t.Stats())
		}
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkJournal is what it takes to keep four million sessions in a file: to write all, to
// find that none has changed, to add those of a minute with 1 of 100 new and as many ended,
// and to read the file.
func BenchmarkJournal(b *testing.B) {
	const n = 4_000_000
	for b.Loop() {
		t := large(b, n+n/100)
		for i := range n {
			f := flow(i)
			f.Proto = 17
			t.Outbound(0, &f, 0, new(translate.Tuple4))
		}
		j := session.NewJournal(t)
		var file bytes.Buffer
		file.Grow(200 << 20)
		at := session.Moment{Wall: time.Unix(1e9, 0)}
		step := func(name string, f func() error) {
			before, start := file.Len(), time.Now()
			if err := f(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(time.Since(start).Seconds(), name+"-s")
			b.ReportMetric(float64(file.Len()-before)/1e6, name+"-MB")
		}
		step("all", func() error { return j.Begin(&file, at) })
		step("none", func() error { _, err := j.Append(&file, at); return err })
		for i := range n / 100 {
			f := flow(n + i)
			f.Proto = 17
			t.Outbound(0, &f, 0, new(translate.Tuple4))
		}
		step("percent", func() error { _, err := j.Append(&file, at); return err })
		step("load", func() error {
			l, err := large(b, n+n/100).Load(bytes.NewReader(file.Bytes()), int64(file.Len()), at)
			if l.Sessions != t.Stats().Sessions {
				b.Fatalf("%+v", l)
			}
			return err
		})
	}
	b.ReportMetric(0, "ns/op")
}
