// Package testbed is a gateway that runs the tayga binary between a host that
// has only IPv6 and one that has only IPv4, for programs that test the binary under
// faults and load.
//
//	bed_linux.go      the hosts; starts and stops the binary
//	traffic_linux.go  traffic that must arrive complete
//	packets_linux.go  packets that no program would send
//	lease_linux.go    leases, from the file and as the server sees them
//	standstill.go     whether the test machine itself was stalled
//	fast_linux.go     what of the traffic the fast path translates
//	usage_linux.go    memory and processor use of the process, its counters
//
// The requirements are those of package netlab.
package testbed
