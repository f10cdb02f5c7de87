package refxlat

import (
	"net/netip"

	"github.com/steppe-nat64/steppe/translate"
)

var wellKnown = netip.MustParsePrefix("64:ff9b::/96")

func prefixes(list ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

var (
	illegalPrefixes4 = prefixes("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32")
	illegalPrefixes6 = prefixes("::/128", "::1/128", "::ffff:0:0/96", "fe80::/10", "ff00::/8")
	classE           = prefixes("240.0.0.0/4")
	linkLocal4       = prefixes("169.254.0.0/16")
	neverUnicast4    = prefixes("224.0.0.0/4", "255.255.255.255/32")

	// RFC 6052 §3.1 forbids to join these with the well-known prefix.
	nonGlobal4 = prefixes("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8",
		"169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
		"192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"224.0.0.0/4", "240.0.0.0/4")
)

func in(a netip.Addr, list []netip.Prefix) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// illegal4 reports whether a may be neither source nor destination: RFC 7915
// §4.1, RFC 1812 §5.3.7.
func (x *Xlat) illegal4(a netip.Addr) bool {
	return in(a, illegalPrefixes4) || in(a, classE) && !x.cfg.AllowClassE
}

// staysLocal reports whether a is an IPv4 link-local address that the operator has
// not named by an own address, a pool, or a map of such addresses: RFC 3927 §7.
func (x *Xlat) staysLocal(a netip.Addr) bool {
	if !in(a, linkLocal4) || a == x.cfg.IPv4 {
		return false
	}
	longest, named := -1, false
	for _, p := range x.pools {
		if p.Contains(a) && p.Bits() > longest {
			longest, named = p.Bits(), true
		}
	}
	for _, e := range x.tab.Maps {
		if e.IPv4.Contains(a) && e.IPv4.Bits() > longest {
			longest, named = e.IPv4.Bits(), e.IPv4.Bits() >= 16
		}
	}
	return !named
}

func illegal6(a netip.Addr) bool { return in(a, illegalPrefixes6) }

// how an address was mapped.
type how int

const (
	unmapped  how = iota
	byMap         // RFC 7757
	byPool        // Dynamic
	byPrefix      // RFC 6052
	bySession     // Sharing
)

// mapping is the counterpart of an address in the other family.
type mapping struct {
	addr   netip.Addr
	how    how
	prefix netip.Prefix // for byPrefix
	pool   *pool        // for an IPv4 address inside a pool, leased or not
	// nonGlobal means that the well-known prefix meets an IPv4 address that it
	// must not meet, and it is not allowed.
	nonGlobal bool
}

// way says how IPv4 addresses are mapped to IPv6.
type way struct {
	prefix netip.Prefix // the RFC 6052 prefix to compose with; invalid if none
	simple bool         // simple hairpinning, RFC 7757 §4.2.1
}

// usual is the way of packets that come from IPv4.
func (x *Xlat) usual() way {
	w := way{simple: x.cfg.Hairpin == translate.HairpinSimple}
	if len(x.tab.Prefixes) > 0 {
		w.prefix = x.tab.Prefixes[0]
	}
	return w
}

// pool is an IPv4 prefix and the Dynamic that assigns its addresses.
type pool struct {
	netip.Prefix
	dyn translate.Dynamic // may be nil
	via netip.Prefix      // the prefix that it is bound to; invalid if none

	shared bool // by hosts of a Sharing
}

// bound reports whether there are pools bound to a prefix, and their Dynamic.
func (x *Xlat) bound(prefix netip.Prefix) (translate.Dynamic, bool) {
	for _, v := range x.tab.Pools {
		if v.Pref64.IsValid() && v.Pref64 == prefix {
			return v.Dynamic, true
		}
	}
	return nil, false
}

// dropsSource reports whether the source s, inside a prefix, ends a packet: RFC 6052 §5.1,
// and RFC 6146 §3.5 for addresses that hosts share.
func (x *Xlat) dropsSource(s mapping) bool {
	for _, r := range x.tab.Rules {
		if r.Prefix == s.prefix && r.DropSource {
			return true
		}
	}
	return x.cfg.DropEmbeddedSource || x.shares(s.addr)
}

// across is the way for the other address of a packet to or from m: a host finds
// back by the prefix that its pool is bound to, or by one without pools.
func (x *Xlat) across(m mapping, w way) way {
	if m.pool == nil {
		return w
	}
	if m.pool.via.IsValid() {
		w.prefix = m.pool.via
		return w
	}
	if _, bound := x.bound(w.prefix); !bound {
		return w
	}
	for _, p := range x.tab.Prefixes {
		if _, bound := x.bound(p); !bound {
			w.prefix = p
			return w
		}
	}
	w.prefix = x.tab.Prefixes[0]
	return w
}

// to6 maps an IPv4 address: the longest match among explicit maps and pools,
// otherwise the prefix of w.
func (x *Xlat) to6(a netip.Addr, w way) mapping {
	// The shared address of another host is mapped as any: RFC 6146 §3.6.
	if m, covered := x.explicit6(a); covered && !x.shares(a) {
		return m
	}
	return x.compose6(a, w.prefix)
}

// explicit6 maps an IPv4 address by the longest match among explicit maps and
// pools. covered is also true for a pool address that is not leased.
func (x *Xlat) explicit6(a netip.Addr) (m mapping, covered bool) {
	longest := -1
	for _, p := range x.pools {
		if p.Contains(a) && p.Bits() > longest {
			longest = p.Bits()
			m = mapping{pool: &p}
			if p.dyn != nil {
				host, ok := p.dyn.Host(a.As4())
				if to := netip.AddrFrom16(host); ok && !illegal6(to) {
					m = mapping{addr: to, how: byPool, pool: &p}
				}
			}
		}
	}
	for _, e := range x.tab.Maps {
		if e.IPv4.Contains(a) && e.IPv4.Bits() >= longest {
			longest = e.IPv4.Bits()
			m = mapping{addr: swapPrefix(a, e.IPv4, e.IPv6), how: byMap}
		}
	}
	return m, longest >= 0
}

// compose6 maps an IPv4 address with an RFC 6052 prefix.
func (x *Xlat) compose6(a netip.Addr, prefix netip.Prefix) mapping {
	if !prefix.IsValid() {
		return mapping{}
	}
	b, v4 := prefix.Addr().As16(), a.As4()
	at := prefix.Bits() / 8
	for _, v := range v4 {
		if at == 8 {
			at++ // the u byte, RFC 6052 §2.2
		}
		b[at] = v
		at++
	}
	return mapping{addr: netip.AddrFrom16(b), how: byPrefix, prefix: prefix, nonGlobal: x.forbidden(prefix, a)}
}

func (x *Xlat) forbidden(prefix netip.Prefix, a netip.Addr) bool {
	return prefix == wellKnown && in(a, nonGlobal4) && !x.cfg.AllowPrivate
}

// static4 maps an IPv6 address by the longest match among explicit maps,
// otherwise by the longest RFC 6052 prefix. The u byte and the suffix may be
// anything.
func (x *Xlat) static4(a netip.Addr) mapping {
	var m mapping
	longest := -1
	for _, e := range x.tab.Maps {
		if e.IPv6.Contains(a) && e.IPv6.Bits() > longest {
			longest = e.IPv6.Bits()
			m = mapping{addr: swapPrefix(a, e.IPv6, e.IPv4), how: byMap}
		}
	}
	if m.how == byMap {
		return m
	}
	for _, p := range x.tab.Prefixes {
		if !p.Contains(a) || p.Bits() <= longest {
			continue
		}
		longest = p.Bits()
		b := a.As16()
		var v4 [4]byte
		at := p.Bits() / 8
		for i := range v4 {
			if at == 8 {
				at++
			}
			v4[i] = b[at]
			at++
		}
		v := netip.AddrFrom4(v4)
		m = mapping{addr: v, how: byPrefix, prefix: p, nonGlobal: x.forbidden(p, v)}
	}
	return m
}

// host4 maps the address of an IPv6 host that talks to peer: as static4, otherwise
// by its lease, which it gets if assign is true and it has none.
func (x *Xlat) host4(a netip.Addr, peer mapping, assign bool) mapping {
	m := x.static4(a)
	dyn := x.dynFor(peer)
	if m.how != unmapped || dyn == nil {
		return m
	}
	ask := dyn.Addr
	if assign {
		ask = dyn.Assign
	}
	if v4, ok := ask(a.As16()); ok {
		return mapping{addr: netip.AddrFrom4(v4), how: byPool}
	}
	return mapping{}
}

// dynFor returns the Dynamic of a host that talks to peer, nil if there is none.
func (x *Xlat) dynFor(peer mapping) translate.Dynamic {
	if peer.how == byPrefix {
		if d, bound := x.bound(peer.prefix); bound {
			return d
		}
	}
	return x.dyn
}

// swapPrefix replaces the prefix of a, RFC 7757 §3.3: the bits after from go
// directly after to, as many as there is room for, and zeros follow.
func swapPrefix(a netip.Addr, from, to netip.Prefix) netip.Addr {
	src, dst := a.AsSlice(), to.Masked().Addr().AsSlice()
	for i, j := from.Bits(), to.Bits(); i < len(src)*8 && j < len(dst)*8; i, j = i+1, j+1 {
		if src[i/8]>>(7-i%8)&1 != 0 {
			dst[j/8] |= 1 << (7 - j%8)
		}
	}
	v, _ := netip.AddrFromSlice(dst)
	return v
}
