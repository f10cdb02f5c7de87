package labtest

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
	"github.com/steppe-nat64/steppe/internal/test/testbed"
)

const (
	patience = 30 * time.Second // for a transfer; all are done in much less
	tick     = 2 * time.Millisecond
)

// A mode is one way to run the binary.
type mode struct {
	name    string
	offload bool
	workers int
	// plainErrors leaves icmp-pool and icmp-node-address out: what a tayga.conf
	// gets that was not written for us.
	plainErrors bool
	// shared has the IPv6 hosts share an address instead of having maps.
	shared bool
	// daemonOnly has the fast path off.
	daemonOnly bool
}

// large reports whether packets larger than the MTU may leave the translator. The fast path
// translates what the kernel has merged, whatever the daemon asks its device for.
func (m mode) large() bool { return m.offload || !m.daemonOnly }

var modes = []mode{
	{name: "offload=yes/workers=1", offload: true, workers: 1},
	{name: "offload=yes/workers=4", offload: true, workers: 4},
	{name: "offload=no/workers=1", workers: 1, plainErrors: true},
	{name: "offload=no/workers=4", workers: 4},
	{name: "offload=yes/workers=4/fast-path=off", offload: true, workers: 4, daemonOnly: true},
}

// TestPrograms does in every mode what users do through a translator, in a fresh
// laboratory each, so that no path MTU is known from before.
func TestPrograms(t *testing.T) {
	tayga := buildTayga(t)
	for i, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			x := newLab(t, tayga, m)
			t.Run("ping", x.testPing)
			t.Run("ping-4000", x.testPing4000)
			t.Run("ping-fragmented", x.testPingFragmented)
			t.Run("traceroute", x.testTraceroute)
			t.Run("programs", x.testPrograms)
			t.Run("udp", func(t *testing.T) { x.testUDP(t, i, len(modes)) })
			if i == 0 { // with the fast path on, order does not depend on workers and offload
				t.Run("order", x.testOrder)
			}
			t.Run("tcp", x.testTCP)
			t.Run("path-mtu", x.testPathMTU)
			t.Run("device-mtu", x.testDeviceMTU)
			x.stop(t)
		})
	}
	t.Run("path-mtu-control", func(t *testing.T) {
		newLab(t, tayga, modes[0]).testPathMTUControl(t)
	})
}

