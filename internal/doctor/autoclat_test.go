package doctor

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// newAutoCLAT is a laptop on an IPv6-only network with DNS64, where tayga --clat has not been
// started and nothing else is missing.
func newAutoCLAT(t *testing.T, conf string) *gateway {
	t.Helper()
	g := newGateway(t, gatewayConf)
	g.Conf, g.Problems = taygaconf.Read(strings.NewReader("clat yes\n"+conf), "/etc/tayga.conf", nil)
	require.False(t, g.Problems.Failed(), "%v", g.Problems)
	g.settings = map[string]int{
		"ipv6/conf/default/disable_ipv6": 0, "ipv6/conf/eth0/disable_ipv6": 0, "ipv6/conf/eth0/force_forwarding": 0, "ipv6/conf/eth0/accept_ra": 1,
		"ipv4/ip_forward": 0, "ipv6/conf/all/forwarding": 0, "ipv4/conf/all/rp_filter": 1,
	}
	g.routes = map[string]Route{"::/0": {Link: "eth0"}, "2001:db8::/64": {Link: "eth0"}}
	g.Machine.Links = []Link{
		g.Machine.Links[0],
		{Name: "eth0", Kind: "device", Up: true, Running: true, MTU: 1500, Physical: true, GRO: true, Advertised: true, Addrs: prefixes("2001:db8::1/64")},
	}
	return g
}

// on has the daemon run and translate.
func (g *gateway) on() {
	g.Machine.Links = append(g.Machine.Links, Link{Name: "clat", Tun: true, Kind: "tun", Up: true, Running: true, MTU: 1500, Addrs: prefixes("192.0.0.1/29")})
	g.Report = &status.Report{Config: "/etc/tayga.conf", CLAT: &status.CLAT{State: "on", Uplink: "eth0", Prefix: "64:ff9b::/96", IPv6: "2001:db8::464", Address: "own"}}
}

const absentDaemon = "error: daemon: tayga does not run on clat; run: tayga -c /etc/tayga.conf"

