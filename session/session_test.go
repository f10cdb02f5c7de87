package session_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// TestBinding: one host's port has one address and port, whatever it talks to, until its
// last session has ended; the protocols are apart. RFC 6146 §3.1, §3.5.1, §5.2.
func TestBinding(t *testing.T) {
	for _, proto := range []uint8{tcp, udp, icmp} {
		b := newBed(t)
		f := from6(proto, 1000)
		first := b.open(f)
		require.Equal(t, uint32(pool), first.Local)
		require.Equal(t, uint32(server), first.Remote)
		if proto == icmp {
			require.Equal(t, first.LocalPort, first.RemotePort)
		} else {
			require.Equal(t, uint16(80), first.RemotePort)
		}

		b.now += time.Minute
		f.Remote, f.RemotePort = other, 81
		second := b.open(f)
		require.Equal(t, first.LocalPort, second.LocalPort)
		require.Equal(t, map[uint8]int{proto: 1}, b.Stats().Bindings)
		require.Equal(t, 2, b.Stats().Sessions)

		// The first session ends, the binding stays.
		all := b.all()
		b.now += min(all[0].Expires, all[1].Expires) + 2*time.Second
		b.expire()
		require.Equal(t, 1, b.Stats().Sessions)
		_, r := b.InboundError(b.now, &second)
		require.Equal(t, translate.FlowMapped, r)
		b.now += time.Hour
		b.expire()
		require.Empty(t, b.Stats().Bindings)
		require.Zero(t, b.Stats().Hosts)
		if _, r = b.in(first, ack); proto == tcp {
			require.Equal(t, translate.FlowDrop, r)
		} else {
			require.Equal(t, translate.FlowNoBinding, r)
		}
	}
}

// TestInbound: packets from IPv4 reach the host with its own port; a remote address of
// which the host knows nothing makes a session. RFC 6146 §3.5.1, §3.5.3.
func TestInbound(t *testing.T) {
	for _, proto := range []uint8{udp, icmp} {
		b := newBed(t)
		f := from6(proto, 1000)
		if proto == icmp {
			f.RemotePort = 1000 // the identifier
		}
		f.Pref64 = 5
		back := b.open(f)
		to, r := b.in(back, 0)
		require.Equal(t, translate.FlowMapped, r)
		require.Equal(t, f, to)
		require.Equal(t, 1, b.Stats().Sessions)

		back.Remote, f.Remote = other, other
		to, r = b.in(back, 0)
		require.Equal(t, translate.FlowMapped, r)
		require.Equal(t, f, to)
		require.Equal(t, 2, b.Stats().Sessions)
		require.Equal(t, 1, b.Stats().Inbound)

		back.LocalPort ^= 1
		_, r = b.in(back, 0)
		require.Equal(t, translate.FlowNoBinding, r)
		back.Local++
		_, r = b.in(back, 0)
		require.Equal(t, translate.FlowUnshared, r)
		require.Equal(t, uint64(1), b.Stats().Denied4["no-binding"])
	}
}

// TestAddressDependent: RFC 6146 §3.5.1, §3.5.3. A packet that is filtered refreshes
// nothing: RFC 7857 §7.
func TestAddressDependent(t *testing.T) {
	for _, proto := range []uint8{udp, icmp} {
		b := newBed(t, filtered)
		back := b.open(from6(proto, 1000))
		back.RemotePort = 999 // another port of an address that is known
		_, r := b.in(back, 0)
		require.Equal(t, translate.FlowMapped, r)
		n := b.Stats().Sessions

		b.now += 10 * time.Second
		back.Remote = other
		_, r = b.in(back, 0)
		require.Equal(t, translate.FlowFiltered, r)
		require.Equal(t, n, b.Stats().Sessions)
		for _, s := range b.all() {
			require.Equal(t, 10*time.Second, s.Idle)
		}

		// The permission ends with the sessions.
		f := from6(proto, 1000)
		f.Remote = other
		b.open(f)
		_, r = b.in(back, 0)
		require.Equal(t, translate.FlowMapped, r)
		b.now += time.Hour
		b.expire()
		require.Zero(t, b.Stats().Sessions)
		back = b.open(from6(proto, 1000))
		back.Remote = other
		_, r = b.in(back, 0)
		require.Equal(t, translate.FlowFiltered, r)
	}
}

