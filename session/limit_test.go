package session_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// TestLimits: each limit denies the flow after the last that it allows, and no flow that
// exists suffers: RFC 6888 §4 REQ-4, RFC 6146 §5.3.
func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name  string
		edit  func(*session.Limits)
		proto uint8
		in    bool // sessions are opened from IPv4
		nets  bool // each host is a subscriber
		want  int
		limit string // that denies the others
	}{
		{"sessions", func(l *session.Limits) { l.Sessions = 10 }, udp, false, true, 10, "sessions"},
		{"half-open", func(l *session.Limits) { l.HalfOpen = 10 }, tcp, false, true, 10, "half-open"},
		{"half-open-not-udp", func(l *session.Limits) { l.HalfOpen = 10 }, udp, false, true, 20, ""},
		{"per-prefix", func(l *session.Limits) { l.PerPrefix = 10 }, udp, false, false, 10, "per-prefix"},
		{"per-prefix-apart", func(l *session.Limits) { l.PerPrefix = 1 }, udp, false, true, 20, ""},
		{"per-prefix-128", func(l *session.Limits) { l.PerPrefix, l.PrefixLen = 1, 128 }, udp, false, false, 20, ""},
		{"half-open-per-prefix", func(l *session.Limits) { l.HalfOpenPerPrefix = 10 }, tcp, false, false, 10, "half-open-per-prefix"},
		{"half-open-per-prefix-apart", func(l *session.Limits) { l.HalfOpenPerPrefix = 1 }, tcp, false, true, 20, ""},
		{"inbound", func(l *session.Limits) { l.Inbound = 10 }, udp, true, false, 10, "inbound"},
		{"inbound-per-prefix", func(l *session.Limits) { l.PerPrefix = 10 }, udp, true, false, 10, "per-prefix"},
		{"inbound-in-total", func(l *session.Limits) { l.Sessions = 10 }, udp, true, false, 9, "sessions"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t, func(cfg *session.Config) { c.edit(&cfg.Limits) })
			var back translate.Tuple4
			if c.in {
				back = b.open(from6(c.proto, 1))
			}
			opened := 0
			flows := make([]translate.Tuple6, 20)
			for i := range flows {
				f := from6(c.proto, 1000)
				f.Host = host6(uint64(i))
				if c.nets {
					f.Host = translate.Addr6{Hi: f.Host.Hi + uint64(i), Lo: 1}
				}
				flows[i] = f
				var r translate.FlowResult
				if c.in {
					back.RemotePort = uint16(i + 1000)
					_, r = b.in(back, 0)
				} else {
					_, r = b.out(f, syn)
				}
				if i < c.want {
					require.Equal(t, translate.FlowMapped, r, i)
					opened++
				} else {
					require.Equal(t, translate.FlowLimit, r, i)
				}
			}
			require.Equal(t, c.want, opened)
			st := b.Stats()
			if !c.in {
				require.Equal(t, c.want, st.Sessions)
				require.Equal(t, c.want, st.Hosts, "a denied host leaves nothing")
				for _, f := range flows[:opened] {
					_, r := b.out(f, ack)
					require.Equal(t, translate.FlowMapped, r)
				}
			}
			require.Equal(t, uint64(20-c.want), st.Denied6["limit"]+st.Denied4["limit"])
			limited := map[string]uint64{}
			if c.want < 20 {
				limited[c.limit] = uint64(20 - c.want)
			}
			require.Equal(t, limited, st.Limited)

			// What has ended makes room.
			b.now += time.Hour
			b.expire()
			b.open(flows[19])
			st = b.Stats()
			require.Equal(t, 1, st.Sessions)
			require.Zero(t, st.Inbound)
		})
	}
}

// TestHalfOpenEnds: a connection that is answered is half-open no more.
func TestHalfOpenEnds(t *testing.T) {
	b := newBed(t, func(c *session.Config) { c.Limits.HalfOpen, c.Limits.HalfOpenPerPrefix = 1, 1 })
	for port := range uint16(10) {
		back := b.open(from6(tcp, port+1))
		_, r := b.out(from6(tcp, 100), syn)
		require.Equal(t, translate.FlowLimit, r)
		_, r = b.in(back, syn|ack)
		require.Equal(t, translate.FlowMapped, r)
	}
	require.Zero(t, b.Stats().HalfOpen)
}

