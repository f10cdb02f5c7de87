package recipes

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// secureConf is a web server that says its name, with a certificate for it.
const secureConf = `server {
	listen [::]:80 default_server;
	listen [::]:443 ssl default_server;
	ssl_certificate /etc/nginx/own.crt;
	ssl_certificate_key /etc/nginx/own.key;
	root /var/www/html;
}
`

// TestRecipeWeb follows web.md with two servers, each with a certificate of its
// own, a client that has IPv4 only, and one with IPv6.
func TestRecipeWeb(t *testing.T) {
	r := Open(t, "docs/deploy/web.md", append(outside, "openssl")...)
	gw, a, b := r.Machine("gateway"), r.Machine("a"), r.Machine("b")
	r.Cast("server", a, b)
	n := newInternet(r, gw.Host)
	client := n.v4only
	r.Cast("client", client)
	join(r, "lan", map[*netlab.Host]string{gw.Host: "eth1", a.Host: "eth0", b.Host: "eth0"})
	gw.Addr("eth1", "2001:db8:1::1/64")
	servers := map[string]*Machine{"a": a, "b": b}
	for name, m := range servers {
		m.Addr("eth0", "2001:db8:1::"+name+"/64")
		m.DefaultRoute("2001:db8:1::1", "")
	}
	n.isp.Route("198.51.100.80/32", "203.0.113.2", "")
	n.isp.Route("192.0.2.7/32", "9.9.1.2", "")
	client.Addr("eth0", "192.0.2.7/32")
	r.Boot()
	for name, m := range servers {
		m.Sh(`apt-get install -y nginx-light openssl
			openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=` + name + `.example \
				-addext subjectAltName=DNS:` + name + `.example -keyout /etc/nginx/own.key -out /etc/nginx/own.crt
			echo this is ` + name + ` >/var/www/html/index.html`)
		m.Write("/etc/nginx/sites-available/default", secureConf)
		m.Sh("systemctl restart nginx")
		client.Write("/root/"+name+".crt", m.Sh("cat /etc/nginx/own.crt"))
	}
	client.Sh(`
		apt-get install -y curl
		echo 198.51.100.80 a.example b.example c.example >>/etc/hosts
		ip route replace default via 9.9.1.1 src 192.0.2.7`)
	n.world.Sh("apt-get install -y curl; echo 2001:db8:1::a a.example >>/etc/hosts")

	gw.Copy(r.Package(), "/root/steppe_1_amd64.deb")
	r.Follow("Install")
	r.Follow("Forwarding")
	r.Follow("The translator")
	r.Follow("Addresses that are not the gateway's own")
	r.Follow("The proxy")
	// The page leaves b's log with a request by HTTP; a's last one was by TLS.
	r.Follow("Check that it works")

	serve := func() {
		t.Helper()
		for name, m := range servers {
			m.Sh(": >/var/log/nginx/access.log")
			// The certificate is the server's own: the proxy did not decrypt.
			said := client.Eventually("curl -sS -m 5 --cacert /root/"+name+".crt https://"+name+".example/", time.Minute)
			require.Equal(t, "this is "+name+"\n", said)
			require.Equal(t, "this is "+name+"\n", client.Sh("curl -sS -m 5 http://"+name+".example:80/"))
			log := m.Sh("cat /var/log/nginx/access.log")
			require.Equal(t, 2, strings.Count(log, "2001:db8:1:46::c000:207 "), log)
			require.Len(t, strings.Split(strings.TrimSpace(log), "\n"), 2)
		}
	}
	serve()
	require.Equal(t, "503", client.Sh("curl -sS -m 5 -o /dev/null -w '%{http_code}' http://c.example/"))
	_, err := client.Try("curl -sSk -m 5 https://c.example/")
	require.Error(t, err)

	// With IPv6, the way does not lead through the proxy.
	n.world.Sh("curl -sSk -m 5 https://a.example/")
	require.Contains(t, a.Sh("tail -n 1 /var/log/nginx/access.log"), "2001:db8:2::2 ")
	require.NotContains(t, gw.Journal("haproxy"), "2001:db8:2::2")

	gw.Reboot()
	serve()

	r.Follow("Undo")
	require.NotContains(t, gw.Sh("nft list ruleset; ip link; ls /etc; ip -6 rule; ip address show dev lo"), "nat46")
	require.NotContains(t, gw.Sh("ip -6 rule"), "fwmark")
	require.NotContains(t, gw.Sh("ip address show dev lo"), "2001:db8:1::80")
}
