package recipes

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// provide makes a machine of the internet's gateway: a provider with NAT64 for
// customers in 2001:db8:1::/48, and DNS64 on 2001:db8:1::1.
func (n *internet) provide(gw *Machine, deb string) {
	gw.Copy(deb, "/root/steppe_1_amd64.deb")
	gw.Sh("apt-get install -y ./steppe_1_amd64.deb bind9 nftables")
	gw.Write("/etc/tayga.conf", `tun-device nat64
tun-up yes
ipv4-addr 192.168.255.1
ipv6-addr 2001:db8:1::64
prefix 64:ff9b::/96
tun-route 64:ff9b::/96
dynamic-pool 192.168.255.0/24
tun-route 192.168.255.0/24
`)
	gw.Write("/etc/bind/named.conf.options", `options {
	directory "/var/cache/bind";
	listen-on-v6 { 2001:db8:1::1; };
	allow-query { 2001:db8:1::/48; };
	dns64 64:ff9b::/96 { clients { any; }; };
};
`)
	gw.Sh(`
		sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
		nft 'table ip nat64 { chain postrouting { type nat hook postrouting priority srcnat; ip saddr 192.168.255.0/24 oifname "eth0" masquerade; }; }'
		systemctl restart named
		systemctl start tayga`)
	n.trustBIND(gw)
}

// TestRecipeCLAT follows clat.md: a host, then a router, behind a NAT64 of ours.
func TestRecipeCLAT(t *testing.T) {
	r := Open(t, "docs/deploy/clat.md", append(outside, "nftables")...)
	gw, host, router, machine := r.Machine("gateway"), r.Machine("host"), r.Machine("router"), r.Machine("machine")
	n := newInternet(r, gw.Host)
	join(r, "access", map[*netlab.Host]string{gw.Host: "eth1", host.Host: "eth0", router.Host: "eth0"})
	r.Link(router.Host, "eth1", machine.Host, "eth0", 1500)
	gw.Addr("eth1", "2001:db8:1::1/64")
	host.Addr("eth0", "2001:db8:1::2/64")
	host.DefaultRoute("2001:db8:1::1", "")
	router.Addr("eth0", "2001:db8:1::3/64")
	router.DefaultRoute("2001:db8:1::1", "")
	router.Addr("eth1", "192.168.1.1/24")
	gw.Route("2001:db8:1:fe00::/56", "2001:db8:1::3", "")
	machine.Addr("eth0", "192.168.1.7/24")
	machine.DefaultRoute("192.168.1.1", "")
	r.Boot()
	n.serve()
	deb := r.Package()
	n.provide(gw, deb)
	for _, m := range []*Machine{host, router} {
		m.Write("/etc/resolv.conf", "nameserver 2001:db8:1::1\n")
		m.Copy(deb, "/root/steppe_1_amd64.deb")
	}
	for _, m := range []*Machine{host, machine} {
		m.Sh("apt-get install -y curl nftables")
	}

	_, err := host.Dial("tcp4", "9.9.1.2:80", 5*time.Second)
	require.Error(t, err, "the host has IPv4 already")
	r.Follow("Install")

	// In a terminal: it works soon, and Ctrl-C leaves nothing.
	before := host.network()
	host.Sh("tayga --clat >/root/clat.log 2>&1 & echo $! >/root/clat.pid")
	host.Eventually("ping -c 1 -W 2 9.9.1.2", time.Minute)
	host.Sh("kill -INT $(cat /root/clat.pid); tail --pid=$(cat /root/clat.pid) -f /dev/null")
	require.Equal(t, before, host.network(), host.Sh("cat /root/clat.log"))

	r.Follow("One command")
	host.Eventually("ping -c 1 -W 2 9.9.1.2", time.Minute)
	r.Follow("Check that it works")
	n.useCLAT(t, host)
	host.contain("docker0", "172.17.0", "ip saddr 172.17.0.0/16 oifname != docker0 masquerade")
	host.Eventually("ip netns exec docker0 ping -c 1 -W 2 9.9.1.2", time.Minute)
	host.Reboot()
	host.Eventually("ping -c 1 -W 2 9.9.1.2", time.Minute)
	require.Contains(t, host.Sh("ip rule"), "464:")

	// systemd-networkd is started later, with a file for all devices that removes foreign rules.
	host.Write("/etc/systemd/network/90-all.network", "[Match]\nName=cl*\n\n[Network]\nDHCP=yes\n")
	host.Sh("systemctl start systemd-networkd")
	host.Eventually("networkctl --no-pager list clat | grep -w unmanaged", time.Minute)
	host.Eventually("ping -c 1 -W 2 9.9.1.2 && ip rule | grep 'from 192.0.0.1 lookup 464' && ip -6 rule | grep 'iif clat lookup 464'", time.Minute)
	host.Sh("systemctl stop systemd-networkd.socket systemd-networkd; rm /etc/systemd/network/90-all.network")

	host.contain("usb0", "192.168.42", "")
	_, err = host.Try("ip netns exec usb0 ping -c 1 -W 2 9.9.1.2")
	require.Error(t, err, "it is not shared")
	host.Sh("echo clat-share 192.168.42.0/24 >>/etc/steppe-clat.conf; systemctl restart steppe-clat")
	host.Eventually("ip netns exec usb0 ping -c 1 -W 2 9.9.1.2", time.Minute)

	host.Sh("nft flush ruleset; for b in docker0 usb0; do ip netns delete $b || true; ip link delete $b || true; done; sysctl -qw net.ipv4.ip_forward=0")

	r.Follow("By hand")
	n.useCLAT(t, host)
	host.Reboot()
	host.Eventually("ping -c 1 -W 2 9.9.1.2", time.Minute)
	require.NotContains(t, host.Sh("ip rule; systemctl is-active steppe-clat || true"), "464:")

	r.Follow("A router")
	fetch(t, "http://9.9.1.2/page", pageOf(n.v4only), machine, machine)
	n.try4(t, machine, n.v4only, "9.9.1.2")
	n.try4(t, router, n.v4only, "9.9.1.2")
	router.Reboot()
	machine.Eventually("ping -c 1 -W 2 9.9.1.2", time.Minute)

	r.Follow("Undo")
	_, err = host.Try("ping -c 1 -W 2 9.9.1.2")
	require.Error(t, err)
	for _, m := range []*Machine{host, router} {
		require.NotContains(t, m.Sh("ip link; ip -6 neighbour show proxy; nft list ruleset; ls /etc /etc/sysctl.d /etc/systemd/system"), "clat")
	}
}

