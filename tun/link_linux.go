package tun

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// openLink opens the sockets that look after the device's link. They belong to
// the network namespace of the thread that opened the device.
func (d *Device) openLink() (err error) {
	// Any socket will do, netdevice(7), and this one sends nothing anywhere.
	if d.ctl, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return fmt.Errorf("tun: socket: %w", err)
	}
	v, err := d.get(unix.SIOCGIFINDEX)
	if err != nil {
		return err
	}
	d.index = int(v)
	d.route, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("tun: netlink socket: %w", err)
	}
	if err := unix.Bind(d.route, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK}); err != nil {
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
	mtu, err := d.get(unix.SIOCGIFMTU)
	if err != nil {
		return Link{}, err
	}
	flags, err := d.get(unix.SIOCGIFFLAGS)
	if err != nil {
		return Link{}, err
	}
	return Link{MTU: int(mtu), Up: flags&unix.IFF_UP != 0}, nil
}

// SetMTU sets the device's MTU in octets: 68 at least, or 1280 where the device
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
func (d *Device) Watch(f func(Link)) error {
	if err := d.enter(&d.watching); err != nil {
		return err
	}
	defer d.watching.Unlock()
	last, err := d.Link()
	if errors.Is(err, ErrGone) {
		f(Link{Gone: true})
		return nil
	}
	if err != nil {
		return err
	}
	f(last)
	buf := make([]byte, 1<<16)
	fds := []unix.PollFd{{Fd: int32(d.route), Events: unix.POLLIN}, {Fd: int32(d.wake), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("tun: watch %s: %w", d.name, err)
		}
		if d.closed.Load() {
			return fmt.Errorf("tun: %s: %w", d.name, ErrClosed)
		}
		n, _, err := unix.Recvfrom(d.route, buf, 0)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			continue
		case err != nil && !errors.Is(err, unix.ENOBUFS): // ENOBUFS: messages were lost
			return fmt.Errorf("tun: watch %s: %w", d.name, err)
		case err == nil && !mentions(buf[:n], d.index):
			continue
		}
		// Messages may be late; the device itself is asked what holds now.
		now, err := d.linkByIndex()
		if err != nil {
			return err
		}
		if now != last {
			f(now)
			last = now
		}
		if now.Gone {
			return nil
		}
	}
}

// linkByIndex is Link for the device that was opened, and not for a later one
// that took its name.
func (d *Device) linkByIndex() (Link, error) {
	if err := d.enter(&d.mu); err != nil {
		return Link{}, err
	}
	index, err := d.get(unix.SIOCGIFINDEX)
	d.mu.Unlock()
	if errors.Is(err, ErrGone) || err == nil && int(index) != d.index {
		return Link{Gone: true}, nil
	}
	if err != nil {
		return Link{}, err
	}
	l, err := d.Link()
	if errors.Is(err, ErrGone) {
		return Link{Gone: true}, nil
	}
	return l, err
}

// mentions reports whether a batch of route netlink messages speaks of the link
// with the given index.
func mentions(b []byte, index int) bool {
	for len(b) >= unix.SizeofNlMsghdr+unix.SizeofIfInfomsg {
		n := int(binary.NativeEndian.Uint32(b))
		typ := binary.NativeEndian.Uint16(b[4:])
		if n < unix.SizeofNlMsghdr || n > len(b) {
			return true // not understood: better look
		}
		if (typ == unix.RTM_NEWLINK || typ == unix.RTM_DELLINK) && n >= unix.SizeofNlMsghdr+unix.SizeofIfInfomsg &&
			int(int32(binary.NativeEndian.Uint32(b[unix.SizeofNlMsghdr+4:]))) == index {
			return true
		}
		b = b[min(len(b), (n+3)&^3):]
	}
	return false
}

// queuesInUse asks the kernel how many queues of the named device programs have
// open. It reports false if the kernel does not tell, as before 4.17. A device
// that does not exist has none; nor does one with a single queue: the kernel lets
// nobody share that.
func queuesInUse(name string) (n int, ok bool) {
	s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return 0, false
	}
	defer unix.Close(s)
	b := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg, 1<<16)
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(name)+1))
	b = binary.NativeEndian.AppendUint16(b, unix.IFLA_IFNAME)
	b = append(b, name...)
	b = append(b, make([]byte, 4-len(name)%4)...) // a zero at least, and up to a multiple of 4
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.RTM_GETLINK)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	if err := unix.Sendto(s, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, false
	}
	size, _, err := unix.Recvfrom(s, b[:cap(b)], 0)
	if err != nil || size < unix.SizeofNlMsghdr+unix.SizeofIfInfomsg {
		return 0, false
	}
	switch binary.NativeEndian.Uint16(b[4:]) {
	case unix.NLMSG_ERROR:
		errno := -int32(binary.NativeEndian.Uint32(b[unix.SizeofNlMsghdr:]))
		return 0, unix.Errno(errno) == unix.ENODEV
	case unix.RTM_NEWLINK:
	default:
		return 0, false
	}
	b = b[unix.SizeofNlMsghdr+unix.SizeofIfInfomsg : size]
	data := attribute(attribute(b, unix.IFLA_LINKINFO), unix.IFLA_INFO_DATA)
	if v := attribute(data, unix.IFLA_TUN_MULTI_QUEUE); len(v) == 1 && v[0] == 0 {
		return 0, true
	}
	for _, typ := range []uint16{unix.IFLA_TUN_NUM_QUEUES, unix.IFLA_TUN_NUM_DISABLED_QUEUES} {
		if v := attribute(data, typ); len(v) >= 4 {
			n += int(binary.NativeEndian.Uint32(v))
			ok = true
		}
	}
	return n, ok
}

// attribute returns the value of a netlink attribute, nil if there is none.
func attribute(b []byte, typ uint16) []byte {
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			return nil
		}
		if binary.NativeEndian.Uint16(b[2:])&^unix.NLA_F_NESTED == typ {
			return b[4:n]
		}
		b = b[min(len(b), (n+3)&^3):]
	}
	return nil
}
