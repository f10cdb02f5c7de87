// Package autogw plans a NAT64 gateway for a machine that it looks at: tayga --gateway.
// It changes nothing. A Plan has the text of a tayga.conf, the changes of the machine's network
// that go with it, and what the clients still need.
//
//	machine.go    the state of a machine: links, addresses, routes; machine_linux.go reads it
//	interfaces.go where IPv4 is, and where the clients are
//	pool.go       private IPv4 addresses that nothing else uses
//	routed.go     IPv4 addresses that are routed to the machine
//	plan.go       the plan: New
//	config.go     its tayga.conf; changes.go its changes
//	clients.go    what the clients need: DNS64, router advertisements; ask.go whether it is there
//	script.go     the plan as a script for a shell
//	follow.go     what changes of the machine change in the plan
//
// The clients' packets to 64:ff9b::/96 are recognised by the interface that they come in on, by
// rules that lead to a routing table of the gateway's own. So hosts on the side of IPv4 have no
// way to the translator, and a prefix of the clients may change without any effect.
package autogw
