package session_test

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// TestUpdate: what another configuration allows goes on, with its address and port; what it
// does not allow ends at once.
func TestUpdate(t *testing.T) {
	web := session.Static{Proto: udp, Addr: at("192.0.2.1:2000"), Host: at("[2001:db8::1]:80")}
	for _, c := range []struct {
		name   string
		before func(*session.Config)
		after  func(*session.Config)
		keeps  bool
	}{
		{"same", nil, func(c *session.Config) {}, true},
		{"larger-pool", nil, func(c *session.Config) { c.Pools[0].Prefix = prefix("192.0.2.0/24") }, true},
		{"another-pool", nil, func(c *session.Config) { c.Pools[0].Prefix = prefix("192.0.2.2/32") }, false},
		{"another-pool-beside", nil, func(c *session.Config) {
			c.Pools = append(c.Pools, session.Pool{Prefix: prefix("198.51.100.0/24")})
		}, true},
		{"larger-range", ports(2000, 2001), ports(1999, 2002), true},
		{"other-range", ports(2000, 2001), ports(3000, 3001), false},
		{"pool-of-a-prefix", nil, func(c *session.Config) { c.Pools[0].Pref64 = 1 }, false},
		{"clients", nil, func(c *session.Config) { c.Clients = []netip.Prefix{prefix("2001:db8::/64")} }, true},
		{"no-client", nil, func(c *session.Config) { c.Clients = []netip.Prefix{prefix("2001:db8:1::/64")} }, false},
		{"filtering", nil, filtered, true},
		{"no-filtering", filtered, func(*session.Config) {}, true},
		{"lower-limit", nil, func(c *session.Config) { c.Limits.Sessions = 1 }, true},
		{"static-for-another-host", ports(2000, 2000), func(c *session.Config) {
			c.Static = []session.Static{{Proto: udp, Addr: web.Addr, Host: at("[2001:db8::2]:80")}}
		}, false},
		{"static-for-another-port", ports(2000, 2001), func(c *session.Config) {
			c.Static = []session.Static{{Proto: udp, Addr: at("192.0.2.1:1999"), Host: at("[2001:db8::1]:1000")}}
		}, false},
		{"static-for-it", ports(2000, 2000), func(c *session.Config) {
			ports(2000, 2000)(c)
			c.Static = []session.Static{{Proto: udp, Addr: web.Addr, Host: at("[2001:db8::1]:1000")}}
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before []func(*session.Config)
			if c.before != nil {
				before = append(before, c.before)
			}
			b := newBed(t, before...)
			f := from6(udp, 1000)
			back := b.open(f)
			cfg := config()
			c.after(&cfg)
			require.NoError(t, b.Update(b.now, cfg))
			got, r := b.InboundError(b.now, &back)
			st := b.Stats()
			if c.keeps {
				require.Equal(t, translate.FlowMapped, r)
				require.Equal(t, f, got)
				require.Equal(t, back, b.open(f))
				if c.name == "lower-limit" {
					return
				}
				back.RemotePort++
				_, r = b.in(back, 0)
				require.Equal(t, translate.FlowMapped, r, "the binding goes on, and its permission")
			} else {
				require.NotEqual(t, translate.FlowMapped, r)
				require.Zero(t, st.Sessions)
				require.Empty(t, b.all())
			}
			b.now += time.Hour
			b.expire()
			require.Equal(t, len(cfg.Static), b.Stats().Bindings[udp])
		})
	}
}

// TestUpdatePermissions: a session that began while there was no filtering has no permission,
// and its end takes none from another session with the same address.
func TestUpdatePermissions(t *testing.T) {
	b := newBed(t, filtered)
	f := from6(udp, 1000)
	back := b.open(f)
	require.NoError(t, b.Update(b.now, config()))
	short := f
	short.RemotePort++
	b.open(short)
	b.now += 4 * time.Minute
	b.open(f)
	b.now += 2 * time.Minute
	b.expire()
	require.Len(t, b.all(), 1)
	cfg := config()
	filtered(&cfg)
	require.NoError(t, b.Update(b.now, cfg))
	back.RemotePort = 9
	_, r := b.in(back, 0)
	require.Equal(t, translate.FlowMapped, r)
}

