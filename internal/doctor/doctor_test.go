package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// What is found with a real kernel is tested in cmd/tayga. This is about what a
// laboratory has not got, and about decisions.

// gateway is a machine on which nothing is missing for gatewayConf.
type gateway struct {
	settings map[string]int
	routes   map[string]Route // by prefix
	proxies  map[string]bool  // "address link"
	dns      []netip.Addr
	dnsErr   error
	Case
}

const gatewayConf = `tun-device nat64
ipv4-addr 192.0.2.1
ipv6-addr 2001:db8:1::64
prefix 2001:db8:64::/96
dynamic-pool 192.0.2.0/24
`

func newGateway(t *testing.T, conf string) *gateway {
	t.Helper()
	c, problems := taygaconf.Read(strings.NewReader(conf), "/etc/tayga.conf", nil)
	g := &gateway{
		settings: map[string]int{
			"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1, "ipv6/conf/default/disable_ipv6": 0,
			"ipv4/conf/nat64/forwarding": 1, "ipv4/conf/eth0/forwarding": 1,
		},
		routes:  map[string]Route{"0.0.0.0/0": {Link: "eth0"}, "::/0": {Link: "eth0"}},
		proxies: map[string]bool{},
		dns:     []netip.Addr{netip.MustParseAddr("2001:db8:64::192.0.0.170")},
		Case:    Case{Conf: c, Problems: problems, Program: "tayga"},
	}
	for _, p := range append(c.PoolPrefixes(), c.Prefixes...) {
		g.routes[p.String()] = Route{Link: "nat64"}
	}
	g.Machine = &Machine{
		Links: []Link{
			{Name: "lo", Loopback: true, Up: true, Running: true, MTU: 65536, Addrs: prefixes("127.0.0.1/8", "::1/128")},
			{Name: "eth0", Up: true, Running: true, MTU: 1500, Physical: true, GRO: true, Addrs: prefixes("198.51.100.1/24", "2001:db8::1/64")},
			{Name: "nat64", Up: true, Running: true, MTU: 1500, Tun: true},
		},
		Setting: func(path string) (int, bool) { v, ok := g.settings[path]; return v, ok },
		Route:   g.route,
		Proxied: func(a netip.Addr, link string) bool { return g.proxies[a.String()+" "+link] },
		Resolve: func(context.Context, string) ([]netip.Addr, error) { return g.dns, g.dnsErr },
		Tools:   Tools{Sysctl: true, Nft: true},
	}
	return g
}

