package translate

import (
	"testing"
	"time"
)

// TestReserveOfASecond: the reserve is for hosts that were sent no error in this second
// and the one before. The comparison could be off by a second without a test that noticed.
func TestReserveOfASecond(t *testing.T) {
	const one, other = 1 << errorHostShift, 2 << errorHostShift // hashes of hosts with slots of their own
	for after, want := range []bool{false, false, true, true} {
		tr, err := New(Config{ErrorRate: 1, ErrorBurst: 10}, new(Table))
		if err != nil {
			t.Fatal(err)
		}
		w := tr.NewWorker()
		w.TranslateBatch(time.Hour, nil)
		for i := range 20 { // 10 at once, and 2 in reserve
			host := uint64(other)
			if i == 0 {
				host = one
			}
			if got := w.spend(HopLimit, host); got != (i < 10) {
				t.Fatalf("error %d: %v", i, got)
			}
		}
		for second := range after { // another host takes what is gained
			w.TranslateBatch(time.Hour+time.Duration(second+1)*time.Second, nil)
			if !w.spend(HopLimit, other) || w.spend(HopLimit, other) {
				t.Fatal("one error a second is gained")
			}
		}
		if got := w.spend(HopLimit, one); got != want {
			t.Errorf("after %d seconds, the reserve is open to a host: %v, want %v", after, got, want)
		}
	}
}

// TestErrorHostsSpread: hosts that differ in few bits, of either half of an IPv6
// address, get slots of their own. The hash could forget to multiply a half, or use one
// key for both, so that all hosts of one kind shared a slot.
func TestErrorHostsSpread(t *testing.T) {
	for name, hash := range map[string]func(w *Worker, i uint64) uint64{
		"IPv4":      func(w *Worker, i uint64) uint64 { return w.errorHost4(addr4(0xc0000200 + i)) },
		"prefix":    func(w *Worker, i uint64) uint64 { return w.errorHost6(addr6{0x20010db800000000 + i, 1}) },
		"sum":       func(w *Worker, i uint64) uint64 { return w.errorHost6(addr6{0x20010db800000000 + i, 1000 - i}) },
		"interface": func(w *Worker, i uint64) uint64 { return w.errorHost6(addr6{0x20010db800000000, i}) },
	} {
		most := 0
		for range 5 { // a key may be a bad one
			tr, err := New(Config{}, new(Table))
			if err != nil {
				t.Fatal(err)
			}
			w, slots := tr.NewWorker(), map[uint64]bool{}
			for i := range uint64(1000) {
				slots[hash(w, i)>>errorHostShift] = true
			}
			most = max(most, len(slots))
		}
		if most < 50 {
			t.Errorf("%s: 1000 hosts in a row have %d slots of %d", name, most, errorHosts)
		}
	}
}
