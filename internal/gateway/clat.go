package gateway

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/translate"
)

// A CLAT is what a gateway for the programs of its own machine translates by: RFC 6877. It
// takes the place of the prefixes and maps of tayga.conf. The zero value translates nothing:
// IPv4 packets are answered by an ICMP error.
type CLAT struct {
	Prefix       netip.Prefix // of the NAT64 of the network; the zero value: not known
	Host4, Host6 netip.Addr   // of the programs; not used while there is no prefix
	// IPv4 and IPv6 are the gateway's own addresses. Without IPv4 that is the one of
	// tayga.conf; without IPv6 there is none, and no ICMPv6 error is originated: one from inside
	// Prefix would be from an address that is not the machine's.
	IPv4, IPv6 netip.Addr
}

// maps reports whether there is anything to translate.
func (c *CLAT) maps() bool { return c.Prefix.IsValid() }

// check returns what keeps the addresses from being used together.
func (c *CLAT) check(own4 netip.Addr) error {
	if !c.maps() {
		return nil
	}
	for _, a := range []netip.Addr{c.Host6, c.IPv6} {
		if c.Prefix.Contains(a) {
			return fmt.Errorf("gateway: CLAT: %s lies inside the prefix %s, so it is an IPv4 host's", a, c.Prefix)
		}
	}
	switch {
	case !c.Host4.Is4():
		return fmt.Errorf("gateway: CLAT: no IPv4 address of the programs: %v", c.Host4)
	case !c.Host6.Is6():
		return fmt.Errorf("gateway: CLAT: no IPv6 address of the programs: %v", c.Host6)
	case c.Host6 == c.IPv6:
		return fmt.Errorf("gateway: CLAT: %s is both the programs' and the translator's", c.IPv6)
	case c.Host4 == own4:
		return fmt.Errorf("gateway: CLAT: %s is both the programs' and the translator's", own4)
	}
	return nil
}

// own4 is the IPv4 address of the translator itself.
func (c *CLAT) own4(conf *taygaconf.Config) netip.Addr {
	if c.IPv4.IsValid() {
		return c.IPv4
	}
	return conf.IPv4
}

// clatOnly are the IPv4 addresses of a CLAT and its hosts, which no packet may carry outside
// of the machine: RFC 7335 §4.
var clatOnly = netip.MustParsePrefix("192.0.0.0/29")

// table lists the mappings. Only the programs' address is translated on the machine's side:
// sources without a map would leave from inside the prefix, where no host of this machine is.
// The pool, which leases nothing, keeps clatOnly from being mapped by the prefix.
func (c *CLAT) table() translate.TableConfig {
	if !c.maps() {
		return translate.TableConfig{}
	}
	return translate.TableConfig{
		Prefixes: []netip.Prefix{c.Prefix},
		Maps:     []translate.Map{{IPv4: netip.PrefixFrom(c.Host4, 32), IPv6: netip.PrefixFrom(c.Host6, 128)}},
		Pools:    []translate.Pool{{Prefixes: []netip.Prefix{clatOnly}}},
		Rules:    []translate.PrefixRule{{Prefix: c.Prefix, CheckLoops: true}},
	}
}

// checkCLAT checks what a CLAT has no use for, which tayga.conf may not have either.
func checkCLAT(c *Config) error {
	switch f := c.Conf; {
	case c.CLAT == nil:
		return nil
	case len(f.Maps)+len(f.Pools)+len(f.Stateful.Pools)+len(c.MapFile.Maps) > 0:
		return errors.New("gateway: a CLAT has no maps and pools but its own")
	case f.Hairpin == translate.HairpinSimple:
		return errors.New("gateway: simple hairpinning hides the host of a CLAT (RFC 7757 §4.2.1)")
	}
	return c.CLAT.check(c.CLAT.own4(c.Conf))
}

// possible are prefixes of all lengths that a CLAT may get, by which the fast path is proven
// before one is known. What it does depends on no other bits of them.
var possible = []netip.Prefix{
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1:fffe::/64"),
	netip.MustParsePrefix("64:ff9b:1:ff00::/56"), netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2001:db8:6400::/40"), netip.MustParsePrefix("2001:db8::/32"),
}

// possibleTables lists the tables of a CLAT with each of possible.
func possibleTables() (list []translate.TableConfig) {
	for _, p := range possible {
		c := CLAT{Prefix: p, Host4: clatOnly.Addr().Next(), Host6: netip.MustParseAddr("fd00:464::1")}
		list = append(list, c.table())
	}
	return list
}