// useCLAT uses an IPv4 socket and a literal address: the server sees the provider. IPv6 goes as
// it went before, with the host's own address.
func (n *internet) useCLAT(t *testing.T, host *Machine) {
	t.Helper()
	c, err := host.Dial("tcp4", "9.9.1.2:80", 5*time.Second)
	require.NoError(t, err)
	require.Contains(t, c.LocalAddr().String(), "192.0.0.1:")
	require.NoError(t, c.Close())
	fetch(t, "http://9.9.1.2/page", pageOf(n.v4only), host)
	require.Equal(t, []string{"203.0.113.2"}, visitors(n.v4only))
	n.try4(t, host, n.v4only, "9.9.1.2")
	fetch(t, "http://dual.test/page", pageOf(n.world), host)
	require.Equal(t, []string{"2001:db8:1::2"}, visitors(n.world))
}

// contain makes a client of a machine on a bridge, and a packet filter as Docker has it, of both
// families: forwarded packets are dropped, but those of the bridge and their answers. The client's
// namespace has the name of the bridge.
func (m *Machine) contain(bridge, net, nat string) {
	m.Sh(strings.NewReplacer("BRIDGE", bridge, "NET", net, "RULE", nat).Replace(`
		sysctl -qw net.ipv4.ip_forward=1
		ip link add BRIDGE type bridge; ip address add NET.1/24 dev BRIDGE; ip link set BRIDGE up
		ip netns add BRIDGE; ip link add veth-BRIDGE type veth peer name eth0 netns BRIDGE
		ip link set veth-BRIDGE master BRIDGE up
		ip -n BRIDGE link set eth0 up; ip -n BRIDGE address add NET.2/24 dev eth0; ip -n BRIDGE route add default via NET.1
		nft -f - <<-end
		table ip filter { chain FORWARD { type filter hook forward priority filter; policy drop
			iifname "BRIDGE" accept
			oifname "BRIDGE" ct state established,related accept
		}; }
		table ip6 filter { chain FORWARD { type filter hook forward priority filter; policy drop; }; }
		table ip nat { chain POSTROUTING { type nat hook postrouting priority srcnat; RULE
		}; }
		end`))
}

// network lists what a CLAT changes on a machine.
func (m *Machine) network() string {
	return m.Sh(`ip -o link | sed 's/^[0-9]*: //'; ip -6 -o address show dev eth0 | sed 's/ *valid_lft.*//'; ip -4 route show table all; ip -6 route show table all
		ip rule; ip -6 rule; ip -6 neighbour show proxy; nft list ruleset
		cd /proc/sys/net/ipv6/conf; grep -H . */forwarding */accept_ra */proxy_ndp; cat ../../ipv4/ip_forward; ls /run/tayga 2>/dev/null | grep -v lock || true`)
}

// try4 has a machine talk with another by IPv4: much in both directions, and
// datagrams that need fragments. ICMP errors about sizes do not get past the isp
// meanwhile.
func (n *internet) try4(t *testing.T, client, server *Machine, addr string) {
	t.Helper()
	transfers, err := server.ServeTransfers(addr + ":5001")
	require.NoError(t, err)
	defer transfers.Close()
	echo, err := server.ServeUDPEcho(addr + ":5002")
	require.NoError(t, err)
	defer echo.Close()
	n.isp.Nft(`table ip hole { chain forward { type filter hook forward priority 0; icmp type destination-unreachable drop; }; }`)
	defer n.isp.Nft(`delete table ip hole`)
	_, err = client.Download(addr+":5001", 4<<20, time.Minute)
	require.NoError(t, err)
	_, err = client.Upload(addr+":5001", 4<<20, time.Minute)
	require.NoError(t, err)
	_, err = client.UDPEcho(addr+":5002", netlab.UDPEcho{Sizes: []int{10, 1400, 3000, 10}, Attempts: 3, Timeout: 5 * time.Second})
	require.NoError(t, err)
}
