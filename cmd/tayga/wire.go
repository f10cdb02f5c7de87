package main

import (
	"net/netip"
	"runtime"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/translate"
)

// workers returns how many queues to ask the device for. TAYGA's 0, a program
// without threads, is one worker to us.
func workers(c *taygaconf.Config) int {
	if c.Workers < 0 {
		return min(runtime.NumCPU(), taygaconf.MaxWorkers)
	}
	return max(c.Workers, 1)
}

// noLease returns what tells the hosts that cannot lease: those with a fixed
// mapping, and we.
func noLease(c *taygaconf.Config, tab *translate.Table) func(host netip.Addr) bool {
	return func(host netip.Addr) bool { return host == c.IPv6 || tab.Fixed(host) }
}
