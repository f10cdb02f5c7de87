package rfc

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

func TestRFC7739(t *testing.T) {
	row(t, "7739-5-01", identificationsBesideOthers)
	row(t, "7739-5-02", identificationsOfManyFlows)
	row(t, "7739-5-03", identificationsUnpredictable)
}

// manyFlows is six times as many as the counters that flows once shared, and twelve
// times as many as a worker remembers.
const manyFlows = 12_000

// flowOf is the header of a small packet to one of many IPv4 hosts.
func flowOf(i int) pt.Header {
	return between("2001:db8:6::6", fmt.Sprintf("2001:db8:64::cb00:%04x", i))
}

// identificationsOfManyFlows: a host sends to 12,000 others, while another host sends
// a number of packets that is easy to recognize. Three to five of the 12,000 used to
// show this number: they had their counter together with the other host's packets.
func identificationsOfManyFlows(t *testing.T) {
	x := newXlat(t, nil)
	last := make([]uint16, manyFlows)
	for i := range last {
		last[i] = identification(x.w, flowOf(i))
	}
	for round := range 3 {
		for range 1000 + round {
			identification(x.w, between("2001:db8:64::c000:209", "2001:db8:64::c633:6409"))
		}
		moved := 0
		for i := range last {
			id := identification(x.w, flowOf(i))
			if id != last[i]+1 {
				moved++
			}
			last[i] = id
		}
		if moved > 8 { // a set of counters that is full gives random values
			t.Errorf("%d of %d flows moved by more than their own packet", moved, manyFlows)
		}
	}
}

// identificationsBesideOthers: what the flows of a host see, on several workers and
// while time goes by, is the same whether or not other hosts send, whatever these
// displace from the workers' memory: each value stands as far from the one before.
func identificationsBesideOthers(t *testing.T) {
	watch := func(others int) (steps []uint16) {
		x := newXlat(t, nil)
		workers := []*translate.Worker{x.w, x.NewWorker()}
		mine, theirs := rand.New(rand.NewPCG(7739, 1)), rand.New(rand.NewPCG(7739, 2))
		const watched = 500
		last := make([]uint16, watched)
		send := func(w *translate.Worker, h pt.Header) uint16 {
			p := pt.Buffer(pt.IP(h, ping))
			if res := w.Translate(x.now, &p); res.Verdict != translate.Forward {
				t.Fatal(res)
			}
			return ip4(p.Bytes()).id()
		}
		for range 8000 {
			for range others {
				n := theirs.IntN(30_000)
				send(workers[theirs.IntN(2)], between("2001:db8:64::c000:209", fmt.Sprintf("2001:db8:64::cb00:%04x", n)))
			}
			x.now += time.Duration(mine.IntN(4000)) * time.Microsecond
			i := mine.IntN(watched)
			if mine.IntN(2) == 0 {
				i %= 5 // that send much
			}
			id := send(workers[mine.IntN(2)], flowOf(i))
			steps = append(steps, id-last[i])
			if last[i] == 0 {
				steps[len(steps)-1] = 0 // the first value is random
			}
			last[i] = id
		}
		return steps
	}
	quiet := watch(0)
	for _, others := range []int{1, 10} {
		for i, step := range watch(others) {
			if step != quiet[i] && quiet[i] != 0 && step != 0 {
				t.Fatalf("packet %d beside %d packets of others: a step of %d, and of %d without them", i, others, step, quiet[i])
			}
		}
	}
}

// identificationsUnpredictable: neither the first values of neighbours nor those of
// another translator tell the first value of a flow.
func identificationsUnpredictable(t *testing.T) {
	one, other := newXlat(t, nil), newXlat(t, nil)
	neighbours, translators := map[uint16]int{}, map[uint16]int{}
	last := uint16(0)
	for i := range manyFlows {
		id := identification(one.w, flowOf(i))
		neighbours[id-last]++
		translators[id-identification(other.w, flowOf(i))]++
		last = id
	}
	for name, steps := range map[string]map[uint16]int{"neighbours": neighbours, "translators": translators} {
		for step, n := range steps {
			if n > 8 { // random ones do so in one run of some million
				t.Errorf("%s: %d of %d differ by %d", name, n, manyFlows, step)
			}
		}
	}
}
