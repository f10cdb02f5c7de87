package translate

import "net/netip"

// A Map is an explicit address mapping, RFC 7757 §3.1: addresses of IPv4 stand
// for addresses of IPv6 and back. The bits after the IPv4 prefix go to those
// directly after the IPv6 prefix; there must be room for them. Bits that are set
// after a prefix length are ignored.
type Map struct {
	IPv4, IPv6 netip.Prefix
}

// isHost reports whether m maps a single address to a single address.
func (m Map) isHost() bool { return m.IPv4.Bits() == 32 && m.IPv6.Bits() == 128 }

func (m Map) String() string { return m.IPv4.String() + " " + m.IPv6.String() }

// TableConfig holds the address mappings of a Table.
type TableConfig struct {
	// Prefixes are RFC 6052 prefixes of length 32, 40, 48, 56, 64 or 96. IPv4
	// addresses are composed with the first, but for what Pools say; any of them is
	// recognised, the longest first.
	Prefixes []netip.Prefix
	// Maps are explicit mappings. They come before Prefixes, the longest match
	// first on either side: RFC 7757 §3.3.
	Maps []Map
	// Pools are the IPv4 addresses that hosts without a Map lease: at most one Pool
	// for each of Prefixes, and one for no prefix. What is sent to the addresses of a
	// longer Map inside a pool goes to that; a shorter Map around yields to the pool.
	Pools []Pool
	// Rules are rules for addresses inside some of Prefixes, one PrefixRule for a
	// prefix at most. A prefix without one has the zero value.
	Rules []PrefixRule
}

// A PrefixRule says what holds for addresses inside one prefix. With several
// prefixes, hosts may be numbered from one of them and not from another.
type PrefixRule struct {
	Prefix netip.Prefix // one of TableConfig.Prefixes
	// DropSource drops IPv6 packets whose source address lies inside Prefix and has
	// no Map, as Config.RefuseEmbeddedSource does for all prefixes: RFC 6052 §5.1.
	DropSource bool
	// CheckLoops says that no IPv6 host is numbered from Prefix, as is the case for
	// 64:ff9b::/96 (RFC 6052 §3.1). An IPv4 packet whose source has no Map and whose
	// destination only this prefix maps is then for an address that is routed to the
	// translator and has no mapping: translated, it comes back, until its hop limit
	// runs out. It is answered like a packet to any destination without a mapping
	// (NoDestination); an ICMP error is dropped. The same holds for an IPv6 packet
	// from inside Prefix to another address that only a prefix maps. A source with a
	// Map may be the host of a CLAT, whose packets do not come back.
	CheckLoops bool
}

// A Pool is IPv4 addresses with the Dynamic that leases them.
//
// A Pool with a Pref64 is bound to that prefix. A host that talks to an address inside
// it leases from this pool, beside another lease that it may have, and is answered
// from inside the same prefix. The Pool without is for all other destinations, and
// packets to its addresses come from the first prefix without a Pool. So without any
// bound pool, a host that talks to an address inside the second prefix is answered
// from inside the first.
type Pool struct {
	Prefixes []netip.Prefix // IPv4; bits after a prefix length are ignored
	Pref64   netip.Prefix   // one of TableConfig.Prefixes, or the zero value
	Dynamic  Dynamic        // nil leases nothing
}

// name says which pool it is.
func (p *Pool) name() string {
	if p.Pref64 == (netip.Prefix{}) {
		return "no prefix"
	}
	return p.Pref64.String()
}
