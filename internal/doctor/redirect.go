package doctor

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// A claim is a part of a stateful pool to which packets from IPv4 have to come: a static
// binding, or the ports of a protocol that hosts are assigned.
type claim struct {
	what      string
	in        netip.Prefix
	proto     string
	low, high int // ports; -1 for ICMP, which has none
}

// checkSharedTarget looks for rules that change the destination of packets to shared
// addresses, as port forwards do that were there before: hosts do not get them.
func (e *examination) checkSharedTarget() {
	if e.Machine.Filters.Unseen != "" {
		return
	}
	claims, points := e.claims(), e.Machine.Filters.points()
	said := 0
	for i := range e.Machine.Filters.Chains {
		c := &e.Machine.Filters.Chains[i]
		if c.Hook != "prerouting" || c.Kind != "nat" {
			continue
		}
		for _, claim := range claims {
			f, found := e.diverted(c, claim, &points)
			if !found {
				continue
			}
			to := f.dst.String()
			if f.port >= 0 {
				to = netip.AddrPortFrom(f.dst, uint16(f.port)).String()
			}
			e.fix(Warning, "forward", e.exemptTarget(c, claim),
				"chain %s of table %s %s sends packets to %s elsewhere (dnat), as for %s %s: hosts of %s do not get them", c.Name, c.Family, c.Table, claim.what, f.proto, to, stateful)
			if said++; said == maxFindings {
				return
			}
		}
	}
}

// claims lists what hosts that share addresses are to get.
func (e *examination) claims() (list []claim) {
	for _, bindings := range [][]taygaconf.Binding{e.Conf.Stateful.Bindings, e.Bindings} {
		for _, b := range bindings[:min(len(bindings), maxMaps)] {
			c := claim{"stateful-map " + b.String(), netip.PrefixFrom(b.Addr.Addr(), 32), taygaconf.ProtocolName(b.Proto), int(b.Addr.Port()), int(b.Addr.Port())}
			if c.proto == "icmp" {
				c.low, c.high = -1, -1
			}
			list = append(list, c)
		}
	}
	for _, p := range e.Conf.Stateful.Pools {
		text := fmt.Sprintf("%s %s", stateful, p.Prefix)
		for _, proto := range []string{"tcp", "udp"} {
			list = append(list, claim{fmt.Sprintf("%s ports %d-%d of %s", proto, p.Low, p.High, text), p.Prefix, proto, int(p.Low), int(p.High)})
		}
		list = append(list, claim{text, p.Prefix, "icmp", -1, -1})
	}
	return list
}

// diverted returns a packet of a claim that a chain gives another destination.
func (e *examination) diverted(c *Chain, k claim, points *points) (f flow, found bool) {
	out := e.sharedFlow(k.in)
	f = flow{in: out.out, state: "new", proto: k.proto}
	if !c.sees(f) {
		return f, false
	}
	for _, f.dst = range points.addrsOf(e.sample(k.in), k.in) {
		for _, f.port = range points.portsOf(k.low, k.high) {
			if points.looked++; points.looked > maxLooks {
				return f, false
			}
			if e.Machine.Filters.redirects(c, f) && !e.untracked(f) {
				return f, true
			}
		}
	}
	return f, false
}

// points are the addresses and ports at which what rules do may change.
type points struct {
	addrs  []netip.Prefix
	ports  [][2]int
	looked int // how many packets were looked at
}

// Limits of what is looked at: addresses and ports that rules name, and packets in all.
const (
	maxPoints = 200
	maxLooks  = 20_000
)

// points collects those of all rules.
func (fs *Filters) points() (p points) {
	for i := range fs.Chains {
		for _, r := range fs.Chains[i].Rules {
			p.take(r.conds)
		}
	}
	return p
}

func (p *points) take(conds []cond) {
	for _, c := range conds {
		for _, t := range c.tuples {
			p.take(t)
		}
		for _, v := range c.values {
			switch c.field {
			case target4:
				if a, err := netip.ParsePrefix(v); err == nil && len(p.addrs) < maxPoints {
					p.addrs = append(p.addrs, a.Masked())
				} else if a, err := netip.ParseAddr(v); err == nil && len(p.addrs) < maxPoints {
					p.addrs = append(p.addrs, netip.PrefixFrom(a, a.BitLen()))
				}
			case targetPort:
				if low, high, err := ports(v); err == nil && len(p.ports) < maxPoints {
					p.ports = append(p.ports, [2]int{low, high})
				}
			}
		}
	}
}

// addrsOf returns an address of a prefix, and those of it that rules name.
func (p *points) addrsOf(sample netip.Addr, in netip.Prefix) []netip.Addr {
	list := []netip.Addr{sample}
	for _, q := range p.addrs {
		if in.Contains(q.Addr()) && !slices.Contains(list, q.Addr()) {
			list = append(list, q.Addr())
		}
	}
	return list
}

// portsOf returns a port of a range, and those of it at which a rule begins, or another one
// after its end.
func (p *points) portsOf(low, high int) []int {
	list := []int{low}
	for _, r := range p.ports {
		for _, n := range []int{r[0], r[1] + 1} {
			if low < n && n <= high && !slices.Contains(list, n) {
				list = append(list, n)
			}
		}
	}
	return list
}

// exemptTarget takes a claim out of a chain of NAT.
func (e *examination) exemptTarget(c *Chain, k claim) Change {
	about := []Touch{{Prefix: k.in}}
	if c.Tool == toolIPTables || e.Machine.Tools.IPTables && c.ofIPTables() {
		program := c.Program
		if program == "" {
			program = "iptables"
		}
		list := []string{program, "-t", c.Table, "", c.Name, "-d", k.in.String(), "-p", k.proto}
		if k.low >= 0 {
			list = append(list, "--dport", fmt.Sprintf("%d:%d", k.low, k.high))
		}
		return iptablesRules("-I", [][]string{append(list, "-j", "ACCEPT")}, about)
	}
	conditions := fmt.Sprintf("ip daddr %s ip protocol %s", k.in, k.proto)
	if k.low >= 0 {
		conditions = fmt.Sprintf("ip daddr %s %s dport %s", k.in, k.proto, portText(k.low, k.high))
	}
	return nftRule("insert", c.Family, c.Table, c.Name, []string{conditions + " accept"}, about)
}

// portText writes ports as nft does.
func portText(low, high int) string {
	if low == high {
		return fmt.Sprint(low)
	}
	return fmt.Sprintf("%d-%d", low, high)
}
