package clat

import (
	"crypto/hmac"
	"crypto/sha256"
	"net/netip"

	"github.com/steppe-nat64/steppe/internal/hostnet"
)

const (
	// leastMetric is above those that network managers give to routes.
	leastMetric = 2048
	mostMetric  = 1<<31 - 1
	// headerGrowth is by how much a packet may become longer: the IPv6 header instead of the
	// IPv4 header, and a Fragment header (RFC 7915 §4).
	headerGrowth = 28
)

// A use is what a CLAT works by.
type use struct {
	index  int // of the uplink
	uplink string
	prefix netip.Prefix
	source string
	router netip.Addr // that told the prefix
	host6  netip.Addr
	mode   Mode
	shared netip.Addr // with Shared: the machine's address; zero if the kernel chooses
	why    string     // mode is so
}

// A plan is what the machine and the translator have to be like for a use.
type plan struct {
	changes     []hostnet.Change
	translation Translation
	mtu         int // for IPv4
}

// plan returns the plan for a use. It reports false if there is no route to the prefix.
func (c *Config) plan(s *snapshot, u use, forceForwarding bool) (p plan, ok bool) {
	uplink := s.link(u.index)
	route, ok := s.routeTo(u.index, u.prefix, u.router)
	if !ok {
		return p, false
	}
	mtu := pathMTU(uplink, route)
	p.mtu = mtu - headerGrowth
	p.translation = Translation{Prefix: u.prefix, Host4: host4, Host6: u.host6, Own4: own4}
	p.forwarding(c, uplink.name, forceForwarding)
	p.filters(c, uplink.name, u)
	p.add(hostnet.Change{Link: &hostnet.Link{Device: c.Device, MTU: mtu}},
		hostnet.Change{Address: &hostnet.Address{Device: c.Device, Prefix: netip.PrefixFrom(host4, clatNet.Bits())}})
	p.routes(c, s, uplink.name, route, u)
	return p, true
}

func (p *plan) add(list ...hostnet.Change) { p.changes = append(p.changes, list...) }

// forwarding has the kernel forward between the uplink and the device. Linux 6.17 can do so for
// single interfaces (force_forwarding); before, it can for all of them alone.
func (p *plan) forwarding(c *Config, uplink string, force bool) {
	sysctl := func(name string) {
		p.add(hostnet.Change{Sysctl: &hostnet.Sysctl{Name: name, Value: "1"}})
	}
	if force {
		sysctl("net/ipv6/conf/" + c.Device + "/force_forwarding")
		sysctl("net/ipv6/conf/" + uplink + "/force_forwarding")
	} else {
		sysctl("net/ipv6/conf/all/forwarding")
	}
	if len(c.Share) > 0 {
		sysctl("net/ipv4/ip_forward")
	}
}

// filters come before the address and the routes, and are undone after them, so that no packet
// goes without them.
func (p *plan) filters(c *Config, uplink string, u use) {
	host := netip.PrefixFrom(u.host6, 128)
	if c.Guard {
		p.add(hostnet.Change{Guard: &hostnet.Guard{Table: hostnet.TableName(c.Device, "guard"), Device: c.Device, Uplink: uplink}})
	}
	if u.mode == Shared {
		p.add(hostnet.Change{NAT: &hostnet.NAT{
			Table: hostnet.TableName(c.Device, "nat"), In: c.Device, Out: uplink,
			Sources: []netip.Prefix{host}, To: u.shared,
		}})
	}
	if len(c.Share) > 0 {
		p.add(hostnet.Change{NAT: &hostnet.NAT{
			Table: hostnet.TableName(c.Device, "share"), Out: c.Device, Sources: c.Share, To: host4,
		}})
	}
	p.add(hostnet.Change{Accept: &hostnet.Accept{Device: c.Device, Src: host, Dst: u.prefix}})
	for _, clients := range c.Share {
		p.add(hostnet.Change{Accept: &hostnet.Accept{Device: c.Device, Src: clients, Into: true}})
	}
}

// routes come last: with the last one IPv4 begins to work.
func (p *plan) routes(c *Config, s *snapshot, uplink string, to routeState, u use) {
	all4 := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	_, metric := s.native(c.Device)
	metric = min(max(metric+1, leastMetric), mostMetric)
	route := func(r hostnet.Route) { p.add(hostnet.Change{Route: &r}) }
	rule := func(r hostnet.Rule) {
		r.Priority, r.Table = hostnet.Table, hostnet.Table
		p.add(hostnet.Change{Rule: &r})
	}
	route(hostnet.Route{Device: c.Device, Dst: netip.PrefixFrom(u.host6, 128)})
	// What the CLAT sends takes the uplink that the prefix is of, also beside a VPN and a
	// NAT64 gateway on this machine.
	route(hostnet.Route{Device: uplink, Dst: u.prefix, Via: to.via, Table: hostnet.Table})
	rule(hostnet.Rule{Six: true, To: u.prefix, In: c.Device})
	// Connections that have begun by the CLAT stay with it when native IPv4 comes.
	route(hostnet.Route{Device: c.Device, Dst: all4, Src: host4, MTU: p.mtu, Table: hostnet.Table})
	rule(hostnet.Rule{From: netip.PrefixFrom(host4, 32)})
	route(hostnet.Route{Device: c.Device, Dst: all4, Src: host4, MTU: p.mtu, Metric: metric})
}

// sharedHost6 is the address of the IPv4 programs where they share that of the machine: one of
// a unique local prefix (RFC 4193 §3.2.2) that is this machine's, which no packet outside has.
func sharedHost6(secret []byte) netip.Addr {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("unique local prefix of a CLAT"))
	var a [16]byte
	a[0] = 0xfd
	copy(a[1:6], h.Sum(nil)) // the global ID
	a[15] = 1
	return netip.AddrFrom16(a)
}

// intact reports whether the links, addresses, routes and rules of a list are there. Others
// can't be seen in a snapshot.
func (s *snapshot) intact(list []hostnet.Change) bool {
	for _, c := range list {
		ok := true
		switch {
		case c.Link != nil:
			l := s.linkByName(c.Link.Device)
			ok = l != nil && l.up && (c.Link.MTU == 0 || l.mtu == c.Link.MTU)
		case c.Address != nil:
			ok = s.hasAddress(c.Address)
		case c.Route != nil:
			ok = s.hasRoute(c.Route)
		case c.Rule != nil:
			ok = s.hasRule(c.Rule)
		}
		if !ok {
			return false
		}
	}
	return true
}

func (s *snapshot) hasAddress(want *hostnet.Address) bool {
	l := s.linkByName(want.Device)
	for _, a := range s.addrs {
		if l != nil && a.index == l.index && a.prefix == want.Prefix {
			return true
		}
	}
	return false
}

func (s *snapshot) hasRoute(want *hostnet.Route) bool {
	l := s.linkByName(want.Device)
	table, metric := want.Table, want.Metric
	if table == 0 {
		table = mainTable
	}
	if metric == 0 && want.Dst.Addr().Is6() {
		metric = 1024 // the kernel's default
	}
	for _, r := range s.routes {
		if l != nil && r.index == l.index && r.table == table && r.dst == want.Dst && r.metric == metric &&
			r.via == want.Via && r.src == want.Src && r.mtu == want.MTU && r.unicast {
			return true
		}
	}
	return false
}

func (s *snapshot) hasRule(want *hostnet.Rule) bool {
	for _, r := range s.rules {
		if r == *want {
			return true
		}
	}
	return false
}
