package tun

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/checksum"
	"github.com/steppe-nat64/steppe/translate"
)

// What Probe sends: a super-packet of two whole datagrams and a shorter one. It
// waits for each for so long, and tries so often if others fill the device's queue.
const (
	probeSize  = 100
	probeLast  = 37
	probeWait  = 200 * time.Millisecond
	probeTries = 5
)

// What Probe keeps of other packets for the first Read: about as much as the kernel's queue
// holds, and a small amount of memory.
const (
	maxEarly      = 512
	maxEarlyBytes = 4 << 20
)

var (
	// errNoAnswer: a packet did not arrive.
	errNoAnswer = errors.New("nothing arrives")
	// errCrowded: it did not arrive, but the kernel's queue may have been full.
	errCrowded = errors.New("packets of others fill the device's queue")
)

// Probe tests USO: it sends UDP super-packets through the device in both directions,
// between its link-local address and a neighbour that does not exist. If the kernel does
// not segment them into the right datagrams, Probe switches USO off. Features returns the
// remaining offloads.
//
// An error says what was wrong, or why it could not be tested: the device is down or has
// no link-local address, a firewall drops the packets, or other programs send more than
// the device's queue holds. In the latter cases USO stays on.
//
// Probe comes before any other use of the device, and no other method may be called
// meanwhile. Other packets that arrive are kept for the first Read, about as many as the
// kernel would have queued; further ones are counted in Failed. Probe takes a few
// milliseconds, about half a second if nothing arrives, and two seconds if the queue is
// full.
func (d *Device) Probe() error {
	if !d.features.USO {
		return nil
	}
	x := prober{d: d, ps: NewPackets(4)}
	if err := x.open(); err != nil {
		return fmt.Errorf("tun: USO of %s was not tried: %w", d.name, err)
	}
	defer unix.Close(x.socket)
	for _, step := range []struct {
		name string
		try  func(sizes ...int) error
	}{{"written to the device", x.in}, {"read from the device", x.out}} {
		if err := step.try(probeSize); err != nil { // without USO
			return fmt.Errorf("tun: USO of %s was not tried: a datagram %s: %w", d.name, step.name, err)
		}
		err := step.try(probeSize, probeSize, probeLast)
		if errors.Is(err, errCrowded) {
			return fmt.Errorf("tun: USO of %s was not tried: a super-packet %s: %w", d.name, step.name, err)
		}
		if err != nil {
			d.features.USO = false
			if err := unix.IoctlSetInt(d.queues[0].fd, unix.TUNSETOFFLOAD, d.features.bits()); err != nil {
				return fmt.Errorf("tun: take USO of %s back: %w", d.name, err)
			}
			return fmt.Errorf("tun: USO of %s does not work: a super-packet %s: %w", d.name, step.name, err)
		}
	}
	return nil
}

// A prober is a UDP socket on the kernel's side of a device, and what it takes to
// be its peer on ours.
type prober struct {
	d          *Device
	ps         []translate.Packet
	socket     int
	here, peer netip.AddrPort
	room       int // packets that a queue holds
	foreign    int // other packets that arrived instead of the expected ones
	kept       int // bytes of them
}

func (x *prober) open() error {
	link, err := x.d.Link()
	if err != nil {
		return err
	}
	room, err := x.d.get(unix.SIOCGIFTXQLEN)
	if err != nil {
		return err
	}
	x.room = max(int(room), 1)
	if !link.Up {
		return errors.New("the device is down")
	}
	if x.socket, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if err := x.bind(); err != nil {
		unix.Close(x.socket)
		return err
	}
	return nil
}

// bind waits for the link-local address that the kernel gives a device that comes
// up, and binds the socket to it.
func (x *prober) bind() error {
	for end := time.Now().Add(probeWait); ; time.Sleep(time.Millisecond) {
		addr, err := x.linkLocal()
		if err == nil {
			err = unix.Bind(x.socket, &unix.SockaddrInet6{Addr: addr.As16(), ZoneId: uint32(x.d.index)})
		}
		if err == nil {
			return x.name(addr)
		}
		if time.Now().After(end) {
			return err
		}
	}
}

