package session_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

func ports(low, high uint16) func(*session.Config) {
	return func(c *session.Config) { c.Pools[0].Low, c.Pools[0].High = low, high }
}

// TestPortRange: the range of the source port is kept, and the parity for UDP: RFC 4787
// §4.2.2, RFC 6146 §3.5.1.1, §3.5.2.3.
func TestPortRange(t *testing.T) {
	b := newBed(t, ports(1, 65535))
	for i := range 200 {
		for _, port := range []uint16{1, 22, 1023, 1024, 1025, 40000, 65535} {
			for _, proto := range []uint8{tcp, udp} {
				f := from6(proto, port)
				f.Host = host6(uint64(i))
				to := b.open(f)
				require.NotZero(t, to.LocalPort)
				require.Equal(t, port < 1024, to.LocalPort < 1024, "%d to %d", port, to.LocalPort)
				if proto == udp {
					require.Equal(t, port%2, to.LocalPort%2, "%d to %d", port, to.LocalPort)
				}
			}
		}
		if i == 30 {
			break // well-known ports are few
		}
	}
}

// TestPortFallback: without a port of the same range or parity another one is assigned, and
// each of the pool in the end; then hosts are denied. TCP, UDP and ICMP have ports of
// their own.
func TestPortFallback(t *testing.T) {
	for _, c := range []struct {
		name             string
		proto            uint8
		low, high, first uint16
		want             [][2]uint16 // ranges, in the order of assignment
	}{
		{"udp-even-first", udp, 2000, 2007, 5000, [][2]uint16{{2000, 2006}, {2000, 2006}, {2000, 2006}, {2000, 2006}, {2001, 2007}, {2001, 2007}, {2001, 2007}, {2001, 2007}}},
		{"udp-low-source", udp, 2000, 2001, 53, [][2]uint16{{2001, 2001}, {2000, 2000}}},
		{"tcp-high-source", tcp, 1022, 1025, 5000, [][2]uint16{{1024, 1025}, {1024, 1025}, {1022, 1023}, {1022, 1023}}},
		{"tcp-low-source", tcp, 1022, 1025, 80, [][2]uint16{{1022, 1023}, {1022, 1023}, {1024, 1025}, {1024, 1025}}},
		{"tcp-one", tcp, 65535, 65535, 80, [][2]uint16{{65535, 65535}}},
		{"udp-first", udp, 1, 1, 80, [][2]uint16{{1, 1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t, ports(c.low, c.high))
			seen := map[uint16]bool{}
			for i, want := range c.want {
				f := from6(c.proto, c.first)
				f.Host = host6(uint64(i))
				to := b.open(f)
				require.False(t, seen[to.LocalPort])
				seen[to.LocalPort] = true
				require.GreaterOrEqual(t, to.LocalPort, want[0])
				require.LessOrEqual(t, to.LocalPort, want[1])
			}
			f := from6(c.proto, c.first)
			f.Host = host6(100)
			_, r := b.out(f, syn)
			require.Equal(t, translate.FlowNoPort, r)
			st := b.Stats()
			require.Equal(t, uint64(1), st.Denied6["no-port"])
			require.Equal(t, len(c.want), st.Sessions)
			require.Equal(t, len(c.want), st.Hosts, "the denied host left nothing")
			f.Proto = tcp + udp - c.proto
			b.open(f) // the other protocol has all its ports
		})
	}
}

// TestPortsAll: each identifier of an address can be assigned, and finding the last ones
// takes no longer.
func TestPortsAll(t *testing.T) {
	b := newBed(t, func(c *session.Config) {
		n := 1 << 17
		c.Limits = session.Limits{Sessions: n, HalfOpen: n, PerPrefix: n, HalfOpenPerPrefix: n}
	})
	for _, c := range []struct {
		proto uint8
		n     int
	}{{icmp, 65536}, {tcp, 64512}} {
		seen := [65536]bool{}
		for i := range c.n {
			f := from6(c.proto, uint16(i))
			f.Host = host6(uint64(i % 7))
			to := b.open(f)
			if seen[to.LocalPort] {
				t.Fatal("assigned twice", to)
			}
			seen[to.LocalPort] = true
		}
		f := from6(c.proto, 1)
		f.Host = host6(100)
		_, r := b.out(f, syn)
		require.Equal(t, translate.FlowNoPort, r)
	}
	u := b.Addresses()
	require.Len(t, u, 1)
	require.Equal(t, 65536, u[0].ICMP)
	require.Equal(t, 64512, u[0].TCP)
	require.Zero(t, u[0].UDP)
}

