package pref64

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// still is a Finder without sockets, for what it does in a step.
func still(cfg Config) *Finder {
	if cfg.Own == nil {
		cfg.Own = func() []netip.Prefix { return nil }
	}
	return &Finder{cfg: cfg, sockets: &sockets{}, start: time.Now(), uplink: NewUplink(0), reported: map[string]string{}}
}

// TestFinderStep: found is called with each change, of the router too, and not without one.
func TestFinderStep(t *testing.T) {
	f := still(Config{})
	q := newQueries(t.Context())
	defer q.end()
	var all []Found
	learn := func(router string, lifetime time.Duration) {
		f.uplink.Learn(f.now(), Advertisement{Router: netip.MustParseAddr(router), Options: []Option{{wellKnown, lifetime}}})
		f.step(q, func(p Found) { all = append(all, p) })
	}
	learn(r1, time.Hour)
	learn(r1, time.Hour)
	learn(r2, time.Hour)
	learn(r1, 0)
	learn(r2, 0)
	want := []Found{
		{Prefix: wellKnown, Source: FromAdvertisement, Router: netip.MustParseAddr(r1)},
		{Prefix: wellKnown, Source: FromAdvertisement, Router: netip.MustParseAddr(r2)},
		{},
	}
	for i := range all {
		all[i].Until = 0
	}
	if !slices.Equal(all, want) {
		t.Errorf("%+v", all)
	}
}

// TestFinderReport: an error is reported once, and again after another one.
func TestFinderReport(t *testing.T) {
	var all []string
	f := still(Config{Report: func(err error) { all = append(all, err.Error()) }})
	for _, err := range []error{os.ErrPermission, os.ErrPermission, os.ErrClosed, nil, os.ErrClosed, context.Canceled, os.ErrClosed} {
		f.report("ask", err)
	}
	f.report("solicit", os.ErrClosed)
	want := []string{os.ErrPermission.Error(), os.ErrClosed.Error(), os.ErrClosed.Error(), context.Canceled.Error(), os.ErrClosed.Error(), os.ErrClosed.Error()}
	if !slices.Equal(all, want) {
		t.Errorf("%q", all)
	}
	for i := range 10 * maxReported {
		f.report(netip.AddrFrom4([4]byte{byte(i >> 8), byte(i)}).String(), os.ErrClosed)
	}
	if len(f.reported) > maxReported {
		t.Errorf("%d errors are remembered", len(f.reported))
	}
}

// TestFinderServers: those that were given, then those of routers, then those of resolv.conf.
func TestFinderServers(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	cfg := Config{Interface: "up", ResolvConf: conf}
	want := func(f *Finder, list ...string) {
		t.Helper()
		var got []string
		for _, s := range f.servers(f.now()) {
			got = append(got, s.String())
		}
		if !slices.Equal(got, list) {
			t.Errorf("%q, want %q", got, list)
		}
	}
	f := still(cfg)
	want(f) // the file is not there
	if err := os.WriteFile(conf, []byte("nameserver 2001:db8::1\nnameserver 192.0.2.1\nnameserver fe80::1%other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(f, "[2001:db8::1]:53", "192.0.2.1:53", "[fe80::1%other]:53")
	f.uplink.Learn(f.now(), Advertisement{Resolvers: []Resolvers{{[]netip.Addr{netip.MustParseAddr("fe80::53"), netip.MustParseAddr("2001:db8::53")}, time.Hour}}})
	want(f, "[fe80::53%up]:53", "[2001:db8::53]:53")
	f.cfg.Servers = []netip.AddrPort{netip.MustParseAddrPort("[2001:db8::9]:5353")}
	want(f, "[2001:db8::9]:5353")
}

// TestFinderResolvers: a function takes the place of resolv.conf, with ports.
func TestFinderResolvers(t *testing.T) {
	all := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:5353"), netip.MustParseAddrPort("[fe80::1]:53")}
	all = slices.Grow(all, 10)
	f := still(Config{Interface: "up", Resolvers: func() []netip.AddrPort { return all }})
	want := []netip.AddrPort{all[0], netip.MustParseAddrPort("[fe80::1%up]:53")}
	if got := f.servers(f.now()); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if all[1].Addr().Zone() != "" {
		t.Error("the caller's list has changed")
	}
	all = all[:10]
	if got := f.servers(f.now()); len(got) != maxServers {
		t.Errorf("%d resolvers", len(got))
	}
	f.uplink.Learn(f.now(), Advertisement{Resolvers: []Resolvers{{[]netip.Addr{netip.MustParseAddr("2001:db8::53")}, time.Hour}}})
	if got := f.servers(f.now()); len(got) != 1 {
		t.Errorf("%v", got)
	}
}
