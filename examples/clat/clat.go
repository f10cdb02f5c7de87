// Package clat adds a CLAT (RFC 6877) to the TUN device of a tunnel that carries only
// IPv6, so that programs that support only IPv4 can use it.
package clat

import (
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/steppe-nat64/steppe/translate"
)

// A Device has the methods of the tun.Device of wireguard-go, which is a
// Device[tun.Event]. Packet i of a batch is bufs[i][offset:offset+sizes[i]] in
// Read and bufs[i][offset:] in Write. One goroutine reads, many may write.
type Device[Event any] interface {
	File() *os.File
	Read(bufs [][]byte, sizes []int, offset int) (n int, err error)
	Write(bufs [][]byte, offset int) (int, error)
	MTU() (int, error)
	Name() (string, error)
	Events() <-chan Event
	Close() error
	BatchSize() int
}

// Config has the addresses of the translation.
type Config struct {
	Prefix netip.Prefix // of the NAT64 at the far end
	Host4  netip.Addr   // the address of the device: 192.0.0.1
	Host6  netip.Addr   // what Host4 is translated to; used for nothing else
	Own4   netip.Addr   // of the translator itself, for its ICMP errors: 192.0.0.2
}

// A CLAT wraps a Device. The system reads and writes packets of both families; the tunnel
// carries only IPv6.
type CLAT[Event any] struct {
	Device[Event]
	mtu   int
	host4 [4]byte
	host6 [16]byte
	start time.Time

	// Of Read.
	out    *translate.Worker
	packet []translate.Packet // one, and a piece of it
	late   [][]byte           // pieces for which there was no buffer

	// Of Write.
	mu       sync.Mutex
	in       *translate.Worker
	received []translate.Packet
	batch    [][]byte
}

// New wraps a CLAT around d.
func New[Event any](d Device[Event], c Config) (*CLAT[Event], error) {
	mtu, err := d.MTU()
	if err != nil {
		return nil, err
	}
	tab, err := translate.NewTable(translate.TableConfig{
		Prefixes: []netip.Prefix{c.Prefix},
		Maps:     []translate.Map{{IPv4: netip.PrefixFrom(c.Host4, 32), IPv6: netip.PrefixFrom(c.Host6, 128)}},
	})
	if err != nil {
		return nil, err
	}
	t, err := translate.New(translate.Config{
		IPv4: c.Own4, // and no IPv6: the far end gets no ICMP errors
		MTU4: mtu, MTU6: mtu, LowestIPv6MTU: mtu,
		UDPZero:      translate.UDPZeroCompute,
		Hairpin:      translate.HairpinOff,
		AllowPrivate: true,
	}, tab)
	if err != nil {
		return nil, err
	}
	return &CLAT[Event]{
		Device: d,
		mtu:    mtu,
		host4:  c.Host4.As4(),
		host6:  c.Host6.As16(),
		start:  time.Now(),
		out:    t.NewWorker(),
		packet: newPackets(2, mtu),
		in:     t.NewWorker(),
	}, nil
}

// front is the space that a Device may need before a packet that it writes, in addition
// to the headroom of the translation.
const front = 16

func newPackets(n, mtu int) []translate.Packet {
	ps := make([]translate.Packet, n)
	for i := range ps {
		ps[i].Buf = make([]byte, front+translate.Headroom+mtu+translate.Tailroom)
	}
	return ps
}

// fill copies b to p. It reports false for packets larger than the MTU, which are
// dropped.
func fill(p *translate.Packet, b []byte) bool {
	p.Off, p.Len, p.Offload = front+translate.Headroom, len(b), translate.Offload{}
	return p.Off+p.Len+translate.Tailroom <= len(p.Buf) && copy(p.Bytes(), b) == len(b)
}

