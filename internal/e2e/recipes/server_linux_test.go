package recipes

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// TestRecipeServer follows server.md with three servers and a client that has
// only IPv4. Its addresses are 9.9.1.2 and, to be told apart, 192.0.2.7 and
// 192.0.2.130.
func TestRecipeServer(t *testing.T) {
	r := Open(t, "docs/deploy/server.md", outside...)
	gw, server := r.Machine("gateway"), r.Machine("server")
	n := newInternet(r, gw.Host)
	second, third := r.Host("second"), r.Host("third")
	join(r, "lan", map[*netlab.Host]string{gw.Host: "eth1", server.Host: "eth0", second: "eth0", third: "eth0"})
	gw.Addr("eth1", "2001:db8:1::1/64")
	for h, addr := range map[*netlab.Host]string{server.Host: "10", second: "11", third: "12"} {
		h.Addr("eth0", "2001:db8:1::"+addr+"/64")
		h.DefaultRoute("2001:db8:1::1", "")
	}
	n.isp.Route("198.51.100.0/24", "203.0.113.2", "")
	n.isp.Route("192.0.2.0/24", "9.9.1.2", "")
	n.v4only.Addr("eth0", "192.0.2.7/32")
	n.v4only.Addr("eth0", "192.0.2.130/32")
	r.Boot()
	client := n.v4only
	client.Sh("apt-get install -y curl")

	gw.Copy(r.Package(), "/root/steppe_1_amd64.deb")
	r.Follow("Install")
	r.Follow("Forwarding")
	r.Follow("The translator")

	// Part of the page needs a visitor, who comes before the log is looked at.
	server.Sh("apt-get install -y nginx-light; head -c 1M /dev/urandom >/var/www/html/page")
	fetch(t, "http://198.51.100.10/page", pageOf(server), client)
	client.Sh("curl -sS --interface 192.0.2.7 http://198.51.100.10/page -o /dev/null")
	require.Contains(t, server.Sh("cat /var/log/nginx/access.log"), "2001:db8:1:46::909:102 ")
	r.Follow("What the server sees")
	client.Sh("curl -sS --interface 192.0.2.7 http://198.51.100.10/page -o /dev/null")
	_, err := client.Try("curl -sS -m 3 --interface 192.0.2.130 http://198.51.100.10/page -o /dev/null")
	require.Error(t, err)

	// A service of any kind, and who it takes its clients for.
	for _, h := range []*netlab.Host{server.Host, second, third} {
		_, err := h.ServeTCP(":7", func(c net.Conn) {
			fmt.Fprintf(c, "%v", c.RemoteAddr().(*net.TCPAddr).IP)
		})
		require.NoError(t, err)
	}
	require.Equal(t, "2001:db8:1:46::909:102", asks(t, client, "198.51.100.10"))
	_, err = client.Dial("tcp", "198.51.100.12:7", 2*time.Second)
	require.Error(t, err, "a server without a map")

	stop := load(t, client, server)
	r.Follow("Add and remove customers")
	require.Equal(t, "2001:db8:1:46::909:102", asks(t, client, "198.51.100.12"))
	require.Eventually(t, func() bool {
		_, err := client.Dial("tcp", "198.51.100.11:7", 2*time.Second)
		return err != nil
	}, patience, 100*time.Millisecond, "a customer who left")
	for range 20 {
		gw.Sh("systemctl reload tayga")
	}
	stop()

	gw.Reboot()
	require.Eventually(t, func() bool {
		return strings.HasPrefix(asked(client, "198.51.100.12"), "2001:db8:1:46::")
	}, patience, time.Second)

	r.Follow("If the provider does not route the addresses")
	require.Equal(t, "2001:db8:1:46::909:102", asks(t, client, "203.0.113.10"))

	r.Follow("Undo")
	require.NotContains(t, gw.Sh("ip link; ls /etc; sysctl net.ipv4.ip_forward"), "nat46")
	_, err = client.Dial("tcp", "198.51.100.10:7", 2*time.Second)
	require.Error(t, err)
}

// asked connects to port 7 and returns what is said there, or the error.
func asked(m *Machine, addr string) string {
	c, err := m.Dial("tcp", addr+":7", 10*time.Second)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 64)
	k, _ := c.Read(b)
	return string(b[:k])
}

// asks is asked, which may be too early once or twice.
func asks(t *testing.T, m *Machine, addr string) (said string) {
	t.Helper()
	require.Eventually(t, func() bool {
		said = asked(m, addr)
		return net.ParseIP(said) != nil
	}, time.Minute, 100*time.Millisecond, "%s: %s", addr, said)
	return said
}

// load keeps four connections busy, which must neither break nor garble what they
// carry, until stop is called.
func load(t *testing.T, client, server *Machine) (stop func()) {
	t.Helper()
	_, err := server.ServeTransfers(":9000")
	require.NoError(t, err)
	quit, errs := make(chan struct{}), make(chan error)
	for range 4 {
		go func() {
			for {
				if _, err := client.Download("198.51.100.10:9000", 4<<20, patience); err != nil {
					errs <- err
					return
				}
				select {
				case <-quit:
					errs <- nil
					return
				default:
				}
			}
		}()
	}
	return func() {
		t.Helper()
		close(quit)
		for range 4 {
			require.NoError(t, <-errs)
		}
	}
}
