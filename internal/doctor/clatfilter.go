package doctor

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/translate"
)

// checkFiltersOfCLAT looks for packet filters that drop packets between the programs, the
// device and the uplink. While it runs, tayga inserts rules in the chains of nftables where
// packets are forwarded; before that, these are none that are missing.
func (e *examination) checkFiltersOfCLAT(up Link) {
	if e.Machine.Filters.Unseen != "" {
		e.add(Note, "firewall", "packet filters were not checked: %s", e.Machine.Filters.Unseen)
	}
	x := *e
	x.translate(up)
	x.findings = nil
	x.checkChains(slices.Concat(x.flows(), x.sharing()), func(c *Chain) bool { return e.running || !c.passed() })
	e.findings = append(e.findings, x.findings...)
}

// translate has an examination take a CLAT for one with a prefix and a map: those of the
// daemon that runs, or such as they may be.
func (e *examination) translate(up Link) {
	conf := *e.Conf
	e.Conf, e.clat, e.anywhere = &conf, true, true
	if len(conf.Prefixes) == 0 {
		conf.Prefixes = []netip.Prefix{wellKnown}
	}
	program := netip.AddrFrom16([16]byte{0xfd, 15: 1})
	for _, p := range up.Addrs {
		if p.Addr().Is6() && p.Addr().IsGlobalUnicast() {
			program = p.Addr()
		}
	}
	if e.Report != nil && e.Report.CLAT != nil {
		if p, err := netip.ParsePrefix(e.Report.CLAT.Prefix); err == nil {
			conf.Prefixes = []netip.Prefix{p}
		}
		if a, err := netip.ParseAddr(e.Report.CLAT.IPv6); err == nil {
			program, e.anywhere = a, e.Report.CLAT.Address == "shared"
		}
	}
	e.maps = []taygaconf.Map{{Map: translate.Map{IPv4: netip.PrefixFrom(clatNetwork.Addr().Next(), 32), IPv6: netip.PrefixFrom(program, 128)}}}
}

// sharing are packets of the IPv4 clients of this machine.
func (e *examination) sharing() (list []passage) {
	tun := e.Conf.TunDevice
	for _, p := range e.Conf.CLAT.Share {
		first := passage{flow: flow{out: tun, src: e.sample(p), dst: someAddr(false), state: "new"}, hooks: []string{"forward"}}
		answer := passage{flow: flow{in: tun, src: someAddr(false), dst: e.sample(p), state: "established"}, hooks: []string{"forward"}}
		list = append(list, first, answer)
	}
	return list[:min(len(list), maxFindings)]
}

// passed reports whether a chain is one where tayga inserts a rule for a CLAT while it runs:
// internal/hostnet.
func (c *Chain) passed() bool {
	return c.Hook == "forward" && c.Kind == "filter" && !c.Owned && !strings.Contains(c.Program, "legacy")
}

// ofProgram returns the program that has made a chain where packets are forwarded, if it is
// one that would remove rules of others, with its own command for a device.
func (e *examination) ofProgram(c *Chain) (program string, change Change, found bool) {
	tun := e.Conf.TunDevice
	if c.Hook != "forward" || !e.Conf.CLAT.On || strings.ContainsAny(tun, `"\*+`) {
		return "", Change{}, false
	}
	calls := func(prefix string) bool {
		return slices.ContainsFunc(c.Rules, func(r rule) bool { return r.action == jump && strings.HasPrefix(r.target, prefix) })
	}
	switch {
	case c.Table == "firewalld":
		return "firewalld", e.byFirewalld(), true
	case calls("ufw-"), calls("ufw6-"):
		return "UFW", byUFW(c, tun), true
	case calls("DOCKER"):
		return "Docker", e.permit(c, passage{flow: flow{six: c.Family == "ip6"}}), true
	}
	return "", Change{}, false
}

// byUFW has UFW let forwarded packets of a device pass.
func byUFW(c *Chain, tun string) Change {
	chain, program := "ufw-user-forward", "iptables"
	if c.Family == "ip6" {
		chain, program = "ufw6-user-forward", "ip6tables"
	}
	var all Change
	for _, way := range [][2]string{{"in", "-i"}, {"out", "-o"}} {
		all = all.also(Change{
			Do:      words("ufw", "route", "allow", way[0], "on", tun),
			Undo:    words("ufw", "route", "delete", "allow", way[0], "on", tun),
			Touches: []Touch{{Kind: IPTables, Link: tun, Text: words(program, "-C", chain, way[1], tun, "-j", "ACCEPT")}},
		})
	}
	return all
}

// byFirewalld has firewalld forward what comes from a device, by a policy of its own:
// firewalld.policies(5). Its rules are lost whenever it reads its files, and those of others
// are, too.
func (e *examination) byFirewalld() Change {
	const policy = "steppe-clat"
	line := func(args ...string) string { return words(append([]string{"firewall-cmd", "--permanent"}, args...)...) }
	const reload = "firewall-cmd --reload"
	tun := e.Conf.TunDevice
	return Change{
		Do: strings.Join([]string{
			line("--zone=trusted", "--add-interface="+tun), line("--new-policy=" + policy),
			line("--policy="+policy, "--add-ingress-zone=trusted"), line("--policy="+policy, "--add-egress-zone=ANY"),
			line("--policy="+policy, "--set-target=ACCEPT"), reload,
		}, " && "),
		Undo: strings.Join([]string{
			line("--delete-policy=" + policy), line("--zone=trusted", "--remove-interface="+tun), reload,
		}, " && "),
		Touches: []Touch{{Kind: Table, Name: "inet firewalld", Link: tun}},
	}
}
