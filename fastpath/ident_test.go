//go:build linux

package fastpath

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// TestIdentifications: without DF, values of a flow are not repeated, and another flow has
// others; a super-packet takes one for each segment. RFC 6864 §4.3.
func TestIdentifications(t *testing.T) {
	c := newTestComparer(t, Sizes{})
	id := func(pkt []byte, gso int) uint16 {
		t.Helper()
		verdict, got, err := c.run(pkt, gso)
		if err != nil {
			t.Fatal(err)
		}
		if verdict != tcxRedirect || got[6]|got[7] != 0 {
			t.Fatalf("verdict %d, fragment word %x", verdict, got[6:8])
		}
		return binary.BigEndian.Uint16(got[4:])
	}
	if err := c.compare(plain6, 0); err != nil {
		t.Fatal(err)
	}
	other := packettest.IP(packettest.From6(), packettest.TCP(1, 2, nil))
	super := packettest.IP(packettest.From6(), packettest.UDP(1, 2, make([]byte, 1000)))

	seen := map[uint16]int{}
	first, apart := id(plain6, 0), id(other, 0)
	last, jumps := first, 0
	for i := range 20_000 {
		next := id(plain6, 0)
		if at, twice := seen[next]; twice {
			t.Fatalf("packets %d and %d both have %d", at, i, next)
		}
		seen[next] = i
		if next != last+1 {
			jumps++ // the clock has passed the counter
		}
		last = next
	}
	if jumps > 2000 {
		t.Errorf("%d of 20000 values do not follow the one before", jumps)
	}
	if id(other, 0)-apart == last-first {
		t.Error("both protocols have one counter")
	}
	before := id(plain6, 0)
	if got := id(super, 100); got-before > 2 {
		t.Logf("the clock has passed the counter: %d after %d", got, before)
	}
	begin := id(super, 100)
	if after := id(plain6, 0); after-begin < 10 || after-begin > 1000 {
		t.Errorf("%d comes after a super-packet of 10 segments with %d", after, begin)
	}
}

// TestSharedIdentifications: a flow of which some packets are translated by the program and some
// by workers gets no value twice.
func TestSharedIdentifications(t *testing.T) {
	p := loadForTest(t, Sizes{}, ethernet)
	cfg, table := packettest.Config(), packettest.TableConfig()
	tab, err := translate.NewTable(table)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := translate.New(cfg, tab)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := tr.SetIdentMemory(p.IdentMemory())
	if err != nil {
		t.Fatal(err)
	}
	rules, err := NewRules(cfg, table)
	if err != nil {
		t.Fatal(err)
	}
	var start unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &start); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	p.SetRules(rules.WithIdents(ids), time.Duration(start.Nano()))
	workers := []*translate.Worker{tr.NewWorker(), tr.NewWorker()}
	c := newComparer(p, workers[0])
	if err := c.compare(plain6, 0); err != nil {
		t.Fatal(err)
	}

	rng := rand.New(rand.NewPCG(1, 2))
	seen, used := map[uint16]int{}, 0
	for i := range 20_000 {
		var got []byte
		if k := rng.IntN(3); k < len(workers) {
			pkt := &c.packets[0]
			pkt.Set(plain6)
			if workers[k].Translate(time.Since(begin), pkt).Verdict != translate.Forward {
				t.Fatal(pkt.Result)
			}
			got = pkt.Bytes()
		} else {
			verdict, b, err := c.run(plain6, 0)
			if err != nil || verdict != tcxRedirect {
				t.Fatal(int32(verdict), err)
			}
			got = b
		}
		id := binary.BigEndian.Uint16(got[4:])
		if at, twice := seen[id]; twice {
			t.Fatalf("packets %d and %d both have %d", at, i, id)
		}
		seen[id] = i
	}
	// All of them took their values from one counter.
	for i := range p.IdentMemory() {
		if p.IdentMemory()[i].Load() != 0 {
			used++
		}
	}
	if used != 1 {
		t.Errorf("%d counters for one flow", used)
	}
	if _, err := tr.SetIdentMemory(p.IdentMemory()); err == nil {
		t.Error("memory of identifications set while there are workers")
	}
}
