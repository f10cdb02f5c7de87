package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/steppe-nat64/steppe/internal/netlab"
	"github.com/steppe-nat64/steppe/internal/packettest"
	"github.com/steppe-nat64/steppe/internal/testbed"
)

const (
	floodRate = 25000    // packets a second at most: a million within a minute
	spare     = 32 << 20 // octets of memory that anything may cost; what waits to be collected is part of it
	workers   = 2
	smallPool = "203.0.113.0/24"
	errorRate = 100 // originated ICMP errors a second and worker, and how many
	burst     = 50  // at once: translate.Config.ErrorRate, ErrorBurst
	logRate   = 50  // lines a second and kind
	deviceMTU = 1500
)

// A source makes packets, the i-th of a flood.
type source func(i int) []byte

// pour sends n packets, floodRate a second. Who is late makes up for it, but not
// at once: the queue of the device is not what is to be tried.
func (x *trial) pour(s *netlab.Sender, n int, make source) (took time.Duration, err error) {
	const most = 200
	begin := time.Now()
	for i := 0; i < n; time.Sleep(2 * time.Millisecond) {
		if err := x.ctx.Err(); err != nil {
			return 0, err
		}
		due := int(floodRate * time.Since(begin).Seconds())
		for end := min(n, due, i+most); i < end; i++ {
			if _, err := s.Send(make(i)); err != nil {
				return 0, err
			}
		}
	}
	x.inputs += int64(n)
	return time.Since(begin), nil
}

// senders opens Senders from the client and the server to the gateway.
func senders(b *testbed.Bed) (six, four *netlab.Sender, err error) {
	for _, side := range []struct {
		s       **netlab.Sender
		h       *netlab.Host
		gateway string
	}{{&six, b.Client, "eth0"}, {&four, b.Server, "eth1"}} {
		mac, err := b.Gateway.HardwareAddr(side.gateway)
		if err != nil {
			return nil, nil, err
		}
		if *side.s, err = side.h.OpenSender("eth0", mac); err != nil {
			return nil, nil, err
		}
	}
	return six, four, nil
}

// ready opens a laboratory for a flood: the binary runs, hosts hold leases and
// traffic has passed.
func (x *trial) ready(pool string, hosts int, more ...string) (b *testbed.Bed, done func(), leases testbed.Leases, err error) {
	b, done, err = x.open(pool, append(more, fmt.Sprintf("workers %d", workers))...)
	if err != nil {
		return nil, nil, nil, err
	}
	if err = errors.Join(b.Start(), b.Settle(), b.Check()); err == nil {
		leases, err = lease(b, 0, hosts)
	}
	if err != nil {
		done()
		return nil, nil, nil, err
	}
	return b, done, leases, nil
}

const sinkPort = 9

// plain is a datagram that the server has no answer to; see sink.
func plain(i int) []byte {
	return packettest.IP(packettest.Header{Src: testbed.Client6, Dst: testbed.ServerIn6},
		packettest.UDP(uint16(i), sinkPort, packettest.Bytes(64, byte(i))))
}

// sink has the server take datagrams without an answer.
func sink(b *testbed.Bed) error {
	_, err := b.Server.ListenPacket("udp4", fmt.Sprintf(":%d", sinkPort))
	return err
}