// TestBlocks: a subscriber has ports out of blocks of its own; all its hosts have one
// address; a block is released with its last port: RFC 6888 §4 REQ-14, RFC 7422.
func TestBlocks(t *testing.T) {
	var events []session.Event
	b := newBed(t, func(c *session.Config) {
		c.Pools[0].Prefix = prefix("192.0.2.0/28")
		c.PortBlock, c.Quarantine = 64, -1
		c.OnEvent = func(e session.Event) {
			if e.Kind == session.BlockTaken || e.Kind == session.BlockReleased {
				events = append(events, e)
			}
		}
	})
	owner := map[string]uint64{}
	for sub := range uint64(20) {
		addr := uint32(0)
		for i := range 100 {
			f := from6([]uint8{tcp, udp, icmp}[i%3], uint16(i+1000))
			f.Host = translate.Addr6{Hi: sub << 1, Lo: uint64(i % 4)}
			to := b.open(f)
			if addr == 0 {
				addr = to.Local
			}
			require.Equal(t, addr, to.Local)
			block := fmt.Sprint(to.Local, to.LocalPort/64)
			if _, ok := owner[block]; !ok {
				owner[block] = sub
			}
			require.Equal(t, sub, owner[block])
		}
	}
	require.Len(t, owner, 20, "34 ports of a protocol fit a block, 17 of a parity too")
	require.Len(t, events, 20)
	require.Equal(t, session.BlockTaken, events[0].Kind)
	require.Equal(t, netip.PrefixFrom(netip.IPv6Unspecified(), 64), events[0].Subscriber)
	require.Equal(t, 64, events[0].Ports)
	require.Zero(t, events[0].Addr.Port()%64)
	require.Equal(t, 1, b.Subscribers(1)[0].Blocks)

	b.now += time.Hour
	b.expire()
	require.Len(t, events, 40)
	require.Equal(t, session.BlockReleased, events[39].Kind)
}

// TestBlocksFull: a subscriber takes more blocks as it needs them, of its address alone, up
// to the last; another is denied then, and gets what is released.
func TestBlocksFull(t *testing.T) {
	b := newBed(t, ports(1024, 1024+255), func(c *session.Config) { c.PortBlock = 64 })
	seen := map[uint16]bool{}
	for i := range 256 {
		to := b.open(from6(udp, uint16(i+2000)))
		require.False(t, seen[to.LocalPort])
		seen[to.LocalPort] = true
	}
	require.Equal(t, 4, b.Subscribers(1)[0].Blocks)
	_, r := b.out(from6(udp, 1), 0)
	require.Equal(t, translate.FlowNoPort, r)
	f := from6(tcp, 1)
	b.open(f) // another protocol, the same blocks
	f.Host.Hi++
	_, r = b.out(f, syn)
	require.Equal(t, translate.FlowNoPort, r)
	require.Equal(t, 1, b.Stats().Hosts)

	b.now += time.Hour
	b.expire()
	b.open(f)
}

