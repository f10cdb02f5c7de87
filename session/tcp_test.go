package session_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

const (
	trans = 4 * time.Minute
	est   = 2 * time.Hour
)

// TestTCPStates is RFC 6146 §3.5.2.2 line by line. Packets are written as their side and
// their flags; the packet under test comes a minute after those before it. left is the time
// of the session after it, state "" that there is none.
func TestTCPStates(t *testing.T) {
	for _, c := range []struct {
		name   string
		edit   func(*session.Config)
		before string
		packet string
		want   translate.FlowResult
		state  string
		left   time.Duration
	}{
		{"closed-v6-syn", nil, "", "6S", translate.FlowMapped, "v6-init", trans},
		{"closed-v6-syn-ack", nil, "", "6SA", translate.FlowMapped, "v6-init", trans},
		{"closed-v6-other-without-binding", nil, "", "6A", translate.FlowDrop, "", 0},
		{"closed-v6-fin-without-binding", nil, "", "6FA", translate.FlowDrop, "", 0},
		{"closed-v6-rst-without-binding", nil, "", "6R", translate.FlowDrop, "", 0},
		{"closed-v6-syn-rst", nil, "", "6SR", translate.FlowDrop, "", 0},
		{"closed-v4-syn-without-binding", nil, "", "4S", translate.FlowHold, "", 0},
		{"closed-v4-syn-forbidden", func(c *session.Config) { c.Limits.HeldSYN = -1 }, "", "4S", translate.FlowDrop, "", 0},
		{"v4-syn-of-stranger-forbidden", func(c *session.Config) { c.Limits.HeldSYN, c.Filtering = -1, session.AddressDependent }, "6S", "4S:81", translate.FlowDrop, "v6-init", trans - time.Minute},
		{"closed-v4-other-without-binding", nil, "", "4A", translate.FlowDrop, "", 0},
		{"closed-v4-rst-without-binding", nil, "", "4SR", translate.FlowDrop, "", 0},

		{"v6-init-v4-syn", nil, "6S", "4S", translate.FlowMapped, "established", est},
		{"v6-init-v4-syn-ack", nil, "6S", "4SA", translate.FlowMapped, "established", est},
		{"v6-init-v6-syn", nil, "6S", "6S", translate.FlowMapped, "v6-init", trans},
		{"v6-init-v6-other", nil, "6S", "6A", translate.FlowMapped, "v6-init", trans - time.Minute},
		{"v6-init-v4-other", nil, "6S", "4A", translate.FlowMapped, "v6-init", trans - time.Minute},
		{"v6-init-v4-rst", nil, "6S", "4R", translate.FlowMapped, "v6-init", trans - time.Minute},
		{"v6-init-v6-rst", nil, "6S", "6R", translate.FlowMapped, "v6-init", trans - time.Minute},
		{"v6-init-v4-fin", nil, "6S", "4F", translate.FlowMapped, "v6-init", trans - time.Minute},
		{"v6-init-v4-syn-rst", nil, "6S", "4SR", translate.FlowMapped, "v6-init", trans - time.Minute},

		{"established-v4-fin", nil, "6S 4SA", "4FA", translate.FlowMapped, "v4-fin", est},
		{"established-v6-fin", nil, "6S 4SA", "6FA", translate.FlowMapped, "v6-fin", est},
		{"established-v4-rst", nil, "6S 4SA", "4R", translate.FlowMapped, "trans", trans},
		{"established-v6-rst", nil, "6S 4SA", "6RA", translate.FlowMapped, "trans", trans},
		{"established-v4-fin-rst", nil, "6S 4SA", "4FR", translate.FlowMapped, "trans", trans},
		{"established-v4-other", nil, "6S 4SA", "4A", translate.FlowMapped, "established", est},
		{"established-v6-other", nil, "6S 4SA", "6A", translate.FlowMapped, "established", est},
		{"established-v6-syn", nil, "6S 4SA", "6S", translate.FlowMapped, "established", est},
		{"established-v4-syn", nil, "6S 4SA", "4S", translate.FlowMapped, "established", est},

		{"v4-fin-v6-fin", nil, "6S 4SA 4F", "6F", translate.FlowMapped, "v4-fin-v6-fin", trans},
		{"v4-fin-v4-fin", nil, "6S 4SA 4F", "4F", translate.FlowMapped, "v4-fin", est},
		{"v4-fin-v6-other", nil, "6S 4SA 4F", "6A", translate.FlowMapped, "v4-fin", est},
		{"v4-fin-v4-other", nil, "6S 4SA 4F", "4A", translate.FlowMapped, "v4-fin", est},
		{"v4-fin-v6-rst", nil, "6S 4SA 4F", "6R", translate.FlowMapped, "v4-fin", est},
		{"v6-fin-v4-fin", nil, "6S 4SA 6F", "4F", translate.FlowMapped, "v4-fin-v6-fin", trans},
		{"v6-fin-v6-fin", nil, "6S 4SA 6F", "6F", translate.FlowMapped, "v6-fin", est},
		{"v6-fin-v6-other", nil, "6S 4SA 6F", "6A", translate.FlowMapped, "v6-fin", est},
		{"v6-fin-v4-other", nil, "6S 4SA 6F", "4A", translate.FlowMapped, "v6-fin", est},
		{"v6-fin-v4-rst", nil, "6S 4SA 6F", "4R", translate.FlowMapped, "v6-fin", est},

		{"both-fin-v4-any", nil, "6S 4SA 6F 4F", "4A", translate.FlowMapped, "v4-fin-v6-fin", trans - time.Minute},
		{"both-fin-v6-any", nil, "6S 4SA 6F 4F", "6A", translate.FlowMapped, "v4-fin-v6-fin", trans - time.Minute},
		{"both-fin-v4-rst", nil, "6S 4SA 4F 6F", "4R", translate.FlowMapped, "v4-fin-v6-fin", trans - time.Minute},
		{"both-fin-v6-syn", nil, "6S 4SA 4F 6F", "6S", translate.FlowMapped, "v4-fin-v6-fin", trans - time.Minute},

		{"trans-v4-other", nil, "6S 4SA 4R", "4A", translate.FlowMapped, "established", est},
		{"trans-v6-other", nil, "6S 4SA 4R", "6A", translate.FlowMapped, "established", est},
		{"trans-v6-fin", nil, "6S 4SA 4R", "6F", translate.FlowMapped, "established", est},
		{"trans-v4-rst", nil, "6S 4SA 4R", "4R", translate.FlowMapped, "trans", trans - time.Minute},
		{"trans-v6-rst", nil, "6S 4SA 4R", "6R", translate.FlowMapped, "trans", trans - time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			var edit []func(*session.Config)
			if c.edit != nil {
				edit = append(edit, c.edit)
			}
			b := newBed(t, edit...)
			f := from6(tcp, 1234)
			back := translate.Tuple4{Local: pool, LocalPort: 4321, Remote: server, RemotePort: 80, Proto: tcp}
			pass := func(p string) translate.FlowResult {
				if flags, other := strings.CutSuffix(p, ":81"); other { // from another port
					to := back
					to.RemotePort = 81
					_, r := b.in(to, flagsOf(flags[1:]))
					return r
				}
				if p[0] == '4' {
					to, r := b.in(back, flagsOf(p[1:]))
					if r == translate.FlowMapped {
						require.Equal(t, f, to)
					}
					return r
				}
				to, r := b.out(f, flagsOf(p[1:]))
				if r == translate.FlowMapped {
					back = to
				}
				return r
			}
			for p := range strings.FieldsSeq(c.before) {
				require.Equal(t, translate.FlowMapped, pass(p), p)
			}
			b.now += time.Minute
			require.Equal(t, c.want, pass(c.packet))
			s := b.all()
			if c.state == "" {
				require.Empty(t, s)
				require.Empty(t, b.Stats().Bindings)
				return
			}
			require.Len(t, s, 1)
			require.Equal(t, c.state, s[0].State)
			require.Equal(t, c.left, s[0].Expires)
		})
	}
}