func (x *prober) linkLocal() (netip.Addr, error) {
	ifi, err := net.InterfaceByIndex(x.d.index)
	if err != nil {
		return netip.Addr{}, err
	}
	addrs, err := ifi.Addrs()
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() {
			return p.Addr(), nil
		}
	}
	return netip.Addr{}, errors.New("the device has no link-local address")
}

// name stores the addresses and ports.
func (x *prober) name(addr netip.Addr) error {
	name, err := unix.Getsockname(x.socket)
	if err != nil {
		return err
	}
	x.here = netip.AddrPortFrom(addr, uint16(name.(*unix.SockaddrInet6).Port))
	neighbour := addr.As16()
	neighbour[15] ^= 1
	x.peer = netip.AddrPortFrom(netip.AddrFrom16(neighbour), 9)
	return nil
}

// payload is what the i-th datagram carries.
func payload(i, size int) []byte { return bytes.Repeat([]byte{'a' + byte(i)}, size) }

// in writes datagrams of the given sizes to the kernel, as a super-packet if there are
// several, and checks what the socket receives.
func (x *prober) in(sizes ...int) error {
	for i, size := range sizes {
		p := &x.ps[i]
		p.Off, p.Len, p.Offload = Headroom, lenIPv6+lenUDP+size, translate.Offload{}
		b := p.Bytes()
		clear(b[:lenIPv6+lenUDP])
		b[0], b[6], b[7] = 6<<4, protoUDP, 1
		src, dst := x.peer.Addr().As16(), x.here.Addr().As16()
		copy(b[8:], src[:])
		copy(b[24:], dst[:])
		udp := b[lenIPv6:]
		binary.BigEndian.PutUint16(b[4:], uint16(len(udp)))
		binary.BigEndian.PutUint16(udp, x.peer.Port())
		binary.BigEndian.PutUint16(udp[2:], x.here.Port())
		binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
		copy(udp[lenUDP:], payload(i, size))
		sum := ^checksum.Fold(checksum.Sum(udp) + pseudoSum(b, lenIPv6, len(udp)))
		if sum == 0 {
			sum = 0xffff
		}
		binary.BigEndian.PutUint16(udp[udpChecksum:], sum)
	}
	if n, err := x.d.queues[0].Write(x.ps[:len(sizes)]); err != nil || n < len(sizes) {
		return errors.Join(err, errors.New("the kernel refuses it"))
	}
	buf := make([]byte, maxPacket)
	end := time.Now().Add(probeWait)
	for i, size := range sizes {
		if err := await(end, x.socket); err != nil {
			return err
		}
		n, _, err := unix.Recvfrom(x.socket, buf, 0)
		if err != nil {
			return err
		}
		if !bytes.Equal(buf[:n], payload(i, size)) {
			return fmt.Errorf("datagram %d has %d bytes for %d, or others", i+1, n, size)
		}
	}
	return nil
}

// out is send, repeated if the kernel's queue may have been full. After a packet that was
// lost because the queue was full, at least a full queue of other packets arrives.
func (x *prober) out(sizes ...int) error {
	for range probeTries {
		x.makeRoom()
		x.foreign = 0
		if err := x.send(sizes...); !errors.Is(err, errNoAnswer) || x.foreign < x.room {
			return err
		}
	}
	return errCrowded
}

// makeRoom reads the packets that are in the queues now: those that have accumulated, and
// those that arrived too late.
func (x *prober) makeRoom() {
	for _, q := range x.d.queues {
		for range x.room {
			if !x.read(q, &x.ps[0]) {
				break
			}
		}
	}
}

