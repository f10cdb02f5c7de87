package netlab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Capture is a running capture on an interface.
type Capture struct {
	host    *Host
	ifname  string
	file    *os.File // an AF_PACKET socket
	done    chan struct{}
	packets []Packet // valid once done is closed
	err     error    // likewise
}

// captureBuffer is how much the kernel may hold back while no program reads, in
// bytes: enough for some ten thousand full-sized packets.
const captureBuffer = 64 << 20

// Capture starts to collect all IPv4 and IPv6 packets that an interface sends or
// receives, whole, in memory. See DisableOffloads for what they will look like.
func (h *Host) Capture(ifname string) (*Capture, error) {
	c := &Capture{host: h, ifname: ifname, done: make(chan struct{})}
	err := h.Do(func() (err error) {
		c.file, err = openPacketSocket(h, ifname)
		return err
	})
	if err != nil {
		return nil, h.errorf("capture on %s: %w", ifname, err)
	}
	go c.collect()
	h.lab.atClose(func() { c.Stop() })
	return c, nil
}

func openPacketSocket(h *Host, ifname string) (*os.File, error) {
	link, err := h.link(ifname)
	if err != nil {
		return nil, err
	}
	// SOCK_DGRAM takes the link header away, whatever kind it is. Protocol 0
	// receives nothing until the socket is bound to the interface.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "packet socket")
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, captureBuffer)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{
			Protocol: ntohs(unix.ETH_P_ALL), // of single protocols only what is received would be seen
			Ifindex:  link.Attrs().Index,
		})
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// ntohs turns a 16-bit number from network order into that of the machine, or
// back.
func ntohs(v uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], v)
	return binary.BigEndian.Uint16(b[:])
}

// collect reads packets until Stop sets a deadline.
func (c *Capture) collect() {
	defer close(c.done)
	raw, err := c.file.SyscallConn()
	if err != nil {
		c.err = err
		return
	}
	buf := make([]byte, maxDatagram)
	err = raw.Read(func(fd uintptr) bool {
		c.err = c.drain(int(fd), buf)
		return c.err != nil
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// What came between the last look and the deadline is still to be read.
		err = raw.Control(func(fd uintptr) { c.err = c.drain(int(fd), buf) })
	}
	c.err = errors.Join(c.err, err, c.lost())
}

// drain reads what there is.
func (c *Capture) drain(fd int, buf []byte) error {
	for {
		n, from, err := unix.Recvfrom(fd, buf, 0)
		switch err {
		case nil:
			c.add(buf[:n], from)
		case unix.EAGAIN:
			return nil
		case unix.EINTR, unix.ENETDOWN: // the interface may come up again
		default:
			return err
		}
	}
}

// add keeps a copy of a packet, if it is an IP packet.
func (c *Capture) add(b []byte, from unix.Sockaddr) {
	ll, ok := from.(*unix.SockaddrLinklayer)
	if !ok {
		return
	}
	switch ntohs(ll.Protocol) {
	case unix.ETH_P_IP, unix.ETH_P_IPV6:
		c.packets = append(c.packets, Packet{
			Time:     time.Now(),
			Data:     append([]byte(nil), b...),
			Outgoing: ll.Pkttype == unix.PACKET_OUTGOING,
		})
	}
}

// lost returns an error if the kernel had to drop packets for want of space.
func (c *Capture) lost() error {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return err
	}
	var stats *unix.TpacketStats
	var serr error
	if err := raw.Control(func(fd uintptr) {
		stats, serr = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
	}); err != nil {
		return err
	}
	if serr == nil && stats.Drops > 0 {
		serr = fmt.Errorf("%d packets lost", stats.Drops)
	}
	return serr
}

// Stop ends the capture and returns the packets in the order they passed,
// including all that passed before the call. It returns an error if some were
// lost. Calling it again returns the same.
func (c *Capture) Stop() ([]Packet, error) {
	c.file.SetReadDeadline(time.Now())
	<-c.done
	c.file.Close()
	if c.err != nil {
		return c.packets, c.host.errorf("capture on %s: %w", c.ifname, c.err)
	}
	return c.packets, nil
}