// TestTCPTimers: the lines of the table in which a timer ends. A session lives at the end
// of its time and is gone two seconds later, whether or not Expire was called.
func TestTCPTimers(t *testing.T) {
	for _, c := range []struct {
		name, before string
		after        time.Duration
		then         string // the state after that time; none if ""
	}{
		{"v6-init", "6S", trans, ""},
		{"established", "6S 4SA", est, "trans"},
		{"established-trans", "6S 4SA", est + trans, ""},
		{"v4-fin", "6S 4SA 4F", est, ""},
		{"v6-fin", "6S 4SA 6F", est, ""},
		{"both-fin", "6S 4SA 4F 6F", trans, ""},
		{"trans", "6S 4SA 4R", trans, ""},
	} {
		for _, sweep := range []bool{false, true} {
			b := newBed(t)
			f := from6(tcp, 1234)
			var back translate.Tuple4
			for p := range strings.FieldsSeq(c.before) {
				if p[0] == '4' {
					b.in(back, flagsOf(p))
				} else {
					back, _ = b.out(f, flagsOf(p))
				}
			}
			start := b.now
			for _, at := range []time.Duration{c.after, c.after + 2*time.Second} {
				if sweep {
					for b.now < start+at {
						b.now += time.Second
						b.expire()
					}
				}
				b.now = start + at
				_, r := b.InboundError(b.now, &back)
				s := b.all()
				if at == c.after || c.then != "" {
					require.Equal(t, translate.FlowMapped, r, "%s: %v", c.name, at)
					require.Len(t, s, 1, c.name)
				} else {
					require.Equal(t, translate.FlowDrop, r, c.name)
					require.Empty(t, s, c.name)
				}
				if sweep && at != c.after && c.then != "" {
					require.Equal(t, c.then, s[0].State, c.name)
				}
			}
			b.expire()
			if c.then == "" {
				st := b.Stats()
				require.Zero(t, st.Sessions+st.HalfOpen+st.Hosts+st.Subscribers+len(st.Bindings), "%s: %+v", c.name, st)
			}
		}
	}
}

