package netlab

import (
	"net/netip"
	"testing"
)

// chain is a laboratory of two hosts with two routers of both families between
// them. The link of the routers is narrower than the others, which the hosts
// have to find out.
//
//	a eth0 ──1500── eth0 r eth1 ──1400── eth0 s eth1 ──1500── eth0 b
type chain struct {
	lab        *Lab
	a, r, s, b *Host
}

var (
	b4 = netip.MustParseAddr("192.0.2.130")
	b6 = netip.MustParseAddr("2001:db8:b::2")
	r4 = netip.MustParseAddr("192.0.2.1")
	r6 = netip.MustParseAddr("2001:db8:a::1")
	s4 = netip.MustParseAddr("192.0.2.66")
	s6 = netip.MustParseAddr("2001:db8:ab::2")
)

func newChain(t testing.TB) chain {
	t.Helper()
	lab := New(t)
	x := chain{lab, lab.Host("a"), lab.Host("r"), lab.Host("s"), lab.Host("b")}
	x.build()
	return x
}

func (x chain) build() {
	x.lab.Link(x.a, "eth0", x.r, "eth0", 1500)
	x.lab.Link(x.r, "eth1", x.s, "eth0", 1400)
	x.lab.Link(x.s, "eth1", x.b, "eth0", 1500)
	x.r.Forwarding()
	x.s.Forwarding()
	for _, c := range []struct {
		host         *Host
		ifname       string
		addr4, addr6 string
	}{
		{x.a, "eth0", "192.0.2.2/26", "2001:db8:a::2/64"},
		{x.r, "eth0", "192.0.2.1/26", "2001:db8:a::1/64"},
		{x.r, "eth1", "192.0.2.65/26", "2001:db8:ab::1/64"},
		{x.s, "eth0", "192.0.2.66/26", "2001:db8:ab::2/64"},
		{x.s, "eth1", "192.0.2.129/26", "2001:db8:b::1/64"},
		{x.b, "eth0", "192.0.2.130/26", "2001:db8:b::2/64"},
	} {
		c.host.Addr(c.ifname, c.addr4)
		c.host.Addr(c.ifname, c.addr6)
	}
	x.a.DefaultRoute("192.0.2.1", "")
	x.a.DefaultRoute("2001:db8:a::1", "eth0")
	x.b.DefaultRoute("192.0.2.129", "eth0")
	x.b.DefaultRoute("2001:db8:b::1", "")
	x.r.Route("192.0.2.128/26", "192.0.2.66", "")
	x.r.Route("2001:db8:b::/64", "2001:db8:ab::2", "eth1")
	x.s.Route("192.0.2.0/26", "192.0.2.65", "eth0")
	x.s.Route("2001:db8:a::/64", "2001:db8:ab::1", "")
}

// eachFamily runs a subtest for IPv4 and one for IPv6.
func eachFamily(t *testing.T, f func(t *testing.T, dst netip.Addr)) {
	t.Run("ipv4", func(t *testing.T) { f(t, b4) })
	t.Run("ipv6", func(t *testing.T) { f(t, b6) })
}
