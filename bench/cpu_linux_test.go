package bench

import (
	"syscall"
	"time"
)

// cpuTime is what this process has used of the processors. On a machine that others use as
// well it says more than the time that has passed.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
