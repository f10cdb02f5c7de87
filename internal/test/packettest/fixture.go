// Package packettest serves the tests of the translator: packet builders, the
// golden packets, buffers that detect writes outside of a packet, a checker that shares no
// code with the translator, and a generator of nearly valid packets.
//
// It imports translate for its types only. A test inside package translate
// cannot import it; tests that use it live in package translate_test.
package packettest

import (
	"net/netip"

	"github.com/steppe-nat64/steppe/translate"
)

// The addresses of the golden packets and of most tests. A name that ends in
// "in6" is the IPv6 address that stands for the IPv4 address of the same name.
var (
	P     = netip.MustParsePrefix("2001:db8:64::/96")     // RFC 6052 prefix
	H4    = netip.MustParseAddr("198.51.100.4")           // an IPv4 host
	H4in6 = netip.MustParseAddr("2001:db8:64::c633:6404") // as IPv6 sees it
	M4    = netip.MustParseAddr("192.0.2.6")              // an IPv6 host, as IPv4 sees it
	M6    = netip.MustParseAddr("2001:db8:6::6")          // the same host: explicit map M4 ↔ M6
	R4    = netip.MustParseAddr("203.0.113.1")            // an IPv4 router
	R4in6 = netip.MustParseAddr("2001:db8:64::cb00:7101") // as IPv6 sees it
	R6    = netip.MustParseAddr("2001:db8:bad::1")        // an IPv6 router that nothing maps
	X4    = netip.MustParseAddr("192.0.2.254")            // the translator's own IPv4 address
	X6    = netip.MustParseAddr("2001:db8:f::254")        // the translator's own IPv6 address
	WKP   = netip.MustParsePrefix("64:ff9b::/96")         // the well-known prefix
)

// Config returns the configuration of the golden packets: own addresses X4 and
// X6, both MTUs 1500, a lowest IPv6 MTU of 1280, an ICMP pool of X4 alone, and
// ICMP errors without limit.
func Config() translate.Config {
	return translate.Config{
		IPv4: X4, IPv6: X6,
		MTU4: 1500, MTU6: 1500, LowestIPv6MTU: 1280,
		ErrorRate: translate.UnlimitedErrors,
		ICMPPool4: []netip.Addr{X4},
	}
}

// TableConfig returns the mappings of the golden packets: the prefix P and the
// explicit map of M4 to M6.
func TableConfig() translate.TableConfig {
	return translate.TableConfig{
		Prefixes: []netip.Prefix{P},
		Maps:     []translate.Map{{IPv4: single(M4), IPv6: single(M6)}},
	}
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// NthHost returns the IPv6 host with a number. Each is in a /64 of its own.
func NthHost(n int) netip.Addr {
	b := netip.MustParseAddr("2001:db8:9900::1").As16()
	b[5], b[6], b[7] = byte(n>>16), byte(n>>8), byte(n)
	return netip.AddrFrom16(b)
}
