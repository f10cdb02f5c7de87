package gateway

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/fastpath"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
	"github.com/steppe-nat64/steppe/pool"
	"github.com/steppe-nat64/steppe/translate"
	"github.com/steppe-nat64/steppe/tun"
)

// A stress has a gateway whose device has the fast path, and hosts on both of its sides, all
// on one machine. Maps and leases change while packets pass.
type stress struct {
	*testing.T
	g    *Gateway
	lab  *netlab.Host
	stop chan struct{}
	all  sync.WaitGroup

	// Of the maps: an epoch has begun when its Update is called, and is done when that has
	// returned. In epoch e, the address 10.1.0.(n+1) is that of the host (n+e) modulo hosts.
	begun, done atomic.Int64

	mu     sync.Mutex
	leases map[pair]*life

	arrived [3]atomic.Int64 // of each kind
	told    chan struct{}   // something has arrived
}

type pair struct{ host, addr netip.Addr }

// A life says when a host had an address.
type life struct {
	now   bool
	ended time.Time // the last time
}

const (
	hosts   = 8
	outward = 0 // kinds of packets: from a host with a map, to one, from one with a lease
	inward  = 1
	leased  = 2
)

func hostWithMap(n int64) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 7, 15: byte(n + 1)})
}

func hostWithLease(n int64) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0x77, 15: byte(n + 1)})
}

func epochMaps(epoch int64) *taygaconf.MapFile {
	f := new(taygaconf.MapFile)
	for n := range int64(hosts) {
		a := netip.AddrFrom4([4]byte{10, 1, 0, byte(n + 1)})
		f.Maps = append(f.Maps, taygaconf.Map{Map: translate.Map{IPv4: netip.PrefixFrom(a, 32), IPv6: netip.PrefixFrom(hostWithMap((n+epoch)%hosts), 128)}})
	}
	return f
}

func newStress(t *testing.T) *stress {
	lab := netlab.New(t).Host("gateway")
	s := &stress{T: t, lab: lab, stop: make(chan struct{}), leases: map[pair]*life{}, told: make(chan struct{}, 1)}
	path, err := fastpath.Load(fastpath.Sizes{})
	require.NoError(t, err)
	t.Cleanup(func() { path.Close() })
	started := time.Now()
	s.g, err = Install(Config{
		Conf:    read(t, "tun-device nat64\nipv4-addr 192.0.2.1\nipv6-addr 2001:db8::1\nprefix 2001:db8:64::/96\ndynamic-pool 10.2.0.0/30\n"),
		MapFile: *epochMaps(0), Now: time.Now(), OnEvent: s.event,
	})
	require.NoError(t, err)
	require.NoError(t, s.g.SetFastPath(FastPath{Cache: path.Cache, Now: func() time.Duration { return time.Since(started) }}))

	var device *tun.Device
	require.NoError(t, lab.Do(func() (err error) {
		if device, err = tun.Open(tun.Config{Name: "nat64", Queues: 3}); err != nil {
			return err
		}
		if err := device.SetUp(true); err != nil {
			return err
		}
		return path.Attach(device.Index())
	}))
	t.Cleanup(func() { device.Close() })
	lab.Forwarding()
	lab.Addr("lo", "198.51.100.1/32")
	for n := range int64(hosts) {
		lab.Addr("lo", hostWithMap(n).String()+"/128")
		lab.Addr("lo", hostWithLease(n).String()+"/128")
	}
	lab.Route("2001:db8:64::/96", "", "nat64")
	lab.Route("10.0.0.0/8", "", "nat64")
	require.NoError(t, s.g.StartFastPath())
	for i, q := range device.Queues() {
		go pumpForTest(s.g.Worker(i), q, started)
	}
	return s
}

// pumpForTest is the loop of a worker for plain packets.
func pumpForTest(w *Worker, q *tun.Queue, started time.Time) {
	ps := tun.NewPackets(8)
	for {
		n, err := q.Read(ps)
		if err != nil {
			return
		}
		w.TranslateBatch(time.Since(started), ps[:n])
		for i := range ps[:n] {
			if ps[i].Result.Verdict == translate.Forward {
				q.Write(ps[i : i+1])
			}
		}
		w.Sent(n == len(ps))
	}
}

func (s *stress) event(e pool.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := func(host netip.Addr) {
		if l := s.leases[pair{host, e.Addr}]; l != nil && l.now {
			*l = life{ended: time.Now()}
		}
	}
	switch e.Kind {
	case pool.Assigned, pool.Reactivated, pool.Reassigned:
		end(e.Old)
		p := pair{e.Host, e.Addr}
		if s.leases[p] == nil {
			s.leases[p] = new(life)
		}
		s.leases[p].now = true
	default:
		end(e.Host)
	}
}

// had reports whether a host has had an address since.
func (s *stress) had(p pair, since time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.leases[p]
	return l != nil && (l.now || l.ended.After(since))
}

