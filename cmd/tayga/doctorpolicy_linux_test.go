package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// quiet reports that traffic passes and that the doctor gives neither an error nor a
// warning; it returns the notes.
func (c *clinic) quiet(passes func() bool) (notes []string) {
	c.Helper()
	require.True(c, passes(), "traffic has to pass")
	for _, f := range c.findings() {
		assert.Equal(c, "note", f.Severity, f)
		assert.Empty(c, f.Command, f)
		notes = append(notes, f.Text)
	}
	return notes
}

// Routes that only some packets take: the doctor asked for the machine's own packets,
// and called a gateway that worked broken. What it cannot know is a note.
func TestDoctorPolicyRouting(t *testing.T) {
	const (
		prefixAway = "ip -6 route del 64:ff9b::/96 dev nat64; ip -6 route add 64:ff9b::/96 dev nat64 table 100;"
		poolAway   = "ip route del 192.168.255.0/24 dev nat64; ip route add 192.168.255.0/24 dev nat64 table 100;"
	)
	for _, test := range []struct{ name, setup, note string }{
		{"prefix-by-iif", prefixAway + "ip -6 rule add iif eth0 lookup 100",
			"packets for prefix 64:ff9b::/96 are routed to nat64 if they arrive on eth0, and elsewhere if on eth1"},
		{"pool-by-iif", poolAway + "ip rule add iif eth1 lookup 100", ""},
		{"both-by-iif", prefixAway + poolAway + "ip -6 rule add iif eth0 lookup 100; ip rule add iif eth1 lookup 100", "if they arrive on eth0, and elsewhere if on eth1"},
		{"prefix-by-source", prefixAway + "ip -6 rule add from 2001:db8:c::/64 lookup 100", ""},
		{"prefix-by-source-not-on-link", prefixAway + "ip -6 rule add from 2001:db8:c::2/127 to 64:ff9b::/96 tos 0 lookup 100", ""},
		{"prefix-by-mark", prefixAway + `ip -6 rule add fwmark 7 lookup 100 pref 50
			nft 'add table ip6 m; add chain ip6 m pre { type filter hook prerouting priority mangle; }; add rule ip6 m pre iifname eth0 meta mark set 7'`,
			`packets for prefix 64:ff9b::/96 are routed to nat64 only by the rule "pref 50 fwmark 0x7 lookup 100", whose conditions were not checked`},
		{"prefix-by-masked-mark", prefixAway + `ip -6 rule add fwmark 0x100/0xff00 lookup 100 pref 50
			nft 'add table ip6 m; add chain ip6 m pre { type filter hook prerouting priority mangle; }; add rule ip6 m pre iifname eth0 meta mark set 0x107'`,
			`"pref 50 fwmark 0x100 mask 0xff00 lookup 100"`},
		{"prefix-by-protocol", prefixAway + "ip -6 rule add ipproto ipv6-icmp lookup 100 pref 50", `"pref 50 ipproto 58 lookup 100"`},
		{"prefix-but-for-a-mark", prefixAway + "ip -6 rule add not fwmark 7 lookup 100", ""},
		{"another-table-for-all", prefixAway + "ip -6 rule add pref 50 lookup 100", ""},
		{"main-without-default-first", prefixAway + "ip -6 rule add pref 50 lookup main suppress_prefixlength 0; ip -6 rule add pref 51 iif eth0 lookup 100", "elsewhere if on eth1"},
		{"uplink-by-iif", "ip route del default; ip route add default via 198.51.98.2 table 200; ip rule add iif nat64 lookup 200", ""},
		{"tables-by-interface-as-of-a-vrf", `
			for i in eth0 eth1 nat64; do ip rule add iif $i lookup 10; ip -6 rule add iif $i lookup 10; done
			ip -6 route add 2001:db8:c::/64 dev eth0 table 10; ip route add default via 198.51.98.2 table 10
			ip -6 route add 64:ff9b::/96 dev nat64 table 10; ip route add 192.168.255.0/24 dev nat64 table 10
			ip -6 route del 64:ff9b::/96 dev nat64; ip route del 192.168.255.0/24 dev nat64; ip route del default`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newClinic(t, clinicConf)
			c.heal()
			require.Empty(t, c.findings(), "before")
			c.sh(test.setup)
			notes := strings.Join(c.quiet(func() bool { return c.connected(serverAddr) }), "\n")
			assert.Contains(t, notes, test.note)
		})
	}
}

