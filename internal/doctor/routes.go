package doctor

import (
	"net/netip"
	"slices"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/translate"
)

// What is said at most about one kind of thing, and how many maps are looked at.
const (
	maxFindings = 10
	maxMaps     = 1000
)

// checkRoutes looks whether packets for the prefixes and pools come to the
// device. On our side of a CLAT it is all of IPv4 that has to, and the prefixes
// belong to a translator elsewhere.
func (e *examination) checkRoutes() {
	if e.clat {
		e.checkRoutesOut()
		return
	}
	for _, p := range e.pools() {
		if p.directive != stateful || !p.IsSingleIP() || !e.Machine.holds(p.Prefix) { // else addOwnShared has said so
			e.expect(p.directive, p.Prefix)
		}
	}
	for _, p := range e.Conf.Prefixes {
		e.expect("prefix", p)
	}
}

// checkRoutesOut looks at the routes of a CLAT.
func (e *examination) checkRoutesOut() {
	tun := e.Conf.TunDevice
	src := e.mappedSource()
	for _, p := range e.Conf.Prefixes {
		dst := e.sample(p)
		r := e.wayOut(src, dst)
		if r.Link != "" && r.Link != tun {
			e.checkVPN(p, dst, r)
			continue
		}
		away := func(r Route) bool { return r.Link != "" && r.Link != tun }
		rule, unsure := e.otherwise(tun, src, dst, away)
		switch {
		case unsure:
			e.add(Note, "route", "packets of %s for prefix %s are routed to the other translator only by the rule %q, whose conditions were not checked", tun, p, rule)
		case r.Link == "":
			e.add(Error, "route", "there is no route to prefix %s, the prefix of the other translator", p)
		default:
			e.fix(Error, "route", e.leadAway(r),
				"what goes to prefix %s leads back to %s, and the other translator is elsewhere", p, tun)
		}
	}
	everything := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if e.Machine.uplink(false) != "" || e.promised(everything) {
		return
	}
	any := func(r Route) bool { return r.Link != "" }
	if rule, unsure := e.otherwise("", netip.Addr{}, someAddr(false), any); unsure {
		e.add(Note, "route", "packets for IPv4 have a route only by the rule %q, whose conditions were not checked", rule)
		return
	}
	e.fix(Error, "route", e.defaultHere(), "there is no route to IPv4")
}

// defaultHere leads all of IPv4 to the device.
func (e *examination) defaultHere() Change {
	everything := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	c := e.leadHere("add", everything, nil, 0)
	tun := e.Conf.TunDevice
	c.Do, c.Undo = words("ip", "route", "add", "default", "dev", tun), words("ip", "route", "del", "default", "dev", tun)
	return c
}

// mappedSource returns an IPv6 address that programs here have by a map; none if no
// map gives one.
func (e *examination) mappedSource() (a netip.Addr) {
	for _, m := range e.maps {
		if e.onOurSide(m) {
			return e.sample(m.IPv6)
		}
	}
	return a
}

// table returns the words that name a route's table for ip route.
func (r Route) table() []string {
	if r.Table == 0 {
		return nil
	}
	return []string{"table", itoa(r.Table)}
}

// expect looks whether packets for p come to the device.
func (e *examination) expect(what string, p netip.Prefix) {
	if e.promised(p) {
		return
	}
	if l := e.leads(e.sample(p)); len(l.elsewhere) > 0 {
		e.addLead(what, p, l)
	}
}

// addLead says that packets for p do not come to the device, or that not all do.
func (e *examination) addLead(what string, p netip.Prefix, l lead) {
	tun := e.Conf.TunDevice
	if len(l.here) > 0 {
		e.add(Note, "route", "packets for %s %s are routed to %s if they arrive on %s, and elsewhere if on %s",
			what, p, tun, names(l.here), names(l.elsewhere))
		return
	}
	if rule, unsure := e.otherwise("", netip.Addr{}, e.sample(p), e.toDevice); unsure {
		e.add(Note, "route", "packets for %s %s are routed to %s only by the rule %q, whose conditions were not checked", what, p, tun, rule)
		return
	}
	e.addRoute(what, p, l.route)
}

// addRoute says that p leads to r instead of the device.
func (e *examination) addRoute(what string, p netip.Prefix, r Route) {
	tun := e.Conf.TunDevice
	command := func(verb string) Change { return e.leadHere(verb, p, r.table(), r.Table) }
	add := command("add")
	switch {
	case r.Local:
		e.add(Error, "route", "%s %s contains %s, an address of this machine", what, p, e.sample(p))
	case r.Link == "" && e.ruled(p.Addr().Is6()) && e.toDevice(e.Machine.TableRoute(mainTable, e.sample(p))):
		e.add(Error, "route", "a rule of policy routing overrides the route for %s %s to %s in the main table: see ip rule", what, p, tun)
	case r.Refuses && r.Dst == p:
		e.fix(Error, "route", command("replace"), "packets for %s %s end at a route that is blackhole, unreachable or prohibit", what, p)
	case r.Refuses && r.Dst.Bits() > p.Bits():
		e.add(Error, "route", "packets for %s, a part of %s %s, end at a route that is blackhole, unreachable or prohibit", r.Dst, what, p)
	case r.Link == "" || r.Dst.Bits() == 0:
		e.fix(Error, "route", add, "packets for %s %s are not routed to %s", what, p, tun)
	case r.Dst == p && r.Connected:
		e.add(Error, "route", "%s %s is the network on %s: take another", what, p, r.Link)
	case r.Dst == p:
		e.fix(Error, "route", command("replace"), "packets for %s %s are routed to %s instead of %s", what, p, r.Link, tun)
	case r.Dst.Bits() < p.Bits():
		e.fix(Error, "route", add, "packets for %s %s are not routed to %s; the route for %s leads to %s", what, p, tun, r.Dst, r.Link)
	default:
		e.add(Error, "route", "packets for %s, a part of %s %s, are routed to %s instead of %s", r.Dst, what, p, r.Link, tun)
	}
}

