package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/steppe-nat64/steppe/internal/gateway"
	"github.com/steppe-nat64/steppe/internal/privsep"
	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
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
	locks    []*lock    // of the leases and sessions
	maps     *mapSource // may be nil
	confFile *confFile  // may be nil

	dev      device
	queues   []queue
	owner    tun.Owner       // of a device that we make
	link     tun.Link        // as last seen
	obstacle string          // to restore, as logged last
	foreign  foreign         // what the log says of other programs at the device
	helper   *privsep.Helper // may be nil
	lost     bool            // the end of the helper was reported
	free     bool            // the device can be attached to again without privilege
	fast     fastPath
	network  *network // nil: the machine's network is as others make it
	confined bool     // this process has given up its privileges
	gateway  *gateway.Gateway
	leases   leaseFiles
	sessions *sessionFile // nil: no addresses are shared
	packets  *packetLog
	bindings *bindingLog // may be nil

	state   state
	socket  *status.Socket // may be nil
	madeDir bool           // the socket's directory is ours
	metrics net.Listener   // may be nil
	held    []*os.File     // open for as long as the process runs: see paths
	wide    []wideReach    // what the sandbox cannot take away
}

// errConfig ends the daemon for errors in tayga.conf, which have been logged.
var errConfig = errors.New("errors in the configuration")

// errNoConfig is the same for a file that is not there, and may appear later: a service
// manager should try again.
var errNoConfig = errors.New("no configuration")

// exConfig is the exit status for a service manager then, EX_CONFIG of sysexits.h: it
// need not try again before the file has changed.
const exConfig = 78

// managed reports whether a service manager waits to be notified that this process is
// ready. Every other caller gets the exit status that TAYGA has.
func managed() bool { return os.Getenv("NOTIFY_SOCKET") != "" }

// serve runs the daemon until a signal ends it, and returns the exit status.
// Errors are also printed on stderr, or to the parent, unless that leads
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
	defer func() { d.bindings.flush() }()

	told := managed() // before the variable is taken out of the environment
	takeUmask()
	d.signals = notifySignals(handledSignals)
	signal.Ignore(syscall.SIGPIPE) // of which Go dies when a reader of stdout or stderr has gone

	err := d.start()
	if err == nil {
		err = d.run(d.signals)
	}
	d.leaveNetwork()
	d.closeHelper()
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

// run translates packets until a signal or a failure ends it.
func (d *daemon) run(signals <-chan os.Signal) error {
	stop := make(chan struct{})
	var upkeep sync.WaitGroup
	upkeep.Go(func() { d.upkeep(stop) })
	upkeep.Go(func() { d.sessions.keep(stop) })
	if d.socket != nil {
		go status.Serve(d.socket, d.report)
	}
	if d.metrics != nil {
		go d.serveMetrics()
	}
	d.followNetwork()
	d.notifier.send("READY=1", fmt.Sprintf("MAINPID=%d", os.Getpid()), d.status())

	err := d.session(signals)
	for errors.Is(err, tun.ErrGone) {
		d.state.linked(tun.Link{Gone: true}) // whichever goroutine noticed it
		d.log.errorf("Tun device %s is gone: waiting for it to come back", d.conf.TunDevice)
		if err = d.reattach(signals); err == nil {
			err = d.session(signals)
		}
	}
	d.notifier.send("STOPPING=1")
	close(stop)
	upkeep.Wait()
	d.bindings.end(d.gateway.Sessions())
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
	// Then the kernel has to share them out: it prefers threads that mostly sleep. The
	// Go scheduler would let packets wait for ten milliseconds.
	runtime.GOMAXPROCS(runtime.NumCPU() + len(d.queues))

	var all sync.WaitGroup
	failed := make(chan error, len(d.queues))
	for i, q := range d.queues {
		p := newPump(q, d.gateway.Worker(i), d.packets) // the same worker if the device comes back
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

	err := d.handle(signals, links, failed)
	close(closed)
	if !errors.Is(err, tun.ErrGone) {
		d.leaveNetwork() // while there is a device that it leads to
	}
	d.closeFastPath()
	d.dev.Stop()
	all.Wait()
	// As long as the device is ours no other daemon reads the leases, and none begins
	// any more: the next one finds them all.
	d.gateway.RefreshLeases()
	d.leases.save(time.Now())
	if errors.Is(err, tun.ErrGone) {
		d.sessions.step()
	} else {
		d.sessions.close()
	}
	d.dev.Close()
	return err
}

// handle waits for what comes from outside and returns when the session is over.
func (d *daemon) handle(signals <-chan os.Signal, links <-chan tun.Link, failed <-chan error) error {
	look := time.NewTicker(refusalInterval)
	defer look.Stop()
	refused := uint64(0)
	helperEnded := d.helperEnded()
	for {
		select {
		case <-helperEnded:
			d.reportHelper()
			helperEnded = nil
		case <-look.C:
			if n := d.refused(); n > refused {
				d.log.warningf("Tun device %s: %d packets could not be written", d.dev.Name(), n-refused)
				refused = n
			}
			d.reportForeign(time.Now())
			d.watchFastPath()
		case sig := <-signals:
			if err := d.signal(sig); err != nil {
				return err
			}
		case l := <-links:
			if l.Gone {
				return tun.ErrGone
			}
			d.state.linked(l)
			d.linkChanged(l)
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
		n += q.Failed()
	}
	return n
}

// upkeep does what has to be done once a second.
func (d *daemon) upkeep(stop <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			d.gateway.Upkeep(now)
			d.gateway.Expire(time.Since(started))
			d.leases.upkeep(now)
			d.packets.refill()
			d.bindings.report()
			d.watchCLAT()
		case <-stop:
			return
		}
	}
}
