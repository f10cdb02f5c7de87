package netlab

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// Echo says what Host.Ping sends.
type Echo struct {
	Size     int           // bytes of data after the 8 of the ICMP header
	HopLimit int           // hop limit or TTL; 0 means 64
	Timeout  time.Duration // 0 means 2 s
	Source   netip.Addr    // one of the host's addresses; the kernel chooses if it is not valid
	// DontFragment sends the request in one piece whatever path MTU is known,
	// over IPv4 with DF set; only the MTU of the interface limits it. Without
	// it IPv4 requests have DF clear, and both families fragment at the source.
	DontFragment bool
}

// Reply is the answer to an echo request.
type Reply struct {
	From     netip.Addr
	HopLimit int // hop limit or TTL on arrival
	Size     int // bytes of data, all equal to those that were sent
	RTT      time.Duration
}

// ICMPError is an ICMP error message about something that was sent.
type ICMPError struct {
	From       netip.Addr
	Type, Code int // of the family of From
	MTU        int // bytes; 0 except in Fragmentation Needed and Packet Too Big
	HopLimit   int // hop limit or TTL on arrival
	RTT        time.Duration
	Quote      []byte // the packet that the error is about, from its IP header on, often cut short
}

// Error names the type in words.
func (e *ICMPError) Error() string {
	var name fmt.Stringer = ipv4.ICMPType(e.Type)
	if e.From.Is6() {
		name = ipv6.ICMPType(e.Type)
	}
	s := fmt.Sprintf("%v (type %d, code %d) from %v", name, e.Type, e.Code, e.From)
	if e.MTU != 0 {
		s += fmt.Sprintf(", MTU %d", e.MTU)
	}
	return s
}

// tooBig reports whether the message carries an MTU.
func (e *ICMPError) tooBig() bool {
	if e.From.Is4() {
		return e.Type == int(ipv4.ICMPTypeDestinationUnreachable) && e.Code == 4
	}
	return e.Type == int(ipv6.ICMPTypePacketTooBig)
}

// expired reports whether the hop limit ran out on the way.
func (e *ICMPError) expired() bool {
	if e.From.Is4() {
		return e.Type == int(ipv4.ICMPTypeTimeExceeded) && e.Code == 0
	}
	return e.Type == int(ipv6.ICMPTypeTimeExceeded) && e.Code == 0
}

// Ping sends an ICMP echo request and waits for its answer, which has to repeat
// the data byte by byte. If an ICMP error about the request comes instead, the
// returned error wraps an *ICMPError.
func (h *Host) Ping(dst netip.Addr, e Echo) (Reply, error) {
	c, err := h.openICMP(dst, e.Source)
	if err != nil {
		return Reply{}, err
	}
	defer c.Close()
	r, err := c.ping(dst, e)
	if err != nil {
		return r, h.errorf("ping %v with %d bytes: %w", dst, e.Size, err)
	}
	return r, nil
}

// icmpConn is a raw ICMP socket of one family.
type icmpConn struct {
	net.PacketConn
	v4  *ipv4.PacketConn // exactly one of v4 and v6 is set
	v6  *ipv6.PacketConn
	buf []byte
}

// openICMP opens a raw socket of the family of dst.
func (h *Host) openICMP(dst, source netip.Addr) (*icmpConn, error) {
	network, local := "ip4:icmp", "0.0.0.0"
	if dst.Is6() {
		network, local = "ip6:ipv6-icmp", "::"
	}
	if source.IsValid() {
		local = source.String()
	}
	pc, err := h.ListenPacket(network, local)
	if err != nil {
		return nil, err
	}
	c := &icmpConn{PacketConn: pc, buf: make([]byte, maxDatagram)}
	if dst.Is4() {
		c.v4 = ipv4.NewPacketConn(pc)
		err = c.v4.SetControlMessage(ipv4.FlagTTL, true)
	} else {
		c.v6 = ipv6.NewPacketConn(pc)
		err = c.v6.SetControlMessage(ipv6.FlagHopLimit, true)
	}
	if err != nil {
		pc.Close()
		return nil, h.errorf("open ICMP socket: %w", err)
	}
	return c, nil
}

func (c *icmpConn) setHopLimit(n int) error {
	if c.v4 != nil {
		return c.v4.SetTTL(n)
	}
	return c.v6.SetHopLimit(n)
}

// setDontFragment chooses between "in one piece" and "fragment at the source".
func (c *icmpConn) setDontFragment(on bool) error {
	return control(c.PacketConn, func(fd int) error {
		if c.v4 != nil {
			mode := unix.IP_PMTUDISC_DONT
			if on {
				mode = unix.IP_PMTUDISC_PROBE
			}
			return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, mode)
		}
		if !on {
			return nil
		}
		err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
		if err != nil {
			return err
		}
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1)
	})
}

