package session_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// A testPath has the sessions that were handed over, and when each was used last.
type testPath struct {
	has  map[translate.Tuple6]translate.Tuple4
	used map[translate.Tuple6]time.Duration
	full bool

	generation uint32
}

func newTestPath() *testPath {
	return &testPath{has: map[translate.Tuple6]translate.Tuple4{}, used: map[translate.Tuple6]time.Duration{}}
}

func (p *testPath) Begin(f6 *translate.Tuple6, f4 *translate.Tuple4, generation uint32) bool {
	p.generation = generation
	if !p.full {
		p.has[*f6] = *f4
	}
	return !p.full
}

func (p *testPath) Used(f6 *translate.Tuple6, f4 *translate.Tuple4) (time.Duration, bool) {
	last, ok := p.used[*f6]
	return last, ok && p.has[*f6] == *f4
}

func (p *testPath) End(f6 *translate.Tuple6, f4 *translate.Tuple4) {
	if p.has[*f6] == *f4 {
		delete(p.has, *f6)
	}
}

// TestDelegate: a path gets sessions that packets without flags do not change, and no others.
func TestDelegate(t *testing.T) {
	p := newTestPath()
	b := newBed(t, func(c *session.Config) { c.Path = p })
	f := from6(tcp, 1234)
	require.False(t, b.Delegate(&f, 7), "there is no session")
	back, _ := b.out(f, flagsOf("S"))
	require.False(t, b.Delegate(&f, 7), "v6-init")
	b.in(back, flagsOf("SA"))
	require.True(t, b.Delegate(&f, 7))
	require.Equal(t, back, p.has[f])
	require.EqualValues(t, 7, p.generation)
	p.full = true
	require.False(t, b.Delegate(&f, 7), "again, and the path does not take it")
	p.full = false
	other := f
	other.Pref64 = 2
	require.False(t, b.Delegate(&other, 7), "the host answers by another prefix")

	for _, proto := range []uint8{udp, 58} {
		f := from6(proto, 99)
		if proto == 58 {
			f.RemotePort = f.HostPort
		}
		back, _ := b.out(f, 0)
		require.True(t, b.Delegate(&f, 7), proto)
		require.Equal(t, back, p.has[f])
	}
	none := newBed(t)
	none.out(from6(udp, 99), 0)
	f = from6(udp, 99)
	require.False(t, none.Delegate(&f, 7), "there is no path")
}

// TestPathLosesWhatChanges: before a packet with a flag passes, or the prefix changes by which
// a host is answered, the path has the session no more.
func TestPathLosesWhatChanges(t *testing.T) {
	for _, packet := range []string{"6F", "4F", "6R", "4RA", "other prefix"} {
		p := newTestPath()
		b := newBed(t, func(c *session.Config) { c.Path = p })
		f := from6(tcp, 1234)
		back, _ := b.out(f, flagsOf("S"))
		b.in(back, flagsOf("SA"))
		require.True(t, b.Delegate(&f, 7))
		b.out(f, flagsOf("S")) // a second SYN of an established connection changes nothing
		require.Len(t, p.has, 1, packet)
		switch packet[0] {
		case '6':
			b.out(f, flagsOf(packet[1:]))
		case '4':
			b.in(back, flagsOf(packet[1:]))
		default:
			g := f
			g.Pref64 = 1
			b.out(g, 0)
		}
		require.Empty(t, p.has, packet)
	}
}

