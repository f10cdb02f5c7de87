// Package session lets many IPv6 hosts share IPv4 addresses by port: the bindings and
// sessions of stateful NAT64, RFC 6146, for TCP, UDP and ICMP Echo. It translates no
// packets; package translate does. The rules of RFC 4787, 5382, 5508, 6888 and 7857 apply.
//
// A binding maps a host's address and port to a shared address and port, for each
// destination: endpoint-independent mapping. It is made by the first packet of the host,
// and ends with its last session, unless it is static. A session is a binding in use with a
// remote address and port. [Table.Outbound] maps a packet of a host, [Table.Inbound] one
// from IPv4, [Table.OutboundError] and [Table.InboundError] the packet that an ICMP error
// quotes. The remote address is not mapped here: a [translate.Tuple6] has it in its IPv4
// form, with the number of the prefix inside which the host sees it. Sessions answer by the
// prefix that the host used last.
//
// # Ports
//
// All bindings of a host have one address, for all protocols (RFC 6888 REQ-2); a host whose
// address has no port left is denied, and does not get another. A port is chosen at random
// among all that are free in the range of the source port, 0–1023 or 1024–65535, for UDP
// also of its parity. If there are none, the others of the pool are tried. With
// Config.PortBlock, a subscriber gets a block of ports at once, and its hosts have ports
// out of its blocks.
//
// # Hits
//
// A packet of a session that exists takes no lock and does not allocate. It reads a bucket
// and an entry of 64 bytes, and writes to the entry at most once a second. A TCP packet
// that changes the state locks the shard of its host, of which there are 64, as does all
// that begins or ends. A reader that finds nothing looks again under the lock of the
// bucket: entries are used again, and have a version by which a reader notices that.
//
// Memory grows with the sessions, by slabs that the garbage collector does not scan, and
// is not returned. The indexes are allocated by New for Limits.Sessions.
//
// # Time
//
// The package has no clock and no goroutine. All calls get the time since any fixed start.
// A time that stands still or goes back ends nothing. A session never ends before its time;
// it ends within two seconds after it for packets, and is removed by [Table.Expire], which
// the caller calls about once a second.
//
// # Deviations
//
// A SYN that is to be stored (RFC 6146 §3.5.2.2) makes no session but a [translate.Ticket], so a flood
// of SYNs takes no room from sessions. ICMP errors are mapped by sessions alone, not by
// bindings. Static bindings are reached from each address also with address-dependent
// filtering.
//
// # Files
//
//	config.go      configuration, defaults, lower bounds
//	table.go       Table, shards, memory
//	outbound.go    packets of hosts
//	inbound.go     packets from IPv4
//	state.go       the state machine of TCP, RFC 6146 §3.5.2.2
//	life.go        how sessions, bindings and hosts begin and end
//	expire.go      timers
//	probe.go       established connections that are not used
//	path.go        sessions that a path in the kernel translates, too
//	hold.go        SYNs that wait for the host to open the same connection
//	entry.go       entries and their memory
//	index.go       lookup without a lock
//	fetch.go       sessions of a batch, read at once
//	portset.go     the ports of an address and protocol
//	pool.go        addresses, and which a host gets
//	subscriber.go  limits and port blocks of an IPv6 prefix
//	update.go      static bindings, another configuration
//	list.go        what callers see
//	stats.go       figures, of addresses and subscribers too
//	save.go        the format of a saved file; saving at once
//	journal.go     a file that is kept up to date, for ends that were not foreseen
//	load.go        sessions of a saved file go on
//	event.go       events
package session
