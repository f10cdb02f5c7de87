package pref64

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// shared opens a Listener in a host, until the test ends.
func shared(t *testing.T, h *netlab.Host, n int, withoutICMP bool) (l *Listener) {
	t.Helper()
	if err := h.Do(func() (err error) {
		l, err = openListener(n, withoutICMP)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// TestListener: Finders of several interfaces that are opened later, one of them on an
// interface that was not there, have advertisements of their own uplink alone.
func TestListener(t *testing.T) {
	for name, withoutICMP := range map[string]bool{"icmp": false, "netlink": true} {
		t.Run(name, func(t *testing.T) {
			lab := netlab.New(t)
			host, one, two := lab.Host("host"), lab.Host("one"), lab.Host("two")
			lab.Link(host, "up", one, "down", 1500)
			host.Sysctl("net.ipv6.conf.up.accept_ra", "2")
			l := shared(t, host, 2, withoutICMP)
			lab.Link(host, "other", two, "down", 1500)
			host.Sysctl("net.ipv6.conf.other.accept_ra", "2")
			r, s := newRouter(t, one, "down"), newRouter(t, two, "down")
			up := newRun(t, host, Config{Interface: "up", Listener: l})
			other := newRun(t, host, Config{Interface: "other", Listener: l})
			if !withoutICMP {
				wait(t, r.solicited)
				wait(t, s.solicited)
			}
			s.advertise(pref64Option("2001:db8:b::/96", time.Hour))
			other.finds("2001:db8:b::/96", FromAdvertisement)
			r.advertise(pref64Option("2001:db8:a::/96", time.Hour))
			up.finds("2001:db8:a::/96", FromAdvertisement)
		})
	}
}

// TestListenerAgain: sockets that were given back serve another Finder, which has nothing of
// what was received meanwhile. More Finders than sockets are an error.
func TestListenerAgain(t *testing.T) {
	for name, withoutICMP := range map[string]bool{"icmp": false, "netlink": true} {
		t.Run(name, func(t *testing.T) {
			host, far := link(t, "2")
			l := shared(t, host, 1, withoutICMP)
			open := func(ifname string) (f *Finder, err error) {
				err = host.Do(func() error {
					f, err = Open(Config{Interface: ifname, Listener: l})
					return err
				})
				return f, err
			}
			router := newRouter(t, far, "down")
			if _, err := open("missing"); err == nil {
				t.Error("no error")
			}
			first, err := open("up")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := open("up"); err == nil || !strings.Contains(err.Error(), "no socket is left") {
				t.Errorf("%v", err)
			}
			watch := newRun(t, host, Config{Interface: "up"})
			router.advertise(pref64Option("2001:db8:a::/96", time.Hour))
			watch.finds("2001:db8:a::/96", FromAdvertisement)
			first.Close()
			router.advertise(pref64Option("2001:db8:a::/96", 0))
			watch.finds("", 0)
			second := newRun(t, host, Config{Interface: "up", Listener: l})
			router.advertise(pref64Option("2001:db8:b::/96", time.Hour))
			second.finds("2001:db8:b::/96", FromAdvertisement)
		})
	}
}

// TestListenerMoves: one socket serves two interfaces in turn, with advertisements to all
// hosts and to one.
func TestListenerMoves(t *testing.T) {
	lab := netlab.New(t)
	host := lab.Host("host")
	l := shared(t, host, 1, false)
	for i, ifname := range []string{"one", "two", "one"} {
		far := lab.Host(fmt.Sprint("far", i))
		lab.Link(host, ifname, far, "down", 1500)
		router := newRouter(t, far, "down")
		t.Run(ifname, func(t *testing.T) {
			r := newRun(t, host, Config{Interface: ifname, Listener: l})
			from := wait(t, router.solicited)
			router.advertiseTo(from, pref64Option("2001:db8:a::/96", time.Hour))
			r.finds("2001:db8:a::/96", FromAdvertisement)
			router.advertise(pref64Option("2001:db8:a::/96", 0))
			r.finds("", 0)
		})
		if ifname == "one" {
			host.Delete(ifname) // the next one has another index
		}
	}
}

// TestListenerUnprivileged: a thread that has lost its privileges opens a Finder that
// solicits, and receives what the kernel does not process.
func TestListenerUnprivileged(t *testing.T) {
	host, far := link(t, "0")
	router := newRouter(t, far, "down")
	l := shared(t, host, 1, false)
	var f *Finder
	err := host.Do(func() (err error) {
		defer restoreCapabilities(t)()
		if c, err := openICMP(); err == nil {
			c.Close()
			t.Error("the thread has CAP_NET_RAW")
		}
		f, err = Open(Config{Interface: "up", Listener: l, Own: func() []netip.Prefix { return nil }})
		if err != nil {
			return err
		}
		return f.sockets.solicit()
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	wait(t, router.solicited)
	router.advertise(pref64Option("2001:db8:a::/96", time.Hour))
	seen := make(chan Advertisement, 1)
	go f.sockets.receive(t.Context(), seen)
	defer f.sockets.wake()
	if a := wait(t, seen); len(a.Options) != 1 || a.Index != f.sockets.index {
		t.Errorf("%+v", a)
	}
}

// restoreCapabilities takes the effective capabilities from the calling thread. What it
// returns gives them back.
func restoreCapabilities(t *testing.T) func() {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var had, none [2]unix.CapUserData
	if err := unix.Capget(&header, &had[0]); err != nil {
		t.Error(err)
	}
	for i := range had {
		none[i].Permitted, none[i].Inheritable = had[i].Permitted, had[i].Inheritable
	}
	set := func(data *[2]unix.CapUserData) {
		if err := unix.Capset(&header, &data[0]); err != nil {
			t.Error(err)
		}
	}
	set(&none)
	return func() { set(&had) }
}
