package translate

import (
	"fmt"
	"net/netip"
)

// Dynamic lends IPv4 addresses to IPv6 hosts that have no explicit map.
// *pool.Pool satisfies it. It is asked about IPv4 addresses inside the pools that
// the Table names, and about every IPv6 host without a map.
//
// What it lends is believed. The addresses have to lie in these pools, or no answer
// finds its host; and they must not be the translator's own or have a Map, to which
// the answers would go: see Excluder.
//
// All methods are called from the packet path: they must be safe for concurrent use
// and should neither block nor allocate when they find what they are asked for. A
// worker remembers an answer until Generation changes, and asks again after a second
// at most, by the time that it is told.
type Dynamic interface {
	// Assign returns the IPv4 address that host holds, and lends one if it holds
	// none. It reports false if none is to be had. Only the source address of a
	// packet that is not an ICMP error is given to Assign.
	Assign(host [16]byte) (addr [4]byte, ok bool)
	// Addr returns the IPv4 address that host holds now. It never lends one:
	// addresses in ICMP errors are looked up with it.
	Addr(host [16]byte) (addr [4]byte, ok bool)
	// Host returns the host that holds addr now.
	Host(addr [4]byte) (host [16]byte, ok bool)
	// Generation is asked once a batch. It has to change once an address has ceased
	// to lead to the host that Assign, Addr or Host named, and before it leads to
	// another.
	Generation() uint64
}

// An Excluder is a Dynamic that can be told which addresses it must not lease.
// *pool.Pool is one. New and Update name the translator's own addresses, those of
// ICMPPool4 and those with a Map, before these are in force; leases on them end.
type Excluder interface {
	Dynamic
	// Exclude replaces the addresses that it was told before. It returns how many
	// leases that has ended.
	Exclude(addrs []netip.Prefix) (ended int, err error)
}

// exclude tells all pools which addresses they must not lease. A host with a lease on
// an address that gets a Map would go on with it, and two hosts would have one address.
func (s *state) exclude() error {
	var list []netip.Prefix
	for _, d := range s.dynamics {
		e, can := d.(Excluder)
		if !can {
			continue
		}
		if list == nil {
			list = s.excluded()
		}
		if _, err := e.Exclude(list); err != nil {
			return fmt.Errorf("translate: exclude addresses: %w", err)
		}
	}
	return nil
}

// excluded lists the IPv4 addresses that are no host's to lease.
func (s *state) excluded() (list []netip.Prefix) {
	if s.own4 != 0 {
		list = append(list, netip.PrefixFrom(s.cfg.IPv4, 32))
	}
	for _, a := range s.cfg.ICMPPool4 {
		list = append(list, netip.PrefixFrom(a, 32))
	}
	for _, m := range s.tab.maps {
		list = append(list, m.IPv4.Masked())
	}
	return list
}
