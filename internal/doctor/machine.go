package doctor

import (
	"context"
	"net/netip"
)

// A Machine is what there is to know about a machine, or about one of its
// network namespaces. Look finds it out.
type Machine struct {
	Links []Link
	// Setting returns a kernel setting below /proc/sys/net, by a path such as
	// ipv4/ip_forward. It reports false if the kernel has no such setting.
	Setting func(path string) (int, bool)
	// LocalPorts returns the range of ports that the kernel chooses from for sockets of
	// this machine. It reports false if that is not known.
	LocalPorts func() (low, high int, ok bool)
	// Route returns where packets to an address go that the machine itself sends.
	Route func(netip.Addr) Route
	// Policy are the rules of policy routing by which a route depends on more than
	// the destination. Without any, Route answers for forwarded packets, too.
	Policy []RoutingRule
	// Forwarded returns where a packet goes that comes in on the named interface and
	// has no mark. It reports false if the kernel does not say, as for a source that
	// it does not accept there. The source may be missing.
	Forwarded func(in string, src, dst netip.Addr) (Route, bool)
	// TableRoute returns where a routing table leads packets to an address.
	TableRoute func(table int, dst netip.Addr) Route
	// RoutesTo lists the IPv4 routes of all tables to the named interface; nil if that
	// is not known.
	RoutesTo func(link string) []Route
	// Specs lists the routes for exactly a prefix in a table, 0 for main, or if there is no
	// prefix the IPv4 routes of all tables to the named interface but those to the machine
	// itself, each in words that ip route understands; nil if one of them has no such words.
	// The function may be nil.
	Specs func(link string, dst netip.Prefix, table int) [][]string
	// Proxied reports whether the machine answers for an address on the named
	// interface although it is another host's.
	Proxied func(a netip.Addr, link string) bool
	// Resolve asks the resolver of the machine for the IPv6 addresses of a name.
	Resolve func(ctx context.Context, name string) ([]netip.Addr, error)

	// Attached returns the names of the processes that have a TUN device. It may be nil.
	Attached func(link string) []string
	// Active reports whether a service of systemd runs. It may be nil.
	Active func(unit string) bool
	// NoNftables says why the kernel has no nftables, nil if it has or if that is not known.
	NoNftables error

	Filters Filters

	TunDriver TunDriver
	// NoFastPath says why the kernel cannot have the fast path, nil if it can.
	NoFastPath error
	Tools      Tools
}

// A Link is an interface.
type Link struct {
	Name    string
	Index   int
	MTU     int
	Up      bool
	Running bool   // has a carrier: for a TUN device, a process
	Kind    string // as ip link names it: veth, tun, …; "device" for hardware
	Tun     bool   // a TUN device, that is, and no TAP
	// Ownerless: a TUN device that any local user may attach to.
	Ownerless bool
	Loopback  bool
	Physical  bool // a driver and hardware belong to it
	GRO       bool // puts segments together on arrival
	// NoUDPGRO: with GRO, it could put datagrams together that are forwarded, and does not.
	NoUDPGRO bool
	ListGRO  bool // with GRO, makes lists of packets
	// Bypassed: a queueing discipline of the TUN device, or clsact for filters, that packets
	// of the fast path do not pass.
	Bypassed string
	LRO      bool // the same, by hardware, and not so that they can be forwarded
	// Advertised: an address or a default route of IPv6 came by router
	// advertisements.
	Advertised bool
	Addrs      []netip.Prefix
}

// A Route says where packets to an address go.
type Route struct {
	Link  string       // empty if nowhere
	Dst   netip.Prefix // that the route is for
	Local bool         // to the machine itself
	// Connected: to a network that an interface has an address of.
	Connected bool
	// Refuses: packets end here, by a route or a rule that is blackhole, unreachable
	// or prohibit. Of a rule, Dst is zero.
	Refuses bool
	Table   int        // that it stands in; 0 if that is not known, or if it is main
	Via     netip.Addr // the next hop, if it has one
}

// A RoutingRule leads packets that meet its conditions to a routing table: ip-rule(8).
// Of the conditions, only those are here that can be checked without the packet.
type RoutingRule struct {
	Six      bool
	Text     string // the rule as ip rule has it
	In       string // the interface that packets come in on; empty for any
	Src, Dst netip.Prefix
	Not      bool // packets that do not meet the conditions
	Marked   bool // a mark is one of the conditions
	Table    int
	Suppress int // routes with prefixes of up to this length do not count; -1 if all count
}

// A TunDriver is the state of /dev/net/tun.
type TunDriver uint8

const (
	TunUsable TunDriver = iota
	TunAbsent           // the kernel has no driver, or has not loaded it
	TunNoNode           // the driver is there, the device file is not
)

// Tools are the programs that commands can use.
type Tools struct{ Sysctl, Nft, IPTables bool }

// link finds an interface.
func (m *Machine) link(name string) (Link, bool) {
	for _, l := range m.Links {
		if l.Name == name {
			return l, true
		}
	}
	return Link{}, false
}

// holds reports whether the machine has an address of the prefix.
func (m *Machine) holds(p netip.Prefix) bool {
	for _, l := range m.Links {
		for _, a := range l.Addrs {
			if p.Contains(a.Addr()) {
				return true
			}
		}
	}
	return false
}

// uplink returns the interface by which the machine's own packets leave for most of
// IPv4 or IPv6, empty if there is none.
func (m *Machine) uplink(six bool) string {
	return m.Route(someAddr(six)).Link
}

// someAddr returns an address of the public internet.
func someAddr(six bool) netip.Addr {
	if six {
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0x48, 0x60, 0x48, 0x60, 15: 0x88})
	}
	return netip.AddrFrom4([4]byte{8, 8, 8, 8})
}
