// Package testbed is a gateway that runs the tayga binary between a host that
// has only IPv6 and one that has only IPv4, for programs that find out what the
// binary bears.
//
//	bed_linux.go      the hosts, the life of the binary
//	traffic_linux.go  traffic that must arrive whole
//	packets_linux.go  packets that no program would send
//	lease_linux.go    who leases what, by the file and by what the server sees
//	standstill.go     whether the machine itself was busy elsewhere
//	usage_linux.go    what the process takes, what it has counted
//
// All of it needs what package netlab needs.
package testbed
