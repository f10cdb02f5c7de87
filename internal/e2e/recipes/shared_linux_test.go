package recipes

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// masquerading is the gateway of gateway.md, before it follows shared.md.
const masquerading = `tun-device nat64
tun-up yes
ipv4-addr 192.168.255.1
ipv6-addr 2001:db8:1::64
prefix 64:ff9b::/96
tun-route 64:ff9b::/96
dynamic-pool 192.168.255.0/24
tun-route 192.168.255.0/24
data-dir /var/lib/tayga
`

const masqueradingNft = `table ip nat64
delete table ip nat64
table ip nat64 {
	chain postrouting {
		type nat hook postrouting priority srcnat
		ip saddr 192.168.255.0/24 oifname "eth0" masquerade
	}
}
`

const nftDropIn = `[Unit]
After=nftables.service

[Service]
ExecStartPre=+nft -f /etc/nat64.nft
`

// TestRecipeShared follows shared.md on a gateway that masquerades, with two guests, a web
// server and a mail server.
func TestRecipeShared(t *testing.T) {
	r := Open(t, "docs/deploy/shared.md", append(outside, "nftables", "postfix")...)
	gw, web, mail := r.Machine("gateway"), r.Machine("web"), r.Machine("mail")
	guests := []*Machine{r.Machine("guest1"), r.Machine("guest2")}
	r.Cast("guest", guests...)
	n := newInternet(r, gw.Host)
	r.Cast("outside", n.v4only)
	n.isp.Route("198.51.100.8/32", "203.0.113.2", "")
	lan := map[*netlab.Host]string{gw.Host: "eth1"}
	hosts := map[*Machine]string{
		web: "2001:db8:1::80", mail: "2001:db8:1::25", guests[0]: "2001:db8:1::11", guests[1]: "2001:db8:1::12",
	}
	for m := range hosts {
		lan[m.Host] = "eth0"
	}
	join(r, "lan", lan)
	gw.Addr("eth1", "2001:db8:1::1/64")
	for m, a := range hosts {
		m.Addr("eth0", a+"/64")
		m.DefaultRoute("2001:db8:1::1", "")
	}
	r.Boot()
	n.serve()
	for _, m := range append(guests, n.v4only) {
		m.Sh("apt-get install -y curl")
	}
	serveWeb(web, "listen [::]:80;")
	web.Sh("echo hello >/var/www/html/index.html")
	mail.Sh("apt-get install -y postfix; postconf -e inet_interfaces=all mydestination=mail.test,localhost; systemctl restart postfix")

	gw.Copy(r.Package(), "/root/steppe_1_amd64.deb")
	gw.Sh("apt-get install -y /root/steppe_1_amd64.deb nftables; sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
	gw.Write("/etc/tayga.conf", masquerading)
	gw.Write("/etc/nat64.nft", masqueradingNft)
	gw.Write("/etc/systemd/system/tayga.service.d/nft.conf", nftDropIn)
	gw.Sh("systemctl daemon-reload; systemctl enable --now tayga")
	page := "http://[64:ff9b::9.9.1.2]/page"
	fetch(t, page, pageOf(n.v4only), guests...)
	require.Equal(t, []string{"203.0.113.2", "203.0.113.2"}, visitors(n.v4only))

	r.Follow("If the gateway masquerades today")
	require.NotContains(t, gw.Sh("nft list ruleset; ls /etc/systemd/system"), "nat64")
	r.Follow("The translator")
	fetch(t, page, pageOf(n.v4only), guests...)
	require.Equal(t, []string{"198.51.100.8", "198.51.100.8"}, visitors(n.v4only))
	fetch(t, "http://198.51.100.8/page", pageOf(web), n.v4only)
	require.Equal(t, []string{"64:ff9b::909:102"}, visitors(web))
	n.v4only.Sh("printf 'Subject: hello\\n\\nIt works.\\n' >/tmp/mail; curl -sS smtp://198.51.100.8 --mail-from a@v4only.test --mail-rcpt root@mail.test -T /tmp/mail")
	mail.Eventually("grep 'It works' /var/mail/*", time.Minute)
	n.v4only.Sh("ping -c 1 198.51.100.8")
	_, err := n.v4only.Try("curl -sS -m 3 http://198.51.100.8:81/")
	require.Error(t, err)
	r.Follow("Names of the servers")
	fetch(t, "http://198.51.100.8/page", pageOf(web), n.v4only)

	// With rules that track connections, each is tracked; and then none is.
	tracked := func() string { return strings.TrimSpace(gw.Sh("sysctl -n net.netfilter.nf_conntrack_count")) }
	gw.Sh("nft 'table inet others { chain forward { type filter hook forward priority filter; ct state invalid counter; }; }'")
	fetch(t, page, pageOf(n.v4only), guests...)
	require.NotEqual(t, "0", tracked())
	r.Follow("Connection tracking")
	gw.Sh("nft delete table inet others") // forgets all
	gw.Eventually("test $(sysctl -n net.netfilter.nf_conntrack_count) = 0", 3*time.Minute)
	gw.Sh("nft 'table inet others { chain forward { type filter hook forward priority filter; ct state invalid counter; }; }'")
	fetch(t, page, pageOf(n.v4only), guests...)
	fetch(t, "http://198.51.100.8/page", pageOf(web), n.v4only)
	require.Equal(t, "0", tracked())
	gw.Sh("nft delete table inet others")

	r.Follow("Check that it works")
	gw.Reboot()
	gw.Sh("sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
	guests[0].Eventually("ping -c 1 -W 2 64:ff9b::9.9.1.2", time.Minute)
	fetch(t, "http://198.51.100.8/page", pageOf(web), n.v4only)

	r.Follow("Undo")
	require.NotContains(t, gw.Sh("nft list ruleset; ip link; ls /etc /var/lib"), "nat64")
	_, err = guests[0].Try("ping -c 1 -W 2 64:ff9b::9.9.1.2")
	require.Error(t, err)
}
