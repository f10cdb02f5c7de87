package testbed

import (
	"context"
	"sync/atomic"
	"time"
)

// A Standstill is the longest time that this program did not run, and probably
// nothing else: the machine slept, or was given to others. Connections break of
// that, which says nothing about the binary.
type Standstill struct{ longest atomic.Int64 }

// pulse is how often a Standstill looks at the clock.
const pulse = 100 * time.Millisecond

// WatchStandstill looks until ctx is done.
func WatchStandstill(ctx context.Context) *Standstill {
	s := new(Standstill)
	go func() {
		tick := time.NewTicker(pulse)
		defer tick.Stop()
		for last := time.Now(); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			now := time.Now()
			s.longest.Store(max(s.longest.Load(), int64(now.Sub(last)-pulse)))
			last = now
		}
	}()
	return s
}

// Longest returns the longest one so far, to some tenths of a second.
func (s *Standstill) Longest() time.Duration { return time.Duration(s.longest.Load()) }

// Noteworthy reports whether there was one that can break connections.
func (s *Standstill) Noteworthy() bool { return s.Longest() > 20*time.Second }
