package translate

import (
	"testing"
	"time"
)

// TestIdentsInARow: the values of a flow that one worker sends follow each other, from
// one block into the next, and also when the clock has reached the next of them. A
// value that was left out at the end of each block went unnoticed.
func TestIdentsInARow(t *testing.T) {
	const tick = time.Duration(1) << clockShift
	for name, c := range map[string]struct {
		packets int
		step    time.Duration // of the clock after each
	}{"at-once": {10 * identBlock, 0}, "a-tick-apart": {10 * identBlock, tick}} {
		w := newIdentTranslator(t).NewWorker()
		now := time.Hour
		w.begin(now)
		last := w.identFor(1, 2, protoUDP)
		for i := range c.packets {
			now += c.step
			w.begin(now)
			id := w.identFor(1, 2, protoUDP)
			if id != last+1 {
				t.Fatalf("%s: after packet %d, %#x follows %#x", name, i, id, last)
			}
			last = id
		}
	}
}

// TestIdentRuns: runs of any length, taken between single values, share none with
// each other.
func TestIdentRuns(t *testing.T) {
	w := newIdentTranslator(t).NewWorker()
	w.begin(time.Hour)
	f, seen := flow{addresses: addresses{src4: 1, dst4: 2}}, map[uint16]int{}
	for _, n := range []int{1, 2, identBlock - 2, identBlock - 1, identBlock, identBlock + 1, 1, 100, 3, 28, 1, 1, 31, 30} {
		first := w.ident(&f, protoTCP, n)
		for i := range n {
			if of := seen[first+uint16(i)]; of != 0 {
				t.Fatalf("value %d of a run of %d was in a run of %d", i, n, of)
			}
			seen[first+uint16(i)] = n
		}
	}
}

// TestStaleBlockBounds: a worker goes on with its block until others have taken
// identStale values since, and not when they have taken one more.
func TestStaleBlockBounds(t *testing.T) {
	for _, c := range []struct {
		since uint32 // values between the next of the block and the counter
		stale bool
	}{{identStale - 1, false}, {identStale, false}, {identStale + 1, true}} {
		tr := newIdentTranslator(t)
		one, other := tr.NewWorker(), tr.NewWorker()
		one.begin(time.Hour)
		other.begin(time.Hour)
		f, g := flow{addresses: addresses{src4: 1, dst4: 2}}, flow{addresses: addresses{src4: 1, dst4: 2}}
		first := one.ident(&f, protoUDP, 1)
		counter := identCounter(one.counters[f.idAt].Load())
		next := one.ids[f.idAt]
		if next.value() != first+1 {
			t.Fatalf("next is %#x, first was %#x", next.value(), first)
		}
		other.ident(&g, protoUDP, int(c.since)-int(counter.count()-next.count()))
		if id := one.ident(&f, protoUDP, 1); (id != first+1) != c.stale {
			t.Errorf("%d values taken since: %#x follows %#x", c.since, id, first)
		}
	}
}
