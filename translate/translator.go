package translate

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Translator holds configuration and tables; its Workers do the work. All its
// methods may be called at any time from any goroutine.
type Translator struct {
	last4, last6 atomic.Uint64 // sources of errors that were chosen last: see pick
	ids          identSpace

	state atomic.Pointer[state]

	mu      sync.Mutex // guards what follows and writes to state
	workers []*Worker
	closed  Stats // of workers that are closed
}

// state is what Update replaces while workers run. It is immutable; workers load it
// once per batch.
type state struct {
	cfg        Config
	tab        *Table
	own4       addr4 // cfg.IPv4, or 0.0.0.0, which no packet may have
	own6       addr6
	sources4   []addr4 // for errors from sources without a mapping: RFC 6791
	sources6   []addr6
	mtu4, mtu6 int
	cut6       int    // size of the IPv6 packets that IPv4 packets without DF become
	mss        uint16 // see mssClamp
	allowed    [errorClasses]allowance
	dynamics   []Dynamic     // of all pools
	emitter    emitter       // nil: no packet waits
	deferred   *deferred     // that is the emitter; nil until hosts share addresses
	holder     SYNHolder     // the Sessions of tab, if they are one
	fetcher    Fetcher       // the same
	prober     Prober        // the same, if it has anything to probe
	ask        time.Duration // when a worker is to ask them first
	ownShared  bool          // hosts share own4
	own6Shared bool          // and own6 is own4 inside a prefix
}

// newState makes a state that follows prev, or the first if that is nil. Its error names
// the invalid field of cfg.
func newState(cfg Config, tab *Table, prev *state) (*state, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if tab == nil {
		return nil, errors.New("translate: no table")
	}
	s := &state{
		cfg: cfg, tab: tab,
		mtu4: cfg.MTU4, mtu6: cfg.MTU6, cut6: min(cfg.LowestIPv6MTU, cfg.MTU6),
		mss: cfg.mssClamp(),
	}
	if cfg.IPv4.IsValid() {
		s.own4 = make4(cfg.IPv4.As4())
		s.sources4 = []addr4{s.own4}
		s.ownShared = tab.shares4(s.own4)
	}
	if cfg.IPv6.IsValid() {
		s.own6 = make6(cfg.IPv6.As16())
		s.own6Shared = s.ownShared && tab.embeds4(s.own6, s.own4)
		s.sources6 = []addr6{s.own6}
	}
	if len(cfg.ICMPPool4) > 0 {
		s.sources4 = nil
		for _, a := range cfg.ICMPPool4 {
			s.sources4 = append(s.sources4, make4(a.As4()))
		}
	}
	if len(cfg.ICMPPool6) > 0 {
		s.sources6 = nil
		for _, a := range cfg.ICMPPool6 {
			s.sources6 = append(s.sources6, make6(a.As16()))
		}
	}
	if prev == nil {
		prev = new(state)
	}
	if s.deferred, err = newDeferred(prev.deferred, &cfg, tab); err != nil {
		return nil, err
	}
	if s.deferred != nil {
		s.emitter = s.deferred
	}
	s.holder, _ = tab.sessions.(SYNHolder)
	s.fetcher, _ = tab.sessions.(Fetcher)
	s.ask = Never // of a SYN the worker knows that holds it
	if p, ok := tab.sessions.(Prober); ok {
		if _, next := p.Probes(0, nil); next != Never {
			s.prober, s.ask = p, math.MinInt64
		}
	}
	s.allowed[otherErrors] = newAllowance(cfg.ErrorRate, cfg.ErrorBurst)
	s.allowed[mtuErrors] = newAllowance(cfg.MTUErrorRate, cfg.MTUErrorBurst)
	for _, pool := range tab.pools {
		if pool.Dynamic != nil {
			s.dynamics = append(s.dynamics, pool.Dynamic)
		}
	}
	return s, nil
}

// leases changes whenever an address that a Dynamic has named leads elsewhere.
func (s *state) leases() (generation uint64) {
	for _, d := range s.dynamics {
		generation += d.Generation()
	}
	return generation
}

