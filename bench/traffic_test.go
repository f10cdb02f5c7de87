package bench

import (
	"sync"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
	"github.com/steppe-nat64/steppe/tun"
)

// A traffic is an endless row of packets that differ in their addresses at most.
type traffic struct {
	pkt     []byte
	offload translate.Offload
	restore int // bytes at the front of pkt that translation may change

	// flows holds, one after the other, the bytes of pkt from at on that make
	// a flow; empty for a single flow.
	flows     []byte
	at, width int
}

// headers is what translation changes of a packet that is forwarded and no ICMP
// error: an IPv6 header and 24 bytes that hold the transport checksum, also
// after a Fragment Header.
const headers = 64

// batch is the number of packets per call, as a busy daemon has them.
const batch = 32

// A pump is a worker with packets in buffers of its own, like one of the daemon.
type pump struct {
	*traffic
	w     *translate.Worker
	ps    []translate.Packet
	next  int // in flows
	begin time.Time
	// void lets a second of the worker's clock pass before each batch, which
	// voids what it remembers about flows.
	void bool
	// more takes the pieces of packets that have to be cut; nil if none has.
	more   []translate.Packet
	pieces int
}

func newPump(t *translate.Translator, tr *traffic) *pump {
	// Buffers lie in memory as those of the daemon, whatever the packet's size.
	p := &pump{traffic: tr, w: t.NewWorker(), ps: tun.NewPackets(batch), begin: time.Now()}
	for i := range p.ps {
		copy(p.ps[i].Buf[tun.Headroom:], tr.pkt)
	}
	return p
}

// fill makes the next batch: translation happens in place, so what it changed
// of the last one has to be put back. BenchmarkRestore measures the cost.
func (p *pump) fill() {
	for i := range p.ps {
		q := &p.ps[i]
		q.Off, q.Len, q.Offload = tun.Headroom, len(p.pkt), p.offload
		copy(q.Buf[tun.Headroom:], p.pkt[:p.restore])
		if len(p.flows) > 0 {
			copy(q.Buf[tun.Headroom+p.at:], p.flows[p.next:p.next+p.width])
			if p.next += p.width; p.next == len(p.flows) {
				p.next = 0
			}
		}
	}
}

// run translates at least n packets.
func (p *pump) run(n int) {
	for i := 0; i < n; i += batch {
		now := time.Since(p.begin)
		if p.void {
			now += time.Duration(i) * time.Second
		}
		p.fill()
		p.w.TranslateBatch(now, p.ps)
		if p.more != nil {
			p.cut()
		}
		if n, _ := p.w.Emit(now, p.ps); n != 0 {
			panic("packets that come from none")
		}
	}
}

// cut makes the pieces of a batch.
func (p *pump) cut() {
	for i := range p.ps {
		q := &p.ps[i]
		for q.Result.Verdict == translate.Split {
			p.pieces += p.w.Fragment(q, p.more)
		}
		p.pieces++ // what is left
	}
}

// check fails the benchmark or test unless the last batch got the wanted verdict.
func (p *pump) check(t testing.TB, want translate.Verdict) {
	t.Helper()
	for i := range p.ps {
		if res := p.ps[i].Result; res.Verdict != want {
			t.Fatalf("packet %d: %v (%v), want %v", i, res.Verdict, res.Reason, want)
		}
	}
}

// measure runs b.N packets through workers that share t, and reports packets/s
// of all of them together.
func measure(b *testing.B, t *translate.Translator, tr *traffic, want translate.Verdict, workers int) {
	pumps := make([]*pump, workers)
	for i := range pumps {
		pumps[i] = newPump(t, tr)
		if len(tr.flows) > 0 { // each in another place
			pumps[i].next = len(tr.flows) / tr.width * i / workers * tr.width
		}
	}
	measurePumps(b, want, pumps...)
}

func measurePumps(b *testing.B, want translate.Verdict, pumps ...*pump) {
	b.SetBytes(int64(len(pumps[0].pkt)))
	b.ReportAllocs()
	share := (b.N + len(pumps) - 1) / len(pumps)
	b.ResetTimer()
	var all sync.WaitGroup
	for _, p := range pumps[1:] {
		all.Go(func() { p.run(share) })
	}
	if len(pumps) == 1 {
		measureSingle(b, func() { pumps[0].run(share) })
	} else {
		pumps[0].run(share)
	}
	all.Wait()
	b.StopTimer()
	for _, p := range pumps {
		p.check(b, want)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
}

// newTranslator makes a translator with the configuration of packettest.
func newTranslator(t testing.TB, tc translate.TableConfig) *translate.Translator {
	t.Helper()
	tab, err := translate.NewTable(tc)
	if err != nil {
		t.Fatal(err)
	}
	x, err := translate.New(packettest.Config(), tab)
	if err != nil {
		t.Fatal(err)
	}
	return x
}
