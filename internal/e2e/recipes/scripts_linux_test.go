package recipes

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// TestRecipeScripts follows scripts.md: Debian's own tayga and clatd are the real
// ones, netifd and the plugin of OPNsense are replayed.
func TestRecipeScripts(t *testing.T) {
	r := Open(t, "docs/deploy/scripts.md", append(outside, "tayga", "clatd", "nftables")...)
	gw, host, router := r.Machine("gateway"), r.Machine("host"), r.Machine("router")
	n := newInternet(r, gw.Host)
	join(r, "access", map[*netlab.Host]string{gw.Host: "eth1", host.Host: "eth0"})
	gw.Addr("eth1", "2001:db8:1::1/64")
	host.Addr("eth0", "2001:db8:1::2/64")
	host.DefaultRoute("2001:db8:1::1", "")

	// The router is a NAT64 of its own, without masquerading: it is the server
	// that knows the way to the pools.
	server, guest := r.Host("server"), r.Host("guest")
	r.Link(router.Host, "eth0", server, "eth0", 1500)
	r.Link(router.Host, "eth1", guest, "eth0", 1500)
	router.Addr("eth0", "9.9.3.1/24")
	router.Addr("eth1", "2001:db8:1::1/64")
	server.Addr("eth0", "9.9.3.2/24")
	server.DefaultRoute("9.9.3.1", "")
	guest.Addr("eth0", "2001:db8:1::9/64")
	guest.DefaultRoute("2001:db8:1::1", "")
	reach := func(addr string) {
		t.Helper()
		ping := func() bool {
			_, err := guest.Ping(netip.MustParseAddr(addr), netlab.Echo{Size: 100})
			return err == nil
		}
		require.Eventually(t, ping, time.Minute, 100*time.Millisecond, addr)
	}

	r.Boot()
	n.serve()
	deb := r.Package()
	n.provide(gw, deb)
	host.Copy(deb, "/root/steppe_1_amd64.deb")
	host.Write("/etc/resolv.conf", "nameserver 2001:db8:1::1\n")
	router.Copy(deb, "/root/steppe_1_amd64.deb")
	router.Write("/etc/sysctl.d/60-router.conf", "net.ipv4.ip_forward = 1\nnet.ipv6.conf.all.forwarding = 1\n")
	router.Sh("sysctl -p /etc/sysctl.d/60-router.conf")

	router.Sh("apt-get install -y tayga; systemctl stop tayga")
	r.Follow("Before the change")
	router.Sh("ifup nat64; systemctl enable tayga; systemctl start tayga")
	reach("64:ff9b::9.9.3.2")
	router.Sh("systemctl stop tayga; test -s /var/spool/tayga/dynamic.map")
	router.Sh("systemctl start tayga")
	r.Follow("Change to steppe")
	reach("64:ff9b::9.9.3.2")
	router.Sh("systemctl stop tayga; test -s /var/spool/tayga/dynamic.map; systemctl start tayga")
	require.NotContains(t, router.Journal("tayga"), "Unable")
	router.Reboot()
	router.Eventually("tayga --status", time.Minute)
	reach("64:ff9b::9.9.3.2")

	r.Follow("Change back")
	reach("64:ff9b::9.9.3.2")
	require.Contains(t, router.Sh("dpkg -S /usr/sbin/tayga"), "tayga: ")
	router.Sh("systemctl stop tayga; ifdown nat64; apt-get install -y ./steppe_1_amd64.deb")

	r.Follow("clatd")
	n.try4(t, host, n.v4only, "9.9.1.2")
	host.Sh("systemctl stop clatd")
	require.NotContains(t, host.Sh("ip link"), "clat")

	r.Follow("Interface up")
	router.Eventually("tayga -c /var/etc/tayga-nat64.conf --status", time.Minute)
	reach("2001:db8:1:46::9.9.3.2")
	r.Follow("Interface down")
	router.Sh("test -s /var/run/tayga/nat64/dynamic.map; ! ip link show tayga-nat64")
	_, err := router.Try("sed -i s/192.168.253.0/192.168.253.1/ /var/etc/tayga-nat64.conf; tayga -c /var/etc/tayga-nat64.conf --mktun")
	require.ErrorContains(t, err, "dynamic-pool")

	r.Follow("Start")
	reach("2001:db8:1:47::9.9.3.2")
	_, err = server.Ping(netip.MustParseAddr("192.168.254.7"), netlab.Echo{Size: 100, Timeout: 10 * time.Second})
	require.NoError(t, err)
	r.Follow("Stop")
	router.Sh("! ip link show nat64plugin")
}