// TestPortsUnpredictable: the ports of successive bindings are spread over the range, also
// when nine tenths are assigned: RFC 6056.
func TestPortsUnpredictable(t *testing.T) {
	b := newBed(t, func(c *session.Config) {
		n := 1 << 17
		c.Limits = session.Limits{Sessions: n, HalfOpen: n, PerPrefix: n, HalfOpenPerPrefix: n}
	})
	const full = 64512 * 9 / 10
	last, near := 0, 0
	for i := range full + 2000 {
		f := from6(tcp, 2000)
		f.Host = host6(uint64(i))
		p := int(b.open(f).LocalPort)
		if p-last < 200 && last-p < 200 {
			near++
		}
		last = p
	}
	require.Less(t, near, (full+2000)/50, "about 0.6 % by chance")
}

// TestPaired: a host has one address for all protocols, and is denied when that has no port
// left, while others have: RFC 6888 §4 REQ-2.
func TestPaired(t *testing.T) {
	b := newBed(t, func(c *session.Config) {
		c.Pools = []session.Pool{{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Low: 5000, High: 5004}}
	})
	seen := map[uint32]bool{}
	for h := range uint64(200) {
		f := from6(tcp, 1000)
		f.Host = host6(h)
		a := b.open(f).Local
		seen[a] = true
		for _, proto := range []uint8{udp, icmp} {
			f.Proto, f.HostPort = proto, 2000
			require.Equal(t, a, b.open(f).Local)
		}
	}
	require.Greater(t, len(seen), 100, "hosts are spread over the addresses")

	f := from6(tcp, 0)
	f.Host = host6(1000)
	denied := 0
	for port := range uint16(6) {
		f.HostPort = 3000 + port
		if _, r := b.out(f, syn); r != translate.FlowMapped {
			require.Equal(t, translate.FlowNoPort, r)
			denied++
		}
	}
	require.Positive(t, denied)
}

// TestPoolsByPrefix: hosts that send to a prefix with a pool of its own have an address of
// that pool there, and the bindings of both are apart.
func TestPoolsByPrefix(t *testing.T) {
	b := newBed(t, func(c *session.Config) {
		c.Pools = append(c.Pools, session.Pool{Prefix: netip.MustParsePrefix("192.0.2.8/29"), Pref64: 2})
	})
	f := from6(udp, 1000)
	f.Pref64 = 2
	two := b.open(f)
	require.Equal(t, uint32(pool+7)&^7, two.Local&^7)
	f.Pref64 = 1
	one := b.open(f)
	require.Equal(t, uint32(pool), one.Local)
	require.Equal(t, 2, b.Stats().Bindings[udp])
	for want, back := range map[uint8]translate.Tuple4{1: one, 2: two} {
		to, r := b.in(back, 0)
		require.Equal(t, translate.FlowMapped, r)
		require.Equal(t, want, to.Pref64)
	}

	// Within one group, answers come by the prefix that was used last.
	f.Pref64 = 3
	require.Equal(t, one, b.open(f))
	to, _ := b.in(one, 0)
	require.Equal(t, uint8(3), to.Pref64)
	require.Equal(t, 2, b.Stats().Sessions)
}

// TestNoPoolForPrefix: without a pool for a prefix the tables decide.
func TestNoPoolForPrefix(t *testing.T) {
	b := newBed(t, func(c *session.Config) { c.Pools[0].Pref64 = 2 })
	_, r := b.out(from6(udp, 1), 0)
	require.Equal(t, translate.FlowUnshared, r)
	require.Zero(t, b.Stats().Hosts)
}

