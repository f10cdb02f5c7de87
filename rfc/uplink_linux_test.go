package rfc

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/ndp"

	"github.com/steppe-nat64/steppe/internal/pref64"
	"github.com/steppe-nat64/steppe/internal/test/dnstest"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// An uplinkLab is a host with two uplinks, up and tunnel, each to a router with a resolver.
// Both resolvers have the address 2001:db8:53::1, which is routed into the tunnel, and have
// DNS64, with different prefixes.
type uplinkLab struct {
	t            *testing.T
	host         *netlab.Host
	far, vpn     *netlab.Host
	asked, wrong *dnstest.Server
}

func newUplinkLab(t *testing.T) *uplinkLab {
	lab := netlab.New(t)
	l := &uplinkLab{t: t, host: lab.Host("host"), far: lab.Host("router"), vpn: lab.Host("vpn")}
	lab.Link(l.host, "up", l.far, "down", 1500)
	lab.Link(l.host, "tunnel", l.vpn, "down", 1500)
	l.host.Addr("up", "2001:db8:1::2/64")
	l.far.Addr("down", "2001:db8:1::1/64")
	l.far.Addr("lo", "2001:db8:53::1/128")
	l.host.Addr("tunnel", "2001:db8:2::2/64")
	l.vpn.Addr("down", "2001:db8:2::1/64")
	l.vpn.Addr("lo", "2001:db8:53::1/128")
	l.host.Route("2001:db8:53::1/128", "2001:db8:2::1", "tunnel")
	l.host.Route("2001:db8:53::/64", "2001:db8:1::1", "up")
	l.asked, l.wrong = l.resolver(l.far, "64:ff9b::c000:aa"), l.resolver(l.vpn, "2001:db8:bad::c000:aa")
	return l
}

func (l *uplinkLab) resolver(h *netlab.Host, addrs ...string) *dnstest.Server {
	l.t.Helper()
	c, err := h.ListenPacket("udp", "[2001:db8:53::1]:53")
	if err != nil {
		l.t.Fatal(err)
	}
	s := &dnstest.Server{Answer: dnstest.Always(600, addrs...)}
	go s.ServePacket(c)
	return s
}

// router opens a socket for the advertisements of a host on its interface down.
func (l *uplinkLab) router(h *netlab.Host) *ndp.Conn {
	l.t.Helper()
	var c *ndp.Conn
	if err := h.Do(func() error {
		ifi, err := net.InterfaceByName("down")
		if err != nil {
			return err
		}
		c, _, err = ndp.Listen(ifi, ndp.LinkLocal)
		return err
	}); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close() })
	return c
}

// advertise sends an advertisement to all hosts of a link.
func (l *uplinkLab) advertise(c *ndp.Conn, options ...ndp.Option) {
	l.t.Helper()
	m := &ndp.RouterAdvertisement{RouterLifetime: time.Hour, Options: options}
	if err := c.WriteTo(m, nil, addr("ff02::1")); err != nil {
		l.t.Fatal(err)
	}
}

// find runs a Finder on an uplink of the host, until the test ends.
func (l *uplinkLab) find(ifname string) <-chan pref64.Found {
	l.t.Helper()
	dial := pref64.BoundDialer(ifname)
	cfg := pref64.Config{
		Interface: ifname, ResolvConf: l.t.TempDir() + "/none",
		Own: func() []netip.Prefix { return prefixes("2001:db8:1::/64", "2001:db8:2::/64") },
		Dial: func(ctx context.Context, network string, server netip.AddrPort) (c net.Conn, err error) {
			err = l.host.Do(func() error {
				c, err = dial(ctx, network, server)
				return err
			})
			return c, err
		},
	}
	var f *pref64.Finder
	if err := l.host.Do(func() (err error) {
		f, err = pref64.Open(cfg)
		return err
	}); err != nil {
		l.t.Fatal(err)
	}
	found, done := make(chan pref64.Found, 16), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(done)
		f.Run(ctx, func(p pref64.Found) { found <- p })
	}()
	l.t.Cleanup(func() {
		cancel()
		<-done
		f.Close()
	})
	return found
}

// wantFound waits for a prefix.
func wantFound(t *testing.T, found <-chan pref64.Found, prefix string) {
	t.Helper()
	select {
	case f := <-found:
		is(t, "prefix", f.Prefix.String(), prefix)
	case <-time.After(20 * time.Second):
		t.Fatalf("%s is not found", prefix)
	}
}

var resolverOption = &ndp.RecursiveDNSServer{Lifetime: time.Hour, Servers: []netip.Addr{netip.MustParseAddr("2001:db8:53::1")}}

// prefixOfInterface: each uplink has the prefix that was advertised there.
func prefixOfInterface(t *testing.T) {
	l := newUplinkLab(t)
	up, tunnel := l.find("up"), l.find("tunnel")
	far, vpn := l.router(l.far), l.router(l.vpn)
	l.advertise(vpn, &ndp.PREF64{Prefix: netip.MustParsePrefix("2001:db8:b::/96"), Lifetime: time.Hour})
	wantFound(t, tunnel, "2001:db8:b::/96")
	l.advertise(far, &ndp.PREF64{Prefix: netip.MustParsePrefix("2001:db8:a::/96"), Lifetime: time.Hour})
	wantFound(t, up, "2001:db8:a::/96")
}

// resolverOfInterface: the query goes out on the uplink, although the route to the resolver
// leads elsewhere.
func resolverOfInterface(t *testing.T) {
	l := newUplinkLab(t)
	up := l.find("up")
	l.advertise(l.router(l.far), resolverOption)
	wantFound(t, up, "64:ff9b::/96")
	is(t, "resolver of the uplink asked", len(l.asked.Queries()) > 0, true)
	is(t, "queries of another one", len(l.wrong.Queries()), 0)
}

// noConnectivityCheck: between the first packet and the prefix, none is for the addresses in
// the answer.
func noConnectivityCheck(t *testing.T) {
	l := newUplinkLab(t)
	capture, err := l.host.Capture("up")
	if err != nil {
		t.Fatal(err)
	}
	up := l.find("up")
	l.advertise(l.router(l.far), resolverOption)
	wantFound(t, up, "64:ff9b::/96")
	packets, err := capture.Stop()
	if err != nil {
		t.Fatal(err)
	}
	queries := 0
	for _, p := range packets {
		if len(p.Data) < 40 || !p.Outgoing || p.Data[0]>>4 != 6 {
			continue
		}
		switch dst := netip.AddrFrom16([16]byte(p.Data[24:40])); {
		case dst == addr("2001:db8:53::1"):
			queries++
		case netip.MustParsePrefix("64:ff9b::/96").Contains(dst):
			t.Errorf("a packet to %s", dst)
		}
	}
	is(t, "query captured", queries > 0, true)
}
