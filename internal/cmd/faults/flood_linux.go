package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/internal/test/testbed"
)

const (
	floodRate = 25000    // packets a second at most: a million within a minute
	spare     = 32 << 20 // bytes of memory that anything may cost, garbage too
	workers   = 2
	errorRate = 100 // originated ICMP errors a second and worker, and how many
	burst     = 50  // at once: translate.Config.ErrorRate, ErrorBurst
	reserve   = 10  // on top of the burst for other hosts
	budgets   = 2   // one for path MTU errors, one for all others
	logRate   = 50  // lines a second and kind

	// tooDear is how many times the cost of a plain packet one may cost. Whether
	// packets come one by one or by the dozen alone makes a difference of three.
	tooDear = 6
)

// A source makes packets, the i-th of a flood.
type source func(i int) []byte

// pour sends n packets, floodRate a second. Who is late makes up for it, but not
// at once: the queue of the device is not what is to be tried.
func (x *trial) pour(s *netlab.Sender, n int, packet source) (took time.Duration, err error) {
	const most = 200
	begin := time.Now()
	for i := 0; i < n; time.Sleep(2 * time.Millisecond) {
		if err := x.ctx.Err(); err != nil {
			return 0, err
		}
		due := int(floodRate * time.Since(begin).Seconds())
		for end := min(n, due, i+most); i < end; i++ {
			if _, err := s.Send(packet(i)); err != nil {
				return 0, err
			}
		}
	}
	x.inputs += int64(n)
	return time.Since(begin), nil
}

// A siege is a laboratory that is ready to be flooded: the binary runs, hosts hold
// leases and traffic has passed.
type siege struct {
	*testbed.Bed
	leases    testbed.Leases
	six, four *netlab.Sender // from client and server to the gateway
	before    testbed.Usage
}

func (x *trial) besiege(more ...string) (g *siege, done func(), err error) {
	b, leases, done, err := x.living(20, append(more, fmt.Sprintf("workers %d", workers))...)
	if err != nil {
		return nil, nil, err
	}
	g = &siege{Bed: b, leases: leases}
	if err := g.prepare(); err != nil {
		done()
		return nil, nil, err
	}
	return g, done, nil
}

func (g *siege) prepare() (err error) {
	if err := errors.Join(g.Settle(), g.Check()); err != nil {
		return err
	}
	if g.six, g.four, err = g.Senders(); err != nil {
		return err
	}
	g.before, err = g.Usage()
	return err
}

