// Package clattest tests tayga --clat: a host that has only IPv6, by the kernel's own address
// configuration, a router that advertises, a resolver with DNS64 and a NAT64 towards an IPv4
// server. It has tests only, which need Linux and what package netlab needs.
//
//	lab_linux_test.go         the test network
//	advertiser_linux_test.go  the router's advertisements
//	resolver_linux_test.go    BIND, Unbound, radvd, and a resolver of ours that may lie
//	clat_linux_test.go        the binary, in a /run and an /etc of its own
//	snapshot_linux_test.go    what a host's network is like, and what has changed
//	traffic_linux_test.go     what programs do over the CLAT, and how soon they can
//
//	laboratory_linux_test.go  the test network itself, and a CLAT by hand
//	start_linux_test.go       prefixes of all lengths by advertisements, DNS and a file
//	change_linux_test.go      other prefixes, uplinks, addresses, resolvers; native IPv4; a sleep
//	address_linux_test.go     a shared address, a fixed one, conflicts
//	restart_linux_test.go     killed processes
//	beside_linux_test.go      containers and firewalls, another CLAT, a gateway
//	bad_linux_test.go         no prefix, lying resolvers, no uplink, no rights
package clattest
