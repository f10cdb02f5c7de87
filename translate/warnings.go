package translate

import (
	"fmt"
	"net/netip"

	"github.com/gaissmai/bart"
)

// Warnings returns a line for everything in configuration and tables that is
// allowed and probably not meant: what Table.Warnings finds in the table now in
// use; a Dynamic of a pool without addresses; addresses in ICMPPool4 that other
// networks drop as private (RFC 6791 §3.1); and simple hairpinning with the map of
// a CLAT, whose host would then appear under a translation prefix instead of its
// own address (RFC 7757 §4.2.1, RFC 6877 §6.3).
func (t *Translator) Warnings() []string {
	s := t.state.Load()
	tab := s.tab
	lines := tab.Warnings()
	for _, pool := range tab.pools {
		if pool.Dynamic != nil && len(pool.Prefixes) == 0 {
			lines = append(lines, "pool for "+pool.name()+": it has no addresses, so no answer finds a host that leases one")
		}
	}
	for _, a := range s.cfg.ICMPPool4 {
		for _, p := range notRouted {
			if p.Contains(a) {
				lines = append(lines, fmt.Sprintf("ICMP pool: errors from %s may be dropped on their way, %s is private (RFC 6791 §3.1)", a, p))
			}
		}
	}
	if s.cfg.Hairpin == HairpinSimple {
		for _, m := range tab.maps {
			if m.IPv4.Overlaps(clatHosts) {
				lines = append(lines, fmt.Sprintf("map %s: looks like a CLAT, whose host simple hairpinning hides (RFC 7757 §4.2.1)", m))
			}
		}
	}
	return lines
}

// Warnings returns a line for everything in the table that is allowed and
// probably not meant: maps that overlap (RFC 7757 §5; the longest match wins on
// each side by itself), hosts numbered from the well-known prefix (RFC 6052
// §3.1), and prefixes around the well-known one, which as a /96 has no other
// length and keeps its guard to itself (RFC 6052 §2.2).
func (t *Table) Warnings() []string {
	var lines []string
	for _, p := range t.prefixes {
		if prefix := p.prefix(); !p.wellKnown && prefix.Overlaps(wellKnown) {
			lines = append(lines, fmt.Sprintf("prefix %s: is not the well-known prefix, which has length 96, and is not guarded like it (RFC 6052 §2.2)", prefix))
		}
	}
	for _, m := range t.maps {
		for _, side := range []struct {
			tree   *bart.Fast[entry]
			prefix netip.Prefix
		}{{t.to6, m.IPv4.Masked()}, {t.to4, m.IPv6.Masked()}} {
			if side.tree == nil {
				continue
			}
			for around, e := range side.tree.Supernets(side.prefix) {
				if around != side.prefix && !e.pool {
					lines = append(lines, fmt.Sprintf("map %s: lies inside %s of another map; the longest match wins", m, around))
				}
			}
		}
		if wellKnown.Overlaps(m.IPv6) {
			lines = append(lines, fmt.Sprintf("map %s: hosts should not be numbered from %s (RFC 6052 §3.1)", m, wellKnown))
		}
	}
	return lines
}

// notRouted are the addresses that RFC 6791 §3.1 wants no error to come from:
// RFC 1918 and RFC 6598.
var notRouted = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"),
}

// clatHosts are the IPv4 addresses of hosts of a CLAT: RFC 7335 §4.
var clatHosts = netip.MustParsePrefix("192.0.0.0/29")