// lifted is the end: all that was there before is there, and memory has not
// grown. It returns the growth in bytes.
func (g *siege) lifted(x *trial) (grown int64, err error) {
	after, err := g.Usage()
	if err := errors.Join(err, x.seen(g.Bed, g.leases), g.Check()); err != nil {
		return 0, err
	}
	if grown = after.Peak - g.before.Peak; grown > spare {
		return grown, fmt.Errorf("faults: memory grew by %s", mib(grown))
	}
	return grown, nil
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// against floods with n packets, half of them from either side, and says what one
// costs the binary, and a plain one that is forwarded.
func (g *siege) against(x *trial, n int, six, four source) (each, plainly time.Duration, took time.Duration, err error) {
	if plainly, err = g.cost(func() error { _, err := x.pour(g.six, n/2, testbed.Plain6); return err }); err != nil {
		return 0, 0, 0, err
	}
	begin := time.Now()
	each, err = g.cost(func() error {
		_, err6 := x.pour(g.six, n/2, six)
		_, err4 := x.pour(g.four, n/2, four)
		return errors.Join(err6, err4)
	})
	took = time.Since(begin)
	if err == nil && each > tooDear*plainly {
		err = fmt.Errorf("faults: a packet costs %v, a plain one %v", each, plainly)
	}
	return each, plainly, took, err
}

// cost measures the processor time that the binary takes for a packet that comes
// while f runs.
func (g *siege) cost(f func() error) (each time.Duration, err error) {
	before, err := g.AddUp()
	if err != nil {
		return 0, err
	}
	u0, err := g.Usage()
	if err := errors.Join(err, f()); err != nil {
		return 0, err
	}
	after, err := g.AddUp()
	if err != nil {
		return 0, err
	}
	u1, err := g.Usage()
	return (u1.CPU - u0.CPU) / time.Duration(max(1, after.Sum()-before.Sum())), err
}

// spoofed has a million sources send a packet each, which is more than the pool
// has addresses for. Memory does not grow with them, those who hold a lease keep
// it and their throughput, and the log stays readable.
func (x *trial) spoofed() (string, error) {
	g, done, err := x.besiege("log reject dyn")
	if err != nil {
		return "", err
	}
	defer done()
	traffic := g.StartTraffic(1 << 20)
	rate := func(f func() error) (float64, error) {
		before, begin := traffic.Bytes.Load(), time.Now()
		err := f()
		return float64(traffic.Bytes.Load()-before) / time.Since(begin).Seconds(), err
	}
	pause := func() error { time.Sleep(time.Duration(x.n(4, 1)) * time.Second); return traffic.Err() }
	sources := x.n(1_000_000, 30_000)
	from, begin := g.Said(), time.Now()
	var took time.Duration
	first, err1 := rate(pause)
	during, err2 := rate(func() (err error) {
		took, err = x.pour(g.six, sources, func(i int) []byte {
			return packettest.IP(packettest.Header{Src: testbed.Host(1<<24 + uint32(i)), Dst: testbed.ServerIn6},
				packettest.UDP(4000, testbed.SinkPort, []byte("me too")))
		})
		return err
	})
	// Kinds are two, and for each there is a line about those that are left out.
	lines := 2 * (logRate + 1) * (int(time.Since(begin).Seconds()) + 2)
	said := strings.Count(g.Process.OutputFrom(from), "\n")
	last, err3 := rate(pause)
	err = errors.Join(err1, err2, err3, traffic.Stop())
	x.bytes += traffic.Bytes.Load()
	if err != nil {
		return "", err
	}
	grown, err := g.lifted(x)
	if err != nil {
		return "", err
	}
	c, err := g.AddUp()
	if err != nil {
		return "", err
	}
	dev, err := g.Rest()
	if err != nil {
		return "", err
	}
	ratio := during / ((first + last) / 2)
	figures := fmt.Sprintf("%s sources in %.0f s; %d leases kept; throughput of others %.2f of before and after; %s refused, %s dropped by the kernel; memory %s more; %d lines",
		thousands(int64(sources)), took.Seconds(), len(g.leases), ratio, thousands(int64(c.Refused)), thousands(int64(dev.SendDrops)), mib(grown), said)
	switch {
	case c.Held != c.Size || c.Refused+dev.SendDrops+c.Size < uint64(sources)*9/10:
		return "", fmt.Errorf("faults: %d of %d addresses held, refusals are not counted: %s", c.Held, c.Size, figures)
	case c.Refused != c.Sum("no-source"):
		return "", fmt.Errorf("faults: the pool refused %d, but %d packets were: %s", c.Refused, c.Sum("no-source"), figures)
	case said > lines:
		return "", fmt.Errorf("faults: more than %d lines: %s", lines, figures)
	case ratio < 0.1: // a machine that does other things as well has its ups and downs
		return "", fmt.Errorf("faults: the flood takes it all: %s", figures)
	}
	return figures, g.Stop()
}

// errorFlood sends packets from both sides that each ask for an ICMP error, by
// hosts that hold a lease and by others. Errors are sent at the rate that they
// may be sent at, and the others cost no more than packets do.
func (x *trial) errorFlood() (string, error) {
	g, done, err := x.besiege("log reject icmp self")
	if err != nil {
		return "", err
	}
	defer done()
	answers := func() (sent, held uint64, err error) {
		c, err := g.Counts()
		return c.Sum("reply") - c.Sum("reply", "echo-reply"), c.HeldBack, err
	}
	sent0, held0, err := answers()
	if err != nil {
		return "", err
	}
	n := x.n(200_000, 20_000)
	each, plainly, took, err := g.against(x, n, testbed.Refused6, testbed.Refused4)
	if err != nil {
		return "", err
	}
	sent, held, err := answers()
	if err != nil {
		return "", err
	}
	sent, held = sent-sent0, held-held0
	most := uint64(workers * budgets * (errorRate*took.Seconds() + burst + reserve))
	figures := fmt.Sprintf("%s packets of %d kinds in %.0f s; %s errors sent, %s may be, %s held back; a packet costs %v, a plain one %v",
		thousands(int64(n)), testbed.RefusedKinds, took.Seconds(), thousands(int64(sent)), thousands(int64(most)), thousands(int64(held)), each, plainly)
	switch {
	case sent > most:
		return "", fmt.Errorf("faults: too many errors: %s", figures)
	case sent < burst || held == 0:
		return "", fmt.Errorf("faults: that was no flood: %s", figures)
	}
	_, err = g.lifted(x)
	return figures, errors.Join(err, g.Stop())
}

// fragmentFlood sends fragments of packets that will never be whole: first ones,
// later ones, such that overlap, tiny ones and, from the IPv6 side, atomic ones.
// The binary keeps nothing of them.
func (x *trial) fragmentFlood() (string, error) {
	g, done, err := x.besiege("offload no", "fast-path off") // a plain packet is to cost what the daemon takes for one
	if err != nil {
		return "", err
	}
	defer done()
	n := x.n(200_000, 20_000)
	each, plainly, _, err := g.against(x, n, testbed.Fragment6, testbed.Fragment4)
	if err != nil {
		return "", err
	}
	grown, err := g.lifted(x)
	if err != nil {
		return "", err
	}
	// A few more, to look at what comes out.
	looked, err := g.look(func() error {
		_, err6 := x.pour(g.six, 2000, testbed.Fragment6)
		_, err4 := x.pour(g.four, 2000, testbed.Fragment4)
		return errors.Join(err6, err4)
	})
	if err != nil {
		return "", err
	}
	c, err := g.AddUp()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s fragments, %s packets forwarded, %s cut, %s dropped by reason; memory %s more; one costs %v, a plain packet %v; %d looked at, well-formed",
		thousands(int64(n)), thousands(int64(c.Sum("forward"))), thousands(int64(c.Sum("split"))), thousands(int64(c.Sum("drop"))),
		mib(grown), each, plainly, looked), g.Stop()
}