// Where rules of policy routing lead packets astray, the doctor says so, and its
// command adds the route to the table that decides.
func TestDoctorPolicyRoutingBroken(t *testing.T) {
	for _, test := range []struct{ name, harm, text, command string }{
		{"table-before-main", "ip -6 route add default via 2001:db8:c::2 table 100; ip -6 rule add pref 50 lookup 100",
			"packets for prefix 64:ff9b::/96 are not routed to nat64", "ip route add 64:ff9b::/96 dev nat64 table 100"},
		{"table-of-the-guests", "ip -6 route del 64:ff9b::/96 dev nat64; ip -6 route add default via 2001:db8:c::2 table 100; ip -6 rule add pref 50 iif eth0 lookup 100; ip -6 rule add pref 51 iif eth1 lookup 100",
			"packets for prefix 64:ff9b::/96 are not routed to nat64", "ip route add 64:ff9b::/96 dev nat64 table 100"},
		{"rule-for-others", "ip -6 route del 64:ff9b::/96 dev nat64; ip -6 route add default via 2001:db8:c::2 table 100; ip -6 rule add iif eth1 lookup 100",
			"packets for prefix 64:ff9b::/96 are not routed to nat64", "ip route add 64:ff9b::/96 dev nat64"},
		{"pool", "ip route add 192.168.0.0/16 via 198.51.98.2 table 100; ip rule add pref 50 iif eth1 lookup 100; ip rule add pref 51 iif lo lookup 100",
			"packets for pool 192.168.255.0/24 are not routed to nat64; the route for 192.168.0.0/16 leads to eth1", "ip route add 192.168.255.0/24 dev nat64 table 100"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newClinic(t, clinicConf)
			c.heal()
			c.sh(test.harm)
			require.False(t, c.reaches(serverAddr), "not broken")
			list := c.findings()
			require.Len(t, list, 1, "%v", list)
			assert.Equal(t, "error", list[0].Severity)
			assert.Contains(t, list[0].Text, test.text)
			assert.Equal(t, test.command, list[0].Command)
			c.execute(list[0])
			c.quiet(func() bool { return c.connected(serverAddr) })
		})
	}
}

// TestDoctorRoutesThatRefuse: a rule or a route may end packets on purpose. The doctor
// wanted a route that was there already, or that could not be added beside the other.
func TestDoctorRoutesThatRefuse(t *testing.T) {
	const byRule = "a rule of policy routing overrides the route for prefix 64:ff9b::/96 to nat64 in the main table: see ip rule"
	const byRoute = "packets for prefix 64:ff9b::/96 end at a route that is blackhole, unreachable or prohibit"
	for _, test := range []struct{ name, harm, text, command string }{
		{"blackhole-rule", "ip -6 rule add to 64:ff9b::/96 blackhole", byRule, ""},
		{"prohibit-rule", "ip -6 rule add pref 50 prohibit", byRule, ""},
		{"unreachable-table", "ip -6 route add unreachable default table 100; ip -6 rule add pref 50 lookup 100", byRule, ""},
		{"suppressed", "ip -6 rule del pref 32766; ip -6 rule add pref 50 lookup main suppress_prefixlength 96; ip -6 rule add pref 51 unreachable", byRule, ""},
		{"of-root", "ip -6 route add unreachable default table 100; ip -6 rule add pref 50 uidrange 0-0 lookup 100", byRule, ""},
		{"unreachable-route", "ip -6 route del 64:ff9b::/96 dev nat64; ip -6 route add unreachable 64:ff9b::/96", byRoute, "ip route replace 64:ff9b::/96 dev nat64"},
		{"blackhole-route", "ip -6 route del 64:ff9b::/96 dev nat64; ip -6 route add blackhole 64:ff9b::/96", byRoute, "ip route replace 64:ff9b::/96 dev nat64"},
		{"prohibit-pool", "ip route replace prohibit 192.168.255.0/24", "packets for pool 192.168.255.0/24 end at a route that is blackhole, unreachable or prohibit", "ip route replace 192.168.255.0/24 dev nat64"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newClinic(t, clinicConf)
			c.heal()
			c.sh(test.harm)
			require.False(t, c.reaches(serverAddr), "not broken")
			list := slices.DeleteFunc(c.findings(), func(f finding) bool { return f.About != "route" })
			require.Len(t, list, 1)
			assert.Equal(t, "error", list[0].Severity)
			assert.Equal(t, test.text, list[0].Text)
			assert.Equal(t, test.command, list[0].Command)
			if test.command != "" {
				c.execute(list[0])
				c.quiet(func() bool { return c.connected(serverAddr) })
			}
		})
	}
}

