package recipes

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// TestRecipeSIITDC follows siit-dc.md. The application that knows only IPv4 is an
// nginx with one IPv4 socket.
func TestRecipeSIITDC(t *testing.T) {
	r := Open(t, "docs/deploy/siit-dc.md", outside...)
	border, web, legacy := r.Machine("border"), r.Machine("web"), r.Machine("legacy")
	n := newInternet(r, border.Host)
	r.Cast("caller", n.v4only)
	n.isp.Route("192.0.2.0/24", "203.0.113.2", "")
	join(r, "dc", map[*netlab.Host]string{border.Host: "eth1", web.Host: "eth0", legacy.Host: "eth0"})
	border.Addr("eth1", "2001:db8:1:34::1/64")
	web.Addr("eth0", "2001:db8:1:34::10/64")
	legacy.Addr("eth0", "2001:db8:1:34::2/64")
	for _, m := range []*Machine{web, legacy} {
		m.DefaultRoute("2001:db8:1:34::1", "")
	}
	r.Boot()
	n.serve()
	deb := r.Package()
	border.Copy(deb, "/root/steppe_1_amd64.deb")
	legacy.Copy(deb, "/root/steppe_1_amd64.deb")
	for _, m := range []*Machine{n.v4only, n.world} {
		m.Sh("apt-get install -y curl")
	}
	for _, m := range []*Machine{web, legacy} {
		m.Sh("apt-get install -y nginx-light curl; systemctl stop nginx")
	}
	web.Write("/etc/nginx/sites-available/default", "server {\n\tlisten [::]:80 ipv6only=on;\n\troot /var/www/html;\n\tindex index.nginx-debian.html;\n}\n")
	web.Sh("head -c 1M /dev/urandom >/var/www/html/page; systemctl start nginx")
	legacy.Write("/etc/nginx/sites-available/default", "server {\n\tlisten 192.0.2.20:8080;\n\treturn 200 \"you are $remote_addr\\n\";\n}\n")

	r.Follow("Install")
	r.Follow("The border relay")
	fetch(t, "http://192.0.2.10/page", pageOf(web), n.v4only, n.world)
	require.ElementsMatch(t, []string{"2001:db8:1:46::909:102", "2001:db8:1:46::909:202"}, visitors(web))
	n.v4only.Sh("ping -c 1 -W 5 192.0.2.1")

	// The application starts with its machine, before the address is there.
	legacy.Sh("sysctl -w net.ipv4.ip_nonlocal_bind=1; systemctl start nginx")
	r.Follow("The edge relay")

	// The other way: the application calls out, and is seen as what it is.
	got := legacy.Sh("curl -sS http://9.9.1.2/page | sha256sum")
	require.Equal(t, pageOf(n.v4only)+"  -\n", got)
	require.Equal(t, []string{"192.0.2.20"}, visitors(n.v4only))
	// Two services by their IPv4 addresses: round the border relay and back.
	fetch(t, "http://192.0.2.10/page", pageOf(web), legacy)
	require.Equal(t, []string{"2001:db8:1:46::c000:214"}, visitors(web))
	n.try4(t, legacy, n.v4only, "9.9.1.2")
	n.try4(t, n.v4only, legacy, "192.0.2.20")

	// A service more, while another one is busy.
	web.Sh("ip address add 2001:db8:1:34::11/64 dev eth0 nodad")
	var load sync.WaitGroup
	load.Go(func() { fetch(t, "http://192.0.2.10/page", pageOf(web), n.v4only) })
	r.Follow("Add and remove a service")
	load.Wait()
	fetch(t, "http://192.0.2.11/page", pageOf(web), n.v4only)

	for _, m := range []*Machine{border, legacy} {
		m.Reboot()
	}
	legacy.Sh("sysctl -w net.ipv4.ip_nonlocal_bind=1; systemctl restart nginx")
	n.v4only.Eventually("curl -sS -m 5 http://192.0.2.20:8080/ | grep 'you are 9.9.1.2'", time.Minute)
	r.Follow("Undo")
	for _, m := range []*Machine{border, legacy} {
		require.NotContains(t, m.Sh("ip link; ls /etc /etc/sysctl.d /etc/systemd/system"), "siit")
	}
}