// New makes a Translator. Its error names the invalid field of cfg. tab must not be nil.
func New(cfg Config, tab *Table) (*Translator, error) {
	s, err := newState(cfg, tab, nil)
	if err != nil {
		return nil, err
	}
	if err := s.exclude(); err != nil {
		return nil, err
	}
	t := new(Translator)
	t.ids.init()
	t.state.Store(s)
	return t, nil
}

// Settings are the configuration and the table of a Translator. Zero values of Config
// are replaced by the defaults.
type Settings struct {
	Config
	Table *Table
}

// Settings returns the settings in force.
func (t *Translator) Settings() Settings {
	s := t.state.Load()
	return Settings{s.cfg, s.tab}
}

// Update changes the settings while workers run: it calls change with the current
// settings, and applies them as changed. A worker uses them from its next call of
// Translate or TranslateBatch; no packet sees a mixture. Update calls Exclude of a pool
// that is an Excluder, with the addresses that have a Map now. It returns the errors of
// New, and then nothing has changed. change must not call t.
func (t *Translator) Update(change func(*Settings)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.state.Load()
	c := Settings{now.cfg, now.tab}
	change(&c)
	s, err := newState(c.Config, c.Table, now)
	if err != nil {
		return err
	}
	if err := s.exclude(); err != nil {
		return err
	}
	t.state.Store(s)
	return nil
}

// A Worker translates packets for one goroutine at a time. It owns its counters, its
// budget of ICMP errors, and identifications in blocks. Workers take no lock. They share
// three things that they write to: the counters from which blocks of identifications are
// taken, the source that was chosen last for errors of routers without a mapping, and
// the pools. Where hosts share addresses, fragments take a lock. A worker allocates nothing
// after NewWorker, but for Append, and once when hosts begin to share addresses.
type Worker struct {
	_ noCopy

	t     *Translator
	s     *state // loaded once per batch
	stamp uint64 // of s, leases and the current second: see begin
	rnd   rand.PCG

	counters *identCounters // of t
	ids      *identBlocks
	random   randomIdents
	clock    uint32 // of identifications: ticks of now

	flows4, flows6 *[flowSlots]flow
	flowKeys       flowKeys
	touched        uint64 // the sum of what was read early, so that the compiler keeps the reads

	now    time.Duration // the latest that was passed
	second int64         // of now
	leases uint64        // generation of the results of the Dynamics

	// What Sessions are asked for, and what they answer. An interface needs memory that is
	// there already. They are written and read field by field: a copy of a whole one reads
	// more bytes at once than were written, which a processor waits for.
	tuple4 Tuple4
	tuple6 Tuple6

	strange   int    // packets of sessions since the last batch whose addresses were not remembered
	strangers int    // the same of the batches before, which count half of the next one each
	ahead     *ahead // nil if Sessions are no Fetcher

	budgets *[errorClasses]errorBudget // for originated errors

	node [maxNodeStruct]byte // an extension structure being built

	counts  counts
	scratch []Packet // of Append

	// Fragments of shared addresses.
	frag      fragKey   // the packet of the fragment in hand
	fragWhole bool      // it is reassembled
	ready     readyList // for Emit
	whole     Packet    // reassembled: what is left of it for Emit
	assembled bool      // whole is being translated

	asked   time.Duration // when to ask Sessions for packets of their own
	toProbe [1]Tuple6     // what they say
}

// NewWorker returns a worker for one goroutine. The Translator keeps it, since its
// counters go into Stats, until it is closed.
func (t *Translator) NewWorker() *Worker {
	w := &Worker{
		t: t, budgets: newErrorBudgets(t.state.Load()), now: math.MinInt64,
		flows4:   new([flowSlots]flow),
		flows6:   new([flowSlots]flow),
		flowKeys: newFlowKeys(),
		counters: t.ids.counters,
		ids:      new(identBlocks),
		random:   newRandomIdents(),
	}
	w.begin(w.now)
	w.rnd.Seed(rand.Uint64(), rand.Uint64())
	t.mu.Lock()
	defer t.mu.Unlock()
	t.workers = append(t.workers, w)
	return w
}

