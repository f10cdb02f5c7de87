package recipes

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// TestRecipePrivateIPv4 follows private-ipv4.md with two guests and a host that
// has a private address only.
func TestRecipePrivateIPv4(t *testing.T) {
	r := Open(t, "docs/deploy/private-ipv4.md", outside...)
	gw, printer := r.Machine("gateway"), r.Machine("printer")
	guests := []*Machine{r.Machine("guest1"), r.Machine("guest2")}
	r.Cast("guest", guests...)
	n := newInternet(r, gw.Host)
	lan := map[*netlab.Host]string{gw.Host: "eth1"}
	for _, g := range guests {
		lan[g.Host] = "eth0"
	}
	join(r, "lan", lan)
	gw.Addr("eth1", "2001:db8:1::1/64")
	r.Link(gw.Host, "eth2", printer.Host, "eth0", 1500)
	gw.Addr("eth2", "10.1.2.1/24")
	printer.Addr("eth0", "10.1.2.3/24")
	r.Boot()
	n.serve()
	serveWeb(printer, "")
	for _, g := range guests {
		g.Sh("apt-get install -y curl")
	}

	gw.Copy(r.Package(), "/root/steppe_1_amd64.deb")
	r.Follow("Install")
	n.trustUnbound(gw)
	r.Follow("Forwarding")
	r.Follow("The translator")
	r.Follow("IPv4 addresses")
	r.Follow("DNS64")
	r.Follow("Router advertisements")
	r.Follow("Guests")
	r.Follow("Check that it works")

	fetch(t, "http://printer.home.arpa/page", pageOf(printer), guests...)
	require.Equal(t, []string{"10.1.2.1", "10.1.2.1"}, visitors(printer))
	fetch(t, "http://github.com/page", pageOf(n.v4only), guests...)
	require.Equal(t, []string{"203.0.113.2", "203.0.113.2"}, visitors(n.v4only))
	fetch(t, "http://www.debian.org/page", pageOf(n.world), guests...)
	for _, v := range visitors(n.world) {
		require.True(t, strings.HasPrefix(v, "2001:db8:1:"), "%s is no address of a guest", v)
	}

	// The prefix can be reached from the internet; the printer can't.
	out, err := n.isp.Command("ping", "-c", "1", "-W", "2", "2001:db8:1:64::10.1.2.3").CombinedOutput()
	require.Error(t, err, "%s", out)
	require.Len(t, leasesOf(gw), len(guests))

	gw.Reboot()
	for _, g := range guests {
		g.Eventually("ping -c 1 -W 2 printer.home.arpa", time.Minute)
	}
	fetch(t, "http://printer.home.arpa/page", pageOf(printer), guests...)

	r.Follow("Undo")
	require.Equal(t, "0\n0\n", gw.Sh("sysctl -n net.ipv4.ip_forward net.ipv6.conf.all.forwarding"))
	require.NotContains(t, gw.Sh("nft list ruleset; ip link; ls /etc /var/lib"), "nat64")
}
