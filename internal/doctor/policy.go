package doctor

import (
	"net/netip"
	"slices"
	"strings"
)

// Where rules of policy routing are, a route depends on the interface that a packet
// comes in on, on its source and on its mark. The kernel is asked as such a packet
// would ask it. The mark, which packet filters set, and other conditions are not
// known: where they decide, there is a note and no error.

// ruled reports whether there are rules of policy routing for a family.
func (e *examination) ruled(six bool) bool {
	return slices.ContainsFunc(e.Machine.Policy, func(r RoutingRule) bool { return r.Six == six })
}

// wayFrom returns where a packet goes that comes in on an interface.
func (e *examination) wayFrom(in string, src, dst netip.Addr) Route {
	if e.ruled(dst.Is6()) {
		if r, ok := e.Machine.Forwarded(in, src, dst); ok {
			return r
		}
	}
	return e.Machine.Route(dst)
}

// wayOut returns where a packet goes that the translator has sent.
func (e *examination) wayOut(src, dst netip.Addr) Route {
	return e.wayFrom(e.Conf.TunDevice, src, dst)
}

// exit returns the interface by which translated packets leave for most of IPv4 or
// IPv6; empty if there is none, or if it cannot be known.
func (e *examination) exit(six bool, src netip.Addr) string {
	dst := someAddr(six)
	r := e.wayOut(src, dst)
	elsewhere := func(o Route) bool { return o.Link != "" && o.Link != r.Link && o.Link != e.Conf.TunDevice }
	if _, unsure := e.otherwise(e.Conf.TunDevice, src, dst, elsewhere); unsure {
		return ""
	}
	return r.Link
}

// ownSource returns an IPv4 address that packets from the translator have; none if
// only prefixes give it any.
func (e *examination) ownSource() (a netip.Addr) {
	switch {
	case len(e.pools()) > 0:
		return e.sample(e.pools()[0].Prefix)
	case len(e.maps) > 0:
		return e.sample(e.maps[0].IPv4)
	}
	return a
}

// A lead says which packets for an address come to the device.
type lead struct {
	here, elsewhere []string // interfaces: packets that come in there do, or do not
	route           Route    // of those that do not
}

// leads finds out which packets for dst come to the device. Without rules of policy
// routing it is all of them or none, and the interfaces have no names.
func (e *examination) leads(dst netip.Addr) (l lead) {
	take := func(in string, r Route) {
		if r.Link == e.Conf.TunDevice && !r.Local {
			l.here = append(l.here, in)
			return
		}
		if l.elsewhere == nil || l.route.Table != 0 && r.Table == 0 {
			l.route = r // best one of the main table, in which routes are added
		}
		l.elsewhere = append(l.elsewhere, in)
	}
	if e.ruled(dst.Is6()) {
		for _, link := range e.Machine.Links {
			if src, possible := e.arrival(link, dst); possible {
				if r, ok := e.Machine.Forwarded(link.Name, src, dst); ok {
					take(link.Name, r)
				}
			}
		}
	}
	if len(l.here)+len(l.elsewhere) == 0 {
		take("", e.Machine.Route(dst))
	}
	return l
}

// arrival reports whether packets for dst may come in on an interface: one that has
// an address of the family, or that a rule names. They have the returned source.
func (e *examination) arrival(l Link, dst netip.Addr) (src netip.Addr, possible bool) {
	if !l.Up || l.Loopback || l.Name == e.Conf.TunDevice {
		return src, false
	}
	possible = slices.ContainsFunc(e.Machine.Policy, func(r RoutingRule) bool { return r.Six == dst.Is6() && r.In == l.Name })
	for _, a := range l.Addrs {
		if a.Addr().Is6() != dst.Is6() {
			continue
		}
		possible = true
		if b := neighbourOf(a); !src.IsValid() && b.IsValid() && !a.Addr().IsLinkLocalUnicast() {
			src = b
		}
	}
	switch {
	case e.clat && dst.Is6() && len(e.Conf.Prefixes) > 0:
		src = e.sample(e.Conf.Prefixes[0])
	case l.Name == e.Machine.uplink(dst.Is6()), dst.Is4() && !src.IsValid():
		src = someAddr(dst.Is6())
	}
	return src, possible
}

// neighbourOf returns another address of the network of an interface's address.
func neighbourOf(p netip.Prefix) netip.Addr {
	for _, a := range []netip.Addr{p.Addr().Next(), p.Addr().Prev()} {
		if p.Contains(a) && a != p.Masked().Addr() {
			return a
		}
	}
	return netip.Addr{}
}

// otherwise returns a rule of policy routing that may lead packets for dst to a
// route that is good, if its conditions hold. What is not known of the packet is
// empty.
func (e *examination) otherwise(in string, src, dst netip.Addr, good func(Route) bool) (text string, found bool) {
	for _, r := range e.Machine.Policy {
		if r.Six != dst.Is6() || r.Table == 0 || !r.mayHold(in, src, dst) {
			continue
		}
		if way := e.Machine.TableRoute(r.Table, dst); way.Dst.Bits() > r.Suppress && good(way) {
			return r.Text, true
		}
	}
	return "", false
}

// mayHold reports whether a packet can meet the conditions of a rule.
func (r *RoutingRule) mayHold(in string, src, dst netip.Addr) bool {
	if r.Not {
		return true
	}
	return (r.In == "" || in == "" || r.In == in) &&
		(!r.Src.IsValid() || !src.IsValid() || r.Src.Contains(src)) &&
		(!r.Dst.IsValid() || r.Dst.Contains(dst))
}

// checkVPN looks for a VPN that leads all packets into its tunnel but its own, which it
// marks, as wg-quick does. If its own are IPv4 packets, they go to a CLAT; the mark ends
// there, and what the CLAT sends is led into the tunnel again. r is the way of that. No
// other packets come to the CLAT if those of programs go into the tunnel as they are.
func (e *examination) checkVPN(p netip.Prefix, dst netip.Addr, r Route) {
	tun := e.Conf.TunDevice
	for _, rule := range e.Machine.Policy {
		if rule.Six && rule.Not && rule.Marked && e.Machine.TableRoute(rule.Table, dst).Link == r.Link &&
			e.Machine.uplink(false) == r.Link && e.Machine.TableRoute(mainTable, someAddr(false)).Link == tun {
			line := func(verb string) string {
				return words("ip", "-6", "rule", verb, "iif", tun, "lookup", "main", "pref", "100")
			}
			e.fix(Warning, "route", Change{line("add"), line("del"), false, false, []Touch{{Kind: Rule, Link: tun, Text: "pref 100 iif " + tun + " lookup main"}}},
				"packets of %s for prefix %s are routed to %s by the rule %q, since the mark of those that it excepts ends at %s: they loop", tun, p, r.Link, rule.Text, tun)
			return
		}
	}
}

// mainTable is the number of the table main: linux/rtnetlink.h.
const mainTable = 254

// toDevice reports whether a route leads to the device.
func (e *examination) toDevice(r Route) bool { return r.Link == e.Conf.TunDevice && !r.Local }

// names lists interfaces in a finding.
func names(list []string) string {
	if n := len(list) - maxFindings; n > 0 {
		return strings.Join(list[:maxFindings], ", ") + " and " + itoa(n) + " more"
	}
	return strings.Join(list, ", ")
}
