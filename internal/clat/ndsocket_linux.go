package clat

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/pacer"
)

// maxReads are the messages that are read in a second, of all links together. A neighbour
// that sends more fills the queue of the socket, and not the processor.
const maxReads = 512

// An ndSocket has the sockets of Neighbours: one that receives and sends packets on all
// interfaces, one that joins groups, one that says that a link has changed, and one that
// asks how it is now.
type ndSocket struct {
	packets *os.File
	raw     syscall.RawConn // of packets
	groups  int             // the descriptor of a socket without a port
	events  *os.File
	links   *netlink.Handle
	woken   context.Context
	wake    context.CancelFunc // ends receive and watch

	reading sync.Mutex // held until a packet has been processed
	buffer  [maxMessage]byte
}

func openND() (*ndSocket, error) {
	s := &ndSocket{groups: -1}
	if err := s.open(); err != nil {
		s.close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.woken = ctx
	s.wake = func() {
		cancel()
		past := time.Unix(1, 0)
		s.packets.SetReadDeadline(past)
		s.events.SetReadDeadline(past)
	}
	return s, nil
}

// open opens the sockets. After an error some may be open.
func (s *ndSocket) open() (err error) {
	if s.packets, err = openPackets(); err != nil {
		return err
	}
	if s.raw, err = s.packets.SyscallConn(); err != nil {
		return err
	}
	if s.events, err = openLinkEvents(); err != nil {
		return err
	}
	if s.links, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return err
	}
	s.groups, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	return os.NewSyscallError("socket", err)
}

func (s *ndSocket) close() error {
	var all []error
	for _, f := range []*os.File{s.packets, s.events} {
		if f != nil {
			all = append(all, f.Close())
		}
	}
	if s.groups >= 0 {
		all = append(all, unix.Close(s.groups))
	}
	if s.links != nil {
		s.links.Close()
	}
	return errors.Join(all...)
}

// openPackets opens a socket for solicitations and advertisements. Its filter is locked, so
// that a process that has lost its privileges can't get other packets by it. It is bound
// last, when nothing else can come in.
func openPackets() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	err = attach(fd, ndFilter())
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_LOCK_FILTER, 1)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_IPV6)})
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "neighbour discovery"), nil
}

// ndFilter accepts valid-looking neighbour solicitations and advertisements that others have
// sent to this machine, or to a group. What has no such bytes is dropped by a load.
func ndFilter() []bpf.Instruction {
	const drop = 10 // the index of the last instruction
	to := func(at uint8) uint8 { return drop - at - 1 }
	return []bpf.Instruction{
		0:  bpf.LoadExtension{Num: bpf.ExtType}, // host, broadcast, multicast; not other hosts' or outgoing
		1:  bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: unix.PACKET_MULTICAST, SkipTrue: to(1)},
		2:  bpf.LoadAbsolute{Off: 6, Size: 2}, // next header and hop limit
		3:  bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protocolICMPv6<<8 | ndHops, SkipTrue: to(3)},
		4:  bpf.LoadAbsolute{Off: ipv6Header + ndHeader - 1, Size: 1}, // the last byte of the target
		5:  bpf.LoadAbsolute{Off: ipv6Header, Size: 2},                // type and code
		6:  bpf.JumpIf{Cond: bpf.JumpLessThan, Val: neighbourSolicitation << 8, SkipTrue: to(6)},
		7:  bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: neighbourAdvertisement << 8, SkipTrue: to(7)},
		8:  bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0xff, SkipTrue: to(8)},
		9:  bpf.RetConstant{Val: maxMessage},
		10: bpf.RetConstant{Val: 0},
	}
}

// attach attaches a filter to a socket.
func attach(fd int, program []bpf.Instruction) error {
	code, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	list := make([]unix.SockFilter, len(code))
	for i, c := range code {
		list[i] = unix.SockFilter{Code: c.Op, Jt: c.Jt, Jf: c.Jf, K: c.K}
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(list)), Filter: &list[0]}))
}

func bigEndian(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// openLinkEvents opens a netlink socket that has something to read when a link has changed.
func openLinkEvents() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.RTNLGRP_LINK - 1)}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

