package recipes

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// TestRecipeGateway follows gateway.md with three guests.
func TestRecipeGateway(t *testing.T) {
	r := Open(t, "docs/deploy/gateway.md", outside...)
	gw := r.Machine("gateway")
	guests := []*Machine{r.Machine("guest1"), r.Machine("guest2"), r.Machine("guest3")}
	r.Cast("guest", guests...)
	n := newInternet(r, gw.Host)
	lan := map[*netlab.Host]string{gw.Host: "eth1"}
	for _, g := range guests {
		lan[g.Host] = "eth0"
	}
	join(r, "lan", lan)
	gw.Addr("eth1", "2001:db8:1::1/64")
	r.Boot()
	n.serve()
	for _, g := range guests {
		g.Sh("apt-get install -y curl dbus; systemctl start dbus.socket") // networkctl asks by D-Bus
	}

	gw.Copy(r.Package(), "/root/steppe_1_amd64.deb")
	r.Follow("Install")
	n.trustBIND(gw)

	before := gw.Sh(state)
	r.Follow("One command")
	r.Follow("DNS64")
	r.Follow("Router advertisements")
	r.Follow("Guests")
	fetch(t, "http://v4only.test/page", pageOf(n.v4only), guests...)
	require.Equal(t, []string{"203.0.113.2", "203.0.113.2", "203.0.113.2"}, visitors(n.v4only))
	n.closedToISP(t)
	gw.Reboot()
	for _, g := range guests {
		g.Eventually("ping -c 1 -W 2 github.com", time.Minute)
	}
	r.Follow("From the one command to a file")
	require.Equal(t, before, gw.Sh(state))

	r.Follow("Forwarding")
	r.Follow("The translator")
	others := keepRules(gw)
	r.Follow("One IPv4 address for all")
	r.Follow("Check that it works")

	fetch(t, "http://v4only.test/page", pageOf(n.v4only), guests...)
	require.Equal(t, []string{"203.0.113.2", "203.0.113.2", "203.0.113.2"}, visitors(n.v4only))
	leases := leasesOf(gw)
	require.Len(t, leases, len(guests))

	fetch(t, "http://dual.test/page", pageOf(n.world), guests...)
	for _, v := range visitors(n.world) {
		require.True(t, strings.HasPrefix(v, "2001:db8:1:"), "%s is no address of a guest", v)
	}

	for _, g := range guests {
		require.Equal(t, "0,100,255,155,0,0,0,0,0,0,0,0,0,0,0,0/96", pref64(g)) // 64:ff9b::/96
		require.Contains(t, g.Sh("ip -6 route show 64:ff9b::/96"), "proto ra")
		require.NotContains(t, g.Sh("ip -4 route; ip -4 address show dev eth0"), "inet ")
	}

	// The main process of the unit, which reads packets, has no capability; its helper has
	// one, and sets the device up when it comes back. No process is left by a stop.
	const processes = `main=$(systemctl show -P MainPID tayga)
for p in $main $(cat /proc/$main/task/*/children); do
	echo $(cat /proc/$p/comm) $(sed -n 's/^Cap\(Prm\|Eff\):[[:space:]]*//p' /proc/$p/status)
done`
	const none, netAdmin = "0000000000000000", "0000000000001000"
	require.Equal(t, "tayga "+none+" "+none+"\ntayga-helper "+netAdmin+" "+netAdmin+"\n", gw.Sh(processes))
	gw.Sh("ip link delete nat64; tayga --mktun")
	fetch(t, "http://v4only.test/page", pageOf(n.v4only), guests...)
	visitors(n.v4only)
	gw.Sh("tayga --rmtun; systemctl restart tayga")
	require.NotContains(t, gw.Sh("journalctl -b -o cat"), "left-over process")

	// The doctor has systemd start what systemd runs, also when the file was wrong
	// for a while. A wrong file is reported once: systemd does not start the unit
	// again until a client asks for it.
	gw.Sh("systemctl stop tayga; mv /etc/tayga.conf /etc/tayga.conf~; echo typo >/etc/tayga.conf")
	_, err := gw.Try("systemctl start tayga")
	require.Error(t, err)
	require.Equal(t, "78 failed 0\n", gw.Sh("echo $(systemctl show -P ExecMainStatus tayga) $(systemctl is-failed tayga) $(systemctl show -P NRestarts tayga)"))
	gw.Sh("mv /etc/tayga.conf~ /etc/tayga.conf; systemctl stop tayga")
	said, err := gw.Try("tayga --doctor")
	require.Error(t, err)
	require.Contains(t, said, "tayga does not run on nat64; run: systemctl restart tayga.service\n")
	gw.Sh("systemctl restart tayga; tayga --doctor")

	others()

	n.closedToISP(t)

	gw.Reboot()
	for _, g := range guests {
		g.Eventually("ping -c 1 -W 2 github.com", time.Minute)
	}
	fetch(t, "http://v4only.test/page", pageOf(n.v4only), guests...)
	require.Equal(t, leases, leasesOf(gw))

	r.Follow("Undo")
	require.Equal(t, "0\n0\n", gw.Sh("sysctl -n net.ipv4.ip_forward net.ipv6.conf.all.forwarding"))
	require.NotContains(t, gw.Sh("nft list ruleset; ip link; ls /etc /var/lib"), "nat64")
	require.NotContains(t, gw.Sh("ls /etc /var/lib"), "tayga")
	_, err = guests[0].Try("ping -c 1 -W 2 64:ff9b::9.9.1.2")
	require.Error(t, err)
}

