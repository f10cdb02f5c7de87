package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
	"github.com/steppe-nat64/steppe/internal/test/testbed"
)

// Hosts that share addresses. The client has a lease beside them, as in the other faults.

const (
	sharedOne  = "100.64.0.1"
	sharedMany = "100.64.0.0/25"
	echoTCP    = 5001 // of the server
	hostileNet = 900  // the subscriber that does wrong
)

// sharing is a siege in which hosts share the addresses of a pool.
func (x *trial) sharing(pool string, more ...string) (g *siege, done func(), err error) {
	g, done, err = x.besiege(append(testbed.SharedConf(pool), more...)...)
	if err != nil {
		return nil, nil, err
	}
	_, err1 := g.Server.ServeTCPEcho(fmt.Sprintf(":%d", echoTCP))
	_, err2 := g.Server.ListenPacket("udp4", fmt.Sprintf(":%d", testbed.DNSPort))
	g.Gateway.QueueLength(testbed.Device, 50000)
	if err := errors.Join(err1, err2, g.Err()); err != nil {
		done()
		return nil, nil, err
	}
	return g, done, nil
}

// connect opens a TCP connection of a host that shares an address.
func (g *siege) connect(host netip.Addr) (c net.Conn, err error) {
	err = g.Client.Do(func() error {
		d := net.Dialer{Timeout: patience, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(host, 0))}
		c, err = d.Dial("tcp6", netip.AddrPortFrom(testbed.ServerIn6, echoTCP).String())
		return err
	})
	return c, err
}

// sharingInUse is sharing with a connection of another subscriber than those to come, which
// is there all the time.
func (x *trial) sharingInUse(pool string, more ...string) (g *siege, there net.Conn, done func(), err error) {
	g, end, err := x.sharing(pool, more...)
	if err != nil {
		return nil, nil, nil, err
	}
	if there, err = g.connect(testbed.SubscriberHost(1, 1)); err != nil {
		end()
		return nil, nil, nil, err
	}
	return g, there, func() { there.Close(); end() }, nil
}

// patience is how long a host waits for what it has to get.
const patience = time.Minute

// echoed sends a line through a connection and expects it back.
func echoed(c net.Conn) error {
	buf := make([]byte, 4)
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte("line")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, buf)
	return err
}

// others shows that a connection that is there goes on, and that a host of another
// subscriber gets what is new: a connection, and a flow of UDP.
func (g *siege) others(there net.Conn, n uint32) error {
	if err := echoed(there); err != nil {
		return fmt.Errorf("a connection that was there: %w", err)
	}
	host := testbed.SubscriberHost(uint16(1+n%100), 1+n)
	c, err := g.connect(host)
	if err != nil {
		return fmt.Errorf("a new connection of another: %w", err)
	}
	defer c.Close()
	if err := echoed(c); err != nil {
		return fmt.Errorf("a new connection of another: %w", err)
	}
	_, err = g.SeenAs(host)
	return err
}

// while floods in parts of n packets, after each of which others are looked after.
func (g *siege) while(x *trial, to *netlab.Sender, there net.Conn, n int, packet source) error {
	const parts = 5
	for part := range parts {
		if _, err := x.pour(to, n/parts, func(i int) []byte { return packet(part*(n/parts) + i) }); err != nil {
			return err
		}
		if err := g.others(there, uint32(part)); err != nil {
			return err
		}
	}
	return nil
}

// sessionSYNs floods with SYNs that get no answer: of the hosts of one subscriber, and from
// IPv4 to the port of a server, which does not answer either, and to ports of no host. Each kind
// has a bound of its own, and others open connections all the time.
func (x *trial) sessionSYNs() (string, error) {
	const maxSessions, perPrefix, held = 40000, 8000, 10
	silent := testbed.SubscriberHost(hostileNet+1, 1)
	g, there, done, err := x.sharingInUse(sharedOne, fmt.Sprintf("stateful-map tcp %s:80 [%s]:80", sharedOne, silent),
		fmt.Sprintf("stateful-max-sessions %d", maxSessions), fmt.Sprintf("stateful-max-per-prefix 64 %d", perPrefix))
	if err != nil {
		return "", err
	}
	defer done()
	n := x.n(200_000, 20_000)
	if err := g.while(x, g.six, there, n, func(i int) []byte {
		return testbed.SYN6(testbed.SubscriberHost(hostileNet, rand.Uint32()), uint16(1024+i%60000))
	}); err != nil {
		return "", fmt.Errorf("from IPv6: %w", err)
	}
	six, err := g.Shared()
	if err != nil {
		return "", err
	}
	pool := netip.MustParseAddr(sharedOne)
	if err := g.while(x, g.four, there, n, func(i int) []byte {
		port := uint16(80)
		if i%2 == 0 {
			port = uint16(1024 + i%60000)
		}
		return testbed.SYN4(uint32(i), netip.AddrPortFrom(pool, port))
	}); err != nil {
		return "", fmt.Errorf("from IPv4: %w", err)
	}
	four, err := g.Shared()
	if err != nil {
		return "", err
	}
	grown, err := g.lifted(x)
	if err != nil {
		return "", err
	}
	figures := fmt.Sprintf("%s SYNs from either side; %s half-open at most of one subscriber, %s opened from IPv4, %d held; others connected all the time; memory %s more",
		thousands(int64(n)), thousands(int64(six.HalfOpen)), thousands(int64(four.Inbound)), four.HeldSYN, mib(grown))
	switch {
	case six.HalfOpen > perPrefix/4+10 || six.HalfOpen < perPrefix/8:
		return "", fmt.Errorf("faults: not the half-open sessions that a subscriber may have: %s", figures)
	case four.Inbound > maxSessions/4 || four.HeldSYN > held:
		return "", fmt.Errorf("faults: too much is kept for IPv4: %s", figures)
	case six.Denied["6to4 session-limit"] == 0:
		return "", fmt.Errorf("faults: nothing was denied: %s: %v", figures, six.Denied)
	}
	return figures, g.Stop()
}

