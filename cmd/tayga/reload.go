package main

import (
	"fmt"
	"time"

	"github.com/steppe-nat64/steppe/translate"
)

// reload reads the map-file again and swaps the tables, all or nothing.
func (d *daemon) reload() {
	d.log.noticef("Received SIGHUP, reloading")
	if d.confFile.changed() {
		d.log.warningf("%s has changed since tayga was started and was not read: a reload reads the map-file only, restart tayga", d.o.configFile)
	}
	d.notifier.send("RELOADING=1", monotonic())
	var err error
	if d.maps != nil {
		if err = d.reloadMaps(); err != nil {
			d.log.errorf("%v: going on with the maps as they were", err)
		}
	}
	d.vitals.reloaded(err == nil)
	d.lenders.save(time.Now())
	d.notifier.send("READY=1", d.status())
}

func (d *daemon) reloadMaps() error {
	more, problems, err := d.maps.read(d.conf)
	if err != nil {
		return err
	}
	d.report(problems)
	if problems.Failed() {
		return fmt.Errorf("map-file %s has errors", d.maps.path)
	}
	tab, err := d.table(more)
	if err != nil {
		return err
	}
	// What may fail comes before the table is in force; the leases of hosts that
	// have maps end after that, lest the next packet of such a host begin one.
	if err := d.lenders.reserve(d.conf.Reserved(more)); err != nil {
		return err
	}
	if err := d.trans.Update(func(s *translate.Settings) { s.Table = tab }); err != nil {
		return err
	}
	d.lenders.evict(noLease(d.conf, tab))
	d.vitals.mapped(tab, len(d.conf.Maps), len(more))
	d.warn()
	d.log.infof("Reloaded %s: %d maps", d.maps.path, len(more))
	return nil
}