// spoofed has a million sources send a packet each, which is more than the pool
// has addresses for. Memory does not grow with them, those who hold a lease keep
// it and their throughput, and the log stays readable.
func (x *trial) spoofed() (string, error) {
	b, done, leases, err := x.ready(smallPool, 20, "log reject dyn")
	if err != nil {
		return "", err
	}
	defer done()
	six, _, err := senders(b)
	if err := errors.Join(err, sink(b)); err != nil {
		return "", err
	}
	traffic := b.StartTraffic(1 << 20)
	window := time.Duration(x.n(4, 1)) * time.Second
	rate := func(f func() error) (float64, error) {
		before, begin := traffic.Octets.Load(), time.Now()
		err := f()
		return float64(traffic.Octets.Load()-before) / time.Since(begin).Seconds(), err
	}
	pause := func() error { time.Sleep(window); return nil }
	if err := traffic.AwaitTransfers(8); err != nil {
		return "", err
	}
	first, _ := rate(pause)
	before, err := b.Usage()
	if err != nil {
		return "", err
	}
	from := b.Said()
	sources := x.n(1_000_000, 30_000)
	var took time.Duration
	during, err := rate(func() (err error) {
		took, err = x.pour(six, sources, func(i int) []byte {
			return packettest.IP(packettest.Header{Src: testbed.Host(1<<24 + uint32(i)), Dst: testbed.ServerIn6},
				packettest.UDP(4000, sinkPort, []byte("me too")))
		})
		return err
	})
	if err != nil {
		return "", err
	}
	said := strings.Count(b.Process.OutputFrom(from), "\n")
	after, err := b.Usage()
	if err != nil {
		return "", err
	}
	last, _ := rate(pause)
	err = errors.Join(x.seen(b, leases), traffic.Stop())
	x.octets += traffic.Octets.Load()
	if err != nil {
		return "", err
	}
	c, err := b.AddUp()
	if err != nil {
		return "", err
	}
	dev, err := b.Rest()
	if err != nil {
		return "", err
	}
	ratio := during / ((first + last) / 2)
	figures := fmt.Sprintf("%s sources in %.0f s; %d leases kept; throughput of others %.2f of before and after; %s refused, %s dropped by the kernel; memory %+.1f MiB; %d lines",
		thousands(int64(sources)), took.Seconds(), len(leases), ratio, thousands(int64(c.Refused)), thousands(int64(dev.SendDrops)),
		float64(after.Peak-before.Peak)/(1<<20), said)
	// Kinds are two, and for each there is a line about those that are left out.
	lines := 2 * (logRate + 1) * (int(took.Seconds()) + 3)
	switch {
	case after.Peak > before.Peak+spare:
		return "", fmt.Errorf("faults: memory grew: %s", figures)
	case c.Held != c.Size || c.Refused+dev.SendDrops+uint64(c.Size) < uint64(sources)*9/10:
		return "", fmt.Errorf("faults: %d of %d addresses held, refusals are not counted: %s", c.Held, c.Size, figures)
	case c.Refused != c.Sum("no-source"):
		return "", fmt.Errorf("faults: the pool refused %d, but %d packets were: %s", c.Refused, c.Sum("no-source"), figures)
	case said > lines:
		return "", fmt.Errorf("faults: more than %d lines: %s", lines, figures)
	case ratio < 0.1: // a machine that does other things as well has its ups and downs
		return "", fmt.Errorf("faults: the flood takes it all: %s", figures)
	}
	return figures, b.Stop()
}

// A cost is what packets cost the binary.
type cost struct {
	judged uint64
	cpu    time.Duration
}

func (c cost) each() time.Duration { return c.cpu / time.Duration(max(c.judged, 1)) }

// costOf measures what the binary does while f runs.
func costOf(b *testbed.Bed, f func() error) (c cost, err error) {
	before, err := b.AddUp()
	if err != nil {
		return c, err
	}
	u0, err := b.Usage()
	if err := errors.Join(err, f()); err != nil {
		return c, err
	}
	after, err := b.AddUp()
	if err != nil {
		return c, err
	}
	u1, err := b.Usage()
	return cost{after.Sum() - before.Sum(), u1.CPU - u0.CPU}, err
}

// dear says that packets cost too much, compared with plain ones that are
// forwarded.
func dear(plain, these cost) error {
	if these.each() > 3*plain.each() {
		return fmt.Errorf("faults: a packet costs %v, a plain one %v", these.each(), plain.each())
	}
	return nil
}

// errorFlood sends packets from both sides that each ask for an ICMP error, by
// hosts that hold a lease and by others. Errors are sent at the rate that they
// may be sent at, and the others cost no more than packets do.
func (x *trial) errorFlood() (string, error) {
	b, done, leases, err := x.ready(smallPool, 20, "log reject icmp self")
	if err != nil {
		return "", err
	}
	defer done()
	six, four, err := senders(b)
	if err := errors.Join(err, sink(b)); err != nil {
		return "", err
	}
	n := x.n(200_000, 20_000)
	plainCost, err := costOf(b, func() error { _, err := x.pour(six, n/2, plain); return err })
	if err != nil {
		return "", err
	}
	before, err := b.Usage()
	if err != nil {
		return "", err
	}
	c0, err := b.Counts()
	if err != nil {
		return "", err
	}
	begin := time.Now()
	flood, err := costOf(b, func() error {
		_, err6 := x.pour(six, n/2, wrong6)
		_, err4 := x.pour(four, n/2, wrong4)
		return errors.Join(err6, err4)
	})
	if err != nil {
		return "", err
	}
	took := time.Since(begin)
	c, err := b.Counts()
	if err != nil {
		return "", err
	}
	after, err := b.Usage()
	if err := errors.Join(err, x.seen(b, leases), b.Check()); err != nil {
		return "", err
	}
	answers := func(c testbed.Counts) uint64 { return c.Sum("reply") - c.Sum("reply", "echo-reply") }
	sent, held := answers(c)-answers(c0), c.HeldBack-c0.HeldBack
	most := uint64(workers * (errorRate*took.Seconds() + burst))
	figures := fmt.Sprintf("%s packets of %d kinds in %.0f s; %s errors sent, %s may be, %s held back; a packet costs %v, a plain one %v",
		thousands(int64(n)), len(wrongs6)+len(wrongs4), took.Seconds(), thousands(int64(sent)), thousands(int64(most)), thousands(int64(held)),
		flood.each(), plainCost.each())
	switch {
	case sent > most:
		return "", fmt.Errorf("faults: too many errors: %s", figures)
	case sent < burst || held == 0:
		return "", fmt.Errorf("faults: that was no flood: %s", figures)
	case after.Peak > before.Peak+spare:
		return "", fmt.Errorf("faults: memory grew by %d MiB: %s", (after.Peak-before.Peak)>>20, figures)
	}
	return figures, errors.Join(dear(plainCost, flood), b.Stop())
}

