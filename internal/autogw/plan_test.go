package autogw

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

const uplink = `link eth0
addr eth0 198.51.100.2/24
addr eth0 fe80::2/64
route 0.0.0.0/0 via 198.51.100.1 dev eth0 metric 100
`

const clients = `link eth1
addr eth1 2001:db8:1::1/64
addr eth1 fe80::1/64
`

// TestPlan plans for machines as they are: with two interfaces, with one, with VLANs, bridges,
// containers and VPNs.
func TestPlan(t *testing.T) {
	for _, c := range []struct {
		name, machine string
		o             Options
		want          string
		notes         int
	}{
		{"two-interfaces", uplink + clients, Options{}, "wan eth0 lan eth1 pool 192.168.240.0/20", 0},
		{"two-interfaces-with-ipv6-uplink", uplink + clients + `
			addr eth0 2001:db8:ffff::2/64
			route ::/0 via fe80::9 dev eth0 metric 1024`,
			Options{}, "wan eth0 lan eth1 pool 192.168.240.0/20", 0},
		{"one-armed", uplink + `
			addr eth0 2001:db8:1::2/64
			route ::/0 via fe80::9 dev eth0`,
			Options{}, "wan eth0 lan eth0[2001:db8:1::/64] pool 192.168.240.0/20", 0},
		{"one-armed-with-routers-of-clients", uplink + `
			addr eth0 2001:db8:1::2/64
			route 2001:db8:7::/48 via fe80::7 dev eth0
			route 64:ff9b::/96 via fe80::7 dev eth0
			route ::/0 via fe80::9 dev eth0`,
			Options{}, "wan eth0 lan eth0[2001:db8:1::/64 2001:db8:7::/48] pool 192.168.240.0/20", 0},
		{"one-armed-where-ipv6-comes-in", uplink + clients + "route ::/0 via fe80::9 dev eth1",
			Options{}, "wan eth0 lan eth1[2001:db8:1::/64] pool 192.168.240.0/20", 0},
		{"ambiguous-arms", uplink + clients + `
			addr eth0 2001:db8:2::2/64
			route ::/0 via fe80::9 dev eth1`,
			Options{}, "error: it is not clear where the clients are, since eth0 and eth1 all have IPv6 and lead to the internet: choose with --lan eth0 or --lan eth1", 0},
		{"ambiguous-arms-chosen", uplink + clients + `
			addr eth0 2001:db8:2::2/64
			route ::/0 via fe80::9 dev eth1`,
			Options{LAN: []string{"eth1"}}, "wan eth0 lan eth1[2001:db8:1::/64] pool 192.168.240.0/20", 0},
		{"vlans", `link eth0
			link eth0.10 kind vlan
			link eth0.20 kind vlan
			link eth0.30 kind vlan
			addr eth0.10 203.0.113.2/30
			addr eth0.20 2001:db8:20::1/64
			addr eth0.30 fd00:30::1/64
			route 0.0.0.0/0 via 203.0.113.1 dev eth0.10`,
			Options{}, "wan eth0.10 lan eth0.20 lan eth0.30 pool 192.168.240.0/20", 0},
		{"bridge", uplink + `
			link br0 kind bridge
			link tap0 kind tun master br0
			link eth1 master br0
			addr br0 2001:db8:1::1/64
			addr eth1 2001:db8:9::1/64`,
			Options{}, "wan eth0 lan br0 pool 192.168.240.0/20", 0},
		{"uplink-is-a-bridge", `link eth0 master vmbr0
			link vmbr0 kind bridge
			link vmbr1 kind bridge
			addr vmbr0 198.51.100.2/24
			addr vmbr1 fd00:1::1/64
			route 0.0.0.0/0 via 198.51.100.1 dev vmbr0`,
			Options{}, "wan vmbr0 lan vmbr1 pool 192.168.240.0/20", 0},
		{"docker-without-ipv6", uplink + clients + `
			link docker0 kind bridge
			link veth1234 kind veth master docker0
			addr docker0 172.17.0.1/16
			addr docker0 fe80::42/64
			addr veth1234 fe80::43/64`,
			Options{}, "wan eth0 lan eth1 pool 192.168.240.0/20", 0},
		{"docker-with-ipv6-alone", uplink + `
			link docker0 kind bridge
			addr docker0 172.17.0.1/16
			addr docker0 fd00:d0c::1/64`,
			Options{}, "wan eth0 lan docker0 pool 192.168.240.0/20", 0},
		{"vpn-client", uplink + clients + `
			link wg0 kind wireguard
			addr wg0 10.64.0.2/32
			addr wg0 fc00:bbbb::2/128
			route 0.0.0.0/0 dev wg0 table 51820
			route ::/0 dev wg0 table 51820`,
			Options{}, "wan eth0 lan eth1 pool 192.168.240.0/20", 0},
		{"vpn-of-two-halves", uplink + clients + `
			link tun0 kind tun running
			addr tun0 10.8.0.2/24
			addr tun0 fd00:8::2/64
			route 0.0.0.0/1 via 10.8.0.1 dev tun0
			route 128.0.0.0/1 via 10.8.0.1 dev tun0
			route 2000::/3 dev tun0`,
			Options{}, "wan tun0 lan eth1 pool 192.168.240.0/20", 0},
		{"vpn-server", uplink + clients + `
			link wg0 kind wireguard
			addr wg0 fd00:9::1/64`,
			Options{}, "wan eth0 lan eth1 pool 192.168.240.0/20", 1},
		{"vpn-server-chosen", uplink + clients + `
			link wg0 kind wireguard
			addr wg0 fd00:9::1/64`,
			Options{LAN: []string{"eth1", "wg0", "eth1"}}, "wan eth0 lan eth1 lan wg0 pool 192.168.240.0/20", 0},
		{"ppp", `link ppp0 p2p
			link eth0
			addr ppp0 203.0.113.7/32
			addr eth0 192.168.1.1/24
			addr eth0 2001:db8:1::1/64
			route 0.0.0.0/0 dev ppp0
			route ::/0 dev ppp0`,
			Options{}, "wan ppp0 lan eth0 pool 192.168.240.0/20", 0},
		{"ipv6-by-a-tunnel", uplink + clients + `
			link he-ipv6 kind sit p2p
			addr he-ipv6 2001:db8:70::2/64
			route ::/0 dev he-ipv6`,
			Options{}, "wan eth0 lan eth1 pool 192.168.240.0/20", 0},
		{"no-ipv4", clients, Options{}, "error: there is no way to IPv4 yet: no IPv4 default route", 0},
		{"default-route-in-another-table", `link eth0
			addr eth0 198.51.100.2/24
			route 0.0.0.0/0 via 198.51.100.1 dev eth0 table 100` + "\n" + clients,
			Options{}, "error: there is no way to IPv4 yet: no IPv4 default route", 0},
		{"default-route-in-another-table-chosen", `link eth0
			addr eth0 198.51.100.2/24
			route 0.0.0.0/0 via 198.51.100.1 dev eth0 table 100` + "\n" + clients,
			Options{WAN: "eth0"}, "wan eth0 lan eth1 pool 192.168.240.0/20", 0},
		{"several-default-routes", uplink + clients + `
			link wlan0
			addr wlan0 192.168.7.4/24
			route 0.0.0.0/0 via 192.168.7.1 dev wlan0 metric 600`,
			Options{}, "wan eth0 lan eth1 pool 192.168.240.0/20", 0},
		{"equal-default-routes", uplink + clients + `
			link eth2
			addr eth2 203.0.113.2/24
			route 0.0.0.0/0 via 203.0.113.1 dev eth2 metric 100`,
			Options{}, "error: eth0 and eth2 have IPv4 default routes that are equally good: choose one with --wan eth0 or --wan eth2", 0},
		{"multipath", `link eth0
			link eth2
			addr eth0 198.51.100.2/24
			addr eth2 203.0.113.2/24
			route 0.0.0.0/0 dev eth0,eth2` + "\n" + clients,
			Options{}, "error: eth0 and eth2 have IPv4 default routes that are equally good: choose one with --wan eth0 or --wan eth2", 0},
		{"multipath-chosen", `link eth0
			link eth2
			addr eth0 198.51.100.2/24
			addr eth2 203.0.113.2/24
			route 0.0.0.0/0 dev eth0,eth2` + "\n" + clients,
			Options{WAN: "eth2"}, "wan eth2 lan eth1 pool 192.168.240.0/20", 0},
		{"no-clients", uplink + "link eth1\naddr eth1 fe80::1/64", Options{},
			"error: no interface has an IPv6 network with clients: give this machine an address there, as in ip address add fd12:3456:789a:1::1/64 dev eth1, or name the interface, as in --lan eth1", 0},
		{"clients-without-network", uplink + "link eth1\naddr eth1 fe80::1/64", Options{LAN: []string{"eth1"}},
			"wan eth0 lan eth1 pool 192.168.240.0/20", 1},
		{"one-armed-without-network", uplink, Options{LAN: []string{"eth0"}},
			"error: --lan eth0: it leads to the internet and has no IPv6 network, so clients cannot be told from other hosts: give it an IPv6 address, as in ip address add fd12:3456:789a:1::1/64 dev eth0", 0},
		{"wrong-lan", uplink + clients, Options{LAN: []string{"eth9"}},
			"error: --lan eth9: there is no such interface: there are eth0 and eth1", 0},
		{"wrong-wan", uplink + clients, Options{WAN: "lo"}, "error: --wan lo: this interface leads to no other host", 0},
		{"port-of-a-bridge", uplink + "link br0 kind bridge\nlink eth1 master br0", Options{LAN: []string{"eth1"}},
			"error: --lan eth1: it belongs to br0: give --lan br0", 0},
		{"lan-down", uplink + "link eth1 down", Options{LAN: []string{"eth1"}},
			"error: --lan eth1: the interface is down: run ip link set eth1 up", 0},
		{"wan-without-ipv4", uplink + clients + "link eth2", Options{WAN: "eth2"},
			"error: there is no way to IPv4 yet: eth2 has neither an IPv4 address nor an IPv4 default route", 0},
		{"translator-runs", uplink + clients + "link nat64 kind tun running", Options{},
			"error: there is an interface nat64 already: stop the translator that uses it, such as tayga.service, or another tayga --gateway", 0},
		{"device-is-left", uplink + clients + "link nat64 kind tun", Options{}, "wan eth0 lan eth1 pool 192.168.240.0/20", 0},
		{"another-translator", uplink + clients + "link jool kind tun running\nroute 64:ff9b::/96 dev jool", Options{},
			"error: 64:ff9b::/96 leads to jool already: another translator runs on this machine; stop it first", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := New(snapshot(t, c.machine), c.o)
			assert.Equal(t, c.want, summary(p, err))
			if err == nil {
				assert.Len(t, p.Notes, c.notes, "%q", p.Notes)
				valid(t, p)
			}
		})
	}
}

