// Package bench holds what is measured about steppe, and how. README.md beside
// it says how to read the figures.
//
//	translate_test.go      a packet through translate: by direction, protocol, size, kind
//	fragment_test.go       packets that have to be cut
//	hairpin_test.go        packets from one IPv6 host to another
//	flow_test.go           the same by number of flows
//	table_test.go          lookups among explicit maps, and building a table
//	pool_test.go           lookups among leases
//	traffic_test.go        the packets of these benchmarks
//	hosts_test.go          and the hosts
//	single_test.go         what one goroutine does: time, allocations; instructions_linux_test.go
//	e2e_linux_test.go      real traffic through gateways in turn, and by queues of the device
//	load_linux_test.go     that traffic: TCP, UDP, requests; socket_linux_test.go its sockets
//	path_linux_test.go     by which path packets of ours pass; machine_linux_test.go the whole machine
//	cards_linux_test.go    how the gateway receives
//	shared_linux_test.go   hosts that share an address
//	memory_linux_test.go   resident memory; a map-file of a million lines
//	lab_linux_test.go      the laboratory it runs in
package bench
