// Package gateway owns everything that translates for one tayga.conf: the translator
// with its tables, MTUs and own addresses, the pools of addresses, the workers, and
// what they have counted. Programs make it with Install, change it with Update while
// workers run, and ask it with Stats.
//
//	gateway.go  what a Gateway is made of; its workers
//	update.go   what can change while workers run: maps, MTU, own addresses
//	pools.go    pools that lease addresses, and their upkeep
//	stats.go    what has been counted
//
// What is left to the program: to read files, to move packets, to save leases, to tell
// the time, to log, to handle signals. This package does no I/O.
//
//	                 tayga.conf, map-file
//	                          │ internal/taygaconf
//	                          ▼
//	Install, Update ──► Gateway ──► translate: Translator, Table, one Worker for each queue
//	                          └───► pool: one for each prefix that pools are bound to
package gateway

import (
	"net/netip"
	"sync"
	"time"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/pool"
	"github.com/steppe-nat64/steppe/translate"
)

// A Config is what a Gateway is made of. Install checks it; later changes to it have
// no effect.
type Config struct {
	Conf *taygaconf.Config // must not change any more
	Maps []taygaconf.Map   // of the map-file
	MTU  int               // of the device, in bytes; 0 means 1500
	Now  time.Time         // the clock of the pools starts here

	// OnEvent, if not nil, is called with what happens to leases. Several pools may
	// call it at once; see pool.Config for the rest.
	OnEvent func(pool.Event)
}

// A Gateway translates. All its methods may be called at any time from any goroutine.
type Gateway struct {
	conf  *taygaconf.Config
	pools []*Pool
	trans *translate.Translator

	updates sync.Mutex // one Update at a time

	mu       sync.Mutex       // guards what follows, and is not held for long
	tab      *translate.Table // in force
	mapFile  int              // how many maps of the map-file are in it
	workers  []*translate.Worker
	expireAt time.Time // of leases, the next pass
}

// Install makes a Gateway. Its pools have no leases yet: see pool.Load, and Fixed.
func Install(c Config) (*Gateway, error) {
	g := &Gateway{conf: c.Conf, mapFile: len(c.Maps)}
	for _, p := range c.Conf.Pools {
		q, err := newPool(c, p)
		if err != nil {
			return nil, err
		}
		g.pools = append(g.pools, q)
	}
	tab, err := g.newTable(c.Maps)
	if err != nil {
		return nil, err
	}
	if g.trans, err = translate.New(c.Conf.Translator(c.MTU), tab); err != nil {
		return nil, err
	}
	g.tab = tab
	return g, nil
}

// newTable makes a table of tayga.conf, the maps of the map-file and the pools.
func (g *Gateway) newTable(maps []taygaconf.Map) (*translate.Table, error) {
	var pools []*pool.Pool
	for _, p := range g.pools {
		pools = append(pools, p.Pool)
	}
	return translate.NewTable(g.conf.Table(maps, pools))
}

// Worker returns the worker with a number, counted from 0. Each belongs to one
// goroutine at a time, and stays the same until Close.
func (g *Gateway) Worker(i int) *translate.Worker {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.workers) <= i {
		g.workers = append(g.workers, g.trans.NewWorker())
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

// Warnings lists what is allowed in the settings in force and probably not meant.
func (g *Gateway) Warnings() []string { return g.trans.Warnings() }
