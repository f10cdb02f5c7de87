package pref64

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mdlayher/ndp"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/steppe-nat64/steppe/internal/test/dnstest"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// link links a host to a router. The host processes advertisements itself if acceptRA is "2".
func link(t *testing.T, acceptRA string) (host, far *netlab.Host) {
	t.Helper()
	lab := netlab.New(t)
	host, far = lab.Host("host"), lab.Host("router")
	lab.Link(host, "up", far, "down", 1500)
	host.Sysctl("net.ipv6.conf.up.accept_ra", acceptRA)
	return host, far
}

// TestFinderAdvertisement: a solicitation brings the prefix; changes are followed, and what
// is malformed is ignored alone.
func TestFinderAdvertisement(t *testing.T) {
	for _, c := range []struct{ name, acceptRA string }{
		{"by-the-kernel", "2"},
		{"beside-a-network-manager", "0"}, // which turns the processing of the kernel off
	} {
		t.Run(c.name, func(t *testing.T) {
			host, far := link(t, c.acceptRA)
			router := newRouter(t, far, "down")
			r := newRun(t, host, Config{Interface: "up"})
			wait(t, router.solicited)
			badCode := &ndp.RawOption{Type: 38, Length: 2, Value: badCode[2:]}
			short := &ndp.RawOption{Type: 38, Length: 1, Value: shortOption[2:]}
			router.advertise(badCode, short, pref64Option("2001:db8:a::/96", time.Hour))
			r.finds("2001:db8:a::/96", FromAdvertisement)
			// A second prefix changes nothing until the first one is withdrawn.
			router.advertise(pref64Option("2001:db8:b::/48", time.Hour), pref64Option("2001:db8:a::/96", time.Hour))
			router.advertise(pref64Option("2001:db8:a::/96", 0), badCode)
			r.finds("2001:db8:b::/48", FromAdvertisement)
			router.advertise(pref64Option("2001:db8:b::/48", 0))
			r.finds("", 0)
			router.advertise(pref64Option("64:ff9b::/96", time.Hour))
			r.finds("64:ff9b::/96", FromAdvertisement)
		})
	}
}

// TestFinderUnprivileged: without CAP_NET_RAW, the kernel relays the option.
func TestFinderUnprivileged(t *testing.T) {
	host, far := link(t, "2")
	router := newRouter(t, far, "down")
	r := newRun(t, host, Config{Interface: "up", withoutICMP: true})
	if err := wait(t, r.reports); !errors.Is(err, os.ErrPermission) {
		t.Errorf("%v", err)
	}
	router.advertise(pref64Option("2001:db8:a::/96", time.Hour))
	r.finds("2001:db8:a::/96", FromAdvertisement)
	router.advertise(pref64Option("2001:db8:a::/96", 0))
	r.finds("", 0)
}

// TestFinderOneUplink: an advertisement on another link does not count.
func TestFinderOneUplink(t *testing.T) {
	for name, withoutICMP := range map[string]bool{"icmp": false, "netlink": true} {
		t.Run(name, func(t *testing.T) {
			lab := netlab.New(t)
			host, one, two := lab.Host("host"), lab.Host("one"), lab.Host("two")
			lab.Link(host, "up", one, "down", 1500)
			lab.Link(host, "other", two, "down", 1500)
			host.Sysctl("net.ipv6.conf.up.accept_ra", "2")
			host.Sysctl("net.ipv6.conf.other.accept_ra", "2")
			r, s := newRouter(t, one, "down"), newRouter(t, two, "down")
			up := newRun(t, host, Config{Interface: "up", withoutICMP: withoutICMP})
			other := newRun(t, host, Config{Interface: "other", withoutICMP: withoutICMP})
			s.advertise(pref64Option("2001:db8:b::/96", time.Hour))
			other.finds("2001:db8:b::/96", FromAdvertisement)
			r.advertise(pref64Option("2001:db8:a::/96", time.Hour))
			up.finds("2001:db8:a::/96", FromAdvertisement)
		})
	}
}

// TestFinderOwnNetwork: a prefix that is a network of the machine is refused, with a report.
func TestFinderOwnNetwork(t *testing.T) {
	host, far := link(t, "2")
	host.Addr("up", "2001:db8:1::2/64")
	router := newRouter(t, far, "down")
	r := newRun(t, host, Config{Interface: "up"})
	router.advertise(pref64Option("2001:db8:1::/64", time.Hour), pref64Option("2001:db8:a::/96", time.Hour))
	r.finds("2001:db8:a::/96", FromAdvertisement)
	if err := wait(t, r.reports); !strings.Contains(err.Error(), "2001:db8:1::/64, a network of this machine") {
		t.Errorf("%v", err)
	}
}

