package autogw

import (
	"net/netip"
	"slices"

	"github.com/steppe-nat64/steppe/internal/hostnet"
)

// Policy is what a gateway may change.
func Policy() hostnet.Policy { return hostnet.Policy{Device: Device, Table: Table, Gateway: true} }

// changes returns what has to be changed of the machine's network. Masquerading comes before the
// routes, so that no packet leaves with an address of the pool. It is for all interfaces, so
// it need not change when IPv4 takes another.
func (p *Plan) changes(m *Machine, o Options) (list []hostnet.Change) {
	add := func(c hostnet.Change) { list = append(list, c) }
	sysctl := func(name string) { add(hostnet.Change{Sysctl: &hostnet.Sysctl{Name: name, Value: "1"}}) }

	sysctl("net/ipv6/conf/all/forwarding")
	for _, name := range p.forwarders(m) {
		sysctl("net/ipv4/conf/" + name + "/forwarding")
	}
	if !p.Shared {
		add(hostnet.Change{NAT: &hostnet.NAT{Table: hostnet.TableName(Device, "nat"), Sources: p.Pool}})
	}
	for _, pool := range p.Pool {
		add(hostnet.Change{Accept: &hostnet.Accept{Device: Device, Src: pool}})
	}
	own := netip.PrefixFrom(p.IPv6, 128)
	add(hostnet.Change{Accept: &hostnet.Accept{Device: Device, Dst: Prefix, Into: true}})
	add(hostnet.Change{Accept: &hostnet.Accept{Device: Device, Src: own}}) // ICMPv6 errors
	for _, dst := range append([]netip.Prefix{Prefix, own}, p.Pool...) {
		add(hostnet.Change{Route: &hostnet.Route{Device: Device, Dst: dst, Table: Table}})
	}
	list = append(list, p.exit(m, o)...)
	for _, pool := range p.Pool {
		add(rule(hostnet.Rule{To: pool}))
	}
	add(rule(hostnet.Rule{Six: true, In: "lo"}))
	for _, l := range p.LANs {
		if len(l.Clients) == 0 {
			add(rule(hostnet.Rule{Six: true, In: l.Link}))
		}
		for _, c := range l.Clients {
			add(rule(hostnet.Rule{Six: true, In: l.Link, From: c}))
		}
	}
	return list
}

// rule completes a rule that leads to the table of the gateway.
func rule(r hostnet.Rule) hostnet.Change {
	r.Priority, r.Table = Table, Table
	return hostnet.Change{Rule: &r}
}

// forwarders lists the interfaces that IPv4 packets come in on: the device, and all that answers
// may come in on. Forwarding everywhere would also change which redirects the kernel follows.
func (p *Plan) forwarders(m *Machine) []string {
	list := []string{Device, p.WAN}
	names, _ := m.uplinks(false)
	for _, name := range names {
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

// exit leads the clients' packets to the interface that was given for IPv4, where the machine's
// own take another. A strict reverse path filter finds that way for answers, too: the kernel looks
// for it as for a packet from the interface that the answer leaves by, which is the device
// (fib_validate_source in __mkroute_input).
func (p *Plan) exit(m *Machine, o Options) (list []hostnet.Change) {
	best, _ := m.uplinks(false)
	if o.WAN == "" || len(best) > 0 && best[0] == o.WAN {
		return nil
	}
	for _, r := range m.Routes {
		if r.Type != Unicast || r.Dst.Bits() != 0 || !r.Dst.Addr().Is4() || !slices.Equal(r.Links, []string{o.WAN}) {
			continue
		}
		list = append(list, hostnet.Change{Route: &hostnet.Route{Device: o.WAN, Dst: r.Dst, Via: r.Via, Table: Table}})
		for _, pool := range p.Pool {
			list = append(list, rule(hostnet.Rule{In: Device, From: pool}))
		}
		return list
	}
	return nil
}
