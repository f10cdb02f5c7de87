package testbed

import (
	"fmt"
	"regexp"
)

// Lines of tayga.conf and of the log about the fast path.
const (
	FastOff     = "fast-path off"
	FastOnLine  = "Fast path: on: the kernel translates plain packets\n"
	FastOffLine = "Fast path: off, by fast-path off\n"
)

// Fast is what the binary says of the fast path on SIGUSR1.
type Fast struct {
	On             bool
	Kernel, Daemon uint64 // bytes that either has translated as plain packets
}

var fastSummary = regexp.MustCompile(`(?m)^fast path: (on|off: .*); \d+ packets, (\d+) bytes translated by the kernel \(.*\); \d+ packets, (\d+) bytes by this process$`)

// ParseFast reads the last line about the fast path in what the binary has printed. It
// reports false if there is none.
func ParseFast(text string) (f Fast, found bool) {
	all := fastSummary.FindAllStringSubmatch(text, -1)
	if len(all) == 0 {
		return f, false
	}
	last := all[len(all)-1]
	return Fast{last[1] == "on", decimal(last[2]), decimal(last[3])}, true
}

// Since returns what was translated after before.
func (f Fast) Since(before Fast) Fast {
	return Fast{f.On, f.Kernel - before.Kernel, f.Daemon - before.Daemon}
}

// Share returns which part of the bytes the kernel has translated, 0 if there are none.
func (f Fast) Share() float64 {
	if f.Kernel == 0 {
		return 0
	}
	return float64(f.Kernel) / float64(f.Kernel+f.Daemon)
}

// LeastShare is the part of TCP data that the fast path has to translate. The rest are
// segments of new connections, which pass before the kernel knows host or session.
const LeastShare = 0.95

// Awake returns an error if the kernel has not translated nearly all of what are at least n
// bytes of TCP data, so that no test of the fast path passes with the path asleep.
func (f Fast) Awake(n uint64) error {
	if !f.On || f.Kernel+f.Daemon < n || f.Share() < LeastShare {
		return fmt.Errorf("testbed: the fast path is asleep (on: %t): %d bytes translated by the kernel and %d by the binary, of %d at least", f.On, f.Kernel, f.Daemon, n)
	}
	return nil
}

// Carried returns an error if the kernel has not translated as many bytes as nearly all of n
// bytes of TCP data, where the binary has to translate much else.
func (f Fast) Carried(n int64) error {
	if !f.On || float64(f.Kernel) < LeastShare*float64(n) {
		return fmt.Errorf("testbed: the fast path is asleep (on: %t): %d bytes translated by the kernel, but %d bytes of TCP data have arrived", f.On, f.Kernel, n)
	}
	return nil
}

// Asleep returns an error if the kernel has translated anything, or if these are not n
// bytes of TCP data at least.
func (f Fast) Asleep(n uint64) error {
	if f.On || f.Kernel > 0 || f.Daemon < n {
		return fmt.Errorf("testbed: the fast path is not off (on: %t): %d bytes translated by the kernel and %d by the binary, of %d at least", f.On, f.Kernel, f.Daemon, n)
	}
	return nil
}
