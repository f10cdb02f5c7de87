package translate

import "net/netip"

// A Map is an explicit address mapping, RFC 7757 §3.1: IPv4 addresses are translated to
// IPv6 addresses and back. The bits after the IPv4 prefix are copied to the position
// directly after the IPv6 prefix, which must have room for them. Host bits that are set
// are ignored.
type Map struct {
	IPv4, IPv6 netip.Prefix
}

// isHost reports whether m maps a single address to a single address.
func (m Map) isHost() bool { return m.IPv4.Bits() == 32 && m.IPv6.Bits() == 128 }

func (m Map) String() string { return m.IPv4.String() + " " + m.IPv6.String() }

// TableConfig holds the address mappings of a Table.
type TableConfig struct {
	// Prefixes are RFC 6052 prefixes of length 32, 40, 48, 56, 64 or 96. IPv4
	// addresses are composed with the first, except as Pools say; IPv6 addresses inside
	// any of them are translated, the longest first.
	Prefixes []netip.Prefix
	// Maps are explicit mappings. They come before Prefixes, the longest match
	// first on either side: RFC 7757 §3.3.
	Maps []Map
	// Pools are the IPv4 addresses that hosts without a Map lease: at most one Pool
	// for each of Prefixes, and one for no prefix. Where a Map and a pool overlap, the
	// longer prefix counts.
	Pools []Pool
	// Shared are IPv4 addresses that hosts share by port, and Sessions says who has
	// which: both are given or neither, and with Prefixes. Where Shared and a Map or a
	// pool overlap, the longer prefix counts.
	Shared   []netip.Prefix
	Sessions Sessions
	// Rules are rules for addresses inside some of Prefixes, one PrefixRule for a
	// prefix at most. A prefix without one has the zero value.
	Rules []PrefixRule
}

// A PrefixRule is the rule for addresses inside one prefix. With several
// prefixes, hosts may be numbered from one of them and not from another.
type PrefixRule struct {
	Prefix netip.Prefix // one of TableConfig.Prefixes
	// DropSource drops IPv6 packets whose source address lies inside Prefix and has
	// no Map, as Config.DropEmbeddedSource does for all prefixes: RFC 6052 §5.1.
	DropSource bool
	// CheckLoops says that no IPv6 host is numbered from Prefix, as is the case for
	// 64:ff9b::/96 (RFC 6052 §3.1). An IPv4 packet whose source has no Map and whose
	// destination only this prefix maps is then for an address that is routed to the
	// translator and has no mapping: translated, it loops until its hop limit is
	// exceeded. It is rejected like a packet to any destination without a mapping
	// (NoDestination); an ICMP error is dropped. The same applies to an IPv6 packet
	// from inside Prefix to another address that only a prefix maps. A source with a
	// Map may be the host of a CLAT, whose packets do not come back.
	CheckLoops bool
}

// A Pool is a set of IPv4 addresses and the Dynamic that assigns them.
//
// A Pool with a Pref64 is bound to that prefix. A host that sends to an address inside
// the prefix leases from this pool, and the source of the answers is inside the same
// prefix. The host may have another lease of another pool. The Pool without a Pref64 is
// for all other destinations; the source of packets to its addresses is inside the first
// prefix that has no Pool. So without any bound pool, a host that sends to an address
// inside the second prefix gets answers from inside the first.
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