// buildTayga builds the binary as it is shipped.
func buildTayga(t *testing.T) string {
	t.Helper()
	netlab.New(t)                                      // skips where there is no laboratory
	if path := os.Getenv("STEPPE_TAYGA"); path != "" { // where there is no compiler
		return path
	}
	path := filepath.Join(t.TempDir(), "tayga")
	cmd := exec.Command("go", "build", "-o", path, "github.com/steppe-nat64/steppe/cmd/tayga")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// lab is the laboratory. IPv6 is on the left, IPv4 on the right, MTUs stand on
// the links:
//
//	host6 ──9000─┐                                               ┌─9000── host4
//	near6 ──1500── r6a ──9000── r6b ──9000── gateway ──9000── r4a ──9000── r4b ──1500── near4
//	                             │          nat64 9000         │            └─9000── old4
//	far6 ───1500── r6n ──1300────┘                             └──1400── r4n ──1500── far4
//
// The hosts on the left have maps. The routers have none, so that an IPv4 host
// can learn of them only by an address that the translator leases. old4 sends
// everything without DF.
//
// The two links of the gateway carry what a wire would carry, and are captured;
// everywhere else the kernel is free to hand on large packets. The gateway
// merges what it receives, as one with network cards does, and so the translator
// sees large packets if it wants any.
type lab struct {
	*netlab.Lab
	mode                              mode
	gateway                           *netlab.Host
	r6a, r6b, r6n, host6, near6, far6 *netlab.Host
	r4a, r4b, r4n, host4, near4       *netlab.Host
	far4, old4                        *netlab.Host
	tayga                             *netlab.Process
}

// An endpoint is a host under the names that the two families have for it.
type endpoint struct {
	v4, v6 netip.Addr
	mtu    int // of its link
}

// addr returns what a host that speaks IPv6, or IPv4, calls the endpoint.
func (e endpoint) addr(six bool) netip.Addr {
	if six {
		return e.v6
	}
	return e.v4
}

const (
	jumboMTU   = 9000
	nearMTU    = 1500
	narrow6MTU = 1300 // r6b to r6n
	narrow4MTU = 1400 // r4a to r4n

	device   = "nat64"
	prefix64 = "2001:db8:64::/96"
	mapped   = "192.0.2.0/24" // IPv4 addresses of the IPv6 side

	transferPort = 50000 // one that no decoder of captures has a protocol for
	echoPort     = 50007
)

var (
	tayga4, tayga6 = addr("192.0.2.1"), addr("2001:db8:0:4::1")
	icmpPool       = []netip.Addr{addr("192.0.2.2"), addr("192.0.2.3")}

	host6 = endpoint{addr("192.0.2.6"), addr("2001:db8:6::6"), jumboMTU}
	near6 = endpoint{addr("192.0.2.7"), addr("2001:db8:7::7"), nearMTU}
	far6  = endpoint{addr("192.0.2.8"), addr("2001:db8:8::8"), nearMTU}
	host4 = endpoint{addr("203.0.113.4"), embed("203.0.113.4"), jumboMTU}
	near4 = endpoint{addr("203.0.113.20"), embed("203.0.113.20"), nearMTU}
	far4  = endpoint{addr("203.0.113.36"), embed("203.0.113.36"), nearMTU}
	old4  = endpoint{addr("203.0.113.52"), embed("203.0.113.52"), jumboMTU}
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// embed puts an IPv4 address into the prefix: RFC 6052 §2.2, for a /96.
func embed(v4 string) netip.Addr {
	a := netip.MustParsePrefix(prefix64).Addr().As16()
	b := addr(v4).As4()
	copy(a[12:], b[:])
	return netip.AddrFrom16(a)
}

func newLab(t *testing.T, tayga string, m mode) *lab {
	t.Helper()
	l := netlab.New(t)
	x := &lab{
		Lab: l, mode: m, gateway: l.Host("gateway"),
		r6a: l.Host("r6a"), r6b: l.Host("r6b"), r6n: l.Host("r6n"),
		host6: l.Host("host6"), near6: l.Host("near6"), far6: l.Host("far6"),
		r4a: l.Host("r4a"), r4b: l.Host("r4b"), r4n: l.Host("r4n"),
		host4: l.Host("host4"), near4: l.Host("near4"), far4: l.Host("far4"), old4: l.Host("old4"),
	}
	for _, r := range []*netlab.Host{x.gateway, x.r6a, x.r6b, x.r6n, x.r4a, x.r4b, x.r4n} {
		r.Forwarding()
	}
	x.connect6()
	x.connect4()
	for _, end := range []struct {
		h      *netlab.Host
		ifname string
	}{{x.gateway, "six"}, {x.r6b, "up"}, {x.gateway, "four"}, {x.r4a, "up"}} {
		end.h.DisableOffloads(end.ifname)
	}
	x.gateway.EnableGRO("six")
	x.gateway.EnableGRO("four")
	x.start(t, tayga)
	x.serve(t)
	return x
}

// connect6 makes the IPv6 side.
func (x *lab) connect6() {
	x.Link(x.r6b, "up", x.gateway, "six", jumboMTU)
	x.gateway.Addr("six", "2001:db8:0:1::1/64")
	x.r6b.Addr("up", "2001:db8:0:1::2/64")
	x.gateway.DefaultRoute("2001:db8:0:1::2", "")
	x.r6b.DefaultRoute("2001:db8:0:1::1", "")

	x.Link(x.r6a, "up", x.r6b, "wide", jumboMTU)
	x.r6b.Addr("wide", "2001:db8:0:2::1/64")
	x.r6a.Addr("up", "2001:db8:0:2::2/64")
	x.r6a.DefaultRoute("2001:db8:0:2::1", "")
	x.r6b.Route("2001:db8:6::/64", "2001:db8:0:2::2", "")
	x.r6b.Route("2001:db8:7::/64", "2001:db8:0:2::2", "")

	x.Link(x.r6n, "up", x.r6b, "narrow", narrow6MTU)
	x.r6b.Addr("narrow", "2001:db8:0:3::1/64")
	x.r6n.Addr("up", "2001:db8:0:3::2/64")
	x.r6n.DefaultRoute("2001:db8:0:3::1", "")
	x.r6b.Route("2001:db8:8::/64", "2001:db8:0:3::2", "")

	x.attach(x.host6, host6.v6, x.r6a, "host", "2001:db8:6::1", 64, host6.mtu)
	x.attach(x.near6, near6.v6, x.r6a, "near", "2001:db8:7::1", 64, near6.mtu)
	x.attach(x.far6, far6.v6, x.r6n, "far", "2001:db8:8::1", 64, far6.mtu)
}

// connect4 makes the IPv4 side.
func (x *lab) connect4() {
	x.Link(x.r4a, "up", x.gateway, "four", jumboMTU)
	x.gateway.Addr("four", "198.51.100.1/30")
	x.r4a.Addr("up", "198.51.100.2/30")
	x.gateway.DefaultRoute("198.51.100.2", "")
	x.r4a.DefaultRoute("198.51.100.1", "")

	x.Link(x.r4b, "up", x.r4a, "wide", jumboMTU)
	x.r4a.Addr("wide", "198.51.100.5/30")
	x.r4b.Addr("up", "198.51.100.6/30")
	x.r4b.DefaultRoute("198.51.100.5", "")
	x.r4a.Route("203.0.113.0/24", "198.51.100.6", "")

	x.Link(x.r4n, "up", x.r4a, "narrow", narrow4MTU)
	x.r4a.Addr("narrow", "198.51.100.9/30")
	x.r4n.Addr("up", "198.51.100.10/30")
	x.r4n.DefaultRoute("198.51.100.9", "")
	x.r4a.Route("203.0.113.32/28", "198.51.100.10", "")

	x.old4.Sysctl("net.ipv4.ip_no_pmtu_disc", "1")
	x.attach(x.host4, host4.v4, x.r4b, "host", "203.0.113.1", 28, host4.mtu)
	x.attach(x.near4, near4.v4, x.r4b, "near", "203.0.113.17", 28, near4.mtu)
	x.attach(x.old4, old4.v4, x.r4b, "old", "203.0.113.49", 28, old4.mtu)
	x.attach(x.far4, far4.v4, x.r4n, "far", "203.0.113.33", 28, far4.mtu)
}

// attach connects a host with its only router.
func (x *lab) attach(h *netlab.Host, a netip.Addr, r *netlab.Host, ifname, ra string, bits, mtu int) {
	x.Link(h, "eth0", r, ifname, mtu)
	r.Addr(ifname, fmt.Sprintf("%s/%d", ra, bits))
	h.Addr("eth0", fmt.Sprintf("%s/%d", a, bits))
	h.DefaultRoute(ra, "")
}

// conf returns the tayga.conf of the mode.
func (x *lab) conf() string {
	var b strings.Builder
	fmt.Fprintf(&b, "status-socket no\ntun-device %s\nipv4-addr %s\nipv6-addr %s\nprefix %s\n", device, tayga4, tayga6, prefix64)
	for _, e := range []endpoint{host6, near6, far6} {
		if x.mode.shared {
			break
		}
		fmt.Fprintf(&b, "map %s %s\n", e.v4, e.v6)
	}
	if x.mode.shared {
		b.WriteString(sharedConf())
	}
	fmt.Fprintf(&b, "tun-up yes\ntun-route %s\ntun-route %s\ntun-route %s\n", mapped, prefix64, tayga6)
	if !x.mode.plainErrors {
		fmt.Fprintf(&b, "icmp-pool %s %s\nicmp-node-address yes\n", icmpPool[0], icmpPool[1])
	}
	offload, fast := "no", "auto"
	if x.mode.offload {
		offload = "yes"
	}
	if x.mode.daemonOnly {
		fast = "off"
	}
	fmt.Fprintf(&b, "offload %s\nworkers %d\nfast-path %s\n", offload, x.mode.workers, fast)
	return b.String()
}

// start runs the binary, which makes the device with the kernel's MTU of 1500,
// and then gives the device the MTU of the links.
func (x *lab) start(t *testing.T, tayga string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tayga.conf")
	require.NoError(t, os.WriteFile(file, []byte(x.conf()), 0o644))
	var err error
	x.tayga, err = x.gateway.Launch(tayga, "-c", file, "-d")
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("tayga:\n%s", x.tayga.Output())
		}
	})
	x.await(t, fmt.Sprintf("Workers: %d\n", x.mode.workers), 1)
	require.NoError(t, x.gateway.WaitRunning(device, patience))
	x.await(t, map[bool]string{false: testbed.FastOnLine, true: testbed.FastOffLine}[x.mode.daemonOnly], 1)
	x.setDeviceMTU(t, jumboMTU)
}

