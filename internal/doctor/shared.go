package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// The names of pools in findings.
const (
	dynamic  = "pool"
	stateful = "stateful-pool"
)

// A pooled is a prefix of a pool.
type pooled struct {
	directive string
	netip.Prefix
}

// pools lists the prefixes of dynamic and of stateful pools.
func (e *examination) pools() (list []pooled) {
	for _, p := range e.Conf.PoolPrefixes() {
		list = append(list, pooled{dynamic, p})
	}
	for _, p := range e.Conf.SharedPrefixes() {
		list = append(list, pooled{stateful, p})
	}
	return list
}

// sharedPool returns the stateful pool that has an address.
func (e *examination) sharedPool(a netip.Addr) (taygaconf.SharedPool, bool) {
	i := slices.IndexFunc(e.Conf.Stateful.Pools, func(p taygaconf.SharedPool) bool { return p.Prefix.Contains(a) })
	if i < 0 {
		return taygaconf.SharedPool{}, false
	}
	return e.Conf.Stateful.Pools[i], true
}

// addOwnShared says that an address of this machine is in a stateful pool. Packets to it
// come to local sockets and not to the device, and its ports are used twice.
func (e *examination) addOwnShared(l Link, p netip.Prefix, pool taygaconf.SharedPool) {
	tun, a := e.Conf.TunDevice, p.Addr()
	text := fmt.Sprintf("%s %s contains %s, an address of this machine, on %s", stateful, pool.Prefix, a, l.Name)
	r := e.Machine.Route(a)
	rule, unsure := e.otherwise("", netip.Addr{}, a, e.toDevice)
	switch {
	case l.Name == tun:
		e.fix(Error, "address", e.removeAddress(l, p), "%s: the kernel keeps packets to it, and hosts get no answers", text)
	case e.toDevice(r) || unsure:
		if unsure {
			text += fmt.Sprintf("; packets to it are routed to %s only by the rule %q, whose conditions were not checked", tun, rule)
		}
		if ports := e.overlap(pool); ports != "" {
			e.add(Warning, "address", "%s: %s: connections of this machine and of hosts get the same ports: name other ports in %s", text, ports, stateful)
		} else {
			e.add(Note, "address", "%s: programs of this machine get no packets to ports %d-%d of it", text, pool.Low, pool.High)
		}
	default:
		if ports := e.overlap(pool); ports != "" {
			text += " (" + ports + ")"
		}
		e.add(Error, "address", "%s: the kernel keeps packets to it for its own sockets, and hosts get no answers: use an address that is routed to this machine and that no interface has, or, if there is none, a dynamic-pool of private addresses with masquerading", text)
	}
}

// overlap says which ports of a pool the kernel gives to sockets of this machine as well;
// empty if none are known.
func (e *examination) overlap(pool taygaconf.SharedPool) string {
	if e.Machine.LocalPorts == nil {
		return ""
	}
	low, high, ok := e.Machine.LocalPorts()
	if !ok || low > int(pool.High) || high < int(pool.Low) {
		return ""
	}
	return fmt.Sprintf("its ports %d-%d overlap %d-%d, net.ipv4.ip_local_port_range", pool.Low, pool.High, low, high)
}

// forwarded reports whether hosts that share an address have static bindings, so that
// connections come from IPv4.
func (e *examination) forwarded(near netip.Addr) bool {
	pool, found := e.sharedPool(near)
	in := func(b taygaconf.Binding) bool { return pool.Prefix.Contains(b.Addr.Addr()) }
	return found && (slices.ContainsFunc(e.Conf.Stateful.Bindings, in) || slices.ContainsFunc(e.Bindings, in))
}

// checkSharedSource looks for rules that change the source of packets from shared
// addresses, as masquerading does that a dynamic pool needed before. Hosts lose the ports
// that they were assigned, and what the log says about them is not what others see.
func (e *examination) checkSharedSource() {
	if e.Machine.Filters.Unseen != "" {
		return
	}
	for _, p := range e.Conf.SharedPrefixes() {
		if private(p) {
			continue // which needs that
		}
		f := e.sharedFlow(p)
		for i := range e.Machine.Filters.Chains {
			c := &e.Machine.Filters.Chains[i]
			if c.Hook == "postrouting" && c.Kind == "nat" && c.sees(f) && e.Machine.Filters.fate(c, f) == mayMasquerade {
				e.fix(Warning, "masquerading", e.exempt(c, p),
					"chain %s of table %s %s replaces the source of packets from %s %s: hosts do not keep their ports, and others do not see the address that the log has", c.Name, c.Family, c.Table, stateful, p)
			}
		}
	}
}

// sharedFlow is a first packet from the translator to the internet.
func (e *examination) sharedFlow(p netip.Prefix) flow {
	a := e.sample(p)
	return flow{in: e.Conf.TunDevice, out: e.exit(false, a), src: a, state: "new"}
}

// exempt takes a pool out of a chain of NAT.
func (e *examination) exempt(c *Chain, p netip.Prefix) Change {
	about := []Touch{{Prefix: p}}
	if c.Tool == toolIPTables || e.Machine.Tools.IPTables && c.ofIPTables() {
		program := c.Program
		if program == "" {
			program = "iptables"
		}
		return iptablesRules("-I", [][]string{{program, "-t", c.Table, "", c.Name, "-s", p.String(), "-j", "ACCEPT"}}, about)
	}
	return nftRule("insert", c.Family, c.Table, c.Name, []string{fmt.Sprintf("ip saddr %s accept", p)}, about)
}