// TestTCPInbound: CLOSED and V4 INIT with a binding, RFC 6146 §3.5.2.2.
func TestTCPInbound(t *testing.T) {
	b := newBed(t)
	to := b.open(from6(tcp, 1234))
	to.Remote = other

	// A packet that opens nothing is forwarded by the binding and leaves no session.
	_, r := b.in(to, ack)
	require.Equal(t, translate.FlowMapped, r)
	f := from6(tcp, 1234)
	f.Remote = other
	back, r := b.out(f, ack)
	require.Equal(t, translate.FlowMapped, r)
	require.Equal(t, to, back)
	require.Len(t, b.all(), 1)

	// A SYN makes one; other packets leave V4 INIT as it is; the host's SYN opens it.
	got, r := b.in(to, syn)
	require.Equal(t, translate.FlowMapped, r)
	require.Equal(t, f, got)
	require.Equal(t, 1, b.Stats().ByState["v4-init"])
	require.Equal(t, 1, b.Stats().Inbound)
	b.now += time.Minute
	for _, flags := range []uint8{syn, ack, fin, rst} {
		_, r = b.in(to, flags)
		require.Equal(t, translate.FlowMapped, r)
	}
	for _, flags := range []uint8{ack, fin, rst} {
		_, r = b.out(f, flags)
		require.Equal(t, translate.FlowMapped, r)
	}
	require.Equal(t, 1, b.Stats().ByState["v4-init"])
	_, r = b.out(f, syn|ack)
	require.Equal(t, translate.FlowMapped, r)
	require.Equal(t, 1, b.Stats().ByState["established"])
}

// TestTCPInboundFiltered: with address-dependent filtering a SYN is held, and other packets
// pass from addresses that the host has a session with.
func TestTCPInboundFiltered(t *testing.T) {
	b := newBed(t, filtered)
	to := b.open(from6(tcp, 1234))
	for _, c := range []struct {
		remote uint32
		flags  uint8
		want   translate.FlowResult
	}{
		{other, syn, translate.FlowHold},
		{other, ack, translate.FlowFiltered},
		{other, syn | rst, translate.FlowFiltered},
		{server, syn, translate.FlowHold},
		{server, ack, translate.FlowMapped},
	} {
		f := to
		f.Remote, f.RemotePort = c.remote, 4000
		_, r := b.in(f, c.flags)
		require.Equal(t, c.want, r, "%+v", c)
	}
	require.Len(t, b.all(), 1)
}

