package clat

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/steppe-nat64/steppe/internal/hostnet"
)

// planned is the plan for a use of eth0, in a machine that f has changed.
func planned(t *testing.T, cfg Config, u use, f func(*snapshot)) plan {
	t.Helper()
	cfg.Device = "clat"
	s := machine()
	if f != nil {
		f(s)
	}
	u.index, u.uplink = ethIndex, "eth0"
	p, ok := cfg.plan(s, u, true)
	if !ok {
		t.Fatal("no plan")
	}
	return p
}

// machine is a host with one uplink.
func machine() *snapshot {
	return &snapshot{
		links: []linkState{
			{index: 1, name: "lo", up: true, running: true, loopback: true, mtu: 65536, mtu6: 65536},
			{index: ethIndex, name: "eth0", up: true, running: true, mtu: 1500, mtu6: 1500},
			{index: clatIndex, name: "clat", kind: "tun", running: true, direct: true, mtu: 1500},
		},
		addrs:  []addrState{hostAddr("2001:db8:1::5/64", ethIndex)},
		routes: []routeState{route("::/0", "fe80::1", ethIndex, 1024), route("2001:db8:1::/64", "", ethIndex, 256)},
	}
}

var ownUse = use{prefix: netip.MustParsePrefix(wkp), host6: netip.MustParseAddr("2001:db8:1::c1a7"), mode: Own}

func commands(list []hostnet.Change) string {
	var all []string
	for _, c := range list {
		all = append(all, c.Command())
	}
	return strings.Join(all, "\n")
}

