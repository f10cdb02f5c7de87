package main

import (
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/steppe-nat64/steppe/fastpath"
	"github.com/steppe-nat64/steppe/internal/gateway"
	"github.com/steppe-nat64/steppe/internal/qdisc"
	"github.com/steppe-nat64/steppe/internal/sandbox"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/session"
)

// A fastPath is the daemon's side of the fast path: the program in the kernel, and where it is
// attached. The main goroutine changes it; those that make a report read what mu guards.
type fastPath struct {
	path *fastpath.Path       // nil: there is none
	at   *fastpath.Attachment // nil: attached to nothing

	mu  sync.Mutex
	off string // why packets do not pass by it, in one line; empty: they do
}

// state returns why the fast path is off, empty if it is on.
func (f *fastPath) state() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.off
}

// set notes why it is off, and reports whether that has changed.
func (f *fastPath) set(off string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed := f.off != off
	f.off = off
	return changed
}

// Why the fast path is off, where no error says it.
const (
	offByConfig = "fast-path off"
	offByLog    = "a packet log (log drop, reject, icmp or self) is to see each packet in this process"
	notYet      = "not attached to the device yet"
)

// loadFastPath loads the program, proves that it does what the workers do, and gives it to
// the gateway. What is in the way is no error: workers translate all that it does not.
func (d *daemon) loadFastPath() {
	f := &d.fast
	if err := d.prepareFastPath(); err != nil {
		f.set(err.Error())
		return
	}
	f.set(notYet)
}

func (d *daemon) prepareFastPath() error {
	switch {
	case !d.conf.FastPath:
		return errors.New(offByConfig)
	case d.packets.kinds&^taygaconf.LogDyn != 0:
		return errors.New(offByLog)
	}
	if err := d.gateway.FastRules(); err != nil {
		return err
	}
	if err := fastpath.Supported(); err != nil {
		return err
	}
	if err := sandbox.MayLoad(); err != nil {
		return err
	}
	// The description of the kernel's types is not needed again.
	defer debug.FreeOSMemory()
	// Each has the kernel verify the program, which takes most of their time.
	proof := make(chan error, 1)
	go func() { proof <- d.gateway.ProveFastPath() }()
	path, err := fastpath.Load(cacheSizes(d.conf, d.gateway))
	if proven := <-proof; proven != nil {
		if path != nil {
			path.Close()
		}
		return proven
	}
	if err != nil {
		return err
	}
	err = d.gateway.SetFastPath(gateway.FastPath{
		Cache: path.Cache,
		Start: monotonicNow() - time.Since(started),
		Now:   func() time.Duration { return time.Since(started) },
	})
	if err != nil {
		path.Close()
		return err
	}
	d.fast.path = path
	return nil
}

// cacheSizes returns how many hosts and sessions the program can know. The map-file may become
// larger with a reload: what has no room is translated by the workers.
func cacheSizes(c *taygaconf.Config, g *gateway.Gateway) (s fastpath.Sizes) {
	const least, most = 1 << 16, 1 << 22
	s.Hosts = least
	n := g.Stats()
	for hosts := n.Leases.Size + 4*(n.Maps.Config+n.Maps.MapFile); s.Hosts < min(hosts, most); {
		s.Hosts *= 2
	}
	if len(c.Stateful.Pools) > 0 {
		s.Sessions = c.Stateful.MaxSessions
		if s.Sessions == 0 {
			s.Sessions = session.DefaultSessions
		}
		s.Sessions = min(s.Sessions, most)
	}
	return s
}

// program returns the descriptor that the helper gets, less than 0 if there is none.
func (f *fastPath) program() int {
	if f.path == nil {
		return -1
	}
	return f.path.Program()
}

// attachFastPath attaches the program to the device, after all that tries what the device
// can do: packets that it hands back never come to the device.
func (d *daemon) attachFastPath() {
	f := &d.fast
	f.detach()
	if f.path == nil {
		return
	}
	var err error
	switch {
	case d.confined && d.helper == nil:
		err = errors.New("there is no privileged helper that could attach it to another device")
	case d.confined:
		var fd int
		if fd, err = d.helper.FastPath(); err == nil {
			f.at, err = fastpath.OpenAttachment(fd)
		}
	default:
		f.at, err = attachProgram(f.path.Program(), d.conf.TunDevice)
	}
	if err != nil {
		f.set(err.Error())
	}
}

// attachProgram attaches the program to a device by its name.
func attachProgram(program int, device string) (*fastpath.Attachment, error) {
	dev, err := net.InterfaceByName(device)
	if err != nil {
		return nil, fmt.Errorf("fastpath: attach to device %s: %w", device, err)
	}
	return fastpath.Attach(program, dev.Index)
}

func (f *fastPath) detach() {
	if f.at != nil {
		f.at.Close()
		f.at = nil
	}
}

// startFastPath lets packets pass by the fast path, if nothing is in the way at the device,
// and says so.
func (d *daemon) startFastPath() {
	d.checkFastPath()
	d.logFastPath()
}

// checkFastPath looks for what may have come in the way of the fast path at the device, or
// has gone, and reports whether it is on where it was off, or the other way round.
func (d *daemon) checkFastPath() (changed bool) {
	f := &d.fast
	if f.at == nil {
		return false
	}
	err := d.fastPathObstacle()
	if err == nil && f.state() != "" {
		err = d.gateway.StartFastPath()
	}
	if err == nil {
		return f.set("")
	}
	if f.state() == "" {
		d.gateway.StopFastPath()
	}
	return f.set(err.Error())
}

// fastPathObstacle returns what is in the way at the device.
func (d *daemon) fastPathObstacle() error {
	name, index := d.dev.Name(), d.fast.at.Device()
	if index == 0 {
		return fmt.Errorf("another program has detached it from %s, or %s was deleted", name, name)
	}
	kind, err := qdisc.Bypassed(index)
	if err != nil {
		return err
	}
	if kind != "" {
		return fmt.Errorf("%s has the queueing discipline %s, which it would bypass", name, kind)
	}
	return nil
}

// logFastPath says by which way packets pass.
func (d *daemon) logFastPath() {
	off := d.fast.state()
	switch {
	case off == "":
		d.log.infof("Fast path: on: the kernel translates plain packets")
	case !d.conf.FastPath:
		d.log.infof("Fast path: off, by %s", offByConfig)
	default:
		d.log.noticef("Note: fast path: off: %s: every packet passes through this process, which is about half as fast for TCP", off)
	}
}

// watchFastPath is called now and then, and after each change of the device.
func (d *daemon) watchFastPath() {
	if d.checkFastPath() {
		d.logFastPath()
	}
}

// closeFastPath ends the fast path. Packets that are on their way come to the workers.
func (d *daemon) closeFastPath() {
	d.gateway.StopFastPath()
	d.fast.detach()
	if d.fast.path != nil {
		d.fast.set(notYet)
	}
}
