package refxlat

import (
	"net/netip"

	"github.com/steppe-nat64/steppe/translate"
)

// from4 translates an IPv4 packet: RFC 7915 §4.
func (x *Xlat) from4(b []byte) (outcome, error) {
	p, ok := read4(b)
	if !ok || p.size > len(b) {
		return outcome{}, drop(translate.BadHeader)
	}
	if sum(b[:20+len(p.options)]) != 0xffff {
		return outcome{}, drop(translate.BadHeaderChecksum)
	}
	if x.illegal4(p.dst) {
		return outcome{}, drop(translate.IllegalDestination)
	}
	// RFC 7915 §4.1: the source of an error is not checked, so that
	// traceroute stays useful.
	isError := p.proto == icmp4 && !p.fragment() && len(p.data) >= 8 && isError4(p.data[0])
	if isError && in(p.src, neverUnicast4) || !isError && x.illegal4(p.src) {
		return outcome{}, drop(translate.IllegalSource)
	}
	if p.dst != x.cfg.IPv4 && (x.staysLocal(p.dst) || !isError && x.staysLocal(p.src)) {
		return outcome{}, drop(translate.LinkLocal)
	}
	if err := p.checkFragment(); err != nil {
		return outcome{}, err
	}
	if err := checkProtocol4(p); err != nil {
		return outcome{}, err
	}
	if p.dst == x.cfg.IPv4 && !x.shares(p.dst) {
		return x.self4(p)
	}
	if err := x.check4(p, isError); err != nil {
		return outcome{}, err
	}
	if isError {
		return x.errorFrom4(p)
	}
	if x.shares(p.dst) {
		return x.sharedFrom4(p)
	}
	src, dst, err := x.outer6(p, false, netip.Addr{}, x.usual())
	if err != nil {
		return outcome{}, err
	}
	if x.loop4(p.src, p.dst) {
		code, _, _, _ := x.codes()
		return outcome{}, tell(translate.NoDestination, 3, code, 0)
	}
	if err := x.fits6(p); err != nil {
		return outcome{}, err
	}
	return x.send6(p, src, dst, portPair{}), nil
}

// isError4 reports whether an ICMPv4 type is an error: RFC 1812 §4.3.2.7.
func isError4(typ uint8) bool {
	return typ == 3 || typ == 4 || typ == 5 || typ == 11 || typ == 12
}

// checkProtocol4 refuses protocols without counterpart: fragmented ICMP, IGMP,
// and numbers that mean something else in IPv6.
func checkProtocol4(p packet) error {
	switch p.proto {
	case icmp4:
		if p.fragment() {
			return prohibit(p, translate.FragmentedICMP)
		}
		if len(p.data) < 8 {
			return prohibit(p, translate.ShortTransport)
		}
	case hopByHop, 2, routing, fragHdr, icmp6, destOpts:
		return prohibit(p, translate.NoProtocol)
	}
	return nil
}

// check4 looks at what follows the header, and at options and TTL.
func (x *Xlat) check4(p packet, isError bool) error {
	if err := p.checkTransport(); err != nil {
		return err
	}
	if err := x.checkUDPZero(p, p.dst); err != nil {
		return err
	}
	if p.proto == icmp4 {
		if _, _, ok := types4to6(p.data[0], p.data[1]); !ok {
			return drop(translate.ICMPType)
		}
		if p.data[0] == 12 {
			if _, ok := pointer4to6(p.data[4]); !ok {
				return drop(translate.ICMPPointer)
			}
		}
	}
	if sourceRoute(p.options) {
		return tell(translate.SourceRoute, 3, 5, 0)
	}
	if p.ttl <= 1 && (isError || p.dst != x.cfg.IPv4) {
		return tell(translate.HopLimit, 11, 0, 0)
	}
	return nil
}

// sourceRoute reports whether IPv4 options hold a source route that is not used
// up: RFC 791 §3.1.
func sourceRoute(options []byte) bool {
	for len(options) > 0 && options[0] != 0 {
		if options[0] == 1 {
			options = options[1:]
			continue
		}
		if len(options) < 2 || options[1] < 2 || int(options[1]) > len(options) {
			return false
		}
		n := int(options[1])
		if (options[0] == 131 || options[0] == 137) && n >= 3 && int(options[2]) <= n {
			return true
		}
		options = options[n:]
	}
	return false
}