// A CLAT that has the host's own address for its translated packets and tells the
// answers by a mark: the doctor called the map an address of this machine, and wanted
// something to answer for it.
func TestDoctorCLATWithTheHostsAddress(t *testing.T) {
	c := newCLAT(t)
	c.configure(strings.Replace(clatConf, "2001:db8:c::464", clientAddr, 1))
	c.mktun()
	c.sh(`ip link set clat up; ip addr add 192.0.0.1/29 dev clat; ip route add default dev clat
		sysctl -qw net.ipv6.conf.all.forwarding=1
		ip -6 route add default dev clat table 49575
		ip -6 rule add pref 1 lookup local; ip -6 rule del pref 0
		ip -6 rule add pref 0 from 64:ff9b::/96 to ` + clientAddr + ` fwmark 49575 lookup 49575
		nft 'table ip6 clat {
			chain pre { type filter hook prerouting priority mangle; iifname "eth0" ip6 saddr 64:ff9b::/96 meta mark set 49575; }
		}'`)
	c.start()
	notes := c.quiet(c.pings)
	assert.Equal(t, []string{"packets for map " + clientAddr + `/128 are routed to clat only by the rule "pref 0 from 64:ff9b::/96 to ` + clientAddr + `/128 fwmark 0xc1a7 lookup 49575", whose conditions were not checked`}, notes)
}

// Only one user's programs have IPv4, by a rule with its number.
func TestDoctorCLATForOneUser(t *testing.T) {
	c := newCLAT(t)
	for _, f := range c.findings() {
		c.execute(f)
	}
	c.sh("ip route del default dev clat; ip route add default dev clat table 100; ip rule add uidrange 1000-1000 lookup 100 pref 50")
	c.openDir()
	ping := func() bool {
		return c.host.Command("setpriv", "--reuid", "1000", "--clear-groups", "ping", "-n", "-c", "1", "-W", "1", serverAddr).Run() == nil
	}
	c.sh("sysctl -qw net.ipv4.ping_group_range='0 2147483647'")
	notes := c.quiet(ping)
	assert.Equal(t, []string{`packets for IPv4 have a route only by the rule "pref 50 uidrange 1000-1000 lookup 100", whose conditions were not checked`}, notes)
}

// wg-quick leads all packets into the tunnel but its own, which have a mark. Where those
// are IPv4, they go to the CLAT, the mark ends there, and what it sends goes into the
// tunnel again. The doctor says so, and its command, that of the page on CLATs, ends it.
func TestDoctorCLATBesideVPN(t *testing.T) {
	page, err := os.ReadFile("../../docs/deploy/clat.md")
	require.NoError(t, err)
	c := newCLAT(t)
	for _, f := range c.findings() {
		c.execute(f)
	}
	// -m sets the mark, as the socket of the VPN does.
	outer := func() bool {
		for range 3 {
			if c.host.Command("ping", "-m", "51820", "-n", "-c", "1", "-W", "0.5", "-I", "192.0.0.1", serverAddr).Run() == nil {
				return true
			}
		}
		return false
	}
	require.True(t, outer(), "without a VPN")
	c.sh(`ip link add wg0 type veth peer name wg1; ip link set wg0 up; ip link set wg1 up
		for f in -4 -6; do
			ip $f route add default dev wg0 table 51820
			ip $f rule add not fwmark 51820 lookup 51820; ip $f rule add lookup main suppress_prefixlength 0
		done`)
	require.False(t, outer(), "not broken")
	list := c.findings()
	require.Len(t, list, 1, "%v", list)
	assert.Equal(t, "warning", list[0].Severity)
	assert.Contains(t, list[0].Text, `packets of clat for prefix 64:ff9b::/96 are routed to wg0 by the rule "pref 32765 not fwmark 0xca6c lookup 51820"`)
	assert.Equal(t, "ip -6 rule add iif clat lookup main pref 100", list[0].Command)
	assert.Contains(t, string(page), "\n"+list[0].Command+"\n")
	c.execute(list[0])
	assert.Empty(t, c.quiet(outer))
}

// A VPN that carries only IPv6 is meant to take what the CLAT sends: IPv4 programs use
// both. That is none of the doctor's business.
func TestDoctorCLATThroughVPN(t *testing.T) {
	c := newCLAT(t)
	for _, f := range c.findings() {
		c.execute(f)
	}
	c.sh(`ip link add wg0 type veth peer name wg1; ip link set wg0 up; ip link set wg1 up
		ip -6 route add default dev wg0 table 51820
		ip -6 rule add not fwmark 51820 lookup 51820; ip -6 rule add lookup main suppress_prefixlength 0`)
	assert.Empty(t, c.findings())
}
