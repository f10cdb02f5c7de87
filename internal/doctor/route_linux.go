package doctor

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// route asks the kernel which route it would take to an address.
func route(a netip.Addr) Route {
	r, err := ask(a, &netlink.RouteGetOptions{FIBMatch: true})
	if refused(err) {
		return refusal(a)
	}
	return r
}

// refused reports whether a route or a rule ends packets: unreachable, blackhole,
// prohibit. Where there is no route it is ENETUNREACH.
func refused(err error) bool {
	return errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EACCES)
}

// refusal looks in the main table for the longest route that ends packets for an
// address. If there is none, a rule does.
func refusal(a netip.Addr) Route {
	best := Route{Refuses: true}
	routes, err := netlink.RouteListFiltered(familyOf(a.Is6()), &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return best
	}
	for i := range routes {
		switch routes[i].Type {
		case unix.RTN_UNREACHABLE, unix.RTN_BLACKHOLE, unix.RTN_PROHIBIT:
			if p, ok := prefixOf(routes[i].Dst); ok && p.Contains(a) && p.Bits() > best.Dst.Bits() {
				best.Dst = p
			}
		}
	}
	return best
}

// forwarded asks the kernel which route a packet from elsewhere would take. An
// IPv4 packet has to have a source, which the kernel checks; it says nothing on
// interfaces that do not forward.
func forwarded(in string, src, dst netip.Addr) (Route, bool) {
	root := uint32(0) // whose packets the kernel takes forwarded ones for: rules with uidrange
	o := &netlink.RouteGetOptions{FIBMatch: true, Iif: in, UID: &root}
	if src.IsValid() {
		o.SrcAddr = src.AsSlice()
	} else if dst.Is4() {
		return Route{}, false
	}
	r, err := ask(dst, o)
	// No route, and those that say so.
	for _, known := range []error{unix.ENETUNREACH, unix.EACCES} {
		if errors.Is(err, known) {
			return Route{}, true
		}
	}
	return r, err == nil || dst.Is6() // a blackhole; of a source, IPv6 says nothing
}

// ask asks the kernel for a route.
func ask(a netip.Addr, o *netlink.RouteGetOptions) (Route, error) {
	routes, err := netlink.RouteGetWithOptions(a.AsSlice(), o)
	if err != nil || len(routes) == 0 {
		return Route{}, err
	}
	return convert(&routes[0], a), nil
}

