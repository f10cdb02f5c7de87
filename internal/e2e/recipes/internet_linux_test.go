package recipes

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// internet is what lies behind a gateway, the same for all pages:
//
//	                      ┌── v4only   9.9.1.2
//	gateway eth0 ── isp ──┤
//	                      └── world    9.9.2.2, 2001:db8:2::2, the root servers of DNS
//
// The gateway has 203.0.113.2/24 and 2001:db8:0:1::2/64 on eth0; the isp routes
// 2001:db8:1::/48 to it. IPv4 hosts have addresses that are in use elsewhere,
// because the well-known prefix is not for documentation addresses either (RFC
// 6052 §3.1).
//
// A resolver that begins at the root finds the world's name server, which is
// there under the addresses of all root servers and serves one signed zone with
// every name there is. Its key is another than the real one, so resolvers that
// validate need [internet.trust].
type internet struct {
	isp           *netlab.Host
	v4only, world *Machine
}

// outside are the packages that the hosts of the internet need.
var outside = []string{"nginx-light", "bind9", "bind9-utils", "bind9-dnsutils", "dns-root-data", "curl", "dbus"}

// names is the zone: names for tests, and what guides use as examples. unbound
// refuses to ask anybody about names below test (RFC 6761 §6.2).
const names = `
v4only.test. A 9.9.1.2
github.com.  A 9.9.1.2
ipv4only.arpa. A 192.0.0.170
ipv4only.arpa. A 192.0.0.171
dual.test.   A 9.9.2.2
dual.test.   AAAA 2001:db8:2::2
www.debian.org. A 9.9.2.2
www.debian.org. AAAA 2001:db8:2::2
`

func newInternet(r *Recipe, gateway *netlab.Host) *internet {
	n := &internet{isp: r.Host("isp"), v4only: r.Machine("v4only"), world: r.Machine("world")}
	r.Link(gateway, "eth0", n.isp, "eth0", 1500)
	r.Link(n.isp, "eth1", n.v4only.Host, "eth0", 1500)
	r.Link(n.isp, "eth2", n.world.Host, "eth0", 1500)
	n.isp.Forwarding()

	gateway.Addr("eth0", "203.0.113.2/24")
	gateway.Addr("eth0", "2001:db8:0:1::2/64")
	gateway.DefaultRoute("203.0.113.1", "")
	gateway.DefaultRoute("2001:db8:0:1::1", "")

	n.isp.Addr("eth0", "203.0.113.1/24")
	n.isp.Addr("eth0", "2001:db8:0:1::1/64")
	n.isp.Addr("eth1", "9.9.1.1/24")
	n.isp.Addr("eth2", "9.9.2.1/24")
	n.isp.Addr("eth2", "2001:db8:2::1/64")
	n.isp.Route("2001:db8:1::/48", "2001:db8:0:1::2", "")
	n.isp.DefaultRoute("9.9.2.2", "")
	n.isp.DefaultRoute("2001:db8:2::2", "")

	n.v4only.Addr("eth0", "9.9.1.2/24")
	n.v4only.DefaultRoute("9.9.1.1", "")
	n.world.Addr("eth0", "9.9.2.2/24")
	n.world.Addr("eth0", "2001:db8:2::2/64")
	n.world.DefaultRoute("9.9.2.1", "")
	n.world.DefaultRoute("2001:db8:2::1", "")
	return n
}

// nginxConf is a web server of static files that logs who asks.
const nginxConf = `server {
	listen 80 default_server;
	%s
	root /var/www/html;
}
`

// serveWeb makes a booted machine a web server with a file "page" of a mebibyte.
func serveWeb(m *Machine, listen6 string) {
	m.Sh("apt-get install -y nginx-light")
	m.Write("/etc/nginx/sites-available/default", fmt.Sprintf(nginxConf, listen6))
	m.Sh("head -c 1M /dev/urandom >/var/www/html/page; systemctl restart nginx")
}

