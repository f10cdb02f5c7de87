package taygaconf

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/steppe-nat64/steppe/translate"
)

// A PrefixSwitch turns a rule for addresses inside a prefix on or off.
type PrefixSwitch struct {
	Prefix netip.Prefix // one of Config.Prefixes; zero: all that no other PrefixSwitch names
	On     bool
}

// switchOf returns what the switches say about p, and false if they say nothing.
func switchOf(switches []PrefixSwitch, p netip.Prefix) (on, found bool) {
	for _, s := range switches {
		if s.Prefix == p {
			return s.On, true
		}
		if !s.Prefix.IsValid() {
			on, found = s.On, true
		}
	}
	return on, found
}

// prefixSwitch reads the prefixes that a line names, none for all, and adds what
// it says about them.
func (r *reader) prefixSwitch(switches *[]PrefixSwitch, on bool, words []string) error {
	if len(words) == 0 {
		words = []string{""}
	}
	for _, w := range words {
		var p netip.Prefix
		if w != "" {
			var err error
			if p, err = prefix(w, addr6, needed); err != nil {
				return err
			}
			if p != p.Masked() {
				return hostBits(p)
			}
		}
		for i, s := range *switches {
			if s.Prefix != p {
				continue
			}
			line := r.switchLines[r.name][i]
			if w == "" {
				return fmt.Errorf("given before without a prefix, on line %d: remove one of the two", line)
			}
			return fmt.Errorf("%s is named before, on line %d: remove one of the two", p, line)
		}
		*switches = append(*switches, PrefixSwitch{p, on})
		r.switchLines[r.name] = append(r.switchLines[r.name], r.line)
	}
	return nil
}

func (r *reader) embeddedSource(words []string) error {
	drop, err := choice(words[0], []string{"drop", "forward"}, []bool{true, false})
	if err != nil {
		return err
	}
	return r.prefixSwitch(&r.c.EmbeddedSource, drop, words[1:])
}

func (r *reader) loopCheck(words []string) error {
	on, err := boolean(words[0])
	if err != nil {
		return err
	}
	return r.prefixSwitch(&r.c.LoopCheck, on, words[1:])
}

// checkSwitches checks that the prefixes that are named exist, and warns where
// the rule of a line cannot hold.
func (r *reader) checkSwitches(directive string, switches []PrefixSwitch) {
	for i, s := range switches {
		line := r.switchLines[directive][i]
		switch odd := slices.IndexFunc(r.c.Prefixes, isOdd); {
		case s.Prefix.IsValid() && !slices.Contains(r.c.Prefixes, s.Prefix):
			if !r.badTable {
				r.errorf(line, directive, "there is no prefix %s: add a line such as %q", s.Prefix, "prefix "+s.Prefix.String())
			}
		case s.Prefix.IsValid() && isOdd(s.Prefix):
			r.errorf(line, directive, "bits 64 to 71 of %s must be zero for that (RFC 6052 §2.2)", s.Prefix)
		case !s.Prefix.IsValid() && s.On && odd >= 0:
			r.warnf(line, directive, "does not apply to %s, whose bits 64 to 71 are not zero (RFC 6052 §2.2)", r.c.Prefixes[odd])
		}
	}
}

// isOdd reports whether RFC 6052 §2.2 does not allow the prefix, which TAYGA does:
// Table makes a map of it.
func isOdd(p netip.Prefix) bool { return p.Addr().As16()[8] != 0 }

// DropsSource reports whether IPv6 packets with a source inside p are dropped. By
// default that is so for the well-known prefix beside a pool, unless a map lies
// inside it: no host is numbered from it (RFC 6052 §3.1), and where there is a pool
// it is not the prefix of a translator elsewhere, as for a CLAT. Where hosts share
// addresses, it is so for each prefix: RFC 6146 §3.5. more is the map-file.
func (c *Config) DropsSource(p netip.Prefix, more []Map) bool {
	if on, found := switchOf(c.EmbeddedSource, p); found {
		return on
	}
	if len(c.Stateful.Pools) > 0 {
		return true
	}
	inside := func(m Map) bool { return m.IPv6.Overlaps(p) }
	return p == wellKnown && len(c.Pools) > 0 && !slices.ContainsFunc(c.Maps, inside) && !slices.ContainsFunc(more, inside)
}

// ChecksLoops reports whether packets that would come back are answered instead,
// since no host is numbered from p: by default for the well-known prefix alone (RFC
// 6052 §3.1).
func (c *Config) ChecksLoops(p netip.Prefix) bool {
	if on, found := switchOf(c.LoopCheck, p); found {
		return on && !isOdd(p)
	}
	return p == wellKnown
}

// rules are the rules for each prefix of RFC 6052.
func (c *Config) rules(more []Map) []translate.PrefixRule {
	var list []translate.PrefixRule
	for _, p := range c.Prefixes {
		if !isOdd(p) {
			list = append(list, translate.PrefixRule{Prefix: p, DropSource: c.DropsSource(p, more), CheckLoops: c.ChecksLoops(p)})
		}
	}
	return list
}

// Advice lists what is allowed, as TAYGA allows it, and better otherwise. more is
// the map-file.
func (c *Config) Advice(more []Map) []string {
	if c.CLAT.On {
		return nil
	}
	lines := c.poolAdvice()
	if c.hostSide(more) {
		return lines // sources inside the prefix are what such a translator is for
	}
	for i, p := range c.Prefixes {
		if _, said := switchOf(c.EmbeddedSource, p); said || isOdd(p) || c.DropsSource(p, more) {
			continue
		}
		line := "embedded-source drop"
		if len(c.Prefixes) > 1 {
			line += " " + p.String()
		}
		lines = append(lines, fmt.Sprintf("%s:%d: prefix: note: an IPv6 host can send packets with any IPv4 source address, from an address inside %s: unless hosts are numbered from it, add %q",
			c.File, c.taken.prefixes[i].line, p, line))
	}
	return lines
}

// poolAdvice recommends what keeps the leases of hosts that are gone from living for
// ever in pools that the internet reaches.
func (c *Config) poolAdvice() (lines []string) {
	if c.taken.refresh {
		return nil
	}
	for _, p := range c.PoolPrefixes() {
		if !isPrivate(p.Addr()) {
			lines = append(lines, fmt.Sprintf("%s:%d: dynamic-pool: note: packets from the internet to %s renew leases of hosts that have left: add %q",
				c.File, c.taken.by4[p].line, p, "dynamic-pool-refresh outbound"))
		}
	}
	return lines
}

// hostSide reports whether the hosts with maps are those of IPv4, and the
// translator for the prefix is elsewhere: a CLAT, or an edge relay (RFC 7756).
func (c *Config) hostSide(more []Map) bool {
	for _, maps := range [][]Map{c.Maps, more} {
		for _, m := range maps {
			if clatHosts.Overlaps(m.IPv4) && m.IPv4.Bits() >= clatHosts.Bits() ||
				slices.ContainsFunc(c.TunIPs, func(p netip.Prefix) bool { return m.IPv4.Contains(p.Addr()) }) {
				return true
			}
		}
	}
	return false
}