func prefixes(texts ...string) (ps []netip.Prefix) {
	for _, s := range texts {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

// route takes the longest prefix.
func (g *gateway) route(a netip.Addr) (best Route) {
	best.Dst = netip.PrefixFrom(a, 0).Masked()
	for text, r := range g.routes {
		if p := netip.MustParsePrefix(text); p.Contains(a) && (best.Link == "" || p.Bits() > best.Dst.Bits()) {
			best = r
			best.Dst = p
		}
	}
	return best
}

// leads adds a route to the device.
func (g *gateway) leads(p string) {
	g.routes[p] = Route{Link: "nat64"}
	g.Machine.RoutesTo = func(string) []Route { return []Route{{Link: "nat64", Dst: netip.MustParsePrefix(p)}} }
}

func (g *gateway) findings() (lines []string) {
	for _, f := range Examine(g.Case) {
		lines = append(lines, f.String())
	}
	return lines
}

func TestExamine(t *testing.T) {
	answer := func(texts ...string) func(*gateway) {
		return func(g *gateway) {
			g.dns = nil
			for _, s := range texts {
				g.dns = append(g.dns, netip.MustParseAddr(s))
			}
		}
	}
	masquerade := func(want string, tools Tools) func(*gateway) {
		return func(g *gateway) {
			g.Machine.Tools = tools
			assert.Contains(t, strings.Join(g.findings(), "\n"), want)
		}
	}
	private := strings.ReplaceAll(gatewayConf, "192.0.2.", "10.0.0.")
	for _, test := range []struct {
		name, conf string
		harm       func(*gateway)
		want       []string
	}{
		{name: "nothing"},
		{name: "no-driver", harm: func(g *gateway) { g.Machine.TunDriver = TunAbsent },
			want: []string{"error: tun: the kernel has no driver for TUN devices; run: modprobe tun"}},
		{name: "no-device-file", harm: func(g *gateway) { g.Machine.TunDriver = TunNoNode },
			want: []string{"error: tun: /dev/net/tun is missing; run: mkdir -p /dev/net && mknod -m 666 /dev/net/tun c 10 200"}},
		{name: "no-ipv6", harm: func(g *gateway) {
			delete(g.settings, "ipv6/conf/default/disable_ipv6")
			g.Machine.Links = g.Machine.Links[:2]
			g.Conf.TunUp, g.Conf.TunRoutes = true, append(g.Conf.PoolPrefixes(), g.Conf.Prefixes...)
		}, want: []string{"error: ipv6: the kernel has no IPv6; run: modprobe ipv6", "error: daemon: tayga does not run on nat64; run: tayga -c /etc/tayga.conf"}},
		{name: "no-sysctl", harm: func(g *gateway) { g.settings["ipv4/ip_forward"] = 0; g.Machine.Tools.Sysctl = false },
			want: []string{"error: forwarding: the kernel does not forward IPv4 packets; run: echo 1 >/proc/sys/net/ipv4/ip_forward"}},
		{name: "interface-with-a-dot", harm: func(g *gateway) {
			g.Machine.Links[1].Name = "eth0.7"
			g.routes["0.0.0.0/0"] = Route{Link: "eth0.7"}
			g.settings["ipv4/conf/eth0.7/forwarding"] = 0
		}, want: []string{"error: forwarding: the kernel does not forward IPv4 packets that arrive on eth0.7; run: sysctl -w net/ipv4/conf/eth0.7/forwarding=1"}},
		{name: "daemon-makes-it-all", harm: func(g *gateway) {
			g.Machine.Links = g.Machine.Links[:2]
			g.Conf.TunUp, g.Conf.TunRoutes = true, prefixes("192.0.0.0/16", "2001:db8:64::/64")
			g.routes = map[string]Route{"0.0.0.0/0": {Link: "eth0"}}
		}, want: []string{"error: daemon: tayga does not run on nat64; run: tayga -c /etc/tayga.conf"}},
		{name: "no-tun", harm: func(g *gateway) { g.Machine.Links[2].Tun = false },
			want: []string{"error: device: nat64 is no TUN device: name another one in tun-device"}},
		{name: "ownerless", harm: func(g *gateway) { g.Machine.Links[2].Ownerless = true },
			want: []string{"warning: owner: nat64 has several queues and no owner: any local user may read its packets and send others; run: tayga -c /etc/tayga.conf --mktun"}},
		{name: "ownerless-and-another-user", harm: func(g *gateway) {
			g.Machine.Links[2].Ownerless = true
			g.Report, g.Process = &status.Report{PID: 7}, Process{UID: 1234}
		}, want: []string{"warning: owner: nat64 has several queues and no owner: any local user may read its packets and send others: create it again for user 1234, see DEVICE in tayga(8)"}},
		{name: "thief", harm: func(g *gateway) {
			g.Report = &status.Report{PID: 7, Device: status.Device{Foreign: 2}}
		}, want: []string{"error: owner: another program is attached to nat64 with 2 queues of its own, and gets packets that are for tayga: find and end it"}},
		{name: "quoted", conf: strings.Replace(gatewayConf, "nat64", "it's", 1), harm: func(g *gateway) {
			g.Machine.Links[2].Name, g.Machine.Links[2].Up = "it's", false
			for _, p := range []string{"192.0.2.0/24", "2001:db8:64::/96"} {
				g.routes[p] = Route{Link: "it's"}
			}
		}, want: []string{`error: device: it's is down; run: ip link set 'it'\''s' up`}},
		{name: "pool-is-the-lan", harm: func(g *gateway) { g.routes["192.0.2.0/24"] = Route{Link: "eth0", Connected: true} },
			want: []string{"error: route: pool 192.0.2.0/24 is the network on eth0: take another"}},
		{name: "part-of-the-pool-elsewhere", harm: func(g *gateway) { g.routes["192.0.2.128/25"] = Route{Link: "eth0"} },
			want: []string{"error: route: packets for 192.0.2.128/25, a part of pool 192.0.2.0/24, are routed to eth0 instead of nat64"}},
		{name: "lan-around-the-pool", harm: func(g *gateway) {
			delete(g.routes, "192.0.2.0/24")
			g.routes["192.0.0.0/16"] = Route{Link: "eth0", Connected: true}
		}, want: []string{"error: route: packets for pool 192.0.2.0/24 are not routed to nat64; the route for 192.0.0.0/16 leads to eth0; run: ip route add 192.0.2.0/24 dev nat64"}},
		{name: "circle", conf: gatewayConf + "map 203.0.113.7 2001:db8:7::7\n", harm: func(g *gateway) {
			g.routes["203.0.113.7/32"] = Route{Link: "nat64"}
			g.routes["2001:db8:7::/64"] = Route{Link: "nat64"}
		}, want: []string{"error: route: both sides of map 203.0.113.7/32 2001:db8:7::7/128 are routed to nat64: packets loop"}},
		{name: "subnet-among-neighbours", conf: gatewayConf + "map 198.51.100.128/25 2001:db8:7::/121\n", harm: func(g *gateway) {
			g.routes["198.51.100.128/25"] = Route{Link: "nat64"}
		}, want: []string{"warning: neighbours: map 198.51.100.128/25 lies in the network on eth0, where no host answers for it; run: sysctl -w net.ipv4.conf.eth0.proxy_arp=1"}},
		{name: "lro", harm: func(g *gateway) { g.Machine.Links[1].LRO = true },
			want: []string{"warning: offload: eth0 puts packets together in a way that cannot be undone (LRO), and so breaks what is forwarded; run: ethtool -K eth0 lro off"}},
		{name: "no-gro", harm: func(g *gateway) { g.Machine.Links[1].GRO = false },
			want: []string{"note: offload: eth0 does not coalesce packets (GRO), which reduces throughput; run: ethtool -K eth0 gro on"}},
		{name: "no-udp-gro", harm: func(g *gateway) { g.Machine.Links[1].NoUDPGRO = true },
			want: []string{"note: offload: eth0 does not coalesce datagrams that are forwarded; with that, those of a flow pass together: 1.15 times as many of 64 bytes in our measurement; run: ethtool -K eth0 rx-udp-gro-forwarding on"}},
		{name: "no-udp-gro-of-a-tunnel", harm: func(g *gateway) { g.Machine.Links[1].NoUDPGRO, g.Machine.Links[1].Physical = true, false }},
		{name: "lists-of-packets", harm: func(g *gateway) { g.Machine.Links[1].ListGRO = true },
			want: []string{"note: offload: eth0 makes lists of packets (rx-gro-list), which are taken apart again before they are translated; run: ethtool -K eth0 rx-gro-list off"}},
		{name: "old-kernel", harm: func(g *gateway) {
			g.Machine.NoFastPath = errors.New("fastpath: it needs Linux 6.6 (tcx), not 6.1")
		}, want: []string{"note: fast-path: the kernel translates nothing by itself, and tayga all packets: it needs Linux 6.6 (tcx), not 6.1"}},
		{name: "old-kernel-not-asked-for", conf: gatewayConf + "fast-path off\n", harm: func(g *gateway) {
			g.Machine.NoFastPath = errors.New("fastpath: it needs Linux 6.6 (tcx), not 6.1")
		}},
		{name: "flow-labels", conf: gatewayConf + "flow-labels yes\n",
			want: []string{"note: fast-path: the kernel translates nothing by itself, and tayga all packets: flow labels are computed by the translator"}},
		{name: "packet-log", conf: gatewayConf + "log dyn drop\n",
			want: []string{"note: fast-path: the kernel translates nothing by itself, and tayga all packets: a packet log (log drop, reject, icmp or self) is to see each packet"}},
		{name: "log-of-leases", conf: gatewayConf + "log dyn\n"},
		{name: "qdisc", harm: func(g *gateway) { g.Machine.Links[2].Bypassed = "tbf" },
			want: []string{"note: fast-path: the kernel translates nothing by itself, and tayga all packets: nat64 has the queueing discipline tbf, which it would bypass; run: tc qdisc del dev nat64 root"}},
		{name: "qdisc-of-late", harm: func(g *gateway) {
			g.Report, g.Machine.Links[2].Bypassed = &status.Report{FastPath: &status.FastPath{On: true}}, "tbf"
		}, want: []string{"note: fast-path: the kernel translates nothing by itself, and tayga all packets: nat64 has the queueing discipline tbf, which it would bypass; run: tc qdisc del dev nat64 root"}},
		{name: "filters-at-egress", harm: func(g *gateway) { g.Machine.Links[2].Bypassed = "clsact" },
			want: []string{"note: fast-path: the kernel translates nothing by itself, and tayga all packets: nat64 has the queueing discipline clsact, which it would bypass; run: tc filter del dev nat64 egress"}},
		{name: "fast-path-on", harm: func(g *gateway) { g.Report = &status.Report{FastPath: &status.FastPath{On: true}} }},
		{name: "older-daemon", harm: func(g *gateway) { g.Report = &status.Report{} }},
		{name: "fast-path-not-permitted", harm: func(g *gateway) {
			g.Report = &status.Report{FastPath: &status.FastPath{Off: "fastpath: load: map hosts6: map create: operation not permitted"}}
		}, want: []string{"note: fast-path: the kernel translates nothing by itself, and tayga all packets: load: map hosts6: map create: operation not permitted " +
			"(to load it takes CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and the system call bpf)"}},
		{name: "fast-path-off", conf: gatewayConf + "fast-path off\n", harm: func(g *gateway) {
			g.Report = &status.Report{FastPath: &status.FastPath{Off: "fast-path off"}}
		}},
		{name: "no-offloads", harm: func(g *gateway) { g.Report = &status.Report{Device: status.Device{Present: true}} },
			want: []string{"note: offload: the kernel grants no offloads on nat64: each packet is handled alone"}},
		{name: "filters-unseen", harm: func(g *gateway) { g.Machine.Filters.Unseen = "nft: exit status 1 Operation not permitted" },
			want: []string{"note: firewall: packet filters were not checked: nft: exit status 1 Operation not permitted"}},
		{name: "masquerading-by-iptables", conf: private,
			harm: masquerade("; run: iptables -t nat -A POSTROUTING -s 10.0.0.0/24 -j MASQUERADE", Tools{Sysctl: true, IPTables: true}),
			want: []string{"warning: masquerading: pool 10.0.0.0/24 is private, and no rule replaces that source by one that is routed; run: iptables -t nat -A POSTROUTING -s 10.0.0.0/24 -j MASQUERADE"}},
		{name: "no-resolver", harm: func(g *gateway) { g.dns, g.dnsErr = nil, errors.New("timeout") },
			want: []string{"note: dns64: it is not known whether the resolver of this machine uses DNS64"}},
		{name: "no-dns64", harm: func(g *gateway) { g.dns, g.dnsErr = nil, &net.DNSError{IsNotFound: true} },
			want: []string{"note: dns64: the resolver of this machine does not use DNS64: IPv6 hosts need a resolver with DNS64"}},
		{name: "dns64-with-another-prefix-as-well", harm: answer("2001:db8:64::192.0.0.171", "64:ff9b::192.0.0.171"),
			want: []string{"note: dns64: DNS64 also uses prefix 64:ff9b::/96, which is not in the configuration"}},
		{name: "dns64-with-a-shorter-prefix", harm: answer("2001:db8:c000:aa::"),
			want: []string{"error: dns64: DNS64 uses prefix 2001:db8::/32, which is not in the configuration; add it and restart tayga, or change the resolver; run: echo 'prefix 2001:db8::/32' >>/etc/tayga.conf"}},
		{name: "resolver-that-lies", harm: answer("2001:db8::1", "::ffff:192.0.0.170"),
			want: []string{"warning: dns64: the resolver of this machine gives ipv4only.arpa addresses that DNS64 does not give"}},
		{name: "bad-configuration", conf: "tun-device nat64\nipv4-addr 192.0.2.1\nprefix 2001:db8::/95\n",
			want: []string{"error: configuration: /etc/tayga.conf:3: prefix: length 95 not allowed by RFC 6052: use 32, 40, 48, 56, 64 or 96",
				"note: configuration: nothing else was checked, since the configuration is not valid"}},
		{name: "warning-in-the-configuration", conf: gatewayConf + "strict-frag-hdr yes\n",
			want: []string{"warning: configuration: /etc/tayga.conf:6: strict-frag-hdr: has no effect: RFC 7915 gives a Fragment Header to fragments only; the line can go"}},
		{name: "stale-under-systemd", harm: func(g *gateway) {
			g.Report, g.Process = &status.Report{PID: 7}, Process{Stale: true, Unit: "tayga@a.service"}
		}, want: []string{"warning: daemon: /etc/tayga.conf was changed after tayga was started, which reads it only at start; run: systemctl restart tayga@a.service"}},
		{name: "stale-and-more-will-be-led-here", harm: func(g *gateway) {
			g.Report, g.Process = &status.Report{PID: 7}, Process{Stale: true, Unit: "tayga.service"}
			delete(g.routes, "192.0.2.0/24")
			g.Conf.TunUp, g.Conf.TunRoutes = true, prefixes("192.0.2.0/24")
		}, want: []string{"warning: daemon: /etc/tayga.conf was changed after tayga was started, which reads it only at start; run: systemctl restart tayga.service"}},
		{name: "another-configuration", harm: func(g *gateway) {
			g.Report, g.Process = &status.Report{PID: 7, Config: "/etc/tayga/a.conf"}, Process{Stale: true}
		}, want: []string{"warning: daemon: tayga runs on nat64 with /etc/tayga/a.conf, not with /etc/tayga.conf"}},
		{name: "not-running-under-systemd", harm: func(g *gateway) { g.Machine.Links[2].Running, g.Process = false, Process{Unit: "tayga.service"} },
			want: []string{"error: daemon: tayga does not run on nat64; run: systemctl restart tayga.service"}},
		{name: "address-of-the-machine", harm: func(g *gateway) { g.Conf.IPv6 = netip.MustParseAddr("2001:db8::1") },
			want: []string{"error: address: 2001:db8::1, the translator's own ipv6-addr, is also an address of this machine, on eth0: use one that no host has"}},
		{name: "unmapped", harm: func(g *gateway) { g.leads("192.0.0.0/20") },
			want: []string{`warning: unmapped: 192.0.1.254, to which the route 192.0.0.0/20 leads to nat64, has neither a map nor a pool, and may not be the only one: packets loop until their hop limit is exceeded; route only what is mapped, or add "loop-check yes" unless hosts are numbered from 2001:db8:64::/96`}},
		{name: "unmapped-checked", conf: gatewayConf + "loop-check yes\n", harm: func(g *gateway) { g.leads("192.0.0.0/20") },
			want: []string{`note: unmapped: 192.0.1.254, to which the route 192.0.0.0/20 leads to nat64, has neither a map nor a pool, and may not be the only one: packets to them are rejected, but packets from hosts with maps loop; route only what is mapped`}},
		{name: "unmapped-led-elsewhere", harm: func(g *gateway) {
			g.leads("192.0.2.0/23")
			g.routes["192.0.3.0/24"] = Route{Link: "eth0"}
		}},
		{name: "all-mapped", conf: gatewayConf + "map 192.0.3.0/25 2001:db8:3::/121\nmap 192.0.3.128/25 2001:db8:4::/121\n", harm: func(g *gateway) { g.leads("192.0.2.0/23") }},
		{name: "refused-leases", harm: func(g *gateway) { g.Report = &status.Report{Pool: &status.Pool{Refused: 3}} },
			want: []string{"note: pool: 3 times no address was assigned: the pool was exhausted, or a host is none of those that may lease one"}},
		{name: "datagrams-without-checksum", harm: func(g *gateway) {
			g.Report = &status.Report{Packets: []status.Count{{Direction: "4to6", Verdict: "drop", Reason: "udp-zero-checksum", Packets: 3}}}
		}, want: []string{"note: udp-checksum: 3 datagrams without a checksum were not translated, since IPv6 does not allow them; udp-cksum-mode calc computes one"}},
		{name: "helper", harm: func(g *gateway) { g.Report = &status.Report{Helper: &status.Helper{PID: 8, Alive: true}} }},
		{name: "helper-ended", harm: func(g *gateway) {
			g.Report, g.Process = &status.Report{Helper: &status.Helper{PID: 8}}, Process{Unit: "tayga.service"}
		}, want: []string{"warning: helper: the privileged helper of tayga has ended: if nat64 is deleted or set down, tayga cannot attach to it or set it up again; run: systemctl restart tayga.service"}},
		{name: "stale-in-the-background", harm: func(g *gateway) {
			g.Report, g.Process = &status.Report{PID: 7}, Process{Stale: true, Args: []string{"tayga", "-c", "my file"}}
		}, want: []string{"warning: daemon: /etc/tayga.conf was changed after tayga was started, which reads it only at start; run: kill 7 && sleep 2 && tayga -c 'my file'"}},
		{name: "stale-in-the-foreground", harm: func(g *gateway) { g.Report, g.Process = &status.Report{PID: 7}, Process{Stale: true} },
			want: []string{"warning: daemon: /etc/tayga.conf was changed after tayga was started, which reads it only at start"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			conf := test.conf
			if conf == "" {
				conf = gatewayConf
			}
			g := newGateway(t, conf)
			if test.harm != nil {
				test.harm(g)
			}
			assert.Equal(t, test.want, g.findings())
		})
	}
}

// A packet with a private source that came by made the doctor of a CLAT advise to write
// "wkpf-strict no". What opens something is advised for destinations that hosts have sent
// to, on a gateway that has a way there.
func TestPrivateAdvice(t *testing.T) {
	const (
		pool   = "tun-device nat64\nipv4-addr 192.0.2.1\nipv6-addr 2001:db8:1::64\nprefix 64:ff9b::/96\ndynamic-pool 192.0.2.0/24\n"
		clat   = "tun-device nat64\nipv4-addr 192.0.0.2\nprefix 64:ff9b::/96\nmap 192.0.0.1 2001:db8:1::464\n"
		advice = "wkpf-strict no"
	)
	dropped := func(direction, verdict string) status.Count {
		return status.Count{Direction: direction, Verdict: verdict, Reason: "non-global", Packets: 1}
	}
	for _, test := range []struct {
		name, conf string
		count      status.Count
		private    bool // the machine is in a private network
		want       bool
	}{
		{"destination", pool, dropped("6to4", "reply"), true, true},
		{"destination-by-ping", pool, dropped("6to4", "drop"), true, true},
		{"no-way-there", pool, dropped("6to4", "reply"), false, false},
		{"source", pool, dropped("4to6", "drop"), true, false},
		{"source-that-may-be-forged", pool + "embedded-source forward\n", dropped("6to4", "drop"), true, false},
		{"clat-source", clat, dropped("4to6", "drop"), true, false},
		{"clat-answer", clat, dropped("6to4", "drop"), true, false},
		{"switched-off", pool + "wkpf-strict no\n", dropped("6to4", "drop"), true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t, test.conf)
			require.False(t, g.Problems.Failed(), g.Problems)
			if test.private {
				g.Machine.Links[1].Addrs = append(g.Machine.Links[1].Addrs, netip.MustParsePrefix("10.0.0.5/8"))
			}
			g.Report = &status.Report{Packets: []status.Count{test.count}}
			advised := false
			for _, f := range Examine(g.Case) {
				advised = advised || strings.Contains(f.String(), advice)
				if f.About == "private" && !test.want {
					assert.Equal(t, Note, f.Severity)
				}
			}
			assert.Equal(t, test.want, advised)
		})
	}
}

