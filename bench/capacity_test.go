package bench

import (
	"encoding/binary"
	"flag"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
	"github.com/steppe-nat64/steppe/tun"
)

var capacity = flag.Int("capacity", million, "`sessions` of BenchmarkSessionMemory")

// A sharing is a translator whose hosts share 64 addresses, with room for n sessions.
// Connection i is that of one of 4096 hosts in 256 networks, with a port and a peer of its
// own.
type sharing struct {
	x     *translate.Translator
	table *session.Table
}

var shared4 = netip.MustParsePrefix("192.0.3.0/24")

func newSharing(t testing.TB, n int) *sharing {
	t.Helper()
	table, err := session.New(session.Config{
		Pools:  []session.Pool{{Prefix: shared4}},
		Limits: session.Limits{Sessions: n, HalfOpen: n, Inbound: n, PerPrefix: n, HalfOpenPerPrefix: n},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &sharing{newTranslator(t, translate.TableConfig{
		Prefixes: []netip.Prefix{packettest.P}, Shared: []netip.Prefix{shared4}, Sessions: table,
	}), table}
}

// connection writes the addresses and ports of connection i as an IPv6 packet has them.
func connection(to []byte, i int) {
	h := uint64(i % 4096)
	binary.BigEndian.PutUint64(to, 0x20010db8_00010000|h>>4)
	binary.BigEndian.PutUint64(to[8:], 0x0200_0000_0000_0001+h&15)
	dst := embed(peer(i % 50021))
	copy(to[16:], dst[:])
	binary.BigEndian.PutUint16(to[32:], uint16(1024+i/4096%60000))
	binary.BigEndian.PutUint16(to[34:], 443)
}

// Where a packet without options has its addresses and ports.
const (
	ends6, ends6Len = 8, 36
	ends4, ends4Len = 12, 12
)

// A dialer opens and closes connections by packets, as their two ends do.
type dialer struct {
	w             *translate.Worker
	out, in       []translate.Packet
	out6, answer4 [][]byte // packets by flags
	begin         time.Time
}

func newDialer(s *sharing) *dialer {
	d := &dialer{w: s.x.NewWorker(), out: tun.NewPackets(batch), in: tun.NewPackets(batch), begin: time.Now()}
	for flags := range uint8(32) {
		l4 := packettest.Segment(1, 2, flags, nil)
		d.out6 = append(d.out6, packettest.IP(packettest.From6(), l4))
		d.answer4 = append(d.answer4, packettest.IP(packettest.From4(), l4))
	}
	return d
}

// send has the hosts of connections first to first+batch-1 send a packet with flags.
func (d *dialer) send(first int, flags uint8) {
	for i := range d.out {
		p := &d.out[i]
		p.Off, p.Len = tun.Headroom, copy(p.Buf[tun.Headroom:], d.out6[flags])
		connection(p.Buf[tun.Headroom+ends6:], first+i)
	}
	d.w.TranslateBatch(time.Since(d.begin), d.out)
}

// answer has the peers answer the last packets.
func (d *dialer) answer(flags uint8) {
	for i := range d.in {
		p := &d.in[i]
		p.Off, p.Len = tun.Headroom, copy(p.Buf[tun.Headroom:], d.answer4[flags])
		b, was := p.Buf[tun.Headroom:], d.out[i].Buf[d.out[i].Off:]
		copy(b[12:16], was[16:20])
		copy(b[16:20], was[12:16])
		copy(b[20:22], was[22:24])
		copy(b[22:24], was[20:22])
		packettest.FixHeader(b[:20])
	}
	d.w.TranslateBatch(time.Since(d.begin), d.in)
}

const (
	fin = packettest.FlagFIN
	syn = packettest.FlagSYN
	ack = packettest.FlagACK
)

// open opens connections: SYN, SYN and ACK, ACK.
func (d *dialer) open(first int) {
	d.send(first, syn)
	d.answer(syn | ack)
	d.send(first, ack)
}

// check fails unless the last packets of both ends were forwarded.
func (d *dialer) check(t testing.TB) {
	t.Helper()
	for i := range batch {
		if o, a := d.out[i].Result, d.in[i].Result; o.Verdict != translate.Forward || a.Verdict != translate.Forward {
			t.Fatalf("packet %d: %v, %v", i, o, a)
		}
	}
}

// open opens connections 0 to n-1 with several workers.
func (s *sharing) open(t testing.TB, n, workers int) {
	var all sync.WaitGroup
	dialers := make([]*dialer, workers)
	for k := range dialers {
		d := newDialer(s)
		dialers[k] = d
		all.Go(func() {
			for first := k * batch; first < n; first += workers * batch {
				d.open(first)
			}
		})
	}
	all.Wait()
	for _, d := range dialers {
		d.check(t)
	}
	if st := s.table.Stats(); st.ByState["established"] < n {
		t.Fatalf("%+v", st)
	}
}

// BenchmarkSessionFlows is the cost of a packet of an established connection, of one and of
// a million at random.
func BenchmarkSessionFlows(b *testing.B) {
	for _, n := range []int{1, million} {
		var s *sharing
		for _, dir := range []string{"4to6", "6to4"} {
			var tr *traffic
			b.Run(fmt.Sprintf("dir=%s/sessions=%d", dir, n), func(b *testing.B) {
				if s == nil {
					s = newSharing(b, n+batch)
					s.open(b, max(n, batch), 1)
				}
				if tr == nil {
					tr = s.traffic(b, dir, n)
				}
				measurePumps(b, translate.Forward, newPump(s.x, tr))
			})
		}
	}
}

// traffic makes packets of 64 bytes of n connections at random.
func (s *sharing) traffic(t testing.TB, dir string, n int) *traffic {
	h, at, width := packettest.From6(), ends6, ends6Len
	if dir == "4to6" {
		h, at, width = packettest.From4(), 10, 2+ends4Len // with the checksum
	}
	tr := &traffic{pkt: padded(h, 64, protos[0].l4), restore: headers, at: at, width: width}
	var ends [][]byte
	d := newDialer(s)
	hdr := append([]byte(nil), tr.pkt[:ends4+ends4Len]...)
	for first := 0; first < n; first += batch {
		d.send(first, ack)
		for i := range d.out {
			out := make([]byte, width)
			if dir == "6to4" {
				connection(out, first+i)
			} else {
				was := d.out[i].Buf[d.out[i].Off:]
				copy(hdr[12:16], was[16:20])
				copy(hdr[16:20], was[12:16])
				packettest.FixHeader(hdr)
				copy(out, hdr[10:20])
				copy(out[10:], was[22:24])
				copy(out[12:], was[20:22])
			}
			ends = append(ends, out)
		}
	}
	for _, i := range order(n) {
		tr.flows = append(tr.flows, ends[i]...)
	}
	return tr
}

// BenchmarkSessionRate is how fast sessions begin and end, in the terms of RFC 9693: the
// maximum connection establishment rate, of a million TCP connections that are opened by
// their three packets; and the tear-down rate, of these by their FINs, and of a million
// sessions whose time runs out in the same second.
func BenchmarkSessionRate(b *testing.B) {
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("phase=establish/workers=%d", workers), func(b *testing.B) {
			r := stopwatch{B: b}
			for b.Loop() {
				b.StopTimer()
				s := newSharing(b, million+batch)
				runtime.GC()
				r.start()
				s.open(b, million, workers)
				r.stop()
				b.StartTimer()
			}
			r.report()
		})
	}
	b.Run("phase=close", func(b *testing.B) {
		r := stopwatch{B: b}
		for b.Loop() {
			b.StopTimer()
			s := newSharing(b, million+batch)
			s.open(b, million, 1)
			d := newDialer(s)
			runtime.GC()
			r.start()
			for first := 0; first < million; first += batch {
				d.send(first, fin|ack)
				d.answer(fin | ack)
			}
			r.stop()
			d.check(b)
			if st := s.table.Stats(); st.ByState["v4-fin-v6-fin"] < million {
				b.Fatalf("%+v", st)
			}
			b.StartTimer()
		}
		r.report()
	})
	b.Run("phase=expire", func(b *testing.B) {
		r := stopwatch{B: b}
		longest := time.Duration(0)
		for b.Loop() {
			b.StopTimer()
			s := newSharing(b, million+batch)
			s.open(b, million, 1)
			runtime.GC()
			r.start()
			calls := 0
			for more := true; more; calls++ {
				start := time.Now()
				more = s.table.Expire(5 * time.Hour)
				longest = max(longest, time.Since(start))
			}
			r.stop()
			if st := s.table.Stats(); st.Sessions != 0 || st.Hosts != 0 {
				b.Fatalf("%+v", st)
			}
			b.ReportMetric(float64((cpuTime()-r.since).Microseconds())/float64(calls), "cpu-µs/call")
			b.StartTimer()
		}
		b.ReportMetric(float64(longest.Microseconds()), "longest-µs")
		r.report()
	})
}

