package pool

import (
	"net/netip"
	"testing"
	"unsafe"
)

// TestSizes: what comments promise about sizes. An entry is half a cache line and lies in
// one; a large prefix is cheap before its addresses are leased.
func TestSizes(t *testing.T) {
	if n := unsafe.Sizeof(entry{}); n != 32 {
		t.Errorf("an entry has %d bytes, want 32", n)
	}
	for n := minSlots; n <= 1<<16; n *= 2 {
		slots := (&table{slots: make([]entry, n)}).slots
		if at := uintptr(unsafe.Pointer(&slots[0])); at%32 != 0 {
			t.Errorf("%d slots begin at %#x: entries lie in two cache lines", n, at)
		}
	}
	s := newSpan(netip.MustParsePrefix("10.0.0.0/8"))
	if n := uintptr(len(s.chunks)) * 8; n != 256<<10 { // with pointers of 64 bits
		t.Errorf("the chunks of a /8 have %d bytes, want 256 KiB", n)
	}
	if n := uint64(len(s.chunks)) * uint64(len(chunk{})) * 8; n != 128<<20 {
		t.Errorf("with all leases they have %d bytes, want 128 MiB", n)
	}
}
