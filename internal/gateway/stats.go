package gateway

import (
	"github.com/steppe-nat64/steppe/fastpath"
	"github.com/steppe-nat64/steppe/pool"
	"github.com/steppe-nat64/steppe/translate"
)

// Stats are the figures of a Gateway at one moment.
type Stats struct {
	Packets translate.Stats  // by the workers and by the fast path
	Fast    []fastpath.Count // at the fast path, nil without one
	Pools   int              // how many there are
	Leases  pool.Stats       // of all pools together
	Maps    Maps
	Static  Bindings
	Table   *translate.Table // in force; it is immutable
}

// Maps counts the explicit maps by the file that has them.
type Maps struct{ Config, MapFile int }

// Bindings counts the static bindings by the file that has them.
type Bindings struct{ Config, MapFile int }

// Stats returns the figures.
func (g *Gateway) Stats() Stats {
	s := Stats{Packets: g.trans.Stats(), Fast: g.fastCounts(), Pools: len(g.pools)}
	for _, c := range s.Fast {
		if c.Reason.Translated() {
			o := translate.Outcome{Direction: c.Direction, Result: translate.Result{Verdict: translate.Forward, Reason: translate.Translated}}
			s.Packets.Add(o, translate.Count{Packets: c.Packets, Bytes: c.Bytes})
		}
	}
	for _, p := range g.pools {
		q := p.Stats()
		s.Leases.Size += q.Size
		s.Leases.Held += q.Held
		s.Leases.Dormant += q.Dormant
		s.Leases.Denied += q.Denied
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s.Maps = Maps{Config: len(g.conf.Maps), MapFile: len(g.mapFile.Maps)}
	if g.clat != nil {
		s.Maps.Config = len(g.clat.table().Maps)
	}
	s.Static = Bindings{Config: len(g.conf.Stateful.Bindings), MapFile: len(g.mapFile.Bindings)}
	s.Table = g.tab
	return s
}
