package translate

// Dynamic lends IPv4 addresses to IPv6 hosts that have no explicit map.
// *pool.Pool satisfies it. It is asked about IPv4 addresses inside the pools that
// the Table names, and about every IPv6 host without a map.
//
// What it lends is believed. The addresses have to lie in these pools, or no answer
// finds its host; and they must not be the translator's own or have a Map, to which
// the answers would go (pool.Config.Reserved, pool.Pool.Reserve).
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
