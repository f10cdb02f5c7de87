package netlab

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Sender puts packets on a link as they are: with anybody's source address, and
// malformed ones too. One goroutine at a time may send.
type Sender struct {
	host *Host
	file *os.File // an AF_PACKET socket
	raw  syscall.RawConn
	to   unix.SockaddrLinklayer
}

// OpenSender opens a Sender to the neighbour with the given hardware address on
// an interface. An interface without such addresses, as a TUN device, takes nil.
// The Sender is closed with the lab at the latest.
func (h *Host) OpenSender(ifname string, to net.HardwareAddr) (*Sender, error) {
	s := &Sender{host: h}
	err := h.Do(func() error {
		link, err := h.link(ifname)
		if err != nil {
			return err
		}
		s.to = unix.SockaddrLinklayer{Ifindex: link.Attrs().Index, Halen: uint8(len(to))}
		copy(s.to.Addr[:], to)
		// Protocol 0: it is to receive nothing.
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		s.file = os.NewFile(uintptr(fd), "packet socket")
		s.raw, err = s.file.SyscallConn()
		return err
	})
	if err != nil {
		return nil, h.errorf("open sender on %s: %w", ifname, err)
	}
	h.lab.closeAtEnd(s)
	return s, nil
}

// Send puts a packet, from its IP header on, on the link. The first four bits
// decide which family the link is told; what is neither goes as IPv6. It reports
// false if the interface had no room for the packet. A packet that is longer
// than the MTU is an error.
func (s *Sender) Send(b []byte) (sent bool, err error) {
	s.to.Protocol = ntohs(unix.ETH_P_IPV6)
	if len(b) > 0 && b[0]>>4 == 4 {
		s.to.Protocol = ntohs(unix.ETH_P_IP)
	}
	cerr := s.raw.Control(func(fd uintptr) {
		for err = unix.EINTR; errors.Is(err, unix.EINTR); {
			err = unix.Sendto(int(fd), b, 0, &s.to)
		}
	})
	if errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.EAGAIN) {
		return false, nil
	}
	if err = errors.Join(cerr, err); err != nil {
		return false, s.host.errorf("send %d bytes: %w", len(b), err)
	}
	return true, nil
}

// Close closes the socket. Sending fails from then on.
func (s *Sender) Close() error { return s.file.Close() }

// HardwareAddr returns the hardware address of an interface, empty if it has none.
func (h *Host) HardwareAddr(ifname string) (net.HardwareAddr, error) {
	link, err := h.link(ifname)
	if err != nil {
		return nil, h.errorf("%w", err)
	}
	return link.Attrs().HardwareAddr, nil
}

// Counters are what an interface has counted: packets in both directions as its
// driver sees them, and those that it dropped. For a TUN device, packets that a
// program has written to it are received, and those that it has read are sent.
type Counters struct {
	Received, ReceiveErrors, ReceiveDrops uint64
	Sent, SendErrors, SendDrops           uint64
}

// Counters returns the counters of an interface.
func (h *Host) Counters(ifname string) (Counters, error) {
	link, err := h.link(ifname)
	if err != nil {
		return Counters{}, h.errorf("%w", err)
	}
	s := link.Attrs().Statistics
	if s == nil {
		return Counters{}, h.errorf("counters of %s: none", ifname)
	}
	return Counters{
		Received: s.RxPackets, ReceiveErrors: s.RxErrors, ReceiveDrops: s.RxDropped,
		Sent: s.TxPackets, SendErrors: s.TxErrors, SendDrops: s.TxDropped,
	}, nil
}
