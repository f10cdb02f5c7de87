package main

import (
	"encoding/json"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sharedClinicConf is a gateway whose hosts share an address that is routed to it.
const sharedClinicConf = `tun-device nat64
ipv4-addr 198.51.99.1
ipv6-addr 2001:db8:1::64
prefix 64:ff9b::/96
stateful-pool 198.51.99.1
data-dir DIR
status-socket DIR/sock
`

func newSharedClinic(t *testing.T, more string) *clinic {
	t.Helper()
	c := newClinic(t, sharedClinicConf+more)
	c.server.Route("198.51.99.0/24", "198.51.98.1", "")
	return c
}

// healShared makes a gateway of nothing as the doctor says, and checks that it is one.
func (c *clinic) healShared() (about []string) {
	c.Helper()
	for _, f := range c.findings() {
		about = append(about, f.About)
		c.execute(f)
	}
	require.Empty(c, c.findings())
	require.True(c, c.connected(serverAddr))
	return about
}

// From nothing but a configuration with a stateful pool, what the doctor says makes a
// gateway, and what is broken or in the way is found.
func TestDoctorShared(t *testing.T) {
	for _, test := range []struct {
		name     string
		more     string // configuration
		harm     string
		harmless bool // the client reaches the server all the same
		severity string
		about    string
		text     string
		undo     string // where the finding has no command
	}{
		{name: "no-route", harm: "ip route del 198.51.99.1 dev nat64",
			severity: "error", about: "route", text: "packets for stateful-pool 198.51.99.1/32 are not routed to nat64"},
		{name: "own-address", harm: "ip addr add 198.51.99.1/32 dev eth1", undo: "ip addr del 198.51.99.1/32 dev eth1",
			severity: "error", about: "address", text: "stateful-pool 198.51.99.1/32 contains 198.51.99.1, an address of this machine, on eth1 (its ports 1024-65535 overlap "},
		{name: "own-address-of-the-device", harm: "ip addr add 198.51.99.1/32 dev nat64",
			severity: "error", about: "address", text: "stateful-pool 198.51.99.1/32 contains 198.51.99.1, an address of this machine, on nat64: the kernel keeps packets to it"},
		{name: "masquerading-left-over", harm: `nft 'add table ip nat; add chain ip nat post { type nat hook postrouting priority srcnat; }; add rule ip nat post oifname "eth1" counter masquerade'`, harmless: true,
			severity: "warning", about: "masquerading", text: "chain post of table ip nat replaces the source of packets from stateful-pool 198.51.99.1/32"},
		{name: "conntrack", harm: `nft 'add table ip nat; add chain ip nat post { type nat hook postrouting priority srcnat; }; add rule ip nat post ip saddr 192.168.0.0/16 masquerade'`, harmless: true,
			severity: "note", about: "conntrack", text: "connection tracking of the kernel follows each session of stateful-pool 198.51.99.1/32 again"},
		{name: "firewall-and-forwards", more: "stateful-map tcp 198.51.99.1:80 [2001:db8:c::2]:80\n", harmless: true,
			harm: `nft 'add table ip filter; add chain ip filter forward { type filter hook forward priority filter; policy drop; }; add rule ip filter forward ct state established accept; add rule ip filter forward iifname "nat64" accept'`, undo: "nft flush ruleset",
			severity: "error", about: "firewall", text: "chain forward of table ip filter drops IPv4 packets of nat64"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newSharedClinic(t, test.more)
			assert.Equal(t, []string{"forwarding", "forwarding", "device", "device", "route", "route", "daemon"}, c.healShared())
			c.sh(test.harm)
			if test.harmless {
				assert.True(t, c.connected(serverAddr))
			} else {
				assert.False(t, c.reaches(serverAddr))
			}
			list := c.findings()
			require.NotEmpty(t, list)
			assert.Equal(t, test.severity, list[0].Severity)
			assert.Equal(t, test.about, list[0].About)
			assert.Contains(t, list[0].Text, test.text)
			c.sh(test.undo)
			for range 2 { // one fix can show the next problem: what is not masqueraded is tracked
				for _, f := range c.findings() {
					c.execute(f)
				}
			}
			assert.Empty(t, c.findings(), "after")
			assert.True(t, c.connected(serverAddr), "after")
		})
	}
}

// Hosts of one prefix get half of the ports of a pool: the doctor names the limit.
func TestDoctorSharedLimit(t *testing.T) {
	c := newSharedClinic(t, "")
	c.configure(strings.Replace(sharedClinicConf, "stateful-pool 198.51.99.1", "stateful-pool 198.51.99.1 50000-50003", 1))
	c.healShared()
	require.NoError(t, c.client.Do(func() error {
		for range 16 { // each from a port of its own
			conn, err := net.Dial("udp6", "["+serverIn6+"]:9")
			if err != nil {
				return err
			}
			defer conn.Close()
			if _, err := conn.Write([]byte("x")); err != nil {
				return err
			}
		}
		return nil
	}))
	about := map[string]string{}
	c.eventually(func() bool {
		clear(about)
		text, _ := c.doctor("--json") // in one form alone: counters may still grow
		var list []finding
		require.NoError(t, json.Unmarshal([]byte(text), &list), text)
		for _, f := range list {
			about[f.About] += f.Text + "\n"
		}
		return about["sessions"] != ""
	}, func() string { out, _, _ := c.tayga("--status", "-c", c.conf); return out })
	assert.Regexp(t, "^[0-9]+ times a session was denied by the limit ports-per-prefix: see Sessions in tayga", about["sessions"])
}