// look runs f and checks all packets that client and server get meanwhile.
func (g *siege) look(f func() error) (n int, err error) {
	g.Gateway.DisableOffloads("eth0")
	g.Gateway.DisableOffloads("eth1")
	var captures []*netlab.Capture
	for _, h := range []*netlab.Host{g.Client, g.Server} {
		h.DisableOffloads("eth0")
		c, err := h.Capture("eth0")
		if err := errors.Join(err, g.Err()); err != nil {
			return 0, err
		}
		captures = append(captures, c)
	}
	err = f()
	if _, rest := g.Rest(); err == nil {
		err = rest
	}
	for _, c := range captures {
		packets, lost := c.Stop()
		packets = slices.DeleteFunc(packets, func(p netlab.Packet) bool { return p.Outgoing })
		bad := netlab.Check(packets)
		if n += len(packets); len(bad) > 0 {
			err = errors.Join(err, fmt.Errorf("faults: %d packets are malformed, beginning with %s", len(bad), bad[0]))
		}
		err = errors.Join(err, lost)
	}
	return n, err
}

// noise pours packets of chance into the device itself, past the routing of the
// kernel, which would not let most of them by: nearly valid ones, for mappings of
// many kinds, and such with bytes changed.
func (x *trial) noise() (string, error) {
	lines := []string{"log drop reject icmp self dyn"}
	setup := packettest.Setups()[1] // with all kinds of maps
	pool := netip.MustParsePrefix(smallPool)
	for _, m := range setup.Table.Maps {
		if !testbed.Prefix.Overlaps(m.IPv6) && m.IPv4 != pool {
			lines = append(lines, fmt.Sprintf("map %v %v", m.IPv4, m.IPv6))
		}
	}
	g, done, err := x.besiege(lines...)
	if err != nil {
		return "", err
	}
	defer done()
	g.Gateway.MTU(testbed.Device, testbed.LinkMTU)
	s, err := g.Gateway.OpenSender(testbed.Device, nil)
	if err := errors.Join(err, g.Err(), g.Await(0, fmt.Sprintf("has an MTU of %d now", testbed.LinkMTU))); err != nil {
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
	grown, err := g.lifted(x)
	if err != nil {
		return "", err
	}
	c, err := g.AddUp()
	if err != nil {
		return "", err
	}
	reasons := make(map[string]bool)
	for key := range c.By {
		reasons[key[strings.LastIndexByte(key, ' '):]] = true
	}
	return fmt.Sprintf("%s packets and those that came back: %s forwarded, %s answered, %s dropped, for %d reasons; memory %s more",
		thousands(int64(n)), thousands(int64(c.Sum("forward"))), thousands(int64(c.Sum("reply"))), thousands(int64(c.Sum("drop"))), len(reasons), mib(grown)), g.Stop()
}