// valid checks that others take what is planned.
func valid(t *testing.T, p *Plan) {
	t.Helper()
	conf, problems := taygaconf.Read(strings.NewReader(p.Config), "tayga.conf", nil)
	require.False(t, problems.Failed(), "%v\n%s", problems, p.Config)
	for _, problem := range problems { // private and documentation addresses that were given
		assert.Contains(t, problem.Text, "hosts cannot reach each other by")
	}
	assert.Empty(t, conf.Advice(nil))
	for _, c := range p.Changes {
		assert.NoError(t, Policy().Allows(c))
	}
	for _, line := range append(p.Found(), p.Notes...) {
		assert.NotContains(t, line, "\n")
	}
}

// TestPool gives machines that use more and more of the private addresses.
func TestPool(t *testing.T) {
	base := uplink + clients
	for _, c := range []struct{ name, machine, want string }{
		{"docs-network", "link eth2\naddr eth2 192.168.255.1/24", "192.168.224.0/20"},
		{"vpn-to-192.168", "link tun0 kind tun\nroute 192.168.0.0/16 dev tun0", "172.31.240.0/20"},
		{"vpn-in-another-table", "link tun0 kind tun\nroute 192.168.0.0/16 dev tun0 table 1000", "172.31.240.0/20"},
		{"refused-private", "route blackhole 192.168.0.0/16\nroute unreachable 172.16.0.0/12", "10.255.240.0/20"},
		{"router-without-route", "link eth2\nroute 198.18.0.0/15 via 192.168.255.9 dev eth2", "192.168.224.0/20"},
		{"all-rfc1918", "link t kind tun\nroute 192.168.0.0/16 dev t\nroute 172.16.0.0/12 dev t\nroute 10.0.0.0/8 dev t", "100.127.240.0/20"},
		{"wide-route", "link t kind tun\nroute 8.0.0.0/6 dev t\nroute 192.0.0.0/4 dev t\nroute 172.0.0.0/8 dev t\nroute 100.64.0.0/11 dev t", "100.127.240.0/20"},
		{"a-little-is-left", "link t kind tun\nroute 192.168.0.0/16 dev t\nroute 172.16.0.0/12 dev t\nroute 10.0.0.0/9 dev t\nroute 100.64.0.0/10 dev t\n" +
			allBut("10.128.0.0/9", "10.200.7.64/26"), "10.200.7.64/26"},
		{"nothing-is-left", "link t kind tun\nroute 192.168.0.0/16 dev t\nroute 172.16.0.0/12 dev t\nroute 10.0.0.0/8 dev t\nroute 100.64.0.0/10 dev t", ""},
		{"own-device-is-no-obstacle", "link nat64 kind tun\naddr nat64 192.168.240.1/20\nroute 192.168.240.0/20 dev nat64 table 646", "192.168.240.0/20"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := New(snapshot(t, base+c.machine), Options{})
			if c.want == "" {
				assert.ErrorIs(t, err, errNoPool)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.want, join(p.Pool))
			valid(t, p)
		})
	}
}

