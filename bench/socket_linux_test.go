package bench

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stuck is how long nothing may move.
const stuck = 5 * time.Second

// Sockets of the loads are descriptors that block. The runtime's poller would
// cost a switch of goroutines for each wake-up, which is not what is to be
// measured.

// blocking takes over the descriptor of a connection of package net. Reading and
// writing fail with EAGAIN if they have to wait for too long.
func blocking(c any) (fd int, err error) {
	nc, ok := c.(interface {
		File() (*os.File, error)
		Close() error
	})
	if !ok {
		return -1, fmt.Errorf("%T has no descriptor", c)
	}
	f, err := nc.File() // a duplicate
	if err != nil {
		return -1, err
	}
	nc.Close()
	defer f.Close()
	if fd, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return -1, err
	}
	limit := unix.NsecToTimeval(stuck.Nanoseconds())
	err = errors.Join(
		unix.SetNonblock(fd, false),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit),
	)
	if err != nil {
		unix.Close(fd)
	}
	return fd, err
}

// read and write are the system calls. One that may time out is not restarted
// when the runtime interrupts its thread by a signal: signal(7).
func read(fd int, buf []byte) (n int, err error) {
	return uninterrupted(func() (int, error) { return unix.Read(fd, buf) })
}

func write(fd int, buf []byte) (n int, err error) {
	return uninterrupted(func() (int, error) { return unix.Write(fd, buf) })
}

func uninterrupted(call func() (int, error)) (n int, err error) {
	for {
		if n, err = call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// A pair is the two ends of a TCP connection.
type pair struct{ client, server int }

// connect opens a TCP connection by way of w.
func (x *lab) connect(w *way) (p pair, err error) {
	l, err := x.server.Listen("tcp", ":5001")
	if err != nil {
		return p, err
	}
	defer l.Close()
	c, err := x.client.Dial("tcp", netip.AddrPortFrom(w.server, 5001).String(), stuck)
	if err != nil {
		return p, err
	}
	s, err := l.Accept()
	if err != nil {
		return p, err
	}
	if seen := netip.MustParseAddrPort(s.RemoteAddr().String()).Addr().Unmap(); seen != w.client {
		return p, fmt.Errorf("%s: the server sees %s, not %s", w.name, seen, w.client)
	}
	if p.client, err = blocking(c); err != nil {
		return p, err
	}
	if p.server, err = blocking(s); err != nil {
		unix.Close(p.client)
		return p, err
	}
	setCongestion(p.client)
	setCongestion(p.server)
	return p, nil
}

// congestion lists what controls the congestion of TCP, the best first: cubic is the
// kernel's default, reno is always there. What the machine is set to may pace what
// it sends, as bbr does, and would then limit what a gateway carries.
var congestion = []string{"cubic", "reno"}

// setCongestion chooses for one socket. The sysctl of a namespace takes only what
// net.ipv4.tcp_allowed_congestion_control names, a socket of root takes all. Without
// either, what the machine is set to stays, and the output says so once.
func setCongestion(fd int) {
	var err error
	for _, name := range congestion {
		if err = unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, name); err == nil {
			return
		}
	}
	noCongestion.Do(func() {
		now, _ := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		fmt.Printf("--- TCP uses %q, not one of %v: %v\n", now, congestion, err)
	})
}

var noCongestion sync.Once

// shutdown wakes those who read and write. They have to be gone when close is
// called, since the numbers may be others' afterwards.
func (p pair) shutdown() {
	unix.Shutdown(p.client, unix.SHUT_RDWR)
	unix.Shutdown(p.server, unix.SHUT_RDWR)
}

func (p pair) close() {
	unix.Close(p.client)
	unix.Close(p.server)
}

// udpPair opens two UDP sockets, of which the first is connected to the second
// by way of w.
func (x *lab) udpPair(w *way, dir string) (tx, rx int, err error) {
	from, to, dst := x.client, x.server, w.server
	if dir == "4to6" {
		from, to, dst = to, from, w.client
	}
	in, err := to.ListenPacket("udp", ":5002")
	if err != nil {
		return -1, -1, err
	}
	if rx, err = blocking(in); err != nil {
		return -1, -1, err
	}
	// Room for what arrives while the reader does not run.
	err = unix.SetsockoptInt(rx, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
	if err == nil {
		var out net.Conn
		if out, err = from.Dial("udp", netip.AddrPortFrom(dst, 5002).String(), stuck); err == nil {
			tx, err = blocking(out)
		}
	}
	if err != nil {
		unix.Close(rx)
	}
	return tx, rx, err
}

// messages are buffers for sendmmsg(2) and recvmmsg(2): with a system call for
// each datagram, a sender would be slower than some gateways.
type messages struct {
	hdrs []mmsghdr
}

// mmsghdr is struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// newMessages makes n messages of size bytes.
func newMessages(n, size int) *messages {
	m := &messages{make([]mmsghdr, n)}
	for i := range m.hdrs {
		buf := make([]byte, size)
		iov := &unix.Iovec{Base: &buf[0]}
		iov.SetLen(size)
		m.hdrs[i].hdr.Iov = iov
		m.hdrs[i].hdr.SetIovlen(1)
	}
	return m
}

// send sends all messages, or those that the kernel takes at once.
func (m *messages) send(fd int) (n int, err error) { return m.call(unix.SYS_SENDMMSG, fd, 0) }

// receive takes messages that are there. It does not wait.
func (m *messages) receive(fd int) (n int, err error) {
	return m.call(unix.SYS_RECVMMSG, fd, unix.MSG_DONTWAIT)
}

func (m *messages) call(trap uintptr, fd, flags int) (int, error) {
	n, _, errno := unix.Syscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(&m.hdrs[0])), uintptr(len(m.hdrs)), uintptr(flags), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
