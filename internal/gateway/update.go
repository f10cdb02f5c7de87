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
	// CLAT takes the place of the one before, with all of its fields; nil: as it is.
	CLAT *CLAT
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
	tab, err := g.changedTable(&c)
	if err != nil {
		return nil, err
	}
	if c == (Changes{Now: c.Now}) {
		return make([]Ended, len(g.pools)), nil // which spares the fast path a new start
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
	err = g.trans.Update(func(s *translate.Settings) { c.apply(s, tab, g.conf) })
	if err != nil {
		return nil, errors.Join(err, g.restoreSessions(c))
	}
	for i, p := range g.pools {
		ended[i].ByAddress += int(p.removed.Load())
	}
	if tab != nil || c.IPv6.IsValid() {
		g.endFixed(ended)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if tab != nil {
		g.tab = tab
	}
	if c.MapFile != nil {
		g.mapFile = *c.MapFile
	}
	if c.CLAT != nil {
		g.clat = c.CLAT
	}
	return ended, nil
}

// changedTable returns the table after the changes, nil if it stays. A CLAT that is the one in
// force is removed from them, and the caller's may change later.
func (g *Gateway) changedTable(c *Changes) (*translate.Table, error) {
	is := g.clat // only an Update changes it
	switch {
	case c.CLAT == nil:
	case is == nil:
		return nil, errors.New("gateway: CLAT: the gateway is none")
	case *c.CLAT == *is:
		c.CLAT = nil
	default:
		mine := *c.CLAT
		c.CLAT = &mine
		if err := mine.check(mine.own4(g.conf)); err != nil {
			return nil, err
		}
		return translate.NewTable(mine.table())
	}
	if c.MapFile == nil {
		return nil, nil
	}
	if is != nil {
		return nil, errors.New("gateway: a CLAT has no map-file")
	}
	return translate.NewTable(g.tableConfig(c.MapFile.Maps, nil))
}

// apply makes the changes, with tab if the table is another one.
func (c *Changes) apply(s *translate.Settings, tab *translate.Table, conf *taygaconf.Config) {
	if tab != nil {
		s.Table = tab
	}
	if c.MTU != 0 {
		s.MTU4, s.MTU6 = c.MTU, c.MTU
	}
	if c.CLAT != nil {
		s.IPv4, s.IPv6 = c.CLAT.own4(conf), c.CLAT.IPv6
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
