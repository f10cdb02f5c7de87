package pref64

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/pacer"
)

// maxReads are the messages that are read in a second: more than a link with several routers
// has.
const maxReads = 64

// sockets are those of a Finder, other than those to resolvers. One of the two is open.
type sockets struct {
	name   string // of the interface that they are for
	index  int    // 0 if they receive nothing
	icmp   *ipv6.PacketConn
	route  *os.File // netlink, group RTNLGRP_ND_USEROPT
	port   uint32   // of route
	noICMP error    // why icmp is not open
}

// openSockets opens sockets that receive nothing yet: the one for ICMPv6, or the other one
// where the kernel denies that.
func openSockets(withoutICMP bool) (*sockets, error) {
	s := new(sockets)
	var err error = unix.EPERM
	if !withoutICMP {
		s.icmp, err = openICMP()
	}
	if err != nil {
		s.noICMP = err
		err = s.openRoute()
	}
	if err == nil {
		err = s.rest()
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// userOptions is the group of the options of advertisements.
const userOptions = 1 << (unix.RTNLGRP_ND_USEROPT - 1)

// openRoute opens a netlink socket for the options of advertisements.
func (s *sockets) openRoute() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink socket: %w", err)
	}
	s.route = os.NewFile(uintptr(fd), "netlink")
	if err := s.bind(&unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("netlink socket: %w", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return fmt.Errorf("netlink socket: %w", err)
	}
	s.port = name.(*unix.SockaddrNetlink).Pid
	return nil
}

// openICMP opens a socket for solicitations and advertisements.
func openICMP() (*ipv6.PacketConn, error) {
	conn, err := net.ListenPacket("ip6:ipv6-icmp", "::")
	if err != nil {
		return nil, err
	}
	c := ipv6.NewPacketConn(conn)
	var only ipv6.ICMPFilter
	only.SetAll(true)
	only.Accept(ipv6.ICMPTypeRouterAdvertisement)
	if err := errors.Join(
		c.SetICMPFilter(&only),
		c.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagInterface, true),
		c.SetMulticastHopLimit(advertisementHops),
	); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// use makes the sockets receive what arrives on one interface. That needs no privilege: a
// raw socket that is bound to a link-local address is bound to its interface, too, and stays
// so when it is bound to another address (rawv6_bind of Linux). The system call is one that
// a sandbox has to allow anyway, unlike those that bind to a device or attach a filter.
func (s *sockets) use(name string) error {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	if s.icmp != nil {
		err = s.bind(onLink(ifi.Index), &unix.SockaddrInet6{})
	} else {
		err = s.bind(&unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: s.port, Groups: userOptions})
	}
	if err != nil {
		return err
	}
	s.name, s.index = name, ifi.Index
	return s.deadline(time.Time{})
}

// rest makes the sockets receive nothing any more. What has been received is dropped.
func (s *sockets) rest() error {
	s.index = 0
	var err error
	if s.icmp != nil {
		err = s.bind(onLink(loopback))
	} else {
		err = s.bind(&unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: s.port})
	}
	if err != nil {
		return err
	}
	raw, err := s.raw()
	if err != nil {
		return err
	}
	var b [1]byte
	return raw.Control(func(fd uintptr) {
		for {
			// ENOBUFS says that the queue of a netlink socket was full.
			if _, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_DONTWAIT); err != nil && err != unix.ENOBUFS && err != unix.EINTR {
				return
			}
		}
	})
}

// loopback is the index of the interface lo, on which nothing is advertised.
const loopback = 1

// onLink is the address of all nodes on an interface.
func onLink(index int) unix.Sockaddr {
	return &unix.SockaddrInet6{ZoneId: uint32(index), Addr: [16]byte(net.IPv6linklocalallnodes)}
}

// bind binds the socket to addresses, one after the other.
func (s *sockets) bind(addrs ...unix.Sockaddr) error {
	raw, err := s.raw()
	if err != nil {
		return err
	}
	var bound error
	if err := raw.Control(func(fd uintptr) {
		for _, a := range addrs {
			if bound == nil {
				bound = os.NewSyscallError("bind", unix.Bind(int(fd), a))
			}
		}
	}); err != nil {
		return err
	}
	return bound
}

func (s *sockets) raw() (syscall.RawConn, error) {
	if s.icmp == nil {
		return s.route.SyscallConn()
	}
	return s.icmp.PacketConn.(*net.IPConn).SyscallConn()
}