func (c *icmpConn) ping(dst netip.Addr, e Echo) (Reply, error) {
	if e.HopLimit == 0 {
		e.HopLimit = 64
	}
	if e.Timeout == 0 {
		e.Timeout = 2 * time.Second
	}
	if err := c.setHopLimit(e.HopLimit); err != nil {
		return Reply{}, fmt.Errorf("set hop limit %d: %w", e.HopLimit, err)
	}
	if err := c.setDontFragment(e.DontFragment); err != nil {
		return Reply{}, fmt.Errorf("set don't-fragment mode: %w", err)
	}
	request, reply := c.echo(e.Size)
	begin := time.Now()
	if _, err := c.WriteTo(request, &net.IPAddr{IP: dst.AsSlice(), Zone: dst.Zone()}); err != nil {
		return Reply{}, err
	}
	c.SetReadDeadline(begin.Add(e.Timeout))
	for {
		m, err := c.read()
		if err != nil {
			return Reply{}, err
		}
		switch {
		case bytes.Equal(m.b[:2], reply[:2]) && bytes.Equal(m.b[4:8], reply[4:8]):
			r := Reply{From: m.from, HopLimit: m.hopLimit, Size: len(m.b) - 8, RTT: time.Since(begin)}
			if !bytes.Equal(m.b[8:], reply[8:]) {
				return r, fmt.Errorf("the %d bytes that came back differ from the %d sent", r.Size, e.Size)
			}
			return r, nil
		case m.quotes(dst, request, 2):
			return Reply{}, m.asError(time.Since(begin))
		}
	}
}

// echo returns an echo request of a random identifier, sequence number and data,
// and the reply to expect, apart from its checksum.
func (c *icmpConn) echo(size int) (request, reply []byte) {
	request = make([]byte, 8+size)
	io.ReadFull(stream(rand.Uint64()), request[4:])
	reply = bytes.Clone(request)
	if c.v6 != nil {
		request[0], reply[0] = byte(ipv6.ICMPTypeEchoRequest), byte(ipv6.ICMPTypeEchoReply)
		return request, reply // the kernel fills the checksum in
	}
	request[0], reply[0] = byte(ipv4.ICMPTypeEcho), byte(ipv4.ICMPTypeEchoReply)
	binary.BigEndian.PutUint16(request[2:], ^sum16(0, request))
	return request, reply
}

// icmpMessage is a message read from an icmpConn: at least 8 bytes.
type icmpMessage struct {
	b        []byte // valid until the next read
	from     netip.Addr
	hopLimit int
}

// read returns the next message of 8 bytes or more.
func (c *icmpConn) read() (icmpMessage, error) {
	for {
		var m icmpMessage
		var n int
		var from net.Addr
		var err error
		if c.v4 != nil {
			var cm *ipv4.ControlMessage
			if n, cm, from, err = c.v4.ReadFrom(c.buf); cm != nil {
				m.hopLimit = cm.TTL
			}
		} else {
			var cm *ipv6.ControlMessage
			if n, cm, from, err = c.v6.ReadFrom(c.buf); cm != nil {
				m.hopLimit = cm.HopLimit
			}
		}
		if err != nil {
			return m, err
		}
		if ip, ok := from.(*net.IPAddr); ok && n >= 8 {
			addr, _ := netip.AddrFromSlice(ip.IP)
			m.b, m.from = c.buf[:n], addr.Unmap()
			if ip.Zone != "" {
				m.from = m.from.WithZone(ip.Zone)
			}
			return m, nil
		}
	}
}

// quotes reports whether the message is an error about a packet to dst whose IP
// payload begins with the 8 bytes of head. The checksum, at the given offset in
// there, is not compared: the kernel may have filled it in.
func (m icmpMessage) quotes(dst netip.Addr, head []byte, checksum int) bool {
	if !m.isError() {
		return false
	}
	to, payload, ok := parseQuote(m.b[8:])
	return ok && to == dst.WithZone("") && len(payload) >= 8 &&
		bytes.Equal(payload[:checksum], head[:checksum]) &&
		bytes.Equal(payload[checksum+2:8], head[checksum+2:8])
}

func (m icmpMessage) isError() bool {
	if m.from.Is6() {
		return m.b[0] < 128 // RFC 4443 §2.1
	}
	switch ipv4.ICMPType(m.b[0]) {
	case ipv4.ICMPTypeDestinationUnreachable, ipv4.ICMPTypeTimeExceeded, ipv4.ICMPTypeParameterProblem:
		return true
	}
	return false
}

func (m icmpMessage) asError(rtt time.Duration) *ICMPError {
	e := &ICMPError{
		From: m.from, Type: int(m.b[0]), Code: int(m.b[1]),
		HopLimit: m.hopLimit, RTT: rtt, Quote: bytes.Clone(m.b[8:]),
	}
	switch {
	case e.tooBig() && e.From.Is4():
		e.MTU = int(binary.BigEndian.Uint16(m.b[6:])) // RFC 1191 §4
	case e.tooBig():
		e.MTU = int(binary.BigEndian.Uint32(m.b[4:])) // RFC 4443 §3.2
	}
	return e
}

// parseQuote returns the destination and the IP payload of a packet quoted in an
// ICMP error. Of IPv6 extension headers it knows the fragment header, which is
// the only one that packets of this package carry.
func parseQuote(b []byte) (dst netip.Addr, payload []byte, ok bool) {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		n := int(b[0]&15) * 4
		if n < 20 || n > len(b) {
			return dst, nil, false
		}
		return netip.AddrFrom4([4]byte(b[16:20])), b[n:], true
	case len(b) >= 40 && b[0]>>4 == 6:
		dst = netip.AddrFrom16([16]byte(b[24:40]))
		payload = b[40:]
		if b[6] == unix.IPPROTO_FRAGMENT {
			if len(payload) < 8 {
				return dst, nil, false
			}
			payload = payload[8:]
		}
		return dst, payload, true
	}
	return dst, nil, false
}
