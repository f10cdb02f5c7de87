package main

import (
	"net/netip"
	"runtime"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/pool"
	"github.com/steppe-nat64/steppe/translate"
)

// translatorConfig turns a tayga.conf into what a Translator is made of, for a
// device with the given MTU. Where TAYGA differs from the RFCs its users get
// what they had.
func translatorConfig(c *taygaconf.Config, mtu int) translate.Config {
	return translate.Config{
		IPv4:          c.IPv4,
		IPv6:          c.IPv6,
		MTU4:          mtu,
		MTU6:          mtu,
		LowestIPv6MTU: c.OfflinkMTU,
		UDPZero:       c.UDPZero,
		Hairpin:       c.Hairpin,
		ICMPErrors:    c.ICMPErrors,
		AllowPrivate:  !c.WKPFStrict,
		AllowClassE:   true,
		ICMPPool4:     c.ICMPPool4,
		ICMPPool6:     c.ICMPPool6,
		NodeAddress:   c.NodeAddress,
	}
}

// tableConfig lists the mappings of a tayga.conf and of its map-file.
func tableConfig(c *taygaconf.Config, more []taygaconf.Map) translate.TableConfig {
	t := translate.TableConfig{Pools: c.Pools}
	for _, p := range c.Prefixes {
		if p.Addr().As16()[8] != 0 {
			// TAYGA takes a /96 whose bits 64 to 71 are not zero. For RFC 6052 it
			// is none of its prefixes, but a map of all of IPv4 does the same.
			t.Maps = append(t.Maps, translate.Map{IPv4: netip.PrefixFrom(netip.IPv4Unspecified(), 0), IPv6: p})
			continue
		}
		t.Prefixes = append(t.Prefixes, p)
	}
	for _, maps := range [][]taygaconf.Map{c.Maps, more} {
		for _, m := range maps {
			t.Maps = append(t.Maps, m.Map)
		}
	}
	return t
}

// poolConfig turns a tayga.conf into what a Pool is made of.
func poolConfig(c *taygaconf.Config, more []taygaconf.Map, onEvent func(pool.Event)) pool.Config {
	return pool.Config{
		Prefixes:     c.Pools,
		Reserved:     reserved(c, more),
		Hold:         c.Hold,
		Forget:       c.Forget,
		Clients:      c.PoolClients,
		MaxPerPrefix: pool.Quota{Len: c.PoolQuota.Bits, Leases: c.PoolQuota.Leases},
		OnEvent:      onEvent,
	}
}

// reserved lists the IPv4 addresses that are no host's to lease: the own ones
// and those with maps.
func reserved(c *taygaconf.Config, more []taygaconf.Map) []netip.Prefix {
	list := []netip.Prefix{netip.PrefixFrom(c.IPv4, 32)}
	for _, a := range c.ICMPPool4 {
		list = append(list, netip.PrefixFrom(a, 32))
	}
	for _, maps := range [][]taygaconf.Map{c.Maps, more} {
		for _, m := range maps {
			list = append(list, m.IPv4)
		}
	}
	return list
}

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
