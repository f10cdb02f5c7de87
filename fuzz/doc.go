// Package fuzz holds fuzz targets over the exported API of steppe's packages.
// They check properties, not particular outputs. The properties are in promise_test.go
// for packets, and with each target for the rest; every target says which of them it
// checks.
//
// Random bytes rarely have a valid checksum or length, so most targets take a few
// further numbers that select which fields are corrected, and the source and destination
// of the packet. The fuzzer chooses the rest of the packet.
//
//	packet_test.go     one packet of either family; an ICMP error with a quote
//	sequence_test.go   many packets through one worker
//	fragment_test.go   sequences of fragments; Worker.Fragment
//	shared_test.go     fragments of hosts that share an address
//	offload_test.go    virtio-net headers and super-packets
//	inner_test.go      partial checksums inside a tunnel
//	rfc6052_test.go    IPv4-embedded IPv6 addresses, as numbers and as text
//	table_test.go      mappings against linear lists
//	pool_test.go       leases against a list; dynamic.map
//	conf_test.go       tayga.conf; TAYGA's map-file
//
// Targets that need unexported code are in their packages: FuzzLoad of pool checks the
// pool's tables after loading a dynamic.map, FuzzLoad and FuzzModel of session compare
// saved sessions with what is listed and operations with a model, FuzzConversations of
// translate compares what hosts that share addresses send with the reference implementation,
// FuzzVirtio of tun reads and writes the
// virtio-net header before a packet; those of internal/pref64 read router advertisements and
// the answers of resolvers; those of internal/privsep, internal/status,
// internal/doctor and cmd/nat64-pcap read data from a socket, a kernel and a capture file.
// Crashers become seeds, and named tests in the package that had the bug.
package fuzz