// A wrong changes a packet into one that asks for an ICMP error.
type wrong func(h packettest.Header, p packettest.Payload) (packettest.Header, packettest.Payload)

// The kernel of the gateway takes one from the hop limit before the packets come
// to the binary.
func lastHop(h packettest.Header, p packettest.Payload) (packettest.Header, packettest.Payload) {
	h.TTL = 2
	return h, p
}

func sentTo(dst netip.Addr) wrong {
	return func(h packettest.Header, p packettest.Payload) (packettest.Header, packettest.Payload) {
		h.Dst = dst
		return h, p
	}
}

var wrongs6 = []wrong{
	lastHop,
	sentTo(testbed.Tayga6),
	sentTo(netip.MustParseAddr("2001:db8:f::99")), // nobody's
	func(h packettest.Header, p packettest.Payload) (packettest.Header, packettest.Payload) {
		return h, packettest.Routing(1, p)
	},
}

var wrongs4 = []wrong{
	lastHop,
	sentTo(testbed.Tayga4),
	sentTo(netip.MustParseAddr("192.0.2.200")), // nobody's
	func(h packettest.Header, _ packettest.Payload) (packettest.Header, packettest.Payload) {
		h.DF = true
		return h, packettest.UDP(1, sinkPort, make([]byte, deviceMTU-28))
	},
}

func wrong6(i int) []byte {
	h := packettest.Header{Src: testbed.Host(uint32(i / len(wrongs6) % 30)), Dst: testbed.ServerIn6}
	return packettest.IP(wrongs6[i%len(wrongs6)](h, packettest.UDP(uint16(i), sinkPort, packettest.Bytes(100, 0))))
}

func wrong4(i int) []byte {
	h := packettest.Header{Src: netip.AddrFrom4([4]byte{198, 51, 100, byte(3 + i/len(wrongs4)%100)}), Dst: testbed.Service4}
	return packettest.IP(wrongs4[i%len(wrongs4)](h, packettest.UDP(uint16(i), sinkPort, packettest.Bytes(100, 0))))
}

// fragmentFlood sends fragments of packets that will never be whole: first ones,
// later ones, such that overlap, tiny ones and, from the IPv6 side, atomic ones. The binary keeps
// nothing of them.
func (x *trial) fragmentFlood() (string, error) {
	b, done, leases, err := x.ready(smallPool, 20, "offload no")
	if err != nil {
		return "", err
	}
	defer done()
	six, four, err := senders(b)
	if err := errors.Join(err, sink(b)); err != nil {
		return "", err
	}
	n := x.n(200_000, 20_000)
	plainCost, err := costOf(b, func() error { _, err := x.pour(six, n/2, plain); return err })
	if err != nil {
		return "", err
	}
	before, err := b.Usage()
	if err != nil {
		return "", err
	}
	flood, err := costOf(b, func() error {
		_, err6 := x.pour(six, n/2, fragment6)
		_, err4 := x.pour(four, n/2, fragment4)
		return errors.Join(err6, err4)
	})
	if err != nil {
		return "", err
	}
	after, err := b.Usage()
	if err := errors.Join(err, x.seen(b, leases), b.Check()); err != nil {
		return "", err
	}
	// A few more, to look at what comes out.
	for _, h := range []*netlab.Host{b.Client, b.Server} {
		h.DisableOffloads("eth0")
	}
	b.Gateway.DisableOffloads("eth0")
	b.Gateway.DisableOffloads("eth1")
	captured, err := x.capture(b, func() error {
		_, err6 := x.pour(six, 2000, fragment6)
		_, err4 := x.pour(four, 2000, fragment4)
		return errors.Join(err6, err4)
	})
	if err != nil {
		return "", err
	}
	c, err := b.AddUp()
	if err != nil {
		return "", err
	}
	figures := fmt.Sprintf("%s fragments, %s forwarded, %s dropped by reason; memory %+.1f MiB; one costs %v, a plain packet %v; %d looked at, well-formed",
		thousands(int64(n)), thousands(int64(c.Sum("forward"))), thousands(int64(c.Sum("drop"))),
		float64(after.Peak-before.Peak)/(1<<20), flood.each(), plainCost.each(), captured)
	if after.Peak > before.Peak+spare {
		return "", fmt.Errorf("faults: memory grew: %s", figures)
	}
	return figures, errors.Join(dear(plainCost, flood), b.Stop())
}

