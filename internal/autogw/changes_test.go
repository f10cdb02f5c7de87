package autogw

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// commands returns what is changed, without what the kernel's filters need, a command a line.
func commands(p *Plan) string {
	var b strings.Builder
	for _, c := range p.Changes {
		if c.Accept == nil {
			s := c.Command()
			b.WriteString(s[strings.LastIndex(s, "; sysctl")+1:] + "\n")
		}
	}
	return strings.ReplaceAll(b.String(), " sysctl", "sysctl")
}

// TestChanges: clients are told from other hosts by their interface, and on an interface that
// leads to other hosts as well, by their addresses. Addresses of the pool leave masqueraded.
func TestChanges(t *testing.T) {
	t.Run("two-interfaces", func(t *testing.T) {
		p, err := New(snapshot(t, uplink+clients), Options{})
		require.NoError(t, err)
		got := commands(p)
		assert.Regexp(t, `(?m)^nft .*ip saddr 192\.168\.240\.0/20 masquerade`, got)
		for _, want := range []string{
			"sysctl -w net/ipv6/conf/all/forwarding=1\n",
			"sysctl -w net/ipv4/conf/nat64/forwarding=1\n",
			"sysctl -w net/ipv4/conf/eth0/forwarding=1\n",
			"ip -6 route add 64:ff9b::/96 dev nat64 table 646\n",
			"ip -6 route add 64:ff9b:1::c0a8:f001/128 dev nat64 table 646\n",
			"ip route add 192.168.240.0/20 dev nat64 table 646\n",
			"ip rule add to 192.168.240.0/20 priority 646 table 646\n",
			"ip -6 rule add iif lo priority 646 table 646\n",
			"ip -6 rule add iif eth1 priority 646 table 646\n",
		} {
			assert.Contains(t, got, want)
		}
		assert.NotContains(t, got, "iif eth0")
		assert.Less(t, strings.Index(got, "masquerade"), strings.Index(got, "ip route"), "packets could leave as they are")
	})
	t.Run("one-armed", func(t *testing.T) {
		p, err := New(snapshot(t, uplink+"addr eth0 2001:db8:1::2/64"), Options{})
		require.NoError(t, err)
		assert.Contains(t, commands(p), "ip -6 rule add from 2001:db8:1::/64 iif eth0 priority 646 table 646\n")
		assert.Equal(t, 1, strings.Count(commands(p), "iif eth0"))
	})
	t.Run("shared", func(t *testing.T) {
		p, err := New(snapshot(t, uplink+clients), Options{Pool: netip.MustParsePrefix("9.9.7.8/29")})
		require.NoError(t, err)
		assert.NotContains(t, commands(p), "masquerade")
		assert.Contains(t, commands(p), "ip rule add to 9.9.7.8/29 priority 646 table 646\n")
	})
	t.Run("another-uplink-for-clients", func(t *testing.T) {
		m := uplink + clients + `
			link eth2
			addr eth2 203.0.113.2/24
			route 0.0.0.0/0 via 203.0.113.1 dev eth2 metric 200`
		p, err := New(snapshot(t, m), Options{WAN: "eth2"})
		require.NoError(t, err)
		assert.Contains(t, commands(p), "ip route add default via 203.0.113.1 dev eth2 table 646\n")
		assert.Contains(t, commands(p), "ip rule add from 192.168.240.0/20 iif nat64 priority 646 table 646\n")
		for _, name := range []string{"eth0", "eth2"} {
			assert.Contains(t, commands(p), "sysctl -w net/ipv4/conf/"+name+"/forwarding=1\n")
		}
		p, err = New(snapshot(t, m), Options{WAN: "eth0"})
		require.NoError(t, err)
		assert.NotContains(t, commands(p), "default")
	})
}

// TestOwnAddress: the translator's IPv6 address is in a range that has no meaning elsewhere, and
// is not one that the machine uses.
func TestOwnAddress(t *testing.T) {
	p, err := New(snapshot(t, uplink+clients+"route 64:ff9b:1::/64 dev eth1"), Options{})
	require.NoError(t, err)
	assert.Equal(t, "64:ff9b:1:100::c0a8:f001", p.IPv6.String())
	_, err = New(snapshot(t, uplink+clients+"route 64:ff9b:1::/48 dev eth1"), Options{})
	assert.ErrorContains(t, err, "this machine routes all of 64:ff9b:1::/48")
}

// TestNeeds has the lines that clients need for the resolver and the route.
func TestNeeds(t *testing.T) {
	p, err := New(snapshot(t, uplink+clients), Options{})
	require.NoError(t, err)
	script := p.Script([]string{"ip rule add X", "ip rule add Y"})
	for _, want := range []string{
		"# IPv4 by eth0.\n# Clients at eth1, which has 2001:db8:1::/64.\n",
		"cat >/etc/tayga.conf <<'END'\ntun-device nat64\n", "\nEND\n", "\ntayga -c /etc/tayga.conf\n", "\nip rule add X\nip rule add Y\n",
		"# BIND 9, /etc/bind/named.conf.options:\n", "#\t\tlisten-on-v6 { ::1; 2001:db8:1::1; };\n",
		"#\t\tdns64 64:ff9b::/96 { clients { 2001:db8:1::/64; }; };\n",
		"# Or with unbound, ", "#\t\tdns64-prefix: 64:ff9b::/96\n", "#\t\taccess-control: 2001:db8:1::/64 allow\n",
		"#\tinterface eth1 {\n", "#\t\tprefix 2001:db8:1::/64 { };\n", "#\t\tRDNSS 2001:db8:1::1 { };\n", "#\t\tnat64prefix 64:ff9b::/96 { };\n",
	} {
		assert.Contains(t, script, want)
	}
	p, err = New(snapshot(t, uplink+"addr eth0 2001:db8:1::2/64"), Options{})
	require.NoError(t, err)
	assert.Contains(t, p.radvd(), "AdvDefaultLifetime 0;", "it would become the router of all hosts on the link")
	assert.NotContains(t, p.radvd(), "\tprefix ")
}
