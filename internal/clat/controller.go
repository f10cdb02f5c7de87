package clat

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/steppe-nat64/steppe/internal/pref64"
)

// A host is the network of the machine.
type host interface {
	snapshot() (*snapshot, error)
	changed() <-chan struct{} // has a value when there is something to look at
	bounced() (down map[int]bool, filtered bool)
	forces() bool // there is the sysctl force_forwarding
	close() error
}

// A finder finds the prefix of an uplink: a pref64.Finder.
type finder interface {
	Run(context.Context, func(pref64.Found)) error
	Restart()
	Close() error
}

// A claimer claims addresses: Neighbours.
type claimer interface {
	Claim(ctx context.Context, index int, addr netip.Addr) error
	ClaimStable(ctx context.Context, index int, s Stable, avoid func(netip.Addr) bool) (netip.Addr, error)
	Release(index int, addr netip.Addr)
	Close() error
}

// A Controller runs a CLAT: it follows the network of the machine, and has the machine's
// settings and the translator changed accordingly. One goroutine, that of Run, has its state.
// All others send it events.
type Controller struct {
	cfg     Config
	host    host
	claimer claimer
	find    func(uplink string, report func(error)) (finder, error)
	release func() error // what find needs

	events  chan func() // for Run
	resumed chan struct{}
	closing chan struct{} // closed when Run takes no events any more
	running sync.WaitGroup
	own     atomic.Pointer[[]netip.Prefix]

	mu     sync.Mutex
	report Report

	// The rest is Run's.
	due time.Duration // until something is to be done

	snap     *snapshot
	dirty    bool // the snapshot is old
	filtered bool // what a snapshot does not show may have changed
	lookNext time.Time
	other    *OtherError
	device   int // the index of the CLAT's device

	anew  bool   // everything is to be looked for anew
	again damper // of that: a router that tells other resolvers all the time would end each search

	uplinks []*uplink                // the best first
	current *candidate               // an address that is taken
	next    *candidate               // one that is to be
	soon    bool                     // the kernel is checking an address of the uplink
	checked chan struct{}            // closed when the last check of an address is over
	crowded map[claimTo]string       // why there is no address
	lost    map[netip.Addr]time.Time // addresses that other nodes took, with when that was

	used       use // what plan is for; zero: nothing
	plan       plan
	done       bool // the machine and the translator are as planned
	translated Translation
	try        backoff
	repair     damper

	problems map[string]string
	limit    logLimit
	summary  string
}

const (
	leastLook = 50 * time.Millisecond // between two snapshots
	// renewal is for how long a prefix counts that has to be found again.
	renewal = 3 * time.Second
)

// Open opens all sockets of a Controller, in the network namespace of the calling thread. It
// needs CAP_NET_RAW, and CAP_NET_ADMIN to notice changes of nftables; what is done later needs
// no privilege. The error is an OtherError if another CLAT is active.
func Open(cfg Config) (_ *Controller, err error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("clat: %w", err)
	}
	c := newController(cfg)
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if c.host, err = openKernel(cfg.Device); err != nil {
		return nil, fmt.Errorf("clat: %w", err)
	}
	s, err := c.host.snapshot()
	if err != nil {
		return nil, fmt.Errorf("clat: look at the network: %w", err)
	}
	if other := s.other(cfg.Device, tunOwners); other != nil {
		return nil, fmt.Errorf("clat: %w", other)
	}
	n, err := OpenNeighbours(c.conflict)
	if err != nil {
		return nil, err
	}
	c.claimer = n
	l, err := pref64.Listen()
	if err != nil {
		return nil, err
	}
	c.release = l.Close
	c.find = func(uplink string, report func(error)) (finder, error) {
		return pref64.Open(pref64.Config{
			Interface: uplink, Servers: cfg.Servers, Resolvers: cfg.Resolvers, Listener: l,
			Own: func() []netip.Prefix { return *c.own.Load() }, Report: report,
		})
	}
	return c, nil
}

func newController(cfg Config) *Controller {
	c := &Controller{
		cfg: cfg, events: make(chan func()), resumed: make(chan struct{}, 1), closing: make(chan struct{}),
		crowded: map[claimTo]string{}, lost: map[netip.Addr]time.Time{}, problems: map[string]string{}, done: true,
	}
	c.own.Store(new([]netip.Prefix))
	c.report = Report{State: Searching, Since: time.Now(), Carrier: ByNone}
	return c
}

