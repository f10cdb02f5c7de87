package refxlat

import (
	"net/netip"
	"slices"
)

// checksLoops reports whether no IPv6 host is numbered from prefix, so that packets
// for an address inside it come back.
func (x *Xlat) checksLoops(prefix netip.Prefix) bool {
	for _, r := range x.tab.Rules {
		if r.Prefix == prefix {
			return r.CheckLoops
		}
	}
	return false
}

// comesBack reports whether m is composed with a prefix that no host is numbered
// from.
func (x *Xlat) comesBack(m mapping) bool {
	return m.how == byPrefix && !m.nonGlobal && x.checksLoops(m.prefix)
}

// mapless reports whether a has a mapping, but no map, in a place where simple
// hairpinning composes all addresses or not: RFC 7757 §4.2.1.
func (x *Xlat) mapless(a netip.Addr, all bool) bool {
	w := x.usual()
	m := x.to6(a, w)
	if w.simple && all {
		m = x.compose6(a, w.prefix)
	}
	return (m.how == byPrefix || m.how == byPool) && !m.nonGlobal
}

// loop4 reports whether an IPv4 packet would come back as IPv6.
func (x *Xlat) loop4(src, dst netip.Addr) bool {
	return x.comesBack(x.to6(dst, x.usual())) && x.mapless(src, true)
}

// errorLoop4 is loop4 for an ICMP error that quotes a packet to quotedDst: it would
// come back, too, if it is one of our own.
func (x *Xlat) errorLoop4(src, dst, quotedDst netip.Addr) bool {
	own := src == x.cfg.IPv4 || slices.Contains(x.cfg.ICMPPool4, src)
	return x.comesBack(x.to6(dst, x.usual())) && (own || x.mapless(src, src == quotedDst))
}

// loop6 reports whether an IPv6 packet from inside a prefix that no host is numbered
// from has an IPv4 destination that nothing but a prefix maps.
func (x *Xlat) loop6(src mapping, dst mapping) bool {
	_, covered := x.explicit6(dst.addr)
	return x.comesBack(src) && dst.how == byPrefix && !covered && dst.addr != x.cfg.IPv4
}
