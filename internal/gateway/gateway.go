// Package gateway owns everything that translates for one tayga.conf: the translator
// with its tables, MTUs and own addresses, the pools of addresses, the workers, and
// what they have counted. Programs make it with Install, change it with Update while
// workers run, and ask it with Stats.
//
//	gateway.go  what a Gateway is made of; its workers
//	update.go   what can change while workers run: maps, MTU, own addresses, a CLAT
//	clat.go     the prefix and the addresses of a CLAT
//	pools.go    pools that lease addresses, and their upkeep
//	sessions.go sessions of hosts that share addresses, and their upkeep
//	fast.go     the program in the kernel that translates what it knows
//	learner.go  what a worker tells it
//	worker.go   workers
//	stats.go    what has been counted
//
// What is left to the program: to read files, to move packets, to save leases, to tell
// the time, to log, to handle signals. This package does no I/O.
//
//	                 tayga.conf, map-file
//	                          │ internal/taygaconf
//	                          ▼
//	Install, Update ──► Gateway ──► translate: Translator, Table, one Worker for each queue
//	                          ├───► pool: one for each prefix that pools are bound to
//	                          └───► session: Table of the hosts that share addresses
package gateway

import (
	"net/netip"
	"sync"
	"time"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/pool"
	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// A Config is what a Gateway is made of. Install checks it; later changes to it have
// no effect.
type Config struct {
	Conf    *taygaconf.Config // must not change any more
	MapFile taygaconf.MapFile // the zero value: none
	CLAT    *CLAT             // what a CLAT begins with; nil: the zero value, if Conf is that of one
	MTU     int               // of the device, in bytes; 0 means 1500
	Now     time.Time         // the clock of the pools starts here

	// OnEvent, if not nil, is called with what happens to leases. Several pools may
	// call it at once; see pool.Config for the rest.
	OnEvent func(pool.Event)
	// OnSession, if not nil, is called with what happens to bindings and blocks of ports;
	// see session.Config.OnEvent.
	OnSession func(session.Event)
}

// A Gateway translates. All its methods may be called at any time from any goroutine.
type Gateway struct {
	conf  *taygaconf.Config
	pools []*Pool
	trans *translate.Translator

	sessions  *session.Table // nil: no addresses are shared
	onSession func(session.Event)

	fast   fast
	idents translate.Idents // of the fast path

	updates sync.Mutex // one Update at a time, or change of the fast path

	mu       sync.Mutex        // guards what follows, and is not held for long
	tab      *translate.Table  // in force
	mapFile  taygaconf.MapFile // that is in force
	clat     *CLAT             // that is in force; nil: the gateway is none
	workers  []*Worker
	expireAt time.Time // of leases, the next pass
}

// Install makes a Gateway. Its pools have no leases yet: see pool.Load, and Fixed.
func Install(c Config) (*Gateway, error) {
	if c.CLAT == nil && c.Conf.CLAT.On {
		c.CLAT = new(CLAT)
	}
	if err := checkCLAT(&c); err != nil {
		return nil, err
	}
	g := &Gateway{conf: c.Conf, onSession: c.OnSession, mapFile: c.MapFile}
	if c.CLAT != nil {
		mine := *c.CLAT
		g.clat = &mine
	}
	g.fast.g, g.fast.prefixes = g, uint8(len(c.Conf.Table(nil, nil).Prefixes))
	for _, p := range c.Conf.Pools {
		q, err := g.newPool(c, p)
		if err != nil {
			return nil, err
		}
		g.pools = append(g.pools, q)
	}
	var err error
	if len(c.Conf.Stateful.Pools) > 0 {
		if g.sessions, err = session.New(g.sessionConfig(c.MapFile)); err != nil {
			return nil, err
		}
	}
	tab, err := translate.NewTable(g.tableConfig(c.MapFile.Maps, g.clat))
	if err != nil {
		return nil, err
	}
	if g.trans, err = translate.New(g.translatorConfig(c.MTU, g.clat), tab); err != nil {
		return nil, err
	}
	g.tab = tab
	return g, nil
}

// translatorConfig is that of tayga.conf, with the own addresses of a CLAT, if it is one.
func (g *Gateway) translatorConfig(mtu int, clat *CLAT) translate.Config {
	c := g.conf.Translator(mtu)
	if clat != nil {
		c.IPv4, c.IPv6 = clat.own4(g.conf), clat.IPv6
	}
	return c
}

// tableConfig lists the mappings of tayga.conf, the map-file and the pools, or those of a CLAT.
func (g *Gateway) tableConfig(maps []taygaconf.Map, clat *CLAT) translate.TableConfig {
	if clat != nil {
		return clat.table()
	}
	var pools []*pool.Pool
	for _, p := range g.pools {
		pools = append(pools, p.Pool)
	}
	c := g.conf.Table(maps, pools)
	if g.sessions != nil {
		c.Sessions = g.sessions
	}
	return c
}

// Worker returns the worker with a number, counted from 0. Each belongs to one
// goroutine at a time, and stays the same until Close.
func (g *Gateway) Worker(i int) *Worker {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.workers) <= i {
		g.workers = append(g.workers, g.newWorker())
	}
	return g.workers[i]
}

// Close gives back the memory of the workers, which must not be in use any more. What
// has been counted stays.
func (g *Gateway) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, w := range g.workers {
		w.Close()
	}
	g.workers = nil
}

// Fixed reports whether a host has no need of a lease and gets none: it has a map or an
// address inside a prefix, or is the gateway itself.
func (g *Gateway) Fixed(host netip.Addr) bool { return fixed(g.trans.Settings(), host) }

func fixed(s translate.Settings, host netip.Addr) bool { return host == s.IPv6 || s.Table.Fixed(host) }

// LargestMSS returns what the MSS of TCP connections is lowered to, 0 if it is not.
func (g *Gateway) LargestMSS() int { return g.trans.Settings().LargestMSS() }

// Warnings lists what is allowed in the settings in force and probably not meant.
func (g *Gateway) Warnings() []string { return g.trans.Warnings() }
