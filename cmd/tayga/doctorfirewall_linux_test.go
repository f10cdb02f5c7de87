package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// firewalls are rules that drop packets at one place each.
var firewalls = []struct{ name, rules, text string }{
	{"prerouting-from-the-device", `nft 'table ip t { chain pre { type filter hook prerouting priority -290; iifname "nat64" drop; }; }'`,
		"chain pre of table ip t drops IPv4 packets"},
	{"prerouting-by-policy", `nft 'table inet t { chain pre { type filter hook prerouting priority mangle; policy drop; iifname "eth0" accept; iifname "eth1" accept; iifname "lo" accept; }; }'`,
		"chain pre of table inet t drops IPv4 packets"},
	{"prerouting-to-the-prefix", `nft 'table ip6 t { chain pre { type filter hook prerouting priority raw; ip6 daddr 64:ff9b::/96 counter drop; }; }'`,
		"chain pre of table ip6 t drops IPv6 packets"},
	{"prerouting-of-answers", `nft 'table ip t { chain pre { type filter hook prerouting priority mangle; iifname "nat64" drop; }; }'`,
		"chain pre of table ip t drops IPv4 packets"},
	{"before-connection-tracking", `nft 'table ip t { chain pre { type filter hook prerouting priority raw; iifname "nat64" ct state invalid drop; }; }'`,
		"chain pre of table ip t drops IPv4 packets"},
	{"prerouting-by-map", `nft 'table ip t { map v { type ifname : verdict; elements = { "nat64" : drop }; }; chain pre { type filter hook prerouting priority -290; iifname vmap @v; }; }'`,
		"chain pre of table ip t drops IPv4 packets"},
	{"prerouting-by-set", `nft 'table ip t { set lan { type ifname; elements = { "eth0", "eth1", "lo" }; }; chain pre { type filter hook prerouting priority mangle; iifname != @lan drop; }; }'`,
		"chain pre of table ip t drops IPv4 packets"},
	{"nat-chain", `nft 'table ip t { chain pre { type nat hook prerouting priority dstnat; iifname "nat64" drop; }; }'`,
		"chain pre of table ip t drops IPv4 packets"},
	{"ingress-of-the-device", `nft 'table netdev t { chain in { type filter hook ingress device "nat64" priority 0; meta protocol ip drop; }; }'`,
		"chain in of table netdev t drops IPv4 packets"},
	{"egress-of-the-device", `nft 'table netdev t { chain out { type filter hook egress device "nat64" priority 0; drop; }; }'`,
		"chain out of table netdev t drops IPv4 packets"},
	{"ingress-of-inet", `nft 'table inet t { chain in { type filter hook ingress device "nat64" priority 0; policy drop; }; }'`,
		"chain in of table inet t drops IPv4 packets"},
	{"postrouting-to-the-device", `nft 'table ip6 t { chain post { type filter hook postrouting priority mangle; oifname "nat64" drop; }; }'`,
		"chain post of table ip6 t drops IPv6 packets"},
	{"postrouting-from-the-pool", `nft 'table ip t { chain post { type filter hook postrouting priority mangle; ip saddr 192.168.255.0/24 drop; }; }'`,
		"chain post of table ip t drops IPv4 packets"},
	{"forward-of-mangle", `nft 'table inet t { chain forw { type filter hook forward priority mangle; oifname "nat64" reject; }; }'`,
		"chain forw of table inet t drops IPv4 packets"},
	{"forward-by-two-interfaces", `nft 'table inet t { chain forw { type filter hook forward priority 0; iifname . oifname { "eth7" . "eth8", "nat64" . "eth1" } drop; }; }'`,
		"chain forw of table inet t drops IPv4 packets"},
	{"iptables-raw", "iptables -t raw -A PREROUTING -i nat64 -j DROP", "chain PREROUTING of table ip raw drops IPv4 packets"},
	{"iptables-mangle-policy", "ip6tables -t mangle -P FORWARD DROP", "chain FORWARD of table ip6 mangle drops IPv6 packets"},
	{"iptables-postrouting", "ip6tables -t mangle -A POSTROUTING -o nat64 -j DROP", "chain POSTROUTING of table ip6 mangle drops IPv6 packets"},
	{"iptables-legacy-raw", "iptables-legacy -t raw -A PREROUTING -i nat64 -j DROP", "chain PREROUTING of table ip raw drops IPv4 packets"},
	{"iptables-legacy-mangle", "ip6tables-legacy -t mangle -A POSTROUTING -o nat64 -j DROP", "chain POSTROUTING of table ip6 mangle drops IPv6 packets"},
	{"iptables-legacy-forward", "iptables-legacy -P FORWARD DROP", "chain FORWARD of table ip filter drops IPv4 packets"},
}

