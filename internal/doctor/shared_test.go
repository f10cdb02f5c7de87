package doctor

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// sharedConf is a gateway with a routed address that its hosts share.
const sharedConf = `tun-device nat64
ipv4-addr 203.0.113.7
ipv6-addr 2001:db8:1::64
prefix 2001:db8:64::/96
stateful-pool 203.0.113.7
`

// rules takes rules of iptables.
func (g *gateway) rules(text string) { g.Machine.Filters.Chains = parseIPTables(text, false) }

// owns gives the machine an address that packets then come to.
func (g *gateway) owns(p string) {
	prefix := netip.MustParsePrefix(p)
	g.Machine.Links[1].Addrs = append(g.Machine.Links[1].Addrs, prefix)
	g.routes[netip.PrefixFrom(prefix.Addr(), 32).String()] = Route{Local: true, Link: "lo"}
}

func TestExamineShared(t *testing.T) {
	const perHost = "; if hosts of one /64 are not to deny each other, limit each of them, as by stateful-max-per-prefix 128 1000"
	const (
		postrouting = "*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
		forward     = "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A FORWARD -i nat64 -j ACCEPT\n-A FORWARD -i eth0 -o nat64 -m conntrack --ctstate UNTRACKED -j ACCEPT\n"
		raw         = "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -i nat64 -s 203.0.113.7/32 -j CT --notrack\n-A PREROUTING -d 203.0.113.7/32 -j NOTRACK\n"
		dynamic     = "dynamic-pool 192.0.2.0/24\n"
		tracked     = "note: conntrack: connection tracking of the kernel follows each session of stateful-pool 203.0.113.7/32 again, which costs time and has a limit of its own (net.netfilter.nf_conntrack_max): leave the pool out by notrack"
	)
	used := func(change func(*status.Shared)) func(*gateway) {
		return func(g *gateway) {
			s := &status.Shared{Total: status.Use{Used: 80, Limit: 100}, HalfOpen: status.Use{Limit: 25}, Inbound: status.Use{Limit: 25}, PerPrefix: 25,
				Addresses: status.List[status.Address]{Entries: []status.Address{{Addr: "203.0.113.7", Hosts: 4, TCP: status.Use{Used: 50000, Limit: 64512}}}},
				Fullest:   []status.Subscriber{{Prefix: "2001:db8:c::/64", Hosts: 3, Sessions: 24}}}
			change(s)
			g.Report = &status.Report{Shared: s}
		}
	}
	for _, test := range []struct {
		name, conf string
		harm       func(*gateway)
		want       []string
	}{
		{name: "nothing"},
		{name: "no-route", harm: func(g *gateway) { delete(g.routes, "203.0.113.7/32") },
			want: []string{"error: route: packets for stateful-pool 203.0.113.7/32 are not routed to nat64; run: ip route add 203.0.113.7/32 dev nat64"}},
		{name: "routed-elsewhere", harm: func(g *gateway) { g.routes["203.0.113.7/32"] = Route{Link: "eth0"} },
			want: []string{"error: route: packets for stateful-pool 203.0.113.7/32 are routed to eth0 instead of nat64; run: ip route replace 203.0.113.7/32 dev nat64"}},
		{name: "route-by-tun-route", conf: "tun-up yes\ntun-route 203.0.113.7\n", harm: func(g *gateway) {
			delete(g.routes, "203.0.113.7/32")
			g.Machine.Links[2].Running = false
		}, want: []string{"error: daemon: tayga does not run on nat64; run: tayga -c /etc/tayga.conf"}},

		{name: "own-address", harm: func(g *gateway) {
			g.owns("203.0.113.7/24")
			g.Machine.LocalPorts = func() (int, int, bool) { return 32768, 60999, true }
		}, want: []string{"error: address: stateful-pool 203.0.113.7/32 contains 203.0.113.7, an address of this machine, on eth0 (its ports 1024-65535 overlap 32768-60999, net.ipv4.ip_local_port_range): " +
			"the kernel keeps packets to it for its own sockets, and hosts get no answers: use an address that is routed to this machine and that no interface has, or, if there is none, a dynamic-pool of private addresses with masquerading"}},
		{name: "own-address-of-the-device", harm: func(g *gateway) {
			g.Machine.Links[2].Addrs = prefixes("203.0.113.7/32")
			g.routes["203.0.113.7/32"] = Route{Local: true, Link: "lo"}
		}, want: []string{"error: address: stateful-pool 203.0.113.7/32 contains 203.0.113.7, an address of this machine, on nat64: the kernel keeps packets to it, and hosts get no answers; run: ip addr del 203.0.113.7/32 dev nat64 && ip route replace 203.0.113.7/32 dev nat64"}},
		{name: "own-address-that-comes-here", harm: func(g *gateway) { // without its entry in the table local
			g.Machine.Links[1].Addrs = append(g.Machine.Links[1].Addrs, netip.MustParsePrefix("203.0.113.7/32"))
			g.Machine.LocalPorts = func() (int, int, bool) { return 32768, 60999, true }
		}, want: []string{"warning: address: stateful-pool 203.0.113.7/32 contains 203.0.113.7, an address of this machine, on eth0: its ports 1024-65535 overlap 32768-60999, net.ipv4.ip_local_port_range: connections of this machine and of hosts get the same ports: name other ports in stateful-pool"}},
		{name: "own-address-with-other-ports", harm: func(g *gateway) {
			g.Machine.Links[1].Addrs = append(g.Machine.Links[1].Addrs, netip.MustParsePrefix("203.0.113.7/32"))
			g.Machine.LocalPorts = func() (int, int, bool) { return 512, 1023, true }
		}, want: []string{"note: address: stateful-pool 203.0.113.7/32 contains 203.0.113.7, an address of this machine, on eth0: programs of this machine get no packets to ports 1024-65535 of it"}},
		{name: "redirects", harm: func(g *gateway) {
			g.settings["ipv4/conf/nat64/send_redirects"], g.settings["ipv4/conf/all/send_redirects"] = 1, 0
		}, want: []string{"note: redirects: ipv4-addr 203.0.113.7 is in stateful-pool, and net.ipv4.conf.nat64.send_redirects is on: the kernel sends ICMP redirects for packets between hosts that share it, which tayga drops; run: sysctl -w net.ipv4.conf.nat64.send_redirects=0"}},
		{name: "redirects-of-others", harm: func(g *gateway) {
			g.Conf.IPv4 = netip.MustParseAddr("192.0.2.1")
			g.settings["ipv4/conf/nat64/send_redirects"] = 1
		}},
		{name: "neighbours", harm: func(g *gateway) {
			g.Machine.Links[1].Addrs = append(g.Machine.Links[1].Addrs, netip.MustParsePrefix("203.0.113.1/24"))
		}, want: []string{"warning: neighbours: stateful-pool 203.0.113.7/32 lies in the network on eth0, where no host answers for it; run: ip neigh add proxy 203.0.113.7 dev eth0"}},
		{name: "no-gap", harm: func(g *gateway) { g.leads("203.0.113.7/32") }},

		{name: "masquerading-left-over", harm: func(g *gateway) { g.rules(postrouting + "-A POSTROUTING -o eth0 -j MASQUERADE\n") },
			want: []string{"warning: masquerading: chain POSTROUTING of table ip nat replaces the source of packets from stateful-pool 203.0.113.7/32: hosts do not keep their ports, and others do not see the address that the log has; run: iptables -t nat -I POSTROUTING -s 203.0.113.7/32 -j ACCEPT"}},
		{name: "masquerading-of-others", harm: func(g *gateway) {
			g.rules(raw + postrouting + "-A POSTROUTING -s 192.168.255.0/24 -o eth0 -j MASQUERADE\n")
		}},
		{name: "exempt", harm: func(g *gateway) {
			g.rules(raw + postrouting + "-A POSTROUTING -s 203.0.113.7/32 -j ACCEPT\n-A POSTROUTING -o eth0 -j MASQUERADE\n")
		}},
		{name: "private-and-masqueraded", conf: "wkpf-strict no\n", harm: func(g *gateway) {
			g.Conf.Stateful.Pools[0].Prefix = netip.MustParsePrefix("10.1.1.1/32")
			g.routes["10.1.1.1/32"] = Route{Link: "nat64"}
			g.rules(postrouting + "-A POSTROUTING -o eth0 -j MASQUERADE\n")
		}},
		{name: "private", harm: func(g *gateway) {
			g.Conf.Stateful.Pools[0].Prefix = netip.MustParsePrefix("10.1.1.1/32")
			g.routes["10.1.1.1/32"] = Route{Link: "nat64"}
			g.Machine.Tools = Tools{Sysctl: true, IPTables: true}
		}, want: []string{"warning: masquerading: stateful-pool 10.1.1.1/32 is private, and no rule replaces that source by one that is routed; run: iptables -t nat -A POSTROUTING -s 10.1.1.1/32 -j MASQUERADE"}},

		{name: "forward-left-over", conf: "stateful-map tcp 203.0.113.7:80 [2001:db8:c::2]:80\n", harm: func(g *gateway) {
			g.Machine.Tools.IPTables = true
			g.rules("*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -i eth0 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.1.1.1\n")
		}, want: []string{"warning: forward: chain PREROUTING of table ip nat sends packets to stateful-map tcp 203.0.113.7:80 [2001:db8:c::2]:80 elsewhere (dnat), as for tcp 203.0.113.7:80: hosts of stateful-pool do not get them; run: iptables -t nat -I PREROUTING -d 203.0.113.7/32 -p tcp --dport 80:80 -j ACCEPT",
			tracked + `; run: nft 'add table ip tayga; add chain ip tayga prerouting { type filter hook prerouting priority raw; }; add rule ip tayga prerouting iifname "nat64" ip saddr 203.0.113.7/32 notrack; add rule ip tayga prerouting ip daddr 203.0.113.7/32 notrack'`}},
		{name: "forward-of-untracked-packets", harm: func(g *gateway) { // which no NAT sees
			g.rules(raw + "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -d 203.0.113.7/32 -j DNAT --to-destination 10.1.1.1\n")
		}},
		{name: "tracked-by-nat", harm: func(g *gateway) {
			g.rules(postrouting + "-A POSTROUTING -s 192.168.0.0/16 -j MASQUERADE\n")
		}, want: []string{tracked + `; run: nft 'add table ip tayga; add chain ip tayga prerouting { type filter hook prerouting priority raw; }; add rule ip tayga prerouting iifname "nat64" ip saddr 203.0.113.7/32 notrack; add rule ip tayga prerouting ip daddr 203.0.113.7/32 notrack'`}},
		{name: "tracked-for-a-firewall", harm: func(g *gateway) {
			g.Machine.Tools = Tools{Sysctl: true, IPTables: true}
			g.rules(forward)
		}, want: []string{tracked + ", and let rules that match the state of connections accept untracked packets of it"}},
		{name: "tracked-one-way", harm: func(g *gateway) {
			g.rules("*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -i nat64 -j CT --notrack\n" + postrouting)
			g.Machine.Tools = Tools{Sysctl: true, IPTables: true}
		}, want: []string{tracked + "; run: iptables -t raw -A PREROUTING -i nat64 -s 203.0.113.7/32 -j CT --notrack && iptables -t raw -A PREROUTING -d 203.0.113.7/32 -j CT --notrack"}},
		{name: "untracked", harm: func(g *gateway) { g.rules(raw + postrouting + forward) }},
		{name: "untracked-and-dropped", harm: func(g *gateway) { // the answers are not established then
			g.rules(raw + strings.Replace(forward, "UNTRACKED", "NEW", 1))
		}, want: []string{"error: firewall: chain FORWARD of table ip filter drops IPv4 packets of nat64; run: iptables -I FORWARD -i nat64 -j ACCEPT && iptables -I FORWARD -o nat64 -j ACCEPT"}},
		{name: "firewall", harm: func(g *gateway) { g.rules("*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -d 203.0.113.0/24 -j DROP\n") },
			want: []string{"error: firewall: chain PREROUTING of table ip raw drops IPv4 packets of nat64; run: iptables -t raw -I PREROUTING -d 203.0.113.7/32 -j ACCEPT"}},
		{name: "forwards-dropped", conf: "stateful-map tcp 203.0.113.7:80 [2001:db8:c::2]:80\n", harm: func(g *gateway) {
			g.rules(raw + strings.Replace(strings.Replace(forward, "UNTRACKED", "INVALID", 1), "RELATED,ESTABLISHED", "RELATED,ESTABLISHED,UNTRACKED", 1))
		}},
		{name: "forwards-of-the-map-file-dropped", harm: func(g *gateway) {
			g.Bindings = []taygaconf.Binding{{Proto: 6, Addr: netip.MustParseAddrPort("203.0.113.7:80"), Host: netip.MustParseAddrPort("[2001:db8:c::2]:80")}}
			g.rules("*filter\n:FORWARD DROP [0:0]\n-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\n-A FORWARD -i nat64 -j ACCEPT\n")
		}, want: []string{
			"error: firewall: chain FORWARD of table ip filter drops IPv4 packets of nat64; run: iptables -I FORWARD -i nat64 -j ACCEPT && iptables -I FORWARD -o nat64 -j ACCEPT",
			tracked + ", and let rules that match the state of connections accept untracked packets of it"}},

		{name: "clients", conf: dynamic + "dynamic-pool-clients 2001:db8:c::/64\n", harm: func(g *gateway) { g.routes["192.0.2.0/24"] = Route{Link: "nat64"} },
			want: []string{"note: clients: of the hosts that send to prefix 2001:db8:64::/96, those of 2001:db8:c::/64 (dynamic-pool-clients) lease an address of pool 192.0.2.0/24 each, and are denied without a free one; all others share 203.0.113.7/32, since there is no stateful-clients"}},
		{name: "clients-named", conf: dynamic + "dynamic-pool-clients 2001:db8:c::/64\nstateful-clients 2001:db8:d::/64\n", harm: func(g *gateway) { g.routes["192.0.2.0/24"] = Route{Link: "nat64"} }},
		{name: "clients-by-prefix", conf: "prefix 2001:db8:65::/96\ndynamic-pool 192.0.2.0/24 via 2001:db8:65::/96\n", harm: func(g *gateway) { g.routes["192.0.2.0/24"] = Route{Link: "nat64"} },
			want: []string{"note: clients: hosts that send to prefix 2001:db8:64::/96 share 203.0.113.7/32",
				"note: clients: hosts that send to prefix 2001:db8:65::/96 lease an address of pool 192.0.2.0/24 each; without a free one they are denied and share none"}},

		{name: "used", harm: used(func(*status.Shared) {})},
		{name: "no-stateful-pool-in-the-report", harm: func(g *gateway) { g.Report = &status.Report{} }},
		{name: "sessions", harm: used(func(s *status.Shared) { s.Total.Used = 95; s.HalfOpen.Used = 23; s.Inbound.Used = 22 }), want: []string{
			"warning: sessions: 95 of 100 sessions: without room, new ones are denied: raise stateful-max-sessions, if there is memory",
			"warning: sessions: 23 of 25 half-open connections: without room, new ones are denied: see whose they are by --status=sessions"}},
		{name: "ports", harm: used(func(s *status.Shared) {
			s.Addresses.Entries[0].TCP.Used = 60000
			s.Denied = []status.Denial{{Direction: "6to4", Reason: "no-port", Packets: 3}, {Direction: "4to6", Reason: "no-binding", Packets: 3}}
		}), want: []string{
			"warning: ports: 60000 of 64512 TCP ports of 203.0.113.7 are assigned: its 4 hosts get no further ones without room, and keep the address: add addresses to stateful-pool for new hosts, or limit subscribers by stateful-max-per-prefix",
			"note: ports: 3 times a host got no port of its shared address"}},
		{name: "subscribers", harm: used(func(s *status.Shared) {
			s.Fullest[0].Sessions = 25
			s.Limited = []status.Limited{{Limit: "per-prefix", Packets: 9}, {Limit: "ports-per-prefix", Packets: 8}, {Limit: "memory", Packets: 7}}
		}), want: []string{
			"warning: subscribers: 2001:db8:c::/64 has 25 sessions, and may have 25: its 3 hosts get no new ones (stateful-max-per-prefix)",
			"note: sessions: 9 times a session was denied by the limit per-prefix: see Sessions in tayga(8)" + perHost,
			"note: sessions: 8 times a session was denied by the limit ports-per-prefix: see Sessions in tayga(8)" + perHost,
			"note: sessions: 7 times a session was denied by the limit memory: see Sessions in tayga(8)"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t, sharedConf+test.conf)
			require.False(t, g.Problems.Failed(), g.Problems)
			g.Problems = nil
			g.routes["203.0.113.7/32"] = Route{Link: "nat64"}
			if test.harm != nil {
				test.harm(g)
			}
			assert.Equal(t, test.want, g.findings())
		})
	}
}

