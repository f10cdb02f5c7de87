package rfc

import (
	"errors"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
	"github.com/steppe-nat64/steppe/tun"
)

// labMissing returns why there can be no network laboratory, nil if there can.
func labMissing() error {
	l, err := netlab.Open()
	if err == nil {
		l.Close()
		return nil
	}
	if os.Getenv("STEPPE_REQUIRE_NETNS") == "1" || !errors.Is(err, netlab.ErrUnavailable) {
		return nil // then a skipped test has no excuse
	}
	return err
}

// A gateway is a router with a TUN device, at whose other end packets are
// translated. It remembers to whom the packets were that came there.
type gateway struct {
	mu   sync.Mutex
	seen map[netip.Addr]int
}

// toTUN returns how many packets to dst have come to the device.
func (g *gateway) toTUN(dst netip.Addr) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen[dst]
}

// translated makes the device nat64 in the host r and translates what the kernel
// sends there, until the test ends.
func translated(t *testing.T, r *netlab.Host, x *xlat) *gateway {
	t.Helper()
	g := &gateway{seen: map[netip.Addr]int{}}
	var d *tun.Device
	if err := r.Do(func() (err error) {
		d, err = tun.Open(tun.Config{Name: "nat64", Plain: true})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := r.Do(func() error { return d.SetUp(true) }); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		d.Close()
		<-done
	})
	go func() {
		defer close(done)
		g.pump(d.Queues()[0], x.w)
	}()
	return g
}

// pump translates packets until the device is closed.
func (g *gateway) pump(q *tun.Queue, w *translate.Worker) {
	ps, more := tun.NewPackets(16), tun.NewPackets(4)
	for {
		n, err := q.Read(ps)
		if err != nil {
			return
		}
		g.mu.Lock()
		for i := range n {
			if b := ps[i].Bytes(); b[0]>>4 == 4 {
				g.seen[netip.AddrFrom4([4]byte(b[16:]))]++
			} else {
				g.seen[netip.AddrFrom16([16]byte(b[24:]))]++
			}
		}
		g.mu.Unlock()
		w.TranslateBatch(0, ps[:n])
		if finish(q, w, ps[:n], more) != nil {
			return
		}
		n, _ = w.Emit(0, ps)
		if finish(q, w, ps[:n], more) != nil {
			return
		}
	}
}

// finish does with packets what their verdicts say.
func finish(q *tun.Queue, w *translate.Worker, ps, more []translate.Packet) error {
	for i := range ps {
		p := &ps[i]
		for p.Result.Verdict == translate.Split {
			k := w.Fragment(p, more)
			if _, err := q.Write(more[:k]); err != nil {
				return err
			}
		}
		if p.Result.Verdict != translate.Drop {
			if _, err := q.Write(ps[i : i+1]); err != nil {
				return err
			}
		}
	}
	return nil
}

// A routed laboratory: an IPv4 host and an IPv6 host, each a hop away from the
// gateway, and a third that speaks both and stands for hosts that need no
// translation. The gateway has a route for 192.0.2.0/24 and for P to the TUN
// device.
//
//	host4 198.51.100.4 ── gateway ── host6 2001:db8:6::6
//	                         │
//	                      native
func routedLab(t *testing.T) (g *gateway, r, host4, host6, native *netlab.Host) {
	t.Helper()
	lab := netlab.New(t)
	r, host4, host6, native = lab.Host("gateway"), lab.Host("host4"), lab.Host("host6"), lab.Host("native")
	lab.Link(r, "four", host4, "eth0", 1500)
	lab.Link(r, "six", host6, "eth0", 1500)
	lab.Link(r, "both", native, "eth0", 1500)
	r.Forwarding()
	r.Addr("four", "198.51.100.1/24")
	r.Addr("six", "2001:db8:6::1/64")
	r.Addr("both", "203.0.113.1/24")
	r.Addr("both", "2001:db8:7::1/64")
	host4.Addr("eth0", "198.51.100.4/24")
	host4.DefaultRoute("198.51.100.1", "eth0")
	host6.Addr("eth0", "2001:db8:6::6/64")
	host6.DefaultRoute("2001:db8:6::1", "eth0")
	native.Addr("eth0", "203.0.113.2/24")
	native.Addr("eth0", "2001:db8:7::2/64")
	native.DefaultRoute("203.0.113.1", "eth0")
	native.DefaultRoute("2001:db8:7::1", "eth0")

	g = translated(t, r, newXlat(t, func(s *settings) {
		s.Maps = append(s.Maps, translate.Map{IPv4: mustPrefix("192.0.2.7/32"), IPv6: mustPrefix("2001:db8:6::7/128")})
	}))
	r.Route("192.0.2.0/24", "", "nat64")
	r.Route(pt.P.String(), "", "nat64")
	return g, r, host4, host6, native
}

// nativeRoute4 shows that packets to an IPv4 address that could be translated go
// another way as soon as the kernel has a longer route for it.
func nativeRoute4(t *testing.T) {
	g, r, host4, _, native := routedLab(t)
	m7 := addr("192.0.2.7")
	echo := netlab.Echo{Size: 56}

	if _, err := host4.Ping(pt.M4, echo); err != nil {
		t.Errorf("through the translator: %v", err)
	}
	// Without the route the translator gets the packet. No host has 2001:db8:6::7.
	if reply, err := host4.Ping(m7, netlab.Echo{Size: 56, Timeout: 300 * time.Millisecond}); err == nil {
		t.Errorf("%v answers, where no host is", reply.From)
	}
	before := g.toTUN(m7)
	if before == 0 {
		t.Fatal("the packet did not come to the translator, so the rest would show nothing")
	}

	native.Addr("eth0", "192.0.2.7/32")
	r.Route("192.0.2.7/32", "203.0.113.2", "both")
	if _, err := host4.Ping(m7, echo); err != nil {
		t.Errorf("past the translator: %v", err)
	}
	is(t, "packets that came to the translator all the same", g.toTUN(m7)-before, 0)
	if _, err := host4.Ping(pt.M4, echo); err != nil {
		t.Errorf("through the translator afterwards: %v", err)
	}
}

// nativeRoute6 is nativeRoute4 for IPv6.
func nativeRoute6(t *testing.T) {
	g, r, _, host6, native := routedLab(t)
	h5 := addr("2001:db8:64::c633:6405") // 198.51.100.5 in P, which no host has
	echo := netlab.Echo{Size: 56}

	if _, err := host6.Ping(pt.H4in6, echo); err != nil {
		t.Errorf("through the translator: %v", err)
	}
	if reply, err := host6.Ping(h5, netlab.Echo{Size: 56, Timeout: 300 * time.Millisecond}); err == nil {
		t.Errorf("%v answers, where no host is", reply.From)
	}
	before := g.toTUN(h5)
	if before == 0 {
		t.Fatal("the packet did not come to the translator, so the rest would show nothing")
	}

	native.Addr("eth0", "2001:db8:64::c633:6405/128")
	r.Route("2001:db8:64::c633:6405/128", "2001:db8:7::2", "both")
	if _, err := host6.Ping(h5, echo); err != nil {
		t.Errorf("past the translator: %v", err)
	}
	is(t, "packets that came to the translator all the same", g.toTUN(h5)-before, 0)
	if _, err := host6.Ping(pt.H4in6, echo); err != nil {
		t.Errorf("through the translator afterwards: %v", err)
	}
}