// To let the packets of one device pass, the doctor switched the reverse path filter off
// for all interfaces that have no value of their own.
func TestReversePathOfOthers(t *testing.T) {
	g := newGateway(t, "tun-device nat64\nipv4-addr 192.0.0.2\nprefix 64:ff9b::/96\nmap 192.0.0.1 2001:db8:1::464\n")
	for name, v := range map[string]int{"all": 1, "default": 0, "lo": 0, "eth0": 0, "nat64": 0} {
		g.settings["ipv4/conf/"+name+"/rp_filter"] = v
	}
	assert.Contains(t, strings.Join(g.findings(), "\n"), "; run: sysctl -w net.ipv4.conf.default.rp_filter=1 && sysctl -w net.ipv4.conf.lo.rp_filter=1 && "+
		"sysctl -w net.ipv4.conf.eth0.rp_filter=1 && sysctl -w net.ipv4.conf.all.rp_filter=0 && sysctl -w net.ipv4.conf.nat64.rp_filter=0")
}

// In a VRF the packets of one interface have another table than those of the next, and
// the machine's own have none of it. The doctor asked for the latter only.
func TestVRF(t *testing.T) {
	g := newGateway(t, gatewayConf)
	g.Machine.Links = append(g.Machine.Links, Link{Name: "eth1", Up: true, MTU: 1500, Addrs: prefixes("198.51.101.1/24", "2001:db8:2::1/64")})
	main := g.routes
	delete(main, "192.0.2.0/24")
	delete(main, "2001:db8:64::/96")
	delete(main, "0.0.0.0/0")
	blue := map[string]Route{
		"192.0.2.0/24": {Link: "nat64", Table: 10}, "2001:db8:64::/96": {Link: "nat64", Table: 10},
		"0.0.0.0/0": {Link: "eth0", Table: 10}, "::/0": {Link: "eth0", Table: 10},
	}
	var vrf []string
	in := func(routes map[string]Route, dst netip.Addr) Route {
		g.routes = routes
		defer func() { g.routes = main }()
		return g.route(dst)
	}
	g.Machine.Policy = []RoutingRule{{Text: "vrf blue", Table: 10, Suppress: -1}, {Six: true, Text: "vrf blue", Table: 10, Suppress: -1}}
	g.Machine.Forwarded = func(link string, _, dst netip.Addr) (Route, bool) {
		if slices.Contains(vrf, link) {
			return in(blue, dst), true
		}
		return in(main, dst), true
	}
	g.Machine.TableRoute = func(table int, dst netip.Addr) Route {
		assert.Equal(t, 10, table)
		return in(blue, dst)
	}
	vrf = []string{"eth0", "eth1", "nat64"}
	assert.Empty(t, g.findings())
	vrf = []string{"eth0", "nat64"}
	assert.Equal(t, []string{
		"note: route: packets for pool 192.0.2.0/24 are routed to nat64 if they arrive on eth0, and elsewhere if on eth1",
		"note: route: packets for prefix 2001:db8:64::/96 are routed to nat64 if they arrive on eth0, and elsewhere if on eth1",
	}, g.findings())
	vrf = []string{"eth0", "eth1", "nat64"}
	delete(blue, "192.0.2.0/24")
	assert.Equal(t, []string{
		"error: route: packets for pool 192.0.2.0/24 are not routed to nat64; run: ip route add 192.0.2.0/24 dev nat64 table 10",
	}, g.findings())
}