// resolver runs a server in a host, by UDP.
func resolver(t *testing.T, h *netlab.Host, addr string, answer func(string, dnsmessage.Message, dnsmessage.Message) [][]byte) *dnstest.Server {
	t.Helper()
	c, err := h.ListenPacket("udp", net.JoinHostPort(addr, "53"))
	if err != nil {
		t.Fatal(err)
	}
	s := &dnstest.Server{Answer: answer}
	go s.ServePacket(c)
	return s
}

// TestFinderDNS: a router without the option, whose resolver has DNS64. The router gets the
// option, and loses it again.
func TestFinderDNS(t *testing.T) {
	host, far := link(t, "2")
	host.Addr("up", "2001:db8:1::2/64")
	far.Addr("down", "2001:db8:1::1/64")
	s := resolver(t, far, "2001:db8:1::1", dnstest.Always(600, "2001:db8:d::c000:aa", "2001:db8:d::c000:ab"))
	router := newRouter(t, far, "down")
	r := newRun(t, host, Config{Interface: "up"})
	wait(t, router.solicited)
	router.advertise(&ndp.RecursiveDNSServer{Lifetime: time.Hour, Servers: []netip.Addr{netip.MustParseAddr("2001:db8:1::1")}})
	r.finds("2001:db8:d::/96", FromDNS)
	router.advertise(pref64Option("2001:db8:a::/96", time.Hour))
	r.finds("2001:db8:a::/96", FromAdvertisement)
	router.advertise(pref64Option("2001:db8:a::/96", 0))
	r.finds("2001:db8:d::/96", FromDNS)
	for _, q := range s.Queries() {
		if q.Message.CheckingDisabled || q.Message.Questions[0].Name.String() != Name {
			t.Errorf("%+v", q.Message)
		}
	}
}

// TestFinderLinkLocalResolver: its address needs the interface, which only a Finder knows.
func TestFinderLinkLocalResolver(t *testing.T) {
	host, far := link(t, "2")
	far.Addr("down", "fe80::53/64")
	resolver(t, far, "fe80::53%down", dnstest.Always(600, "64:ff9b::c000:aa"))
	router := newRouter(t, far, "down")
	r := newRun(t, host, Config{Interface: "up"})
	wait(t, router.solicited)
	router.advertise(&ndp.RecursiveDNSServer{Lifetime: time.Hour, Servers: []netip.Addr{netip.MustParseAddr("fe80::53")}})
	r.finds("64:ff9b::/96", FromDNS)
}

// TestFinderResolverOfTheUplink: a VPN has replaced resolv.conf, and has the default route.
// The resolver that the router of the uplink advertises is asked, on the uplink.
func TestFinderResolverOfTheUplink(t *testing.T) {
	lab := netlab.New(t)
	host, far, vpn := lab.Host("host"), lab.Host("router"), lab.Host("vpn")
	lab.Link(host, "up", far, "down", 1500)
	lab.Link(host, "tunnel", vpn, "down", 1500)
	host.Sysctl("net.ipv6.conf.up.accept_ra", "2")
	host.Addr("up", "2001:db8:1::2/64")
	far.Addr("down", "2001:db8:1::1/64")
	far.Addr("lo", "2001:db8:53::1/128")
	host.Addr("tunnel", "2001:db8:2::2/64")
	vpn.Addr("down", "2001:db8:2::1/64")
	vpn.Addr("lo", "2001:db8:53::1/128") // the same address, at another place
	host.AddRoute(netlab.Route{Dst: "2001:db8:53::1/128", Via: "2001:db8:2::1"})
	asked := resolver(t, far, "2001:db8:53::1", dnstest.Always(600, "64:ff9b::c000:aa"))
	wrong := resolver(t, vpn, "2001:db8:53::1", dnstest.Always(600, "2001:db8:bad::c000:aa"))
	wrongToo := resolver(t, vpn, "2001:db8:2::1", dnstest.Always(600, "2001:db8:bad::c000:aa"))
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver 2001:db8:2::1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	router := newRouter(t, far, "down")
	r := newRun(t, host, Config{Interface: "up", ResolvConf: conf})
	wait(t, router.solicited)
	host.Do(func() error { return addRoute("2001:db8:53::1/128", "2001:db8:1::1", "up", 2048) })
	router.advertise(&ndp.RecursiveDNSServer{Lifetime: time.Hour, Servers: []netip.Addr{netip.MustParseAddr("2001:db8:53::1")}})
	r.finds("64:ff9b::/96", FromDNS)
	if len(asked.Queries()) == 0 || len(wrong.Queries()) > 0 || len(wrongToo.Queries()) > 0 {
		t.Errorf("%d queries on the uplink, %d and %d in the tunnel", len(asked.Queries()), len(wrong.Queries()), len(wrongToo.Queries()))
	}
}

