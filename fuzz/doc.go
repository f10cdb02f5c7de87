// Package fuzz holds fuzz targets over the exported API of steppe's packages.
// They look for broken promises, not for particular outputs. What is promised is
// written down once, in promise_test.go for packets, and beside each target for
// the rest; every target says which promises it holds.
//
// Octets from the fuzzer rarely get past a checksum or a length, so most targets
// take a few numbers beside them that say what is to be put right, and where a
// packet comes from and goes to. That leaves the rest of the packet to the
// fuzzer, which sees what it reaches.
//
//	packet_test.go     one packet of either family; an ICMP error with a quote
//	sequence_test.go   many packets through one worker
//	fragment_test.go   fragment trains; Worker.Fragment
//	offload_test.go    virtio-net headers and super-packets
//	inner_test.go      checksums that are left undone inside a tunnel
//	rfc6052_test.go    IPv4-embedded IPv6 addresses, as numbers and as text
//	table_test.go      mappings against linear lists
//	pool_test.go       leases against a list; dynamic.map
//	conf_test.go       tayga.conf; TAYGA's map-file
//
// Other targets stand where they can see inside: FuzzLoad of pool checks the pool's
// books after a dynamic.map, FuzzVirtio of tun reads and writes the header in front
// of a packet; those of internal/status, internal/doctor and cmd/nat64-pcap read
// what comes from a socket, a kernel and a capture file. Crashers become seeds and
// tests with a name beside the package that was wrong.
package fuzz