// TestUpdateStatic: static bindings come and go; a port that one leaves is assigned again,
// and one that is in quarantine can become static.
func TestUpdateStatic(t *testing.T) {
	web := session.Static{Proto: udp, Addr: at("192.0.2.1:2000"), Host: at("[2001:db8::9]:80")}
	one := func(c *session.Config) { ports(2000, 2000)(c); c.Quarantine = 10 * time.Second }
	b := newBed(t, one)
	with, without := config(), config()
	one(&with)
	one(&without)
	with.Static = []session.Static{web}

	b.open(from6(udp, 1))
	b.now += 6 * time.Minute
	b.expire()
	require.NoError(t, b.Update(b.now, with)) // the port waits
	b.now += time.Hour
	_, r := b.out(from6(udp, 1), 0)
	require.Equal(t, translate.FlowNoPort, r)
	back := translate.Tuple4{Local: pool, LocalPort: 2000, Remote: server, Proto: udp}
	_, r = b.in(back, 0)
	require.Equal(t, translate.FlowMapped, r)

	require.NoError(t, b.Update(b.now, without)) // its session ends, too
	require.Zero(t, b.Stats().Sessions+b.Stats().Hosts)
	b.expire()
	_, r = b.out(from6(udp, 1), 0)
	require.Equal(t, translate.FlowNoPort, r, "in quarantine")
	b.now += time.Minute
	require.Equal(t, uint16(2000), b.open(from6(udp, 1)).LocalPort)
}

// TestUpdateRange: another range has as many ports as it says, whatever was assigned.
func TestUpdateRange(t *testing.T) {
	b := newBed(t, ports(2000, 2009), func(c *session.Config) {
		c.Static = []session.Static{{Proto: tcp, Addr: at("192.0.2.1:2012"), Host: at("[2001:db8::9]:80")}}
	})
	for port := range uint16(4) {
		b.open(from6(tcp, 3000+port))
	}
	cfg := config()
	cfg.Static = []session.Static{{Proto: tcp, Addr: at("192.0.2.1:2012"), Host: at("[2001:db8::9]:80")}}
	ports(2000, 2019)(&cfg)
	require.NoError(t, b.Update(b.now, cfg))
	n := 0
	for port := range uint16(30) {
		if _, r := b.out(from6(tcp, 4000+port), syn); r == translate.FlowMapped {
			n++
		}
	}
	require.Equal(t, 20-4-1, n)
	ports(2005, 2012)(&cfg)
	require.NoError(t, b.Update(b.now, cfg))
	require.Equal(t, 8, b.Stats().Bindings[tcp])
	require.Equal(t, 7, b.Stats().Sessions)
	require.Equal(t, 8, b.Addresses()[0].TCP)
}

// TestUpdateFails: an invalid configuration changes nothing.
func TestUpdateFails(t *testing.T) {
	b := newBed(t)
	back := b.open(from6(udp, 1000))
	for want, edit := range map[string]func(*session.Config){
		"no pool":   func(c *session.Config) { c.Pools = nil },
		"PortBlock": func(c *session.Config) { c.PortBlock = 64 },
		"PrefixLen": func(c *session.Config) { c.Limits.PrefixLen = 56 },
	} {
		cfg := config()
		edit(&cfg)
		require.ErrorContains(t, b.Update(b.now, cfg), want)
	}
	_, r := b.in(back, 0)
	require.Equal(t, translate.FlowMapped, r)
}

