//go:build linux

package fastpath

import (
	"encoding/binary"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
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