// Packet filters drop at every place that a packet passes. The doctor looked at
// forwarding only, and said that nothing was missing.
func TestDoctorFirewallEverywhere(t *testing.T) {
	for _, test := range firewalls {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newClinic(t, clinicConf)
			if strings.HasPrefix(test.name, "iptables") {
				c.needIPTables()
			}
			c.heal()
			require.True(t, c.connected(serverAddr), "before")
			c.sh(test.rules)
			require.False(t, c.reaches(serverAddr), "not broken")
			list := c.findings()
			require.Len(t, list, 1, "%v", list)
			assert.Equal(t, "error", list[0].Severity)
			assert.Equal(t, test.text+" of nat64", list[0].Text)
			c.execute(list[0])
			assert.Empty(t, c.findings(), "after")
			assert.True(t, c.connected(serverAddr), "after")
		})
	}
}

// TestDoctorFirewallOfPools: with a map beside the pool, or with several pools, drops by
// address were not found, since there was not the one address to look at.
func TestDoctorFirewallOfPools(t *testing.T) {
	for name, conf := range map[string]string{
		"map":  clinicConf + "map 192.0.2.77 2001:db8:77::77\n",
		"pool": clinicConf + "dynamic-pool 192.168.77.0/24\n",
	} {
		for _, rules := range []string{
			`table ip t { set bogons { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.168.0.0/16 }; }; chain t { type filter hook prerouting priority -300; ip saddr @bogons drop; }; }`,
			`table ip t { chain t { type filter hook forward priority 0; ip daddr 192.168.255.0/24 drop; }; }`,
		} {
			t.Run(name, func(t *testing.T) {
				c := newClinic(t, conf)
				c.heal()
				require.True(t, c.connected(serverAddr), "before")
				c.sh("nft '" + rules + "'")
				require.False(t, c.reaches(serverAddr), "not broken")
				list := slices.DeleteFunc(c.findings(), func(f finding) bool { return f.About != "firewall" })
				require.Len(t, list, 1)
				assert.Equal(t, "chain t of table ip t drops IPv4 packets of nat64", list[0].Text)
				c.execute(list[0])
				assert.True(t, c.connected(serverAddr), "after")
			})
		}
	}
}

// Where a drop cannot be helped by selecting our packets, there is no command; a drop
// on the way that answers take is found all the same.
func TestDoctorFirewallWithoutCommand(t *testing.T) {
	for _, rules := range []string{
		`table netdev t { chain in { type filter hook ingress device "eth1" priority 0; meta protocol ip drop; }; }`,
		`table ip t { chain pre { type filter hook prerouting priority raw; iifname "eth1" drop; }; }`,
		`table netdev t { chain out { type filter hook egress device "eth1" priority 0; meta protocol ip drop; }; }`,
	} {
		c := newClinic(t, clinicConf)
		c.heal()
		c.sh("nft '" + rules + "'")
		require.False(t, c.reaches(serverAddr), "not broken")
		list := c.findings()
		require.Len(t, list, 1, "%v", list)
		assert.Equal(t, "firewall", list[0].About)
		assert.Empty(t, list[0].Command)
	}
}

