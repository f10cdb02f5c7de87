package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// conntrackPriority is the place of connection tracking among the chains of a hook.
// Before it no packet has a connection, and all of them count as invalid:
// nft_ct_get_eval, NF_IP_PRI_CONNTRACK.
const conntrackPriority = -200

// checkFirewall looks whether packet filters drop what goes to the device or comes
// from it, at any place that such packets pass: by a rule, or by a policy that no rule
// makes an exception from.
func (e *examination) checkFirewall() {
	if e.Machine.Filters.Unseen != "" {
		e.add(Note, "firewall", "packet filters were not checked: %s", e.Machine.Filters.Unseen)
	}
	e.checkChains(e.flows(), func(*Chain) bool { return true })
}

// checkChains looks for packets that selected chains drop.
func (e *examination) checkChains(flows []passage, selected func(*Chain) bool) {
	for i := range e.Machine.Filters.Chains {
		c := &e.Machine.Filters.Chains[i]
		for _, f := range flows { // one command for each chain is enough
			if selected(c) && e.dropped(c, f) {
				name := "IPv4"
				if f.six {
					name = "IPv6"
				}
				if program, c2, found := e.ofProgram(c); found {
					e.fix(Error, "firewall", c2, "chain %s of table %s %s drops %s packets of %s; it is a chain of %s", c.Name, c.Family, c.Table, name, e.Conf.TunDevice, program)
					break
				}
				e.fix(Error, "firewall", e.permit(c, f), "chain %s of table %s %s drops %s packets of %s", c.Name, c.Family, c.Table, name, e.Conf.TunDevice)
				break
			}
		}
	}
}

// A passage is a flow with the places that it comes to.
type passage struct {
	flow
	hooks []string
	// masked: between the machine and others, our address is not to be seen.
	masked bool
}

// What forwarded packets pass, those of the machine's own programs, and those for
// them.
var (
	forwardHooks = []string{"ingress", "prerouting", "forward", "postrouting", "egress"}
	outputHooks  = []string{"output", "postrouting", "egress"}
	inputHooks   = []string{"ingress", "prerouting", "input"}
)

// flows returns packets that have to pass, in either family: those to the device and
// from it, first ones and answers.
func (e *examination) flows() (list []passage) {
	four, six := e.forwards()
	for _, v6 := range []bool{false, true} {
		forwarded := v6 && six || !v6 && four
		for _, ends := range e.ends(v6) {
			switch hosts := v6 != e.clat; { // our hosts have this family, the internet the other
			case hosts:
				list = append(list, e.hostFlows(v6, forwarded, ends)...)
			case forwarded:
				list = append(list, e.outsideFlows(v6, ends)...)
			}
		}
	}
	return list
}

// outsideFlows are those between the translator and the internet.
func (e *examination) outsideFlows(six bool, ends ends) []passage {
	tun, near, far := e.Conf.TunDevice, ends.near, ends.far
	up := e.exit(six, near)
	if up == tun {
		up = ""
	}
	first := passage{flow: flow{six: six, in: tun, out: up, src: near, dst: far, state: "new"}, hooks: forwardHooks}
	own := near
	if !own.IsValid() {
		own = e.ownSource()
	}
	first.masked = !six && own.IsValid() && e.masquerades(own)
	later, answer := first, first
	later.state = "established"
	answer.flow = flow{six: six, in: up, out: tun, src: far, dst: near, state: "established"}
	if len(e.pools()) == 0 && !e.clat {
		answer.in = "" // hosts that a map is for may be anywhere
	}
	list := []passage{first, later, answer}
	if e.forwarded(near) {
		opened := answer
		opened.state = "new"
		list = append(list, opened)
	}
	for i := range list {
		if e.untracked(list[i].flow) {
			list[i].state, list[i].masked = "untracked", false
		}
	}
	return list
}

// hostFlows are those between our hosts and the translator. The interface that the
// hosts are on is not known. Programs of this machine have a CLAT without forwarding.
func (e *examination) hostFlows(six, forwarded bool, ends ends) []passage {
	tun, near, far := e.Conf.TunDevice, ends.near, ends.far
	first := passage{flow: flow{six: six, out: tun, src: near, dst: far, state: "new"}, hooks: forwardHooks}
	later, answer := first, first
	later.state = "established"
	answer.flow = flow{six: six, in: tun, src: far, dst: near, state: "established"}
	switch {
	case forwarded:
	case !e.clat || len(e.maps) == 0:
		return nil
	default:
		first.hooks, later.hooks, answer.hooks = outputHooks, outputHooks, inputHooks
	}
	return []passage{first, later, answer}
}

// ends are the addresses that packets of a family have: our end's and the other's;
// invalid where there are many of them.
type ends struct{ near, far netip.Addr }

// ends returns those that have to pass: of each pool, and of each prefix. Hosts that a
// map is for may be kept from something on purpose, so one of several is not looked at.
func (e *examination) ends(six bool) (list []ends) {
	switch single := len(e.pools())+len(e.maps) == 1; {
	case !six && len(e.pools()) > 0:
		for _, p := range e.pools() {
			list = append(list, ends{near: e.sample(p.Prefix)})
		}
		list = list[:min(len(list), maxFindings)]
	case !six && single:
		list = []ends{{near: e.ownSource()}}
	case e.clat && six && single && !e.anywhere:
		list = []ends{{near: e.mappedSource()}}
	default:
		list = []ends{{}}
	}
	if !six || len(e.Conf.Prefixes) == 0 {
		return list
	}
	near := list[0].near
	list = nil
	for _, p := range e.Conf.Prefixes[:min(len(e.Conf.Prefixes), maxFindings)] {
		list = append(list, ends{near, e.sample(p)})
	}
	return list
}

