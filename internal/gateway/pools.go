package gateway

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/pool"
)

// A Pool leases the addresses of all dynamic pools that are bound to one prefix, or to
// none.
type Pool struct {
	*pool.Pool
	Pref64   netip.Prefix   // the zero value: none
	Prefixes []netip.Prefix // in the order of tayga.conf

	removed atomic.Uint64 // leases that ended since their address or host may have none
}

func (g *Gateway) newPool(c Config, p taygaconf.Pool) (*Pool, error) {
	q := &Pool{Pref64: p.Pref64, Prefixes: p.Prefixes}
	pc := c.Conf.Pool(p, func(e pool.Event) {
		if e.Kind == pool.Removed {
			q.removed.Add(1)
		}
		g.fast.leaseChanged(e)
		if c.OnEvent != nil {
			c.OnEvent(e)
		}
	})
	pc.Used = g.fast.used
	var err error
	q.Pool, err = pool.New(pc, c.Now)
	return q, err
}

// Pools returns the pools, in the order of tayga.conf.
func (g *Gateway) Pools() []*Pool { return slices.Clone(g.pools) }

// RefreshLeases has the pools ask the fast path when their leases were used, for a file.
func (g *Gateway) RefreshLeases() {
	for _, p := range g.pools {
		p.Refresh()
	}
}

// expireInterval is how often idle leases are looked for, as in TAYGA.
const expireInterval = 45 * time.Second

// Upkeep tells the pools the time; call it about once a second. Now and then it ends
// the leases that have not been used for long.
func (g *Gateway) Upkeep(now time.Time) {
	g.mu.Lock()
	expire := !now.Before(g.expireAt)
	if expire {
		g.expireAt = now.Add(expireInterval)
	}
	g.mu.Unlock()
	for _, p := range g.pools {
		if expire {
			p.Expire(now)
		} else {
			p.Tick(now)
		}
	}
	if expire {
		g.fast.sweep()
	}
}
