// Package clat has what a CLAT needs on a host: RFC 6877.
//
//	source.go          which address of the uplink suits a NAT64 prefix: RFC 6724 §5
//	iid.go             stable addresses: RFC 7217
//	ndmessage.go       solicitations and advertisements of neighbours: RFC 4861 §4
//	dad.go             the state of an address that is claimed: RFC 4862 §5.4
//	neighbours.go      claims of addresses
//	ndsocket_linux.go  their sockets
//	pacer.go           how many messages are read
//	config.go          what a CLAT is told
//	report.go          what it has found
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