// sample returns an address of the prefix to look up the route of: one that is
// likely to be in use, and is not the machine's own.
func (e *examination) sample(p netip.Prefix) netip.Addr {
	a := p.Addr()
	if p.IsSingleIP() {
		return a
	}
	if a.Is6() {
		if v6, err := translate.Embed(p, netip.AddrFrom4([4]byte{8, 8, 8, 8})); err == nil {
			return v6
		}
		return a.Next()
	}
	if p.Bits() == 0 {
		return netip.AddrFrom4([4]byte{8, 8, 8, 8})
	}
	last := a.As4()
	for i := p.Bits(); i < 32; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	end := netip.AddrFrom4(last)
	for _, b := range []netip.Addr{end.Prev(), end, a.Next(), a.Next().Next()} {
		if p.Contains(b) && b != e.Conf.IPv4 && !e.Machine.holds(netip.PrefixFrom(b, 32)) {
			return b
		}
	}
	return end
}

// checkMaps looks whether packets for one side of each map come to the device,
// and those for the other side do not.
func (e *examination) checkMaps() {
	tun, bad := e.Conf.TunDevice, 0
	for _, m := range e.maps[:min(len(e.maps), maxMaps)] {
		four, six := e.sample(m.IPv4), e.sample(m.IPv6)
		lead4, lead6 := e.leads(four), e.leads(six)
		fine := len(lead4.here) > 0 || len(lead6.here) > 0 || e.promised(m.IPv4) || e.promised(m.IPv6)
		if e.onOurSide(m) {
			fine = len(lead6.here) > 0 || e.promised(m.IPv6)
		}
		// What the translator sends to either side comes back to it.
		loop := len(lead4.here) > 0 && len(lead6.here) > 0 && e.toDevice(e.wayOut(four, four)) && e.toDevice(e.wayOut(six, six))
		if fine && !loop {
			continue
		}
		if bad++; bad > maxFindings {
			continue
		}
		switch {
		case loop:
			e.add(Error, "route", "both sides of map %s are routed to %s: packets loop", m, tun)
		case e.onOurSide(m):
			e.addLead("map", m.IPv6, lead6)
		default:
			e.addLead("map", m.IPv4, lead4)
		}
	}
	if bad > maxFindings {
		e.add(Error, "route", "%d more maps are like this", bad-maxFindings)
	}
}

// onOurSide reports whether the IPv4 side of a map has this machine among its
// hosts, so that its IPv6 side is the one that only the translator knows.
func (e *examination) onOurSide(m taygaconf.Map) bool {
	return clatNetwork.Overlaps(m.IPv4) && m.IPv4.Bits() >= clatNetwork.Bits() || e.Machine.holds(m.IPv4) ||
		slices.ContainsFunc(e.Conf.TunIPs, func(p netip.Prefix) bool { return m.IPv4.Contains(p.Addr()) })
}

// clatNetwork is for hosts with a CLAT, and they for it: RFC 7335.
var clatNetwork = netip.MustParsePrefix("192.0.0.0/29")

// checkNeighbours looks for addresses that lie in the network of another
// interface. Hosts there ask for them by ARP or neighbour discovery, and no host
// answers unless the kernel is told to.
func (e *examination) checkNeighbours() {
	said := 0
	check := func(what string, p netip.Prefix) {
		l, near := e.neighbour(p)
		if !near || said == maxFindings || p.IsSingleIP() && e.Machine.holds(p) { // which the kernel answers for
			return
		}
		kind, setting := "ipv4", "proxy_arp"
		if p.Addr().Is6() {
			kind, setting = "ipv6", "proxy_ndp"
		}
		path := kind + "/conf/" + l.Name + "/" + setting
		all, _ := e.Machine.Setting(kind + "/conf/all/" + setting)
		own, _ := e.Machine.Setting(path)
		entry := p.IsSingleIP() && e.Machine.Proxied(p.Addr(), l.Name)
		add := proxy(p.Addr(), l.Name)
		command := Change{}
		switch {
		case p.Addr().Is4() && (entry || max(all, own) > 0), p.Addr().Is6() && entry && max(all, own) > 0:
			return
		case p.Addr().Is4() && p.IsSingleIP():
			command = add
		case p.Addr().Is4():
			command = e.set(path, 1)
		case p.IsSingleIP():
			command = e.set(path, 1)
			if !entry {
				command = command.also(add)
			}
		}
		said++
		e.fix(Warning, "neighbours", command, "%s %s lies in the network on %s, where no host answers for it", what, p, l.Name)
	}
	for _, m := range e.maps[:min(len(e.maps), maxMaps)] {
		if e.onOurSide(m) {
			check("map", m.IPv6)
		} else if len(e.leads(e.sample(m.IPv4)).here) > 0 {
			check("map", m.IPv4)
		}
	}
	for _, p := range e.pools() {
		check(p.directive, p.Prefix)
	}
}

// neighbour finds the interface in whose network p lies.
func (e *examination) neighbour(p netip.Prefix) (Link, bool) {
	for _, l := range e.Machine.Links {
		for _, a := range l.Addrs {
			if l.Name != e.Conf.TunDevice && !l.Loopback && !a.IsSingleIP() && a.Bits() <= p.Bits() && a.Contains(p.Addr()) {
				return l, true
			}
		}
	}
	return Link{}, false
}
