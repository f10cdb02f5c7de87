package taygaconf

import (
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/steppe-nat64/steppe/pool"
	"github.com/steppe-nat64/steppe/session"
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
		MSSClamp:      c.MSSClamp,

		FragmentTimeout: c.Stateful.Fragment,
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

// Table lists the mappings of c and those of its map-file. The addresses of its Pools
// are leased by pools, one for each; or by none, if that is nil. With Shared, Sessions are
// still to be added. That of a CLAT is empty: its map depends on the network.
func (c *Config) Table(more []Map, pools []*pool.Pool) translate.TableConfig {
	if c.CLAT.On {
		return translate.TableConfig{}
	}
	t := translate.TableConfig{Rules: c.rules(more), Shared: c.SharedPrefixes()}
	for i, p := range c.Pools {
		q := translate.Pool{Prefixes: p.Prefixes, Pref64: p.Pref64}
		if pools != nil {
			q.Dynamic = pools[i]
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

// Pool returns what a pool.Pool is made of that leases the addresses of p. A translator
// excludes its own addresses and those with maps.
func (c *Config) Pool(p Pool, onEvent func(pool.Event)) pool.Config {
	return pool.Config{
		Prefixes:     p.Prefixes,
		Reserved:     c.reserved(),
		LeaseTime:    c.LeaseTime,
		Retention:    c.Retention,
		Refresh:      c.PoolRefresh,
		Clients:      c.PoolClients,
		MaxPerPrefix: pool.Quota{Len: c.PoolQuota.Bits, Leases: c.PoolQuota.Leases},
		OnEvent:      onEvent,
	}
}

// SharedPrefixes lists the addresses that hosts share, in the order of the file.
func (c *Config) SharedPrefixes() (list []netip.Prefix) {
	for _, p := range c.Stateful.Pools {
		list = append(list, p.Prefix)
	}
	return list
}

// Sessions returns what a session.Table is made of, with the static bindings of the
// map-file. There must be a stateful-pool.
func (c *Config) Sessions(more []Binding, onEvent func(session.Event)) session.Config {
	s := &c.Stateful
	sc := session.Config{
		Clients: s.Clients, Filtering: s.Filtering, Timeouts: s.Timeouts, PortBlock: s.PortBlock, OnEvent: onEvent,
		Limits:    session.Limits{Sessions: s.MaxSessions, PrefixLen: s.MaxPerPrefix.Bits, PerPrefix: s.MaxPerPrefix.Sessions, HeldSYN: s.MaxHeldSYN},
		MaxProbes: maxProbes,
	}
	for _, p := range c.Prefixes {
		if !isOdd(p) {
			sc.Prefixes = append(sc.Prefixes, p)
		}
	}
	for _, p := range s.Pools {
		sc.Pools = append(sc.Pools, session.Pool{Prefix: p.Prefix, Low: p.Low, High: p.High, Pref64: c.numberOf(p.Pref64)})
	}
	for _, bindings := range [][]Binding{s.Bindings, more} {
		for _, b := range bindings {
			pool, _ := c.poolOf(b.Addr.Addr())
			sc.Static = append(sc.Static, session.Static{Proto: b.Proto, Addr: b.Addr, Host: b.Host, Pref64: c.numberOf(pool.static)})
		}
	}
	return sc
}

// maxProbes is how many connections may wait for their probe, which is sent within a second.
const maxProbes = 1024

// numberOf returns the number that translate gives a prefix, 0 if there is none: its place
// among those of Table.
func (c *Config) numberOf(pref64 netip.Prefix) (number uint8) {
	for _, p := range c.Prefixes {
		if !isOdd(p) {
			number++
		}
		if p == pref64 {
			return number
		}
	}
	return 0
}

// reserved lists the IPv4 addresses that no host can have, where a pool holds others as
// well.
func (c *Config) reserved() (list []netip.Prefix) {
	pools := c.PoolPrefixes()
	for _, q := range []netip.Prefix{this4, loopback4, linkLocal4, multicast4} {
		inside := func(p netip.Prefix) bool { return p.Bits() < q.Bits() && p.Overlaps(q) }
		if slices.ContainsFunc(pools, inside) {
			list = append(list, q)
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
