package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/translate"
	"github.com/steppe-nat64/steppe/tun"
)

// A daemon is everything that runs.
type daemon struct {
	o    options
	conf *taygaconf.Config
	log  *logger

	parent   *parent   // waits until we run; may be nil
	notifier *notifier // systemd
	signals  <-chan os.Signal
	pid      *pidFile   // may be nil
	locks    []*lock    // of the leases
	maps     *mapSource // may be nil
	confFile *confFile  // may be nil

	dev      device
	queues   []queue
	owner    tun.Owner // of a device that we make
	link     tun.Link  // as last seen
	obstacle string    // to restore, as logged last
	foreign  foreign   // what the log says of other programs at the device
	trans    *translate.Translator
	workers  []*translate.Worker // one per queue, kept if the device comes back
	pools    taygaconf.Pools     // lend addresses
	lenders  lenders             // the same, with their files
	packets  *packetLog

	vitals  vitals
	socket  *status.Socket // may be nil
	madeDir bool           // the socket's directory is ours
	metrics net.Listener   // may be nil
	held    []*os.File     // open for as long as the process runs: see paths
	wide    []wideReach    // what the sandbox cannot take away
}

// errConfig is the end for errors in tayga.conf, about which everything has been said.
var errConfig = errors.New("errors in the configuration")

// errNoConfig is the same for a file that is not there, which may come without anybody
// who has to think: to try again is right.
var errNoConfig = errors.New("no configuration")

// exConfig is the exit status for a service manager then, EX_CONFIG of sysexits.h: it
// need not try again before somebody has changed the file.
const exConfig = 78

// managed reports whether a service manager waits to be notified that this process is
// ready. Every other caller gets the exit status that TAYGA has.
func managed() bool { return os.Getenv("NOTIFY_SOCKET") != "" }

// serve runs the daemon until a signal ends it, and returns the exit status.
// What goes wrong is also said on stderr, or to the parent, unless that leads
// to the journal anyway.
func serve(o options, p *parent, stderr io.Writer) int {
	switch {
	case p != nil:
		stderr = p
	case o.sink != toStdout && leadsToJournal(os.Stderr, os.Getenv("JOURNAL_STREAM")):
		stderr = io.Discard
	}
	d := &daemon{o: o, parent: p, log: newLogger(openLog(o, stderr))}
	defer d.log.flush()

	told := managed() // before the variable is taken out of the environment
	takeUmask()
	d.signals = hear(obeyed)
	signal.Ignore(syscall.SIGPIPE) // of which Go dies when a reader of stdout or stderr has gone

	err := d.start()
	if err == nil {
		err = d.run(d.signals)
	}
	d.closeStatus()
	d.unlock()
	switch {
	case err == nil, errors.Is(err, errStopped):
		return 0
	case err == errConfig && told:
		return exConfig
	case err != errConfig && err != errNoConfig:
		d.log.errorf("%v", err)
	}
	return 1
}

// start does what TAYGA does before its main loop, in the same order: files that
// root may open, the device, and only then another identity.
func (d *daemon) start() (err error) {
	d.vitals.begin(d.o.configFile)
	d.confFile = newConfFile(d.o.configFile, d.o.chroot)
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

	if err := d.makePools(more); err != nil {
		return err
	}
	tab, err := d.table(more)
	if err != nil {
		return err
	}
	if d.dev, d.queues, d.link, err = openDevice(d.conf, d.owner); err != nil {
		return err
	}
	if err := setUpLink(d.conf, d.log.infof); err != nil {
		return err
	}
	tryOffloads(d.conf, d.dev, d.log)
	if err := d.openStatus(id); err != nil {
		return err
	}
	if err := d.openMetrics(); err != nil {
		return err
	}
	if d.o.chroot {
		if err := jail(); err != nil {
			return err
		}
	}
	if err := id.drop(); err != nil {
		return err
	}
	d.confine() // before anything is read that others may have written
	return d.build(tab, more)
}

// takeLocks makes sure that no other daemon has our pid file or our leases. One
// that is about to end is waited for.
func (d *daemon) takeLocks(id identity) (err error) {
	k := locker{who: thisProcess(d.conf.TunDevice), signals: d.signals, waiting: func(name string, h holder) {
		d.log.infof("Waiting for %s, which is locked by %v", name, h)
	}}
	if d.o.pidfile != "" {
		if d.pid, err = openPidFile(d.o.pidfile, d.o.chroot, id, k); err != nil {
			return err
		}
	}
	if err := d.lockDataDir(k); err != nil {
		return err
	}
	if d.pid != nil {
		return d.pid.write()
	}
	return nil
}

