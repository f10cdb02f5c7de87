package refxlat

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/steppe-nat64/steppe/translate"
)

// Share makes hosts share the addresses of tab.Shared, whose sessions are those of s.
func (x *Xlat) Share(shared []netip.Prefix, s *Sharing) {
	x.sharing = s
	for _, p := range shared {
		x.pools = append(x.pools, pool{Prefix: p.Masked(), shared: true})
	}
}

// shares reports whether hosts share a.
func (x *Xlat) shares(a netip.Addr) bool {
	m, covered := x.explicit6(a)
	return covered && m.pool != nil && m.pool.shared
}

// portPair are the ports that a packet gets; of Echo both are the identifier.
type portPair struct {
	src, dst uint16
	set      bool
}

// ports are those of a packet, and its TCP flags.
func ports(p packet) (src, dst uint16, flags uint8) {
	if p.proto == icmp4 || p.proto == icmp6 {
		id := binary.BigEndian.Uint16(p.data[4:])
		return id, id, 0
	}
	if p.proto == tcp && len(p.data) > 13 {
		flags = p.data[13]
	}
	return binary.BigEndian.Uint16(p.data), binary.BigEndian.Uint16(p.data[2:]), flags
}

// setPorts writes new ports into the data of q.
func (n portPair) setPorts(q packet) {
	switch {
	case !n.set:
	case q.proto == icmp4 || q.proto == icmp6:
		binary.BigEndian.PutUint16(q.data[4:], n.src)
	default:
		binary.BigEndian.PutUint16(q.data, n.src)
		binary.BigEndian.PutUint16(q.data[2:], n.dst)
	}
}

// end is an endpoint; the port of a remote one is 0 for ICMP.
func end(proto uint8, a netip.Addr, port uint16) endpoint {
	if proto == icmp6 {
		proto = icmp4
	}
	return endpoint{proto, netip.AddrPortFrom(a, port)}
}

func remote(proto uint8, a netip.Addr, port uint16) netip.AddrPort {
	if proto == icmp4 || proto == icmp6 {
		port = 0
	}
	return netip.AddrPortFrom(a, port)
}

// sharable refuses packets that cannot share an address.
func sharable(p packet) translate.Reason {
	switch {
	case p.proto != tcp && p.proto != udp && p.proto != icmp4 && p.proto != icmp6:
		return translate.OtherProtocol
	}
	return translate.NotChecked
}

// unshared refuses p for what sessions say: RFC 6146 §3.4, §3.5.
func unshared(p packet, why translate.Reason) error {
	typ, code := uint8(3), uint8(13)
	if !p.is4() {
		typ, code = 1, 3
	}
	switch why {
	case translate.NoSession, translate.UnsolicitedSYN, translate.Waiting, translate.FragmentOverlap:
		return drop(why)
	case translate.SessionLimit:
		if p.is4() {
			return drop(why)
		}
	case translate.Filtered:
		return prohibit(p, why)
	case translate.OtherProtocol:
		code = 2
		if !p.is4() {
			code = 4
		}
	case translate.NoBinding:
		if p.is4() {
			code = 1
		}
		if p.proto == udp {
			code = map[bool]uint8{true: 3, false: 4}[p.is4()]
		}
	}
	return tell(why, typ, code, 0)
}

// sharedSource maps the source of an IPv6 packet to d.
func (x *Xlat) sharedSource(p packet, d mapping) (mapping, portPair, error) {
	why := sharable(p)
	key := fmt.Sprint("out", p.src, d.addr, d.prefix, p.id, p.proto)
	var at netip.AddrPort
	var n portPair
	switch {
	case why != translate.NotChecked:
	case p.off8 != 0:
		var to netip.Addr
		to, _, why = x.sharing.laterPiece(key, p)
		at = netip.AddrPortFrom(to, 0)
	default:
		sport, dport, flags := ports(p)
		at, why = x.sharing.out(end(p.proto, p.src, sport), remote(p.proto, d.addr, dport), d.prefix, flags)
		n = portPair{at.Port(), dport, true}
		if p.more {
			why = x.sharing.firstPiece(key, p, at.Addr(), d.prefix, why)
		}
	}
	if why != translate.NotChecked {
		return mapping{}, portPair{}, unshared(p, why)
	}
	return mapping{addr: at.Addr(), how: bySession}, n, nil
}