// Close releases the worker's memory. Its counts stay in Stats. The worker must not be in
// use; after Close, all its methods except Close panic.
func (w *Worker) Close() {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	i := slices.Index(w.t.workers, w)
	if i < 0 {
		return
	}
	w.t.workers = slices.Delete(w.t.workers, i, i+1)
	w.drain()
	w.counts.publish()
	w.counts.addTo(&w.t.closed)
	w.flows4, w.flows6, w.ids, w.counters, w.budgets, w.scratch, w.s = nil, nil, nil, nil, nil, nil, nil
}

// begin is called at the start of a batch: it takes the time and loads what all
// workers share. The latest time counts, so a clock that goes back and callers with
// different clocks do no harm.
//
// The worker's cache of flows is void when tables, MTUs or leases have changed. It is
// also void after a second, so that a Dynamic sees which leases are in use.
func (w *Worker) begin(now time.Duration) {
	s := w.t.state.Load()
	if now > w.now || s != w.s {
		passed := uint64(max(now, w.now)) - uint64(w.now)
		for c := range w.budgets {
			w.budgets[c].refill(&s.allowed[c], passed)
		}
		w.now = max(now, w.now)
		w.clock = uint32(w.now >> clockShift)
	}
	second, leases := int64(w.now/time.Second), s.leases()
	if s != w.s || second != w.second || leases != w.leases {
		if s != w.s {
			w.asked = s.ask
		}
		w.s, w.second, w.leases = s, second, leases
		w.stamp++
		if s.fetcher != nil && w.ahead == nil {
			w.ahead = new(ahead)
		}
		if s.deferred != nil && w.whole.Buf == nil {
			w.whole.Buf = make([]byte, Headroom+len6+maxLen+Tailroom)
		}
	}
}

// Translate checks p and translates it in place; it also stores the result in p.Result.
// It reads nothing outside p's window, and writes nothing outside p's window, Headroom
// and Tailroom; it panics if the buffer lacks them. A dropped packet is unchanged.
//
// now is a reading of any monotonic clock, the same for all calls, such as the time
// since the program started. It refills the budgets for ICMP errors, and lets a
// Dynamic see, once a second, which leases are in use. If now never advances, the worker
// originates one burst of ICMP errors and no more.
func (w *Worker) Translate(now time.Duration, p *Packet) Result {
	w.begin(now)
	w.process(p)
	w.counts.publish()
	return p.Result
}

// TranslateBatch does what Translate does for each packet of ps, and is cheaper:
// it loads the tables and publishes the counters once.
func (w *Worker) TranslateBatch(now time.Duration, ps []Packet) {
	w.begin(now)
	w.fetch(ps)
	if w.strange|w.strangers != 0 {
		w.fetchSessions(ps)
	}
	for i := range ps {
		w.process(&ps[i])
	}
	w.counts.publish()
}

// process translates one packet: the steps of its family, the verdict, the counter.
func (w *Worker) process(p *Packet) {
	if room := max(0, len(p.Buf)-Tailroom); p.Off < Headroom || p.Len < 0 || uint(p.Off)+uint(p.Len) > uint(room) {
		panic(fmt.Sprintf("translate: window %d+%d of %d bytes leaves too little room", p.Off, p.Len, len(p.Buf)))
	}
	n, dir := p.Len, NoFamily
	p.Result = Result{Drop, BadHeader}
	if n > 0 {
		switch p.Buf[p.Off] >> 4 {
		case 4:
			dir = V4ToV6
			p.Result = w.v4to6(p)
		case 6:
			dir = V6ToV4
			p.Result = w.v6to4(p)
		}
	}
	if p.Result.Reason != Waiting { // that is counted once it is known what becomes of it
		w.counts.add(dir, p.Result, n)
	}
}

func drop(why Reason) Result { return Result{Drop, why} }

// window moves p's window.
func (p *Packet) window(off, n int) { p.Off, p.Len = off, n }