// TestBlockReleased: the end of a binding counts in the block that has its port, not in another
// one of the same address: one block is released, and the ports of the other stay assigned.
func TestBlockReleased(t *testing.T) {
	var released []int
	b := newBed(t, ports(1024, 1024+127), func(c *session.Config) {
		c.PortBlock, c.Quarantine = 64, -1
		c.OnEvent = func(e session.Event) {
			if e.Kind == session.BlockReleased {
				released = append(released, int(e.Addr.Port())/64)
			}
		}
	})
	flows := map[int][]translate.Tuple6{} // by block
	for i := range 128 {
		f := from6(udp, uint16(i+2000))
		n := int(b.open(f).LocalPort) / 64
		flows[n] = append(flows[n], f)
	}
	require.Len(t, flows, 2)
	for kept, ended := range map[int]int{16: 17, 17: 16} {
		released = nil
		b.now += 4 * time.Minute
		for _, f := range flows[kept] {
			b.open(f)
		}
		b.now += 2 * time.Minute
		b.expire()
		require.Equal(t, []int{ended}, released)
		require.Equal(t, 1, b.Subscribers(1)[0].Blocks)
		f := from6(udp, 1)
		f.Host.Hi++
		require.Equal(t, ended, int(b.open(f).LocalPort)/64, "another subscriber gets what is free")
		b.now += 2 * time.Minute
		for _, f := range flows[kept] {
			b.open(f)
		}
		b.now += 4 * time.Minute
		b.expire()
		for _, f := range flows[ended] { // as before
			require.Equal(t, ended, int(b.open(f).LocalPort)/64)
		}
	}
}

// TestEvents: a binding's begin and end, each once and in order: RFC 6888 §4 REQ-12.
func TestEvents(t *testing.T) {
	var got []string
	b := newBed(t, ports(5000, 5000), func(c *session.Config) {
		c.Static = []session.Static{{Proto: tcp, Addr: at("192.0.2.1:80"), Host: at("[2001:db8::9]:8080")}}
		c.OnEvent = func(e session.Event) {
			got = append(got, fmt.Sprint(e.Kind, " ", e.Proto, " ", e.Host, " ", e.Addr, " ", e.Static))
		}
	})
	b.open(from6(udp, 1000))
	f := from6(udp, 1000)
	f.Remote = other
	b.open(f)
	b.out(from6(udp, 1001), 0) // no port
	b.now += time.Hour
	b.expire()
	require.NoError(t, b.Update(b.now, session.Config{Pools: []session.Pool{{Prefix: prefix("192.0.2.1/32")}}}))
	require.Equal(t, []string{
		"binding-made 6 [2001:db8::9]:8080 192.0.2.1:80 true",
		"binding-made 17 [2001:db8::1]:1000 192.0.2.1:5000 false",
		"binding-ended 17 [2001:db8::1]:1000 192.0.2.1:5000 false",
		"binding-ended 6 [2001:db8::9]:8080 192.0.2.1:80 true",
	}, got)
	require.Equal(t, "EventKind(9)", session.EventKind(9).String())
}

// TestExpireBounded: no call does more than a part of what is due.
func TestExpireBounded(t *testing.T) {
	b := newBed(t)
	for i := range 2000 {
		f := from6(icmp, uint16(i))
		b.open(f)
	}
	b.now += 2 * time.Minute
	for more, before := true, 2000; more; {
		more = b.Expire(b.now)
		n := b.Stats().Sessions
		require.LessOrEqual(t, before-n, 64)
		before = n
	}
	require.Zero(t, b.Stats().Sessions)
	require.Equal(t, uint64(2000), b.Stats().Ended)
}

// TestBlocksAll: each block of an address is assigned once.
func TestBlocksAll(t *testing.T) {
	b := newBed(t, func(c *session.Config) { c.PortBlock = 64 })
	seen := map[uint16]bool{}
	for sub := range uint64(1009) {
		f := from6(tcp, 2000)
		f.Host.Hi += sub
		to, r := b.out(f, syn)
		if sub == 1008 {
			require.Equal(t, translate.FlowNoPort, r)
			break
		}
		if r != translate.FlowMapped || seen[to.LocalPort/64] {
			t.Fatal(sub, to, r)
		}
		seen[to.LocalPort/64] = true
	}
}

// TestMemory: entries are used again, by whichever host comes next.
func TestMemory(t *testing.T) {
	b := newBed(t)
	first := 0
	for round := range 30 {
		for i := range 3000 {
			f := from6(icmp, uint16(i%30))
			f.Host = host6(uint64(round*100 + i/30))
			b.open(f)
		}
		if round == 1 {
			first = b.Stats().Memory
		}
		b.now += time.Hour
		b.expire()
	}
	// Shards keep some free entries each, and hosts are in another shard each round.
	require.LessOrEqual(t, b.Stats().Memory, first+4*4096*64)
}