// Close closes the sockets. It is called once, after Run has returned, or instead of Run.
func (c *Controller) Close() error {
	var first error
	for _, closing := range []func() error{c.closeClaimer, c.release, c.closeHost} {
		if closing == nil {
			continue
		}
		if err := closing(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (c *Controller) closeClaimer() error {
	if c.claimer == nil {
		return nil
	}
	return c.claimer.Close()
}

func (c *Controller) closeHost() error {
	if c.host == nil {
		return nil
	}
	return c.host.close()
}

// Run runs the CLAT until ctx is done. Then all changes are undone. It is called once. The
// error is that of the undoing.
func (c *Controller) Run(ctx context.Context) error {
	c.dirty = true
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return c.end()
		case <-c.host.changed():
			c.dirty = true
		case <-c.resumed:
			c.anew = true
		case f := <-c.events:
			f()
		case <-timer.C:
		}
		timer.Reset(c.step(time.Now()))
	}
}

// end ends all that runs, and undoes what was done.
func (c *Controller) end() error {
	close(c.closing)
	c.follow(nil, time.Now())
	c.dropClaims()
	c.running.Wait()
	err := c.cfg.Apply(nil)
	if e := c.cfg.Update(Translation{}); err == nil {
		err = e
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.State, c.report.Since = Off, time.Now()
	if c.report.Carrier == ByCLAT {
		c.report.Carrier = ByNone
	}
	return err
}

// send gives an event to Run. It reports false if Run takes none any more.
func (c *Controller) send(f func()) bool {
	select {
	case c.events <- f:
		return true
	case <-c.closing:
		return false
	}
}

// Resumed says that the machine was suspended, or that its resolvers have changed: what was
// found is looked for anew. It may be called from any goroutine.
func (c *Controller) Resumed() {
	select {
	case c.resumed <- struct{}{}:
	default:
	}
}

// Report returns what the Controller has found. It may be called from any goroutine.
func (c *Controller) Report() Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.report
}

// step does what is due, and returns for how long there is nothing else to do.
func (c *Controller) step(now time.Time) time.Duration {
	c.due = never
	if c.anew && c.ready(c.again.wait(now)) {
		c.again.did(now)
		c.anew = false
		c.beginAnew(now)
	}
	c.look(now)
	if c.snap != nil {
		c.claim(now)
		c.work(now)
		c.publish(now)
	}
	return c.due
}

// ready reports whether a time is over, and has step called when it is.
func (c *Controller) ready(wait time.Duration) bool {
	if wait <= 0 {
		return true
	}
	c.due = min(c.due, wait)
	return false
}

// look takes a snapshot if something has changed, and follows it. Many changes at once cause
// few snapshots, and large routing tables do not keep it busy.
func (c *Controller) look(now time.Time) {
	if !c.dirty || !c.ready(c.lookNext.Sub(now)) {
		if c.snap != nil {
			c.follow(c.list(), now) // finders that failed
		}
		return
	}
	down, filtered := c.host.bounced()
	c.filtered = c.filtered || filtered
	c.forget(down)
	s, err := c.host.snapshot()
	after := time.Now()
	c.lookNext = after.Add(max(leastLook, 10*after.Sub(now)))
	if err != nil {
		c.lookNext = after.Add(time.Second)
		c.problem("look", fmt.Errorf("look at the network: %w", err))
		c.ready(time.Second)
		return
	}
	c.problem("look", nil)
	if index := s.indexOf(c.cfg.Device); index != c.device {
		// Another device: what failed without it need not wait.
		c.device = index
		c.try.succeeded()
	}
	c.dirty, c.snap = false, s
	c.other = s.other(c.cfg.Device, noOwners)
	list := c.list()
	c.follow(list, now)
	c.setOwn(s.own(c.cfg.Device, list))
}

// noOwners is for snapshots in a sandbox, from which other processes can't be seen.
func noOwners(string) []string { return nil }

// list lists the uplinks: none beside another CLAT.
func (c *Controller) list() []linkState {
	if c.other != nil {
		return nil
	}
	return c.snap.uplinks(c.cfg.Uplink, c.cfg.Device)
}

// beginAnew looks for everything anew, and goes on with what there is meanwhile.
func (c *Controller) beginAnew(now time.Time) {
	c.dirty = true
	clear(c.crowded)
	clear(c.lost)
	for _, u := range c.uplinks {
		u.renew(now)
	}
}
