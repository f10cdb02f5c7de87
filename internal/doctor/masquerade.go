package doctor

import (
	"net/netip"
	"slices"
)

// notPublic are IPv4 networks to which no answers come from outside.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("198.18.0.0/15"),
}

// checkMasquerading looks whether packets from private addresses leave with a
// source that can be answered.
func (e *examination) checkMasquerading() {
	if e.clat || e.Machine.Filters.Unseen != "" {
		return
	}
	said := 0
	check := func(what string, p netip.Prefix) {
		if !private(p) || said == maxFindings || e.masquerades(e.sample(p)) {
			return
		}
		said++
		about := []Touch{{Prefix: p}}
		c := e.ownTable("postrouting", "type nat hook postrouting priority srcnat", []string{"ip saddr " + p.String() + " masquerade"}, about)
		if !e.Machine.Tools.Nft && e.Machine.Tools.IPTables {
			c = iptablesRules("-A", [][]string{{"iptables", "-t", "nat", "", "POSTROUTING", "-s", p.String(), "-j", "MASQUERADE"}}, about)
		}
		e.fix(Warning, "masquerading", c, "%s %s is private, and no rule replaces that source by one that is routed", what, p)
	}
	for _, p := range e.pools() {
		check(p.directive, p.Prefix)
	}
	for _, m := range e.maps[:min(len(e.maps), maxMaps)] {
		if len(e.pools()) == 0 || !e.inPool(m.IPv4) {
			check("map", m.IPv4)
		}
	}
}

// private reports whether no answers come to p from outside.
func private(p netip.Prefix) bool {
	return slices.ContainsFunc(notPublic, func(q netip.Prefix) bool { return q.Contains(p.Addr()) })
}

func (e *examination) inPool(p netip.Prefix) bool {
	for _, q := range e.pools() {
		if q.Overlaps(p) {
			return true
		}
	}
	return false
}

// masquerades reports whether some rule may change the source of packets from a.
func (e *examination) masquerades(a netip.Addr) bool {
	f := flow{in: e.Conf.TunDevice, out: e.exit(false, a), src: a, state: "new"}
	for i := range e.Machine.Filters.Chains {
		c := &e.Machine.Filters.Chains[i]
		if c.Hook == "postrouting" && c.Kind == "nat" && c.sees(f) && e.Machine.Filters.fate(c, f)&mayMasquerade != 0 {
			return true
		}
	}
	return false
}
