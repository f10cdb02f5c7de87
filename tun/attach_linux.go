package tun

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Attach opens the queues of the named device and creates it if it does not exist: the
// part of Open that needs privilege. Another process makes a Device of the result, by
// OpenAttached, which also locks the device against other daemons.
func Attach(c Config) (a Attached, err error) {
	if err := c.check(); err != nil {
		return a, err
	}
	queues, features, err := attachAll(c)
	for _, q := range queues {
		a.FDs = append(a.FDs, q.fd)
	}
	if err != nil {
		a.Close()
		return Attached{}, err
	}
	a.Features = features
	return a, nil
}

// Close closes the descriptors.
func (a *Attached) Close() {
	for _, fd := range a.FDs {
		unix.Close(fd)
	}
	a.FDs = nil
}

// adopt makes queues of descriptors that another process has opened. What they are,
// the kernel says.
func adopt(c Config, a Attached) (queues []*Queue, f Features, err error) {
	defer func() {
		if err != nil {
			a.Close()
			queues, f = nil, Features{}
		}
	}()
	if len(a.FDs) == 0 || len(a.FDs) > max(c.Queues, 1) {
		return nil, f, fmt.Errorf("tun: attach %s: got %d queues: want 1 to %d", c.Name, len(a.FDs), max(c.Queues, 1))
	}
	for _, fd := range a.FDs {
		ifr, err := unix.NewIfreq(c.Name)
		if err == nil {
			err = unix.IoctlIfreq(fd, unix.TUNGETIFF, ifr)
		}
		if err != nil {
			return nil, f, fmt.Errorf("tun: attach %s: got no queue: %w", c.Name, err)
		}
		// IFF_NO_PI is not among the flags: its bit is IFF_NOFILTER here.
		const kind = unix.IFF_TUN | unix.IFF_TAP | unix.IFF_DETACH_QUEUE
		virtio := ifr.Uint16()&unix.IFF_VNET_HDR != 0
		if ifr.Name() != c.Name || ifr.Uint16()&kind != unix.IFF_TUN || !virtio && a.Features != (Features{}) {
			return nil, f, fmt.Errorf("tun: attach %s: got a queue of another kind, or of device %q", c.Name, ifr.Name())
		}
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, f, fmt.Errorf("tun: attach %s: %w", c.Name, err)
		}
		queues = append(queues, &Queue{fd: fd, virtio: virtio})
	}
	return queues, a.Features, nil
}

// attachAll opens the queues, asking for multiple queues unless the device was
// made for one, and for the best offloads that the kernel grants.
func attachAll(c Config) (queues []*Queue, f Features, err error) {
	own := ownerOf(c)
	flags := uint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_MULTI_QUEUE)
	if !c.Plain {
		flags |= unix.IFF_VNET_HDR
	}
	q, _, err := makeOrAttach(c.Name, flags, own)
	if errors.Is(err, unix.EINVAL) {
		flags &^= unix.IFF_MULTI_QUEUE
		q, _, err = makeOrAttach(c.Name, flags, own)
	}
	if errors.Is(err, unix.EINVAL) && !c.Plain {
		flags = flags&^unix.IFF_VNET_HDR | unix.IFF_MULTI_QUEUE
		if q, _, err = makeOrAttach(c.Name, flags, own); errors.Is(err, unix.EINVAL) {
			flags &^= unix.IFF_MULTI_QUEUE
			q, _, err = makeOrAttach(c.Name, flags, own)
		}
	}
	if err != nil {
		return nil, f, explain(c.Name, err)
	}
	queues = []*Queue{q}
	for flags&unix.IFF_MULTI_QUEUE != 0 && len(queues) < c.Queues {
		q, err := attach(c.Name, flags)
		if err != nil {
			return queues, f, explain(c.Name, err)
		}
		queues = append(queues, q)
	}
	reset(q.fd) // settings that an earlier program may have left
	_, err = restore(q.fd)
	if flags&unix.IFF_VNET_HDR != 0 && err == nil {
		f = grant(q.fd, c)
	} else if err := plain(q.fd); err != nil {
		return queues, f, fmt.Errorf("tun: switch off offloads of %s: %w", c.Name, err)
	}
	return queues, f, nil
}