// TestTimeouts: a session lives while packets of either side come, to the end of its time
// and not two seconds longer.
func TestTimeouts(t *testing.T) {
	for _, c := range []struct {
		name  string
		proto uint8
		port  uint16
		edit  func(*session.Config)
		want  time.Duration
	}{
		{"udp", udp, 80, nil, 5 * time.Minute},
		{"udp-2m", udp, 80, func(c *session.Config) { c.Timeouts.UDP = 2 * time.Minute }, 2 * time.Minute},
		{"udp-1h", udp, 80, func(c *session.Config) { c.Timeouts.UDP = time.Hour }, time.Hour},
		{"dns", udp, 53, nil, 5 * time.Minute},
		{"dns-10s", udp, 53, func(c *session.Config) { c.Timeouts.DNS = 10 * time.Second }, 10 * time.Second},
		{"no-dns", udp, 54, func(c *session.Config) { c.Timeouts.DNS = 10 * time.Second }, 5 * time.Minute},
		{"icmp", icmp, 0, nil, time.Minute},
		{"icmp-2m", icmp, 0, func(c *session.Config) { c.Timeouts.ICMP = 2 * time.Minute }, 2 * time.Minute},
		{"opening-10s", tcp, 80, func(c *session.Config) { c.Timeouts.TCPOpening = 10 * time.Second }, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			var edit []func(*session.Config)
			if c.edit != nil {
				edit = append(edit, c.edit)
			}
			b := newBed(t, edit...)
			f := from6(c.proto, 1000)
			f.RemotePort = c.port
			back := b.open(f)
			require.Equal(t, c.want, b.all()[0].Expires)
			if c.proto != tcp {
				for _, side := range []int{4, 6} {
					b.now += c.want
					b.expire()
					if side == 4 {
						_, r := b.in(back, 0)
						require.Equal(t, translate.FlowMapped, r)
					} else {
						require.Equal(t, back, b.open(f))
					}
				}
			}
			require.Equal(t, uint64(1), b.Stats().Made)
			b.now += c.want
			b.expire()
			require.Equal(t, 1, b.Stats().Sessions)
			b.now += 2 * time.Second
			_, r := b.OutboundError(b.now, &f)
			require.Equal(t, translate.FlowDrop, r)
			b.expire()
			require.Zero(t, b.Stats().Sessions)
		})
	}
}

// TestErrors: errors are mapped by the session of the packet that they quote, and change
// nothing: RFC 6146 §3.5, RFC 4787 REQ-12, RFC 5382 REQ-10, RFC 5508 REQ-6.
func TestErrors(t *testing.T) {
	for _, proto := range []uint8{tcp, udp, icmp, 58} {
		b := newBed(t)
		f := from6(proto, 1000)
		if proto == icmp || proto == 58 {
			f.RemotePort = 1000
		}
		back := b.open(f)
		b.now += 30 * time.Second
		before := b.all()
		to4, r := b.OutboundError(b.now, &f)
		require.Equal(t, translate.FlowMapped, r)
		require.Equal(t, back, to4)
		to6, r := b.InboundError(b.now, &back)
		require.Equal(t, translate.FlowMapped, r)
		to6.Proto = f.Proto // 1 and 58 are the same
		require.Equal(t, f, to6)
		require.Equal(t, before, b.all())

		// No session, though a binding.
		f.Remote, back.Remote = other, other
		_, r = b.OutboundError(b.now, &f)
		require.Equal(t, translate.FlowDrop, r)
		_, r = b.InboundError(b.now, &back)
		require.Equal(t, translate.FlowDrop, r)
		back.Local++
		_, r = b.InboundError(b.now, &back)
		require.Equal(t, translate.FlowUnshared, r)
		require.Equal(t, before, b.all())
	}
}

