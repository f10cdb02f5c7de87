package recipes

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// TestRecipeProvider follows dns64-provider.md with two guests and, somewhere on
// the internet, a BIND that answers with two prefixes.
func TestRecipeProvider(t *testing.T) {
	r := Open(t, "docs/deploy/dns64-provider.md", outside...)
	gw, resolver := r.Machine("gateway"), r.Machine("resolver")
	guests := []*Machine{r.Machine("guest1"), r.Machine("guest2")}
	r.Cast("guest", guests...)
	n := newInternet(r, gw.Host)
	join(r, "lan", map[*netlab.Host]string{gw.Host: "eth1", guests[0].Host: "eth0", guests[1].Host: "eth0"})
	gw.Addr("eth1", "2001:db8:1::1/64")
	r.Link(n.isp, "eth3", resolver.Host, "eth0", 1500)
	n.isp.Addr("eth3", "2001:db8:53::1/64")
	resolver.Addr("eth0", "2001:db8:53::53/64")
	resolver.DefaultRoute("2001:db8:53::1", "")
	r.Boot()
	n.serve()
	resolver.Sh("apt-get install -y bind9")
	resolver.Write("/etc/bind/named.conf.options", `options {
	directory "/var/cache/bind";
	allow-query { any; };
	allow-recursion { any; };
	dns64 64:ff9b::/96 { };
	dns64 2001:db8:1:64::/96 { };
};
`)
	n.trustBIND(resolver)
	for _, g := range guests {
		g.Sh("apt-get install -y curl")
	}

	r.Follow("Before you begin")
	gw.Copy(r.Package(), "/root/steppe_1_amd64.deb")
	r.Follow("Install")
	r.Follow("Forwarding")
	r.Follow("The translator")
	r.Follow("One IPv4 address for all")
	r.Follow("Router advertisements")
	r.Follow("Guests")
	r.Follow("Check that it works")

	check := func() {
		t.Helper()
		fetch(t, "http://github.com/page", pageOf(n.v4only), guests...)
		for _, prefix := range []string{"64:ff9b::", "2001:db8:1:64::"} {
			fetch(t, "'http://["+prefix+"9.9.1.2]/page'", pageOf(n.v4only), guests...)
		}
		require.Len(t, visitors(n.v4only), 3*len(guests))
		fetch(t, "http://www.debian.org/page", pageOf(n.world), guests...)
		for _, v := range visitors(n.world) {
			require.True(t, netip.MustParsePrefix("2001:db8:1::/64").Contains(netip.MustParseAddr(v)), v)
		}
	}
	check()
	// A guest has two addresses, and keeps both.
	leases := leasesOf(gw)
	require.Len(t, leases, 2*len(guests))

	gw.Reboot()
	for _, g := range guests {
		g.Eventually("ping -c 1 -W 2 github.com", time.Minute)
	}
	check()
	require.Equal(t, leases, leasesOf(gw))

	r.Follow("Undo")
	require.Equal(t, "0\n0\n", gw.Sh("sysctl -n net.ipv4.ip_forward net.ipv6.conf.all.forwarding"))
	require.NotContains(t, gw.Sh("nft list ruleset; ip link; ls /etc /var/lib"), "nat64")
}
