package session_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// sumUp checks that the figures of a table agree with each other and with its lists.
func (b *bed) sumUp() session.Stats {
	b.Helper()
	st := b.Stats()
	total := func(m map[string]uint64) (n uint64) {
		for _, v := range m {
			n += v
		}
		return n
	}
	var byState, byProto, made int
	for _, n := range st.ByState {
		byState += n
	}
	for proto, n := range st.ByProto {
		byProto += n
		made += int(st.MadeByProto[proto])
	}
	require.Equal(b, st.Sessions, byState)
	require.Equal(b, st.Sessions, byProto)
	require.Equal(b, st.Made-st.Ended, uint64(st.Sessions))
	require.Equal(b, st.Ended, total(st.EndedIn))
	require.Equal(b, st.Denied6["limit"]+st.Denied4["limit"], total(st.Limited))
	hosts := 0
	for _, u := range b.Addresses() {
		hosts += u.Hosts
	}
	require.Equal(b, st.Hosts, hosts)
	return st
}

// TestStats: what was made, what has ended and by what, what is there.
func TestStats(t *testing.T) {
	b := newBed(t)
	for i, proto := range []uint8{tcp, tcp, udp, icmp} {
		back := b.open(from6(proto, uint16(1000+i)))
		if i == 0 {
			b.in(back, syn|ack)
		}
	}
	st := b.sumUp()
	require.Equal(t, map[string]int{"established": 1, "v6-init": 1, "udp": 1, "icmp": 1}, st.ByState)
	require.Equal(t, map[uint8]int{tcp: 2, udp: 1, icmp: 1}, st.ByProto)
	require.Equal(t, map[uint8]uint64{tcp: 2, udp: 1, icmp: 1}, st.MadeByProto)
	require.Empty(t, st.EndedIn)
	require.Equal(t, config().Limits.Sessions, st.Limits.Sessions)
	require.Equal(t, 64, st.Limits.PrefixLen)

	b.now += 10 * time.Minute
	b.expire()
	st = b.sumUp()
	require.Equal(t, map[string]uint64{"v6-init": 1, "udp": 1, "icmp": 1}, st.EndedIn)

	after, _ := load(t, b.saved())
	require.Equal(t, uint64(1), after.sumUp().Loaded)
	require.Equal(t, uint64(1), after.Stats().Made)
	after.read(b.saved(), b.moment())
	require.Equal(t, uint64(1), after.sumUp().Loaded, "once")

	cfg := config()
	cfg.Pools[0].Prefix = prefix("203.0.113.9/32")
	require.NoError(t, b.Update(b.now, cfg))
	st = b.sumUp()
	require.Equal(t, uint64(1), st.EndedIn["update"])
	require.Zero(t, st.Sessions)
}

// TestSubscribersMany: new hosts come while the fullest subscribers are looked for, in steps.
func TestSubscribersMany(t *testing.T) {
	b := newBed(t)
	for i := range 1000 {
		f := from6(udp, 1000)
		f.Host.Hi += uint64(i)
		for n := range i/250 + 1 {
			f.Remote = server + uint32(n)
			_, r := b.out(f, 0)
			require.Equal(t, translate.FlowMapped, r)
		}
	}
	most := b.Subscribers(250)
	require.Len(t, most, 250)
	require.Equal(t, 4, most[0].Sessions)
	require.Equal(t, 4, most[249].Sessions)
	all := b.Subscribers(2000)
	require.Len(t, all, 1000)
	require.Equal(t, most, all[:250])
}
