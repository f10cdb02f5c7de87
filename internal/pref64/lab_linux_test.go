package pref64

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/ndp"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/ipv6"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// A router advertises on a link, by another program's encoder.
type router struct {
	t    *testing.T
	conn *ndp.Conn
	// solicited has a value for each solicitation that was received.
	solicited chan netip.Addr
}

// newRouter makes the host a router on an interface, until the test ends.
func newRouter(t *testing.T, h *netlab.Host, ifname string) *router {
	t.Helper()
	r := &router{t: t, solicited: make(chan netip.Addr, 16)}
	if err := h.Do(func() error {
		ifi, err := net.InterfaceByName(ifname)
		if err != nil {
			return err
		}
		if r.conn, _, err = ndp.Listen(ifi, ndp.LinkLocal); err != nil {
			return err
		}
		if err := r.conn.SetControlMessage(ipv6.FlagHopLimit, true); err != nil {
			return err
		}
		return r.conn.JoinGroup(netip.MustParseAddr("ff02::2"))
	}); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		r.conn.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			m, cm, from, err := r.conn.ReadFrom()
			if err != nil {
				return
			}
			if _, ok := m.(*ndp.RouterSolicitation); ok && cm.HopLimit == ndp.HopLimit {
				select {
				case r.solicited <- from:
				default:
				}
			}
		}
	}()
	return r
}

// advertise sends an advertisement to all hosts.
func (r *router) advertise(options ...ndp.Option) {
	r.t.Helper()
	r.advertiseTo(netip.MustParseAddr("ff02::1"), options...)
}

func (r *router) advertiseTo(to netip.Addr, options ...ndp.Option) {
	r.t.Helper()
	m := &ndp.RouterAdvertisement{CurrentHopLimit: 64, RouterLifetime: 1800 * time.Second, Options: options}
	if err := r.conn.WriteTo(m, nil, to); err != nil {
		r.t.Fatal(err)
	}
}

func pref64Option(prefix string, lifetime time.Duration) ndp.Option {
	return &ndp.PREF64{Prefix: netip.MustParsePrefix(prefix), Lifetime: lifetime}
}

// addRoute adds a route with a metric in the namespace of the calling thread.
func addRoute(dst, via, ifname string, metric int) error {
	link, err := netlink.LinkByName(ifname)
	if err != nil {
		return err
	}
	_, to, err := net.ParseCIDR(dst)
	if err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{Dst: to, Gw: net.ParseIP(via), LinkIndex: link.Attrs().Index, Priority: metric})
}

// wait returns the next value of a channel.
func wait[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("nothing has come")
		panic("not reached")
	}
}

// A run is a Finder that runs in a host.
type run struct {
	t       *testing.T
	finder  *Finder
	found   chan Found
	reports chan error
}

// newRun starts a Finder on an interface of h, until the test ends.
func newRun(t *testing.T, h *netlab.Host, cfg Config) *run {
	t.Helper()
	r := &run{t: t, found: make(chan Found, 64), reports: make(chan error, 64)}
	if cfg.ResolvConf == "" {
		cfg.ResolvConf = t.TempDir() + "/none"
	}
	if cfg.Dial == nil {
		cfg.Dial = inHost(h, BoundDialer(cfg.Interface))
	}
	if cfg.Own == nil {
		cfg.Own = func() (own []netip.Prefix) {
			h.Do(func() error { own = ownNetworks(); return nil })
			return own
		}
	}
	cfg.Report = func(err error) { r.reports <- err }
	if err := h.Do(func() (err error) {
		r.finder, err = Open(cfg)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.finder.Run(ctx, func(f Found) { r.found <- f }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
		r.finder.Close()
	})
	return r
}

// inHost opens connections inside a host, from any goroutine.
func inHost(h *netlab.Host, dial Dialer) Dialer {
	return func(ctx context.Context, network string, server netip.AddrPort) (c net.Conn, err error) {
		err = h.Do(func() error {
			c, err = dial(ctx, network, server)
			return err
		})
		return c, err
	}
}

// finds waits for a prefix; "" for none.
func (r *run) finds(prefix string, source Source) {
	r.t.Helper()
	f := wait(r.t, r.found)
	if prefix == "" {
		if f.Prefix.IsValid() {
			r.t.Fatalf("found %s by %s, want none", f.Prefix, f.Source)
		}
		return
	}
	if f.Prefix != netip.MustParsePrefix(prefix) || f.Source != source {
		r.t.Fatalf("found %s by %s, want %s by %s", f.Prefix, f.Source, prefix, source)
	}
}
