package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// uptime returns the time since the machine booted, with those during which it slept.
func uptime() (time.Duration, bool) {
	var t unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t)
	return time.Duration(t.Nano()), err == nil
}
