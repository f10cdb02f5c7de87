package gateway

import (
	"errors"
	"net/netip"
	"time"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/pool"
	"github.com/steppe-nat64/steppe/translate"
)

// Changes is what an Update changes. What is zero stays as it is.
type Changes struct {
	// MapFile takes the place of the one before; nil: as it is.
	MapFile *taygaconf.MapFile
	Now     time.Duration // that workers get, for MapFile
	MTU     int           // of the device, in bytes
	// IPv4 and IPv6 are the gateway's own addresses.
	IPv4, IPv6 netip.Addr
}

// Ended is how many leases of a pool an Update has ended.
type Ended struct {
	ByAddress int // their address has a map now, or is the gateway's own
	ByHost    int // their host has a map now, or is the gateway
}

// Update changes a Gateway while workers run. It reports what Install reports, and
// nothing is changed then. Otherwise it returns how many leases have ended, for each of
// Pools: hosts with a map have none, and no address has both a map and a lease. A batch
// that a worker has begun before may still begin a lease for such a host: it is not
// used, and becomes dormant in its time. Sessions that the new maps and static bindings
// allow go on.
func (g *Gateway) Update(c Changes) ([]Ended, error) {
	g.updates.Lock()
	defer g.updates.Unlock()
	var tab *translate.Table
	if c.MapFile != nil {
		var err error
		if tab, err = g.newTable(c.MapFile.Maps); err != nil {
			return nil, err
		}
	}
	ended := make([]Ended, len(g.pools))
	for i, p := range g.pools {
		ended[i].ByAddress = -int(p.removed.Load())
	}
	// The translator tells the pools which addresses they must not lease. Leases of hosts
	// end after that: before, the next packet of such a host would begin another.
	g.fast.pause()
	defer g.fast.resume() // by the settings that are in force then
	if err := g.updateSessions(c); err != nil {
		return nil, err
	}
	err := g.trans.Update(func(s *translate.Settings) { c.apply(s, tab) })
	if err != nil {
		return nil, errors.Join(err, g.restoreSessions(c))
	}
	for i, p := range g.pools {
		ended[i].ByAddress += int(p.removed.Load())
	}
	if tab != nil || c.IPv6.IsValid() {
		g.endFixed(ended)
	}
	if c.MapFile != nil {
		g.mu.Lock()
		g.tab, g.mapFile = tab, *c.MapFile
		g.mu.Unlock()
	}
	return ended, nil
}

// apply makes the changes, with tab if the table is another one.
func (c *Changes) apply(s *translate.Settings, tab *translate.Table) {
	if tab != nil {
		s.Table = tab
	}
	if c.MTU != 0 {
		s.MTU4, s.MTU6 = c.MTU, c.MTU
	}
	if c.IPv4.IsValid() {
		s.IPv4 = c.IPv4
	}
	if c.IPv6.IsValid() {
		s.IPv6 = c.IPv6
	}
}

// endFixed ends the leases of hosts that are Fixed now.
func (g *Gateway) endFixed(ended []Ended) {
	s := g.trans.Settings()
	for i, p := range g.pools {
		ended[i].ByHost = p.Remove(func(l pool.Lease) bool { return fixed(s, l.Host) })
	}
}
