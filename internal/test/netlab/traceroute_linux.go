package netlab

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// Trace says how Host.Traceroute asks. The zero value sends ICMP echo requests.
type Trace struct {
	UDP     bool          // send UDP to ports without a listener, as traceroute(8) does
	MaxHops int           // 0 means 30
	Timeout time.Duration // for an answer; 0 means 1 s
	Size    int           // bytes of payload
}

// Hop is what a probe met at the end of its hop limit.
type Hop struct {
	From    netip.Addr // not valid without an answer
	RTT     time.Duration
	Reached bool       // the destination itself answered
	Err     *ICMPError // nil for an echo reply and for silence
}

// traceBasePort is the first port of UDP probes. All traceroute programs use it, and no program
// listens there.
const traceBasePort = 33434

// Traceroute sends probes of rising hop limit, one each, until the destination or
// an error other than an expired hop limit answers. The hop of hop limit n is the
// result's element n-1.
func (h *Host) Traceroute(dst netip.Addr, tr Trace) ([]Hop, error) {
	if tr.MaxHops == 0 {
		tr.MaxHops = 30
	}
	if tr.Timeout == 0 {
		tr.Timeout = time.Second
	}
	c, err := h.openICMP(dst, netip.Addr{})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	probe := func(limit int) (Hop, error) { return c.probeICMP(dst, limit, tr) }
	if tr.UDP {
		u, err := h.openProbe(dst)
		if err != nil {
			return nil, err
		}
		defer u.Close()
		probe = func(limit int) (Hop, error) { return c.probeUDP(u, dst, limit, tr) }
	}
	var hops []Hop
	for limit := 1; limit <= tr.MaxHops; limit++ {
		hop, err := probe(limit)
		if err != nil {
			return hops, h.errorf("traceroute %v: hop %d: %w", dst, limit, err)
		}
		hops = append(hops, hop)
		if hop.Reached || hop.Err != nil && !hop.Err.expired() {
			break
		}
	}
	return hops, nil
}

// probeICMP sends one echo request. Silence is not an error.
func (c *icmpConn) probeICMP(dst netip.Addr, limit int, tr Trace) (Hop, error) {
	r, err := c.ping(dst, Echo{Size: tr.Size, HopLimit: limit, Timeout: tr.Timeout})
	var icmpErr *ICMPError
	switch {
	case err == nil:
		return Hop{From: r.From, RTT: r.RTT, Reached: true}, nil
	case errors.As(err, &icmpErr):
		return errorHop(icmpErr, dst), nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return Hop{}, nil
	}
	return Hop{}, err
}

// errorHop is the hop that answered with an error. A destination may do so too.
func errorHop(e *ICMPError, dst netip.Addr) Hop {
	return Hop{From: e.From, RTT: e.RTT, Err: e, Reached: e.From == dst && !e.expired()}
}

// probeConn is a UDP socket of one family that probes are sent from.
type probeConn struct {
	net.PacketConn
	setHopLimit func(int) error
}

func (h *Host) openProbe(dst netip.Addr) (*probeConn, error) {
	network := "udp6"
	if dst.Is4() {
		network = "udp4"
	}
	c, err := h.ListenPacket(network, ":0")
	if err != nil {
		return nil, err
	}
	if dst.Is4() {
		return &probeConn{c, ipv4.NewPacketConn(c).SetTTL}, nil
	}
	return &probeConn{c, ipv6.NewPacketConn(c).SetHopLimit}, nil
}

// probeUDP sends one datagram and waits for the ICMP error about it. Silence is
// not an error.
func (c *icmpConn) probeUDP(u *probeConn, dst netip.Addr, limit int, tr Trace) (Hop, error) {
	if err := u.setHopLimit(limit); err != nil {
		return Hop{}, err
	}
	// The UDP header that an error will quote, without the checksum.
	local := u.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	remote := uint16(traceBasePort + limit - 1)
	begin := time.Now()
	head := binary.BigEndian.AppendUint16(nil, local)
	head = binary.BigEndian.AppendUint16(head, remote)
	head = binary.BigEndian.AppendUint16(head, uint16(8+tr.Size))
	head = append(head, 0, 0)

	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(dst, remote))
	if _, err := u.WriteTo(make([]byte, tr.Size), to); err != nil {
		return Hop{}, err
	}
	c.SetReadDeadline(begin.Add(tr.Timeout))
	for {
		m, err := c.read()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return Hop{}, nil
		case err != nil:
			return Hop{}, err
		case m.quotes(dst, head, 6):
			return errorHop(m.asError(time.Since(begin)), dst), nil
		}
	}
}
