package gateway

import (
	"sync/atomic"
	"time"

	"github.com/steppe-nat64/steppe/fastpath"
	"github.com/steppe-nat64/steppe/pool"
	"github.com/steppe-nat64/steppe/translate"
)

// A FastPath is the program in the kernel that translates what it knows, and how its clock
// and that of the workers go together.
type FastPath struct {
	Cache *fastpath.Cache
	// Start is the time by CLOCK_MONOTONIC at which the time that workers are given is 0.
	Start time.Duration
	// Now returns the time that workers are given.
	Now func() time.Duration
}

// A fast is a gateway's side of its fast path.
type fast struct {
	g    *Gateway
	path atomic.Pointer[FastPath] // nil: there is none
	full atomic.Bool              // an entry had no room
	void atomic.Bool              // entries were made void

	prefixes uint8 // how many have numbers

	on bool // packets may pass by it, while no Update is under way; guarded by Gateway.updates
}

// FastRules returns nil if the configuration can have a fast path, or else what keeps it from
// that, in one line. A CLAT can have one before its prefix is known.
func (g *Gateway) FastRules() error {
	_, err := g.fastRules()
	return err
}

func (g *Gateway) fastRules() (*fastpath.Rules, error) {
	s := g.trans.Settings()
	cfg := g.conf.Translator(s.MTU4)
	cfg.IPv4, cfg.IPv6 = s.IPv4, s.IPv6
	g.mu.Lock()
	maps, clat := g.mapFile.Maps, g.clat
	g.mu.Unlock()
	if clat != nil && !clat.maps() {
		return fastpath.NewRules(cfg, possibleTables()[0])
	}
	return fastpath.NewRules(cfg, g.tableConfig(maps, clat))
}

// translates reports whether there is anything to translate.
func (g *Gateway) translates() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.clat == nil || g.clat.maps()
}

// ProveFastPath is fastpath.Prove for the configuration: for a CLAT, with prefixes of each
// length.
func (g *Gateway) ProveFastPath() error {
	g.mu.Lock()
	clat := g.clat
	g.mu.Unlock()
	if clat == nil {
		return fastpath.Prove(g.conf.Translator(0), g.tableConfig(nil, nil))
	}
	tables := possibleTables()
	if clat.maps() {
		tables = append(tables, clat.table())
	}
	return fastpath.Prove(g.translatorConfig(0, clat), tables...)
}

// SetFastPath gives the gateway its fast path, before its first worker is made. Nothing passes
// by it before StartFastPath. The cache stays open for as long as there are workers.
func (g *Gateway) SetFastPath(p FastPath) error {
	ids, err := g.trans.SetIdentMemory(p.Cache.IdentMemory())
	if err != nil {
		return err
	}
	g.idents = ids
	g.fast.path.Store(&p)
	return nil
}

// StartFastPath lets packets pass by the fast path, which is attached to the device.
func (g *Gateway) StartFastPath() error {
	g.updates.Lock()
	defer g.updates.Unlock()
	f := &g.fast
	f.on = f.path.Load() != nil
	return f.resume()
}

// StopFastPath has all packets pass by the workers, from the next one on.
func (g *Gateway) StopFastPath() {
	g.updates.Lock()
	defer g.updates.Unlock()
	f := &g.fast
	f.on = false
	f.pause()
}

// pause makes void what the fast path knows.
func (f *fast) pause() {
	if p := f.path.Load(); p != nil {
		p.Cache.Off()
		f.void.Store(true)
	}
}

// resume puts the rules in force that follow from the settings of the translator, if packets
// may pass. The caller has Gateway.updates.
func (f *fast) resume() error {
	p := f.path.Load()
	if p == nil || !f.on || !f.g.translates() {
		return nil
	}
	r, err := f.g.fastRules()
	if err != nil {
		return err
	}
	p.Cache.SetRules(r.WithIdents(f.g.idents), p.Start)
	return nil
}

// fastCounts returns what the fast path has counted, nil without one.
func (g *Gateway) fastCounts() []fastpath.Count {
	p := g.fast.path.Load()
	if p == nil {
		return nil
	}
	counts, err := p.Cache.Counts()
	if err != nil {
		return nil
	}
	return counts
}

// idle is how long a host may be unused that has to leave a full cache.
const idle = 5 * time.Minute

// sweep removes what the fast path does not need any more.
func (f *fast) sweep() {
	p := f.path.Load()
	full := f.full.Swap(false)
	if p == nil || !f.void.Swap(false) && !full {
		return
	}
	// Sweep forgets the use of what it removes.
	f.g.RefreshLeases()
	if t := f.g.sessions; t != nil {
		t.Refresh()
	}
	since := fastpath.Use(0)
	if now := p.Start + p.Now(); full && now > idle {
		since = fastpath.Use(now - idle)
	}
	if _, err := p.Cache.Sweep(since); err != nil {
		f.void.Store(true)
	}
}

// since returns when the last use of an entry was at the latest, by the time of workers: the
// fast path notes it rounded down.
func (p *FastPath) since(u fastpath.Use) time.Duration {
	return min(time.Duration(u)+1<<30-1-p.Start, p.Now())
}

// used answers pool.Config.Used.
func (f *fast) used(host [16]byte, addr [4]byte) (from, to time.Duration) {
	p := f.path.Load()
	if p == nil {
		return -1, -1
	}
	last := fastpath.Use(0)
	for n := range f.prefixes {
		last = max(last, p.Cache.UsedHost6(host, n+1, addr))
	}
	return p.ago(last), p.ago(p.Cache.UsedHost4(addr, host))
}

func (p *FastPath) ago(u fastpath.Use) time.Duration {
	if u == 0 {
		return -1
	}
	return max(p.Now()-p.since(u), 0)
}

// leaseChanged forgets a host that has lost its lease.
func (f *fast) leaseChanged(e pool.Event) {
	p := f.path.Load()
	if p == nil {
		return
	}
	host := e.Host
	switch e.Kind {
	case pool.Dormant, pool.Removed, pool.Forgotten:
	case pool.Reassigned:
		host = e.Old
	default:
		return
	}
	f.forget(p, host.As16(), e.Addr.As4())
}

func (f *fast) forget(p *FastPath, host [16]byte, addr [4]byte) {
	// An error says that the entry is not there, or that the cache is closed.
	p.Cache.DeleteHost4(addr)
	for n := range f.prefixes {
		p.Cache.DeleteHost6(host, n+1)
	}
}

// leases changes whenever a lease has ended.
func (f *fast) leases() (sum uint64) {
	for _, p := range f.g.pools {
		sum += p.Generation()
	}
	return sum
}

// Begin, Used and End make the fast path a session.Path.
func (f *fast) Begin(f6 *translate.Tuple6, f4 *translate.Tuple4, generation uint32) bool {
	p := f.path.Load()
	if p == nil || generation != p.Cache.Generation() {
		return false
	}
	if err := p.Cache.PutSession(generation, f6, f4); err != nil {
		f.full.Store(true)
		return false
	}
	return true
}

func (f *fast) Used(f6 *translate.Tuple6, f4 *translate.Tuple4) (time.Duration, bool) {
	p := f.path.Load()
	if p == nil {
		return 0, false
	}
	out, in := p.Cache.UsedSession(f6, f4)
	last := max(out, in)
	return p.since(last), last != 0
}

func (f *fast) End(f6 *translate.Tuple6, f4 *translate.Tuple4) {
	if p := f.path.Load(); p != nil {
		p.Cache.DeleteSession(f6, f4)
	}
}
