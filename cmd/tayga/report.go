package main

import (
	"os"
	"time"

	"github.com/steppe-nat64/steppe/internal/gateway"
	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/translate"
)

// report makes the report that a client asks for. It may be called from any goroutine
// once the daemon is built.
func (d *daemon) report(req status.Request) *status.Report {
	r := d.figures()
	sessions := d.gateway.Sessions()
	if sessions != nil && req.Query.Page == 0 { // with the first page only
		r.Shared.Addresses = fullest(sessions.Addresses())
		r.Shared.Fullest = subscribersOf(sessions.Subscribers(status.MaxSubscribers))
	}
	switch req.What {
	case status.Leases:
		r.LeaseList = leaseList(d.gateway.Pools())
	case status.MapList:
		r.MapList = &status.List[status.Map]{Entries: []status.Map{}}
		for m := range d.gateway.Stats().Table.Maps() {
			r.MapList.Add(func() status.Map { return status.Map{IPv4: m.IPv4.String(), IPv6: m.IPv6.String()} })
		}
	case status.Sessions:
		r.SessionList = &status.SessionList{Entries: []status.Session{}}
		if sessions != nil {
			r.SessionList = pageOf(sessions, time.Since(started), req.Query)
		}
	}
	return r
}

// figures makes a report without lists.
func (d *daemon) figures() *status.Report {
	own := &d.state
	r := &status.Report{
		Version: version(),
		PID:     os.Getpid(),
		Netns:   own.netns,
		Config:  d.conf.File,

		ConfigModified: own.configModified,

		Started: own.started,
		Uptime:  uint64(time.Since(own.started) / time.Second),
	}
	own.mu.Lock()
	r.Device, r.Reloads = own.device, own.reloads
	r.Device.Refused = own.refusedLocked()
	own.mu.Unlock()

	r.CLAT = d.clatReport()
	if d.helper != nil {
		r.Helper = &status.Helper{PID: d.helper.PID(), Alive: d.helper.Alive()}
	}

	r.MSSClamp = d.gateway.LargestMSS()
	s := d.gateway.Stats()
	r.Packets = countsOf(s.Packets)
	r.ErrorsHeldBack, r.MTUErrorsHeldBack = s.Packets.ErrorsHeldBack, s.Packets.MTUErrorsHeldBack
	r.FastPath = fastOf(s, d.fast.state())
	r.Pool = poolOf(s)
	r.Maps = status.Maps(s.Maps)
	if t := d.gateway.Sessions(); t != nil {
		r.Shared = sharedOf(t.Stats(), r.Packets)
		r.Shared.Static = status.Maps(s.Static)
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
			Bytes:     c.Bytes,
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
	return &status.Pool{Size: n.Size, Held: n.Held, Dormant: n.Dormant, Refused: n.Denied}
}

// leaseList lists the leases, pool by pool in the order of their addresses.
func leaseList(pools []*gateway.Pool) *status.List[status.Lease] {
	list := &status.List[status.Lease]{Entries: []status.Lease{}}
	for _, p := range pools {
		for lease := range p.All() {
			list.Add(func() status.Lease {
				lease = p.Ask(lease)
				kind := "dormant"
				if lease.Held {
					kind = "held"
				}
				return status.Lease{Addr: lease.Addr.String(), Host: lease.Host.String(), State: kind, Used: lease.Used}
			})
		}
	}
	return list
}
