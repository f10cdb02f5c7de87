package recipes

import "testing"

// TestRecipePerformance sees that what performance.md shows can be seen. Figures
// are none of its business: the machine has other things to do.
func TestRecipePerformance(t *testing.T) {
	r := Open(t, "docs/performance.md", append(outside, "nftables", "ethtool", "iperf3")...)
	gw, guest := r.Machine("gateway"), r.Machine("guest")
	n := newInternet(r, gw.Host)
	r.Cast("server", n.v4only)
	r.Link(gw.Host, "eth1", guest.Host, "eth0", 1500)
	gw.Addr("eth1", "2001:db8:1::1/64")
	guest.Addr("eth0", "2001:db8:1::9/64")
	guest.DefaultRoute("2001:db8:1::1", "")
	r.Boot()
	n.serve()
	n.provide(gw, r.Package())
	gw.Sh("apt-get install -y ethtool")
	for _, m := range []*Machine{guest, n.v4only} {
		m.Sh("apt-get install -y iperf3")
	}
	for _, title := range []string{"Measure", "Offloads", "Workers", "MTU", "What else limits"} {
		r.Follow(title)
	}
	guest.Sh("ping -c 1 64:ff9b::9.9.1.2")
	gw.Eventually("tayga --status | grep 'MTU 9000'", patience)
}