// TestUpdateHold: fewer SYNs may be held, or none.
func TestUpdateHold(t *testing.T) {
	b := newBed(t)
	f := translate.Tuple4{Local: pool, LocalPort: 5, Remote: server, Proto: tcp}
	for i := range uint16(10) {
		f.RemotePort = i
		_, ok := b.Hold(b.now, &f)
		require.True(t, ok)
	}
	cfg := config()
	cfg.Limits.HeldSYN = 3
	require.NoError(t, b.Update(b.now, cfg))
	require.Equal(t, 3, b.Stats().HeldSYN)
	cfg.Limits.HeldSYN = -1
	require.NoError(t, b.Update(b.now, cfg))
	require.Zero(t, b.Stats().HeldSYN)
	_, ok := b.Hold(b.now, &f)
	require.False(t, ok)
	_, r := b.in(f, syn)
	require.Equal(t, translate.FlowDrop, r)
}

// TestList: pages and filters.
func TestList(t *testing.T) {
	b := newBed(t, func(c *session.Config) {
		c.Pools[0].Prefix = prefix("192.0.2.0/24")
		c.Static = []session.Static{{Proto: tcp, Addr: at("192.0.2.200:80"), Host: at("[2001:db8::c8]:80"), Pref64: 4}}
	})
	var addr netip.Addr
	for i := range 100 {
		f := from6([]uint8{tcp, udp, icmp}[i%3], uint16(1000+i))
		f.Host, f.Remote = host6(uint64(i%10)), server+uint32(i)
		to := b.open(f)
		if i == 0 {
			addr = netip.AddrFrom4([4]byte{192, 0, 2, byte(to.Local)})
		}
	}
	b.now += 3 * time.Second
	list := func(f session.Filter, limit int) (all []session.Session) {
		for page, more := session.Page(0), true; more; more = page != 0 {
			before := len(all)
			all, page = b.Sessions(all, b.now, f, page, limit)
			require.LessOrEqual(t, len(all)-before, limit)
		}
		return all
	}
	for _, limit := range []int{1, 7, 100, 1000} {
		require.Len(t, list(session.Filter{}, limit), 100)
	}
	require.Len(t, list(session.Filter{Proto: udp}, 10), 33)
	require.Len(t, list(session.Filter{Host: prefix("2001:db8::3/128")}, 10), 10)
	require.Len(t, list(session.Filter{Host: prefix("2001:db8::/127")}, 10), 20)
	require.Len(t, list(session.Filter{Host: prefix("2001:db8:1::/48")}, 10), 0)
	require.Len(t, list(session.Filter{Addr: prefix("203.0.113.5/32")}, 10), 1)
	require.GreaterOrEqual(t, len(list(session.Filter{Addr: netip.PrefixFrom(addr, 32)}, 10)), 10)

	one := list(session.Filter{Addr: prefix("203.0.113.6/32")}, 10)[0]
	require.Equal(t, uint8(udp), one.Proto)
	require.Equal(t, at("[2001:db8::1]:1001"), one.Host)
	require.Equal(t, at("203.0.113.6:80"), one.Remote)
	require.Equal(t, "udp", one.State)
	require.Equal(t, 3*time.Second, one.Idle)
	require.Equal(t, 5*time.Minute-3*time.Second, one.Expires)

	bindings, page := b.Bindings(nil, session.Filter{}, 0, 1000)
	require.Zero(t, page)
	require.Len(t, bindings, 101)
	bindings, _ = b.Bindings(nil, session.Filter{Host: prefix("2001:db8::c8/128")}, 0, 1000)
	require.Equal(t, []session.Binding{{Proto: tcp, Static: true, Host: at("[2001:db8::c8]:80"), Addr: at("192.0.2.200:80"), Pref64: 4}}, bindings)
	bindings, _ = b.Bindings(nil, session.Filter{Proto: tcp}, 0, 0)
	require.Empty(t, bindings)

	subs := b.Subscribers(5)
	require.Len(t, subs, 1)
	require.Equal(t, session.SubscriberUse{Prefix: prefix("2001:db8::/64"), Hosts: 11, Sessions: 100, HalfOpen: 34}, subs[0])
	require.Empty(t, b.Subscribers(0))
	hosts := 0
	for _, u := range b.Addresses() {
		hosts += u.Hosts
	}
	require.Equal(t, 11, hosts)
}