// A stopwatch counts sessions that begin or end, a million an operation, in the time that passes
// and in that of the processors.
type stopwatch struct {
	*testing.B
	cpu, since time.Duration
}

func (r *stopwatch) start() { r.since = cpuTime(); r.StartTimer() }
func (r *stopwatch) stop()  { r.StopTimer(); r.cpu += cpuTime() - r.since }

func (r *stopwatch) report() {
	n := float64(r.N) * million
	r.ReportMetric(n/r.Elapsed().Seconds(), "sessions/s")
	r.ReportMetric(float64(r.cpu)/n, "cpu-ns/session")
	r.ReportMetric(0, "ns/op")
}

// BenchmarkSessionMemory is the memory of a session with its binding and indexes: RFC 9693's
// concurrent session capacity is a question of memory alone.
func BenchmarkSessionMemory(b *testing.B) {
	b.Run(fmt.Sprintf("sessions=%d", *capacity), func(b *testing.B) {
		for b.Loop() {
			before := heap()
			s := newSharing(b, *capacity+batch)
			s.open(b, *capacity, 1)
			used := heap() - before
			runtime.KeepAlive(s)
			b.ReportMetric(float64(used)/float64(*capacity), "B/session")
			b.ReportMetric(float64(used)/(1<<20), "MiB")
		}
		b.ReportMetric(0, "ns/op")
	})
}

// heap returns the bytes that are in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
