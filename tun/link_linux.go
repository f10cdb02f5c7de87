package tun

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// openLink opens the sockets for the device's link. They belong to the network namespace
// of the thread that opened the device.
func (d *Device) openLink() (err error) {
	// Any type of socket works, netdevice(7); this one sends nothing.
	if d.ctl, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return fmt.Errorf("tun: socket: %w", err)
	}
	v, err := d.get(unix.SIOCGIFINDEX)
	if err != nil {
		return err
	}
	d.index = int(v)
	if d.query, err = routeSocket(); err != nil {
		return err
	}
	d.route, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("tun: netlink socket: %w", err)
	}
	if err := unix.Bind(d.route, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK | unix.RTMGRP_IPV6_IFADDR}); err != nil {
		return fmt.Errorf("tun: bind netlink socket: %w", err)
	}
	return nil
}

// get and set are ioctls that carry one number.
func (d *Device) get(req uint) (uint32, error) {
	ifr, err := unix.NewIfreq(d.name)
	if err == nil {
		err = unix.IoctlIfreq(d.ctl, req, ifr)
	}
	if err != nil {
		return 0, d.linkError(err)
	}
	return ifr.Uint32(), nil
}

func (d *Device) set(req uint, fill func(*unix.Ifreq)) error {
	ifr, err := unix.NewIfreq(d.name)
	if err == nil {
		fill(ifr)
		err = unix.IoctlIfreq(d.ctl, req, ifr)
	}
	if err != nil {
		return d.linkError(err)
	}
	return nil
}

func (d *Device) linkError(err error) error {
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) {
		err = ErrGone
	}
	return fmt.Errorf("tun: link %s: %w", d.name, err)
}

// Link returns the device's state now.
func (d *Device) Link() (Link, error) {
	if err := d.enter(&d.mu); err != nil {
		return Link{}, err
	}
	defer d.mu.Unlock()
	return d.linkLocked()
}

func (d *Device) linkLocked() (Link, error) {
	mtu, err := d.get(unix.SIOCGIFMTU)
	if err != nil {
		return Link{}, err
	}
	flags, err := d.get(unix.SIOCGIFFLAGS)
	if err != nil {
		return Link{}, err
	}
	l := Link{MTU: int(mtu), Up: flags&unix.IFF_UP != 0, Repaired: d.repaired}
	if i, err := inspect(d.query, d.name); err == nil && i.Index == d.index { // not before 4.17
		l.Foreign, l.Ownerless = max(i.Queues-len(d.queues), 0), i.Ownerless()
		if i.MultiQueue && !l.Ownerless {
			l.Owner = Owner{UID: i.UID, GID: i.GID}
		}
	}
	return l, nil
}

// SetMTU sets the device's MTU in bytes: 68 at least, or 1280 where the device
// has IPv6 addresses, and 65535 at most.
func (d *Device) SetMTU(mtu int) error {
	if mtu < 0 || mtu > maxPacket { // what ioctl takes has fewer bits
		return fmt.Errorf("tun: link %s: MTU %d is not in 68 to %d", d.name, mtu, maxPacket)
	}
	if err := d.enter(&d.mu); err != nil {
		return err
	}
	defer d.mu.Unlock()
	return d.set(unix.SIOCSIFMTU, func(r *unix.Ifreq) { r.SetUint32(uint32(mtu)) })
}

// SetUp sets the device up or down.
func (d *Device) SetUp(up bool) error {
	if err := d.enter(&d.mu); err != nil {
		return err
	}
	defer d.mu.Unlock()
	flags, err := d.get(unix.SIOCGIFFLAGS)
	if err != nil {
		return err
	}
	if up {
		flags |= unix.IFF_UP
	} else {
		flags &^= unix.IFF_UP
	}
	return d.set(unix.SIOCSIFFLAGS, func(r *unix.Ifreq) { r.SetUint16(uint16(flags)) })
}

