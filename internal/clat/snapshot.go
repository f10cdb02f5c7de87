package clat

import (
	"net/netip"
	"slices"

	"github.com/steppe-nat64/steppe/internal/hostnet"
)

const mainTable = 254 // RT_TABLE_MAIN

// A snapshot is what the network of the machine is like at one time.
type snapshot struct {
	links  []linkState
	addrs  []addrState
	routes []routeState
	rules  []hostnet.Rule // those of hostnet.Table
}

type linkState struct {
	index       int
	name, kind  string // kind is that of the driver, such as "tun"; empty for hardware
	up, running bool
	loopback    bool
	port        bool // of a bridge or bond
	direct      bool // no neighbours are looked for: NOARP, or point-to-point
	mtu, mtu6   int  // mtu6 is that for IPv6, 0 without IPv6
	routed      bool // as an uplink: it leads somewhere
}

type addrState struct {
	index      int
	prefix     netip.Prefix // with the address
	global     bool         // by its scope
	temporary  bool
	deprecated bool
	unusable   bool // tentative, or another node has it
	checking   bool // tentative: it is not known yet whether another node has it
}

// A routeState is one next hop of a route.
type routeState struct {
	index    int
	dst      netip.Prefix
	via, src netip.Addr
	table    int
	metric   int
	mtu      int
	unicast  bool // not one that rejects or drops packets
	linkDown bool // the kernel does not use it: the link is down
}

// link returns an interface by its index, nil if there is none.
func (s *snapshot) link(index int) *linkState {
	if i := slices.IndexFunc(s.links, func(l linkState) bool { return l.index == index }); i >= 0 {
		return &s.links[i]
	}
	return nil
}

func (s *snapshot) linkByName(name string) *linkState {
	if i := slices.IndexFunc(s.links, func(l linkState) bool { return l.name == name }); i >= 0 {
		return &s.links[i]
	}
	return nil
}

// indexOf returns the index of an interface, 0 if there is none.
func (s *snapshot) indexOf(name string) int {
	if l := s.linkByName(name); l != nil {
		return l.index
	}
	return 0
}

// works reports whether packets can be sent by a link.
func (l *linkState) works() bool { return l != nil && l.up && l.running && !l.loopback }

// carries reports whether the kernel can use a route of main.
func (s *snapshot) carries(r routeState) bool {
	return r.table == mainTable && r.unicast && !r.linkDown && s.link(r.index).works()
}

// own lists the networks of this machine, where no NAT64 of the network can be: those of its
// addresses, and those that are routed to a TUN device, as to a NAT64 gateway on this machine.
// A VPN may route large parts of the address space: these don't count.
func (s *snapshot) own(device string, uplinks []linkState) (own []netip.Prefix) {
	for _, a := range s.addrs {
		if a.prefix.Addr().Is6() && !a.prefix.Addr().IsLinkLocalUnicast() {
			own = append(own, a.prefix.Masked())
		}
	}
	for _, r := range s.routes {
		l := s.link(r.index)
		if l == nil || l.kind != "tun" || l.name == device || !r.dst.Addr().Is6() || r.dst.Bits() < 32 {
			continue
		}
		if !slices.ContainsFunc(uplinks, func(u linkState) bool { return u.index == l.index }) {
			own = append(own, r.dst)
		}
	}
	return own
}

// pathMTU returns the MTU of the uplink for packets that take a route, in bytes: IPv6 needs
// 1280 at least.
func pathMTU(l *linkState, r routeState) int {
	mtu := l.mtu
	for _, m := range []int{l.mtu6, r.mtu} {
		if m > 0 {
			mtu = min(mtu, m)
		}
	}
	return min(max(mtu, minMTU), 65535)
}
