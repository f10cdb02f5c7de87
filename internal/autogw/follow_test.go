package autogw

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/hostnet"
)

// a world is a machine that changes.
type world struct {
	t       *testing.T
	changed chan struct{}

	mu      sync.Mutex
	machine string
	applied [][]hostnet.Change
	fails   error
	logged  []string
}

func newWorld(t *testing.T, machine string) *world {
	return &world{t: t, machine: machine, changed: make(chan struct{}, 1)}
}

func (w *world) look() (*Machine, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return snapshot(w.t, w.machine), nil
}

func (w *world) become(machine string) {
	w.set(func() { w.machine = machine })
	w.changed <- struct{}{}
	time.Sleep(time.Second) // of the bubble
	synctest.Wait()
}

func (w *world) follow(plan *Plan, o Options) *Follower {
	return &Follower{
		Options: o, Plan: plan, Look: w.look, Changed: w.changed,
		Apply: func(list []hostnet.Change) (err error) {
			w.set(func() { w.applied, err = append(w.applied, list), w.fails })
			return err
		},
		Log: func(_ bool, text string) { w.log(text) },
	}
}

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) log(text string) { w.set(func() { w.logged = append(w.logged, text) }) }

// lines returns what was logged.
func (w *world) lines() (list []string) {
	w.set(func() { list = slices.Clone(w.logged) })
	return list
}

// all returns what was to be applied, and last what was last.
func (w *world) all() (list [][]hostnet.Change) {
	w.set(func() { list = slices.Clone(w.applied) })
	return list
}

func (w *world) last() []hostnet.Change {
	list := w.all()
	return list[len(list)-1]
}

// TestFollow changes the machine below a gateway.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, uplink+clients)
		plan, err := New(snapshot(t, w.machine), Options{})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		f := w.follow(plan, Options{})
		go func() { defer close(done); f.Begin(); f.Run(ctx) }()
		synctest.Wait()
		require.Len(t, w.all(), 2)
		require.Len(t, w.all()[0], 1, "routes before masquerading")
		require.NotNil(t, w.all()[0][0].NAT)
		assert.Equal(t, plan.Changes, w.last())

		// Running, the device is there, and is no rival.
		w.become(uplink + clients + "link nat64 kind tun running\naddr nat64 192.168.240.1/20\nroute 192.168.240.0/20 dev nat64 table 646")
		assert.Equal(t, plan.Changes, w.last())
		assert.Empty(t, w.lines())

		w.become(clients)
		assert.Equal(t, []string{"there is no way to IPv4 yet: no IPv4 default route: the gateway stays as it is"}, w.lines())
		w.become(clients + "link eth5")
		assert.Len(t, w.lines(), 1, "the same line again")

		w.become(clients + "link wlan0\naddr wlan0 10.1.1.1/24\nroute 0.0.0.0/0 via 10.1.1.2 dev wlan0\nlink eth3\naddr eth3 fd00:3::1/64")
		assert.Equal(t, []string{"IPv4 by wlan0", "Clients at eth3, which has fd00:3::/64"}, w.lines()[1:])
		assert.NotEqual(t, plan.Changes, w.last())

		// The former uplink leads to hosts that are no clients, also without a default route.
		w.become(clients + "link wlan0\naddr wlan0 10.1.1.1/24\nroute 0.0.0.0/0 via 10.1.1.2 dev wlan0\nlink eth3\naddr eth3 fd00:3::1/64\nlink eth0\naddr eth0 2001:db8:ffff::2/64")
		assert.Len(t, w.lines(), 3, "%q", w.lines())
		before := w.last()

		// A VPN comes to use the pool.
		w.become(uplink + clients + "link tun0 kind tun\nroute 192.168.0.0/16 dev tun0")
		assert.Contains(t, w.lines()[3], "this machine has come to use 192.168.240.0/20")
		assert.Equal(t, before, w.last())

		// Another program deletes rules: they come back by and by.
		n := len(w.all())
		time.Sleep(2 * restore)
		synctest.Wait()
		assert.Greater(t, len(w.all()), n)
		cancel()
		<-done
	})
}

// TestFollowFailure logs an error once, however often it happens.
func TestFollowFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, uplink+clients)
		plan, err := New(snapshot(t, w.machine), Options{})
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		w.fails = errors.New("no nftables")
		f := w.follow(plan, Options{})
		f.Begin()
		f.Run(ctx)
		assert.Greater(t, len(w.all()), 3)
		for _, list := range w.all() {
			assert.Len(t, list, 1, "without masquerading, addresses of the pool would leave")
		}
		assert.Equal(t, []string{"no nftables: clients get no translation, since their addresses can't be masqueraded"}, w.lines())

		w.set(func() { w.fails = nil })
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		f.Run(ctx)
		assert.Equal(t, plan.Changes, w.last())
	})
}

// TestKeep: a routed block, or another plan's pool, does not end connections.
func TestKeep(t *testing.T) {
	plan, err := New(snapshot(t, uplink+clients), Options{})
	require.NoError(t, err)
	later, err := New(snapshot(t, uplink+clients+"route blackhole 9.9.7.0/28"), Options{Keep: plan})
	require.NoError(t, err)
	assert.Equal(t, plan.Config, later.Config)

	shared, err := New(snapshot(t, uplink+clients+"route blackhole 9.9.7.0/28"), Options{})
	require.NoError(t, err)
	require.True(t, shared.Shared)
	later, err = New(snapshot(t, uplink+clients), Options{Keep: shared})
	require.NoError(t, err)
	assert.Equal(t, shared.Config, later.Config)
}

// TestAwait waits for IPv4 with growing pauses, and goes on at once when it comes.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, clients)
		var looks atomic.Int64
		look := func() (*Machine, error) { looks.Add(1); return w.look() }
		var plan *Plan
		var err error
		done := make(chan struct{})
		go func() {
			defer close(done)
			plan, err = Await(t.Context(), Options{}, look, w.changed, w.log)
		}()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		assert.Equal(t, []string{"there is no way to IPv4 yet: no IPv4 default route: waiting for it"}, w.lines())
		assert.Less(t, looks.Load(), int64(20))
		w.set(func() { w.machine = uplink + clients })
		w.changed <- struct{}{}
		begin := time.Now()
		<-done
		require.NoError(t, err)
		assert.Equal(t, "eth0", plan.WAN)
		assert.Less(t, time.Since(begin), time.Second)

		_, err = Await(t.Context(), Options{LAN: []string{"eth9"}}, look, w.changed, nil)
		assert.ErrorContains(t, err, "no such interface")
	})
}

// TestAwaitEnds when it is told so.
func TestAwaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, clients)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := Await(ctx, Options{}, w.look, w.changed, func(string) {})
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	})
}
