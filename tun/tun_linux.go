package tun

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Device is an open TUN device. All methods may be called at any time, with two
// exceptions: Probe comes before any other use, and the function given to Watch must not
// call Close or Watch, which wait for it.
type Device struct {
	name     string
	features Features
	queues   []*Queue
	lock     int // abstract socket that prevents other daemons of ours from attaching
	ctl      int // socket for ioctls, in the namespace of the device
	route    int // route netlink socket, for Watch
	query    int // another, for queries about the device
	wake     int // eventfd that is readable once the device is closed
	index    int

	closed   atomic.Bool // Stop was called: descriptors are not used any more
	ending   sync.Mutex  // held by Stop and Close; guards released
	released bool
	mu       sync.Mutex // held while ctl and query are used
	watching sync.Mutex // held while route is used
	repaired int        // settings that were changed and restored, under mu
}

// Open makes or attaches to the device. On any error nothing is left behind.
func Open(c Config) (*Device, error) { return openWith(c, attachAll) }

// OpenAttached is Open for a process that may not attach to the device: attach is
// called for the queues, once no other daemon has the device, and gets them from a
// process that has called Attach, for instance over a socket (SCM_RIGHTS). Their
// descriptors belong to OpenAttached from then on.
func OpenAttached(c Config, attach func() (Attached, error)) (*Device, error) {
	return openWith(c, func(c Config) ([]*Queue, Features, error) {
		a, err := attach()
		if err != nil {
			return nil, Features{}, err
		}
		return adopt(c, a)
	})
}

// openWith is Open with queues of any origin. attach returns those to close with an
// error, too.
func openWith(c Config, attach func(Config) ([]*Queue, Features, error)) (*Device, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	d := &Device{name: c.Name, lock: -1, ctl: -1, route: -1, query: -1, wake: -1}
	if err := d.open(c, attach); err != nil {
		d.release()
		return nil, err
	}
	return d, nil
}

func (c *Config) check() error {
	if err := checkName(c.Name); err != nil {
		return err
	}
	if c.Queues < 0 || c.Queues > MaxQueues {
		return fmt.Errorf("tun: %d queues: want 1 to %d", c.Queues, MaxQueues)
	}
	return nil
}

// checkName returns an error for a name that is not that of one device. The kernel would
// stop at a NUL and use another device than the one that we have locked; for a pattern it
// would create a new device at every call.
func checkName(name string) error {
	if name == "" || len(name) >= unix.IFNAMSIZ {
		return fmt.Errorf("tun: device name %q: want 1 to %d bytes", name, unix.IFNAMSIZ-1)
	}
	if strings.ContainsAny(name, "%\x00") {
		return fmt.Errorf("tun: device name %q: want no %% and no NUL", name)
	}
	return nil
}

func (d *Device) open(c Config, attach func(Config) ([]*Queue, Features, error)) (err error) {
	if err := d.claim(); err != nil {
		return err
	}
	if n, _ := queuesInUse(d.name); n > 0 {
		return explain(d.name, unix.EBUSY)
	}
	d.queues, d.features, err = attach(c)
	for _, q := range d.queues {
		q.d = d
	}
	if err != nil {
		return err
	}
	if n, ok := queuesInUse(d.name); ok && n > len(d.queues) { // another program attached at the same time
		return explain(d.name, unix.EBUSY)
	}
	if d.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("tun: eventfd: %w", err)
	}
	for _, q := range d.queues {
		q.poll = [2]unix.PollFd{{Fd: int32(q.fd), Events: unix.POLLIN}, {Fd: int32(d.wake), Events: unix.POLLIN}}
	}
	return d.openLink()
}

// Name returns the device's name.
func (d *Device) Name() string { return d.name }

// Index returns the device's interface index.
func (d *Device) Index() int { return d.index }

// Features returns what the kernel has granted.
func (d *Device) Features() Features { return d.features }

// Queues returns the device's queues, at least one.
func (d *Device) Queues() []*Queue { return d.queues }

// enter takes a mutex that keeps descriptors from being closed, and reused,
// under a call.
func (d *Device) enter(m *sync.Mutex) error {
	m.Lock()
	if d.closed.Load() {
		m.Unlock()
		return fmt.Errorf("tun: %s: %w", d.name, ErrClosed)
	}
	return nil
}

// Stop wakes all readers and watchers and waits until they have returned. From then on,
// all methods that use the device return ErrClosed. The device stays open until Close, so
// no other daemon attaches to it: the caller can save what the next one will read.
func (d *Device) Stop() {
	d.ending.Lock()
	defer d.ending.Unlock()
	d.stop()
}

// Close stops and closes the device. Calls after the first do nothing.
func (d *Device) Close() error {
	d.ending.Lock()
	defer d.ending.Unlock()
	d.stop()
	if !d.released {
		d.released = true
		d.release()
	}
	return nil
}

func (d *Device) stop() {
	if d.closed.Swap(true) {
		return
	}
	var one [8]byte
	one[0], one[7] = 1, 1 // not zero in either byte order
	_, _ = unix.Write(d.wake, one[:])
	held := []*sync.Mutex{&d.watching} // Watch takes mu while it holds this
	for _, q := range d.queues {
		held = append(held, &q.rd, &q.wr)
	}
	held = append(held, &d.mu)
	for _, m := range held {
		m.Lock()
	}
	for _, m := range held {
		m.Unlock() // later callers see closed
	}
}

func (d *Device) release() {
	if d.features != (Features{}) {
		_ = plain(d.queues[0].fd)
	}
	for _, q := range d.queues {
		unix.Close(q.fd)
	}
	for _, fd := range []int{d.lock, d.ctl, d.route, d.query, d.wake} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