// checkTracking looks whether connection tracking follows the sessions of hosts once more:
// it costs time for each packet, and has a limit of its own. Rules for it in a packet
// filter are the only use.
func (e *examination) checkTracking() {
	states := false
	tracks := slices.ContainsFunc(e.Machine.Filters.Chains, func(c Chain) bool {
		states = states || c.Family != "ip6" && slices.ContainsFunc(c.Rules, rule.looksAtState)
		return (c.Family == "ip" || c.Family == "inet") && c.Kind == "nat" && c.Hook != ""
	}) || states
	if e.Machine.Filters.Unseen != "" || !tracks {
		return
	}
	for _, p := range e.Conf.SharedPrefixes() {
		out := e.sharedFlow(p)
		back := flow{in: out.out, dst: out.src}
		if e.untracked(out) && e.untracked(back) || e.masquerades(out.src) {
			continue
		}
		const text = "connection tracking of the kernel follows each session of %s %s again, which costs time and has a limit of its own (net.netfilter.nf_conntrack_max): leave the pool out by notrack"
		if states {
			e.add(Note, "conntrack", text+", and let rules that match the state of connections accept untracked packets of it", stateful, p)
			continue
		}
		e.fix(Note, "conntrack", e.notrack(p), text, stateful, p)
	}
}

// looksAtState reports whether a rule matches the state of a connection.
func (r rule) looksAtState() bool {
	return slices.ContainsFunc(r.conds, func(c cond) bool { return c.field == state })
}

// untracked reports whether a rule may keep packets of a flow from connection tracking.
func (e *examination) untracked(f flow) bool {
	f.out, f.state = "", "invalid"
	for i := range e.Machine.Filters.Chains {
		c := &e.Machine.Filters.Chains[i]
		if c.Hook == "prerouting" && c.Priority < conntrackPriority && c.sees(f) && e.Machine.Filters.untracks(c, f) {
			return true
		}
	}
	return false
}

// notrack keeps packets of a pool from connection tracking.
func (e *examination) notrack(p netip.Prefix) Change {
	tun := e.Conf.TunDevice
	about := []Touch{{Prefix: p}, {Prefix: p}}
	if !e.Machine.Tools.Nft && e.Machine.Tools.IPTables {
		return iptablesRules("-A", [][]string{
			{"iptables", "-t", "raw", "", "PREROUTING", "-i", tun, "-s", p.String(), "-j", "CT", "--notrack"},
			{"iptables", "-t", "raw", "", "PREROUTING", "-d", p.String(), "-j", "CT", "--notrack"},
		}, about)
	}
	if strings.ContainsAny(tun, `"\*+`) {
		return Change{} // nft has no words for it
	}
	return e.ownTable("prerouting", "type filter hook prerouting priority raw",
		[]string{fmt.Sprintf("iifname %q ip saddr %s notrack", tun, p), fmt.Sprintf("ip daddr %s notrack", p)}, about)
}

// checkRedirects looks at the redirects of the kernel where hosts share an own address of
// the translator: what they send each other by it leaves the device and comes back.
func (e *examination) checkRedirects() {
	if _, shared := e.sharedPool(e.Conf.IPv4); !shared {
		return
	}
	for _, scope := range []string{e.Conf.TunDevice, "all"} { // either switches them on
		path := "ipv4/conf/" + scope + "/send_redirects"
		if v, ok := e.Machine.Setting(path); ok && v != 0 {
			e.fix(Note, "redirects", e.set(path, 0), "ipv4-addr %s is in %s, and %s is on: the kernel sends ICMP redirects for packets between hosts that share it, which tayga drops", e.Conf.IPv4, stateful, "net."+strings.ReplaceAll(path, "/", "."))
		}
	}
}

// checkSharedHosts says which hosts lease an address and which share one, if both are
// possible and stateful-clients does not say.
func (e *examination) checkSharedHosts() {
	c := e.Conf
	if len(c.Pools) == 0 || len(c.Stateful.Pools) == 0 || len(c.Stateful.Clients) > 0 {
		return
	}
	owners := c.Owners()
	for _, o := range owners[:min(len(owners), maxFindings)] {
		switch {
		case len(o.Leased) == 0 && len(o.Shared) == 0:
		case len(o.Leased) == 0:
			e.add(Note, "clients", "hosts that send to prefix %s share %s", o.Pref64, list(o.Shared))
		case len(o.Shared) == 0 || len(c.PoolClients) == 0:
			e.add(Note, "clients", "hosts that send to prefix %s lease an address of pool %s each; without a free one they are denied and share none", o.Pref64, list(o.Leased))
		default:
			e.add(Note, "clients", "of the hosts that send to prefix %s, those of %s (dynamic-pool-clients) lease an address of pool %s each, and are denied without a free one; all others share %s, since there is no stateful-clients",
				o.Pref64, list(c.PoolClients), list(o.Leased), list(o.Shared))
		}
	}
}

// list writes prefixes, the first ones of many.
func list(ps []netip.Prefix) string {
	var texts []string
	for _, p := range ps {
		texts = append(texts, p.String())
	}
	return names(texts)
}