// TestOtherProtocols: what has no ports is not ours.
func TestOtherProtocols(t *testing.T) {
	b := newBed(t)
	for _, proto := range []uint8{0, 2, 33, 50, 132, 255} {
		f, back := from6(proto, 1), translate.Tuple4{Local: pool, LocalPort: 1, Proto: proto}
		_, r := b.out(f, syn)
		require.Equal(t, translate.FlowUnshared, r)
		_, r = b.OutboundError(b.now, &f)
		require.Equal(t, translate.FlowUnshared, r)
		_, r4 := b.in(back, syn)
		require.Equal(t, translate.FlowUnshared, r4)
		_, r4 = b.InboundError(b.now, &back)
		require.Equal(t, translate.FlowUnshared, r4)
		_, ok := b.Hold(b.now, &back)
		require.False(t, ok)
	}
	f := from6(tcp, 1)
	f.Pref64 = translate.MaxPref64
	_, r := b.out(f, syn)
	require.Equal(t, translate.FlowUnshared, r)
}

// TestClients: others than clients are not ours.
func TestClients(t *testing.T) {
	b := newBed(t, func(c *session.Config) {
		c.Clients = []netip.Prefix{prefix("2001:db8:1::/48"), prefix("2001:db8::/127"), prefix("2001:db8::8/128")}
	})
	for host, want := range map[uint64]translate.FlowResult{
		0: translate.FlowMapped, 1: translate.FlowMapped, 2: translate.FlowUnshared,
		8: translate.FlowMapped, 9: translate.FlowUnshared,
	} {
		f := from6(udp, 1000)
		f.Host = host6(host)
		_, r := b.OutboundError(b.now, &f)
		if want == translate.FlowUnshared {
			require.Equal(t, want, r)
		} else {
			require.Equal(t, translate.FlowDrop, r)
		}
		_, r = b.out(f, 0)
		require.Equal(t, want, r, host)
	}
}

// TestHairpin: two hosts with one address reach each other by it: RFC 6146 §3.8.
func TestHairpin(t *testing.T) {
	b := newBed(t, filtered)
	one, two := from6(udp, 1000), from6(udp, 2000)
	two.Host = host6(2)
	at2 := b.open(two) // a session with the server; it does not let host 1 in
	one.Remote, one.RemotePort = at2.Local, at2.LocalPort
	at1 := b.open(one)
	to2 := translate.Tuple4{Local: at1.Remote, LocalPort: at1.RemotePort, Remote: at1.Local, RemotePort: at1.LocalPort, Proto: udp}
	_, r := b.in(to2, 0)
	require.Equal(t, translate.FlowFiltered, r)

	two.Remote, two.RemotePort = at1.Local, at1.LocalPort
	b.open(two)
	got, r := b.in(to2, 0)
	require.Equal(t, translate.FlowMapped, r)
	require.Equal(t, two, got)
}

// TestStatic: a static binding has any port, does not end, serves both directions, is
// reached from everywhere, and pairs its host with its address.
func TestStatic(t *testing.T) {
	b := newBed(t, filtered, func(c *session.Config) {
		c.Pools[0].Prefix = prefix("192.0.2.0/24")
		c.Static = []session.Static{
			{Proto: tcp, Addr: at("192.0.2.1:80"), Host: at("[2001:db8::1]:8080"), Pref64: 3},
			{Proto: udp, Addr: at("192.0.2.1:5000"), Host: at("[2001:db8::1]:5000")},
			{Proto: icmp, Addr: at("192.0.2.1:0"), Host: at("[2001:db8::1]:7")},
		}
	})
	require.Equal(t, map[uint8]int{tcp: 1, udp: 1, icmp: 1}, b.Stats().Bindings)
	in := translate.Tuple4{Local: pool, LocalPort: 80, Remote: other, RemotePort: 4000, Proto: tcp}
	to, r := b.in(in, syn)
	require.Equal(t, translate.FlowMapped, r)
	require.Equal(t, translate.Tuple6{Host: host6(1), HostPort: 8080, Remote: other, RemotePort: 4000, Proto: tcp, Pref64: 3}, to)
	back, r := b.out(to, syn|ack)
	require.Equal(t, translate.FlowMapped, r)
	require.Equal(t, in, back)
	require.Equal(t, 1, b.Stats().ByState["established"])
	in.RemotePort = 4001
	_, r = b.in(in, ack)
	require.Equal(t, translate.FlowMapped, r)

	f := from6(udp, 5000)
	require.Equal(t, uint16(5000), b.open(f).LocalPort)
	f.HostPort = 6000
	require.Equal(t, uint32(pool), b.open(f).Local)

	b.now += 24 * time.Hour
	b.expire()
	st := b.Stats()
	require.Zero(t, st.Sessions)
	require.Equal(t, 1, st.Hosts)
	require.Equal(t, map[uint8]int{tcp: 1, udp: 1, icmp: 1}, st.Bindings)
	_, r = b.in(in, syn)
	require.Equal(t, translate.FlowMapped, r)
}

