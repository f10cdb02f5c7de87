package gatewaytest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// tayga is the program, built for the tests: without cgo, so that its sandbox is complete.
var tayga string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gatewaytest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	tayga = filepath.Join(dir, "tayga")
	cmd := exec.Command("go", "build", "-o", tayga, "github.com/steppe-nat64/steppe/cmd/tayga")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

const (
	server4  = "9.9.1.2"
	gateway4 = "9.9.0.1"
	gateway6 = "2001:db8:1::1"
	port     = 50000
	echoPort = 7

	patience = 20 * time.Second
)

var embedded = netip.MustParseAddr("64:ff9b::9.9.1.2")

// A world has a gateway that is not set up, with a network of clients and one of IPv4:
//
//	client ──IPv6── eth1 gateway eth0 ──IPv4── router ── server
//
// The router has IPv6, too, and would have its packets to 64:ff9b::/96 go to the gateway.
type world struct {
	*netlab.Lab
	t                               *testing.T
	client, gateway, router, server *netlab.Host
	dir                             string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	l := netlab.New(t)
	w := &world{
		Lab: l, t: t, dir: t.TempDir(),
		client: l.Host("client"), gateway: l.Host("gateway"), router: l.Host("router"), server: l.Host("server"),
	}
	l.Link(w.client, "eth0", w.gateway, "eth1", 1500)
	l.Link(w.gateway, "eth0", w.router, "eth0", 1500)
	l.Link(w.router, "eth1", w.server, "eth0", 1500)
	w.router.Forwarding()
	w.gateway.Sysctl("net.ipv4.conf.all.rp_filter", "1") // as some distributions have it
	w.gateway.Addr("eth1", gateway6+"/64")
	w.gateway.Addr("eth0", gateway4+"/24")
	w.gateway.Addr("eth0", "2001:db8:ffff::1/64")
	w.gateway.DefaultRoute("9.9.0.2", "")
	w.router.Addr("eth0", "9.9.0.2/24")
	w.router.Addr("eth0", "9.9.0.3/24")
	w.router.Addr("eth0", "2001:db8:ffff::2/64")
	w.router.Route("64:ff9b::/96", "2001:db8:ffff::1", "")
	w.router.Route("2001:db8:1::/64", "2001:db8:ffff::1", "")
	w.router.Addr("eth1", "9.9.1.1/24")
	w.server.Addr("eth0", server4+"/24")
	w.server.DefaultRoute("9.9.1.1", "")
	_, err := w.server.ServeTransfers(fmt.Sprintf(":%d", port))
	require.NoError(t, err)
	_, err = w.server.ServeUDPEcho(fmt.Sprintf(":%d", echoPort))
	require.NoError(t, err)
	return w
}

// static gives the client an address and a route by hand.
func (w *world) static() {
	w.t.Helper()
	w.client.Addr("eth0", "2001:db8:1::2/64")
	w.client.DefaultRoute(gateway6, "")
}

// sh runs commands on a host.
func (w *world) sh(h *netlab.Host, commands string) string {
	w.t.Helper()
	out, err := h.Command("sh", "-ec", commands).CombinedOutput()
	require.NoError(w.t, err, "%s\n%s", commands, out)
	return string(out)
}

// start runs tayga --gateway.
func (w *world) start(args ...string) *netlab.Process {
	w.t.Helper()
	p, err := w.gateway.Launch(tayga, append([]string{"--gateway"}, args...)...)
	require.NoError(w.t, err)
	w.t.Cleanup(func() {
		if w.t.Failed() {
			w.t.Logf("tayga %v:\n%s", args, p.Output())
		}
	})
	return p
}

// printed returns what --print prints.
func (w *world) printed(args ...string) string {
	w.t.Helper()
	out, err := w.gateway.Command(tayga, append([]string{"--gateway", "--print"}, args...)...).CombinedOutput()
	require.NoError(w.t, err, "%s", out)
	return string(out)
}

