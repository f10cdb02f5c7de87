package packettest

import (
	"net/netip"

	"github.com/steppe-nat64/steppe/translate"
)

// Pool is the IPv4 prefix whose addresses Leases assigns.
var Pool = netip.MustParsePrefix("203.0.113.64/26")

var (
	leaseHosts = netip.MustParsePrefix("2001:db8:77::/112")    // hold their addresses
	askHosts   = netip.MustParsePrefix("2001:db8:77::1:0/112") // get theirs when they ask
)

// Leases is a translate.Dynamic without state, so that the order of questions
// does not matter: 2001:db8:77::0 to ::f hold 203.0.113.64 to .79, and
// 2001:db8:77::1:0 to ::1:f are assigned .80 to .95 by Assign, which the other
// methods know nothing of.
type Leases struct{}

// Assign implements translate.Dynamic.
func (l Leases) Assign(host [16]byte) (addr [4]byte, ok bool) {
	if a := netip.AddrFrom16(host); askHosts.Contains(a) && host[14] == 0 && host[15] < 16 {
		return [4]byte{203, 0, 113, 80 + host[15]}, true
	}
	return l.Addr(host)
}

// Addr implements translate.Dynamic.
func (Leases) Addr(host [16]byte) (addr [4]byte, ok bool) {
	if a := netip.AddrFrom16(host); leaseHosts.Contains(a) && host[14] == 0 && host[15] < 16 {
		return [4]byte{203, 0, 113, 64 + host[15]}, true
	}
	return addr, false
}

// Host implements translate.Dynamic.
func (Leases) Host(addr [4]byte) (host [16]byte, ok bool) {
	if a := netip.AddrFrom4(addr); !Pool.Contains(a) || addr[3] >= 80 {
		return host, false
	}
	host = leaseHosts.Addr().As16()
	host[15] = addr[3] - 64
	return host, true
}

// Generation implements translate.Dynamic.
func (Leases) Generation() uint64 { return 0 }

// viaPool is the IPv4 prefix whose addresses viaLeases assigns.
var viaPool = netip.MustParsePrefix("203.0.113.128/26")

// viaLeases assigns each host of Leases an address that is 64 higher.
type viaLeases struct{ Leases }

func (l viaLeases) Assign(host [16]byte) (addr [4]byte, ok bool) {
	addr, ok = l.Leases.Assign(host)
	addr[3] += 64
	return addr, ok
}

func (l viaLeases) Addr(host [16]byte) (addr [4]byte, ok bool) {
	addr, ok = l.Leases.Addr(host)
	addr[3] += 64
	return addr, ok
}

func (l viaLeases) Host(addr [4]byte) (host [16]byte, ok bool) {
	addr[3] -= 64
	return l.Leases.Host(addr)
}

// numbered is a Dynamic for hosts that are numbered from the prefix P: the host
// that holds an address of Pool is the one that P makes of it. A packet to it
// from its like would be hairpinned to what it is already.
type numbered struct{ Leases }

func (numbered) Host(addr [4]byte) (host [16]byte, ok bool) {
	host = P.Addr().As16()
	copy(host[12:], addr[:])
	return host, Pool.Contains(netip.AddrFrom4(addr))
}

// Pools returns pools that are bound to no prefix, with who leases their addresses.
func Pools(dyn translate.Dynamic, prefixes ...string) []translate.Pool {
	p := translate.Pool{Dynamic: dyn}
	for _, s := range prefixes {
		p.Prefixes = append(p.Prefixes, netip.MustParsePrefix(s))
	}
	return []translate.Pool{p}
}

// A Setup is a translator's configuration to compare or to fuzz under.
type Setup struct {
	Name   string // lower case, words joined by hyphens
	Config translate.Config
	Table  translate.TableConfig
}

