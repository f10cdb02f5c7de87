package rfc

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

func TestRFC6864(t *testing.T) {
	row(t, "6864-4.1-01", identificationsWithDF)
	row(t, "6864-4.3-01", identificationsOfProtocols)
	row(t, "6864-4.3-02", identificationsInTwoMinutes)
	row(t, "6864-4-01", func(t *testing.T) {
		t.Run("one-worker", func(t *testing.T) {
			x := newXlat(t, nil)
			seen := make([]bool, 1<<16)
			for range 1 << 16 {
				once(t, seen, identification(x.w, pt.From6()))
			}
		})
		t.Run("workers-in-turn", workersInTurn)
		t.Run("workers-at-once", workersAtOnce)
		t.Run("workers-in-bursts", workersInBursts)
		t.Run("worker-that-slept", workerThatSlept)
		t.Run("destinations", identificationsOfDestinations)
		t.Run("incoming", func(t *testing.T) {
			// What an unfragmented packet with DF brings along leaves no trace.
			x := newXlat(t, nil)
			want := pt.IP(as6, ping)
			for _, id := range []uint16{0, 1, 0xbeef, 0xffff} {
				x.becomes(pt.IP(with(pt.From4(), func(h *pt.Header) { h.ID = id }), ping), want)
			}
		})
	})
}

// identification sends a small packet, which leaves without DF, from IPv6 into
// IPv4 and returns the identification that it got. It may be called from any
// goroutine.
func identification(w *translate.Worker, h pt.Header) uint16 {
	p := pt.Buffer(pt.IP(h, ping))
	if res := w.Translate(0, &p); res.Verdict != translate.Forward || p.Bytes()[6] != 0 {
		panic(fmt.Sprintf("%v: %x", res, p.Bytes()))
	}
	return ip4(p.Bytes()).id()
}

// once notes id in seen and fails if it is there already.
func once(t *testing.T, seen []bool, id uint16) {
	t.Helper()
	if seen[id] {
		t.Fatalf("identification %04x given twice", id)
	}
	seen[id] = true
}

// workersInTurn has the packets of one pair on four workers, one after the other.
func workersInTurn(t *testing.T) {
	x := newXlat(t, nil)
	workers := []*translate.Worker{x.w, x.NewWorker(), x.NewWorker(), x.NewWorker()}
	seen := make([]bool, 1<<16)
	for i := range 1 << 16 {
		once(t, seen, identification(workers[i%4], pt.From6()))
	}
}

// workersAtOnce has the packets of one pair on four workers at the same time.
// Those that fall behind the others throw away what they have in stock: 31 values
// at most, each time that the others have taken 4096.
func workersAtOnce(t *testing.T) {
	x := newXlat(t, nil)
	ids := make([][]uint16, 4)
	var running sync.WaitGroup
	for i := range ids {
		w := x.NewWorker()
		running.Go(func() {
			for range 60000 / len(ids) {
				ids[i] = append(ids[i], identification(w, pt.From6()))
			}
		})
	}
	running.Wait()
	seen := make([]bool, 1<<16)
	for _, id := range slices.Concat(ids...) {
		once(t, seen, id)
	}
}

// workersInBursts has the packets of one pair on eight workers in bursts of all
// sizes, long enough for the values to begin anew several times.
func workersInBursts(t *testing.T) {
	x := newXlat(t, nil)
	workers := []*translate.Worker{x.w}
	for range 7 {
		workers = append(workers, x.NewWorker())
	}
	rnd := rand.New(rand.NewPCG(6864, 4))
	last := make([]int, 1<<16) // the packet that had the identification, from 1
	for n := 0; n < 200000; {
		w := workers[rnd.IntN(len(workers))]
		for range 1 << rnd.IntN(13) {
			n++
			id := identification(w, pt.From6())
			if last[id] != 0 && n-last[id] < 56000 {
				t.Fatalf("identification %04x repeated after %d packets", id, n-last[id])
			}
			last[id] = n
		}
	}
}

// workerThatSlept: a worker takes identifications in stock, gets no packet while
// another sends 65,536, and then goes on. It used to send from its stock what the
// other had sent just before.
func workerThatSlept(t *testing.T) {
	x := newXlat(t, nil)
	sleeper := x.NewWorker()
	identification(sleeper, pt.From6())
	var sent []uint16
	for range 1 << 16 {
		sent = append(sent, identification(x.w, pt.From6()))
	}
	lately := sent[len(sent)-60000:]
	for range 64 {
		if id := identification(sleeper, pt.From6()); slices.Contains(lately, id) {
			t.Fatalf("identification %04x repeated within 60,000 packets", id)
		}
	}
}

