package doctor

import (
	"fmt"
	"net/netip"
	"strings"
)

// checkFirewall looks whether packet filters drop what goes to the device or
// comes from it, as a policy of drop does that nobody made an exception from.
func (e *examination) checkFirewall() {
	if e.Machine.Filters.Unseen != "" {
		e.add(Note, "firewall", "", "packet filters were not looked at: %s", e.Machine.Filters.Unseen)
	}
	four, six := e.forwards()
	for i := range e.Machine.Filters.Chains {
		c := &e.Machine.Filters.Chains[i]
		if c.Hook != "forward" || c.Kind != "filter" {
			continue
		}
		for _, v6 := range []bool{false, true} {
			wanted := four
			if v6 {
				wanted = six
			}
			if wanted && c.sees(v6) && e.dropped(c, v6) {
				family := "IPv4"
				if v6 {
					family = "IPv6"
				}
				e.add(Error, "firewall", e.permit(c, v6), "chain %s of table %s %s drops %s packets of %s", c.Name, c.Family, c.Table, family, e.Conf.TunDevice)
				break // one command is enough for both families
			}
		}
	}
}

// sees reports whether packets of a family come to a chain.
func (c *Chain) sees(six bool) bool {
	return c.Family == "inet" || c.Family == "ip6" && six || c.Family == "ip" && !six
}

// dropped reports whether a chain is sure to drop packets that have to pass: the
// first ones from our hosts, and answers both ways.
func (e *examination) dropped(c *Chain, six bool) bool {
	tun, up := e.Conf.TunDevice, e.Machine.uplink(six)
	if up == tun {
		up = ""
	}
	// Our hosts have IPv6 and come from there to the device, unless they are
	// those of a CLAT.
	towards := six != e.clat
	flows := []flow{
		{six: six, in: tun, state: "established"},
		{six: six, out: tun, state: "established"},
	}
	if towards {
		flows = append(flows, flow{six: six, out: tun, state: "new"})
	} else {
		flows = append(flows, flow{six: six, in: tun, out: up, state: "new"})
	}
	for _, f := range flows {
		if e.Machine.Filters.fate(c, f) == mayDrop {
			return true
		}
	}
	return false
}

// permit returns the command that lets packets of the device through a chain.
func (e *examination) permit(c *Chain, six bool) string {
	tun := e.Conf.TunDevice
	if strings.ContainsAny(tun, `"\*+`) {
		return "" // no filter has words for it
	}
	if c.Tool == toolIPTables || e.Machine.Tools.IPTables && c.Family != "inet" && c.Table == "filter" && c.Name == "FORWARD" {
		program := "iptables"
		if six {
			program = "ip6tables"
		}
		return words(program, "-I", c.Name, "-i", tun, "-j", "ACCEPT") + " && " + words(program, "-I", c.Name, "-o", tun, "-j", "ACCEPT")
	}
	insert := func(side string) string {
		return fmt.Sprintf("insert rule %s %s %s %s %q accept", c.Family, c.Table, c.Name, side, tun)
	}
	return words("nft", insert("iifname")+"; "+insert("oifname"))
}

// notPublic are IPv4 networks that nobody answers to from outside.
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
		private := false
		for _, q := range notPublic {
			private = private || q.Contains(p.Addr())
		}
		if !private || said == maxFindings || e.masquerades(e.sample(p)) {
			return
		}
		said++
		rule := "add rule ip tayga postrouting ip saddr " + p.String() + " masquerade"
		command := words("nft", "add table ip tayga; add chain ip tayga postrouting { type nat hook postrouting priority srcnat; }; "+rule)
		if !e.Machine.Tools.Nft && e.Machine.Tools.IPTables {
			command = words("iptables", "-t", "nat", "-A", "POSTROUTING", "-s", p.String(), "-j", "MASQUERADE")
		}
		e.add(Warning, "masquerading", command, "%s %s is private, and nothing gives its packets a source that others can answer", what, p)
	}
	for _, p := range e.Conf.Pools {
		check("pool", p)
	}
	for _, m := range e.maps[:min(len(e.maps), maxMaps)] {
		if len(e.Conf.Pools) == 0 || !e.inPool(m.IPv4) {
			check("map", m.IPv4)
		}
	}
}

func (e *examination) inPool(p netip.Prefix) bool {
	for _, q := range e.Conf.Pools {
		if q.Overlaps(p) {
			return true
		}
	}
	return false
}

// masquerades reports whether some rule may change the source of packets from a.
func (e *examination) masquerades(a netip.Addr) bool {
	f := flow{in: e.Conf.TunDevice, out: e.Machine.uplink(false), src: a, state: "new"}
	for i := range e.Machine.Filters.Chains {
		c := &e.Machine.Filters.Chains[i]
		if c.Hook == "postrouting" && c.Kind == "nat" && c.sees(false) && e.Machine.Filters.fate(c, f)&mayMasquerade != 0 {
			return true
		}
	}
	return false
}