// Setups returns setups that together use every option but flow labels, rate
// limits and ICMP pools of more than one address, whose outcome is not
// determined by the packet. The first is the fixture of the golden packets. All
// but the first have several maps, a pool with Leases, and the prefix P unless
// the name says otherwise.
func Setups() []Setup {
	all := []Setup{{"golden", Config(), TableConfig()}}
	all[0].Table.Pools = []translate.Pool{{Dynamic: Leases{}}}
	add := func(name string, f func(c *translate.Config, t *translate.TableConfig)) {
		s := Setup{name, Config(), TableConfig()}
		s.Table.Maps = append(s.Table.Maps,
			mapOf("192.0.2.16/28", "2001:db8:cccc::/124"),
			mapOf("192.0.2.128/26", "2001:db8:dddd::/64"),  // longer IPv6 suffix
			mapOf("192.0.2.0/24", "2001:db8:f00::/120"),    // around the others
			mapOf("203.0.113.70/32", "2001:db8:70::7/128"), // inside the pool
			mapOf("203.0.113.0/24", "2001:db8:71::/56"),    // around the pool
			mapOf("198.51.100.9/32", "2001:db8:64::9/128"), // inside the prefix
		)
		s.Table.Pools = []translate.Pool{{Prefixes: []netip.Prefix{Pool}, Dynamic: Leases{}}}
		if f != nil {
			f(&s.Config, &s.Table)
		}
		all = append(all, s)
	}
	prefixes := func(list ...string) func(*translate.Config, *translate.TableConfig) {
		return func(_ *translate.Config, t *translate.TableConfig) {
			t.Prefixes = nil
			for _, p := range list {
				t.Prefixes = append(t.Prefixes, netip.MustParsePrefix(p))
			}
		}
	}
	with := func(f func(c *translate.Config)) func(*translate.Config, *translate.TableConfig) {
		return func(c *translate.Config, _ *translate.TableConfig) { f(c) }
	}

	add("maps-and-pool", nil)
	// Link-local addresses: hosts with a map and a lease, a map around, and others.
	linkLocal := func(c *translate.Config, t *translate.TableConfig) {
		c.IPv4 = netip.MustParseAddr("169.254.77.1")
		t.Maps = append(t.Maps, mapOf("169.254.3.0/24", "2001:db8:3::/120"), mapOf("168.0.0.0/6", "2001:db8:a8::/102"))
	}
	add("link-local", linkLocal)
	add("link-local-simple", func(c *translate.Config, t *translate.TableConfig) {
		linkLocal(c, t)
		c.Hairpin = translate.HairpinSimple
	})
	add("link-local-well-known", func(c *translate.Config, t *translate.TableConfig) {
		linkLocal(c, t)
		t.Prefixes = []netip.Prefix{WKP}
		c.ICMPErrors = translate.ErrorsTAYGA
	})
	add("tayga-codes", with(func(c *translate.Config) { c.ICMPErrors = translate.ErrorsTAYGA }))
	add("hairpin-simple", with(func(c *translate.Config) { c.Hairpin = translate.HairpinSimple }))
	add("hairpin-off", with(func(c *translate.Config) { c.Hairpin = translate.HairpinOff }))
	add("udp-zero-compute", with(func(c *translate.Config) { c.UDPZero = translate.UDPZeroCompute }))
	add("udp-zero-forward", with(func(c *translate.Config) { c.UDPZero = translate.UDPZeroForward }))
	add("node-address", with(func(c *translate.Config) { c.NodeAddress = true }))
	add("embedded-source-refused", with(func(c *translate.Config) { c.DropEmbeddedSource = true }))
	add("embedded-source-refused-in-one-prefix", func(c *translate.Config, t *translate.TableConfig) {
		prefixes("2001:db8:122:300::/56", "2001:db8:64::/96")(c, t)
		t.Rules = []translate.PrefixRule{{Prefix: P, DropSource: true}}
	})
	loops := func(more func(*translate.Config)) func(*translate.Config, *translate.TableConfig) {
		return func(c *translate.Config, t *translate.TableConfig) {
			t.Rules = []translate.PrefixRule{{Prefix: t.Prefixes[0], CheckLoops: true}}
			if more != nil {
				more(c)
			}
		}
	}
	add("loops-checked", loops(nil))
	add("loops-checked-simple", loops(func(c *translate.Config) { c.Hairpin = translate.HairpinSimple }))
	add("loops-checked-tayga", loops(func(c *translate.Config) {
		c.ICMPErrors, c.Hairpin = translate.ErrorsTAYGA, translate.HairpinOff
	}))
	add("well-known-prefix-loops-checked", func(c *translate.Config, t *translate.TableConfig) {
		prefixes("64:ff9b::/96")(c, t)
		loops(nil)(c, t)
	})
	add("loops-checked-in-one-prefix", func(c *translate.Config, t *translate.TableConfig) {
		prefixes("2001:db8:122:300::/56", "2001:db8:64::/96", "2001:db8:65::/96")(c, t)
		t.Rules = []translate.PrefixRule{{Prefix: P, CheckLoops: true}}
	})
	add("class-e", with(func(c *translate.Config) { c.AllowClassE = true }))
	add("errors-off", with(func(c *translate.Config) { c.ErrorRate = -1 }))
	add("no-own-addresses", with(func(c *translate.Config) {
		c.IPv4, c.IPv6, c.ICMPPool4 = netip.Addr{}, netip.Addr{}, nil
	}))
	add("tos-overridden", with(func(c *translate.Config) {
		c.TOS4to6, c.TOS6to4 = translate.TOS{Override: true}, translate.TOS{Override: true, Value: 0x28}
	}))
	add("mss-of-the-mtus", with(func(c *translate.Config) { c.MSSClamp = translate.MSSAuto }))
	add("mss-of-the-ipv4-mtu", with(func(c *translate.Config) { c.MSSClamp, c.MTU4, c.MTU6 = translate.MSSAuto, 1300, 9000 }))
	add("mss-lowest", with(func(c *translate.Config) { c.MSSClamp, c.MTU4 = translate.MSSAuto, 400 }))
	add("mss-of-1000", with(func(c *translate.Config) { c.MSSClamp = 1000 }))
	add("small-ipv4-mtu", with(func(c *translate.Config) { c.MTU4 = 577 }))
	add("smallest-mtus", with(func(c *translate.Config) { c.MTU4, c.MTU6 = 68, 1280 }))
	add("large-mtus", with(func(c *translate.Config) { c.MTU4, c.MTU6, c.LowestIPv6MTU = 9000, 9000, 1480 }))
	add("lowest-mtu-above-next-hop", with(func(c *translate.Config) { c.MTU6, c.LowestIPv6MTU = 1397, 1500 }))
	add("well-known-prefix", func(c *translate.Config, t *translate.TableConfig) {
		prefixes("64:ff9b::/96")(c, t)
		c.NodeAddress = true
	})
	add("well-known-prefix-private", func(c *translate.Config, t *translate.TableConfig) {
		prefixes("64:ff9b::/96")(c, t)
		c.AllowPrivate = true
	})
	add("well-known-prefix-tayga", func(c *translate.Config, t *translate.TableConfig) {
		prefixes("64:ff9b::/96")(c, t)
		c.ICMPErrors = translate.ErrorsTAYGA
	})
	add("well-known-prefix-simple", func(c *translate.Config, t *translate.TableConfig) {
		prefixes("64:ff9b::/96")(c, t)
		c.Hairpin = translate.HairpinSimple
	})
	add("prefix-32", prefixes("2001:db8::/32"))
	add("prefix-40", prefixes("2001:db8:100::/40"))
	add("prefix-48", prefixes("2001:db8:122::/48"))
	add("prefix-56", prefixes("2001:db8:122:300::/56"))
	add("prefix-64", prefixes("2001:db8:122:344::/64"))
	add("prefixes", prefixes("2001:db8::/32", "2001:db8:64::/96", "64:ff9b::/96", "2001:db8:122:300::/56"))
	add("no-prefix", func(c *translate.Config, t *translate.TableConfig) {
		t.Prefixes = nil
		t.Maps = append(t.Maps, mapOf("198.51.100.0/25", "2001:db8:64::c633:6400/121"))
		c.ICMPPool6 = []netip.Addr{R6}
	})
	add("hosts-in-prefix", nil)
	all[len(all)-1].Table.Pools[0].Dynamic = numbered{}
	// Hairpins between hosts some of which the well-known prefix must not carry.
	private := func(c *translate.Config, t *translate.TableConfig) {
		prefixes("64:ff9b::/96")(c, t)
		t.Maps = []translate.Map{
			mapOf("8.8.8.8/32", "2001:db8:8::8/128"),
			mapOf("45.67.89.0/24", "2001:db8:45::/120"),
			mapOf("10.0.0.1/32", "2001:db8:a::1/128"),
			mapOf("192.168.0.0/16", "2001:db8:c0::/112"),
		}
	}
	add("private-hosts", private)
	add("private-hosts-tayga", func(c *translate.Config, t *translate.TableConfig) {
		private(c, t)
		c.ICMPErrors = translate.ErrorsTAYGA
	})

	// A pool that is bound to one of several prefixes, the n-th.
	via := func(n int, more func(*translate.Config)) func(*translate.Config, *translate.TableConfig) {
		return func(c *translate.Config, t *translate.TableConfig) {
			prefixes("2001:db8:64::/96", "2001:db8:122:300::/56", "2001:db8:65::/96")(c, t)
			t.Pools = append(t.Pools, translate.Pool{Pref64: t.Prefixes[n], Prefixes: []netip.Prefix{viaPool}, Dynamic: viaLeases{}})
			if more != nil {
				more(c)
			}
		}
	}
	add("via-second-prefix", via(1, nil))
	add("via-first-prefix", via(0, nil))
	add("via-hairpin-simple", via(2, func(c *translate.Config) { c.Hairpin = translate.HairpinSimple }))
	add("via-hairpin-off", via(0, func(c *translate.Config) { c.Hairpin = translate.HairpinOff }))
	add("via-only-prefix", func(c *translate.Config, t *translate.TableConfig) {
		t.Pools = append(t.Pools, translate.Pool{Pref64: P, Prefixes: []netip.Prefix{viaPool}, Dynamic: viaLeases{}})
	})
	return all
}

func mapOf(v4, v6 string) translate.Map {
	return translate.Map{IPv4: netip.MustParsePrefix(v4), IPv6: netip.MustParsePrefix(v6)}
}
