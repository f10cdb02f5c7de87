package translate

// Dynamic lends IPv4 addresses to IPv6 hosts that have no explicit map.
// *pool.Pool satisfies it. A Dynamic is asked only about IPv4 addresses inside
// the prefixes named to NewTable as its pools. All methods are called from the
// packet path: they must be safe for concurrent use and should neither block
// nor allocate when they find what they are asked for.
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
}
