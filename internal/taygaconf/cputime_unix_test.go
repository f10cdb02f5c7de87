//go:build unix

package taygaconf

import (
	"syscall"
	"testing"
	"time"
)

// cpuTime returns the processor time that the tests have taken so far: other processes of a
// busy machine are no part of it, as they are of the time on the clock.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
