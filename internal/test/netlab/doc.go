// Package netlab is a laboratory of network namespaces: hosts, links, routes
// and the clients and servers that put traffic on them, all in one process and
// without any configuration of the machine it runs on.
//
// A [Lab] holds hosts. A [Host] is an anonymous network namespace, kept alive by
// a file descriptor and a thread of this process, so that it is gone when the
// process is, however that ends. Nothing in a lab can reach the network of the
// machine, and two labs never see each other.
//
//	lab := netlab.New(t)
//	a, r, b := lab.Host("a"), lab.Host("r"), lab.Host("b")
//	lab.Link(a, "eth0", r, "eth0", 1500)
//	lab.Link(r, "eth1", b, "eth0", 1400)
//	a.Addr("eth0", "2001:db8:a::2/64")
//	a.DefaultRoute("2001:db8:a::1", "")
//	…
//	reply, err := a.Ping(netip.MustParseAddr("2001:db8:b::2"), netlab.Echo{Size: 56})
//
// # Setting up
//
// The methods that build the laboratory (Host, Link, Addr, Route, Sysctl, Nft
// and the like) return no error. In a test the first failure ends the test; in
// a lab from [Open] it is kept, [Lab.Err] returns it, and everything after it
// does nothing. They are to be called from one goroutine, in a test from the
// one that runs the test.
//
// The methods that use the laboratory (Do, Dial, Ping, Download and the like)
// return errors and may be called from several goroutines at once.
//
// # What it needs
//
// Linux, root (CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_NET_RAW) and /dev/net/tun; nft
// for [Host.Nft]. Where one is missing, tests skip and say which. With
// STEPPE_REQUIRE_NETNS=1 in the environment they fail instead, so that a run
// which is meant to prove something can't pass by skipping.
package netlab
