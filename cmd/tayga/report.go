package main

import (
	"os"
	"time"

	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/translate"
)

// tell makes a report. It may be called from any goroutine once the daemon is
// built.
func (d *daemon) tell(what status.What) *status.Report {
	v := &d.vitals
	r := &status.Report{
		Version: version(),
		PID:     os.Getpid(),
		Netns:   v.netns,
		Config:  d.conf.File,

		ConfigModified: v.configModified,

		Started: v.started,
		Uptime:  uint64(time.Since(v.started) / time.Second),
		Pool:    d.lenders.figures(),
	}
	v.mu.Lock()
	r.Device, r.Maps, r.Reloads = v.device, v.maps, v.reloads
	r.Device.Refused = v.refusedLocked()
	tab := v.tab
	v.mu.Unlock()

	s := d.trans.Stats()
	r.Packets = countsOf(s)
	r.ErrorsHeldBack, r.MTUErrorsHeldBack = s.ErrorsHeldBack, s.MTUErrorsHeldBack
	switch what {
	case status.Leases:
		r.LeaseList = d.lenders.list()
	case status.MapList:
		r.MapList = &status.List[status.Map]{Entries: []status.Map{}}
		for m := range tab.Maps() {
			r.MapList.Add(func() status.Map { return status.Map{IPv4: m.IPv4.String(), IPv6: m.IPv6.String()} })
		}
	}
	return r
}

// countsOf lists the counters that have counted anything.
func countsOf(s translate.Stats) []status.Count {
	counts := []status.Count{}
	for o, c := range s.All() {
		counts = append(counts, status.Count{
			Direction: o.Direction.String(),
			Verdict:   o.Verdict.String(),
			Reason:    o.Reason.String(),
			Packets:   c.Packets,
			Octets:    c.Octets,
		})
	}
	return counts
}

// figures returns the figures of all pools together, nil if there is none.
func (ls lenders) figures() *status.Pool {
	if len(ls) == 0 {
		return nil
	}
	s := ls.stats()
	return &status.Pool{Size: s.Size, Held: s.Held, Dormant: s.Dormant, Refused: s.Refused}
}

// list lists the leases, pool by pool in the order of their addresses.
func (ls lenders) list() *status.List[status.Lease] {
	list := &status.List[status.Lease]{Entries: []status.Lease{}}
	for _, l := range ls {
		for lease := range l.pool.All() {
			list.Add(func() status.Lease {
				state := "dormant"
				if lease.Held {
					state = "held"
				}
				return status.Lease{Addr: lease.Addr.String(), Host: lease.Host.String(), State: state, Used: lease.Used}
			})
		}
	}
	return list
}