// TestHold: an unsolicited SYN is answered after 6 seconds, or dropped silently if
// the host opens the same connection meanwhile.
func TestHold(t *testing.T) {
	b := newBed(t, func(c *session.Config) { c.Limits.HeldSYN = 2; c.Filtering = session.AddressDependent })
	to := b.open(from6(tcp, 1234))
	_, next, ok := b.Unanswered(b.now)
	require.False(t, ok)
	require.Equal(t, time.Duration(translate.Never), next)

	to.Remote = other
	first, ok := b.Hold(b.now, &to)
	require.True(t, ok)
	_, ok = b.Hold(b.now, &to)
	require.False(t, ok, "a retransmission")
	b.now += 2 * time.Second
	late := to
	late.RemotePort = 99
	second, ok := b.Hold(b.now, &late)
	require.True(t, ok)
	require.NotEqual(t, first.Slot(), second.Slot())
	late.RemotePort = 98
	_, ok = b.Hold(b.now, &late)
	require.False(t, ok, "too many")
	require.Equal(t, 2, b.Stats().HeldSYN)

	// The host opens the first: the connection is established at once.
	f := from6(tcp, 1234)
	f.Remote = other
	require.Equal(t, to, b.open(f))
	require.Equal(t, 1, b.Stats().ByState["established"])
	require.Equal(t, 1, b.Stats().HeldSYN)

	b.now += 6 * time.Second
	_, next, ok = b.Unanswered(b.now)
	require.False(t, ok)
	require.Equal(t, b.now+time.Second, next)
	b.now += time.Second
	got, _, ok := b.Unanswered(b.now)
	require.True(t, ok)
	require.Equal(t, second, got)
	_, _, ok = b.Unanswered(b.now)
	require.False(t, ok)
	require.Zero(t, b.Stats().HeldSYN)

	third, ok := b.Hold(b.now, &to)
	require.True(t, ok)
	require.NotEqual(t, first, third, "a ticket is not used again")
}

// TestTCPEstablishedTime: the time of an established connection never falls below 2 hours
// before its transitory time, whatever that is: RFC 6146 §4.
func TestTCPEstablishedTime(t *testing.T) {
	for _, c := range []struct{ tcp, transitory, want time.Duration }{
		{0, 0, est},
		{3 * time.Hour, 0, 3*time.Hour - trans},
		{0, time.Hour, est},
		{4 * time.Hour, time.Hour, 3 * time.Hour},
		{0, 3 * time.Hour, est},
	} {
		b := newBed(t, func(cfg *session.Config) { cfg.Timeouts.TCP, cfg.Timeouts.TCPTransitory = c.tcp, c.transitory })
		b.in(b.open(from6(tcp, 1)), syn)
		require.Equal(t, c.want, b.all()[0].Expires)
	}
}

// TestProbe: a connection is to be probed when its time ends, and lives if there is an
// answer: RFC 6146 §3.5.2.2.
func TestProbe(t *testing.T) {
	b := newBed(t, func(c *session.Config) { c.MaxProbes = 2 })
	f := from6(tcp, 1234)
	f.Pref64 = 3
	back := b.open(f)
	b.in(back, syn)
	b.now += est
	b.expire()
	require.Empty(t, b.probed(3))
	b.now += time.Second
	b.expire()
	require.Equal(t, []translate.Tuple6{f}, b.probed(3))
	require.Empty(t, b.probed(3))
	_, r := b.out(f, ack)
	require.Equal(t, translate.FlowMapped, r)
	require.Equal(t, "established", b.all()[0].State)

	for i := range uint16(5) {
		b.in(b.open(from6(tcp, i)), syn)
	}
	b.now += est + time.Second
	b.expire()
	n, next := b.Probes(b.now, make([]translate.Tuple6, 1))
	require.Equal(t, 1, n)
	require.Equal(t, b.now, next)
	require.Len(t, b.probed(3), 1)

	b = newBed(t)
	b.in(b.open(from6(tcp, 1)), syn)
	b.now += est + time.Second
	b.expire()
	n, next = b.Probes(b.now, make([]translate.Tuple6, 1))
	require.Zero(t, n)
	require.Equal(t, time.Duration(translate.Never), next)
}

// probed returns the connections to probe.
func (b *bed) probed(room int) []translate.Tuple6 {
	to := make([]translate.Tuple6, room)
	n, next := b.Probes(b.now, to)
	require.Equal(b, b.now+time.Second, next)
	return to[:n]
}

// TestTransitionInThePast: workers read the clock apart, so a packet that changes the state
// may have an earlier time than the one before. It must not make the session end earlier.
func TestTransitionInThePast(t *testing.T) {
	b := newBed(t)
	back := b.open(from6(tcp, 1234))
	start := b.now
	b.now -= 30 * time.Second
	_, r := b.in(back, syn|ack)
	require.Equal(t, translate.FlowMapped, r)
	b.now = start
	require.Equal(t, "established", b.all()[0].State)
	require.Equal(t, est, b.all()[0].Expires)
}