// receive calls got with the packets that are received, until wake is called. It returns
// also if the socket fails, which an interface that goes down does not cause.
func (s *ndSocket) receive(got gotPacket) {
	for pace := (pacer.Pacer{Limit: maxReads}); pace.Wait(s.woken); {
		var err error
		if e := s.raw.Read(func(fd uintptr) bool {
			err = s.one(int(fd), got)
			return err != unix.EAGAIN
		}); e != nil {
			return
		}
		if err != nil && err != unix.ENETDOWN && err != unix.EINTR {
			return
		}
	}
}

// drain calls got with the packets that have been received already. When it returns, the
// calls with those have returned.
func (s *ndSocket) drain(got gotPacket) {
	s.raw.Control(func(fd uintptr) {
		for range maxReads {
			if err := s.one(int(fd), got); err == unix.EAGAIN {
				return
			}
		}
	})
}

// A gotPacket takes a packet from its IPv6 header on. It keeps nothing of it.
type gotPacket func(index int, from mac, b []byte)

// one calls got with one packet, if there is one.
func (s *ndSocket) one(fd int, got gotPacket) error {
	s.reading.Lock()
	defer s.reading.Unlock()
	n, from, err := unix.Recvfrom(fd, s.buffer[:], unix.MSG_DONTWAIT)
	if err != nil {
		return err
	}
	if link, ok := from.(*unix.SockaddrLinklayer); ok {
		var source mac
		if int(link.Halen) == len(source) {
			source = mac(link.Addr[:])
		}
		got(link.Ifindex, source, s.buffer[:n])
	}
	return nil
}

// watch calls changed after changes of links, until wake is called. What the messages say is
// not used: some are lost if there are many.
func (s *ndSocket) watch(changed func()) {
	raw, err := s.events.SyscallConn()
	if err != nil {
		return
	}
	b := make([]byte, 1)
	for pace := (pacer.Pacer{Limit: maxEvents}); pace.Wait(s.woken); {
		var err error
		if e := raw.Read(func(fd uintptr) bool {
			_, _, err = unix.Recvfrom(int(fd), b, 0)
			return err != unix.EAGAIN
		}); e != nil {
			return
		}
		if err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) {
			return
		}
		changed()
	}
}

// maxEvents are the changes of links that are looked at in a second.
const maxEvents = 32

// facts returns what has to be known of an interface.
func (s *ndSocket) facts(index int) (linkFacts, error) {
	link, err := s.links.LinkByIndex(index)
	if err != nil {
		return linkFacts{}, err
	}
	a := link.Attrs()
	f := linkFacts{
		silent:  a.RawFlags&(unix.IFF_NOARP|unix.IFF_LOOPBACK) != 0 || len(a.HardwareAddr) == 0,
		running: a.RawFlags&(unix.IFF_UP|unix.IFF_RUNNING) == unix.IFF_UP|unix.IFF_RUNNING,
	}
	switch {
	case len(a.HardwareAddr) == len(f.mac):
		f.mac, f.hasMAC = mac(a.HardwareAddr), true
	case !f.silent:
		return f, errors.New("neighbour discovery is supported on links with addresses of 6 bytes only")
	}
	return f, nil
}

// assigned reports whether an address is one of this machine.
func (s *ndSocket) assigned(a netip.Addr) (bool, error) {
	list, err := s.links.AddrList(nil, unix.AF_INET6)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return false, err
	}
	return slices.ContainsFunc(list, func(l netlink.Addr) bool { return l.IP.Equal(a.AsSlice()) }), nil
}

// join joins a group on an interface, so that multicast listener discovery makes switches
// forward its packets, and the interface accepts them.
func (s *ndSocket) join(index int, group netip.Addr) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptIPv6Mreq(s.groups, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP,
		&unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(index)}))
}

// leave leaves it. If the interface has gone, the kernel has done that.
func (s *ndSocket) leave(index int, group netip.Addr) {
	unix.SetsockoptIPv6Mreq(s.groups, unix.IPPROTO_IPV6, unix.IPV6_LEAVE_GROUP,
		&unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(index)})
}

// send sends a packet by an interface.
func (s *ndSocket) send(index int, to []byte, b []byte) error {
	addr := &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_IPV6), Ifindex: index, Halen: uint8(len(to))}
	copy(addr.Addr[:], to)
	var sent error
	if err := s.raw.Control(func(fd uintptr) { sent = unix.Sendto(int(fd), b, unix.MSG_DONTWAIT, addr) }); err != nil {
		return err
	}
	return os.NewSyscallError("sendto", sent)
}