func (s *stress) listen(at string) *net.UDPConn {
	c, err := s.lab.ListenPacket("udp", at)
	require.NoError(s, err)
	s.Cleanup(func() { c.Close() })
	return c.(*net.UDPConn)
}

// send sends packets until the end: the kind, the host or address it is about, the epoch that
// was done, and the time.
func (s *stress) send(c *net.UDPConn, to netip.AddrPort, kind byte, n int64) {
	s.all.Go(func() {
		var b [25]byte
		for {
			select {
			case <-s.stop:
				return
			default:
			}
			b[0] = kind
			binary.BigEndian.PutUint64(b[1:], uint64(n))
			binary.BigEndian.PutUint64(b[9:], uint64(s.done.Load()))
			binary.BigEndian.PutUint64(b[17:], uint64(time.Now().UnixNano()))
			c.WriteToUDPAddrPort(b[:], to) // an error is that of an ICMP error, of a packet before
		}
	})
}

// receive checks what arrives at a socket. owner is the host that has it.
func (s *stress) receive(c *net.UDPConn, owner int64) {
	s.all.Go(func() {
		var b [64]byte
		for {
			n, from, err := c.ReadFromUDPAddrPort(b[:])
			select {
			case <-s.stop:
				return
			default:
			}
			if err != nil || n != 25 {
				continue
			}
			number := int64(binary.BigEndian.Uint64(b[1:]))
			first, last := int64(binary.BigEndian.Uint64(b[9:])), s.begun.Load()
			sent := time.Unix(0, int64(binary.BigEndian.Uint64(b[17:])))
			switch b[0] {
			case outward:
				s.check(number, int64(from.Addr().Unmap().As4()[3])-1, first, last)
			case inward:
				s.check(owner, number, first, last)
			case leased:
				if p := (pair{hostWithLease(number), from.Addr().Unmap()}); !s.had(p, sent) {
					s.Errorf("a packet of %v that was sent at %v came from %v", p.host, sent, p.addr)
				}
			}
			s.arrived[b[0]].Add(1)
			select {
			case s.told <- struct{}{}:
			default:
			}
		}
	})
}

// check fails if a host did not have an address in any epoch from first to last.
func (s *stress) check(host, addr, first, last int64) {
	for e := first; e <= last; e++ {
		if (addr+e)%hosts == host {
			return
		}
	}
	s.Errorf("host %d had the address %d, in no epoch from %d to %d", host, addr, first, last)
}

// await waits until n more packets of each kind have arrived.
func (s *stress) await(n int64) {
	s.Helper()
	var goal [len(s.arrived)]int64
	for i := range goal {
		goal[i] = s.arrived[i].Load() + n
	}
	late := time.After(time.Minute)
	for i := 0; i < len(goal); {
		if s.arrived[i].Load() >= goal[i] {
			i++
			continue
		}
		select {
		case <-s.told:
		case <-late:
			s.Fatalf("no packets of kind %d arrive: %d of %d", i, s.arrived[i].Load(), goal[i])
		}
	}
}

// TestNothingOldPasses: while maps are exchanged and leases end under load, no packet that is
// sent after a change is translated by what was before it, neither by the kernel nor by a
// worker that tells the kernel what it saw a moment ago.
func TestNothingOldPasses(t *testing.T) {
	s := newStress(t)
	server := s.listen("198.51.100.1:7000")
	s.receive(server, 0)
	toServer := netip.MustParseAddrPort("[2001:db8:64::198.51.100.1]:7000")
	for n := range int64(hosts) {
		c := s.listen(fmt.Sprintf("[%v]:7000", hostWithMap(n)))
		s.receive(c, n)
		if n < 2 {
			s.send(c, toServer, outward, n)
			s.send(server, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, 0, byte(n + 1)}), 7000), inward, n)
		}
		s.send(s.listen(fmt.Sprintf("[%v]:7000", hostWithLease(n))), toServer, leased, n)
	}
	for epoch := int64(1); epoch <= 12; epoch++ {
		s.await(20)
		s.begun.Store(epoch)
		_, err := s.g.Update(Changes{MapFile: epochMaps(epoch)})
		require.NoError(t, err)
		s.done.Store(epoch)
		for range 3 {
			s.await(5)
			s.g.Pools()[0].Remove(func(pool.Lease) bool { return true })
		}
		if epoch%10 == 0 {
			s.g.fast.sweep()
		}
	}
	close(s.stop)
	kernel, left := uint64(0), uint64(0)
	for _, c := range s.g.Stats().Fast {
		if c.Reason.Translated() {
			kernel += c.Packets
		} else {
			left += c.Packets
		}
	}
	t.Logf("%d packets by the kernel, %d left to workers", kernel, left)
	require.Positive(t, kernel)
	require.Positive(t, left)
}
