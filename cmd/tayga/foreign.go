package main

import (
	"fmt"
	"time"

	"github.com/steppe-nat64/steppe/tun"
)

// foreign is what the log says of other programs at the device.
type foreign struct {
	queues, repaired int
	owner            tun.Owner // of the device
	at               time.Time
}

// reportForeign logs what other programs do to the device, if that has changed: at
// once, and then no more than once in refusalInterval, however often they come and
// go. Callers come at least as often as that.
func (d *daemon) reportForeign(now time.Time) {
	l, f, name := d.link, &d.foreign, d.dev.Name()
	if l.Foreign == f.queues && l.Repaired == f.repaired && l.Owner == f.owner || !f.at.IsZero() && now.Sub(f.at) < refusalInterval {
		return
	}
	if l.Repaired > f.repaired {
		d.log.errorf("Tun device %s: another program changed its settings, and packets were lost: they are set back", name)
	}
	switch {
	case l.Foreign > 0 && l.Foreign != f.queues:
		d.log.errorf("Tun device %s: %s, which gets packets that are for tayga and may send any: see DEVICE in tayga(8)", name, foreignQueues(l.Foreign))
	case l.Foreign < f.queues:
		d.log.noticef("Tun device %s: no other program is attached any more", name)
	}
	if l.Owner != f.owner {
		d.reportOwner()
	}
	*f = foreign{l.Foreign, l.Repaired, l.Owner, now}
	d.notifier.send(d.status())
}

func foreignQueues(n int) string {
	return fmt.Sprintf("another program is attached with %d of its queues", n)
}
