// Package pref64 finds the NAT64 prefix of a network, for a CLAT: in router advertisements
// (RFC 8781), and where they have none, by DNS (RFC 7050, changed by RFC 8880 and RFC 9872).
//
//	option.go         the options PREF64 and RDNSS: RFC 8781 §4, RFC 8106 §5.1
//	advertisement.go  where they come from: a router advertisement, a netlink message
//	answer.go         the answer of a resolver: RFC 7050 §3
//	search.go         the prefix in an address of ipv4only.arpa
//	ask.go            the exchange with a resolver, by UDP and TCP
//	check.go          which prefixes are refused
//	uplink.go         what is known of an uplink, and which prefix counts
//	schedule.go       when to solicit, and when to ask a resolver
//	finder.go         an uplink with its sockets
//	listener.go       sockets for Finders that are opened later
//
// An Uplink is a state machine: it has no goroutine, no socket and no clock. A Finder owns
// one, and the sockets.
//
// # Choice
//
// Router advertisements have precedence over DNS (RFC 8781 §5.1). DNS is asked only while
// they give no usable prefix. Of several prefixes of one source, the one that was received
// first counts (RFC 7050 §3); a prefix that is received again keeps its place, also where a
// resolver has the records in another order each time, as BIND has. So a new prefix does not
// move traffic while the old one is valid. A prefix is valid as long as one router says so,
// each for itself: a router can withdraw only what it has advertised.
//
// # Two ways to receive
//
// With CAP_NET_RAW a Finder has a socket for ICMPv6, which sends solicitations and receives
// all advertisements. Without, it receives the options that the kernel relays to netlink;
// any user may do that. The kernel relays them only where it processes advertisements itself
// (accept_ra), and NetworkManager and systemd-networkd turn that off.
package pref64
