package clat

import (
	"bytes"
	"context"
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