// What a CLAT sets itself while it runs is not missing, and what it cannot set is.
func TestExamineAutoCLAT(t *testing.T) {
	chain := func(family, table, name, hook string, drops bool) Chain {
		return Chain{Family: family, Table: table, Name: name, Kind: "filter", Hook: hook, Drops: drops}
	}
	legacy := chain("ip6", "filter", "FORWARD", "forward", true)
	legacy.Tool, legacy.Program = toolIPTables, "ip6tables-legacy"
	ufw := chain("ip6", "filter", "FORWARD", "forward", true)
	ufw.Tool, ufw.Program, ufw.Rules = toolIPTables, "ip6tables", []rule{{action: jump, target: "ufw6-before-forward"}}
	before := ufw
	before.Name, before.Kind, before.Hook, before.Rules, before.Drops = "ufw6-before-forward", "", "", nil, false
	owned := chain("inet", "firewalld", "filter_FORWARD", "forward", true)
	owned.Owned = true
	other := func(l Link, attached, active string) func(*gateway) {
		return func(g *gateway) {
			l.Up = true
			g.Machine.Links = append(g.Machine.Links, l)
			g.Machine.Attached = func(string) []string { return strings.Fields(attached) }
			g.Machine.Active = func(unit string) bool { return unit == active }
		}
	}
	filters := func(running bool, chains ...Chain) func(*gateway) {
		return func(g *gateway) {
			if running {
				g.on()
			}
			g.Machine.Filters.Chains = chains
		}
	}
	const (
		firewall = "error: firewall: "
		beside   = "; tayga does not run beside it"
	)
	for _, test := range []struct {
		name, conf string
		change     func(*gateway)
		want       string // beside that tayga does not run
	}{
		{"nothing", "", nil, ""},
		{"running", "", (*gateway).on, ""},
		{"no-uplink", "", func(g *gateway) { g.routes = nil }, "error: uplink: there is no default route of IPv6: a CLAT needs an IPv6 network with a NAT64"},
		{"other-uplink", "clat-uplink wlan0\n", nil, "error: uplink: there is no interface wlan0, which clat-uplink names"},
		{"uplink-down", "clat-uplink eth0\n", func(g *gateway) { g.Machine.Links[1].Up = false }, "error: uplink: eth0, the uplink, is down; run: ip link set eth0 up"},
		{"uplink-without-ipv6", "", func(g *gateway) { g.settings["ipv6/conf/eth0/disable_ipv6"] = 1 },
			"error: uplink: IPv6 is switched off for eth0, the uplink; run: sysctl -w net.ipv6.conf.eth0.disable_ipv6=0"},
		{"older-kernel", "", func(g *gateway) { delete(g.settings, "ipv6/conf/eth0/force_forwarding") }, "note: forwarding: this kernel cannot forward IPv6 between two interfaces alone"},
		{"older-kernel-of-a-router", "", func(g *gateway) {
			delete(g.settings, "ipv6/conf/eth0/force_forwarding")
			g.settings["ipv6/conf/all/forwarding"] = 1
		}, ""},
		{"no-nftables", "", func(g *gateway) { g.Machine.NoNftables = errors.New("not supported") },
			"warning: nftables: the kernel has no nftables (not supported): connections from outside to the programs' IPv6 address are not dropped, and an address that is shared"},
		{"no-nftables-inbound", "clat-inbound yes\n", func(g *gateway) { g.Machine.NoNftables = errors.New("not supported") },
			"warning: nftables: the kernel has no nftables (not supported): an address that is shared"},
		{"no-dns64", "", func(g *gateway) { g.dns = nil }, "warning: dns64: the resolver of this machine does not use DNS64, and no prefix is found by it: unless a router announces"},
		{"no-prefix-in-dns64", "", func(g *gateway) { g.dns = []netip.Addr{netip.MustParseAddr("2001:db8::7")} }, "warning: dns64: the resolver of this machine gives ipv4only.arpa addresses that hold no prefix"},
		{"no-answer", "", func(g *gateway) { g.dnsErr = &net.DNSError{IsTimeout: true} }, "note: dns64: it is not known"},
		{"prefix-in-the-file", "prefix 64:ff9b::/96\n", func(g *gateway) { g.dns = nil }, ""},
		{"own-resolver", "clat-resolver 2001:db8::53\n", func(g *gateway) { g.dns = nil }, ""},
		{"prefix-of-a-router", "", func(g *gateway) { g.on(); g.dns = nil }, ""},
		{"clatd", "", other(Link{Name: "clat0", Tun: true, Kind: "tun", Addrs: prefixes("192.0.0.1/29")}, "tayga", "clatd.service"),
			"error: other-clat: another CLAT is active on clat0: clatd has started it" + beside + "; run: systemctl stop clatd.service"},
		{"another-tayga", "", other(Link{Name: "clat0", Tun: true, Kind: "tun", Addrs: prefixes("192.0.0.1/32")}, "tayga", ""),
			"error: other-clat: another CLAT is active on clat0: a tayga or clatd has started it: end that" + beside},
		{"networkd", "", other(Link{Name: "clat0", Tun: true, Kind: "tun", Addrs: prefixes("192.0.0.1/32")}, "systemd-network", ""),
			"error: other-clat: another CLAT is active on clat0: systemd-networkd has it: switch it off in the .network file of the uplink" + beside},
		{"another-program", "", other(Link{Name: "clat0", Tun: true, Kind: "tun", Addrs: prefixes("192.0.0.1/32")}, "jool", ""),
			"error: other-clat: another CLAT is active on clat0: jool has started it: end that" + beside},
		{"networkmanager", "", other(Link{Name: "wlan0", Kind: "device", Addrs: prefixes("192.0.0.5/32")}, "", ""),
			"error: other-clat: another CLAT is active on wlan0: NetworkManager gives its uplink such an address: switch it off in the connection (ipv4.clat)" + beside},
		{"ds-lite", "", other(Link{Name: "dslite", Kind: "ip6tnl", Addrs: prefixes("192.0.0.2/29")}, "", ""), ""},
		{"forward-chain-that-it-passes-itself", "", filters(false, chain("inet", "filter", "forward", "forward", true)), ""},
		{"forward-chain-that-it-did-not-pass", "", filters(true, chain("inet", "filter", "forward", "forward", true)),
			firewall + `chain forward of table inet filter drops IPv6 packets of clat; run: nft 'insert rule inet filter forward iifname "clat" accept; insert rule inet filter forward oifname "clat" accept'`},
		{"iptables-legacy", "", filters(false, legacy),
			firewall + "chain FORWARD of table ip6 filter drops IPv6 packets of clat; run: ip6tables-legacy -I FORWARD -i clat -j ACCEPT && ip6tables-legacy -I FORWARD -o clat -j ACCEPT"},
		{"ufw-before-it-runs", "", filters(false, ufw, before), ""},
		{"ufw", "", filters(true, ufw, before),
			firewall + "chain FORWARD of table ip6 filter drops IPv6 packets of clat; it is a chain of UFW; run: ufw route allow in on clat && ufw route allow out on clat"},
		{"firewalld-that-owns-its-table", "", filters(false, owned),
			firewall + "chain filter_FORWARD of table inet firewalld drops IPv6 packets of clat; it is a chain of firewalld; run: firewall-cmd --permanent --zone=trusted --add-interface=clat && "},
		{"output", "", filters(false, chain("ip", "t", "out", "output", true)),
			firewall + `chain out of table ip t drops IPv4 packets of clat; run: nft 'insert rule ip t out oifname "clat" accept'`},
		{"input-of-answers", "", filters(false, chain("inet", "t", "in", "input", true)),
			firewall + `chain in of table inet t drops IPv4 packets of clat; run: nft 'insert rule inet t in iifname "clat" accept'`},
		{"docker-drops-only-ipv4", "", filters(true, chain("ip", "filter", "FORWARD", "forward", true)), ""},
		{"docker-and-shared", "clat-share 172.17.0.0/16\n", filters(true, chain("ip", "filter", "FORWARD", "forward", true)),
			firewall + "chain FORWARD of table ip filter drops IPv4 packets of clat; run: nft "},
		{"rp-filter", "", func(g *gateway) {
			g.on()
			g.settings["ipv4/conf/clat/rp_filter"] = 1
			g.routes["0.0.0.0/0"] = Route{Link: "eth0"}
		}, ""},
		{"rp-filter-and-shared", "clat-share 172.17.0.0/16\n", func(g *gateway) {
			g.on()
			g.settings["ipv4/conf/clat/rp_filter"] = 1
			g.routes["0.0.0.0/0"] = Route{Link: "eth0"}
		}, "error: rp-filter: the reverse path filter drops packets from clat whose source is reached by another interface; run: sysctl -w net.ipv4.conf.clat.rp_filter=2"},
		{"searching", "", func(g *gateway) {
			g.on()
			*g.Report.CLAT = status.CLAT{State: "searching", Uplink: "eth0", LastError: "no answer"}
		}, "error: clat: tayga has found no prefix of a NAT64 yet (its last error: no answer)"},
		{"off", "", func(g *gateway) { g.on(); g.Report.CLAT.State = "off" }, "error: clat: the CLAT is off"},
		{"had-an-error", "", func(g *gateway) { g.on(); g.Report.CLAT.LastError = "no answer" }, "note: clat: the CLAT is on, and had an error: no answer"},
		{"no-clat", "", func(g *gateway) { g.on(); g.Report.CLAT = nil }, "error: daemon: the tayga that runs on clat is no CLAT"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newAutoCLAT(t, test.conf)
			if test.change != nil {
				test.change(g)
			}
			lines := g.findings()
			if g.Report == nil {
				require.NotEmpty(t, lines)
				assert.Equal(t, absentDaemon, lines[len(lines)-1])
				lines = lines[:len(lines)-1]
			}
			if test.want == "" {
				assert.Empty(t, lines)
				return
			}
			require.NotEmpty(t, lines)
			assert.Len(t, lines, 1)
			assert.Contains(t, lines[0], test.want)
		})
	}
}

// A CLAT without a file has no command that ends; its unit has one.
func TestExamineCLATWithoutFile(t *testing.T) {
	g := newAutoCLAT(t, "")
	g.NoFile, g.Conf.File = true, "--clat"
	assert.Equal(t, []string{`error: daemon: tayga does not run on clat: run "tayga --clat", which ends with its terminal, or start the unit steppe-clat`}, g.findings())
	g.Process.Unit = "steppe-clat.service"
	assert.Equal(t, []string{"error: daemon: tayga does not run on clat; run: systemctl restart steppe-clat.service"}, g.findings())
}