// A pool of many addresses is named once, and the address of the machine in it as well.
func TestOwnAddressInLargePool(t *testing.T) {
	g := newGateway(t, strings.Replace(sharedConf, "stateful-pool 203.0.113.7", "stateful-pool 203.0.113.0/24 1024-32767", 1))
	g.routes["203.0.113.0/24"] = Route{Link: "nat64"}
	assert.Empty(t, g.findings())
	g.owns("203.0.113.254/32")
	g.Machine.LocalPorts = func() (int, int, bool) { return 32768, 60999, true }
	assert.Equal(t, []string{"error: address: stateful-pool 203.0.113.0/24 contains 203.0.113.254, an address of this machine, on eth0: the kernel keeps packets to it for its own sockets, and hosts get no answers: " +
		"use an address that is routed to this machine and that no interface has, or, if there is none, a dynamic-pool of private addresses with masquerading"}, g.findings())
}

// What a daemon reports may be anything.
func TestHostileUse(t *testing.T) {
	g := newGateway(t, sharedConf)
	g.routes["203.0.113.7/32"] = Route{Link: "nat64"}
	s := &status.Shared{Total: status.Use{Used: math.MinInt, Limit: math.MaxInt}, HalfOpen: status.Use{Used: 5, Limit: -5}}
	for range 1000 {
		s.Addresses.Entries = append(s.Addresses.Entries, status.Address{Addr: "\x1b[2J", TCP: status.Use{Used: 1, Limit: 1}})
		s.Fullest = append(s.Fullest, status.Subscriber{Prefix: "\u202e", Sessions: 1})
		s.Limited = append(s.Limited, status.Limited{Limit: "\n"})
	}
	s.PerPrefix = 1
	g.Report = &status.Report{Shared: s}
	list := g.findings()
	assert.Less(t, len(list), 4*maxFindings)
	for _, line := range list {
		assert.NotContains(t, line, "\x1b")
		assert.NotContains(t, line, "\n")
		assert.NotContains(t, line, "\u202e")
	}
}

