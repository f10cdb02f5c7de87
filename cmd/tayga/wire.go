package main

import (
	"net/netip"
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

// hosts6 is a set of IPv6 prefixes that is asked about single hosts.
type hosts6 struct {
	lengths  [129]bool
	prefixes map[netip.Prefix]struct{}
}

// mapped6 is the set of all IPv6 addresses that have a fixed mapping, so that
// no lease can be theirs.
func mapped6(c *taygaconf.Config, more []taygaconf.Map) *hosts6 {
	s := &hosts6{prefixes: make(map[netip.Prefix]struct{})}
	s.add(netip.PrefixFrom(c.IPv6, 128))
	for _, p := range c.Prefixes {
		s.add(p)
	}
	for _, maps := range [][]taygaconf.Map{c.Maps, more} {
		for _, m := range maps {
			s.add(m.IPv6)
		}
	}
	return s
}

func (s *hosts6) add(p netip.Prefix) {
	s.lengths[p.Bits()] = true
	s.prefixes[p.Masked()] = struct{}{}
}

func (s *hosts6) contains(host netip.Addr) bool {
	for bits, used := range s.lengths {
		if !used {
			continue
		}
		p, _ := host.Prefix(bits) // host is IPv6, so bits fit
		if _, found := s.prefixes[p]; found {
			return true
		}
	}
	return false
}
