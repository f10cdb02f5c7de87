package taygaconf

import (
	"net/netip"
	"slices"
)

// A PoolLine is one dynamic pool as it was written.
type PoolLine struct {
	Prefix netip.Prefix // IPv4
	Pref64 netip.Prefix // that it is bound to; the zero value: none
	Line   int
}

// addPool adds a dynamic pool to those that are bound to the same prefix.
func (c *Config) addPool(l PoolLine) {
	i := slices.IndexFunc(c.Pools, func(p Pool) bool { return p.Pref64 == l.Pref64 })
	if i < 0 {
		i = len(c.Pools)
		c.Pools = append(c.Pools, Pool{Pref64: l.Pref64})
	}
	p := &c.Pools[i]
	p.Prefixes, p.Lines = append(p.Prefixes, l.Prefix), append(p.Lines, l.Line)
}

// PoolLines lists the dynamic pools one by one, in the order of the file.
func (c *Config) PoolLines() []PoolLine {
	var list []PoolLine
	for _, p := range c.Pools {
		for i, prefix := range p.Prefixes {
			list = append(list, PoolLine{prefix, p.Pref64, p.Lines[i]})
		}
	}
	slices.SortFunc(list, func(a, b PoolLine) int { return a.Line - b.Line })
	return list
}

// PoolPrefixes lists the addresses of all dynamic pools, in the order of the file.
func (c *Config) PoolPrefixes() []netip.Prefix {
	var list []netip.Prefix
	for _, l := range c.PoolLines() {
		list = append(list, l.Prefix)
	}
	return list
}