// Both tools can leave packets out of connection tracking, and what comes after in the same
// chain counts all the same.
func TestUntracks(t *testing.T) {
	nft, err := parseNft([]byte(`{"nftables":[
		{"chain":{"family":"ip","table":"t","name":"c","type":"filter","hook":"prerouting","prio":-300,"policy":"accept"}},
		{"rule":{"family":"ip","table":"t","chain":"c","expr":[{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"daddr"}},"right":"203.0.113.7"}},{"counter":{}},{"notrack":null}]}},
		{"rule":{"family":"ip","table":"t","chain":"c","expr":[{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":"203.0.113.7"}},{"notrack":null},{"drop":null}]}}]}`))
	require.NoError(t, err)
	iptables := parseIPTables("*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -d 203.0.113.7/32 -j CT --notrack\n-A PREROUTING -s 203.0.113.7/32 -j NOTRACK\n-A PREROUTING -s 203.0.113.7/32 -j DROP\n-A PREROUTING -s 203.0.113.9/32 -j CT --zone 1\n", false)
	a, b, c := netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("203.0.113.8"), netip.MustParseAddr("203.0.113.9")
	for name, chains := range map[string][]Chain{"nft": nft, "iptables": iptables} {
		fs := Filters{Chains: chains}
		for _, test := range []struct {
			flow     flow
			untracks bool
			fate     fate
		}{{flow{src: b, dst: a}, true, mayPass}, {flow{src: a, dst: b}, true, mayDrop}, {flow{src: c, dst: b}, false, mayPass}} {
			assert.Equal(t, test.untracks, fs.untracks(&fs.Chains[0], test.flow), "%s %v", name, test.flow)
			assert.Equal(t, test.fate, fs.fate(&fs.Chains[0], test.flow), "%s %v", name, test.flow)
		}
	}
}

// Many rules for many pools are looked at in bounded time, and some are reported.
func TestManyForwards(t *testing.T) {
	var conf, rules strings.Builder
	conf.WriteString(strings.Replace(sharedConf, "stateful-pool 203.0.113.7", "#", 1))
	rules.WriteString("*nat\n:PREROUTING ACCEPT [0:0]\n")
	for i := range 256 {
		fmt.Fprintf(&conf, "stateful-pool 203.0.%d.0/24\n", i)
	}
	for i := range 5000 {
		fmt.Fprintf(&rules, "-A PREROUTING -d 203.0.%d.%d/32 -p tcp -m tcp --dport %d -j DNAT --to-destination 10.1.1.1\n", i&255, i>>8, 2000+i)
	}
	g := newGateway(t, conf.String())
	g.rules(rules.String())
	e := &examination{Case: g.Case}
	e.conclude()
	e.checkSharedTarget()
	assert.Len(t, e.findings, maxFindings)
}