// send has the socket send datagrams of the given sizes, as a super-packet if they
// are more than one, and looks at what the queues get: that, or each of them.
func (x *prober) send(sizes ...int) error {
	var data []byte
	for i, size := range sizes {
		data = append(data, payload(i, size)...)
	}
	dst := &unix.SockaddrInet6{Addr: x.peer.Addr().As16(), Port: int(x.peer.Port()), ZoneId: uint32(x.d.index)}
	if len(sizes) > 1 {
		if err := unix.SetsockoptInt(x.socket, unix.SOL_UDP, unix.UDP_SEGMENT, sizes[0]); err != nil {
			return nil // older than USO: it sends none
		}
	}
	if err := unix.Sendto(x.socket, data, 0, dst); err != nil {
		return err
	}
	end := time.Now().Add(probeWait)
	for got := 0; got < len(data); {
		p := &x.ps[0]
		if err := x.receive(end, p); err != nil {
			return err
		}
		b, o := p.Bytes(), &p.Offload
		to := min(got+sizes[0], len(data))
		if o.GSOType == translate.GSOUDPL4 && int(o.GSOSize) == sizes[0] && int(o.HdrLen) == lenIPv6+lenUDP {
			to = len(data)
		} else if o.GSOType != translate.GSONone {
			return fmt.Errorf("it is described as %+v", *o)
		}
		if !bytes.Equal(b[lenIPv6+lenUDP:], data[got:to]) || word(b[4:]) != len(b)-lenIPv6 {
			return fmt.Errorf("a packet has %d bytes for %d, or others", len(b), lenIPv6+lenUDP+to-got)
		}
		got = to
	}
	return nil
}

// receive waits for the next packet to the peer, on whichever queue it comes.
func (x *prober) receive(end time.Time, p *translate.Packet) error {
	var fds []int
	for _, q := range x.d.queues {
		fds = append(fds, q.fd)
	}
	for {
		if err := await(end, fds...); err != nil {
			return err
		}
		some := false
		for _, q := range x.d.queues {
			if x.read(q, p) {
				if x.ours(p) {
					return nil
				}
				some = true
			}
		}
		// A packet that arrived in time counts, even if it is read late.
		if time.Now().After(end) && (!some || x.foreign >= x.room) {
			return errNoAnswer
		}
	}
}

// read reads a packet, if there is one, and keeps it if it is not ours.
func (x *prober) read(q *Queue, p *translate.Packet) bool {
	if err := q.readOne(p); err != nil {
		if !errors.Is(err, unix.EAGAIN) {
			q.passing(err)
		}
		return false
	}
	if x.ours(p) {
		return true
	}
	x.foreign++
	if len(q.early) == maxEarly || x.kept+p.Len > maxEarlyBytes {
		q.lost.Add(1)
		return true
	}
	x.kept += p.Len
	q.early = append(q.early, translate.Packet{Buf: bytes.Clone(p.Bytes()), Len: p.Len, Offload: p.Offload})
	return true
}

// ours reports whether a packet goes from the prober's socket to the peer.
func (x *prober) ours(p *translate.Packet) bool {
	b := p.Bytes()
	return len(b) >= lenIPv6+lenUDP && b[0]>>4 == 6 && b[6] == protoUDP &&
		netip.AddrFrom16([16]byte(b[24:40])) == x.peer.Addr() && word(b[lenIPv6:]) == int(x.here.Port())
}

// takeEarly returns packets that arrived during Probe.
func (q *Queue) takeEarly(ps []translate.Packet) (n int) {
	n = min(len(ps), len(q.early))
	for i := range n {
		p, e := &ps[i], &q.early[i]
		p.Off, p.Len, p.Offload, p.Result = Headroom, copy(p.Buf[Headroom:], e.Buf), e.Offload, translate.Result{}
	}
	if q.early = q.early[n:]; len(q.early) == 0 {
		q.early = nil
	}
	return n
}

// await waits until one of the descriptors can be read, and looks at least once.
func await(end time.Time, fds ...int) error {
	var list []unix.PollFd
	for _, fd := range fds {
		list = append(list, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	for {
		left := max(time.Until(end), 0)
		n, err := unix.Poll(list, int(left/time.Millisecond)+1)
		switch {
		case n > 0:
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return err
		case err == nil && left == 0:
			return errNoAnswer
		}
	}
}
