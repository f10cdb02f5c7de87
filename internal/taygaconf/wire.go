package taygaconf

import (
	"net/netip"
	"path/filepath"

	"github.com/steppe-nat64/steppe/pool"
	"github.com/steppe-nat64/steppe/translate"
)

// Translator returns what a translate.Translator is made of, for a device with
// the given MTU in octets. Where TAYGA differs from the RFCs its users get
// what they had.
func (c *Config) Translator(mtu int) translate.Config {
	return translate.Config{
		IPv4:          c.IPv4,
		IPv6:          c.IPv6,
		MTU4:          mtu,
		MTU6:          mtu,
		LowestIPv6MTU: c.OfflinkMTU,
		UDPZero:       c.UDPZero,
		Hairpin:       c.Hairpin,
		ICMPErrors:    c.ICMPErrors,
		AllowPrivate:  !c.WKPFStrict,
		AllowClassE:   true,
		ICMPPool4:     c.ICMPPool4,
		ICMPPool6:     c.ICMPPool6,
		NodeAddress:   c.NodeAddress,
	}
}

// Table lists the mappings of c and those of its map-file.
func (c *Config) Table(more []Map) translate.TableConfig {
	t := translate.TableConfig{Pools: c.Pools}
	for _, p := range c.Prefixes {
		if p.Addr().As16()[8] != 0 {
			// TAYGA takes a /96 whose bits 64 to 71 are not zero. For RFC 6052 it
			// is none of its prefixes, but a map of all of IPv4 does the same.
			t.Maps = append(t.Maps, translate.Map{IPv4: netip.PrefixFrom(netip.IPv4Unspecified(), 0), IPv6: p})
			continue
		}
		t.Prefixes = append(t.Prefixes, p)
	}
	for _, maps := range [][]Map{c.Maps, more} {
		for _, m := range maps {
			t.Maps = append(t.Maps, m.Map)
		}
	}
	return t
}

// Pool returns what a pool.Pool is made of that lends neither own addresses nor
// those with maps. It makes sense only if there are Pools.
func (c *Config) Pool(more []Map, onEvent func(pool.Event)) pool.Config {
	return pool.Config{
		Prefixes:     c.Pools,
		Reserved:     c.Reserved(more),
		Hold:         c.Hold,
		Forget:       c.Forget,
		Clients:      c.PoolClients,
		MaxPerPrefix: pool.Quota{Len: c.PoolQuota.Bits, Leases: c.PoolQuota.Leases},
		OnEvent:      onEvent,
	}
}

// Reserved lists the IPv4 addresses that are no host's to lease: the own ones
// and those with maps.
func (c *Config) Reserved(more []Map) []netip.Prefix {
	list := []netip.Prefix{netip.PrefixFrom(c.IPv4, 32)}
	for _, a := range c.ICMPPool4 {
		list = append(list, netip.PrefixFrom(a, 32))
	}
	for _, maps := range [][]Map{c.Maps, more} {
		for _, m := range maps {
			list = append(list, m.IPv4)
		}
	}
	return list
}

// MapPath returns the path of the map-file, or an empty one. A relative path
// counts from where the daemon works: in data-dir, or in / without one.
func (c *Config) MapPath() string {
	if c.MapFile == "" || filepath.IsAbs(c.MapFile) {
		return c.MapFile
	}
	return filepath.Join("/", c.DataDir, c.MapFile)
}