// sharedHost maps the destination of a packet that goes to the shared address dst from src,
// whose ports are n if these are set. blamed is the packet as its sender knows it.
func (x *Xlat) sharedHost(blamed packet, src, dst netip.Addr, n portPair) (netip.Addr, netip.Prefix, portPair, error) {
	why := sharable(blamed)
	if why != translate.NotChecked {
		return netip.Addr{}, netip.Prefix{}, n, unshared(blamed, why)
	}
	key := fmt.Sprint("in", blamed.src, blamed.dst, blamed.id, blamed.proto)
	if blamed.off8 != 0 {
		host, prefix, why := x.sharing.laterPiece(key, blamed)
		if why != translate.NotChecked {
			return netip.Addr{}, netip.Prefix{}, n, unshared(blamed, why)
		}
		return host, x.known(prefix), portPair{}, nil
	}
	sport, dport, flags := ports(blamed)
	if n.set {
		sport, dport = n.src, n.dst
		if blamed.proto == icmp6 {
			dport = n.src // Echo has one identifier
		}
	}
	host, prefix, why := x.sharing.in(end(blamed.proto, dst, dport), remote(blamed.proto, src, sport), flags)
	if blamed.more {
		why = x.sharing.firstPiece(key, blamed, host.Addr(), prefix, why)
	} else if why == translate.UnsolicitedSYN {
		x.sharing.hold(end(blamed.proto, dst, dport), remote(blamed.proto, src, sport), blamed.raw)
	}
	if why != translate.NotChecked {
		return netip.Addr{}, netip.Prefix{}, n, unshared(blamed, why)
	}
	n = portPair{sport, host.Port(), true}
	if blamed.proto == icmp4 || blamed.proto == icmp6 {
		n.src = host.Port()
	}
	return host.Addr(), x.known(prefix), n, nil
}

// known is a prefix of a session, or that of sessions with a mapped address.
func (x *Xlat) known(prefix netip.Prefix) netip.Prefix {
	if prefix.IsValid() {
		return prefix
	}
	for _, p := range x.tab.Prefixes {
		if _, bound := x.bound(p); !bound {
			return p
		}
	}
	return x.tab.Prefixes[0]
}

// seenFrom is the way in which a host sees others inside prefix.
func (x *Xlat) seenFrom(prefix netip.Prefix) way {
	return way{prefix: prefix, simple: x.cfg.Hairpin == translate.HairpinSimple}
}

// sharedFrom4 translates an IPv4 packet to a shared address that is no ICMP error.
func (x *Xlat) sharedFrom4(p packet) (outcome, error) {
	host, prefix, n, err := x.sharedHost(p, p.src, p.dst, portPair{})
	if no, refused := err.(*refusal); refused && p.dst == x.cfg.IPv4 &&
		(no.reason == translate.NoBinding && p.proto != 17 || no.reason == translate.OtherProtocol) {
		return x.self4(p) // but a UDP port is unreachable like that of any shared address
	}
	if err != nil {
		return outcome{}, err
	}
	w := x.seenFrom(prefix)
	s := x.to6(p.src, w)
	if w.simple {
		s = x.compose6(p.src, w.prefix)
	}
	_, srcCode, _, _ := x.codes()
	switch {
	case s.nonGlobal:
		return outcome{}, tell(translate.NonGlobal, 3, srcCode, 0)
	case s.how == unmapped:
		return outcome{}, tell(translate.NoSource, 3, srcCode, 0)
	case p.ttl <= 1:
		return outcome{}, tell(translate.HopLimit, 11, 0, 0)
	}
	if err := x.fits6(p); err != nil {
		return outcome{}, err
	}
	return x.send6(p, s.addr, host, n), nil
}

// quotesPorts reports whether a quote shows which flow it is of: RFC 792.
func quotesPorts(q packet) bool { return q.off8 == 0 && len(q.data) >= 8 }

