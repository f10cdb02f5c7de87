package translate

import (
	"fmt"
	"net/netip"
)

// Dynamic assigns IPv4 addresses to IPv6 hosts that have no explicit map.
// *pool.Pool satisfies it. It is called for IPv4 addresses inside the pools of the
// Table, and for every IPv6 host without a map.
//
// The addresses are not checked. They have to be inside these pools, or no answer
// reaches the host. They must not be the translator's own or have a Map, since the
// answers would go there: see Excluder.
//
// All methods are called from the packet path: they must be safe for concurrent use, and
// should neither block nor allocate when there is a lease. A worker caches a result until
// Generation changes, for one second at most.
type Dynamic interface {
	// Assign returns the IPv4 address that host has leased. If it has none, Assign
	// leases one. It reports false if that is not possible. Assign is called only for
	// the source address of a packet that is not an ICMP error.
	Assign(host [16]byte) (addr [4]byte, ok bool)
	// Addr returns the IPv4 address that host has leased. It never leases one:
	// addresses in ICMP errors are looked up with it.
	Addr(host [16]byte) (addr [4]byte, ok bool)
	// Host returns the host that has leased addr.
	Host(addr [4]byte) (host [16]byte, ok bool)
	// Generation is called once a batch. It has to change after a lease that Assign,
	// Addr or Host returned has ended, and before its address is leased to another host.
	Generation() uint64
}

// An Excluder is a Dynamic with a list of addresses that it must not lease. *pool.Pool is
// one. New and Update call Exclude with the translator's own addresses, those of
// ICMPPool4 and those with a Map, before these are used. Leases on them end.
type Excluder interface {
	Dynamic
	// Exclude replaces the list. It returns how many leases that has ended.
	Exclude(addrs []netip.Prefix) (ended int, err error)
}

// A Selector is a Dynamic that has clients, and leases no other host an address. *pool.Pool
// is one. Hosts that are no clients may share an address: see Sessions.
type Selector interface {
	Dynamic
	// Serves reports whether host is a client. It is called from the packet path if the
	// table has Sessions, and must not change its answer.
	Serves(host [16]byte) bool
}

// exclude calls Exclude of all pools. Otherwise a host with a lease on an address that
// gets a Map would keep it, and two hosts would have one address.
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

// excluded lists the IPv4 addresses that must not be leased.
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
