package packettest

import (
	"net/netip"

	"github.com/steppe-nat64/steppe/translate"
)

func addrs(list ...string) []netip.Addr {
	var all []netip.Addr
	for _, s := range list {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

var (
	global4    = addrs("8.8.8.8", "1.1.1.1", "9.9.9.9", "45.67.89.10", "199.7.91.13")
	nonGlobal4 = addrs("10.0.0.1", "172.16.5.4", "192.168.1.1", "100.64.0.9", "169.254.3.4", "169.254.169.254",
		"192.0.0.9", "192.88.99.1", "198.18.0.1", "198.51.100.77", "203.0.113.1")
	illegal4 = addrs("0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "239.255.255.250",
		"240.0.0.1", "255.255.255.254", "255.255.255.255")
	illegal6 = addrs("::", "::1", "::ffff:192.0.2.6", "fe80::1", "febf::1", "ff02::1", "ff0e::101")
	unknown6 = addrs("2001:db8:bad::1", "2001:db8:bad::2", "2001:db8:77::100", "fd00::1", "2606:4700::1111",
		"::2", "fec0::1", "64:ff9b:1::a00:1")
)

// in returns an address of p at random.
func (g *Gen) in(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= g.byte() & (1 << (7 - i%8))
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// outside4 is an IPv4 host of the IPv4 world.
func (g *Gen) outside4() netip.Addr {
	if g.one(3) {
		return pick(g, global4...)
	}
	return pick(g, H4, H4, R4)
}

// inside4 is an IPv4 address that stands for an IPv6 host by a map or a lease.
func (g *Gen) inside4() netip.Addr {
	var pools []netip.Prefix
	for _, p := range g.setup.Table.Pools {
		pools = append(pools, p.Prefixes...)
	}
	if len(pools) > 0 && g.one(4) {
		return g.in(pick(g, pools...))
	}
	return g.in(g.aMap().IPv4)
}

// inside6 is an IPv6 host with a map or a lease.
func (g *Gen) inside6() netip.Addr {
	if g.one(4) {
		p := pick(g, leaseHosts, askHosts)
		return g.in(netip.PrefixFrom(p.Addr(), 124))
	}
	return g.in(g.aMap().IPv6)
}

func (g *Gen) aMap() translate.Map { return pick(g, g.setup.Table.Maps...) }

// compose returns the IPv6 address that a prefix of the setup makes of a, now
// and then with a suffix and a u byte that are not zero.
func (g *Gen) compose(a netip.Addr) netip.Addr {
	if len(g.setup.Table.Prefixes) == 0 {
		return g.in(g.aMap().IPv6)
	}
	p := pick(g, g.setup.Table.Prefixes...)
	v6, err := translate.Embed(p, a)
	if err != nil {
		panic(err) // the prefixes of a Setup are those of RFC 6052
	}
	if p.Bits() < 96 && g.one(6) {
		b := v6.As16()
		if p.Bits() < 64 {
			b[8] = g.byte()
		}
		b[13+g.rng.IntN(3)] = g.byte()
		v6 = netip.AddrFrom16(b)
	}
	return v6
}

// any4 is any IPv4 address, illegal ones among them.
func (g *Gen) any4() netip.Addr {
	switch g.rng.IntN(6) {
	case 0:
		return pick(g, illegal4...)
	case 1:
		return pick(g, nonGlobal4...)
	case 2:
		return X4
	case 3:
		return g.inside4()
	case 4:
		return netip.AddrFrom4([4]byte(g.bytes(4)))
	}
	return g.outside4()
}

// any6 is any IPv6 address, illegal ones among them.
func (g *Gen) any6() netip.Addr {
	switch g.rng.IntN(8) {
	case 0:
		return pick(g, illegal6...)
	case 1, 2:
		return pick(g, unknown6...)
	case 3:
		return X6
	case 4:
		return g.compose(g.any4())
	case 5:
		return g.inside6()
	case 6:
		return netip.AddrFrom16([16]byte(g.bytes(16)))
	}
	return g.compose(g.outside4())
}
