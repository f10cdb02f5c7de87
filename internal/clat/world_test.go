package clat

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/steppe-nat64/steppe/internal/hostnet"
	"github.com/steppe-nat64/steppe/internal/pref64"
)

const (
	clatIndex = 9
	ethIndex  = 2
	wlanIndex = 3
)

// A world is a Controller with a machine, a network and a translator that a test changes. Time
// is that of a synctest bubble.
type world struct {
	t *testing.T
	c *Controller

	mu        sync.Mutex
	base      snapshot // without what the CLAT does
	applied   []hostnet.Change
	wants     []hostnet.Change // of the last call of Apply
	applies   int
	looks     int
	applyErr  error
	updateErr error
	missing   func(hostnet.Change) bool // changes that Apply does not make
	trans     Translation
	changes   chan struct{}
	down      map[int]bool
	filtered  bool
	finders   map[string]*testFinder
	taken     map[netip.Addr]bool // by other nodes
	checking  map[netip.Addr]bool // by Claim
	claims    map[netip.Addr]int  // ours, with the index of the uplink
	logs      []string

	cancel context.CancelFunc
	ended  chan error
}

// inWorld runs a test on a machine with an uplink eth0 in 2001:db8:1::/64.
func inWorld(t *testing.T, change func(*Config), f func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, change)
		f(w)
		w.end()
	})
}

func newWorld(t *testing.T, change func(*Config)) *world {
	w := &world{
		t: t, changes: make(chan struct{}, 1), down: map[int]bool{}, finders: map[string]*testFinder{},
		taken: map[netip.Addr]bool{}, claims: map[netip.Addr]int{}, checking: map[netip.Addr]bool{}, ended: make(chan error, 1),
		missing: func(hostnet.Change) bool { return false },
	}
	w.base.links = []linkState{
		{index: 1, name: "lo", up: true, running: true, loopback: true, mtu: 65536, mtu6: 65536},
		{index: ethIndex, name: "eth0", up: true, running: true, mtu: 1500, mtu6: 1500},
		{index: clatIndex, name: "clat", kind: "tun", up: false, running: true, direct: true, mtu: 1500},
	}
	w.base.addrs = []addrState{hostAddr("2001:db8:1::5/64", ethIndex)}
	w.base.routes = []routeState{route("::/0", "fe80::1", ethIndex, 1024), route("2001:db8:1::/64", "", ethIndex, 256)}
	cfg := Config{
		Device: "clat", Secret: bytes.Repeat([]byte{7}, 16), Guard: true,
		Apply: w.apply, Update: w.update,
		Log: func(_ Severity, text string) { w.set(func() { w.logs = append(w.logs, text) }) },
	}
	if change != nil {
		change(&cfg)
	}
	if err := cfg.check(); err != nil {
		t.Fatal(err)
	}
	w.c = newController(cfg)
	w.c.host, w.c.claimer, w.c.find = w, (*testClaimer)(w), w.find
	ctx, cancel := context.WithCancel(t.Context())
	w.cancel = cancel
	go func() { w.ended <- w.c.Run(ctx) }()
	synctest.Wait()
	return w
}

// end ends the Controller. Nothing of what it did may be left.
func (w *world) end() {
	w.t.Helper()
	w.set(w.cancel)
	if err := <-w.ended; err != nil && w.applyErr == nil && w.updateErr == nil {
		w.t.Errorf("Run: %v", err)
	}
	if len(w.applied) > 0 || len(w.claims) > 0 || w.trans != (Translation{}) {
		w.t.Errorf("left: %v, %v, %+v", w.applied, w.claims, w.trans)
	}
	for name, f := range w.finders {
		if !f.closed {
			w.t.Errorf("the finder of %s is not closed", name)
		}
	}
}

func hostAddr(prefix string, index int) addrState {
	return addrState{index: index, prefix: netip.MustParsePrefix(prefix), global: true}
}

func route(dst, via string, index, metric int) routeState {
	r := routeState{index: index, dst: netip.MustParsePrefix(dst), table: mainTable, metric: metric, unicast: true}
	if via != "" {
		r.via = netip.MustParseAddr(via)
	}
	return r
}

// change changes the machine, as another program does.
func (w *world) change(f func(*snapshot)) {
	w.mu.Lock()
	f(&w.base)
	w.mu.Unlock()
	w.notify()
	w.pass(0)
}

// set changes what the fakes do.
func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) notify() {
	select {
	case w.changes <- struct{}{}:
	default:
	}
}

// pass lets time pass, and the Controller do what it does meanwhile.
func (w *world) pass(d time.Duration) {
	w.set(func() {}) // what the test has read comes before what is written now
	if d > 0 {
		time.Sleep(d)
	}
	synctest.Wait()
}

func (w *world) snapshot() (*snapshot, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	s := &snapshot{
		links: slices.Clone(w.base.links), addrs: slices.Clone(w.base.addrs),
		routes: slices.Clone(w.base.routes), rules: slices.Clone(w.base.rules),
	}
	for _, c := range w.applied {
		s.make(c)
	}
	return s, nil
}