// serve starts the servers, once the machines are booted.
func (n *internet) serve() {
	serveWeb(n.v4only, "")
	serveWeb(n.world, "listen [::]:80 default_server;")
	n.world.Sh(`
		apt-get install -y bind9 bind9-utils dns-root-data
		while read -r name ttl type value; do
			case $type in A|AAAA) ip address add "$value" dev lo ;; esac
		done </usr/share/dns/root.hints`)
	n.world.Write("/var/cache/bind/root", `$TTL 300
. SOA a.root-servers.net. nobody.invalid. 1 3600 600 86400 300
`+names+"$INCLUDE /usr/share/dns/root.hints\n")
	n.world.Write("/etc/bind/named.conf", `options {
	directory "/var/cache/bind";
	recursion no;
	dnssec-validation no;
};
zone "." {
	type primary;
	file "root.signed";
};
`)
	n.world.Sh(`
		cd /var/cache/bind
		dnssec-keygen -q -a ECDSAP256SHA256 -f KSK .
		dnssec-keygen -q -a ECDSAP256SHA256 .
		dnssec-signzone -S -o . root
		systemctl restart named`)
}

// anchor returns the DNSKEY record of the root, the one that signs keys.
func (n *internet) anchor() string {
	return strings.TrimSpace(n.world.Sh(`grep -h 'DNSKEY 257' /var/cache/bind/K.*.key`))
}

// trustBIND makes a machine's BIND trust the key of this internet, the way it
// takes note of a new key of the root (RFC 5011).
func (n *internet) trustBIND(m *Machine) {
	key := strings.Fields(n.anchor())[3:] // . IN DNSKEY flags protocol algorithm key…
	m.Sh("systemctl stop named; rm -f /var/cache/bind/managed-keys.*")
	m.Write("/var/cache/bind/managed-keys.bind", `$TTL 0
. SOA . . 1 0 0 0 0
. KEYDATA 20370101000000 20250101000000 19700101000000 `+strings.Join(key, " ")+"\n")
	m.Sh("systemctl start named")
}

// trustUnbound makes a machine's unbound trust the key of this internet: the
// package has it from there.
func (n *internet) trustUnbound(m *Machine) {
	m.Write("/usr/share/dns/root.key", n.anchor()+"\n")
	m.Sh("rm -f /var/lib/unbound/root.key; systemctl restart unbound")
}

// pageOf returns the SHA-256 of a web server's file "page".
func pageOf(m *Machine) string {
	return strings.Fields(m.Sh("sha256sum /var/www/html/page"))[0]
}

// fetch fetches a URL on several machines at the same time and compares what
// they got.
func fetch(t *testing.T, url, sum string, machines ...*Machine) {
	t.Helper()
	got, errs := make([]string, len(machines)), make(chan error, len(machines))
	for i, m := range machines {
		go func() {
			var err error
			got[i], err = m.Try("curl -sS --max-time 60 --retry 5 --retry-all-errors --retry-max-time 50 " + url + " | sha256sum")
			errs <- err
		}()
	}
	for range machines {
		require.NoError(t, <-errs)
	}
	for _, g := range got {
		require.Equal(t, sum+"  -\n", g, url)
	}
}

// visitors returns the addresses that asked a web server for its page, in order,
// and forgets them.
func visitors(m *Machine) []string {
	return strings.Fields(m.Sh(`
		awk '$7 == "/page" { print $1 }' /var/log/nginx/access.log
		: >/var/log/nginx/access.log`))
}

// join connects interfaces of machines to a switch.
func join(r *Recipe, name string, ports map[*netlab.Host]string) {
	s := r.Host(name)
	up := "ip link add name br0 type bridge mcast_snooping 0; ip link set br0 up"
	i := 0
	for h, ifname := range ports {
		r.Link(h, ifname, s, fmt.Sprintf("port%d", i), 1500)
		up += fmt.Sprintf("; ip link set port%d master br0", i)
		i++
	}
	out, err := s.Command("sh", "-ec", up).CombinedOutput()
	require.NoError(r.t, err, "%s", out)
}
