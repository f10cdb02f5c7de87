package bench

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
)

var noInstructions sync.Once

// measureSingle times f, which does the operations of b on this goroutine alone, and
// nothing else. It reports allocations once more, with their fractions, as
// mallocs/op: allocs/op is rounded down, so that one for a batch of packets is none.
// And it reports the instructions of an operation, which differ far less from run to
// run than times do; where they cannot be counted, the output says so once.
func measureSingle(b *testing.B, f func()) {
	runtime.LockOSThread() // the counter is the thread's
	defer runtime.UnlockOSThread()
	var begin, end uint64
	c, err := openInstructions()
	if err == nil {
		defer c.close()
		begin, err = c.read()
	}
	allocs := mallocs()
	b.ResetTimer()
	f()
	b.StopTimer()
	if err == nil {
		end, err = c.read()
	}
	allocs = mallocs() - allocs
	b.ReportMetric(float64(allocs)/float64(b.N), "mallocs/op")
	if err != nil {
		noInstructions.Do(func() { fmt.Printf("--- instructions are not counted: %v\n", err) })
		return
	}
	b.ReportMetric(float64(end-begin)/float64(b.N), "instructions/op")
}

var memStats runtime.MemStats // not on the heap for each call

// mallocs returns how often this process has allocated.
func mallocs() uint64 {
	runtime.ReadMemStats(&memStats)
	return memStats.Mallocs
}

// TestAllocationOfABatch: one allocation for a batch of 32 packets was rounded to
// none for each packet.
func TestAllocationOfABatch(t *testing.T) {
	r := testing.Benchmark(func(b *testing.B) {
		measureSingle(b, func() {
			for i := 0; i < b.N; i += batch {
				allocated = new([64]byte)
			}
		})
	})
	if got := r.Extra["mallocs/op"]; got < 1./batch {
		t.Errorf("%v allocations of an operation", got)
	}
}

var allocated *[64]byte
