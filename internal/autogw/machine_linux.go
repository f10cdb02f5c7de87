package autogw

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Look finds out what has to be known of this machine, as seen from the network namespace of the
// calling thread.
func Look() (*Machine, error) {
	m := new(Machine)
	links, err := whole(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	addrs, err := whole(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	for _, l := range links {
		m.Links = append(m.Links, linkOf(l, names, addrs))
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := whole(func() ([]netlink.Route, error) {
			return netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for i := range routes {
			m.Routes = append(m.Routes, routeOf(&routes[i], family, names))
		}
	}
	return m, nil
}

// whole lists something again if it changed meanwhile, which may have left out some.
func whole[T any](list func() ([]T, error)) (got []T, err error) {
	for range 10 {
		if got, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return got, err
}

func linkOf(l netlink.Link, names map[int]string, addrs []netlink.Addr) Link {
	a := l.Attrs()
	got := Link{
		Name: a.Name, Kind: l.Type(),
		Up:       a.RawFlags&unix.IFF_UP != 0,
		Running:  a.RawFlags&unix.IFF_RUNNING != 0,
		Loopback: a.RawFlags&unix.IFF_LOOPBACK != 0,
		Point:    a.RawFlags&unix.IFF_POINTOPOINT != 0,
		Master:   names[a.MasterIndex],
	}
	if got.Kind == "device" {
		got.Kind = ""
	}
	for _, x := range addrs {
		if p, ok := prefixOf(x.IPNet); ok && x.LinkIndex == a.Index && x.Flags&(unix.IFA_F_DEPRECATED|unix.IFA_F_DADFAILED) == 0 {
			got.Addrs = append(got.Addrs, p)
		}
	}
	// Addresses that change every day are listed last, and a resolver is not told to use them.
	slices.SortStableFunc(got.Addrs, func(a, b netip.Prefix) int { return temporary(addrs, a) - temporary(addrs, b) })
	return got
}

func temporary(addrs []netlink.Addr, p netip.Prefix) int {
	for _, x := range addrs {
		if q, ok := prefixOf(x.IPNet); ok && p == q && p.Addr().Is6() {
			return x.Flags & unix.IFA_F_TEMPORARY
		}
	}
	return 0
}

func routeOf(r *netlink.Route, family int, names map[int]string) Route {
	got := Route{Table: r.Table, Metric: r.Priority}
	got.Via, _ = netip.AddrFromSlice(r.Gw)
	got.Via = got.Via.Unmap()
	if p, ok := prefixOf(r.Dst); ok {
		got.Dst = p
	} else if family == netlink.FAMILY_V4 {
		got.Dst = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	} else {
		got.Dst = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	switch r.Type {
	case unix.RTN_UNICAST:
	case unix.RTN_LOCAL:
		got.Type = Local
	case unix.RTN_BLACKHOLE, unix.RTN_UNREACHABLE, unix.RTN_PROHIBIT:
		got.Type = Refuses
	default:
		got.Type = Special
	}
	if name := names[r.LinkIndex]; name != "" && len(r.MultiPath) == 0 {
		got.Links = append(got.Links, name)
	}
	for _, hop := range r.MultiPath {
		if name := names[hop.LinkIndex]; name != "" && !slices.Contains(got.Links, name) {
			got.Links = append(got.Links, name)
		}
	}
	return got
}

// prefixOf converts a network; a missing one has no prefix.
func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	ip, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(ip.Unmap(), bits), ok
}