// Watch calls f for the device's state now and after every change of it, until
// the device is gone or closed; then it returns, with ErrClosed in the latter
// case. f is called by the calling goroutine; it must not call Close or Watch,
// which would wait for it. Only one Watch runs at a time.
//
// f is also called with an unchanged state if the device, or IPv6 on it, was down in
// between: the kernel has removed routes and addresses then.
func (d *Device) Watch(f func(Link)) error {
	if err := d.enter(&d.watching); err != nil {
		return err
	}
	defer d.watching.Unlock()
	buf := make([]byte, 1<<16)
	d.skip(buf)
	last, err := d.Link()
	if errors.Is(err, ErrGone) {
		f(Link{Gone: true})
		return nil
	}
	if err != nil {
		return err
	}
	seen := sight{index: d.index, up: last.Up}
	f(last)
	fds := []unix.PollFd{{Fd: int32(d.route), Events: unix.POLLIN}, {Fd: int32(d.wake), Events: unix.POLLIN}}
	for {
		ready, err := unix.Poll(fds, int(lookInterval/time.Millisecond))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("tun: watch %s: %w", d.name, err)
		}
		if d.closed.Load() {
			return fmt.Errorf("tun: %s: %w", d.name, ErrClosed)
		}
		n, _, err := unix.Recvfrom(d.route, buf, 0)
		again := false
		switch {
		case ready == 0 && errors.Is(err, unix.EAGAIN): // time to look
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOBUFS): // messages were lost
			again = true
		case err != nil:
			return fmt.Errorf("tun: watch %s: %w", d.name, err)
		default:
			var ours bool
			if ours, again = seen.read(buf[:n]); !ours {
				continue
			}
		}
		// Messages may be late: query the current state of the device.
		now, err := d.linkByIndex(last)
		if err != nil {
			return err
		}
		if now != last || again && now.Up {
			f(now)
			last = now
		}
		if now.Gone {
			return nil
		}
	}
}

// skip reads the messages that arrived before Watch queries the state.
func (d *Device) skip(buf []byte) {
	for range 1000 { // others may go on for ever
		if _, _, err := unix.Recvfrom(d.route, buf, 0); errors.Is(err, unix.EAGAIN) {
			return
		}
	}
}

// lookInterval is the poll interval of Watch: the kernel sends no messages about settings,
// nor about queues while the device is down.
const lookInterval = time.Second

// linkByIndex is Link for the device that was opened, and not for a later one of the same
// name. It restores settings that other programs have changed since the last poll.
func (d *Device) linkByIndex(last Link) (Link, error) {
	if err := d.enter(&d.mu); err != nil {
		return Link{}, err
	}
	defer d.mu.Unlock()
	index, err := d.get(unix.SIOCGIFINDEX)
	if errors.Is(err, ErrGone) || err == nil && int(index) != d.index {
		return Link{Gone: true}, nil
	}
	if err != nil {
		return Link{}, err
	}
	l, err := d.linkLocked()
	if errors.Is(err, ErrGone) {
		return Link{Gone: true}, nil
	}
	if err == nil {
		d.repair(l.Foreign > 0 || last.Foreign > 0)
		l.Repaired = d.repaired
	}
	return l, err
}

// A sight is what route netlink messages have reported about a link.
type sight struct {
	index int
	up    bool
}

// read reads a batch of messages. It reports whether they speak of the link, and
// whether it came up, or IPv6 on it, which shows by a new link-local address.
func (s *sight) read(b []byte) (ours, came bool) {
	for len(b) >= unix.SizeofNlMsghdr+unix.SizeofIfAddrmsg {
		n := int(binary.NativeEndian.Uint32(b))
		if n > len(b) && len(b) < unix.SizeofNlMsghdr+unix.SizeofIfInfomsg {
			break // cut, and not a message of the link
		}
		if n < unix.SizeofNlMsghdr || n > len(b) {
			return true, true // unknown message: query the state
		}
		switch body := b[unix.SizeofNlMsghdr:n]; binary.NativeEndian.Uint16(b[4:]) {
		case unix.RTM_NEWLINK, unix.RTM_DELLINK:
			if len(body) >= unix.SizeofIfInfomsg && int(int32(binary.NativeEndian.Uint32(body[4:]))) == s.index {
				up := binary.NativeEndian.Uint32(body[8:])&unix.IFF_UP != 0
				ours, came = true, came || up && !s.up
				s.up = up
			}
		case unix.RTM_NEWADDR:
			if len(body) >= unix.SizeofIfAddrmsg && body[0] == unix.AF_INET6 && body[3] == unix.RT_SCOPE_LINK &&
				int(int32(binary.NativeEndian.Uint32(body[4:]))) == s.index {
				ours, came = true, true
			}
		}
		b = b[min(len(b), (n+3)&^3):]
	}
	return ours, came
}