// TestFinderResolverOnThisHost: a socket that is bound to the uplink could not reach it.
func TestFinderResolverOnThisHost(t *testing.T) {
	host, _ := link(t, "2")
	resolver(t, host, "127.0.0.53", dnstest.Always(600, "64:ff9b::c000:aa"))
	servers := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.53:53")}
	newRun(t, host, Config{Interface: "up", Servers: servers}).finds("64:ff9b::/96", FromDNS)
}

// TestFinderResolvConf: without a resolver of the router, resolv.conf counts.
func TestFinderResolvConf(t *testing.T) {
	host, far := link(t, "2")
	host.Addr("up", "2001:db8:1::2/64")
	far.Addr("down", "2001:db8:1::1/64")
	resolver(t, far, "2001:db8:1::1", dnstest.Always(600, "64:ff9b::c000:aa"))
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver 2001:db8:1::1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	newRun(t, host, Config{Interface: "up", ResolvConf: conf}).finds("64:ff9b::/96", FromDNS)
}

// TestFinderLies: a resolver that has addresses without a well-known one in them.
func TestFinderLies(t *testing.T) {
	host, far := link(t, "2")
	host.Addr("up", "2001:db8:1::2/64")
	far.Addr("down", "2001:db8:1::1/64")
	resolver(t, far, "2001:db8:1::1", dnstest.Always(600, "2001:db8:1::1"))
	router := newRouter(t, far, "down")
	r := newRun(t, host, Config{Interface: "up", Servers: []netip.AddrPort{netip.MustParseAddrPort("[2001:db8:1::1]:53")}})
	if err := wait(t, r.reports); !strings.Contains(err.Error(), "DNS64 does not make") {
		t.Errorf("%v", err)
	}
	router.advertise(pref64Option("64:ff9b::/96", time.Hour))
	r.finds("64:ff9b::/96", FromAdvertisement) // the first that is found
}

// TestFinderRestart: another network is another prefix, and the machine has other networks.
func TestFinderRestart(t *testing.T) {
	host, far := link(t, "2")
	router := newRouter(t, far, "down")
	var own atomic.Value
	own.Store([]netip.Prefix(nil))
	r := newRun(t, host, Config{Interface: "up", Own: func() []netip.Prefix { return own.Load().([]netip.Prefix) }})
	wait(t, router.solicited)
	router.advertise(pref64Option("2001:db8:a::/96", time.Hour))
	r.finds("2001:db8:a::/96", FromAdvertisement)
	own.Store([]netip.Prefix{netip.MustParsePrefix("2001:db8:b::/64")})
	r.finder.Restart()
	r.finds("", 0)
	wait(t, router.solicited)
	router.advertise(pref64Option("2001:db8:b::/96", time.Hour), pref64Option("2001:db8:c::/96", time.Hour))
	r.finds("2001:db8:c::/96", FromAdvertisement)
}

// TestKernelRelays: the kernel relays an option that mdlayher/ndp has written, with its
// source and interface, and does so only where it processes advertisements.
func TestKernelRelays(t *testing.T) {
	host, far := link(t, "0")
	router := newRouter(t, far, "down")
	var icmp, route *sockets
	if err := host.Do(func() (err error) {
		if icmp, _, err = takeSockets(Config{Interface: "up"}); err != nil {
			return err
		}
		route, _, err = takeSockets(Config{Interface: "up", withoutICMP: true})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer icmp.close()
	defer route.close()
	relayed, seen := make(chan Advertisement, 16), make(chan Advertisement, 16)
	go route.receive(t.Context(), relayed)
	go icmp.receive(t.Context(), seen)
	router.advertise(pref64Option("2001:db8:a::/96", time.Hour))
	wait(t, seen) // the kernel has processed it, or not
	host.Sysctl("net.ipv6.conf.up.accept_ra", "2")
	router.advertise(pref64Option("2001:db8:b::/96", time.Hour))
	want := Option{netip.MustParsePrefix("2001:db8:b::/96"), time.Hour}
	for name, ch := range map[string]chan Advertisement{"relayed": relayed, "received": seen} {
		a := wait(t, ch)
		if len(a.Options) != 1 || a.Options[0] != want || a.Index != route.index || !a.Router.IsLinkLocalUnicast() || a.Router.Zone() != "" {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// TestOpen: an interface that is not there is an error at once.
func TestOpen(t *testing.T) {
	if f, err := Open(Config{Interface: "does-not-exist"}); err == nil {
		f.Close()
		t.Error("no error")
	}
	f, err := Open(Config{Interface: "lo"}) // as any user
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Run(ctx, func(Found) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	f.Close()
}
