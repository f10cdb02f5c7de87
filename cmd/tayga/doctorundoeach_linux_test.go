package main

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// undone checks that --fix ends what a finding is about, and that --undo brings back the
// state of before.
func (c *clinic) undone(about string) {
	c.Helper()
	before := c.state()
	done, _ := c.repaired("--fix", "--yes")
	require.NotEmpty(c, results(done, resultDone))
	require.Equal(c, about, results(done, resultDone)[0].About)
	require.Empty(c, results(done, resultFailed))
	for _, r := range results(done, resultLeft) {
		assert.NotEqual(c, about, r.About, "%v", done)
	}
	require.NotEmpty(c, difference(before, c.state()), "the state says nothing")
	undone, code := c.repaired("--undo", "--yes")
	assert.Zero(c, code)
	assert.Empty(c, results(undone, resultSkipped))
	assert.Empty(c, difference(before, c.state()))
}

// Each kind of rule that lets packets pass is removed again, and no other one.
func TestDoctorUndoFirewall(t *testing.T) {
	c := newClinic(t, clinicConf)
	c.heal()
	c.needIPTables()
	kinds := []string{ // of commands; those of iptables-legacy are no rules of nftables, which are compared
		"prerouting-from-the-device", "prerouting-to-the-prefix", "ingress-of-inet", "egress-of-the-device", "postrouting-from-the-pool",
		"forward-of-mangle", "iptables-raw", "iptables-mangle-policy",
	}
	for _, test := range firewalls {
		if !slices.Contains(kinds, test.name) {
			continue
		}
		c.sh(test.rules)
		c.undone("firewall")
		c.sh(`nft flush ruleset; nft 'table ip nat { chain post { type nat hook postrouting priority srcnat; oifname "eth1" ip saddr 192.168.255.0/24 masquerade; }; }'`)
	}
}

// Routes that were replaced are there again, as they were.
func TestDoctorUndoRoutes(t *testing.T) {
	c := newClinic(t, clinicConf)
	c.heal()
	for _, harm := range []string{
		"ip -6 route del 64:ff9b::/96; ip -6 route add unreachable 64:ff9b::/96",
		"ip -6 route replace blackhole 64:ff9b::/96 metric 1024",
		"ip -6 route del 64:ff9b::/96; ip -6 route add 64:ff9b::/96 via 2001:db8:c::2 dev eth0 metric 77 mtu 1400",
		"ip -6 route replace 64:ff9b::/96 via 2001:db8:c::2 dev eth0",
		"ip route replace prohibit 192.168.255.0/24",
		"ip route replace 192.168.255.0/24 via 198.51.98.2 src 198.51.98.1 mtu 1400 proto static",
		"ip route replace 192.168.255.0/24 nexthop via 198.51.98.2 weight 3 nexthop via 198.51.98.3 weight 1",
	} {
		t.Log(harm)
		c.sh(harm)
		c.undone("route")
		c.sh("ip -6 route flush exact 64:ff9b::/96; ip route flush exact 192.168.255.0/24; ip route add 64:ff9b::/96 dev nat64; ip route add 192.168.255.0/24 dev nat64")
	}
}

// The same for rules that concern stateful pools.
func TestDoctorUndoShared(t *testing.T) {
	c := newSharedClinic(t, "stateful-map tcp 198.51.99.1:80 [2001:db8:c::2]:80\n")
	c.healShared()
	require.NoError(t, c.host.Command("rm", "-rf", c.dir+"/lib/steppe").Run())
	for about, rules := range map[string]string{
		"masquerading": `add chain ip nat post { type nat hook postrouting priority srcnat; }; add rule ip nat post oifname "eth1" counter masquerade`,
		"conntrack":    `add chain ip nat post { type nat hook postrouting priority srcnat; }; add rule ip nat post ip saddr 192.168.0.0/16 masquerade`,
		"forward":      `add chain ip nat pre { type nat hook prerouting priority dstnat; }; add rule ip nat pre ip daddr 198.51.99.1 dnat to 198.51.98.9`,
	} {
		c.sh("nft 'add table ip nat; " + rules + "'")
		c.undone(about)
		c.sh("nft flush ruleset")
	}
	c.sh("ip addr add 198.51.99.1/32 dev nat64")
	c.undone("address")
}

// A queueing discipline is not deleted unless its number says so: nothing brings it back.
func TestDoctorFixKeepsWhatCannotBeUndone(t *testing.T) {
	needFastPath(t)
	c := newClinic(t, clinicConf)
	c.heal()
	require.Empty(t, c.fastPathFinding())
	c.sh("tc qdisc add dev nat64 root tbf rate 1gbit burst 1mbit limit 1mbit; ip link set nat64 alias told")
	list, _ := c.repaired("--fix", "--yes")
	require.NotEmpty(t, list)
	assert.Equal(t, resultSkipped, list[0].Result)
	assert.Equal(t, "no command undoes this: tayga --doctor --fix 1 runs it", list[0].Reason)
	list, _ = c.repaired("--fix", "--yes", "1")
	assert.Equal(t, resultDone, list[0].Result)
	assert.Equal(t, "no command undoes this", list[0].Reason)
	list, _ = c.repaired("--undo", "--yes")
	assert.Empty(t, list)
}

// The rule for a VPN.
func TestDoctorUndoRule(t *testing.T) {
	c := newCLAT(t)
	for _, f := range c.findings() {
		c.execute(f)
	}
	c.sh(`ip link add wg0 type veth peer name wg1; ip link set wg0 up; ip link set wg1 up
		for f in -4 -6; do
			ip $f route add default dev wg0 table 51820
			ip $f rule add not fwmark 51820 lookup 51820; ip $f rule add lookup main suppress_prefixlength 0
		done`)
	c.undone("route")
}