// state is what the one command changes of a machine.
const state = `ip -4 rule; ip -6 rule; ip -4 route show table all; nft list ruleset; ls /run/tayga 2>/dev/null || true
	cd /proc/sys/net; grep . ipv4/ip_forward ipv4/conf/*/forwarding ipv6/conf/*/forwarding ipv6/conf/*/accept_ra`

// closedToISP: a host on the outer link of the gateway cannot use it.
func (n *internet) closedToISP(t *testing.T) {
	t.Helper()
	if out, _ := n.isp.Command("ip", "-6", "route", "show", "64:ff9b::/96").CombinedOutput(); len(out) == 0 {
		n.isp.Route("64:ff9b::/96", "2001:db8:0:1::2", "")
	}
	out, err := n.isp.Command("ping", "-c", "1", "-W", "2", "64:ff9b::9.9.1.2").CombinedOutput()
	require.Error(t, err, "%s", out)
}

// leasesOf returns the pairs of addresses that the translator has leased.
func leasesOf(m *Machine) map[string]string {
	leases := make(map[string]string)
	for line := range strings.Lines(m.Sh("tayga --status=leases")) {
		if f := strings.Fields(line); len(f) > 2 && strings.HasPrefix(f[0], "192.168.") {
			leases[f[0]] = f[1]
		}
	}
	return leases
}

// pref64 returns the prefix that router advertisements tell a guest, once it
// listens to that.
func pref64(guest *Machine) string {
	const dropIn = "/etc/systemd/network/50-eth0.network.d/pref64.conf"
	guest.Write(dropIn, "[IPv6AcceptRA]\nUsePREF64=yes\n")
	guest.Sh("systemctl restart systemd-networkd")
	told := guest.Eventually(`
		networkctl status eth0 --json=short | sed -n 's/.*"PREF64":\[{"Prefix":\[\([0-9,]*\)\],"PrefixLength":\([0-9]*\).*/\1\/\2/p' | grep .`,
		time.Minute)
	guest.Sh("rm " + dropIn + "; systemctl restart systemd-networkd")
	return strings.TrimSpace(told)
}

// keepRules makes rules such as other programs have beside a page's: those of an engine
// of containers, in nftables and by way of iptables. What it returns checks that they
// are still there, and that what the page loads can be loaded again.
func keepRules(m *Machine) (check func()) {
	m.r.t.Helper()
	m.Sh(`nft 'table ip filter { chain DOCKER { counter; }; chain FORWARD { type filter hook forward priority filter; jump DOCKER; }; }
		table inet others { set addresses { type ipv4_addr; }; }'`)
	const list = "nft list table ip filter | grep -v counter; nft list table inet others"
	before := m.Sh(list)
	return func() {
		m.r.t.Helper()
		require.Equal(m.r.t, before, m.Sh(list))
		m.Sh("for f in /etc/*.nft; do nft -f $f; nft -f $f; done")
		require.Equal(m.r.t, before, m.Sh(list))
	}
}
