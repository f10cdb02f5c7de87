package netlab

import (
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Dial connects to an address as net.DialTimeout does, from inside the host. The
// address is a literal one. The connection works from any goroutine and is closed
// with the lab at the latest.
func (h *Host) Dial(network, addr string, timeout time.Duration) (net.Conn, error) {
	var c net.Conn
	err := h.Do(func() (err error) {
		d := net.Dialer{Timeout: timeout}
		d.SetMultipathTCP(false)
		c, err = d.DialContext(h.lab.ctx, network, addr)
		return err
	})
	if err != nil {
		return nil, h.errorf("%w", err)
	}
	h.lab.closeAtEnd(c)
	return c, nil
}

// Listen listens inside the host as net.Listen does. The listener is closed with
// the lab at the latest.
func (h *Host) Listen(network, addr string) (net.Listener, error) {
	var l net.Listener
	err := h.Do(func() (err error) {
		var lc net.ListenConfig
		lc.SetMultipathTCP(false) // no options in the handshake that were not requested
		l, err = lc.Listen(h.lab.ctx, network, addr)
		return err
	})
	if err != nil {
		return nil, h.errorf("%w", err)
	}
	h.lab.closeAtEnd(l)
	return l, nil
}

// ListenPacket opens a packet socket inside the host as net.ListenPacket does:
// "udp" and addresses with a port, or "ip4:icmp" and addresses without one. It is
// closed with the lab at the latest.
func (h *Host) ListenPacket(network, addr string) (net.PacketConn, error) {
	var c net.PacketConn
	err := h.Do(func() (err error) {
		c, err = net.ListenPacket(network, addr)
		return err
	})
	if err != nil {
		return nil, h.errorf("%w", err)
	}
	h.lab.closeAtEnd(c)
	return c, nil
}

// PathMTU returns the path MTU to dst, in bytes, that the host's kernel goes by:
// what it has learnt from ICMP, or else the MTU of the route or interface.
func (h *Host) PathMTU(dst netip.Addr) (int, error) {
	// Connecting a UDP socket looks the route up and sends nothing.
	c, err := h.Dial("udp", netip.AddrPortFrom(dst, 9).String(), time.Second)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return PathMTU(c)
}

// PathMTU returns the path MTU of a connected TCP or UDP socket in bytes.
func PathMTU(c net.Conn) (int, error) {
	level, opt := unix.IPPROTO_IPV6, unix.IPV6_MTU
	if isIPv4(c.RemoteAddr()) {
		level, opt = unix.IPPROTO_IP, unix.IP_MTU
	}
	var mtu int
	err := control(c, func(fd int) (err error) {
		mtu, err = unix.GetsockoptInt(fd, level, opt)
		return err
	})
	return mtu, err
}

// control runs f with the file descriptor of a socket.
func control(c any, f func(fd int) error) error {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return unix.ENOTSOCK
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	if err := raw.Control(func(fd uintptr) { ferr = f(int(fd)) }); err != nil {
		return err
	}
	return ferr
}

// isIPv4 reports whether a, of the form host:port, is an IPv4 address.
func isIPv4(a net.Addr) bool {
	ap, err := netip.ParseAddrPort(a.String())
	return err == nil && ap.Addr().Unmap().Is4()
}
