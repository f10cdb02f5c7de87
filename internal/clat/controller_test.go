package clat

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/internal/hostnet"
)

const (
	wkp   = "64:ff9b::/96"
	local = "64:ff9b:1:2::/96"
	net1  = "2001:db8:1::/64"
	net2  = "2001:db8:2::/64"
)

// TestStart finds a prefix while the address is checked, which takes a second: together they
// take no longer.
func TestStart(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.is(Searching, "", netip.Addr{})
		w.pass(900 * time.Millisecond)
		w.finds("eth0", wkp)
		w.is(Checking, "", netip.Addr{})
		w.pass(100 * time.Millisecond)
		w.is(On, wkp, w.stable(net1, 0))
		r := w.c.Report()
		if r.Carrier != ByCLAT || r.Uplink != "eth0" || r.Source != SourceAdvertisement || r.Mode != Own || r.MTU != 1472 || r.Why == "" || r.LastError != "" {
			t.Errorf("report: %+v", r)
		}
		looks, applies := w.looks, w.applies
		w.pass(24 * time.Hour)
		if w.looks > looks+2 || w.applies != applies {
			t.Errorf("%d snapshots and %d changes while nothing happened", w.looks-looks, w.applies-applies)
		}
	})
}

// TestShared works at once: nothing has to be checked.
func TestShared(t *testing.T) {
	inWorld(t, func(c *Config) { c.Address.Mode = Shared }, func(w *world) {
		w.finds("eth0", wkp)
		w.is(On, wkp, sharedHost6(w.c.cfg.Secret))
		nat := slices.IndexFunc(w.applied, func(c hostnet.Change) bool { return c.NAT != nil })
		if nat < 0 || w.applied[nat].NAT.To != netip.MustParseAddr("2001:db8:1::5") || w.applied[nat].NAT.Out != "eth0" {
			t.Errorf("changes: %v", w.applied)
		}
	})
}

// TestPrefixChanges withdraws and replaces a prefix.
func TestPrefixChanges(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.finds("eth0", wkp)
		w.pass(time.Second)
		w.is(On, wkp, w.stable(net1, 0))
		w.finds("eth0", local)
		w.pass(time.Second)
		w.is(On, local, w.stable(net1, 0))
		w.finds("eth0", "")
		w.is(Searching, "", netip.Addr{})
		w.finds("eth0", local)
		w.pass(time.Second)
		w.is(On, local, w.stable(net1, 0))
		if r := w.c.Report(); r.PrefixChanges != 2 {
			t.Errorf("%d changes of the prefix", r.PrefixChanges)
		}
	})
}

// TestPrefixFlaps has a router that advertises another prefix every two seconds. The machine
// follows more and more seldom, and the log stays short.
func TestPrefixFlaps(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.finds("eth0", wkp)
		w.pass(time.Second)
		applies := w.applies
		for i := range 1800 {
			w.finds("eth0", []string{local, wkp}[i%2])
			w.pass(2 * time.Second)
		}
		if n := w.applies - applies; n < 10 || n > 80 {
			t.Errorf("%d changes in an hour", n)
		}
		if len(w.logs) > 400 {
			t.Errorf("%d sentences in the log", len(w.logs))
		}
		w.finds("eth0", local)
		w.pass(mostPause)
		w.is(On, local, w.stable(net1, 0))
	})
}

// TestPrefixComesAndGoes has a prefix whose lifetime is too short.
func TestPrefixComesAndGoes(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		for range 20 {
			w.finds("eth0", wkp)
			w.pass(3 * time.Second)
			w.is(On, wkp, w.stable(net1, 0))
			w.finds("eth0", "")
			w.is(Searching, "", netip.Addr{})
			w.pass(time.Second)
		}
	})
}

// TestNoUplink says so, and waits.
func TestNoUplink(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.change(func(s *snapshot) { s.routes = nil })
		w.pass(time.Second)
		w.is(Searching, "", netip.Addr{})
		if r := w.c.Report(); !strings.Contains(r.LastError, "default route") || r.Carrier != ByNone {
			t.Errorf("report: %+v", r)
		}
		applies := w.applies
		w.pass(time.Hour)
		if w.applies != applies {
			t.Error("changes without an uplink")
		}
	})
}