// allBut returns routes to all parts of a prefix but one.
func allBut(prefix, free string) string {
	var b strings.Builder
	for _, p := range without(netip.MustParsePrefix(prefix), netip.MustParsePrefix(free)) {
		b.WriteString("route " + p.String() + " dev t\n")
	}
	return b.String()
}

// TestRoutedBlock recognises public addresses that are routed to a machine, and leaves those
// alone that are not, or that it uses.
func TestRoutedBlock(t *testing.T) {
	base := uplink + clients
	masquerade := "wan eth0 lan eth1 pool 192.168.240.0/20"
	for _, c := range []struct {
		name, machine string
		pool          string
		want          string
		notes         int
	}{
		{"on-a-dummy", "link dummy0 kind dummy\naddr dummy0 9.9.7.9/29", "", "wan eth0 lan eth1 share 9.9.7.8, 9.9.7.10/31, 9.9.7.12/31, 9.9.7.14", 0},
		{"refused", "route blackhole 9.9.7.8/29", "", "wan eth0 lan eth1 share 9.9.7.8/29", 0},
		{"unreachable", "route unreachable 9.9.7.0/24", "", "wan eth0 lan eth1 share 9.9.7.0/24", 0},
		{"attackers", "route blackhole 9.9.7.8/32", "", masquerade, 0},
		{"several-refused", "route blackhole 9.9.7.0/24\nroute blackhole 9.9.8.0/24", "", masquerade, 0},
		{"private-refused", "route blackhole 10.0.0.0/8", "", masquerade, 0},
		{"refused-and-used", "link eth2\naddr eth2 9.9.7.9/29\nroute blackhole 9.9.7.0/24", "", masquerade, 1},
		{"refused-and-routed-on", "route blackhole 9.9.7.0/24\nroute 9.9.7.7/32 via fe80::1 dev eth1", "", masquerade, 1},
		{"on-loopback", "addr lo 9.9.7.9/29", "", masquerade, 1},
		{"address-on-loopback", "addr lo 9.9.7.9/32", "", masquerade, 1},
		{"local-route", "route local 9.9.7.8/29 dev lo", "", masquerade, 1},
		{"local-route-in-main", "route local 9.9.7.8/29 dev lo table 254", "", masquerade, 1},
		{"uplink-is-a-dummy", "link eth7 kind dummy\naddr eth7 9.9.7.9/29\nroute 0.0.0.0/0 via 9.9.7.14 dev eth7 metric 5", "", "wan eth7 lan eth1 pool 192.168.240.0/20", 0},
		{"kubernetes", "link kube-ipvs0 kind dummy\naddr kube-ipvs0 10.96.0.1/32\nlink nodelocaldns kind dummy\naddr nodelocaldns 169.254.20.10/32", "", masquerade, 0},
		{"two-blocks", "link dummy0 kind dummy\naddr dummy0 9.9.7.1/31\nroute blackhole 9.9.8.0/29", "", "wan eth0 lan eth1 share 9.9.7.0", 1},
		{"given", "", "9.9.7.8/29", "wan eth0 lan eth1 share 9.9.7.8/29", 0},
		{"given-single", "", "9.9.7.8/32", "wan eth0 lan eth1 share 9.9.7.8", 0},
		{"given-private", "", "10.1.2.0/28", "wan eth0 lan eth1 share 10.1.2.0/28", 0},
		{"given-of-the-uplink", "", "198.51.100.64/28", "wan eth0 lan eth1 share 198.51.100.64/28", 1},
		{"given-own", "", "198.51.100.2/32", "error: --pool 198.51.100.2/32: packets to it stay on this machine, which has it as its own: remove it from eth0 first, or give another", 0},
		{"given-on-loopback", "addr lo 9.9.7.9/29", "9.9.7.8/29", "error: --pool 9.9.7.8/29: packets to it stay on this machine, which has it as its own: remove it from lo first, or give another", 0},
		{"given-ipv6", "", "2001:db8::/64", "error: --pool 2001:db8::/64: an IPv4 prefix of length 8 to 32 is needed", 0},
		{"given-host-bits", "", "9.9.7.9/29", "error: --pool 9.9.7.9/29: host bits are set: give 9.9.7.8/29", 0},
		{"given-all", "", "0.0.0.0/0", "error: --pool 0.0.0.0/0: an IPv4 prefix of length 8 to 32 is needed", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var o Options
			if c.pool != "" {
				o.Pool = netip.MustParsePrefix(c.pool)
			}
			p, err := New(snapshot(t, base+c.machine), o)
			assert.Equal(t, c.want, summary(p, err))
			if err == nil {
				assert.Len(t, p.Notes, c.notes, "%q", p.Notes)
				valid(t, p)
			}
		})
	}
}
