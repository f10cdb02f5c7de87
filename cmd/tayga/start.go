package main

import (
	"os"
	"time"

	"github.com/steppe-nat64/steppe/internal/gateway"
	"github.com/steppe-nat64/steppe/internal/sandbox"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// start does what TAYGA does before its main loop, in the same order: files that
// root may open, the device, and only then another identity.
func (d *daemon) start() (err error) {
	d.state.begin(d.o.configFile)
	d.confFile = newConfFile(d.o.configFile, d.o.chroot, d.o.user != "")
	if err := d.readConfig(); err != nil {
		return err
	}
	id, err := lookUp(d.o)
	if err != nil {
		return err
	}
	writers, err := enterDataDir(d.conf.DataDir, d.o.user == "")
	if err != nil {
		return err
	}
	if d.o.chroot {
		if err := checkJail(id, d.conf.DataDir); err != nil {
			return err
		}
	}
	if err := d.checkDataDir(writers, id); err != nil {
		return err
	}
	d.wide = wideReaches(d.conf, d.o)
	if d.conf.CLAT.On {
		if err := d.prepareCLAT(); err != nil {
			return err
		}
	}
	more, err := d.readMaps()
	if err != nil {
		return err
	}
	d.owner = id.owner()
	if err := d.takeLocks(id); err != nil {
		return err
	}
	if d.notifier, err = openNotifier(); err != nil {
		if d.o.sink == toJournal {
			return err
		}
		d.log.warningf("%v", err)
	}
	d.log.noticef("Starting tayga %s", version())

	if err := d.install(more); err != nil {
		return err
	}
	d.loadFastPath()
	if d.network != nil {
		d.makeStatusDir() // for what is noted of changes
	}
	d.startHelper(id)
	if d.dev, d.queues, d.link, err = openDevice(d.conf, d.owner); err != nil {
		d.explainBusy(err)
		return err
	}
	if err := setUpLink(d.conf, kernelLink(d.conf.TunDevice), d.log.infof); err != nil {
		return err
	}
	if err := d.raiseDevice(); err != nil {
		return err
	}
	tryOffloads(d.conf, d.dev, d.log)
	d.attachFastPath()
	d.configureHelper(id)
	if err := d.openStatus(id); err != nil {
		return err
	}
	if err := d.openMetrics(); err != nil {
		return err
	}
	d.awaitHelper(id)
	if err := d.openNetwork(); err != nil {
		return err
	}
	if d.o.chroot {
		if err := jail(); err != nil {
			return err
		}
	}
	if d.conf.Sandbox {
		sandbox.DropBounding()
	}
	if err := id.drop(); err != nil {
		return err
	}
	if id.uid >= 0 {
		if err := d.lockLinks(d.locker()); err != nil {
			return err
		}
	}
	d.confine() // before anything is read that others may have written
	return d.begin(more)
}

// takeLocks makes sure that no other daemon has our pid file or our leases. One
// that is about to end is waited for.
func (d *daemon) takeLocks(id identity) (err error) {
	k := d.locker()
	k.keep = id.uid >= 0
	if d.o.pidfile != "" {
		if d.pid, err = openPidFile(d.o.pidfile, d.o.chroot, id, k); err != nil {
			return err
		}
	}
	if err := d.lockDataDir(k); err != nil {
		return err
	}
	if id.uid < 0 {
		if err := d.lockLinks(k); err != nil {
			return err
		}
	}
	if d.pid != nil {
		return d.pid.write()
	}
	return nil
}

// locker takes locks for this daemon.
func (d *daemon) locker() locker {
	return locker{who: thisProcess(d.conf.TunDevice), signals: d.signals, waiting: func(name string, h holder) {
		d.log.infof("Waiting for %s, which is locked by %v", name, h)
	}}
}

// install makes what translates, without leases and sessions yet, and before there is a device whose
// MTU could be asked.
func (d *daemon) install(more taygaconf.MapFile) (err error) {
	d.packets = newPacketLog(d.conf.Log, d.log)
	d.bindings = newBindingLog(d.conf.Stateful.Log, d.log)
	c := gateway.Config{Conf: d.conf, MapFile: more, Now: time.Now(), OnEvent: d.packets.lease, OnSession: d.bindings.onEvent()}
	if d.conf.CLAT.On {
		c.CLAT = new(gateway.CLAT) // until the network is known
	}
	d.gateway, err = gateway.Install(c)
	if err != nil {
		return err
	}
	d.leases = newLeaseFiles(d.conf, d.gateway.Pools(), d.log)
	d.sessions = newSessionFile(d.conf, d.gateway.Sessions(), d.log)
	return nil
}

// begin takes the device into account, logs the startup with what the map-file says, and
// loads the leases and sessions.
func (d *daemon) begin(more taygaconf.MapFile) error {
	if err := d.setMTU(d.link.MTU); err != nil {
		return err
	}
	d.state.attached(d.dev, d.queues, d.link)
	d.logStartup(more)
	d.logWarnings()
	d.leases.load(d.gateway.Fixed)
	d.sessions.load()
	d.startFastPath()
	return nil
}

// readConfig reads tayga.conf and reports what is wrong with it.
func (d *daemon) readConfig() error {
	if d.o.gateway {
		return d.planGateway()
	}
	c, problems := d.o.load()
	d.logProblems(problems)
	if problems.Failed() {
		if _, err := os.Stat(d.o.configFile); err != nil {
			return errNoConfig
		}
		return errConfig
	}
	d.conf = c
	return nil
}

func (d *daemon) logProblems(problems taygaconf.Problems) {
	for _, p := range problems {
		pri := priError
		if p.Warning {
			pri = priWarning
		}
		d.log.printf(pri, "%v", p)
	}
}

// readMaps reads the map-file, if there is one. At start, lines with errors are
// left out.
func (d *daemon) readMaps() (taygaconf.MapFile, error) {
	if d.conf.MapFile == "" {
		return taygaconf.MapFile{}, nil
	}
	var err error
	jail := ""
	if d.o.chroot {
		jail = d.conf.DataDir
	}
	if d.maps, err = openMapSource(d.conf.MapFile, jail); err != nil {
		return taygaconf.MapFile{}, err
	}
	maps, problems, err := d.maps.read(d.conf)
	d.logProblems(problems)
	return maps, err
}