// attach opens one queue of the named device.
func attach(name string, flags uint16) (*Queue, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/dev/net/tun", Err: err}
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(flags)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &Queue{fd: fd, virtio: flags&unix.IFF_VNET_HDR != 0}, nil
}

// explain turns an error of attach into one that says what to do.
func explain(name string, err error) error {
	var path *os.PathError
	switch {
	case errors.As(err, &path) && errors.Is(err, unix.ENOENT):
		return fmt.Errorf("tun: %w (load the tun module, or give the container the device)", err)
	case errors.As(err, &path) && (errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO)):
		return fmt.Errorf("tun: %w (the kernel has no TUN driver: load the tun module)", err)
	case errors.As(err, &path) && errors.Is(err, unix.EPERM):
		return fmt.Errorf("tun: %w (the container may not use the device: allow it)", err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("tun: attach %s: %w (run as root or with CAP_NET_ADMIN)", name, err)
	case errors.Is(err, errRaced):
		return fmt.Errorf("tun: make %s: %w", name, err)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("tun: attach %s: %w (stop the other process first)", name, ErrBusy)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("tun: attach %s: %w (an interface of that name that is no TUN device?)", name, err)
	}
	return fmt.Errorf("tun: attach %s: %w", name, err)
}

// Offload flags of TUNSETOFFLOAD, linux/if_tun.h. The last two came with 6.2. Those
// of 6.17 (TUN_F_UDP_TUNNEL_GSO and its checksum, 0x80 and 0x100) are not asked for:
// the kernel then segments super-packets inside of tunnels itself, and delivers plain
// packets whose inner checksum is incomplete, which translate completes.
const (
	tunFCsum   = 0x01
	tunFTSO4   = 0x02
	tunFTSO6   = 0x04
	tunFTSOECN = 0x08
	tunFUSO4   = 0x20
	tunFUSO6   = 0x40
)

// grant requests offloads, fewer after each error. They apply to the whole device.
func grant(fd int, c Config) Features {
	for _, f := range []Features{{true, true, true}, {true, true, false}, {true, false, false}} {
		f.TSO = f.TSO && !c.NoTSO
		f.USO = f.USO && !c.NoUSO
		if unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, f.bits()) == nil {
			return f
		}
	}
	return Features{}
}

// bits are the flags of TUNSETOFFLOAD for f, which has Checksum.
func (f Features) bits() int {
	b := tunFCsum
	if f.TSO {
		b |= tunFTSO4 | tunFTSO6 | tunFTSOECN
	}
	if f.USO {
		b |= tunFUSO4 | tunFUSO6
	}
	return b
}

// plain switches all offloads off. They belong to the device: a persistent device keeps
// them for the next program that attaches, which may not support super-packets and
// partial checksums.
func plain(fd int) error { return unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, 0) }

// Persist makes the named device persistent: it stays when no program has it open. It
// creates the device if it does not exist, at once with its owner, as Open does. own
// becomes the owner of an existing device, too.
func Persist(name string, own Owner) error {
	return persist(name, own, func(fd int, made bool) error {
		if !made {
			if err := give(fd, name, own); err != nil {
				return err
			}
		}
		return setPersistence(fd, name, 1)
	})
}

// Unpersist undoes Persist: the named device goes as soon as no program has it open. It
// is no error if there is no such device.
func Unpersist(name string) error {
	return persist(name, Owner{-1, -1}, func(fd int, _ bool) error { return setPersistence(fd, name, 0) })
}

// persist attaches to the named device, or creates it for own, and calls change with its
// descriptor.
func persist(name string, own Owner, change func(fd int, made bool) error) error {
	if err := checkName(name); err != nil {
		return err
	}
	const flags = unix.IFF_TUN | unix.IFF_NO_PI
	q, made, err := makeOrAttach(name, flags|unix.IFF_MULTI_QUEUE, own)
	if errors.Is(err, unix.EINVAL) {
		q, made, err = makeOrAttach(name, flags, own)
	}
	if err != nil {
		return explain(name, err)
	}
	defer unix.Close(q.fd)
	return change(q.fd, made)
}

func setPersistence(fd int, name string, on int) error {
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, on); err != nil {
		return fmt.Errorf("tun: set persistence of %s: %w", name, err)
	}
	return nil
}
