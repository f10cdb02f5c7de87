package clat

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/internal/hostnet"
	"github.com/steppe-nat64/steppe/internal/pref64"
)

// TestRepair has another program delete what the CLAT made: it is made again, with pauses.
func TestRepair(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.finds("eth0", wkp)
		w.pass(time.Second)
		w.set(func() { w.missing = func(c hostnet.Change) bool { return c.Route != nil && c.Route.Table == 0 } })
		damage := func() {
			w.set(func() { w.applied = slices.DeleteFunc(w.applied, w.missing) })
			w.notify()
		}
		applies := w.applies
		missing := w.missing
		for range 1800 {
			w.set(func() { w.missing = missing })
			damage()
			w.set(func() { w.missing = func(hostnet.Change) bool { return false } })
			w.pass(2 * time.Second)
		}
		if n := w.applies - applies; n < 30 || n > 100 {
			t.Errorf("%d repairs in an hour", n)
		}
		w.pass(mostPause)
		w.is(On, wkp, w.stable(net1, 0))

		// What a snapshot does not show.
		w.pass(time.Hour)
		applies = w.applies
		w.set(func() { w.filtered = true })
		w.notify()
		w.pass(time.Second)
		if w.applies != applies+1 {
			t.Errorf("%d changes after nftables has changed", w.applies-applies)
		}
	})
}

// TestApplyFails goes on with pauses, says why, and works when it can.
func TestApplyFails(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.set(func() { w.applyErr = errors.New("operation not permitted") })
		w.finds("eth0", wkp)
		w.pass(time.Hour)
		if w.applies < 60 || w.applies > 70 {
			t.Errorf("%d tries in an hour", w.applies)
		}
		w.is(Off, "", netip.Addr{})
		if r := w.c.Report(); r.LastError != "operation not permitted" || len(w.logs) > 20 {
			t.Errorf("report: %+v, log %q", r, w.logs)
		}
		w.set(func() { w.applyErr = nil })
		w.pass(mostPause)
		w.is(On, wkp, w.stable(net1, 0))

		// A part of it: what can be done is done, and the rest tried again.
		w.set(func() { w.missing = func(c hostnet.Change) bool { return c.Accept != nil } })
		w.finds("eth0", local)
		w.pass(time.Minute)
		w.is(On, local, w.stable(net1, 0))
		if r := w.c.Report(); r.LastError != "not all of it" {
			t.Errorf("report: %+v", r)
		}
		w.set(func() { w.missing = func(hostnet.Change) bool { return false } })
		w.pass(2 * mostPause)
		if len(w.applied) != len(w.wants) {
			t.Error("the rest is not done")
		}
	})
}

// TestUpdateFails lets no packets come to a translator that is not ready.
func TestUpdateFails(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.set(func() { w.updateErr = errors.New("no memory") })
		w.finds("eth0", wkp)
		w.pass(time.Minute)
		w.is(Off, "", netip.Addr{})
		if len(w.applied) > 0 {
			t.Errorf("changes: %v", w.applied)
		}
		w.set(func() { w.updateErr = nil })
		w.pass(mostPause)
		w.is(On, wkp, w.stable(net1, 0))
	})
}

// TestOther stops beside another CLAT, and goes on when that has gone.
func TestOther(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.finds("eth0", wkp)
		w.pass(time.Second)
		w.change(func(s *snapshot) { s.addrs = append(s.addrs, hostAddr("192.0.0.5/32", ethIndex)) })
		w.pass(time.Second)
		w.is(Off, "", netip.Addr{})
		if r := w.c.Report(); !strings.Contains(r.LastError, "NetworkManager") || len(w.applied) > 0 || len(w.claims) > 0 {
			t.Errorf("report: %+v", r)
		}
		w.change(func(s *snapshot) { s.addrs = s.addrs[:1] })
		w.pass(100 * time.Millisecond)
		w.finds("eth0", wkp)
		w.pass(time.Second)
		w.is(On, wkp, w.stable(net1, 0))
	})
}

// TestDeviceGone has the device deleted, and made again by the daemon.
func TestDeviceGone(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.finds("eth0", wkp)
		w.pass(time.Second)
		w.set(func() { w.applyErr = errors.New("clat: no such device") })
		gone := w.base.links[2]
		w.change(func(s *snapshot) { s.links = s.links[:2] })
		w.pass(10 * time.Minute)
		w.is(Off, "", netip.Addr{})
		w.set(func() { w.applyErr, w.applied = nil, nil })
		gone.index++
		w.change(func(s *snapshot) { s.links = append(s.links, gone) })
		w.pass(100 * time.Millisecond)
		if len(w.applied) != len(w.wants) || len(w.applied) == 0 {
			t.Error("the device has waited")
		}
	})
}

// TestGatewayBeside has a gateway on this machine get a route to the prefix that is in use.
func TestGatewayBeside(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.finds("eth0", wkp)
		w.pass(time.Second)
		w.is(On, wkp, w.stable(net1, 0))
		w.change(func(s *snapshot) {
			s.links = append(s.links, linkState{index: 30, name: "nat64", kind: "tun", up: true, running: true, mtu: 1500})
			s.routes = append(s.routes, route(wkp, "", 30, 1024))
		})
		w.pass(100 * time.Millisecond)
		w.is(Searching, "", netip.Addr{})
		if f := w.finders["eth0"]; f.restarts != 1 {
			t.Errorf("%d restarts", f.restarts)
		}
		w.finds("eth0", local)
		w.pass(time.Second)
		w.is(On, local, w.stable(net1, 0))
	})
}

// TestBounces has a link that comes and goes while the address is checked: each check is given
// up, and none counts as failed.
func TestBounces(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		for range 10 {
			w.set(func() { w.down[ethIndex] = true })
			w.change(func(*snapshot) {})
			w.pass(300 * time.Millisecond)
		}
		if r := w.c.Report(); r.LastError != "" {
			t.Error(r.LastError)
		}
		w.finds("eth0", wkp)
		w.pass(time.Second)
		w.is(On, wkp, w.stable(net1, 0))
	})
}

// TestFinderFails tries again, with pauses.
func TestFinderFails(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.finders["eth0"].fail <- errors.New("socket: gone")
		w.pass(0)
		if r := w.c.Report(); r.LastError != "socket: gone" {
			t.Errorf("report: %+v", r)
		}
		w.pass(2 * time.Second)
		w.finds("eth0", wkp)
		w.pass(time.Second)
		w.is(On, wkp, w.stable(net1, 0))
	})
}

// TestRogue counts the prefixes that a router invents, and logs few of them.
func TestRogue(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		for i := range 1000 {
			p := netip.PrefixFrom(netip.AddrFrom16([16]byte{0xff, 2, byte(i >> 8), byte(i)}), 96)
			w.finders["eth0"].report(pref64.Refused{Prefix: p, Err: pref64.Check(p)})
			w.pass(100 * time.Millisecond)
		}
		if r := w.c.Report(); r.RefusedPrefixes != 1000 || len(w.logs) > logBurst+15 {
			t.Errorf("%d refused, %d sentences", r.RefusedPrefixes, len(w.logs))
		}
	})
}

// TestConfiguredPrefix needs no finder.
func TestConfiguredPrefix(t *testing.T) {
	inWorld(t, func(c *Config) { c.Prefix = netip.MustParsePrefix(local) }, func(w *world) {
		w.pass(time.Second)
		w.is(On, local, w.stable(net1, 0))
		if r := w.c.Report(); r.Source != SourceConfiguration || len(w.finders) > 0 {
			t.Errorf("report: %+v", r)
		}
	})
}
