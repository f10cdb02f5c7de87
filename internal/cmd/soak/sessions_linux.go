package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
	"github.com/steppe-nat64/steppe/internal/test/testbed"
)

const (
	sharedPool  = "100.64.0.0/25"
	sessionRate = 25000 // sessions a second at most
	hostPorts   = 50    // sessions of a host
	rounds      = 4     // in which sessions are made, and all end
)

// sessions has a number of sessions begin and end. Every one is counted, as many have ended
// as were made, nothing is left of any, and memory grows no more after the first round.
// TCP passes meanwhile, of a host that shares no address.
func (s *soak) sessions(ctx context.Context, o options) (figures string, err error) {
	lines := append(testbed.SharedConf(sharedPool), "stateful-timeout dns 1s", "stateful-max-sessions 500000",
		"stateful-max-per-prefix 64 500000", "workers 2", "offload no")
	if s.Bed, err = testbed.Open(o.tayga, "203.0.113.0/24", lines...); err != nil {
		return "", err
	}
	defer s.Close()
	s.Through = []string{"env", collectOften}
	defer context.AfterFunc(ctx, s.Lab.Close)()
	if err := errors.Join(s.Start(), s.Settle(), s.Check()); err != nil {
		return "", err
	}
	s.Gateway.QueueLength(testbed.Device, 50000)
	if _, err := s.Server.ListenPacket("udp4", fmt.Sprintf(":%d", testbed.DNSPort)); err != nil {
		return "", err
	}
	six, _, err := s.Senders()
	if err := errors.Join(err, s.Err()); err != nil {
		return "", err
	}
	s.ctx = ctx
	traffic := s.StartTraffic(64 << 10)
	var most int
	var first, last testbed.Usage
	for round := range rounds {
		n := o.sessions / rounds
		if err := s.pourSessions(six, round*n, n); err != nil {
			return "", err
		}
		now, err := s.drained()
		if err != nil {
			return "", err
		}
		most = max(most, now.Memory)
		if last, err = s.Usage(); err != nil {
			return "", err
		}
		if round == 0 {
			first = last
		}
	}
	if err := traffic.Stop(); err != nil {
		return "", err
	}
	s.bytes.Add(traffic.Bytes.Load())
	return s.sessionsAddUp(o, first, last, most)
}

// pourSessions sends a datagram for each of n sessions.
func (s *soak) pourSessions(to *netlab.Sender, from, n int) error {
	begin := time.Now()
	for i := 0; i < n; time.Sleep(2 * time.Millisecond) {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		due := int(sessionRate * time.Since(begin).Seconds())
		for end := min(n, due, i+200); i < end; i++ {
			k := from + i
			host := testbed.SubscriberHost(uint16(k/hostPorts%1000), uint32(k/hostPorts))
			if _, err := to.Send(testbed.Query6(host, uint16(20000+k%hostPorts))); err != nil {
				return err
			}
		}
	}
	return nil
}

// drained waits until all sessions have ended.
func (s *soak) drained() (now testbed.Shared, err error) {
	for end := time.Now().Add(late); ; time.Sleep(50 * time.Millisecond) {
		if now, err = s.Shared(); err != nil || now.Total == 0 {
			return now, err
		}
		if s.ctx.Err() != nil || time.Now().After(end) {
			return now, fmt.Errorf("soak: %d sessions do not end", now.Total)
		}
	}
}

// sessionsAddUp is the end of sessions.
func (s *soak) sessionsAddUp(o options, first, last testbed.Usage, memory int) (string, error) {
	dev, err1 := s.Rest()
	c, err2 := s.AddUp()
	now, err3 := s.Shared()
	if err := errors.Join(err1, err2, err3, s.Alive()); err != nil {
		return "", err
	}
	s.packets.Add(int64(c.Sum()))
	n := uint64(o.sessions / rounds * rounds)
	figures := fmt.Sprintf("%d sessions made and %d ended, %d packets dropped by the kernel; %d bytes of sessions and indexes; memory %.1f MiB after the first quarter and %.1f at last",
		now.Made, now.Ended, dev.SendDrops, memory, float64(first.Memory)/(1<<20), float64(last.Memory)/(1<<20))
	switch {
	case now.Made+dev.SendDrops < n || now.Made > n:
		return "", fmt.Errorf("soak: %d datagrams were sent: %s", n, figures)
	case now.Ended != now.Made, now.Total != 0, now.Bindings != 0, now.Hosts != 0, now.HalfOpen != 0, now.Inbound != 0:
		return "", fmt.Errorf("soak: something is left of sessions: %s: %+v", figures, now)
	case last.Memory > first.Memory+moreMemory || last.Threads > first.Threads+moreThreads || last.Files > first.Files:
		return "", fmt.Errorf("soak: something leaks: %s", figures)
	}
	return figures, s.Stop()
}
