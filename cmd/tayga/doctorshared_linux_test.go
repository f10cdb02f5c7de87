package main

import (
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
	require.True(c, c.reaches(serverAddr))
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
			c := newSharedClinic(t, test.more)
			assert.Equal(t, []string{"forwarding", "forwarding", "device", "device", "route", "route", "daemon"}, c.healShared())
			c.sh(test.harm)
			assert.Equal(t, test.harmless, c.reaches(serverAddr))
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
			assert.True(t, c.reaches(serverAddr), "after")
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
		for _, f := range c.findings() {
			about[f.About] += f.Text + "\n"
		}
		return about["sessions"] != ""
	}, func() string { out, _, _ := c.tayga("--status", "-c", c.conf); return out })
	assert.Regexp(t, "^[0-9]+ times a session was denied by the limit ports-per-prefix: see Sessions in tayga", about["sessions"])
}
