package main

import (
	"os"
	"time"

	"github.com/steppe-nat64/steppe/internal/gateway"
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
	}
	v.mu.Lock()
	r.Device, r.Reloads = v.device, v.reloads
	r.Device.Refused = v.refusedLocked()
	v.mu.Unlock()

	s := d.gateway.Stats()
	r.Packets = countsOf(s.Packets)
	r.ErrorsHeldBack, r.MTUErrorsHeldBack = s.Packets.ErrorsHeldBack, s.Packets.MTUErrorsHeldBack
	r.Pool = poolOf(s)
	r.Maps = status.Maps(s.Maps)
	switch what {
	case status.Leases:
		r.LeaseList = leaseList(d.gateway.Pools())
	case status.MapList:
		r.MapList = &status.List[status.Map]{Entries: []status.Map{}}
		for m := range s.Table.Maps() {
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

// poolOf returns the figures of all pools together, nil if there is none.
func poolOf(s gateway.Stats) *status.Pool {
	if s.Pools == 0 {
		return nil
	}
	n := s.Leases
	return &status.Pool{Size: n.Size, Held: n.Held, Dormant: n.Dormant, Refused: n.Refused}
}

// leaseList lists the leases, pool by pool in the order of their addresses.
func leaseList(pools []*gateway.Pool) *status.List[status.Lease] {
	list := &status.List[status.Lease]{Entries: []status.Lease{}}
	for _, p := range pools {
		for lease := range p.All() {
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