// A hundred thousand maps without a route are a few lines.
func TestFindingsAreBounded(t *testing.T) {
	var conf strings.Builder
	conf.WriteString(gatewayConf)
	for i := range 5000 {
		fmt.Fprintf(&conf, "map 10.1.%d.%d 2001:db8:7::%x\n", i>>8, i&255, i)
	}
	g := newGateway(t, conf.String())
	asked := 0
	g.Machine.Route = func(a netip.Addr) Route { asked++; return g.route(a) }
	lines := g.findings()
	assert.Len(t, lines, 2*maxFindings+1)
	assert.Equal(t, "error: route: 990 more maps are like this", lines[maxFindings])
	assert.Less(t, asked, 10*maxMaps)
}

// What is quoted comes out of a shell as it went in.
func TestQuote(t *testing.T) {
	for _, word := range []string{"plain", "", "a b", "it's", `"`, "$HOME", "`id`", "a;b", "*", "#", "\\", "~", "-n", "a\nb", "é", "!x"} {
		out, err := exec.Command("sh", "-c", "printf %s "+quote(word)).Output()
		require.NoError(t, err)
		assert.Equal(t, word, string(out))
	}
	assert.Equal(t, "ip link set nat64 up", words("ip", "link", "set", "nat64", "up"))
}

