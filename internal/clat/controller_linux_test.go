package clat

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/ndp"
	"github.com/vishvananda/netlink"

	"github.com/steppe-nat64/steppe/internal/hostnet"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// A real is a Controller with the kernel, on a host with a router. Nothing is translated.
type real struct {
	t            *testing.T
	lab          *netlab.Lab
	host, router *netlab.Host
	c            *Controller
	manager      *hostnet.Manager
	conn         *ndp.Conn // of the router
	radio        sync.Mutex
	last         ndp.Message // that the router has sent

	mu    sync.Mutex
	trans Translation
	logs  []string
}

func newReal(t *testing.T, change func(*Config)) *real {
	t.Helper()
	lab := netlab.New(t)
	r := &real{t: t, lab: lab, host: lab.Host("host"), router: lab.Host("router")}
	lab.Link(r.host, "eth0", r.router, "down", 1500)
	for _, name := range []string{"accept_ra", "autoconf"} {
		r.host.Sysctl("net/ipv6/conf/eth0/"+name, "1")
	}
	r.host.Sysctl("net/ipv6/conf/eth0/accept_dad", "0")
	cfg := Config{
		Device: "clat", Secret: bytes.Repeat([]byte{7}, 16), Guard: true,
		Resolvers: func() []netip.AddrPort { return nil },
		Apply:     r.apply, Update: r.update,
		Log: func(_ Severity, text string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.logs = append(r.logs, text)
		},
	}
	if change != nil {
		change(&cfg)
	}
	if err := r.host.Do(func() (err error) {
		if err := netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "clat"}, Mode: netlink.TUNTAP_MODE_TUN}); err != nil {
			return err
		}
		if r.manager, err = hostnet.Open(t.TempDir(), hostnet.Policy{Device: "clat"}); err != nil {
			return err
		}
		r.c, err = Open(cfg)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	find := r.c.find // which looks for the interface in the namespace of its thread
	r.c.find = func(uplink string, report func(error)) (f finder, err error) {
		err = r.host.Do(func() (err error) { f, err = find(uplink, report); return err })
		return f, err
	}
	r.openRouter()
	before := r.state()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := r.c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		for _, text := range r.state() {
			if !slices.Contains(before, text) {
				t.Errorf("left: %s", text)
			}
		}
		r.host.Do(func() error { return r.manager.Close() })
		if t.Failed() {
			t.Logf("log: %q", r.logs)
		}
	})
	return r
}

// state lists what the CLAT may have left.
func (r *real) state() (all []string) {
	r.t.Helper()
	for _, args := range [][]string{{"-4", "route"}, {"-4", "rule"}, {"-6", "rule"}, {"-6", "route", "show", "table", "464"}} {
		out, err := r.host.Command("ip", args...).CombinedOutput()
		if err != nil && args[len(args)-1] != "464" {
			r.t.Fatalf("ip %v: %v: %s", args, err, out)
		}
		for line := range bytes.Lines(out) {
			all = append(all, string(line))
		}
	}
	return all
}

func (r *real) apply(list []hostnet.Change) error {
	return r.host.Do(func() error { return r.manager.Apply(list) })
}

func (r *real) update(tr Translation) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trans = tr
	return nil
}

func (r *real) openRouter() {
	r.t.Helper()
	if err := r.router.Do(func() error {
		ifi, err := net.InterfaceByName("down")
		if err != nil {
			return err
		}
		if r.conn, _, err = ndp.Listen(ifi, ndp.LinkLocal); err != nil {
			return err
		}
		return r.conn.JoinGroup(netip.MustParseAddr("ff02::2"))
	}); err != nil {
		r.t.Fatal(err)
	}
	done := make(chan struct{})
	r.t.Cleanup(func() {
		r.conn.Close()
		<-done
	})
	go func() { // answers solicitations
		defer close(done)
		for {
			m, _, _, err := r.conn.ReadFrom()
			if err != nil {
				return
			}
			if _, ok := m.(*ndp.RouterSolicitation); ok {
				r.radio.Lock()
				if r.last != nil {
					r.conn.WriteTo(r.last, nil, netip.MustParseAddr("ff02::1"))
				}
				r.radio.Unlock()
			}
		}
	}()
}

