package main

import (
	"runtime"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// workers returns how many queues to ask the device for. TAYGA's 0, a program
// without threads, is one worker to us.
func workers(c *taygaconf.Config) int {
	if c.Workers < 0 {
		return min(runtime.NumCPU(), taygaconf.MaxWorkers)
	}
	return max(c.Workers, 1)
}