// A port forward from before, in the kernel's NAT, takes the packets of a static binding or of
// the ports that hosts are assigned: the doctor was silent. Its command has them come again.
func TestDoctorForwards(t *testing.T) {
	c := newSharedClinic(t, "stateful-map tcp 198.51.99.1:80 [2001:db8:c::2]:80\n")
	c.healShared()
	const chain = "add table ip nat; add chain ip nat pre { type nat hook prerouting priority dstnat; }; add rule ip nat pre "
	const binding = " elsewhere (dnat), as for tcp 198.51.99.1:80: hosts of stateful-pool do not get them"
	for name, test := range map[string]struct {
		rule string
		want []string // in the texts of the findings about it
	}{
		"port":           {`tcp dport 80 dnat to 198.51.98.9`, []string{"stateful-map tcp 198.51.99.1:80 [2001:db8:c::2]:80" + binding}},
		"ports":          {`iifname "eth1" tcp dport { 25, 70-90 } counter dnat to 198.51.98.9`, []string{binding}},
		"map":            {`dnat to tcp dport map { 25 : 198.51.98.8, 80 : 198.51.98.9 }`, []string{binding}},
		"redirect":       {`meta l4proto tcp redirect`, []string{binding, "tcp 198.51.99.1:1024"}},
		"port-of-a-host": {`ip daddr 198.51.99.1 udp dport 5000-5009 dnat to 198.51.98.9`, []string{"udp ports 1024-65535 of stateful-pool 198.51.99.1/32 elsewhere (dnat), as for udp 198.51.99.1:5000: hosts"}},
		"address":        {`ip daddr 198.51.99.1 dnat to 198.51.98.9`, []string{binding, "tcp 198.51.99.1:1024", "udp 198.51.99.1:1024", "for icmp 198.51.99.1: hosts"}},

		"of-others":          {`ip daddr 198.51.98.1 tcp dport 80 dnat to 198.51.98.9`, nil},
		"from-the-hosts":     {`iifname "eth0" tcp dport 80 dnat to 198.51.98.9`, nil},
		"another-protocol":   {`udp dport 80 dnat to 198.51.98.9`, nil},
		"a-port-of-no-host":  {`ip daddr 198.51.99.1 tcp dport 22 dnat to 198.51.98.9`, nil},
		"all-but-that":       {`tcp dport != 22-65535 dnat to 198.51.98.9`, nil},
		"exempt":             {`tcp dport 80 accept; add rule ip nat pre tcp dport 80 dnat to 198.51.98.9`, nil},
		"local-addresses":    {`fib daddr type local tcp dport 80 dnat to 198.51.98.9`, nil},
		"map-of-other-ports": {`dnat to tcp dport map { 25 : 198.51.98.8 }`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c.sh("nft '" + chain + test.rule + "'")
			defer c.sh("nft flush ruleset")
			c.diverts(t, "chain pre of table ip nat sends packets to ", test.want)
		})
	}
}

// The same with rules of iptables.
func TestDoctorForwardsOfIPTables(t *testing.T) {
	c := newSharedClinic(t, "stateful-map tcp 198.51.99.1:80 [2001:db8:c::2]:80\n")
	c.needIPTables()
	c.healShared()
	for _, rule := range []string{"-p tcp -m multiport --dports 25,80", "-p udp --dport 60000:", "! -p tcp -d 198.51.98.1"} {
		c.sh("iptables -t nat -A PREROUTING " + rule + " -j DNAT --to-destination 198.51.98.9")
	}
	c.diverts(t, "chain PREROUTING of table ip nat sends packets to ", []string{"as for tcp 198.51.99.1:80: ", "as for udp 198.51.99.1:60000: "})
}

// diverts checks what the doctor says of rules that change destinations, and that nothing is
// left after the commands.
func (c *clinic) diverts(t *testing.T, begin string, want []string) {
	t.Helper()
	var list []finding
	for _, f := range c.findings() {
		if f.About == "forward" {
			list = append(list, f)
		}
	}
	require.Len(t, list, len(want), list)
	for i, f := range list {
		assert.Equal(t, "warning", f.Severity)
		assert.True(t, strings.HasPrefix(f.Text, begin), f.Text)
		assert.Contains(t, f.Text, want[i])
		c.execute(f)
	}
	for _, f := range c.findings() {
		assert.NotEqual(t, "forward", f.About, f.Text)
	}
}