// TestQuarantine: a UDP port or identifier that was released is not assigned for 120
// seconds: RFC 6888 §4 REQ-8. A TCP port is at once.
func TestQuarantine(t *testing.T) {
	for _, c := range []struct {
		name    string
		proto   uint8
		edit    func(*session.Config)
		timeout time.Duration
		wait    time.Duration // after the release, until the port is surely free
	}{
		{"udp", udp, nil, 5 * time.Minute, 120 * time.Second},
		{"tcp", tcp, nil, 4 * time.Minute, 0},
		{"udp-off", udp, func(c *session.Config) { c.Quarantine = -1 }, 5 * time.Minute, 0},
		{"udp-10s", udp, func(c *session.Config) { c.Quarantine = 10 * time.Second }, 5 * time.Minute, 10 * time.Second},
		{"udp-none-may-wait", udp, func(c *session.Config) { c.MaxQuarantine = 1 }, 5 * time.Minute, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			edit := []func(*session.Config){ports(5000, 5001)}
			if c.edit != nil {
				edit = append(edit, c.edit)
			}
			b := newBed(t, edit...)
			for _, h := range []uint64{1, 2} {
				f := from6(c.proto, 4000)
				f.Host = host6(h)
				b.open(f)
			}
			b.now += c.timeout + 2*time.Second
			b.expire()
			require.Zero(t, b.Stats().Sessions)
			released := b.now

			f := from6(c.proto, 4000)
			f.Host = host6(3)
			if c.wait > 0 {
				for _, wait := range []time.Duration{0, c.wait} {
					b.now = released + wait
					_, r := b.out(f, syn)
					require.Equal(t, translate.FlowNoPort, r)
				}
				require.Equal(t, 0, b.Stats().Hosts)
			}
			b.now = released + 2*c.wait + 2*time.Second
			b.open(f)
		})
	}
}

// TestLargePoolFull: a host finds the one port that is left in a large pool, and a pool
// without any denies quickly.
func TestLargePoolFull(t *testing.T) {
	for _, block := range []int{0, 64} {
		b := newBed(t, func(c *session.Config) {
			c.Pools = []session.Pool{{Prefix: prefix("192.0.2.0/24"), Low: 6400, High: 6400 + 63}}
			c.PortBlock = block
			c.Limits = session.Limits{Sessions: 1 << 15, HalfOpen: 1 << 15, PerPrefix: 1 << 15, HalfOpenPerPrefix: 1 << 15}
		})
		hosts := 256
		if block == 0 {
			hosts *= 64
		}
		f := from6(tcp, 5000)
		for h := range hosts {
			f.Host = translate.Addr6{Hi: uint64(h), Lo: 1}
			b.open(f)
		}
		f.Host.Hi++
		start := time.Now()
		for range 10_000 {
			if _, r := b.out(f, syn); r != translate.FlowNoPort {
				t.Fatal(r)
			}
		}
		t.Log(time.Since(start)/10_000, "a packet that is denied")
		b.now += time.Hour
		b.expire()
		b.open(f)
	}
}

// TestQuarantineLeavesPorts: ports of a prefix that opened all that it could wait, but not
// so many that with those which it takes again none is left for others.
func TestQuarantineLeavesPorts(t *testing.T) {
	b := newBed(t, func(c *session.Config) { c.Limits = session.Limits{} })
	n := 0
	flood := func() {
		for range 40000 {
			f := from6(udp, uint16(n)|1024)
			f.Host = host6(uint64(n))
			b.out(f, 0)
			n++
		}
	}
	flood()
	b.now += 5*time.Minute + 2*time.Second
	b.expire()
	flood()
	require.Equal(t, 64512/4, b.Addresses()[0].Quarantine)
	require.Equal(t, 64512/2, b.Stats().Bindings[udp])
	for i := range 64512 / 4 {
		f := from6(udp, uint16(i))
		f.Host = translate.Addr6{Hi: 7, Lo: uint64(i)}
		b.open(f)
	}
}