// quotedSession returns the session of the quoted packet q, which a host has sent that has
// the shared address to, with the host as its source.
func (x *Xlat) quotedSession(q packet, to netip.Addr) (*tracked, portPair, error) {
	if q.src != to || !quotesPorts(q) {
		return nil, portPair{}, drop(translate.NoSession)
	}
	sport, dport, _ := ports(q)
	t := x.sharing.ofAddr(end(q.proto, q.src, sport), remote(q.proto, q.dst, dport))
	if t == nil {
		return nil, portPair{}, drop(translate.NoSession)
	}
	return t, portPair{t.host.Port(), dport, true}, nil
}

// sharedErrorFrom4 translates an ICMPv4 error to a shared address.
func (x *Xlat) sharedErrorFrom4(p packet) (outcome, error) {
	e, err := readError(p)
	if err != nil {
		return outcome{}, err
	}
	t, n, err := x.quotedSession(e.quoted, p.dst)
	if err != nil {
		return outcome{}, err
	}
	w := x.seenFrom(x.known(t.prefix))
	src, err := x.errorSource6(p.src, e.quoted.dst, w)
	if err != nil {
		return outcome{}, err
	}
	e, err = x.quote6(e, mapping{addr: t.host.Addr(), how: bySession}, w, n)
	if err != nil {
		return outcome{}, err
	}
	q := x.turn6(p, src, t.host.Addr())
	q.ttl--
	return forward(writeError(q, e)), nil
}

// errorSource6 maps the source of an error about a packet to quotedDst.
func (x *Xlat) errorSource6(a, quotedDst netip.Addr, w way) (netip.Addr, error) {
	s := x.to6(a, w)
	if w.simple && a == quotedDst {
		s = x.compose6(a, w.prefix)
	}
	switch {
	case s.nonGlobal && !x.tayga():
		return a, drop(translate.NonGlobal)
	case s.nonGlobal || s.how == unmapped:
		src, ok := firstOf(x.cfg.ICMPPool6, x.cfg.IPv6)
		if !ok {
			return a, drop(translate.ICMPSource)
		}
		return src, nil
	}
	return s.addr, nil
}

// quotedDestination is the host that the packet went to which the ICMPv6 error p quotes, if
// it shares an address. A quote that cannot be read has none.
func (x *Xlat) quotedDestination(p packet) (*tracked, error) {
	e, err := readError(p)
	q := e.quoted
	if x.sharing == nil || err != nil || 20+q.length > maxPacket {
		return nil, nil
	}
	s := x.static4(q.src)
	if d := x.static4(q.dst); d.how != unmapped || x.dynFor(s) != nil {
		return nil, nil
	}
	// Of other protocols no host has sessions.
	if q.proto != tcp && q.proto != udp && q.proto != icmp6 {
		return nil, nil
	}
	if !quotesPorts(q) || s.how == unmapped {
		return nil, drop(translate.NoSession)
	}
	sport, dport, _ := ports(q)
	t := x.sharing.ofHost(end(q.proto, q.dst, dport), remote(q.proto, s.addr, sport))
	if t == nil {
		return nil, drop(translate.NoSession)
	}
	return t, nil
}

// sharedErrorBack sends an ICMPv6 error back into IPv6 that quotes a packet between two
// hosts of which the sender shares an address: RFC 5508 §4.3 REQ-7. q and e are what the
// error has become in IPv4.
func (x *Xlat) sharedErrorBack(q packet, e icmpError) (outcome, error) {
	t, n, err := x.quotedSession(e.quoted, q.dst)
	if err != nil {
		return outcome{}, err
	}
	w := way{prefix: x.known(t.prefix), simple: true}
	src, err := x.errorSource6(q.src, e.quoted.dst, w)
	if err != nil {
		return outcome{}, err
	}
	e, err = x.quote6(e, mapping{addr: t.host.Addr(), how: bySession}, w, n)
	if err != nil {
		return outcome{}, err
	}
	pkt := writeError(x.turn6(q, src, t.host.Addr()), e)
	return outcome{translate.Forward, translate.Hairpinned, [][]byte{pkt}}, nil
}
