package autogw

import (
	"net/netip"
	"slices"
)

// A Machine is what has to be known of a machine, or of one of its network namespaces.
type Machine struct {
	Links  []Link
	Routes []Route // of all tables, IPv4 and IPv6
}

// A Link is an interface.
type Link struct {
	Name     string
	Kind     string // of the kernel: "bridge", "tun", "wireguard" …; empty for hardware
	Up       bool
	Running  bool // has a carrier: for a TUN device, a process
	Loopback bool
	Point    bool   // point-to-point: there is one host at the other end
	Master   string // the bridge, bond or VRF that it belongs to; empty if there is none
	Addrs    []netip.Prefix
}

// A Route is one of any table.
type Route struct {
	Dst    netip.Prefix
	Links  []string // more than one if packets are shared among them
	Via    netip.Addr
	Table  int
	Metric int
	Type   RouteType
}

// A RouteType says what a route does with packets.
type RouteType uint8

const (
	Unicast RouteType = iota // sends them on
	Local                    // to this machine
	Refuses                  // blackhole, unreachable, prohibit
	Special                  // broadcast, multicast, anycast
)

// tableMain is the number of the table that ip route shows.
const tableMain = 254

// link finds an interface.
func (m *Machine) link(name string) (Link, bool) {
	for _, l := range m.Links {
		if l.Name == name {
			return l, true
		}
	}
	return Link{}, false
}

// tunnels are the kinds of links whose other end is a host, or any number of hosts far away.
var tunnels = []string{
	"tun", "tuntap", "wireguard", "ppp", "sit", "gre", "gretap", "ip6gre", "ip6gretap", "ip6tnl", "ipip", "vti", "vti6", "xfrm", "netkit",
}

// tunnel reports whether a link is of a VPN or the like. Its other side may be clients, or may be
// a provider: only the operator knows.
func (l *Link) tunnel() bool { return l.Point || slices.Contains(tunnels, l.Kind) }

// networks returns the IPv6 networks of a link, and the first address in them: those that are
// not link-local and that other hosts can have an address of.
func (l *Link) networks() (nets []netip.Prefix, own netip.Addr) {
	for _, p := range l.Addrs {
		if a := p.Addr(); !a.Is6() || a.IsLinkLocalUnicast() || a.IsLoopback() || p.Bits() == 128 {
			continue
		}
		if !own.IsValid() {
			own = p.Addr()
		}
		if !slices.Contains(nets, p.Masked()) {
			nets = append(nets, p.Masked())
		}
	}
	slices.SortFunc(nets, netip.Prefix.Compare)
	return nets, own
}

// has4 reports whether a link has an IPv4 address.
func (l *Link) has4() bool {
	return slices.ContainsFunc(l.Addrs, func(p netip.Prefix) bool { return p.Addr().Is4() })
}

// halves is the longest prefix of a route that stands for a default route: VPNs divide all
// addresses into two or more parts, so that the default route stays as it is.
const halves = 3

// isDefault reports whether a route sends on most packets of IPv4 or IPv6 that have no other.
func (r *Route) isDefault(six bool) bool {
	return r.Type == Unicast && r.Table == tableMain && r.Dst.Addr().Is6() == six && r.Dst.Bits() <= halves && len(r.Links) > 0
}
