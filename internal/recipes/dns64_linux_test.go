package recipes

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/netlab"
)

// TestRecipeExternalDNS64 follows external-dns64.md with two guests, and a BIND
// somewhere in the internet that answers with two prefixes.
func TestRecipeExternalDNS64(t *testing.T) {
	r := Open(t, "docs/deploy/external-dns64.md", outside...)
	gw, resolver := r.Machine("gateway"), r.Machine("resolver")
	guests := []*Machine{r.Machine("guest1"), r.Machine("guest2")}
	r.Cast("guest", guests...)
	n := newInternet(r, gw.Host)
	lan := map[*netlab.Host]string{gw.Host: "eth1"}
	for _, g := range guests {
		lan[g.Host] = "eth0"
	}
	join(r, "lan", lan)
	gw.Addr("eth1", "2001:db8:1::1/64")
	r.Link(n.isp, "eth3", resolver.Host, "eth0", 1500)
	n.isp.Addr("eth3", "2001:db8:3::1/64")
	resolver.Addr("eth0", "2001:db8:3::53/64")
	resolver.DefaultRoute("2001:db8:3::1", "")
	r.Boot()
	n.serve()
	resolver.Sh("apt-get install -y bind9 dns-root-data")
	resolver.Write("/etc/bind/named.conf", `options {
	directory "/var/cache/bind";
	listen-on-v6 { any; };
	allow-query { any; };
	allow-recursion { any; };
	dnssec-validation no;
	dns64 64:ff9b::/96 { clients { any; }; };
	dns64 2001:db8:1:64::/96 { clients { any; }; };
};
zone "." {
	type hint;
	file "/usr/share/dns/root.hints";
};
`)
	resolver.Sh("systemctl restart named")
	for _, g := range guests {
		g.Sh("apt-get install -y curl")
	}

	gw.Copy(r.Package(), "/root/steppe_1_amd64.deb")
	r.Follow("Install")
	r.Follow("Forwarding")
	r.Follow("The translator")
	r.Follow("One IPv4 address for all")
	r.Follow("What guests are told")
	r.Follow("Guests")
	r.Follow("See that it works")

	// By name, as a program chooses, and by each of the prefixes.
	urls := []string{"http://github.com/page", "http://[64:ff9b::9.9.1.2]/page", "http://[2001:db8:1:64::9.9.1.2]/page"}
	for _, url := range urls {
		fetch(t, url, pageOf(n.v4only), guests...)
	}
	require.Equal(t, slices.Repeat([]string{"203.0.113.2"}, len(urls)*len(guests)), visitors(n.v4only))
	fetch(t, "http://www.debian.org/page", pageOf(n.world), guests...)
	for _, v := range visitors(n.world) {
		require.True(t, strings.HasPrefix(v, "2001:db8:1:"), "%s is no address of a guest", v)
	}
	leases := gw.Sh("tayga --status=leases")
	require.Equal(t, len(guests), strings.Count(leases, "192.168.255."), leases)
	require.Equal(t, len(guests), strings.Count(leases, "192.168.254."), leases)

	gw.Reboot()
	for _, g := range guests {
		for _, addr := range []string{"64:ff9b::9.9.1.2", "2001:db8:1:64::9.9.1.2"} {
			g.Eventually("ping -c 1 -W 2 "+addr, time.Minute)
		}
	}
	for _, url := range urls {
		fetch(t, url, pageOf(n.v4only), guests...)
	}

	r.Follow("Undo")
	require.Equal(t, "0\n0\n", gw.Sh("sysctl -n net.ipv4.ip_forward net.ipv6.conf.all.forwarding"))
	require.NotContains(t, gw.Sh("nft list ruleset; ip link; ls /etc /var/lib"), "nat64")
}