// setDeviceMTU changes the MTU of the device, which is not the old one, and waits
// until the binary has noticed.
func (x *lab) setDeviceMTU(t *testing.T, mtu int) {
	t.Helper()
	line := fmt.Sprintf("Tun device %s has an MTU of %d now\n", device, mtu)
	before := strings.Count(x.tayga.Output(), line)
	x.gateway.MTU(device, mtu)
	x.await(t, line, before+1)
}

// await waits until the binary has printed the text n times.
func (x *lab) await(t *testing.T, text string, n int) {
	t.Helper()
	for end := time.Now().Add(patience); strings.Count(x.tayga.Output(), text) < n; time.Sleep(time.Millisecond) {
		select {
		case <-x.tayga.Done():
			t.Fatalf("tayga has ended: %v", x.tayga.Wait())
		default:
		}
		require.True(t, time.Now().Before(end), "tayga does not say %q", text)
	}
}

// serve starts the servers, on all hosts alike.
func (x *lab) serve(t *testing.T) {
	t.Helper()
	for _, h := range []*netlab.Host{x.host6, x.near6, x.far6, x.host4, x.near4, x.far4, x.old4} {
		_, err := h.ServeTransfers(fmt.Sprintf(":%d", transferPort))
		require.NoError(t, err)
		_, err = h.ServeUDPEcho(fmt.Sprintf(":%d", echoPort))
		require.NoError(t, err)
	}
}

// stop ends the binary, which must not have printed an error.
func (x *lab) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, x.tayga.Stop(patience))
	assert.NotContains(t, x.tayga.Output(), "refused")
	assert.NotContains(t, x.tayga.Output(), "gone")
}

// at joins an address and a port.
func at(a netip.Addr, port uint16) string { return netip.AddrPortFrom(a, port).String() }