// codes are those of ICMP errors about addresses that cannot be mapped.
func (x *Xlat) codes() (dst4, src4, dst6, src6 uint8) {
	if x.cfg.ICMPErrors == translate.ErrorsTAYGA {
		return 1, 10, 0, 5
	}
	return 13, 13, 1, 1
}

func (x *Xlat) tayga() bool { return x.cfg.ICMPErrors == translate.ErrorsTAYGA }

// outer6 maps the addresses of the IPv4 packet p. If it is an ICMP error,
// quotedDst is the destination of the quoted packet.
func (x *Xlat) outer6(p packet, isError bool, quotedDst netip.Addr, w way) (src, dst netip.Addr, err error) {
	dstCode, srcCode, _, _ := x.codes()
	d := x.to6(p.dst, w)
	switch {
	case d.how == unmapped:
		return src, dst, tell(translate.NoDestination, 3, dstCode, 0)
	case d.nonGlobal:
		return src, dst, tell(translate.NonGlobal, 3, dstCode, 0)
	}
	w = x.across(d, w)
	s := x.to6(p.src, w)
	if w.simple && (!isError || p.src == quotedDst) {
		s = x.compose6(p.src, w.prefix) // RFC 7757 §4.2.1
	}
	switch {
	case isError && s.nonGlobal && !x.tayga():
		return src, dst, drop(translate.NonGlobal)
	case isError && (s.nonGlobal || s.how == unmapped):
		src, ok := firstOf(x.cfg.ICMPPool6, x.cfg.IPv6)
		if !ok {
			return src, dst, drop(translate.ICMPSource)
		}
		return src, d.addr, nil
	case s.nonGlobal:
		return src, dst, tell(translate.NonGlobal, 3, srcCode, 0)
	case s.how == unmapped:
		return src, dst, tell(translate.NoSource, 3, srcCode, 0)
	}
	return s.addr, d.addr, nil
}

// firstOf returns the first address of an ICMP pool, or own if the pool is
// empty.
func firstOf(pool []netip.Addr, own netip.Addr) (netip.Addr, bool) {
	if len(pool) > 0 {
		return pool[0], true
	}
	return own, own.IsValid()
}

// fits6 refuses packets that are too large for the IPv6 side and may not be
// cut: RFC 7915 §4.1.
func (x *Xlat) fits6(p packet) error {
	growth := 20
	if p.fragment() {
		growth = 28
	}
	if p.df && p.size+growth > x.cfg.MTU6 {
		return tell(translate.TooBig, 3, 4, uint32(x.cfg.MTU6-growth))
	}
	return nil
}

// send6 writes p as IPv6, in pieces if it did not have DF and is too large.
func (x *Xlat) send6(p packet, src, dst netip.Addr, n portPair) outcome {
	q := x.turn6(p, src, dst)
	q.ttl--
	if p.proto == icmp4 {
		q.data[0], q.data[1], _ = types4to6(p.data[0], p.data[1])
	}
	n.setPorts(q)
	if p.udpWithoutChecksum() && x.udpZero(p.dst) == translate.UDPZeroCompute {
		computeUDP(q)
	} else {
		carry(p, q)
	}
	x.clampMSS(q)
	header, limit := 40, min(x.cfg.LowestIPv6MTU, x.cfg.MTU6)
	if q.fragment() {
		header = 48
	}
	if !p.df && header+q.length > limit {
		return outcome{translate.Split, translate.Translated, cut(q, limit-48, limit-48)}
	}
	return forward(write6(q))
}

// self4 answers an IPv4 packet to the translator itself.
func (x *Xlat) self4(p packet) (outcome, error) {
	if p.proto != icmp4 {
		return outcome{}, tell(translate.SelfProtocol, 3, 2, 0)
	}
	return answerEcho(p, 8, 0)
}
