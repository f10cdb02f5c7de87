// Package clattest tests tayga --clat: a host that has only IPv6, by the kernel's own address
// configuration, a router that advertises, a resolver with DNS64 and a NAT64 towards an IPv4
// server. It has tests only, which need Linux and what package netlab needs.
//
//	lab_linux_test.go         the test network
//	advertiser_linux_test.go  the router's advertisements
//	resolver_linux_test.go    BIND, Unbound, radvd, and a resolver of ours that may lie
//	snapshot_linux_test.go    what a host's network is like, and what has changed
//	traffic_linux_test.go     what programs do over the CLAT, and how soon they can
//
// The other files are the tests.
package clattest