// TestPrefixLeavesPorts: with the defaults, a prefix whose hosts open all that they can
// leaves others half of the ports of each protocol. A limit of the caller's is the caller's.
func TestPrefixLeavesPorts(t *testing.T) {
	defaults := func(c *session.Config) {
		c.Pools = []session.Pool{{Prefix: prefix("192.0.2.0/31"), Low: 2000, High: 2999}}
		c.Limits, c.Quarantine = session.Limits{}, -1
	}
	b := newBed(t, defaults)
	n := uint64(0)
	flood := func(proto uint8, count int) (opened int) {
		for range count {
			f := from6(proto, uint16(n%1000)+2000)
			f.Host = host6(n)
			n++
			if _, r := b.out(f, syn); r == translate.FlowMapped {
				opened++
			} else {
				require.Equal(t, translate.FlowLimit, r)
			}
		}
		return opened
	}
	require.Equal(t, 1000, flood(udp, 1500))
	require.Equal(t, 1000, flood(tcp, 1500), "of each protocol")
	require.Equal(t, uint64(1000), b.Stats().Limited["ports-per-prefix"])
	for i := range 1000 {
		f := from6(udp, uint16(2000+i))
		f.Host = translate.Addr6{Hi: uint64(i % 7), Lo: uint64(i)} // one of seven prefixes
		b.open(f)
	}
	b.now += time.Hour
	b.expire()
	require.Equal(t, 1000, flood(udp, 1500), "what has ended counts no more")

	b = newBed(t, func(c *session.Config) { defaults(c); c.Limits.PerPrefix = 1 << 16 })
	require.Equal(t, 1500, flood(udp, 1500))
}

// TestPrefixWithStatic: a static binding is not one of those that a prefix may have, also
// if it was dynamic before, and gives back the block that it was in.
func TestPrefixWithStatic(t *testing.T) {
	for _, blocks := range []int{0, 64} {
		cfg := session.Config{
			Pools:     []session.Pool{{Prefix: prefix("192.0.2.1/32"), Low: 2048, High: 2048 + 127}},
			PortBlock: blocks,
		}
		b := newBed(t, func(c *session.Config) { *c = cfg })
		first := from6(udp, 3000)
		at := b.open(first)
		fill := func() (n int) {
			for p := range uint16(200) {
				f := from6(udp, 4000+p)
				if _, r := b.out(f, 0); r == translate.FlowMapped {
					n++
				}
			}
			return n
		}
		cfg.Static = []session.Static{{Proto: udp, Addr: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), at.LocalPort), Host: netip.MustParseAddrPort("[2001:db8::1]:3000")}}
		require.NoError(t, b.Update(b.now, cfg))
		if blocks != 0 {
			require.Zero(t, b.Subscribers(1)[0].Blocks, "a block without a dynamic port")
		}
		require.Equal(t, 64, fill())
		require.Equal(t, at, b.open(first))
		cfg.Static = nil
		require.NoError(t, b.Update(b.now, cfg))
		b.now += time.Hour
		b.expire()
		require.Zero(t, b.Stats().Subscribers)
		b.open(first)
		require.Equal(t, 63, fill(), "the dynamic one counts")
	}
}

// TestBlockInQuarantine: a block whose ports all wait is not assigned to a host that wants
// one of them. Half of the subscribers were denied, with a free block beside it.
func TestBlockInQuarantine(t *testing.T) {
	for range 20 {
		b := newBed(t, func(c *session.Config) {
			c.Pools = []session.Pool{{Prefix: prefix("192.0.2.1/32"), Low: 2048, High: 2048 + 127}}
			c.PortBlock = 64
		})
		for p := range uint16(64) {
			b.open(from6(udp, 4000+p))
		}
		b.now += 5*time.Minute + 2*time.Second
		b.expire()
		f := from6(udp, 4000)
		f.Host = translate.Addr6{Hi: 9, Lo: 1}
		b.open(f)
	}
}