// identificationsWithDF: packets with DF have random values, super-packets random
// first ones, and they take none from packets without DF.
func identificationsWithDF(t *testing.T) {
	x := newXlat(t, nil)
	large := pt.IP(pt.From6(), pt.UDP(1, 2, pt.Bytes(1300, 0)))
	var last uint16
	seen, steps := map[uint16]bool{}, map[uint16]int{}
	before := identification(x.w, pt.From6())
	for range 2000 {
		p := pt.Buffer(large)
		if x.w.Translate(0, &p); p.Bytes()[6] != 0x40 {
			t.Fatalf("no DF: %x", p.Bytes()[:20])
		}
		id := ip4(p.Bytes()).id()
		seen[id] = true
		steps[id-last]++
		last = id
	}
	if len(seen) < 1900 {
		t.Errorf("%d values in 2000 packets", len(seen))
	}
	for step, n := range steps {
		if n > 6 {
			t.Errorf("%d of 2000 values are %d after the one before", n, step)
		}
	}
	super := pt.IP(pt.From6(), pt.TCP(1, 2, pt.Bytes(9000, 0)))
	clear(seen)
	for range 200 {
		p := pt.Buffer(super)
		p.Offload = pt.Partial(p.Bytes(), 1400)
		x.w.Translate(0, &p)
		seen[ip4(p.Bytes()).id()] = true
	}
	if len(seen) < 190 {
		t.Errorf("%d values in 200 super-packets", len(seen))
	}
	is(t, "the next one without DF", identification(x.w, pt.From6()), before+1)
}

// identificationsOfProtocols: source, destination and protocol have a counter of
// their own together, so that none is used up by the packets of another protocol.
func identificationsOfProtocols(t *testing.T) {
	x := newXlat(t, nil)
	kinds := []pt.Payload{pt.EchoRequest(1, 2, nil), udp(4), pt.TCP(1, 2, nil), pt.Raw(50, pt.Bytes(8, 0))}
	last := make([]uint16, len(kinds))
	for i := range 1000 {
		for k, p := range kinds {
			id := ip4(x.forward(pt.IP(pt.From6(), p))).id()
			if i > 0 && id != last[k]+1 {
				t.Fatalf("packet %d of kind %d has %04x after %04x", i, k, id, last[k])
			}
			last[k] = id
		}
	}
	if last[0] == last[1] && last[1] == last[2] {
		t.Error("all protocols have the same values")
	}
}

// identificationsInTwoMinutes: many more hosts than there are counters send a packet
// now and then; the packets of none repeat a value within two minutes.
func identificationsInTwoMinutes(t *testing.T) {
	x := newXlat(t, nil)
	const hosts = 100_000 // of which 1,000 send each second
	rnd := rand.New(rand.NewPCG(6864, 120))
	type use struct {
		id uint16
		at time.Duration
	}
	used := make([][]use, hosts)
	for x.now < 3*time.Minute {
		host := rnd.IntN(hosts)
		if rnd.IntN(4) == 0 {
			host %= 100 // that send more often
		}
		x.now += time.Second / 1000
		p := pt.Buffer(pt.IP(between("2001:db8:6::6", fmt.Sprintf("2001:db8:64::c6%02x:%04x", host>>16, host&0xffff)), ping))
		if res := x.w.Translate(x.now, &p); res.Verdict != translate.Forward {
			t.Fatal(res)
		}
		id := ip4(p.Bytes()).id()
		for _, u := range used[host] {
			if u.id == id && x.now-u.at < 2*time.Minute {
				t.Fatalf("host %d: %04x after %v", host, id, x.now-u.at)
			}
		}
		used[host] = append(used[host], use{id, x.now})
	}
}

// identificationsOfDestinations looks for a counter that several destinations
// share. Two of them may share one by chance, in one of 2048 cases.
func identificationsOfDestinations(t *testing.T) {
	x := newXlat(t, nil)
	to := func(i int) pt.Header {
		return between("2001:db8:6::6", fmt.Sprintf("2001:db8:64::cb00:71%02x", i))
	}
	const n = 200
	first, second := make([]uint16, n), make([]uint16, n)
	distinct := map[uint16]bool{}
	for i := range n {
		first[i] = identification(x.w, to(i))
		distinct[first[i]] = true
	}
	for range 1000 { // traffic of another host
		identification(x.w, pt.From6())
	}
	steps := map[uint16]int{}
	moved := 0
	for i := range n {
		second[i] = identification(x.w, to(i))
		if second[i]-first[i] > 32 {
			moved++
		}
		if i > 0 {
			steps[first[i]-first[i-1]]++
		}
	}
	if len(distinct) < n-10 {
		t.Errorf("%d destinations began with %d identifications", n, len(distinct))
	}
	if moved > 20 {
		t.Errorf("%d of %d destinations tell of the traffic of another", moved, n)
	}
	for step, times := range steps {
		if times > 10 {
			t.Errorf("%d times of %d the next destination began %d further", times, n, step)
		}
	}
}