// TestUsedByPath: a session that only the path sees packets of lives for as long as these come
// and ends its time after the last.
func TestUsedByPath(t *testing.T) {
	for _, proto := range []uint8{tcp, udp, 58} {
		for _, packet := range []bool{false, true} {
			p := newTestPath()
			b := newBed(t, func(c *session.Config) { c.Path = p })
			f := from6(proto, 80)
			f.RemotePort = 80
			back, _ := b.out(f, flagsOf("S"))
			b.in(back, flagsOf("SA"))
			require.True(t, b.Delegate(&f, 7))
			life := b.all()[0].Expires
			for range 5 {
				p.used[f] = b.now + life/2
				b.now += life + 2*time.Second
				b.expire()
				require.Len(t, b.all(), 1, proto)
				require.Contains(t, p.has, f)
				require.InDelta(t, life/2-2*time.Second, b.all()[0].Expires, float64(time.Second))
			}
			b.now += life/2 + time.Second
			if packet { // in place of Expire
				back.RemotePort++
				b.in(back, 0)
				back.RemotePort--
				b.in(back, flagsOf("R"))
			} else {
				b.expire()
			}
			require.NotContains(t, p.has, f, "proto %d", proto)
		}
	}
}

// TestRefreshByPath: what a file says of a session counts from its last use, also one that the path alone saw.
func TestRefreshByPath(t *testing.T) {
	p := newTestPath()
	b := newBed(t, func(c *session.Config) { c.Path = p })
	f := from6(udp, 80)
	b.out(f, 0)
	require.True(t, b.Delegate(&f, 7))
	life := b.all()[0].Expires
	b.now += life - time.Second
	p.used[f] = b.now
	b.Refresh()
	p.has = nil // what it says from now on is forgotten
	require.Equal(t, life, b.all()[0].Expires)
	file := b.saved()
	again := newBed(t)
	require.Equal(t, 1, again.read(file, again.moment()).Sessions)
	assert.Equal(t, life, again.all()[0].Expires)
}

// TestPathIsAsked: the time of a session ran out in each place that looks at it before Expire
// does, though packets pass by the path: an ICMP error was dropped, a list had it with a wrong
// time or not at all, and the next start ended it.
func TestPathIsAsked(t *testing.T) {
	for _, late := range []time.Duration{-time.Second, time.Second} { // before and after its time has run out
		for _, look := range []string{"list", "save", "append", "in", "out"} {
			p := newTestPath()
			b := newBed(t, func(c *session.Config) { c.Path = p })
			f := from6(udp, 80)
			back, _ := b.out(f, 0)
			require.True(t, b.Delegate(&f, 1))
			life := b.all()[0].Expires
			b.now += life + late
			p.used[f] = b.now - time.Second
			left := life - time.Second
			switch look {
			case "list":
				list := b.all()
				require.Len(t, list, 1)
				assert.Equal(t, left, list[0].Expires)
				assert.Equal(t, time.Second, list[0].Idle)
			case "save":
				again := newBed(t)
				require.Equal(t, 1, again.read(b.saved(), again.moment()).Sessions)
				assert.Equal(t, left, again.all()[0].Expires)
			case "append":
				var file bytes.Buffer
				require.NoError(t, session.NewJournal(b.Table).Begin(&file, b.moment()))
				again := newBed(t)
				require.Equal(t, 1, again.read(file.Bytes(), again.moment()).Sessions)
			case "in":
				_, r := b.InboundError(b.now, &back)
				assert.Equal(t, translate.FlowMapped, r, late)
			case "out":
				_, r := b.OutboundError(b.now, &f)
				assert.Equal(t, translate.FlowMapped, r, late)
			}
			b.now += life + time.Second
			assert.Empty(t, b.all(), "after its last use by the path")
		}
	}
}

// TestUpdateKeepsPath: another configuration takes sessions back that it ends, and no others,
// and cannot take the path away.
func TestUpdateKeepsPath(t *testing.T) {
	p := newTestPath()
	b := newBed(t, func(c *session.Config) { c.Path = p })
	f, g := from6(udp, 80), from6(udp, 81)
	g.Host = host6(1 << 60)
	for _, x := range []*translate.Tuple6{&f, &g} {
		b.out(*x, 0)
		require.True(t, b.Delegate(x, 7))
	}
	c := config()
	c.Clients = []netip.Prefix{netip.MustParsePrefix("2001:db8::/96")}
	require.NoError(t, b.Update(b.now, c))
	require.Contains(t, p.has, f)
	require.NotContains(t, p.has, g)
	require.True(t, b.Delegate(&f, 7))
}
