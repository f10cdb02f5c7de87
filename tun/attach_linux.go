package tun

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// attachAll opens the queues, asking for multiple queues unless the device was
// made for one, and for the best offloads that the kernel grants.
func (d *Device) attachAll(c Config) error {
	own := ownerOf(c)
	flags := uint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_MULTI_QUEUE)
	if !c.Plain {
		flags |= unix.IFF_VNET_HDR
	}
	q, _, err := makeOrAttach(d.name, flags, own)
	if errors.Is(err, unix.EINVAL) {
		flags &^= unix.IFF_MULTI_QUEUE
		q, _, err = makeOrAttach(d.name, flags, own)
	}
	if errors.Is(err, unix.EINVAL) && !c.Plain {
		flags = flags&^unix.IFF_VNET_HDR | unix.IFF_MULTI_QUEUE
		if q, _, err = makeOrAttach(d.name, flags, own); errors.Is(err, unix.EINVAL) {
			flags &^= unix.IFF_MULTI_QUEUE
			q, _, err = makeOrAttach(d.name, flags, own)
		}
	}
	if err != nil {
		return explain(d.name, err)
	}
	q.d = d
	d.queues = []*Queue{q}
	for flags&unix.IFF_MULTI_QUEUE != 0 && len(d.queues) < c.Queues {
		q, err := attach(d.name, flags)
		if err != nil {
			return explain(d.name, err)
		}
		q.d = d
		d.queues = append(d.queues, q)
	}
	reset(q.fd) // what a program before us may have left
	_, err = restore(q.fd)
	if flags&unix.IFF_VNET_HDR != 0 && err == nil {
		d.features = grant(q.fd, c)
	} else if err := plain(q.fd); err != nil {
		return fmt.Errorf("tun: switch off offloads of %s: %w", d.name, err)
	}
	return nil
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

// explain turns an error of attach into a sentence that says what to do.
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
// the kernel then cuts super-packets inside of tunnels itself, and hands over plain
// packets whose inner checksum is undone, which translate completes.
const (
	tunFCsum   = 0x01
	tunFTSO4   = 0x02
	tunFTSO6   = 0x04
	tunFTSOECN = 0x08
	tunFUSO4   = 0x20
	tunFUSO6   = 0x40
)

// grant asks for offloads, fewer with every refusal. The kernel takes them for
// the whole device.
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

// plain takes all offloads back. They belong to the device: one that is
// persistent keeps them for whoever attaches next, who may not know what to do
// with super-packets and partial checksums.
func plain(fd int) error { return unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, 0) }

// Persist makes the named device stay, or go, when no program has it open. It
// makes the device if there is none, at once with its owner, as Open does. With
// stay, uid and gid become the owner of a device that exists, too; −1 leaves one of
// them out. See Owner for what that means.
func Persist(name string, stay bool, uid, gid int) error {
	if err := checkName(name); err != nil {
		return err
	}
	own := Owner{uid, gid}
	const flags = unix.IFF_TUN | unix.IFF_NO_PI
	q, made, err := makeOrAttach(name, flags|unix.IFF_MULTI_QUEUE, own)
	if errors.Is(err, unix.EINVAL) {
		q, made, err = makeOrAttach(name, flags, own)
	}
	if err != nil {
		return explain(name, err)
	}
	defer unix.Close(q.fd)
	on := 0
	if stay {
		on = 1
		if !made {
			if err := give(q.fd, name, own); err != nil {
				return err
			}
		}
	}
	if err := unix.IoctlSetInt(q.fd, unix.TUNSETPERSIST, on); err != nil {
		return fmt.Errorf("tun: set persistence of %s: %w", name, err)
	}
	return nil
}