// advertise advertises a network of 64 bits and a prefix, each for so many seconds.
func (r *real) advertise(network string, valid, preferred int, pref64 string, lifetime int) {
	r.t.Helper()
	options := []ndp.Option{&ndp.PrefixInformation{
		PrefixLength: 64, OnLink: true, AutonomousAddressConfiguration: true,
		ValidLifetime: time.Duration(valid) * time.Second, PreferredLifetime: time.Duration(preferred) * time.Second,
		Prefix: netip.MustParseAddr(network),
	}}
	if pref64 != "" {
		options = append(options, &ndp.PREF64{Prefix: netip.MustParsePrefix(pref64), Lifetime: time.Duration(lifetime) * time.Second})
	}
	m := &ndp.RouterAdvertisement{CurrentHopLimit: 64, RouterLifetime: 1800 * time.Second, Options: options}
	r.radio.Lock()
	defer r.radio.Unlock()
	r.last = m
	if err := r.conn.WriteTo(m, nil, netip.MustParseAddr("ff02::1")); err != nil {
		r.t.Fatal(err)
	}
}

// await waits until a report is as wanted.
func (r *real) await(what string, wanted func(Report) bool) Report {
	r.t.Helper()
	for end := time.Now().Add(patience); ; <-time.After(10 * time.Millisecond) {
		report := r.c.Report()
		if wanted(report) {
			return report
		}
		if time.Now().After(end) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.t.Fatalf("%s has not come: %+v, log %q", what, report, r.logs)
		}
	}
}

func (r *real) on(prefix string) Report {
	r.t.Helper()
	return r.await(prefix, func(rep Report) bool { return rep.State == On && rep.Prefix.String() == prefix })
}

// route4 returns where the host's kernel sends packets.
func (r *real) route4(to string) string {
	out, _ := r.host.Command("ip", append([]string{"-o", "route", "get"}, strings.Fields(to)...)...).CombinedOutput()
	return string(out)
}

