//go:build !linux && !darwin

package tun

import (
	"errors"
	"time"

	"github.com/steppe-nat64/steppe/translate"
)

// Device cannot be opened on this platform.
type Device struct{}

// Queue is the queue of a Device.
type Queue struct{}

// Open returns errors.ErrUnsupported.
func Open(Config) (*Device, error) { return nil, errors.ErrUnsupported }

// Attach returns errors.ErrUnsupported.
func Attach(Config) (Attached, error) { return Attached{}, errors.ErrUnsupported }

// OpenAttached returns errors.ErrUnsupported.
func OpenAttached(Config, func() (Attached, error)) (*Device, error) {
	return nil, errors.ErrUnsupported
}

// Close does nothing.
func (a *Attached) Close() {}

// Persist returns errors.ErrUnsupported.
func Persist(name string, own Owner) error { return errors.ErrUnsupported }

// Unpersist returns errors.ErrUnsupported.
func Unpersist(name string) error { return errors.ErrUnsupported }

// Inspect returns errors.ErrUnsupported.
func Inspect(name string) (Info, error) { return Info{}, errors.ErrUnsupported }

// The methods are those of the platforms that have a device; none is ever
// called, as there is no way to get one.
func (*Device) Name() string           { return "" }
func (*Device) Index() int             { return 0 }
func (*Device) Features() Features     { return Features{} }
func (*Device) Queues() []*Queue       { return nil }
func (*Device) Link() (Link, error)    { return Link{}, errors.ErrUnsupported }
func (*Device) SetMTU(int) error       { return errors.ErrUnsupported }
func (*Device) SetUp(bool) error       { return errors.ErrUnsupported }
func (*Device) Watch(func(Link)) error { return errors.ErrUnsupported }
func (*Device) Probe() error           { return nil }
func (*Device) Stop()                  {}
func (*Device) Close() error           { return nil }

func (*Queue) Read([]translate.Packet) (int, error) { return 0, errors.ErrUnsupported }
func (*Queue) ReadTimeout([]translate.Packet, time.Duration) (int, error) {
	return 0, errors.ErrUnsupported
}
func (*Queue) Write([]translate.Packet) (int, error) { return 0, errors.ErrUnsupported }
func (*Queue) Failed() uint64                        { return 0 }
