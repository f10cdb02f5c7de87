// Package clat runs a CLAT on a host: RFC 6877.
//
//	source.go          which address of the uplink suits a NAT64 prefix: RFC 6724 §5
//	iid.go             stable addresses: RFC 7217
//	ndmessage.go       solicitations and advertisements of neighbours: RFC 4861 §4
//	dad.go             the state of an address that is claimed: RFC 4862 §5.4
//	neighbours.go      claims of addresses
//	ndsocket_linux.go  their sockets
//	config.go          what a CLAT is told
//	report.go          what it has found
//	snapshot.go        what the network of the machine is like
//	host_linux.go      where snapshots come from: dumps of netlink
//	watcher_linux.go   when to take the next one
//	uplink.go          which interfaces may lead to a NAT64, and native IPv4
//	need.go            which IPv6 address suits an uplink
//	plan.go            what has to be changed
//	other.go           other CLATs on the machine
//	controller.go      Open, Run, Report: the goroutine that has the state
//	follow.go          finders of prefixes, and which prefix counts
//	claiming.go        the CLAT's own address
//	work.go            changes of the machine and of the translator
//	publish.go         the report, and the log
//	pace.go            pauses that grow
//
// # State
//
// A Controller has a snapshot of the network, the prefixes that its finders have found, and an
// address. What the machine and the translator have to be like follows from these alone, by
// Config.plan: so it is the same after any changes as after a fresh start. Any event causes
// the plan to be made again, and what differs is applied.
//
// # An address of its own
//
// An address of the CLAT is not assigned to an interface: the kernel would keep its packets.
// It is not one of the kernel's table of proxies either (proxy_ndp): that answers only where
// the kernel forwards, from a random delay on, without duplicate address detection. So
// Neighbours finds out whether the address is free, and answers for it, by a socket that sees
// the solicitations and advertisements of all links. The kernel then forwards packets for
// the address by its route, to the TUN device.
package clat
