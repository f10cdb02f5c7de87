package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
	"github.com/steppe-nat64/steppe/internal/test/testbed"
)

// late is when an answer is given up. Nothing but a packet that is lost makes one
// as late as that.
const late = 5 * time.Minute

// prepare makes room for what arrives while the binary is not scheduled, and the
// client own the address that a map of the map-file leads to.
func (s *soak) prepare() {
	s.Gateway.QueueLength(testbed.Device, 50000)
	s.Client.Addr("eth0", fileHost6.String()+"/64")
}

// startTraffic starts all but TCP.
func (s *soak) startTraffic() {
	s.every(10*time.Millisecond, s.echo)
	s.every(20*time.Millisecond, s.ping)
	s.every(50*time.Millisecond, s.echoLarge)
	s.every(20*time.Millisecond, s.pour())
	s.every(300*time.Millisecond, s.guest)
	s.every(time.Second, s.regulars())
}

// echo has a small datagram sent back from both sides. None gets lost.
func (s *soak) echo(i int) error {
	echoed, lost, err := s.EchoUDP(late, i%1200)
	return s.arrived(echoed, lost, err)
}

// arrived counts what came back. Whatever is lost is a failure, and no reason to
// stop looking.
func (s *soak) arrived(echoed, lost int, err error) error {
	s.echoes.Add(int64(echoed))
	s.lost.Add(int64(lost))
	if lost > 0 {
		s.fail(errors.New("soak: a datagram got lost"))
	}
	return err
}

// ping pings by the prefix, by a map of tayga.conf, and by one of the map-file.
func (s *soak) ping(i int) error {
	from, to := s.Client, testbed.ServerIn6
	if i%3 > 0 {
		from, to = s.Server, []netip.Addr{testbed.Service4, fileHost4}[i%3-1]
	}
	_, err := from.Ping(to, netlab.Echo{Size: i % 1000, Timeout: late})
	if err != nil {
		s.lost.Add(1)
		return err
	}
	s.pings.Add(1)
	return nil
}

// echoLarge has a datagram sent back that has to be cut. The first one after a
// change of the path MTU may get lost, at either end, so each has several tries.
func (s *soak) echoLarge(i int) error {
	const tries = 20
	for range tries {
		echoed, lost, err := s.EchoUDP(time.Second, 1500+i%4000)
		if err != nil {
			return err
		}
		s.large.Add(int64(echoed))
		if lost == 0 {
			return nil
		}
	}
	return fmt.Errorf("soak: large datagrams do not arrive in %d tries", tries)
}

// pour sends packets that are refused, such as ask for an ICMP error, and
// fragments.
func (s *soak) pour() func(int) error {
	six, four, err := s.Senders()
	return func(i int) error {
		for j := range 10 {
			k := 10*i + j
			for _, p := range []struct {
				s *netlab.Sender
				b []byte
			}{
				{six, testbed.Refused6(k)}, {four, testbed.Refused4(k)},
				{six, testbed.Fragment6(k)}, {four, testbed.Fragment4(k)},
			} {
				if err != nil {
					return err
				}
				_, err = p.s.Send(p.b)
				s.poured.Add(1)
			}
		}
		return err
	}
}

// guest is a host that takes a lease for a single packet and never comes back, so
// that leases begin, are held, dormant and taken over.
func (s *soak) guest(i int) error {
	s.guests.Add(1)
	err := s.Speak(testbed.Host(1<<20 + uint32(i)))
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "write" {
		return nil // an ICMP error that met the socket
	}
	return err
}

// regulars are hosts that come again all the time. The server sees each under the
// same address always.
func (s *soak) regulars() func(int) error {
	const hosts = 10
	first := make(testbed.Leases)
	return func(int) error {
		for n := range uint32(hosts) {
			host := testbed.Host(1<<16 + n)
			addr, err := s.SeenAs(host)
			if err != nil {
				return err
			}
			if was, known := first[host]; known && was != addr {
				s.changed.Add(1)
				s.fail(fmt.Errorf("soak: %v had %v and has %v", host, was, addr))
			}
			first[host] = addr
			s.seen.Add(1)
		}
		return nil
	}
}