// make changes a snapshot as the kernel does the machine.
func (s *snapshot) make(c hostnet.Change) {
	switch {
	case c.Link != nil:
		if l := s.linkByName(c.Link.Device); l != nil {
			l.up, l.mtu = true, c.Link.MTU
		}
	case c.Address != nil:
		s.addrs = append(s.addrs, addrState{index: clatIndex, prefix: c.Address.Prefix, global: true})
	case c.Route != nil:
		r := c.Route
		l := s.linkByName(r.Device)
		if l == nil {
			return
		}
		state := routeState{index: l.index, dst: r.Dst, via: r.Via, src: r.Src, table: r.Table, metric: r.Metric, mtu: r.MTU, unicast: true}
		if state.table == 0 {
			state.table = mainTable
		}
		if state.metric == 0 && r.Dst.Addr().Is6() {
			state.metric = 1024
		}
		s.routes = append(s.routes, state)
	case c.Rule != nil:
		s.rules = append(s.rules, *c.Rule)
	}
}

func (w *world) changed() <-chan struct{} { return w.changes }

func (w *world) bounced() (map[int]bool, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	down, filtered := w.down, w.filtered
	w.down, w.filtered = map[int]bool{}, false
	return down, filtered
}

func (w *world) forces() bool { return true }

func (w *world) close() error { return nil }

func (w *world) apply(list []hostnet.Change) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.notify()
	w.applies++
	w.wants = list
	for _, c := range list {
		if err := (hostnet.Policy{Device: "clat"}).Allows(c); err != nil {
			w.t.Errorf("Apply: %v", err)
		}
	}
	if w.applyErr != nil && len(list) > 0 {
		return w.applyErr
	}
	w.applied = slices.DeleteFunc(slices.Clone(list), w.missing)
	if len(w.applied) < len(list) {
		return errors.New("not all of it")
	}
	return nil
}

func (w *world) update(t Translation) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.updateErr == nil {
		w.trans = t
	}
	return w.updateErr
}

// A testFinder finds what the test says.
type testFinder struct {
	w        *world
	report   func(error)
	found    chan pref64.Found
	fail     chan error
	restarts int
	closed   bool
}

func (w *world) find(uplink string, report func(error)) (finder, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := &testFinder{w: w, report: report, found: make(chan pref64.Found), fail: make(chan error)}
	w.finders[uplink] = f
	return f, nil
}

func (f *testFinder) Run(ctx context.Context, found func(pref64.Found)) error {
	for {
		select {
		case x := <-f.found:
			found(x)
		case err := <-f.fail:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *testFinder) Restart() { f.w.set(func() { f.restarts++ }) }

func (f *testFinder) Close() error {
	f.w.set(func() { f.closed = true })
	return nil
}

// finds has the finder of an uplink find a prefix, "" for none, from a router.
func (w *world) finds(uplink, prefix string) {
	w.t.Helper()
	f := w.finders[uplink]
	if f == nil || f.closed {
		w.t.Fatalf("no finder on %s", uplink)
	}
	var found pref64.Found
	if prefix != "" {
		found = pref64.Found{Prefix: netip.MustParsePrefix(prefix), Source: pref64.FromAdvertisement, Router: netip.MustParseAddr("fe80::1")}
	}
	w.set(func() {})
	f.found <- found
	w.pass(0)
}

// A testClaimer takes a second for each address, as duplicate address detection does.
type testClaimer world

func (c *testClaimer) Claim(ctx context.Context, index int, addr netip.Addr) error {
	c.mu.Lock()
	twice := c.checking[addr]
	c.checking[addr] = true
	c.mu.Unlock()
	if twice {
		return errors.New("is being claimed already")
	}
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.checking, addr)
	}()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		time.Sleep(time.Millisecond) // on a loaded machine it ends late
		return ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.taken[addr] {
		return ErrDuplicate
	}
	c.claims[addr] = index
	return nil
}

func (c *testClaimer) ClaimStable(ctx context.Context, index int, s Stable, avoid func(netip.Addr) bool) (netip.Addr, error) {
	for counter := range uint32(1 + idgenRetries) {
		a, ok := s.Address(counter)
		if !ok || avoid(a) {
			continue
		}
		if err := c.Claim(ctx, index, a); !errors.Is(err, ErrDuplicate) {
			return a, err
		}
	}
	return netip.Addr{}, ErrDuplicate
}

func (c *testClaimer) Release(index int, addr netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.claims[addr] == index {
		delete(c.claims, addr)
	}
}

func (c *testClaimer) Close() error { return nil }

// stable returns a stable address of the CLAT on eth0.
func (w *world) stable(net string, counter uint32) netip.Addr {
	a, _ := Stable{Secret: w.c.cfg.Secret, Prefix: netip.MustParsePrefix(net), Interface: "eth0"}.Address(counter)
	return a
}

// is checks the state, and that translator and machine are as it says.
func (w *world) is(state State, prefix string, addr netip.Addr) {
	w.t.Helper()
	r := w.c.Report()
	if r.State != state {
		w.t.Fatalf("state %s, want %s (last error: %q)", r.State, state, r.LastError)
	}
	if state != On {
		if state != Off && (len(w.applied) > 0 || w.trans != (Translation{})) {
			w.t.Fatalf("%s: %v, %+v", state, w.applied, w.trans)
		}
		return
	}
	want := Translation{Prefix: netip.MustParsePrefix(prefix), Host4: host4, Host6: addr, Own4: own4}
	if w.trans != want || r.Prefix != want.Prefix || r.Host6 != addr {
		w.t.Fatalf("translation %+v, report %+v, want %+v", w.trans, r, want)
	}
}

// metric returns the metric of the CLAT's IPv4 default route in main, -1 without one.
func (w *world) metric() int {
	for _, c := range w.applied {
		if r := c.Route; r != nil && r.Table == 0 && r.Dst.Addr().Is4() {
			return r.Metric
		}
	}
	return -1
}
