// Package labtest proves the tayga binary by what programs see of it: hosts that
// speak one family of IP each, routers of one family on either side, and a
// gateway in between on which the binary runs. It has tests only, which need
// Linux and what package netlab needs.
//
//	lab_linux_test.go         the laboratory, the modes of the binary
//	wire_linux_test.go        what is captured on both sides, and what must hold there
//	programs_linux_test.go    ping(8) and traceroute(8)
//	ping_linux_test.go        echo of all sizes, from both sides
//	traceroute_linux_test.go  the hops, as the other family sees them
//	pathmtu_linux_test.go     links that are too narrow
//	devicemtu_linux_test.go   a device that changes its MTU
//	tcp_linux_test.go         transfers, and the segments they are made of
//	udp_linux_test.go         datagrams of every size up to 8,000 octets
//	via_linux_test.go         two prefixes at once, each with its pool
package labtest
