package main

import (
	"fmt"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/testbed"
)

// usages are what the process took over time. Goroutines cannot be seen from
// outside; one that hangs in the kernel shows as a thread, one that holds
// anything as memory.
type usages []testbed.Usage

// watchUsage looks a hundred times in the given time. The result is complete when
// the tasks are done.
func (s *soak) watchUsage(d time.Duration) *usages {
	u := new(usages)
	s.every(d/100, func(int) error {
		now, err := s.Usage()
		*u = append(*u, now)
		return err
	})
	return u
}

// collectOften has the collector of the binary run at each tenth part more. Left
// to itself it waits for double the memory that is in use, which takes minutes here,
// and what it has not come to looks like a leak.
const collectOften = "GOGC=10"

// What may be taken more in the last quarter than in the second: the memory of
// some leases more, threads that come as the kernel makes calls wait.
const (
	moreMemory  = 4 << 20
	moreThreads = 3
)

// leaks compares the least that was taken in the second quarter of the time, when
// all was warm, with the least of the last. Memory in use only for a time is released by then.
func (u usages) leaks() (string, error) {
	n := len(u)
	if n < 8 {
		return "", fmt.Errorf("soak: only %d looks at what the process takes", n)
	}
	warm, last := least(u[n/4:n/2]), least(u[n-n/4:])
	figures := fmt.Sprintf("memory %.1f MiB at first and %.1f at last, threads %d and %d, descriptors %d and %d",
		float64(warm.Memory)/(1<<20), float64(last.Memory)/(1<<20), warm.Threads, last.Threads, warm.Files, last.Files)
	if last.Memory > warm.Memory+moreMemory || last.Threads > warm.Threads+moreThreads || last.Files > warm.Files {
		return "", fmt.Errorf("soak: something leaks: %s", figures)
	}
	return figures, nil
}

func least(u usages) testbed.Usage {
	l := u[0]
	for _, x := range u {
		l.Memory = min(l.Memory, x.Memory)
		l.Threads = min(l.Threads, x.Threads)
		l.Files = min(l.Files, x.Files)
	}
	return l
}
