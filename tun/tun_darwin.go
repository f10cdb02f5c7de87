package tun

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/songgao/water"

	"github.com/steppe-nat64/steppe/translate"
)

// Device is an open TUN device: one queue of plain packets. The kernel names its
// devices itself, utun0 and up.
type Device struct {
	ifce   *water.Interface
	queues []*Queue
	close  func() error // once
}

// Queue is the queue of a device. One goroutine may read while another writes.
type Queue struct{ d *Device }

// Open makes a device. Name must be utun with a number.
func Open(c Config) (*Device, error) {
	wc := water.Config{DeviceType: water.TUN}
	wc.Name = c.Name
	ifce, err := water.New(wc)
	if err != nil {
		return nil, fmt.Errorf("tun: open %s: %w", c.Name, err)
	}
	d := &Device{ifce: ifce}
	d.queues = []*Queue{{d}}
	d.close = sync.OnceValue(ifce.Close)
	return d, nil
}

// Attach returns errors.ErrUnsupported: one process opens a device and reads it.
func Attach(Config) (Attached, error) { return Attached{}, errors.ErrUnsupported }

// OpenAttached returns errors.ErrUnsupported.
func OpenAttached(Config, func() (Attached, error)) (*Device, error) {
	return nil, errors.ErrUnsupported
}

// Close does nothing.
func (a *Attached) Close() {}

// Persist returns errors.ErrUnsupported: devices end with their process.
func Persist(name string, own Owner) error { return Unpersist(name) }

// Unpersist returns errors.ErrUnsupported.
func Unpersist(name string) error {
	return fmt.Errorf("tun: persistent device %s: %w", name, errors.ErrUnsupported)
}

// Inspect returns errors.ErrUnsupported: a device belongs to its process.
func Inspect(name string) (Info, error) {
	return Info{}, fmt.Errorf("tun: inspect %s: %w", name, errors.ErrUnsupported)
}

// Name returns the device's name.
func (d *Device) Name() string { return d.ifce.Name() }

// Index returns the device's interface index, 0 if it is gone.
func (d *Device) Index() int {
	i, err := net.InterfaceByName(d.Name())
	if err != nil {
		return 0
	}
	return i.Index
}

// Features returns none.
func (d *Device) Features() Features { return Features{} }

// Probe does nothing: there are no offloads to try.
func (d *Device) Probe() error { return nil }

// Queues returns the device's queue.
func (d *Device) Queues() []*Queue { return d.queues }

// Link returns the device's state now.
func (d *Device) Link() (Link, error) {
	i, err := net.InterfaceByName(d.Name())
	if err != nil {
		return Link{}, fmt.Errorf("tun: link %s: %w", d.Name(), err)
	}
	return Link{MTU: i.MTU, Up: i.Flags&net.FlagUp != 0}, nil
}

// SetMTU returns errors.ErrUnsupported.
func (d *Device) SetMTU(mtu int) error {
	return fmt.Errorf("tun: set mtu of %s: %w", d.Name(), errors.ErrUnsupported)
}

// SetUp returns errors.ErrUnsupported.
func (d *Device) SetUp(up bool) error {
	return fmt.Errorf("tun: set %s up: %w", d.Name(), errors.ErrUnsupported)
}

// Watch returns errors.ErrUnsupported.
func (d *Device) Watch(f func(Link)) error {
	return fmt.Errorf("tun: watch %s: %w", d.Name(), errors.ErrUnsupported)
}

// Stop is Close: the device ends with what wakes a reader.
func (d *Device) Stop() { _ = d.close() }

// Close closes the device, which wakes a reader. Calls after the first do nothing.
func (d *Device) Close() error {
	if err := d.close(); err != nil {
		return fmt.Errorf("tun: close %s: %w", d.Name(), err)
	}
	return nil
}

// Read waits for one packet and returns 1. See the Linux version for the rest.
func (q *Queue) Read(ps []translate.Packet) (int, error) {
	if len(ps) == 0 {
		return 0, nil
	}
	p := &ps[0]
	n, err := q.d.ifce.Read(p.Buf[Headroom : len(p.Buf)-translate.Tailroom])
	if err != nil {
		return 0, q.error("read", err)
	}
	p.Off, p.Len = Headroom, n
	p.Offload, p.Result = translate.Offload{}, translate.Result{}
	return 1, nil
}

// ReadTimeout returns errors.ErrUnsupported: reads of the device cannot be given up.
func (q *Queue) ReadTimeout(ps []translate.Packet, timeout time.Duration) (int, error) {
	return 0, q.error("read", errors.ErrUnsupported)
}

// Write sends the packets of ps in order and returns how many the kernel took.
func (q *Queue) Write(ps []translate.Packet) (n int, err error) {
	for i := range ps {
		if _, err := q.d.ifce.Write(ps[i].Bytes()); err != nil {
			return n, q.error("write", err)
		}
		n++
	}
	return n, nil
}

// Refused returns 0: a refusal ends the queue here.
func (q *Queue) Failed() uint64 { return 0 }

func (q *Queue) error(op string, err error) error {
	if errors.Is(err, os.ErrClosed) {
		err = ErrClosed
	}
	return fmt.Errorf("tun: %s %s: %w", op, q.d.Name(), err)
}