func TestFindingAsJSON(t *testing.T) {
	b, err := json.Marshal(Finding{Severity: Warning, About: "mtu", Text: "too small"})
	require.NoError(t, err)
	assert.JSONEq(t, `{"severity":"warning","about":"mtu","text":"too small"}`, string(b))
}

func TestPref64(t *testing.T) {
	got := make(map[string]string)
	want := map[string]string{
		"64:ff9b::192.0.0.170":      "64:ff9b::/96",
		"2001:db8:1:2:c0:0:ab00::":  "2001:db8:1:2::/64",
		"2001:db8:1:2c0::aa:0:0":    "2001:db8:1:200::/56",
		"2001:db8:1:c000::aa00:0:0": "2001:db8:1::/48",
		"2001:db8:1c0:0:aa::":       "2001:db8:100::/40",
		"2001:db8:c000:aa::":        "2001:db8::/32",
		"2001:db8::192.0.0.172":     "",
		"::ffff:192.0.0.170":        "",
		"192.0.0.170":               "",
	}
	for text := range want {
		p, ok := pref64(netip.MustParseAddr(text))
		if ok {
			got[text] = p.String()
		} else {
			got[text] = ""
		}
	}
	maps.DeleteFunc(got, func(k, v string) bool { return v == want[k] })
	assert.Empty(t, got)
}

// A line that is added to a file without a line feed at its end continued the last one.
func TestEditUnterminated(t *testing.T) {
	dir := t.TempDir()
	for _, end := range []string{"", "\n"} {
		path := dir + "/tayga.conf"
		require.NoError(t, os.WriteFile(path, []byte("tun-device nat64"+end), 0o644))
		e := examination{Case: Case{Conf: &taygaconf.Config{File: path}, Unterminated: end == ""}}
		require.NoError(t, exec.Command("sh", "-c", e.edit("prefix 64:ff9b::/96").Do).Run())
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, "tun-device nat64\nprefix 64:ff9b::/96\n", string(text))
	}
}