// Rules that stand at these places and let our packets pass are none of the doctor's
// business.
func TestDoctorFirewallThatPasses(t *testing.T) {
	c := newClinic(t, clinicConf)
	c.heal()
	c.needIPTables()
	c.sh(`nft '
		table ip t {
			set known { type ifname; elements = { "eth0", "eth1", "nat64", "lo" }; }
			chain known { type filter hook prerouting priority raw; iifname != @known drop; }
			chain raw { type filter hook prerouting priority raw; iifname "eth1" ip saddr { 10.0.0.0/8, 192.168.0.0/16 } drop; iifname "eth9" drop; fib saddr . iif oif missing drop; }
			chain pre { type filter hook prerouting priority mangle; ct state invalid drop; iifname "eth1" ip daddr 192.168.255.0/24 drop; }
			chain in { type filter hook input priority filter; policy drop; iifname "lo" accept; }
			chain post { type filter hook postrouting priority mangle; oifname "eth0" drop; }
		}
		table ip6 t {
			chain pre { type filter hook prerouting priority mangle; iifname "nat64" ip6 saddr != 64:ff9b::/96 drop; ip6 daddr fc00::/7 drop; }
			chain out { type filter hook output priority filter; oifname "nat64" drop; }
		}
		table netdev t {
			chain in { type filter hook ingress device "eth0" priority 0; meta protocol ip drop; }
			chain out { type filter hook egress device "eth0" priority 0; meta protocol ip drop; }
		}
		table bridge t { chain forw { type filter hook forward priority 0; policy drop; }; }'
		iptables -t raw -A PREROUTING -d 192.168.255.0/24 -i eth1 -j DROP
		ip6tables -t mangle -A PREROUTING -i nat64 -p udp -m udp --dport 7 -j DROP`)
	assert.Empty(t, c.quiet(func() bool { return c.connected(serverAddr) }))
}

// The programs of a host with a CLAT send and receive IPv4 without forwarding.
func TestDoctorFirewallCLAT(t *testing.T) {
	for _, test := range []struct{ name, rules, text string }{
		{"output", `table ip t { chain out { type filter hook output priority filter; oifname "clat" drop; }; }`, "chain out of table ip t drops IPv4 packets of clat"},
		{"input", `table inet t { chain in { type filter hook input priority filter; policy drop; meta nfproto ipv6 accept; iifname "lo" accept; }; }`, "chain in of table inet t drops IPv4 packets of clat"},
		{"prerouting-4", `table ip t { chain pre { type filter hook prerouting priority raw; iifname "clat" drop; }; }`, "chain pre of table ip t drops IPv4 packets of clat"},
		{"prerouting-6", `table ip6 t { chain pre { type filter hook prerouting priority raw; iifname "clat" drop; }; }`, "chain pre of table ip6 t drops IPv6 packets of clat"},
		{"prerouting-of-answers", `table ip6 t { chain pre { type filter hook prerouting priority raw; iifname "eth0" ip6 daddr 2001:db8:c::464 drop; }; }`, "chain pre of table ip6 t drops IPv6 packets of clat"},
		{"forward-of-answers", `table ip6 t { chain forw { type filter hook forward priority filter; oifname "clat" drop; }; }`, "chain forw of table ip6 t drops IPv6 packets of clat"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newCLAT(t)
			for _, f := range c.findings() {
				c.execute(f)
			}
			require.True(t, c.online(), "before")
			c.sh("nft '" + test.rules + "'")
			require.False(t, c.pings(), "not broken")
			list := c.findings()
			require.Len(t, list, 1, "%v", list)
			assert.Equal(t, test.text, list[0].Text)
			c.execute(list[0])
			assert.Empty(t, c.findings(), "after")
			assert.True(t, c.online(), "after")
		})
	}
}
