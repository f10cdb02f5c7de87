package clattest

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

const (
	patience = 30 * time.Second // for what takes no more than some seconds
	tick     = 5 * time.Millisecond

	httpPort     = 80
	transferPort = 50000
	echoPort     = 50007

	wellKnown = "64:ff9b::/96"
	lan0      = "2001:db8:1::/64" // of the first link
	lan1      = "2001:db8:2::/64" // of the second link
)

var (
	server4 = netip.MustParseAddr("9.9.1.2")
	shared4 = netip.MustParsePrefix("203.0.113.0/24") // addresses of the NAT64s
)

// lab is the test network:
//
//	host ─eth0──── lan0─ router ─four────── eth0─ server (IPv4 only, 9.9.1.2)
//	     ─eth1──── lan1─   │
//	                     NAT64s
//
// The second link is there once a test has asked for it. The host takes what a router
// advertises, as hosts do; duplicate address detection of the kernel is off unless a test
// turns it on, since it takes a second of each test.
type lab struct {
	*netlab.Lab
	t                    *testing.T
	host, router, server *netlab.Host
	nat64s               int            // how many were started
	streams              *netlab.Server // what open connects to
	dirs                 map[*netlab.Host]string
	clat                 *clat // on the host, that was started last
}

// newLab makes the test network, with a NAT64 for each prefix.
func newLab(t *testing.T, prefixes ...string) *lab {
	t.Helper()
	l := netlab.New(t)
	x := &lab{Lab: l, t: t, host: l.Host("host"), router: l.Host("router"), server: l.Host("server"), dirs: map[*netlab.Host]string{}}
	x.router.Forwarding()
	takeAdvertisements(x.host)
	x.link("eth0", "lan0", lan0)

	x.Link(x.router, "four", x.server, "eth0", 1500)
	x.router.Addr("four", "9.9.1.1/24")
	x.server.Addr("eth0", "9.9.1.2/24")
	x.server.DefaultRoute("9.9.1.1", "")
	x.serve()
	for _, p := range prefixes {
		x.nat64(p)
	}
	return x
}

// takeAdvertisements has interfaces that come later take addresses and routes from routers.
func takeAdvertisements(h *netlab.Host) {
	h.Sysctl("net.ipv6.conf.default.accept_ra", "1")
	h.Sysctl("net.ipv6.conf.default.autoconf", "1")
}

// link connects host and router.
func (x *lab) link(hostName, routerName, prefix string) {
	x.t.Helper()
	x.Link(x.host, hostName, x.router, routerName, 1500)
	p := netip.MustParsePrefix(prefix)
	x.router.Addr(routerName, netip.PrefixFrom(p.Addr().Next(), p.Bits()).String())
}

// serve starts the servers.
func (x *lab) serve() {
	x.t.Helper()
	_, err := x.server.ServeTransfers(fmt.Sprintf(":%d", transferPort))
	require.NoError(x.t, err)
	_, err = x.server.ServeUDPEcho(fmt.Sprintf(":%d", echoPort))
	require.NoError(x.t, err)
	x.serveHTTP()
}

// nat64 has the router translate to the addresses of a prefix, by a pool of its own.
func (x *lab) nat64(prefix string) *netlab.Process {
	x.t.Helper()
	x.nat64s++
	device := fmt.Sprintf("nat64-%d", x.nat64s)
	pool := netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(4 * x.nat64s)}), 30)
	conf := filepath.Join(x.t.TempDir(), "nat64.conf")
	require.NoError(x.t, os.WriteFile(conf, fmt.Appendf(nil, `status-socket no
tun-device %s
tun-up yes
prefix %s
tun-route %s
ipv4-addr %s
ipv6-addr 2001:db8:64::%d
stateful-pool %s
tun-route %s
fast-path off
workers 1
`, device, prefix, prefix, pool.Addr(), x.nat64s, pool, pool), 0o644))
	p, err := x.router.Launch(tayga(x.t), "-c", conf, "-d")
	require.NoError(x.t, err)
	x.logAtFailure(device, p)
	awaitLine(x.t, p, "Workers: 1\n", 0)
	require.NoError(x.t, x.router.WaitRunning(device, patience))
	return p
}

// conf writes a tayga.conf and returns the option that names it.
func (x *lab) conf(text string) []string {
	x.t.Helper()
	path := filepath.Join(x.t.TempDir(), "tayga.conf")
	require.NoError(x.t, os.WriteFile(path, []byte(text), 0o644))
	return []string{"-c", path}
}

// logAtFailure shows what a program has printed, if the test fails.
func (x *lab) logAtFailure(name string, p *netlab.Process) {
	x.t.Cleanup(func() {
		if x.t.Failed() {
			x.t.Logf("%s:\n%s", name, p.Output())
		}
	})
}

// awaitLine waits until the program has printed the text, after the first bytes of its
// output.
func awaitLine(t *testing.T, p *netlab.Process, text string, after int) {
	t.Helper()
	require.True(t, eventually(t, p, func() bool { return strings.Contains(p.OutputFrom(after), text) }), "%q was not printed", text)
}

// eventually waits for a condition, or for the end of the program that is to bring it about.
func eventually(t *testing.T, p *netlab.Process, cond func() bool) bool {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(tick) {
		if p != nil {
			select {
			case <-p.Done():
				require.True(t, cond(), "the program has ended: %v", p.Wait())
				return true
			default:
			}
		}
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// tayga builds the binary as it is shipped, once for all tests.
func tayga(t *testing.T) string {
	t.Helper()
	path, err := build()
	require.NoError(t, err)
	return path
}

var (
	buildDir string // removed by TestMain
	build    = sync.OnceValues(func() (string, error) {
		if path := os.Getenv("STEPPE_TAYGA"); path != "" { // where there is no compiler
			return path, nil
		}
		var err error
		if buildDir, err = os.MkdirTemp("", "clattest"); err != nil {
			return "", err
		}
		path := filepath.Join(buildDir, "tayga")
		cmd := exec.Command("go", "build", "-o", path, "github.com/steppe-nat64/steppe/cmd/tayga")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%w: %s", err, out)
		}
		return path, os.Chmod(buildDir, 0o755) // for tests of other users
	})
)

func TestMain(m *testing.M) {
	// The tests wait for timers of protocols most of the time, and not for a processor.
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		f.Value.Set("6")
	}
	code := m.Run()
	if buildDir != "" {
		os.RemoveAll(buildDir)
	}
	os.Exit(code)
}

// missing skips a test for what this machine lacks, or fails it where nothing may be skipped.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("STEPPE_REQUIRE_NETNS") == "1" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// ip runs ip(8) on the host.
func (x *lab) ip(h *netlab.Host, args string) {
	x.t.Helper()
	out, err := h.Command(program(x.t, "ip"), strings.Fields(args)...).CombinedOutput()
	require.NoError(x.t, err, "ip %s: %s", args, out)
}
