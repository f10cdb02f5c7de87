package clattest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// A firewall drops what it does not know, as Docker and distributions set it up.
var firewalls = map[string]func(x *lab){
	"nftables": func(x *lab) {
		x.host.Nft(`
table ip docker {
	chain post { type nat hook postrouting priority srcnat; ip saddr 172.17.0.0/16 oifname != "br0" masquerade; }
	chain forward {
		type filter hook forward priority filter; policy drop;
		iifname "br0" accept
		oifname "br0" ct state established,related accept
	}
}
table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		iifname "lo" accept
		ct state established,related accept
		meta l4proto ipv6-icmp accept
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state invalid drop
		ct state established,related accept
		iifname "br0" accept
	}
}`)
	},
	"iptables": func(x *lab) {
		for _, rule := range []string{
			"iptables-nft -P FORWARD DROP", "ip6tables-nft -P FORWARD DROP", "ip6tables-nft -P INPUT DROP", "iptables-nft -P INPUT DROP",
			"iptables-nft -A FORWARD -i br0 -j ACCEPT", "iptables-nft -A FORWARD -o br0 -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
			"iptables-nft -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o br0 -j MASQUERADE",
			"iptables-nft -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
			"ip6tables-nft -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT", "ip6tables-nft -A INPUT -p icmpv6 -j ACCEPT",
			"ip6tables-nft -t raw -A PREROUTING -m rpfilter --invert -j DROP",
		} {
			x.sh(x.host, rule)
		}
	},
}

// sh runs a command line on a host.
func (x *lab) sh(h *netlab.Host, line string) {
	x.t.Helper()
	out, err := h.Command("sh", "-euc", "PATH=$PATH:/usr/sbin:/sbin; "+line).CombinedOutput()
	require.NoError(x.t, err, "%s: %s", line, out)
}

// TestContainers has the CLAT beside containers on a bridge, with policies that drop.
func TestContainers(t *testing.T) {
	for name, firewall := range firewalls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "iptables" {
				program(t, "iptables-nft")
			}
			x := newLab(t, wellKnown)
			box := x.Host("box")
			x.ip(x.host, "link add br0 type bridge")
			x.ip(x.host, "address add 172.17.0.1/16 dev br0")
			x.ip(x.host, "link set br0 up")
			x.Link(x.host, "veth0", box, "eth0", 1500)
			x.ip(x.host, "link set veth0 master br0")
			box.Addr("eth0", "172.17.0.2/16")
			box.DefaultRoute("172.17.0.1", "")
			x.host.Sysctl("net.ipv4.ip_forward", "1")
			firewall(x)
			ra := advertise(t, x.router, "lan0", "")
			ra.say(slaac(lan0), pref64(wellKnown))
			x.configured("eth0", lan0)
			before := x.take(x.host)
			c := x.run()
			x.works("router advertisement", ra.since(c.begin), pool(1))
			x.programs(t, x.host)
			x.worksFor(box, "container", time.Now(), pool(1))
			x.programs(t, box)
			c.stop()
			x.same(x.host, before)
		})
	}
}

// TestTwo starts a second CLAT on the host, which refuses, and says why.
func TestTwo(t *testing.T) {
	t.Parallel()
	x, _, c := advertised(t)
	running := x.take(x.host)
	second := x.runOn(x.host, x.conf("clat yes\ntun-device clat2\nstatus-socket no\n")...)
	select {
	case <-second.proc.Done():
		assert.Error(t, second.proc.Wait())
		t.Logf("the second: %s", second.proc.Output())
	case <-time.After(patience):
		t.Fatalf("the second runs: %s", second.proc.Output())
	}
	x.same(x.host, running)
	x.works("a second CLAT", time.Now(), pool(1))
	c.stop()
}

// TestGateway has a NAT64 on the host itself. The two do not feed each other: the prefix of the
// router is used, and the one that the host translates itself is not, if the router has that, too.
func TestGateway(t *testing.T) {
	t.Parallel()
	x := newLab(t, wellKnown)
	gateway, err := x.host.Launch(tayga(t), append(x.conf(`status-socket no
tun-device nat64
tun-up yes
prefix 3fff:64::/96
tun-route 3fff:64::/96
ipv4-addr 192.168.255.1
ipv6-addr 2001:db8:64::99
dynamic-pool 192.168.255.0/24
tun-route 192.168.255.0/24
`), "-d")...)
	require.NoError(t, err)
	x.logAtFailure("gateway", gateway)
	awaitLine(t, gateway, "Workers: ", 0)
	require.NoError(t, x.host.WaitRunning("nat64", patience))
	ra := advertise(t, x.router, "lan0", "")
	ra.say(slaac(lan0), pref64(wellKnown))
	x.configured("eth0", lan0)
	before := x.take(x.host)
	c := x.run()
	x.works("router advertisement", ra.since(c.begin), pool(1))
	x.programs(t, x.host)

	used, logged := c.cpu(), len(c.proc.Output())
	x.broken("the host's own prefix", ra.say(slaac(lan0), pref64For(wellKnown, 0), pref64(otherPrefix)))
	c.says(otherPrefix, logged)
	x.ownNetwork(time.Second)
	x.quiet(c, used, time.Second)
	x.works("another prefix", ra.say(slaac(lan0), pref64For(otherPrefix, 0), pref64(wellKnown)), pool(1))
	c.stop()
	x.same(x.host, before)
}