// reach waits until the client has an answer from the server, and returns how long that took.
func (w *world) reach() time.Duration {
	w.t.Helper()
	begin := time.Now()
	w.eventually("the client reaches the server", func() error {
		_, err := w.client.Ping(embedded, netlab.Echo{Size: 56, Timeout: 200 * time.Millisecond})
		return err
	})
	return time.Since(begin)
}

// eventually tries again until there is no error.
func (w *world) eventually(what string, try func() error) {
	w.t.Helper()
	err := try()
	for end := time.Now().Add(patience); err != nil && time.Now().Before(end); err = try() {
		time.Sleep(20 * time.Millisecond)
	}
	require.NoError(w.t, err, "%s", what)
}

// said waits for a line of the daemon.
func (w *world) said(p *netlab.Process, text string) {
	w.t.Helper()
	w.eventually("the log has "+text, func() error {
		if !strings.Contains(p.Output(), text) {
			return fmt.Errorf("missing: %s", text)
		}
		return nil
	})
}

// seenAs has the client exchange TCP and UDP with the server, which has to see it as an address.
func (w *world) seenAs(want string) {
	w.t.Helper()
	for _, f := range []func(*netlab.Host, string, int64, time.Duration) (netlab.Transfer, error){(*netlab.Host).Download, (*netlab.Host).Upload} {
		tr, err := f(w.client, netip.AddrPortFrom(embedded, port).String(), 1<<20, patience)
		require.NoError(w.t, err)
		require.True(w.t, netip.MustParsePrefix(want).Contains(tr.SeenAs.Addr()), "the server saw %v, not %s", tr.SeenAs, want)
	}
	_, err := w.client.UDPEcho(netip.AddrPortFrom(embedded, echoPort).String(), netlab.UDPEcho{Sizes: []int{0, 1, 1400}, Attempts: 3})
	require.NoError(w.t, err)
}

// helper returns the process number of the privileged helper.
func helper(t *testing.T, p *netlab.Process) int {
	t.Helper()
	m := regexp.MustCompile(`Privileged helper: process (\d+)`).FindStringSubmatch(p.Output())
	require.NotNil(t, m, "%s", p.Output())
	var pid int
	_, err := fmt.Sscan(m[1], &pid)
	require.NoError(t, err)
	return pid
}

// kill ends the daemon and its helper at once, with no chance to undo anything.
func (w *world) kill(p *netlab.Process) {
	w.t.Helper()
	require.NoError(w.t, syscall.Kill(helper(w.t, p), syscall.SIGKILL))
	p.Kill()
}

// changing are words and lines that differ from one look to the next.
var changing = regexp.MustCompile(`(?m) (qlen|qdisc|expires|valid_lft|preferred_lft|hoplimit) [^ \n]+|handle \d+`)

// state is all that a gateway could have changed.
func (w *world) state() string {
	w.t.Helper()
	return changing.ReplaceAllString(w.sh(w.gateway, `
		ip link; ip address; ip -4 route show table all; ip -6 route show table all; ip -4 rule; ip -6 rule; nft -s list ruleset
		cd /proc/sys/net; grep -r . ipv4/ip_forward ipv4/conf ipv6/conf 2>/dev/null | grep -v stable_secret | sort`), "")
}

// difference returns the lines that are in one text alone.
func difference(a, b string) string {
	var out strings.Builder
	for _, side := range []struct{ sign, text, other string }{{"-", a, b}, {"+", b, a}} {
		count := map[string]int{}
		for line := range strings.Lines(side.other) {
			count[line]++
		}
		for line := range strings.Lines(side.text) {
			if count[line]--; count[line] < 0 {
				out.WriteString(side.sign + line)
			}
		}
	}
	return out.String()
}

// resolve asks the gateway's resolver as the client, over IPv6, until it answers.
func (w *world) resolve(name string) (addrs []netip.Addr) {
	w.t.Helper()
	r := net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return w.client.Dial("udp", "["+gateway6+"]:53", time.Second)
	}}
	w.eventually("the resolver answers for "+name, func() (err error) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		addrs, err = r.LookupNetIP(ctx, "ip6", name)
		return err
	})
	return addrs
}
