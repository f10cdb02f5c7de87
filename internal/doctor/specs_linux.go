package doctor

import (
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// specs is Machine.Specs.
func specs(link string, dst netip.Prefix, table int) (list [][]string) {
	filter := &netlink.Route{Table: table}
	mask := netlink.RT_FILTER_TABLE
	if dst.IsValid() {
		filter.Table = max(table, 0)
		if filter.Table == 0 {
			filter.Table = unix.RT_TABLE_MAIN
		}
	} else if l, err := netlink.LinkByName(link); err == nil {
		filter.LinkIndex, mask = l.Attrs().Index, netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE
		filter.Table = unix.RT_TABLE_UNSPEC
	} else {
		return nil
	}
	routes, err := netlink.RouteListFiltered(familyOf(dst.IsValid() && dst.Addr().Is6()), filter, mask)
	if err != nil {
		return nil
	}
	for i := range routes {
		r := &routes[i]
		p, some := prefixOf(r.Dst)
		if !some {
			p = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
			if dst.IsValid() && dst.Addr().Is6() {
				p = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
			}
		}
		if dst.IsValid() && p != dst || r.Table == unix.RT_TABLE_LOCAL || r.Flags&unix.RTM_F_CLONED != 0 {
			continue
		}
		words, ok := spec(r, p)
		if !ok {
			return nil
		}
		list = append(list, words)
	}
	return list
}

// spec returns a route in the words of ip route. It reports false for one that has more
// than it can say.
func spec(r *netlink.Route, dst netip.Prefix) (words []string, ok bool) {
	add := func(there bool, args ...string) {
		if there {
			words = append(words, args...)
		}
	}
	kind, known := map[int]string{
		unix.RTN_UNICAST: "", unix.RTN_BLACKHOLE: "blackhole", unix.RTN_UNREACHABLE: "unreachable", unix.RTN_PROHIBIT: "prohibit",
	}[r.Type]
	if !known || r.Encap != nil || r.NewDst != nil || r.MPLSDst != nil {
		return nil, false
	}
	add(kind != "", kind)
	add(true, dst.String())
	if r.Via != nil || r.Gw != nil || len(r.MultiPath) == 0 {
		hop, ok := nexthop(r.Gw, r.Via, r.LinkIndex, r.Flags, kind == "")
		if !ok {
			return nil, false
		}
		add(true, hop...)
	}
	add(r.Table != unix.RT_TABLE_MAIN, "table", itoa(r.Table))
	add(r.Protocol != 0, "proto", itoa(int(r.Protocol)))
	add(dst.Addr().Is4() && kind == "", "scope", itoa(int(r.Scope)))
	add(r.Priority != 0, "metric", itoa(r.Priority))
	add(r.Tos != 0, "tos", itoa(r.Tos))
	if src, some := netip.AddrFromSlice(r.Src); some {
		add(true, "src", src.Unmap().String())
	}
	add(r.MTU != 0, "mtu", itoa(r.MTU))
	add(r.AdvMSS != 0, "advmss", itoa(r.AdvMSS))
	add(r.Hoplimit != 0, "hoplimit", itoa(r.Hoplimit))
	add(r.InitCwnd != 0, "initcwnd", itoa(r.InitCwnd))
	for _, h := range r.MultiPath {
		hop, ok := nexthop(h.Gw, h.Via, h.LinkIndex, h.Flags, true)
		if !ok || h.Encap != nil {
			return nil, false
		}
		add(true, "nexthop")
		add(true, hop...)
		add(true, "weight", itoa(h.Hops+1))
	}
	return words, !slices.Contains(words, "")
}

// nexthop returns the words for where a route leads.
func nexthop(gw []byte, via netlink.Destination, index, flags int, leads bool) (words []string, ok bool) {
	if a, some := netip.AddrFromSlice(gw); some {
		words = append(words, "via", a.Unmap().String())
	} else if via, is := via.(*netlink.Via); is && via != nil {
		a, some := netip.AddrFromSlice(via.Addr)
		if !some {
			return nil, false
		}
		words = append(words, "via", "inet6", a.String())
	}
	if leads {
		l, err := netlink.LinkByIndex(index)
		if err != nil {
			return nil, false
		}
		words = append(words, "dev", l.Attrs().Name)
	}
	if flags&int(netlink.FLAG_ONLINK) != 0 {
		words = append(words, "onlink")
	}
	return words, true
}
