package recipes

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// TestRecipeTroubleshooting breaks a gateway in each of the ways that
// troubleshooting.md knows, and follows the page: its first command shows what is
// wrong, its last one fixes it.
func TestRecipeTroubleshooting(t *testing.T) {
	r := Open(t, "docs/troubleshooting.md", append(outside, "nftables", "tcpdump", "ethtool")...)
	gw, guest := r.Machine("gateway"), r.Machine("guest")
	n := newInternet(r, gw.Host)
	// A router on the guest's side, which can have a narrow link, and a second way
	// in from the isp.
	narrow := r.Host("narrow")
	r.Link(gw.Host, "eth1", narrow, "eth0", 1500)
	r.Link(narrow, "eth1", guest.Host, "eth0", 1500)
	r.Link(gw.Host, "eth2", n.isp, "eth3", 1500)
	gw.Addr("eth1", "2001:db8:1::1/64")
	gw.Addr("eth2", "203.0.115.2/24")
	n.isp.Addr("eth3", "203.0.115.1/24")
	narrow.Addr("eth0", "2001:db8:1::2/64")
	narrow.DefaultRoute("2001:db8:1::1", "")
	narrow.Addr("eth1", "2001:db8:1:9::1/64")
	narrow.Forwarding()
	guest.Addr("eth0", "2001:db8:1:9::9/64")
	guest.DefaultRoute("2001:db8:1:9::1", "")
	gw.Route("2001:db8:1:9::/64", "2001:db8:1::2", "")
	r.Boot()
	n.serve()
	n.provide(gw, r.Package())
	gw.Sh("apt-get install -y tcpdump ethtool")
	guest.Sh("apt-get install -y curl")
	guest.Write("/etc/resolv.conf", "nameserver 2001:db8:1::1\n")

	far := netip.MustParseAddr("64:ff9b::9.9.1.2")
	works := func() error {
		_, err := guest.Ping(far, netlab.Echo{Size: 100, Timeout: 3 * time.Second})
		return err
	}
	// ask has the guest talk while the page looks.
	ask := func(script string) (stop func() error) {
		p, err := guest.Launch("sh", "-c", script)
		require.NoError(t, err)
		return p.Kill
	}
	const pinging = "ping -i 0.2 64:ff9b::9.9.1.2"
	require.NoError(t, works())
	r.Follow("First of all")

	broken := func(title, script string) {
		t.Helper()
		gw.Sh(script)
		require.Error(t, works(), "%s: not broken", title)
		r.Follow(title)
		require.NoError(t, works(), "%s: not fixed", title)
	}
	guest.Write("/etc/resolv.conf", "nameserver 2001:db8:2::2\n")
	r.Follow("Names have no IPv6 address")
	guest.Sh("getent ahostsv6 ipv4only.arpa")

	broken("Nothing answers: no route", "ip -6 route del 64:ff9b::/96 dev nat64")
	broken("Nothing answers: the translator is not there", "systemctl stop tayga; tayga --mktun; ip link set nat64 up")
	broken("Nothing answers: forwarding is off", "sysctl -w net.ipv6.conf.all.forwarding=0")
	broken("Nothing answers: a firewall", "nft 'table inet firewall { chain forward { type filter hook forward priority 0; policy drop; }; }'")

	stop := ask(pinging)
	broken("Nothing answers: no masquerading", "nft delete table ip nat64; sleep 1")
	require.Error(t, stop()) // killed

	n.isp.Route("203.0.113.2", "203.0.115.2", "")
	// Debian gives some interfaces 2, and the greater value counts.
	broken("Nothing answers: the reverse path filter", "sysctl -w net.ipv4.conf.eth2.rp_filter=0 net.ipv4.conf.all.rp_filter=1")

	private := netip.MustParseAddr("64:ff9b::10.0.0.7")
	n.v4only.Addr("eth0", "10.0.0.7/32")
	n.isp.Route("10.0.0.7", "9.9.1.2", "")
	_, err := guest.Ping(private, netlab.Echo{Size: 100})
	require.Error(t, err)
	r.Follow("Private addresses do not answer, others do")
	_, err = guest.Ping(private, netlab.Echo{Size: 100, Timeout: 10 * time.Second})
	require.NoError(t, err)

	gw.Sh("sed -i 's,192.168.255.0/24,192.168.255.0/30,' /etc/tayga.conf; systemctl restart tayga")
	full := func() (refused int) {
		for _, a := range []string{"2001:db8:1:9::9", "2001:db8:1:9::a", "2001:db8:1:9::b"} {
			if a != "2001:db8:1:9::9" {
				guest.Sh("ip address replace " + a + "/64 dev eth0 nodad")
			}
			if _, err := guest.Ping(far, netlab.Echo{Size: 100, Source: netip.MustParseAddr(a)}); err != nil {
				refused++
			}
		}
		return refused
	}
	require.Equal(t, 1, full())
	r.Follow("Some guests work, new ones do not")
	require.Zero(t, full())

	n.isp.Nft(`table ip hole { chain forward { type filter hook forward priority 0; icmp type destination-unreachable drop; }; }`)
	narrow.MTU("eth1", 1400)
	const get = "curl -sS -m 4 -o /dev/null http://[64:ff9b::9.9.1.2]/page"
	_, err = guest.Try(get)
	require.Error(t, err)
	stop = ask("while :; do " + get + "; done")
	r.Follow("Small answers come, large ones do not")
	require.Error(t, stop())
	guest.Sh(get)

	// A server that sends no checksums.
	plain, err := n.v4only.ListenPacket("udp4", ":5003")
	require.NoError(t, err)
	defer plain.Close()
	raw, err := plain.(*net.UDPConn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		require.NoError(t, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NO_CHECK, 1))
	}))
	go func() {
		b := make([]byte, 1500)
		for {
			k, from, err := plain.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = plain.WriteTo(b[:k], from)
		}
	}()
	echo := func() error {
		_, err := guest.UDPEcho("[64:ff9b::9.9.1.2]:5003", netlab.UDPEcho{Sizes: []int{100}, Attempts: 3, Timeout: 2 * time.Second})
		return err
	}
	require.Error(t, echo())
	r.Follow("Some programs over UDP get no answer")
	require.NoError(t, echo())

	r.Follow("It works and is slow")
	require.NoError(t, works())
}