// makePools makes what lends addresses, without any leases yet.
func (d *daemon) makePools(more []taygaconf.Map) (err error) {
	d.packets = newPacketLog(d.conf.Log, d.log)
	if d.pools, err = d.conf.NewPools(more, d.packets.lease, time.Now()); err != nil {
		return err
	}
	d.lenders = newLenders(d.conf, d.pools, d.log)
	return nil
}

// table makes a table with the maps of the map-file and the pools.
func (d *daemon) table(more []taygaconf.Map) (*translate.Table, error) {
	return translate.NewTable(d.conf.Table(more, d.pools))
}

// build makes the translator, says what it is like, and loads the leases.
func (d *daemon) build(tab *translate.Table, more []taygaconf.Map) (err error) {
	if d.trans, err = translate.New(d.conf.Translator(d.link.MTU), tab); err != nil {
		return err
	}
	d.vitals.attached(d.dev, d.queues, d.link)
	d.vitals.mapped(tab, len(d.conf.Maps), len(more))
	d.introduce(len(more))
	d.warn()
	d.lenders.load(noLease(d.conf, tab))
	return nil
}

// introduce logs the lines that tell what this daemon does. Scripts look for
// some of them.
func (d *daemon) introduce(more int) {
	c := d.conf
	d.introduceDevice()
	d.log.infof("TAYGA's IPv4 address: %s", c.IPv4)
	d.log.infof("TAYGA's IPv6 address: %s", c.IPv6)
	for _, p := range c.Prefixes {
		d.log.infof("NAT64 prefix: %s", p)
		if p == wellKnownPrefix && c.WKPFStrict {
			d.log.noticef("Note: %s is for public IPv4 addresses only: private ones will not pass. To change that, add wkpf-strict no or use another prefix", p)
		}
	}
	for i, p := range c.Pools {
		if via := c.PoolVia[i]; via.IsValid() {
			d.log.infof("Dynamic pool: %s via %s", p, via)
			continue
		}
		d.log.infof("Dynamic pool: %s", p)
	}
	if len(c.Pools) > 0 && c.DataDir == "" {
		d.log.noticef("Note: without a data-dir, leases of the dynamic pool are forgotten when tayga ends")
	}
	if n := len(c.Maps) + more; n > 0 {
		d.log.debugf("Static maps: %d in %s, %d in the map-file", len(c.Maps), c.File, more)
	}
}

func (d *daemon) introduceDevice() {
	d.log.infof("Using tun device %s with MTU %d", d.dev.Name(), d.link.MTU)
	if d.link.Ownerless {
		d.log.warningf("%s", ownerless(d.dev.Name()))
	}
}

// warn logs what in the tables is allowed and probably not meant.
func (d *daemon) warn() {
	const most = 20
	lines := d.trans.Warnings()
	for _, line := range lines[:min(len(lines), most)] {
		d.log.warningf("%s", line)
	}
	if n := len(lines) - most; n > 0 {
		d.log.warningf("%d more warnings like these", n)
	}
}

// readConfig reads tayga.conf and reports what is wrong with it.
func (d *daemon) readConfig() error {
	c, problems := taygaconf.Load(d.o.configFile, os.LookupEnv)
	d.report(problems)
	if problems.Failed() {
		if _, err := os.Stat(d.o.configFile); err != nil {
			return errNoConfig
		}
		return errConfig
	}
	d.conf = c
	return nil
}