func fragment6(i int) []byte {
	h := packettest.Header{Src: testbed.Host(uint32(i % 20)), Dst: testbed.ServerIn6}
	off8, more, p := piece()
	return packettest.IP(h, packettest.Fragment(uint32(i/3), off8, more, p))
}

func fragment4(i int) []byte {
	off8, more, p := piece()
	h := packettest.Header{
		Src: testbed.Server4, Dst: testbed.Service4, ID: uint16(i / 3), Off8: off8, MF: more,
	}
	return packettest.IP(h, p)
}

// piece is a part of a datagram, or says that it is.
func piece() (off8 uint16, more bool, p packettest.Payload) {
	n := 8 * rand.IntN(180)
	switch rand.IntN(4) {
	case 0:
		off8, more = 0, true
	case 1:
		off8, more = uint16(1+rand.IntN(200)), true
	case 2:
		off8, more = uint16(1+rand.IntN(8191)), false
	default: // all of it
		return 0, false, packettest.UDP(4000, sinkPort, make([]byte, n))
	}
	return off8, more, packettest.Part(packettest.UDP(4000, sinkPort, make([]byte, max(n, 8))), 0, n)
}

// capture runs f and checks all that client and server got meanwhile.
func (x *trial) capture(b *testbed.Bed, f func() error) (n int, err error) {
	var captures []*netlab.Capture
	for _, h := range []*netlab.Host{b.Client, b.Server} {
		c, err := h.Capture("eth0")
		if err != nil {
			return 0, err
		}
		captures = append(captures, c)
	}
	err = f()
	if _, rest := b.Rest(); err == nil {
		err = rest
	}
	for _, c := range captures {
		packets, cerr := c.Stop()
		err = errors.Join(err, cerr)
		for _, p := range packets {
			if p.Outgoing {
				continue
			}
			if n++; netlab.CheckPacket(p.Data) != nil && err == nil {
				err = fmt.Errorf("faults: %w: %x", netlab.CheckPacket(p.Data), p.Data[:min(len(p.Data), 100)])
			}
		}
	}
	return n, err
}

// noise pours packets of chance into the device itself, past the routing of the
// kernel, which would not let most of them by: nearly valid ones, for mappings of
// many kinds, and such with octets changed.
func (x *trial) noise() (string, error) {
	var lines []string
	setup := packettest.Setups()[1] // with all kinds of maps
	for _, m := range setup.Table.Maps {
		if !testbed.Prefix.Overlaps(m.IPv6) {
			lines = append(lines, fmt.Sprintf("map %v %v", m.IPv4, m.IPv6))
		}
	}
	b, done, leases, err := x.ready(packettest.Pool.String(), 20, append(lines, "log drop reject icmp self dyn")...)
	if err != nil {
		return "", err
	}
	defer done()
	b.Gateway.MTU(testbed.Device, testbed.LinkMTU)
	s, err := b.Gateway.OpenSender(testbed.Device, nil)
	if err := errors.Join(err, b.Err(), b.Await(0, fmt.Sprintf("has an MTU of %d now", testbed.LinkMTU))); err != nil {
		return "", err
	}
	before, err := b.Usage()
	if err != nil {
		return "", err
	}
	n := x.n(500_000, 40_000)
	gen := packettest.NewGen(rand.Uint64(), setup)
	if _, err := x.pour(s, n, func(int) []byte {
		for {
			if p := gen.Packet(); len(p) > 0 && len(p) <= testbed.LinkMTU {
				return p
			}
		}
	}); err != nil {
		return "", err
	}
	after, err := b.Usage()
	if err != nil {
		return "", err
	}
	c, err := b.AddUp()
	if err := errors.Join(err, b.Alive(), x.seen(b, leases), b.Check()); err != nil {
		return "", err
	}
	if after.Peak > before.Peak+spare {
		return "", fmt.Errorf("faults: memory grew by %d MiB", (after.Peak-before.Peak)>>20)
	}
	reasons := make(map[string]bool)
	for key := range c.By {
		reasons[key[strings.LastIndexByte(key, ' '):]] = true
	}
	return fmt.Sprintf("%s packets, %s forwarded, %s answered, %s dropped, for %d reasons",
		thousands(int64(n)), thousands(int64(c.Sum("forward"))), thousands(int64(c.Sum("reply"))), thousands(int64(c.Sum("drop"))), len(reasons)), b.Stop()
}