// convert makes a Route of what the kernel says of the way to an address.
func convert(r *netlink.Route, a netip.Addr) Route {
	got := Route{Local: r.Type == unix.RTN_LOCAL, Connected: r.Protocol == unix.RTPROT_KERNEL, Table: r.Table}
	if r.Type != unix.RTN_UNICAST && !got.Local {
		return Route{} // blackhole, unreachable, …
	}
	if got.Table == unix.RT_TABLE_MAIN {
		got.Table = 0
	}
	index := r.LinkIndex
	if index == 0 && len(r.MultiPath) > 0 {
		index = r.MultiPath[0].LinkIndex
	}
	if l, err := netlink.LinkByIndex(index); err == nil {
		got.Link = l.Attrs().Name
	}
	got.Via, _ = netip.AddrFromSlice(r.Gw)
	got.Via = got.Via.Unmap()
	got.Dst = netip.PrefixFrom(a, 0).Masked()
	if p, ok := prefixOf(r.Dst); ok {
		got.Dst = p
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

// tableRoute looks for the longest prefix in a table.
func tableRoute(table int, dst netip.Addr) (best Route) {
	routes, err := netlink.RouteListFiltered(familyOf(dst.Is6()), &netlink.Route{Table: table}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return Route{}
	}
	for i := range routes {
		r := convert(&routes[i], dst)
		if r.Link != "" && r.Dst.Contains(dst) && (best.Link == "" || r.Dst.Bits() > best.Dst.Bits()) {
			best = r
		}
	}
	return best
}

// routesTo lists the IPv4 routes of all tables to an interface.
func routesTo(link string) (list []Route) {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return nil
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{LinkIndex: l.Attrs().Index, Table: unix.RT_TABLE_UNSPEC},
		netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil
	}
	for i := range routes {
		if r := convert(&routes[i], netip.IPv4Unspecified()); r.Link == link && !r.Local {
			list = append(list, r)
		}
	}
	return list
}

func familyOf(six bool) int {
	if six {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}

// policy lists the rules that a machine does not have by itself, and the tables of
// VRF devices. Rules that lead to no table (prohibit, goto) have their effect when
// the kernel is asked.
func policy() (rules []RoutingRule) {
	for _, six := range []bool{false, true} {
		list, err := netlink.RuleList(familyOf(six))
		if err != nil {
			continue
		}
		for i := range list {
			if r := &list[i]; !usual(r) {
				rules = append(rules, routingRule(r, six))
			}
		}
	}
	links, _ := netlink.LinkList()
	for _, l := range links {
		if vrf, ok := l.(*netlink.Vrf); ok {
			for _, six := range []bool{false, true} {
				rules = append(rules, RoutingRule{Six: six, Text: "vrf " + vrf.Name, Table: int(vrf.Table), Suppress: -1})
			}
		}
	}
	return rules
}

// usual reports whether a rule is one of the three that every machine has.
func usual(r *netlink.Rule) bool {
	known := r.Table == unix.RT_TABLE_LOCAL || r.Table == unix.RT_TABLE_MAIN || r.Table == unix.RT_TABLE_DEFAULT
	return known && text(r) == fmt.Sprintf("pref %d lookup %s", r.Priority, tableName(r.Table))
}

// routingRule converts a rule.
func routingRule(r *netlink.Rule, six bool) RoutingRule {
	got := RoutingRule{Six: six, Text: text(r), In: r.IifName, Not: r.Invert, Marked: r.Mark != 0, Table: r.Table, Suppress: r.SuppressPrefixlen}
	got.Src, _ = prefixOf(r.Src)
	got.Dst, _ = prefixOf(r.Dst)
	return got
}

// text returns a rule in the words of ip rule.
func text(r *netlink.Rule) string {
	var b strings.Builder
	fmt.Fprintf(&b, "pref %d", r.Priority)
	say := func(there bool, format string, args ...any) {
		if there {
			fmt.Fprintf(&b, " "+format, args...)
		}
	}
	say(r.Invert, "not")
	say(r.Src != nil, "from %v", r.Src)
	say(r.Dst != nil, "to %v", r.Dst)
	say(r.Tos != 0, "tos %#x", r.Tos)
	say(r.Mark != 0 || r.Mask != nil && *r.Mask != 0, "fwmark %#x", r.Mark)
	say(r.Mask != nil && *r.Mask != 0 && *r.Mask != 0xffffffff, "mask %#x", mask(r))
	say(r.IifName != "", "iif %s", r.IifName)
	say(r.OifName != "", "oif %s", r.OifName)
	if u := r.UIDRange; u != nil {
		say(true, "uidrange %d-%d", u.Start, u.End)
	}
	say(r.IPProto > 0, "ipproto %d", r.IPProto)
	if p := r.Sport; p != nil {
		say(true, "sport %d-%d", p.Start, p.End)
	}
	if p := r.Dport; p != nil {
		say(true, "dport %d-%d", p.Start, p.End)
	}
	say(r.TunID != 0, "tun_id %d", r.TunID)
	say(r.Goto > 0, "goto %d", r.Goto)
	say(r.Table != 0, "lookup %s", tableName(r.Table))
	say(r.SuppressPrefixlen >= 0, "suppress_prefixlength %d", r.SuppressPrefixlen)
	say(r.SuppressIfgroup >= 0, "suppress_ifgroup %d", r.SuppressIfgroup)
	return b.String()
}

func mask(r *netlink.Rule) uint32 {
	if r.Mask == nil {
		return 0
	}
	return *r.Mask
}

// tableName returns the name that the kernel's own tables have.
func tableName(table int) string {
	switch table {
	case unix.RT_TABLE_MAIN:
		return "main"
	case unix.RT_TABLE_LOCAL:
		return "local"
	case unix.RT_TABLE_DEFAULT:
		return "default"
	}
	return itoa(table)
}