// TestPlan has what a person would type.
func TestPlan(t *testing.T) {
	p := planned(t, Config{Guard: true}, ownUse, nil)
	want := []string{
		"sysctl -w net/ipv6/conf/clat/force_forwarding=1",
		"sysctl -w net/ipv6/conf/eth0/force_forwarding=1",
		"ip link set dev clat mtu 1500 up",
		"ip address add 192.0.0.1/29 dev clat",
		"ip -6 route add 2001:db8:1::c1a7/128 dev clat",
		"ip -6 route add 64:ff9b::/96 via fe80::1 dev eth0 table 464",
		"ip -6 rule add to 64:ff9b::/96 iif clat priority 464 table 464",
		"ip route add default dev clat src 192.0.0.1 table 464 mtu 1472",
		"ip rule add from 192.0.0.1/32 priority 464 table 464",
		"ip route add default dev clat src 192.0.0.1 metric 2048 mtu 1472",
	}
	var got []string
	for _, c := range p.changes {
		if c.Guard == nil && c.Accept == nil {
			got = append(got, c.Command())
		}
		if err := (hostnet.Policy{Device: "clat"}).Allows(c); err != nil {
			t.Error(err)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("commands:\n%s", strings.Join(got, "\n"))
	}
	if n := len(p.changes) - len(got); n != 2 {
		t.Errorf("%d changes of nftables", n)
	}
	if p.translation != (Translation{ownUse.prefix, host4, ownUse.host6, own4, netip.Addr{}}) {
		t.Errorf("translation: %+v", p.translation)
	}
	if again := planned(t, Config{Guard: true}, ownUse, nil); commands(again.changes) != commands(p.changes) {
		t.Error("another plan for the same")
	}
}

func TestPlanWithout(t *testing.T) {
	cfg := Config{Device: "clat"}
	u := ownUse
	u.index, u.uplink = ethIndex, "eth0"
	// Before Linux 6.17.
	p, _ := cfg.plan(machine(), u, false)
	if text := commands(p.changes); !strings.Contains(text, "net/ipv6/conf/all/forwarding=1") || strings.Contains(text, "force") {
		t.Error(text)
	}
	if slices.ContainsFunc(p.changes, func(c hostnet.Change) bool { return c.Guard != nil || c.NAT != nil }) {
		t.Errorf("%v", p.changes)
	}
	s := machine()
	s.routes = nil
	if _, ok := cfg.plan(s, u, true); ok {
		t.Error("a plan without a route")
	}
}

// TestPlanShare has IPv4 clients, which get the address of the programs.
func TestPlanShare(t *testing.T) {
	clients := netip.MustParsePrefix("172.17.0.0/16")
	u := ownUse
	u.mode, u.host6, u.shared = Shared, sharedHost6(bytes.Repeat([]byte{1}, 16)), netip.MustParseAddr("2001:db8:1::5")
	p := planned(t, Config{Share: []netip.Prefix{clients}}, u, nil)
	text := commands(p.changes)
	if !strings.Contains(text, "net/ipv4/ip_forward=1") {
		t.Error(text)
	}
	var nats []hostnet.NAT
	into := false
	for _, c := range p.changes {
		if c.NAT != nil {
			nats = append(nats, *c.NAT)
		}
		into = into || c.Accept != nil && c.Accept.Into && c.Accept.Src == clients
		if err := (hostnet.Policy{Device: "clat"}).Allows(c); err != nil {
			t.Error(err)
		}
	}
	if len(nats) != 2 || nats[0].To != u.shared || nats[0].Out != "eth0" || nats[0].In != "clat" ||
		nats[1].To != host4 || nats[1].Out != "clat" || nats[1].Sources[0] != clients || nats[0].Table == nats[1].Table || !into {
		t.Errorf("%+v, %v", nats, into)
	}
}

// TestPathMTU takes the least of the link's, IPv6's and the route's, but 1280 at least.
func TestPathMTU(t *testing.T) {
	for _, tt := range []struct{ link, six, route, want int }{
		{1500, 1500, 0, 1500}, {1500, 0, 0, 1500}, {9000, 1500, 0, 1500}, {1500, 1500, 1400, 1400},
		{1500, 1280, 1400, 1280}, {1000, 0, 0, 1280}, {1500, 1500, 1000, 1280}, {1 << 20, 0, 0, 65535},
	} {
		if got := pathMTU(&linkState{mtu: tt.link, mtu6: tt.six}, routeState{mtu: tt.route}); got != tt.want {
			t.Errorf("%+v: %d", tt, got)
		}
	}
}

func TestSharedHost6(t *testing.T) {
	a, b := sharedHost6(bytes.Repeat([]byte{1}, 16)), sharedHost6(bytes.Repeat([]byte{2}, 16))
	if !a.IsPrivate() || a == b || a != sharedHost6(bytes.Repeat([]byte{1}, 16)) {
		t.Error(a, b)
	}
}

// TestIntact removes each of the changes that a snapshot shows.
func TestIntact(t *testing.T) {
	p := planned(t, Config{Guard: true}, ownUse, nil)
	whole := machine()
	for _, c := range p.changes {
		whole.make(c)
	}
	if !whole.intact(p.changes) {
		t.Fatal("not intact")
	}
	for i, left := range p.changes {
		s := machine()
		for j, c := range p.changes {
			if i != j {
				s.make(c)
			}
		}
		seen := left.Link != nil || left.Address != nil || left.Route != nil || left.Rule != nil
		if s.intact(p.changes) == seen {
			t.Errorf("without %s: %v", left.Command(), !seen)
		}
	}
}

// TestRouteTo takes the longest prefix, then the router that has told the prefix, then the metric.
func TestRouteTo(t *testing.T) {
	const a, b, c = "fe80::a", "fe80::b", "fe80::c"
	for name, tt := range map[string]struct {
		routes []routeState
		router string
		want   string
	}{
		"default":           {[]routeState{route("::/0", a, ethIndex, 1024)}, "", a},
		"metric":            {[]routeState{route("::/0", a, ethIndex, 1024), route("::/0", b, ethIndex, 512)}, "", b},
		"router":            {[]routeState{route("::/0", a, ethIndex, 512), route("::/0", b, ethIndex, 1024)}, b, b},
		"router-unknown":    {[]routeState{route("::/0", a, ethIndex, 512), route("::/0", b, ethIndex, 1024)}, c, a},
		"longest":           {[]routeState{route("::/0", a, ethIndex, 1), route("64:ff9b::/32", b, ethIndex, 1024)}, a, b},
		"more-than-it":      {[]routeState{route("::/0", a, ethIndex, 1024), route("64:ff9b::/97", b, ethIndex, 1)}, "", a},
		"another-interface": {[]routeState{route("::/0", a, wlanIndex, 1), route("::/0", b, ethIndex, 1024)}, "", b},
	} {
		s := machine()
		addWLAN(s)
		s.routes = tt.routes
		var router netip.Addr
		if tt.router != "" {
			router = netip.MustParseAddr(tt.router)
		}
		if r, ok := s.routeTo(ethIndex, netip.MustParsePrefix(wkp), router); !ok || r.via.String() != tt.want {
			t.Errorf("%s: %+v, %v", name, r, ok)
		}
	}
}

// TestUplinksOf has the default routes first, and leaves out what can be none.
func TestUplinksOf(t *testing.T) {
	s := machine()
	s.links = append(s.links,
		linkState{index: 20, name: "docker0", kind: "bridge", up: true, running: true, mtu: 1500, mtu6: 1500},
		linkState{index: 21, name: "veth1", kind: "veth", up: true, running: true, port: true, mtu: 1500, mtu6: 1500},
		linkState{index: 22, name: "wg0", kind: "wireguard", up: true, running: true, mtu: 1420, mtu6: 1420},
		linkState{index: 23, name: "eth1", up: true, running: true, mtu: 1500, mtu6: 1500},
		linkState{index: 24, name: "eth2", up: true, mtu: 1500, mtu6: 1500},
		linkState{index: 25, name: "eth3", up: true, running: true, mtu: 1500},
	)
	addWLAN(s)
	s.routes = append(s.routes, route("::/0", "fe80::2", 24, 1), route("::/0", "", clatIndex, 1), route("::/0", "fe80::3", ethIndex, 2000))
	dead := route("::/0", "fe80::4", 23, 1)
	dead.unicast = false
	s.routes = append(s.routes, dead)
	names := func(given string) (list []string) {
		for _, l := range s.uplinks(given, "clat") {
			name := l.name
			if !l.routed {
				name += "?"
			}
			list = append(list, name)
		}
		return list
	}
	if got := names(""); !slices.Equal(got, []string{"wlan0", "eth0", "eth1?", "docker0?"}) {
		t.Error(got)
	}
	if got := names("wg0"); !slices.Equal(got, []string{"wg0?"}) {
		t.Error(got)
	}
	s.addrs = append(s.addrs, hostAddr("2001:db8:9::1/128", 22))
	if got := names("wg0"); !slices.Equal(got, []string{"wg0"}) {
		t.Error(got)
	}
	if got := names("none"); got != nil {
		t.Error(got)
	}
}

func TestNativeOf(t *testing.T) {
	with := func(list ...routeState) *snapshot {
		s := machine()
		addWLAN(s)
		s.routes = append(s.routes, list...)
		return s
	}
	unreachable := route("0.0.0.0/0", "", ethIndex, 1)
	unreachable.unicast = false
	down := route("0.0.0.0/0", "192.0.2.1", ethIndex, 1)
	down.linkDown = true
	table := route("0.0.0.0/0", "192.0.2.1", ethIndex, 1)
	table.table = 100
	for name, tt := range map[string]struct {
		s      *snapshot
		want   string
		metric int
	}{
		"none":        {with(), "", -1},
		"the-clat's":  {with(route("0.0.0.0/0", "", clatIndex, 2048)), "", -1},
		"two":         {with(route("0.0.0.0/0", "192.0.2.1", ethIndex, 600), route("0.0.0.0/0", "192.0.2.1", wlanIndex, 100)), "wlan0", 600},
		"unreachable": {with(unreachable), "", -1},
		"link-down":   {with(down), "", -1},
		"other-table": {with(table), "", -1},
		"halves":      {with(route("0.0.0.0/1", "", ethIndex, 0), route("0.0.0.0/0", "192.0.2.1", wlanIndex, 100)), "eth0", 100},
	} {
		if name2, metric := tt.s.native("clat"); name2 != tt.want || metric != tt.metric {
			t.Errorf("%s: %q, %d", name, name2, metric)
		}
	}
}

// TestMetric stays above any native default route, as far as there are numbers.
func TestMetric(t *testing.T) {
	for native, want := range map[int]int{0: 2048, 2047: 2048, 2048: 2049, 20100: 20101, 1<<31 - 2: 1<<31 - 1, 1<<32 - 1: 1<<31 - 1} {
		p := planned(t, Config{}, ownUse, func(s *snapshot) {
			s.routes = append(s.routes, route("0.0.0.0/0", "192.0.2.1", ethIndex, native))
		})
		if got := p.changes[len(p.changes)-1].Route.Metric; got != want {
			t.Errorf("native %d: %d", native, got)
		}
	}
}

// TestOwnNetworks has the routes of a gateway on this machine, and not those of a VPN.
func TestOwnNetworks(t *testing.T) {
	s := machine()
	s.links = append(s.links, linkState{index: 30, name: "nat64", kind: "tun"}, linkState{index: 31, name: "vpn", kind: "tun"})
	s.addrs = append(s.addrs, hostAddr("fe80::5/64", ethIndex), hostAddr("192.0.2.1/24", ethIndex))
	other := route("64:ff9b:1::/96", "", 30, 1024)
	other.table = 464
	s.routes = append(s.routes, route("64:ff9b::/96", "", 30, 1024), other, route("2000::/3", "", 31, 1), route("2001:db8:7::/48", "", 31, 1))
	var got []string
	for _, p := range s.own("clat", []linkState{{index: 31}}) {
		got = append(got, p.String())
	}
	if want := []string{"2001:db8:1::/64", "64:ff9b::/96", "64:ff9b:1::/96"}; !slices.Equal(got, want) {
		t.Error(got)
	}
	if got := s.own("clat", nil); len(got) != 4 {
		t.Error(got)
	}
}

// TestOtherOf names what is known of another CLAT.
func TestOtherOf(t *testing.T) {
	for name, tt := range map[string]struct {
		link  linkState
		addr  string
		owner []string
		want  string // "" for no CLAT
	}{
		"networkmanager": {linkState{index: 40, name: "wlan0", up: true}, "192.0.0.5/32", nil, "NetworkManager"},
		"high":           {linkState{index: 40, name: "wlan0", up: true}, "192.0.0.9/32", nil, "NetworkManager"},
		"tayga":          {linkState{index: 40, name: "clat0", kind: "tun", up: true}, "192.0.0.1/32", []string{"tayga"}, "clatd"},
		"networkd":       {linkState{index: 40, name: "clat0", kind: "tun", up: true}, "192.0.0.1/32", []string{"systemd-network"}, "systemd-networkd"},
		"program":        {linkState{index: 40, name: "clat0", kind: "tun", up: true}, "192.0.0.1/32", []string{"jool"}, "jool"},
		"unknown":        {linkState{index: 40, name: "clat0", kind: "tun", up: true}, "192.0.0.1/32", nil, "clatd"},
		"down":           {linkState{index: 40, name: "clat0", kind: "tun"}, "192.0.0.1/32", nil, ""},
		"ds-lite":        {linkState{index: 40, name: "ds0", kind: "ip6tnl", up: true}, "192.0.0.2/29", nil, ""},
		"ours":           {linkState{index: 40, name: "clat", kind: "tun", up: true}, "192.0.0.1/29", nil, ""},
		"elsewhere":      {linkState{index: 40, name: "eth1", up: true}, "192.0.0.170/32", nil, ""},
	} {
		s := &snapshot{links: []linkState{tt.link}, addrs: []addrState{hostAddr(tt.addr, 40)}}
		got := s.other("clat", func(string) []string { return tt.owner })
		if (got == nil) != (tt.want == "") || got != nil && (!strings.Contains(got.Error(), tt.want) || !strings.Contains(got.Error(), tt.link.name)) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestNeed chooses between an own address and that of the machine, and says why.
func TestNeed(t *testing.T) {
	eth := linkState{index: ethIndex, name: "eth0"}
	kind := func(k string) linkState { return linkState{index: ethIndex, name: "eth0", kind: k, direct: true} }
	auto := Address{}
	for name, tt := range map[string]struct {
		cfg   Address
		link  linkState
		addrs []addrState
		mode  Mode // with err empty
		net   string
		err   string
	}{
		"slaac":          {auto, eth, []addrState{hostAddr("2001:db8:1::5/64", ethIndex)}, Own, net1, ""},
		"one-address":    {auto, eth, []addrState{hostAddr("2001:db8:1::5/128", ethIndex)}, Shared, "", ""},
		"both":           {auto, eth, []addrState{hostAddr("2001:db8:1::5/128", ethIndex), hostAddr("2001:db8:1::6/64", ethIndex)}, Own, net1, ""},
		"sixteen":        {auto, eth, []addrState{hostAddr("2001:db8:1::5/124", ethIndex)}, Shared, "", ""},
		"256":            {auto, eth, []addrState{hostAddr("2001:db8:1::5/120", ethIndex)}, Own, "2001:db8:1::/120", ""},
		"mobile":         {auto, kind(""), []addrState{hostAddr("2001:db8:1::5/64", ethIndex)}, Own, net1, ""},
		"point-to-point": {auto, kind("ppp"), []addrState{hostAddr("2001:db8:1::5/112", ethIndex)}, Shared, "", ""},
		"wireguard":      {auto, kind("wireguard"), []addrState{hostAddr("2001:db8:1::5/64", ethIndex)}, Shared, "", ""},
		"none":           {auto, eth, nil, Auto, "", "no global IPv6 address"},
		"elsewhere":      {auto, eth, []addrState{hostAddr("2001:db8:1::5/128", 1)}, Shared, "", ""},
		"ula-for-wkp":    {auto, eth, []addrState{hostAddr("fd00::5/64", ethIndex), hostAddr("2001:db8:1::5/64", ethIndex)}, Own, net1, ""},
		"own-one":        {Address{Mode: Own}, eth, []addrState{hostAddr("2001:db8:1::5/128", ethIndex)}, Own, "", "no room"},
		"own-elsewhere":  {Address{Mode: Own}, eth, []addrState{hostAddr("2001:db8:1::5/64", 1)}, Own, "", "no global IPv6 address"},
		"shared":         {Address{Mode: Shared}, eth, []addrState{hostAddr("2001:db8:1::5/64", ethIndex)}, Shared, "", ""},
		"fixed":          {Address{Fixed, netip.MustParseAddr("2001:db8:1::9")}, eth, nil, Fixed, "", ""},
	} {
		s := &snapshot{addrs: tt.addrs}
		n := s.need(tt.cfg, tt.link, netip.MustParsePrefix(wkp))
		net := ""
		if n.net.IsValid() && n.err == "" {
			net = n.net.String()
		}
		if tt.err != "" && !strings.Contains(n.err, tt.err) || tt.err == "" && (n.err != "" || n.mode != tt.mode || n.why == "") || net != tt.net {
			t.Errorf("%s: %+v", name, n)
		}
		if n.to() == (claimTo{}) != (n.mode == Shared || n.err != "") {
			t.Errorf("%s: claims %+v", name, n.to())
		}
	}
	temporary, deprecated := hostAddr("2001:db8:1::5/64", ethIndex), hostAddr("2001:db8:2::5/64", ethIndex)
	temporary.temporary, deprecated.deprecated = true, true
	s := &snapshot{addrs: []addrState{temporary, deprecated}}
	if n := s.need(auto, eth, netip.MustParsePrefix(wkp)); n.net.String() != net2 {
		t.Errorf("temporary, deprecated: %+v", n)
	}
}