// TestRenumbered gives the uplink another network: the old one is deprecated, then gone.
func TestRenumbered(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.finds("eth0", wkp)
		w.pass(time.Second)
		w.change(func(s *snapshot) {
			s.addrs[0].deprecated = true
			s.addrs = append(s.addrs, hostAddr("2001:db8:2::5/64", ethIndex))
			s.addrs[1].unusable, s.addrs[1].checking = true, true
		})
		w.pass(500 * time.Millisecond)
		w.is(On, wkp, w.stable(net1, 0)) // while the other is checked
		w.pass(600 * time.Millisecond)   // not after the kernel's check
		w.is(On, wkp, w.stable(net2, 0))
		if len(w.claims) != 1 {
			t.Errorf("claims: %v", w.claims)
		}
		// At once this time.
		w.change(func(s *snapshot) { s.addrs = []addrState{hostAddr("2001:db8:1::5/64", ethIndex)} })
		w.pass(100 * time.Millisecond)
		w.is(Checking, "", netip.Addr{})
		w.pass(time.Second)
		w.is(On, wkp, w.stable(net1, 0))
		// Deprecated without another: it goes on.
		w.change(func(s *snapshot) { s.addrs[0].deprecated = true })
		w.pass(time.Minute)
		w.is(On, wkp, w.stable(net1, 0))
	})
}

// TestDownAndUp has the link lose its carrier, so shortly that no snapshot shows it. The
// address is checked again.
func TestDownAndUp(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.finds("eth0", wkp)
		w.pass(time.Second)
		first := w.finders["eth0"]
		w.set(func() { w.down[ethIndex] = true })
		w.change(func(*snapshot) {})
		w.pass(100 * time.Millisecond)
		if w.finders["eth0"] == first || !first.closed {
			t.Fatal("the prefix is not looked for anew")
		}
		w.is(Searching, "", netip.Addr{})
		w.finds("eth0", local)
		w.pass(time.Second)
		w.is(On, local, w.stable(net1, 0))

		w.change(func(s *snapshot) { s.linkByName("eth0").running = false })
		w.pass(100 * time.Millisecond)
		w.is(Searching, "", netip.Addr{})
		if len(w.claims) > 0 {
			t.Errorf("claims: %v", w.claims)
		}
		w.change(func(s *snapshot) { s.linkByName("eth0").running = true })
		w.pass(100 * time.Millisecond)
		w.finds("eth0", wkp)
		w.pass(time.Second)
		w.is(On, wkp, w.stable(net1, 0))
	})
}

// TestResumed looks for the prefix anew and goes on with the old one meanwhile, for some
// seconds.
func TestResumed(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.finds("eth0", wkp)
		w.pass(time.Second)
		w.c.Resumed()
		w.pass(0)
		if w.finders["eth0"].restarts != 1 {
			t.Fatal("the finder does not begin anew")
		}
		w.finds("eth0", "")
		w.is(On, wkp, w.stable(net1, 0))
		w.pass(time.Second)
		w.finds("eth0", wkp)
		w.pass(time.Minute)
		w.is(On, wkp, w.stable(net1, 0))
		w.c.Resumed()
		w.finds("eth0", "")
		w.pass(renewal)
		w.is(Searching, "", netip.Addr{})
	})
}

// addWLAN adds a second uplink.
func addWLAN(s *snapshot) {
	s.links = append(s.links, linkState{index: wlanIndex, name: "wlan0", up: true, running: true, mtu: 1480, mtu6: 1480})
	s.addrs = append(s.addrs, hostAddr("2001:db8:3::5/64", wlanIndex))
	s.routes = append(s.routes, route("::/0", "fe80::1", wlanIndex, 600))
}

// TestUplinks has a better uplink appear, and go. The change waits for the new one's address.
func TestUplinks(t *testing.T) {
	wlan := func(w *world) netip.Addr {
		a, _ := Stable{Secret: w.c.cfg.Secret, Prefix: netip.MustParsePrefix("2001:db8:3::/64"), Interface: "wlan0"}.Address(0)
		return a
	}
	inWorld(t, nil, func(w *world) {
		w.finds("eth0", wkp)
		w.pass(time.Second)
		w.change(addWLAN)
		w.pass(5 * time.Second)
		w.is(On, wkp, w.stable(net1, 0)) // wlan0 has a better metric, but no prefix
		w.finds("wlan0", local)
		w.pass(100 * time.Millisecond)
		w.is(On, wkp, w.stable(net1, 0))
		w.pass(time.Second)
		w.is(On, local, wlan(w))
		if r := w.c.Report(); r.Uplink != "wlan0" || r.MTU != 1452 {
			t.Errorf("report: %+v", r)
		}
		w.change(func(s *snapshot) { s.linkByName("wlan0").up = false })
		w.pass(1100 * time.Millisecond)
		w.is(On, wkp, w.stable(net1, 0))
	})
}

// TestUplinkGiven does not leave the uplink that is configured.
func TestUplinkGiven(t *testing.T) {
	inWorld(t, func(c *Config) { c.Uplink = "wlan0" }, func(w *world) {
		w.pass(time.Second)
		if r := w.c.Report(); w.finders["eth0"] != nil || !strings.Contains(r.LastError, "wlan0") {
			t.Errorf("report: %+v", r)
		}
		w.change(addWLAN)
		w.pass(100 * time.Millisecond)
		w.finds("wlan0", wkp)
		w.pass(time.Second)
		if r := w.c.Report(); r.State != On || r.Uplink != "wlan0" {
			t.Errorf("report: %+v", r)
		}
	})
}

