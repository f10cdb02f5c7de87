// Package labtest tests the tayga binary with real programs: hosts with one family of IP
// each, routers of one family on either side, and a gateway in between on which the
// binary runs. It has tests only, which need Linux and what package netlab needs.
//
//	lab_linux_test.go         the test network, the modes of the binary
//	fast_linux_test.go        which part the fast path translates
//	wire_linux_test.go        captures on both sides, and checks of them
//	programs_linux_test.go    ping(8) and traceroute(8)
//	ping_linux_test.go        echo of all sizes, from both sides
//	traceroute_linux_test.go  the hops, as the other family sees them
//	pathmtu_linux_test.go     links with a smaller MTU
//	devicemtu_linux_test.go   a device that changes its MTU
//	tcp_linux_test.go         transfers, and their segments
//	order_linux_test.go       the order of flows
//	udp_linux_test.go         datagrams of every size up to 8,000 bytes
//	via_linux_test.go         two prefixes, each with its own pool
package labtest