// TestSubscribers: those with most sessions come first, of equal ones the lowest.
func TestSubscribers(t *testing.T) {
	b := newBed(t)
	for net, n := range []int{2, 5, 2, 9} {
		for i := range n {
			f := from6(udp, uint16(1000+i))
			f.Host.Hi += uint64(net)
			b.open(f)
		}
	}
	var got []int
	for _, u := range b.Subscribers(10) {
		got = append(got, int(u.Prefix.Addr().As16()[7]))
	}
	require.Equal(t, []int{3, 1, 0, 2}, got)
	require.Len(t, b.Subscribers(2), 2)
	require.Equal(t, 9, b.Subscribers(2)[0].Sessions)
}

// TestUpdateRegroups: a static binding that is the same in both configurations is there
// after an update that gave its pool to another prefix, and so ended it.
func TestUpdateRegroups(t *testing.T) {
	static := func(c *session.Config) {
		c.Static = []session.Static{{Proto: tcp, Addr: at("192.0.2.1:80"), Host: at("[2001:db8::9]:8080"), Pref64: 1}}
	}
	b := newBed(t, static)
	cfg := config()
	static(&cfg)
	for _, pref64 := range []uint8{0, 1, 1, 0} {
		cfg.Pools = []session.Pool{{Prefix: prefix("192.0.2.1/32"), Pref64: pref64}}
		require.NoError(t, b.Update(b.now, cfg))
		to, r := b.in(translate.Tuple4{Local: pool, LocalPort: 80, Remote: server, RemotePort: 1000, Proto: tcp}, syn)
		require.Equal(t, translate.FlowMapped, r)
		require.Equal(t, uint16(8080), to.HostPort)
	}
}

// TestUpdateMeanwhile: sessions begin while updates take a port from its host and give it
// back. Each binding is allowed by the configuration that comes out, and ports of static
// bindings are those of their hosts.
func TestUpdateMeanwhile(t *testing.T) {
	b := newBed(t, ports(5000, 5040), func(c *session.Config) { c.Quarantine = -1 })
	first, second := config(), config()
	for _, c := range []*session.Config{&first, &second} {
		ports(5000, 5040)(c)
		c.Quarantine = -1
	}
	for port := range uint16(10) {
		second.Static = append(second.Static, session.Static{
			Proto: udp, Addr: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), 5000+port), Host: netip.AddrPortFrom(netip.MustParseAddr("2001:db8::3"), 1000+port),
		})
	}
	stop := make(chan struct{})
	var traffic sync.WaitGroup
	for w := range 2 {
		traffic.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 2))
			for {
				select {
				case <-stop:
					return
				default:
				}
				f := from6(udp, 1000+uint16(r.IntN(20)))
				f.Host = host6(r.Uint64N(4))
				f.Remote += r.Uint32N(3)
				if to, r := b.out(f, 0); r == translate.FlowMapped {
					b.in(to, 0)
				}
			}
		})
	}
	for i := range 30 {
		cfg := first
		if i%2 == 0 {
			cfg = second
		}
		require.NoError(t, b.Update(b.now, cfg))
		if i%2 != 0 {
			continue
		}
		all, _ := b.Bindings(nil, session.Filter{}, 0, 1000)
		for _, is := range all {
			own := is.Addr.Port() < 5010
			require.Equal(t, own, is.Static, "%+v", is)
			require.Equal(t, own, is.Host.Addr() == netip.MustParseAddr("2001:db8::3") && is.Host.Port() < 1010, "%+v", is)
		}
	}
	close(stop)
	traffic.Wait()
	b.now += time.Hour
	b.expire()
	require.NoError(t, b.Update(b.now, first))
	b.sumUp()
	require.Zero(t, b.Stats().Hosts)
	require.Empty(t, b.Addresses())
}
