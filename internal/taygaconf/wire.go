package taygaconf

import (
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/steppe-nat64/steppe/pool"
	"github.com/steppe-nat64/steppe/translate"
)

// Translator returns what a translate.Translator is made of, for a device with
// the given MTU in bytes. Where TAYGA differs from the RFCs its users get
// what they had.
func (c *Config) Translator(mtu int) translate.Config {
	t := translate.Config{
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
		ErrorRate:     c.ICMPRate.PerSecond,
		ErrorBurst:    c.ICMPRate.Burst,
		MTUErrorRate:  c.ICMPMTURate.PerSecond,
		MTUErrorBurst: c.ICMPMTURate.Burst,
		ICMPPool4:     c.ICMPPool4,
		ICMPPool6:     c.ICMPPool6,
		NodeAddress:   c.NodeAddress,
		TOS4to6:       c.TOS4to6,
		TOS6to4:       c.TOS6to4,
		FlowLabels:    c.FlowLabels,
	}
	// In the library path MTU errors take the numbers of the others. A directive
	// changes what it names and nothing else.
	if c.ICMPRate.PerSecond != 0 && t.MTUErrorRate == 0 {
		t.MTUErrorRate = usualErrorRate
	}
	if c.ICMPRate.Burst != 0 && t.MTUErrorBurst == 0 {
		t.MTUErrorBurst = usualErrorBurst
	}
	return t
}

// What translate has where a Config names no numbers.
const (
	usualErrorRate  = 100
	usualErrorBurst = 50
)

// Table lists the mappings of c and those of its map-file. The addresses of its
// pools are leased by ps, which may be nil.
func (c *Config) Table(more []Map, ps Pools) translate.TableConfig {
	t := translate.TableConfig{Rules: c.rules(more)}
	for i, p := range c.Pools {
		q := translate.Pool{Prefixes: p.Prefixes, Pref64: p.Pref64}
		if ps != nil {
			q.Dynamic = ps[i]
		}
		t.Pools = append(t.Pools, q)
	}
	for _, p := range c.Prefixes {
		if isOdd(p) {
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

// Pools lease the addresses of Config.Pools, one for each.
type Pools []*pool.Pool

// NewPools makes the pools. Their clocks start at now. onEvent, if not nil, may
// be called by several of them at once; see pool.Config for the rest.
func (c *Config) NewPools(more []Map, onEvent func(pool.Event), now time.Time) (Pools, error) {
	var ps Pools
	for _, q := range c.Pools {
		p, err := pool.New(c.Pool(q, more, onEvent), now)
		if err != nil {
			return nil, err
		}
		ps = append(ps, p)
	}
	return ps, nil
}

// Pool returns what a pool.Pool is made of that leases the addresses of p, but neither
// own addresses nor those with maps.
func (c *Config) Pool(p Pool, more []Map, onEvent func(pool.Event)) pool.Config {
	return pool.Config{
		Prefixes:     p.Prefixes,
		Reserved:     c.Reserved(more),
		Hold:         c.Hold,
		Forget:       c.Forget,
		Refresh:      c.PoolRefresh,
		Clients:      c.PoolClients,
		MaxPerPrefix: pool.Quota{Len: c.PoolQuota.Bits, Leases: c.PoolQuota.Leases},
		OnEvent:      onEvent,
	}
}

// Reserved lists the IPv4 addresses that are no host's to lease: the own ones, those
// with maps, and those that no host can have, in a pool that holds others as well.
func (c *Config) Reserved(more []Map) []netip.Prefix {
	list := []netip.Prefix{netip.PrefixFrom(c.IPv4, 32)}
	for _, a := range c.ICMPPool4 {
		list = append(list, netip.PrefixFrom(a, 32))
	}
	for _, q := range []netip.Prefix{this4, loopback4, linkLocal4, multicast4} {
		inside := func(p netip.Prefix) bool { return p.Bits() < q.Bits() && p.Overlaps(q) }
		if slices.ContainsFunc(c.PoolPrefixes(), inside) {
			list = append(list, q)
		}
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