// TestDuplicate has other nodes with the addresses that the CLAT would have.
func TestDuplicate(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.set(func() { w.taken[w.stable(net1, 0)] = true })
		w.finds("eth0", wkp)
		w.pass(2 * time.Second)
		w.is(On, wkp, w.stable(net1, 1))
		w.c.conflict(Conflict{Index: ethIndex, Addr: w.stable(net1, 1)})
		w.set(func() { delete(w.claims, w.stable(net1, 1)) }) // as Neighbours does
		w.pass(0)
		w.is(Checking, "", netip.Addr{})
		w.pass(2 * time.Second)
		w.is(On, wkp, w.stable(net1, 2))
		if r := w.c.Report(); r.Conflicts != 1 || !strings.Contains(r.LastError, "too") {
			t.Errorf("report: %+v", r)
		}
	})
	inWorld(t, nil, func(w *world) {
		for n := range uint32(4) {
			w.set(func() { w.taken[w.stable(net1, n)] = true })
		}
		w.finds("eth0", wkp)
		w.pass(10 * time.Second)
		w.is(On, wkp, sharedHost6(w.c.cfg.Secret))
		if r := w.c.Report(); r.Mode != Shared || !strings.Contains(r.Why, "no address of its own") {
			t.Errorf("report: %+v", r)
		}
	})
}

// A router that advertised other resolvers each second had the search begin anew each time, so that
// DNS, which is asked after a second, never was.
func TestResumedOften(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		for range 3600 {
			w.c.Resumed()
			w.pass(time.Second)
		}
		if n := w.finders["eth0"].restarts; n < 60 || n > 80 {
			t.Errorf("%d searches in an hour", n)
		}
	})
}

// A neighbour that had claimed each address of the CLAT once kept it, with clat-address own, off
// IPv4 for ever: addresses that were lost were not tried again. Now they are after a while.
func TestLostAddresses(t *testing.T) {
	inWorld(t, func(c *Config) { c.Address = Address{Mode: Own} }, func(w *world) {
		w.finds("eth0", wkp)
		for n := range uint32(4) {
			w.pass(2 * time.Second)
			w.is(On, wkp, w.stable(net1, n))
			w.c.conflict(Conflict{Index: ethIndex, Addr: w.stable(net1, n)})
			w.set(func() { delete(w.claims, w.stable(net1, n)) }) // as Neighbours does
		}
		w.pass(lostTime / 2)
		w.is(Off, "", netip.Addr{})
		w.pass(lostTime)
		w.is(On, wkp, w.stable(net1, 0))
	})
}

// TestFixed retries an address that another node has, with pauses.
func TestFixed(t *testing.T) {
	fixed := netip.MustParseAddr("2001:db8:1::c1a7")
	inWorld(t, func(c *Config) { c.Address = Address{Fixed, fixed} }, func(w *world) {
		w.set(func() { w.taken[fixed] = true })
		w.finds("eth0", wkp)
		w.pass(time.Hour)
		r := w.c.Report()
		if r.State == On || r.Conflicts < 50 || r.Conflicts > 70 || len(w.logs) > 100 {
			t.Errorf("report: %+v, %d sentences", r, len(w.logs))
		}
		w.set(func() { delete(w.taken, fixed) })
		w.pass(2 * time.Minute)
		w.is(On, wkp, fixed)
	})
}

// TestNative has native IPv4 come and go: the default route of the CLAT is always worse.
func TestNative(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.finds("eth0", wkp)
		w.pass(time.Second)
		for _, tt := range []struct {
			native, want int
		}{{-1, 2048}, {100, 2048}, {-1, 2048}, {20100, 20101}, {-1, 2048}} {
			w.change(func(s *snapshot) {
				s.routes = slices.DeleteFunc(s.routes, func(r routeState) bool { return r.dst.Addr().Is4() })
				if tt.native >= 0 {
					s.routes = append(s.routes, route("0.0.0.0/0", "192.168.1.1", ethIndex, tt.native))
				}
			})
			w.pass(time.Second)
			w.is(On, wkp, w.stable(net1, 0))
			carrier, device := ByCLAT, ""
			if tt.native >= 0 {
				carrier, device = ByNative, "eth0"
			}
			if r := w.c.Report(); w.metric() != tt.want || r.Carrier != carrier || r.NativeDevice != device {
				t.Errorf("native metric %d: metric %d, report %+v", tt.native, w.metric(), r)
			}
		}
	})
}

// TestMTU follows the MTU of the uplink.
func TestMTU(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.finds("eth0", wkp)
		w.pass(time.Second)
		w.change(func(s *snapshot) { s.linkByName("eth0").mtu6 = 1400 })
		w.pass(time.Second)
		if r := w.c.Report(); r.State != On || r.MTU != 1372 {
			t.Errorf("report: %+v", r)
		}
	})
}
