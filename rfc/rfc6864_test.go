package rfc

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

func TestRFC6864(t *testing.T) {
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
	for range 1000 { // traffic of somebody else
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