// TestStaticPort: a static binding's port is not assigned to others.
func TestStaticPort(t *testing.T) {
	b := newBed(t, ports(5000, 5001), func(c *session.Config) {
		c.Static = []session.Static{{Proto: udp, Addr: at("192.0.2.1:5000"), Host: at("[2001:db8::9]:1")}}
	})
	require.Equal(t, uint16(5001), b.open(from6(udp, 80)).LocalPort)
	_, r := b.out(from6(udp, 81), 0)
	require.Equal(t, translate.FlowNoPort, r)
}

// TestClock: a time that stands still or goes back ends nothing and renews nothing.
func TestClock(t *testing.T) {
	b := newBed(t)
	f := from6(udp, 1000)
	b.open(f)
	for _, now := range []time.Duration{b.now - time.Minute, 0, -time.Hour, b.now} {
		for b.Expire(now) {
		}
		_, r := b.Outbound(now, &f, 0)
		require.Equal(t, translate.FlowMapped, r)
	}
	b.now += 5*time.Minute + 2*time.Second
	b.expire()
	require.Zero(t, b.Stats().Sessions)

	// A step far ahead, then back: what was made meanwhile lives its time.
	b.now += 1e5 * time.Hour
	b.expire()
	b.now -= 1e5 * time.Hour
	b.open(f)
	b.expire()
	require.Equal(t, 1, b.Stats().Sessions)
	b.now += 1e5*time.Hour + time.Hour
	b.expire()
	require.Zero(t, b.Stats().Sessions)
}

// TestAllocations: the path of packets whose session exists allocates nothing, and neither
// do packets that are denied.
func TestAllocations(t *testing.T) {
	b := newBed(t, filtered)
	f, flow := from6(tcp, 1), from6(udp, 1)
	back, udpBack := b.open(f), b.open(flow)
	b.in(back, syn)
	unknown := udpBack
	unknown.Remote = other
	require.Zero(t, testing.AllocsPerRun(100, func() {
		b.now += time.Second
		b.Outbound(b.now, &f, ack)
		b.Inbound(b.now, &back, ack)
		b.Outbound(b.now, &flow, 0)
		b.Inbound(b.now, &udpBack, 0)
		b.Inbound(b.now, &unknown, 0)
		b.OutboundError(b.now, &flow)
		b.InboundError(b.now, &udpBack)
		b.Inbound(b.now, &back, rst) // to TRANS and back
	}))
}

// TestHitAfterTheEnd: a packet whose session has run out of time, and was not removed yet,
// does not bring it back: neither one from IPv4, nor the host's, which begins another.
func TestHitAfterTheEnd(t *testing.T) {
	for proto, d := range map[uint8]time.Duration{udp: 5 * time.Minute, icmp: time.Minute, tcp: 4 * time.Minute} {
		b := newBed(t)
		f := from6(proto, 1234)
		back := b.open(f)
		b.now += d
		_, r := b.in(back, ack) // in TCP this does not start the timer again
		require.Equal(t, translate.FlowMapped, r)
		if proto != tcp {
			b.now += d
		}
		b.now += 2 * time.Second
		_, r = b.in(back, ack)
		require.NotEqual(t, translate.FlowMapped, r, proto)

		b = newBed(t)
		b.open(f)
		b.now += d + 2*time.Second
		b.open(f)
		st := b.Stats()
		require.Equal(t, 1, st.Sessions)
		require.Equal(t, d, b.all()[0].Expires)
	}
}