// bindTo binds a socket to an interface, for ListenConfig and Dialer.
func bindTo(name string) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var bound error
		if err := c.Control(func(fd uintptr) { bound = unix.BindToDevice(int(fd), name) }); err != nil {
			return err
		}
		return os.NewSyscallError("setsockopt", bound)
	}
}

// BoundDialer returns a Dialer whose connections are bound to an interface, other than those
// to a resolver on this host. Since Linux 5.7 any user may bind a socket that is not bound yet.
func BoundDialer(name string) Dialer {
	return func(ctx context.Context, network string, server netip.AddrPort) (net.Conn, error) {
		var d net.Dialer
		if !server.Addr().IsLoopback() {
			d.Control = bindTo(name)
		}
		return d.DialContext(ctx, network, server.String())
	}
}

func (s *sockets) close() error {
	switch {
	case s.icmp != nil:
		return s.icmp.Close()
	case s.route != nil:
		return s.route.Close()
	}
	return nil
}

// wake makes receive return.
func (s *sockets) wake() { s.deadline(time.Unix(1, 0)) }

func (s *sockets) deadline(t time.Time) error {
	if s.icmp != nil {
		return s.icmp.SetReadDeadline(t)
	}
	return s.route.SetReadDeadline(t)
}

// solicit sends a router solicitation: RFC 4861 §4.1. It has no Source Link-Layer Address
// option, which must not be there if the kernel has no source address to choose yet.
func (s *sockets) solicit() error {
	if s.icmp == nil {
		return fmt.Errorf("pref64: %s: no router solicitation is sent: %w", s.name, s.noICMP)
	}
	routers := &net.IPAddr{IP: net.IPv6linklocalallrouters}
	on := &ipv6.ControlMessage{IfIndex: s.index}
	if _, err := s.icmp.WriteTo([]byte{routerSolicitation, 0, 0, 0, 0, 0, 0, 0}, on, routers); err != nil {
		return fmt.Errorf("pref64: router solicitation: %w", err)
	}
	return nil
}

// receive passes on what is received on the interface, until wake is called, ctx is done or
// the socket fails.
func (s *sockets) receive(ctx context.Context, to chan<- Advertisement) error {
	if s.icmp != nil {
		return receiveICMP(ctx, s.icmp, s.index, to)
	}
	return receiveRoute(ctx, s.route, s.index, to)
}

func receiveICMP(ctx context.Context, c *ipv6.PacketConn, index int, to chan<- Advertisement) error {
	b := make([]byte, 1<<16)
	for pace := (pacer.Pacer{Limit: maxReads}); pace.Wait(ctx); {
		n, cm, from, err := c.ReadFrom(b)
		if err != nil {
			return err
		}
		src, ok := from.(*net.IPAddr)
		if !ok || cm == nil || cm.IfIndex != index {
			continue
		}
		router, _ := netip.AddrFromSlice(src.IP)
		if a, err := ParseAdvertisement(index, router, cm.HopLimit, b[:n]); err == nil && !pass(ctx, to, a) {
			break
		}
	}
	return ctx.Err()
}

func receiveRoute(ctx context.Context, route *os.File, index int, to chan<- Advertisement) error {
	raw, err := route.SyscallConn()
	if err != nil {
		return err
	}
	b := make([]byte, 1<<16)
	for pace := (pacer.Pacer{Limit: maxReads}); pace.Wait(ctx); {
		n, err := readKernel(raw, b)
		switch {
		case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EINTR):
			continue // some were lost; routers repeat them
		case err != nil:
			return err
		}
		for _, a := range ParseUserOptions(b[:n]) {
			if a.Index == index && !pass(ctx, to, a) {
				return ctx.Err()
			}
		}
	}
	return ctx.Err()
}

// readKernel reads from a netlink socket. What another process has sent counts 0 bytes.
func readKernel(raw syscall.RawConn, b []byte) (n int, err error) {
	var from unix.Sockaddr
	if e := raw.Read(func(fd uintptr) bool {
		n, from, err = unix.Recvfrom(int(fd), b, 0)
		return err != unix.EAGAIN
	}); e != nil {
		return 0, e
	}
	if err != nil {
		return 0, os.NewSyscallError("recvfrom", err)
	}
	if k, ok := from.(*unix.SockaddrNetlink); !ok || k.Pid != 0 {
		return 0, nil
	}
	return n, nil
}

// pass reports false if ctx is done first.
func pass(ctx context.Context, to chan<- Advertisement, a Advertisement) bool {
	select {
	case to <- a:
		return true
	case <-ctx.Done():
		return false
	}
}