// dropped reports whether a chain is sure to drop packets that have to pass.
func (e *examination) dropped(c *Chain, p passage) bool {
	f := p.flow
	if c.Hook == "" || !slices.Contains(p.hooks, c.Hook) || !c.sees(f) || c.Kind == "nat" && f.state != "new" {
		return false
	}
	incoming := c.Hook == "ingress" || c.Hook == "prerouting" || c.Hook == "input"
	switch {
	case incoming:
		f.out = ""
		if p.masked && f.in != e.Conf.TunDevice {
			f.dst = netip.Addr{}
		}
	case c.Hook != "forward": // iptables has no words for it there
		f.in = ""
	}
	if p.masked && c.Hook == "egress" && f.out != e.Conf.TunDevice {
		f.src = netip.Addr{}
	}
	switch tracked := c.Hook == "prerouting" || c.Hook == "output"; {
	case c.Hook == "ingress", tracked && c.Priority < conntrackPriority:
		f.state = "invalid"
	case tracked && c.Priority == conntrackPriority:
		f.state = ""
	}
	return e.Machine.Filters.fate(c, f) == mayDrop
}

// sees reports whether packets come to a chain by their family and interfaces.
func (c *Chain) sees(f flow) bool {
	switch c.Family {
	case "ip", "ip6":
		if f.six != (c.Family == "ip6") {
			return false
		}
	case "inet", "netdev":
	default:
		return false // bridge, arp
	}
	switch c.Hook {
	case "ingress":
		return slices.Contains(c.Devices, f.in)
	case "egress":
		return slices.Contains(c.Devices, f.out)
	}
	return true
}

// permit lets packets of the device through a chain.
func (e *examination) permit(c *Chain, p passage) Change {
	tun := e.Conf.TunDevice
	if strings.ContainsAny(tun, `"\*+`) {
		return Change{} // no filter has words for it
	}
	conditions := e.conditions(c, p)
	if len(conditions) == 0 {
		return Change{}
	}
	about := packetsOf(conditions, tun)
	if c.Tool == toolIPTables || e.Machine.Tools.IPTables && c.ofIPTables() {
		program := c.Program
		if program == "" {
			program = "iptables"
			if p.six {
				program = "ip6tables"
			}
		}
		var rules [][]string
		for _, m := range conditions {
			args := []string{program}
			if c.Table != "filter" {
				args = append(args, "-t", c.Table)
			}
			rules = append(rules, append(args, "", c.Name, m.option, m.value, "-j", "ACCEPT"))
		}
		return iptablesRules("-I", rules, about)
	}
	var rules []string
	for _, m := range conditions {
		rules = append(rules, fmt.Sprintf("%s %s accept", m.match, m.quoted()))
	}
	return nftRule("insert", c.Family, c.Table, c.Name, rules, about)
}

// ofIPTables reports whether a chain of nftables is one that iptables makes, and would
// not understand any more after a rule of another program.
func (c *Chain) ofIPTables() bool {
	known := iptablesPriority[c.Table] != 0 || c.Table == "filter"
	return known && (c.Family == "ip" || c.Family == "ip6") && c.Name == strings.ToUpper(c.Hook)
}

// A condition is one that selects packets of the device, for both tools.
type condition struct{ option, match, value string }

// quoted returns the value as nft wants it.
func (m condition) quoted() string {
	if strings.HasSuffix(m.match, "addr") {
		return m.value
	}
	return fmt.Sprintf("%q", m.value)
}

// conditions returns what a rule has to select in a chain: packets from the device, and
// those to it. Where one of the two interfaces is not known, packets are selected by
// the addresses of the translator, if these can be seen.
func (e *examination) conditions(c *Chain, p passage) []condition {
	from, to := condition{"-i", "iifname", e.Conf.TunDevice}, condition{"-o", "oifname", e.Conf.TunDevice}
	switch c.Hook {
	case "forward":
		return []condition{from, to}
	case "ingress", "prerouting", "input":
		if p.in == e.Conf.TunDevice {
			return []condition{from}
		}
		return e.byAddress(p, "-d", "daddr")
	}
	if p.out == e.Conf.TunDevice {
		return []condition{to}
	}
	if c.Hook == "postrouting" {
		p.masked = false // which happens at the end of it
	}
	return e.byAddress(p, "-s", "saddr")
}

// byAddress selects packets by the addresses of the translator in a family.
func (e *examination) byAddress(p passage, option, side string) (list []condition) {
	if p.masked {
		return nil
	}
	add := func(match string, q netip.Prefix) {
		list = append(list, condition{option, match + " " + side, q.String()})
	}
	maps := e.maps[:min(len(e.maps), maxFindings)]
	switch {
	case p.six && e.anywhere:
	case p.six && e.clat:
		for _, m := range maps {
			add("ip6", m.IPv6)
		}
	case p.six:
		for _, q := range e.Conf.Prefixes {
			add("ip6", q)
		}
	case !e.clat:
		for _, q := range e.pools() {
			add("ip", q.Prefix)
		}
		for _, m := range maps {
			add("ip", m.IPv4)
		}
	}
	return list
}