// sessionPorts has one subscriber open flows until it gets no more ports, and go on, while
// another subscriber with the same IPv4 address works as before.
func (x *trial) sessionPorts() (string, error) {
	g, there, done, err := x.sharingInUse(sharedOne+" 2000-9999", "stateful-log bindings", "log reject")
	if err != nil {
		return "", err
	}
	defer done()
	n := x.n(200_000, 20_000)
	if err := g.while(x, g.six, there, n, func(i int) []byte {
		return testbed.Query6(testbed.SubscriberHost(hostileNet, uint32(1+i/50000)), uint16(1024+i%50000))
	}); err != nil {
		return "", err
	}
	s, err := g.Shared()
	if err != nil {
		return "", err
	}
	grown, err := g.lifted(x)
	if err != nil {
		return "", err
	}
	denied := s.Denied["6to4 session-limit"] + s.Denied["6to4 no-port"]
	figures := fmt.Sprintf("%s flows of one subscriber, %s sessions of 8,000 ports, %s denied; others went on and got new ones; memory %s more",
		thousands(int64(n)), thousands(int64(s.Total)), thousands(int64(denied)), mib(grown))
	if denied == 0 || s.Total > 5000 {
		return "", fmt.Errorf("faults: that exhausted nothing, or all: %s", figures)
	}
	return figures, g.Stop()
}

// sessionExpiry has a million sessions made, and the process stopped until the time of all of
// them has run out. When it goes on all end at once; meanwhile packets pass.
func (x *trial) sessionExpiry() (string, error) {
	n, life := x.n(1_000_000, 30_000), time.Duration(x.n(75, 8))*time.Second
	g, there, done, err := x.sharingInUse(sharedMany, fmt.Sprintf("stateful-timeout dns %.0fs", life.Seconds()),
		fmt.Sprintf("stateful-max-sessions %d", n+1000), fmt.Sprintf("stateful-max-per-prefix 64 %d", n))
	if err != nil {
		return "", err
	}
	defer done()
	if _, err := x.pour(g.six, n, func(i int) []byte {
		return testbed.Query6(testbed.SubscriberHost(uint16(100+i/50%700), uint32(i/50)), uint16(20000+i%50))
	}); err != nil {
		return "", err
	}
	full, err := g.Shared()
	if err != nil {
		return "", err
	}
	// The process does not see time go by, as after a machine was suspended.
	if err := g.Signal(syscall.SIGSTOP); err != nil {
		return "", err
	}
	time.Sleep(life + 2*time.Second)
	if err := g.Signal(syscall.SIGCONT); err != nil {
		return "", err
	}
	longest, now, err := g.untilEnded(there)
	if err != nil {
		return "", err
	}
	if err := errors.Join(x.seen(g.Bed, g.leases), g.Check()); err != nil {
		return "", err
	}
	figures := fmt.Sprintf("%s sessions, all of whose time ran out while the process was stopped; %s ended; answers meanwhile took %s at most",
		thousands(int64(full.Total)), thousands(int64(now.Ended)), ms(longest))
	if full.Total < n/2 || now.Ended+uint64(now.Total) != now.Made {
		return "", fmt.Errorf("faults: sessions do not add up: %s: %+v", figures, now)
	}
	return figures, g.Stop()
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1000) }

// untilEnded sends through a connection until all sessions but a few have ended, and
// returns how long an answer took at most.
func (g *siege) untilEnded(there net.Conn) (longest time.Duration, now testbed.Shared, err error) {
	const few = 100 // of TCP, and such
	for end := time.Now().Add(3 * patience); ; {
		for range 50 {
			begin := time.Now()
			if err := echoed(there); err != nil {
				return 0, now, err
			}
			longest = max(longest, time.Since(begin))
		}
		// While sessions end, the figures of the report are not all of one moment.
		if now, err = g.Shared(); err != nil || now.Total < few && now.Ended+uint64(now.Total) == now.Made {
			return longest, now, err
		}
		if time.Now().After(end) {
			return 0, now, fmt.Errorf("faults: sessions do not end, or do not add up: %+v", now)
		}
	}
}
