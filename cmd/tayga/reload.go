package main

import (
	"fmt"
	"time"

	"github.com/steppe-nat64/steppe/internal/gateway"
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
	d.state.reloaded(err == nil)
	d.leases.save(time.Now())
	d.sessions.soon()
	d.notifier.send("READY=1", d.status())
}

func (d *daemon) reloadMaps() error {
	more, problems, err := d.maps.read(d.conf)
	if err != nil {
		return err
	}
	d.logProblems(problems)
	if problems.Failed() {
		return fmt.Errorf("map-file %s has errors", d.maps.path)
	}
	ended, err := d.gateway.Update(gateway.Changes{MapFile: &more, Now: time.Since(started)})
	if err != nil {
		return err
	}
	logEnded(d.log, ended)
	d.logWarnings()
	bindings := ""
	if n := len(more.Bindings); n > 0 {
		bindings = fmt.Sprintf(", %d static bindings", n)
	}
	d.log.infof("Reloaded %s: %d maps%s", d.maps.path, len(more.Maps), bindings)
	return nil
}

// logEnded logs how many leases a reload has ended.
func logEnded(log *logger, ended []gateway.Ended) {
	for _, n := range ended {
		if n.ByAddress > 0 {
			log.noticef("%d leases ended because their address has a map now", n.ByAddress)
		}
	}
	for _, n := range ended {
		if n.ByHost > 0 {
			log.noticef("%d leases ended because their host has a map now", n.ByHost)
		}
	}
}