func (d *daemon) report(problems taygaconf.Problems) {
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
func (d *daemon) readMaps() ([]taygaconf.Map, error) {
	if d.conf.MapFile == "" {
		return nil, nil
	}
	var err error
	jail := ""
	if d.o.chroot {
		jail = d.conf.DataDir
	}
	if d.maps, err = openMapSource(d.conf.MapFile, jail); err != nil {
		return nil, err
	}
	maps, problems, err := d.maps.read(d.conf)
	d.report(problems)
	return maps, err
}

// obeyed are the signals that the daemon has an answer to, whatever its parent
// thought of them.
var obeyed = []os.Signal{
	syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGUSR2,
	syscall.SIGHUP, syscall.SIGUSR1,
}

// hear returns signals as they come. Each has a place of its own to wait in, so
// that a storm of one cannot crowd out another: while one waits to be answered,
// nothing is lost but its like.
func hear(list []os.Signal) <-chan os.Signal {
	all := make(chan os.Signal)
	for _, sig := range list {
		one := make(chan os.Signal, 1)
		signal.Notify(one, sig)
		go func() {
			for sig := range one {
				all <- sig
			}
		}()
	}
	return all
}

// run translates packets until a signal or a failure ends it.
func (d *daemon) run(signals <-chan os.Signal) error {
	stop := make(chan struct{})
	var upkeep sync.WaitGroup
	upkeep.Go(func() { d.upkeep(stop) })
	if d.socket != nil {
		go status.Serve(d.socket, d.tell)
	}
	if d.metrics != nil {
		go d.serveMetrics()
	}
	d.notifier.send("READY=1", fmt.Sprintf("MAINPID=%d", os.Getpid()), d.status())

	err := d.session(signals)
	for errors.Is(err, tun.ErrGone) {
		d.vitals.linked(tun.Link{Gone: true}) // whoever noticed it
		d.log.errorf("Tun device %s is gone: waiting for it to come back", d.conf.TunDevice)
		if err = d.reattach(signals); err == nil {
			err = d.session(signals)
		}
	}
	d.notifier.send("STOPPING=1")
	close(stop)
	upkeep.Wait()
	if err == errStopped {
		return nil
	}
	return err
}

// errStopped is the end that a signal asked for.
var errStopped = errors.New("stopped by a signal")

// session translates packets for as long as the device is there, and saves the
// leases. The error says why it ended.
func (d *daemon) session(signals <-chan os.Signal) error {
	// A reload and the garbage collector can keep all processors busy for a second.
	// Whoever of us shares them then is for the kernel to say, which prefers those
	// who mostly sleep; the Go scheduler would let packets wait for ten milliseconds.
	runtime.GOMAXPROCS(runtime.NumCPU() + len(d.queues))

	var all sync.WaitGroup
	failed := make(chan error, len(d.queues))
	for i, q := range d.queues {
		if i == len(d.workers) {
			d.workers = append(d.workers, d.trans.NewWorker())
		}
		p := newPump(q, d.workers[i], d.packets)
		all.Go(func() { failed <- p.run() })
	}
	links := make(chan tun.Link)
	closed := make(chan struct{})
	all.Go(func() {
		err := d.dev.Watch(func(l tun.Link) {
			select {
			case links <- l:
			case <-closed:
			}
		})
		if err != nil && !errors.Is(err, tun.ErrClosed) {
			d.log.warningf("%v: changes of its MTU will not be noticed", err)
		}
	})
	d.log.debugf("Workers: %d", len(d.queues))
	d.log.flush()
	d.parent.done()

	err := d.obey(signals, links, failed)
	close(closed)
	d.dev.Stop()
	all.Wait()
	// As long as the device is ours no other daemon reads the leases, and nobody
	// lends any more: the next one finds them all.
	d.lenders.save(time.Now())
	d.dev.Close()
	return err
}

// obey waits for what comes from outside and returns when the session is over.
func (d *daemon) obey(signals <-chan os.Signal, links <-chan tun.Link, failed <-chan error) error {
	look := time.NewTicker(refusalInterval)
	defer look.Stop()
	refused := uint64(0)
	for {
		select {
		case <-look.C:
			if n := d.refused(); n > refused {
				d.log.warningf("Tun device %s: the kernel refused %d packets", d.dev.Name(), n-refused)
				refused = n
			}
			d.reportForeign(time.Now())
		case sig := <-signals:
			if err := d.signal(sig); err != nil {
				return err
			}
		case l := <-links:
			if l.Gone {
				return tun.ErrGone
			}
			d.vitals.linked(l)
			d.follow(l)
		case err := <-failed:
			return err
		}
	}
}

// refusalInterval is how often it is said that the kernel does not take packets.
const refusalInterval = 10 * time.Second

// refused returns how many packets the kernel has not taken in this session.
func (d *daemon) refused() (n uint64) {
	for _, q := range d.queues {
		n += q.Refused()
	}
	return n
}

// signal answers a signal; the error is errStopped if that is the end.
func (d *daemon) signal(sig os.Signal) error {
	switch sig {
	case syscall.SIGHUP:
		d.reload()
	case syscall.SIGUSR1:
		d.printStats()
	default:
		number, _ := sig.(syscall.Signal)
		d.stopping()
		d.log.noticef("Exiting on signal %d", int(number))
		return errStopped
	}
	return nil
}

// How long, and how often, to look for a device that was deleted.
const (
	absence  = time.Minute
	glancing = 200 * time.Millisecond
)

// reattach waits until somebody has made the device again, and attaches to it.
// A process that gave up its privileges may find that it cannot.
func (d *daemon) reattach(signals <-chan os.Signal) error {
	look := time.NewTicker(glancing)
	defer look.Stop()
	late := time.After(absence)
	for {
		if deviceExists(d.conf.TunDevice) {
			dev, queues, link, err := openDevice(d.conf, d.owner)
			if err == nil {
				d.dev, d.queues, d.link, d.foreign = dev, queues, link, foreign{}
				break
			}
			// Who made it may not have let go of it yet, or may have deleted it again.
			if !errors.Is(err, tun.ErrBusy) && deviceExists(d.conf.TunDevice) {
				return err
			}
		}
		select {
		case sig := <-signals:
			if err := d.signal(sig); err != nil {
				return err
			}
		case <-late:
			return fmt.Errorf("tun device %s did not come back", d.conf.TunDevice)
		case <-look.C:
		}
	}
	if err := setUpLink(d.conf, d.log.infof); err != nil {
		d.dev.Close()
		if !deviceExists(d.conf.TunDevice) {
			err = tun.ErrGone
		}
		return err
	}
	d.vitals.attached(d.dev, d.queues, d.link)
	d.introduceDevice()
	return d.setMTU(d.link.MTU)
}

// upkeep does what has to be done once a second.
func (d *daemon) upkeep(stop <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			d.lenders.upkeep(now)
			d.packets.refill()
		case <-stop:
			return
		}
	}
}