// Read reads packets that the system sends into the tunnel. IPv6 stays as it is.
func (c *CLAT[Event]) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	kept := 0
	for kept < len(bufs) && len(c.late) > 0 {
		sizes[kept] = copy(bufs[kept][offset:], c.late[0])
		c.late = c.late[1:]
		kept++
	}
	for kept == 0 {
		n, err := c.Device.Read(bufs, sizes, offset)
		i := 0
		keep := func(b []byte) {
			if kept > i { // this buffer has a packet that is not translated yet
				c.late = append(c.late, append([]byte(nil), b...))
				return
			}
			sizes[kept] = copy(bufs[kept][offset:], b)
			kept++
		}
		for ; i < n; i++ {
			b := bufs[i][offset : offset+sizes[i]]
			if len(b) > 0 && b[0]>>4 == 4 {
				c.send(b, keep)
			} else {
				keep(b)
			}
		}
		i = len(bufs) - 1 // all packets of bufs are translated
		c.emit(keep)
		if err != nil {
			return kept, err
		}
	}
	return kept, nil
}

// send translates an IPv4 packet and keeps the result; an ICMP error is sent to the
// system. A source other than Host4 would be translated into the prefix of the far end,
// and no answer would come back.
func (c *CLAT[Event]) send(b []byte, keep func([]byte)) {
	p := &c.packet[0]
	if len(b) < 20 || [4]byte(b[12:16]) != c.host4 || !fill(p, b) {
		return
	}
	c.out.Translate(time.Since(c.start), p)
	c.finish(p, keep)
}

// emit keeps the packets of Emit.
func (c *CLAT[Event]) emit(keep func([]byte)) {
	one := c.packet[:1]
	for n, _ := c.out.Emit(time.Since(c.start), one); n > 0; n, _ = c.out.Emit(time.Since(c.start), one) {
		c.finish(&one[0], keep)
	}
}

// finish keeps IPv6 packets for the tunnel, and sends IPv4 packets to the system.
func (c *CLAT[Event]) finish(p *translate.Packet, keep func([]byte)) {
	for p.Result.Verdict == translate.Split {
		for range c.out.Fragment(p, c.packet[1:]) {
			keep(c.packet[1].Bytes())
		}
	}
	switch {
	case p.Result.Verdict == translate.Drop:
	case p.Bytes()[0]>>4 == 6:
		keep(p.Bytes())
	default:
		c.Device.Write([][]byte{p.Buf[p.Off-front : p.Off+p.Len]}, front)
	}
}

// Write sends packets from the tunnel to the system. Those for Host6 are translated to
// IPv4, all others are unchanged.
func (c *CLAT[Event]) Write(bufs [][]byte, offset int) (int, error) {
	if offset > front+translate.Headroom {
		return 0, os.ErrInvalid
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(bufs) - len(c.received); n > 0 {
		c.received = append(c.received, newPackets(n, c.mtu)...)
	}
	now := time.Since(c.start)
	c.batch = c.batch[:0]
	for i, buf := range bufs {
		b := buf[offset:]
		if len(b) < 40 || b[0]>>4 != 6 || [16]byte(b[24:40]) != c.host6 {
			c.batch = append(c.batch, buf)
			continue
		}
		if p := &c.received[i]; fill(p, b) {
			c.in.Translate(now, p)
			c.receive(p, offset)
		}
	}
	for n := 1; n > 0; {
		if _, err := c.Device.Write(c.batch, offset); err != nil {
			return 0, err
		}
		c.batch = c.batch[:0]
		n, _ = c.in.Emit(now, c.received)
		for i := range n {
			c.receive(&c.received[i], offset)
		}
	}
	return len(bufs), nil
}

// receive adds a packet to those for the system.
func (c *CLAT[Event]) receive(p *translate.Packet, offset int) {
	switch p.Result.Verdict {
	case translate.Forward:
		c.batch = append(c.batch, p.Buf[p.Off-offset:p.Off+p.Len])
	case translate.Reply, translate.Split, translate.Drop:
		// Without an own IPv6 address there are no replies, and with one MTU on both sides
		// there is nothing to split.
	}
}