func (r *real) ip(args ...string) {
	r.t.Helper()
	if out, err := r.host.Command("ip", args...).CombinedOutput(); err != nil {
		r.t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

// awaitRoute waits until the kernel sends packets somewhere.
func (r *real) awaitRoute(to, wanted string) {
	r.t.Helper()
	r.awaitText(append([]string{"ip", "-o", "route", "get"}, strings.Fields(to)...), wanted)
}

// awaitText waits until a command prints something.
func (r *real) awaitText(command []string, wanted string) {
	r.t.Helper()
	var out []byte
	for end := time.Now().Add(patience); time.Now().Before(end); {
		out, _ = r.host.Command(command[0], command[1:]...).CombinedOutput()
		if bytes.Contains(out, []byte(wanted)) {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.t.Fatalf("%v does not print %q: %s, log %q", command, wanted, out, r.logs)
}

// TestReal follows a router, with the kernel: prefixes, networks, links.
func TestReal(t *testing.T) {
	r := newReal(t, nil)
	r.advertise("2001:db8:1::", 3600, 1800, "64:ff9b::/96", 600)
	rep := r.on("64:ff9b::/96")
	if rep.Mode != Own || rep.MTU != 1472 || rep.Uplink != "eth0" || !netip.MustParsePrefix(net1).Contains(rep.Host6) {
		t.Errorf("report: %+v", rep)
	}
	if got := r.route4("9.9.1.2"); !strings.Contains(got, "dev clat src 192.0.0.1") || !strings.Contains(got, "mtu 1472") {
		t.Errorf("route: %s", got)
	}

	// Another prefix, while the first one is withdrawn.
	r.advertise("2001:db8:1::", 3600, 1800, "2001:db8:64::/64", 600)
	r.advertise("2001:db8:1::", 3600, 1800, "64:ff9b::/96", 0)
	r.on("2001:db8:64::/64")
	r.advertise("2001:db8:1::", 3600, 1800, "2001:db8:64::/64", 0)
	r.await("no prefix", func(rep Report) bool { return rep.State == Searching && rep.Carrier == ByNone })
	r.advertise("2001:db8:1::", 3600, 1800, "64:ff9b::/96", 600)
	r.on("64:ff9b::/96")

	// Another network: the first one is deprecated.
	r.advertise("2001:db8:1::", 3600, 0, "64:ff9b::/96", 600)
	r.advertise("2001:db8:2::", 3600, 1800, "64:ff9b::/96", 600)
	r.await("renumbered", func(rep Report) bool {
		return rep.State == On && netip.MustParsePrefix(net2).Contains(rep.Host6)
	})

	r.host.MTU("eth0", 1400)
	r.await("MTU", func(rep Report) bool { return rep.State == On && rep.MTU == 1372 })
	r.host.MTU("eth0", 1500)

	r.host.Down("eth0")
	r.await("no uplink", func(rep Report) bool { return rep.State == Searching && rep.Uplink == "" })
	r.host.Up("eth0")
	rep = r.on("64:ff9b::/96")

	// Suspended for a moment: nothing changes.
	r.c.Resumed()
	if again := r.on("64:ff9b::/96"); again.Host6 != rep.Host6 || again.Since != rep.Since {
		t.Errorf("resumed: %+v, before: %+v", again, rep)
	}
}

// TestRealNative has native IPv4 and a VPN come and go. Connections by the CLAT stay with it.
func TestRealNative(t *testing.T) {
	r := newReal(t, nil)
	r.advertise("2001:db8:1::", 3600, 1800, "64:ff9b::/96", 600)
	r.on("64:ff9b::/96")
	r.host.Addr("eth0", "192.0.2.2/24")
	for _, route := range [][]string{
		{"default", "via", "192.0.2.1", "dev", "eth0", "metric", "100"},
		{"default", "via", "192.0.2.1", "dev", "eth0", "metric", "30000"},
		{"0.0.0.0/1", "dev", "eth0"},
	} {
		r.ip(append([]string{"route", "add"}, route...)...)
		r.await("native", func(rep Report) bool { return rep.NativeDevice == "eth0" && rep.Carrier == ByNative })
		r.awaitRoute("9.9.1.2", "dev eth0")
		r.awaitRoute("9.9.1.2 from 192.0.0.1", "dev clat")
		r.ip(append([]string{"route", "del"}, route...)...)
		r.await("no native", func(rep Report) bool { return rep.NativeDevice == "" && rep.Carrier == ByCLAT })
		r.awaitRoute("9.9.1.2", "dev clat")
	}
	// The default route of a VPN without a NAT64 takes IPv6, but not the CLAT's.
	r.lab.Link(r.host, "vpn", r.router, "inside", 1400)
	r.ip("-6", "route", "add", "default", "dev", "vpn", "metric", "10")
	r.awaitRoute("64:ff9b::909:102 from 2001:db8:1::77 iif clat", "dev eth0")
	r.ip("address", "del", "192.0.2.2/24", "dev", "eth0")
}

// TestRealRepair has other programs delete what the CLAT has made.
func TestRealRepair(t *testing.T) {
	r := newReal(t, nil)
	r.advertise("2001:db8:1::", 3600, 1800, "64:ff9b::/96", 600)
	r.on("64:ff9b::/96")
	r.ip("route", "del", "default", "dev", "clat")
	r.awaitRoute("9.9.1.2", "dev clat src 192.0.0.1")
	r.ip("rule", "del", "priority", "464")
	r.awaitText([]string{"ip", "rule"}, "from 192.0.0.1 lookup 464")
	r.ip("address", "flush", "dev", "clat")
	r.awaitRoute("9.9.1.2", "dev clat src 192.0.0.1")
	r.host.Nft("flush ruleset")
	r.awaitText([]string{"nft", "list", "ruleset"}, hostnet.TableName("clat", "guard"))
	r.ip("link", "set", "clat", "down")
	r.awaitRoute("9.9.1.2", "dev clat src 192.0.0.1")
}

// TestRealShared has an uplink with one address alone.
func TestRealShared(t *testing.T) {
	r := newReal(t, nil)
	r.host.Sysctl("net/ipv6/conf/eth0/autoconf", "0")
	r.host.Addr("eth0", "2001:db8:1::5/128")
	r.advertise("2001:db8:1::", 3600, 1800, "64:ff9b::/96", 600)
	if rep := r.on("64:ff9b::/96"); rep.Mode != Shared || !strings.Contains(rep.Why, "no room") {
		t.Errorf("report: %+v", rep)
	}
	r.awaitText([]string{"nft", "list", "ruleset"}, "snat to 2001:db8:1::5")
}

// TestRealConflict has the other node take the address of the CLAT.
func TestRealConflict(t *testing.T) {
	r := newReal(t, nil)
	r.advertise("2001:db8:1::", 3600, 1800, "64:ff9b::/96", 600)
	addr := r.on("64:ff9b::/96").Host6
	r.router.Addr("down", addr.String()+"/64") // without detection
	r.conn.WriteTo(&ndp.NeighborAdvertisement{Override: true, TargetAddress: addr, Options: []ndp.Option{r.linkLayer()}}, nil, netip.MustParseAddr("ff02::1"))
	r.conn.WriteTo(&ndp.NeighborAdvertisement{Override: true, TargetAddress: addr, Options: []ndp.Option{r.linkLayer()}}, nil, netip.MustParseAddr("ff02::1"))
	rep := r.await("another address", func(rep Report) bool { return rep.State == On && rep.Host6 != addr })
	if rep.Mode != Own || rep.Conflicts == 0 {
		t.Errorf("report: %+v", rep)
	}
}

func (r *real) linkLayer() ndp.Option {
	mac, err := r.router.HardwareAddr("down")
	if err != nil {
		r.t.Fatal(err)
	}
	return &ndp.LinkLayerAddress{Direction: ndp.Target, Addr: mac}
}

// TestRealGateway has a NAT64 gateway on the same machine: its prefix is not the network's.
func TestRealGateway(t *testing.T) {
	r := newReal(t, nil)
	r.ip("tuntap", "add", "nat64", "mode", "tun")
	r.ip("link", "set", "nat64", "up")
	r.ip("-6", "route", "add", "64:ff9b::/96", "dev", "nat64")
	r.advertise("2001:db8:1::", 3600, 1800, "64:ff9b::/96", 600)
	r.await("refused", func(rep Report) bool { return rep.State == Searching && rep.RefusedPrefixes > 0 })
	r.advertise("2001:db8:1::", 3600, 1800, "64:ff9b:1::/96", 600)
	r.on("64:ff9b:1::/96")
	r.advertise("2001:db8:1::", 3600, 1800, "64:ff9b:1::/96", 0)
	r.await("none", func(rep Report) bool { return rep.State == Searching })
	r.advertise("2001:db8:1::", 3600, 1800, "64:ff9b::/96", 600)
	r.ip("link", "del", "nat64")
	r.on("64:ff9b::/96")
}

// TestRealOther does not start beside another CLAT, and stops when one comes.
func TestRealOther(t *testing.T) {
	r := newReal(t, nil)
	r.advertise("2001:db8:1::", 3600, 1800, "64:ff9b::/96", 600)
	r.on("64:ff9b::/96")
	r.ip("address", "add", "192.0.0.3/32", "dev", "eth0")
	r.await("off", func(rep Report) bool { return rep.State == Off && strings.Contains(rep.LastError, "NetworkManager") })
	var other *OtherError
	err := r.host.Do(func() error {
		_, err := Open(r.c.cfg)
		return err
	})
	if !errors.As(err, &other) || other.Device != "eth0" {
		t.Errorf("Open: %v", err)
	}
	r.ip("address", "del", "192.0.0.3/32", "dev", "eth0")
	r.on("64:ff9b::/96")
}