// follow takes note of a change of the device's link.
func (d *daemon) follow(l tun.Link) {
	name := d.dev.Name()
	switch {
	case d.link.Up && !l.Up:
		d.log.noticef("Tun device %s is down: nothing arrives until it is up again", name)
	case !d.link.Up && l.Up:
		d.log.infof("Tun device %s is up", name)
	}
	if l.MTU != d.link.MTU {
		if err := d.setMTU(l.MTU); err != nil {
			d.log.warningf("Tun device %s has an MTU of %d now, less than the %d that IPv6 needs: going on with the one before", name, l.MTU, lowestMTU)
		} else {
			d.log.infof("Tun device %s has an MTU of %d now", name, l.MTU)
		}
	}
	d.link = l
	if l.Up {
		d.restore()
	}
	d.reportForeign(time.Now())
}

// setMTU tells the translator the MTU of the device.
func (d *daemon) setMTU(mtu int) error {
	return d.trans.Update(func(s *translate.Settings) { s.MTU4, s.MTU6 = mtu, mtu })
}

// restore brings back what tun-ip and tun-route had added. What stands in the way is
// logged once, and nothing to end for.
func (d *daemon) restore() {
	text := ""
	if err := restoreLink(d.conf, d.log.infof); err != nil {
		text = err.Error()
	}
	if text != "" && text != d.obstacle {
		for line := range strings.Lines(text) {
			d.log.errorf("%s: not there since the device was down", strings.TrimSuffix(line, "\n"))
		}
	}
	d.obstacle = text
}

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

// printStats answers SIGUSR1.
func (d *daemon) printStats() {
	s := d.trans.Stats()
	for _, line := range statLines(s) {
		d.log.noticef("%s", line)
	}
	n := uint64(0)
	for _, refused := range d.vitals.refused() {
		n += refused
	}
	if n > 0 {
		d.log.noticef("refused by the kernel: %d packets", n)
	}
	d.log.noticef("%v", d.lenders)
}

// status is a line for systemctl status.
func (d *daemon) status() string {
	s := fmt.Sprintf("STATUS=Translating on %s, %d workers", d.dev.Name(), len(d.queues))
	if d.foreign.queues > 0 {
		s += fmt.Sprintf("; %s", foreignQueues(d.foreign.queues))
	}
	return s
}
