package refxlat

import (
	"encoding/binary"
	"net/netip"

	"github.com/steppe-nat64/steppe/translate"
)

// from6 translates an IPv6 packet: RFC 7915 §5.
func (x *Xlat) from6(b []byte) (outcome, error) {
	p, ok := read6(b)
	if !ok || p.size > len(b) {
		return outcome{}, drop(translate.BadHeader)
	}
	if illegal6(p.dst) {
		return outcome{}, drop(translate.IllegalDestination)
	}
	if illegal6(p.src) {
		return outcome{}, drop(translate.IllegalSource)
	}
	if err := p.walk(); err != nil {
		return outcome{}, err
	}
	if err := p.checkFragment(); err != nil {
		return outcome{}, err
	}
	if err := checkProtocol6(p); err != nil {
		return outcome{}, err
	}
	if p.dst == x.cfg.IPv6 {
		return x.self6(p)
	}
	if err := x.check6(p); err != nil {
		return outcome{}, err
	}
	isError := p.proto == icmp6 && p.data[0] < 128
	if isError && !icmpRight(p) {
		return outcome{}, drop(translate.ICMPChecksum)
	}
	o, err := x.outer4(p, isError)
	if err != nil {
		return outcome{}, err
	}
	if isError {
		return x.errorFrom6(p, o)
	}
	if hairpin, covered := x.leadsBack(o.dst.addr); covered && o.dst.how == byPrefix && x.cfg.Hairpin == translate.HairpinIntrinsic {
		return x.hairpin(p, o, hairpin)
	}
	return x.send4(p, o)
}

// checkProtocol6 refuses fragmented ICMPv6, and ICMPv4 over IPv6.
func checkProtocol6(p packet) error {
	switch {
	case p.proto == icmp6 && p.fragment():
		return prohibit(p, translate.FragmentedICMP)
	case p.proto == icmp6 && len(p.data) < 8:
		return prohibit(p, translate.ShortTransport)
	case p.proto == icmp4:
		return prohibit(p, translate.NoProtocol)
	}
	return nil
}

// check6 looks at what follows the headers, at Routing headers and the hop
// limit.
func (x *Xlat) check6(p packet) error {
	if err := p.checkTransport(); err != nil {
		return err
	}
	if p.proto == icmp6 {
		word := binary.BigEndian.Uint32(p.data[4:])
		if _, _, ok := types6to4(p.data[0], p.data[1]); !ok {
			return drop(translate.ICMPType)
		}
		if p.data[0] == 4 && p.data[1] == 0 {
			if _, ok := pointer6to4(word); !ok {
				return drop(translate.ICMPPointer)
			}
		}
		if p.data[0] == 2 && word < 88 {
			return drop(translate.ICMPMTU)
		}
	}
	if p.routingAt != 0 {
		return tell(translate.SourceRoute, 4, 0, uint32(p.routingAt+3))
	}
	if p.ttl <= 1 {
		return tell(translate.HopLimit, 3, 0, 0)
	}
	return nil
}

// outer are the IPv4 addresses of an IPv6 packet.
type outer struct {
	src       netip.Addr
	dst       mapping
	ownSource bool // src is no mapping, but one of ours: RFC 6791

	ports  portPair // of the packet
	quoted *tracked // of an error: the session of the packet that it quotes
}

// outer4 maps the addresses of the IPv6 packet p.
func (x *Xlat) outer4(p packet, isError bool) (outer, error) {
	_, _, dstCode, srcCode := x.codes()
	d := x.static4(p.dst)
	switch {
	case d.how == unmapped:
		return outer{}, tell(translate.NoDestination, 1, dstCode, 0)
	case x.staysLocal(d.addr):
		return outer{}, drop(translate.LinkLocal)
	case x.illegal4(d.addr):
		return outer{}, drop(translate.IllegalDestination)
	case d.nonGlobal:
		return outer{}, tell(translate.NonGlobal, 1, dstCode, 0)
	}
	var quoted *tracked
	if isError {
		var err error
		if quoted, err = x.quotedDestination(p); err != nil {
			return outer{}, err
		}
	}
	s := x.static4(p.src)
	if s.how == byPrefix && x.dropsSource(s) {
		return outer{}, drop(translate.EmbeddedSource)
	}
	if !isError && s.how != unmapped && x.staysLocal(s.addr) {
		return outer{}, drop(translate.LinkLocal)
	}
	s = x.host4(p.src, d, !isError)
	var n portPair
	switch _, replaceable := firstOf(x.cfg.ICMPPool4, x.cfg.IPv4); {
	case s.how != unmapped:
	case quoted != nil && (p.src == quoted.host.Addr() || !replaceable):
		s = mapping{addr: quoted.at.Addr(), how: bySession}
	case !isError && x.sharing != nil && x.dynFor(d) == nil:
		var err error
		if s, n, err = x.sharedSource(p, d); err != nil {
			return outer{}, err
		}
	}
	switch {
	case s.how != unmapped && x.illegal4(s.addr):
		return outer{}, drop(translate.IllegalSource)
	case isError && s.nonGlobal && !x.tayga():
		return outer{}, drop(translate.NonGlobal)
	case isError && (s.nonGlobal || s.how == unmapped):
		src, ok := firstOf(x.cfg.ICMPPool4, x.cfg.IPv4)
		if !ok {
			return outer{}, drop(translate.ICMPSource)
		}
		return outer{src: src, dst: d, ownSource: true, quoted: quoted}, nil
	case s.nonGlobal:
		return outer{}, tell(translate.NonGlobal, 1, srcCode, 0)
	case s.how == unmapped:
		return outer{}, tell(translate.NoSource, 1, srcCode, 0)
	case isError && x.loop6(s, d):
		return outer{}, drop(translate.NoDestination)
	case x.loop6(s, d):
		return outer{}, tell(translate.NoDestination, 1, dstCode, 0)
	}
	return outer{src: s.addr, dst: d, ports: n, quoted: quoted}, nil
}

// send4 writes p as IPv4, in pieces if it is too large and the IPv6 host can do
// nothing about it: RFC 7915 §5.1.1.
func (x *Xlat) send4(p packet, o outer) (outcome, error) {
	q := x.turn4(p, o.src, o.dst.addr)
	q.ttl--
	if p.proto == icmp6 {
		q.data[0], q.data[1], _ = types6to4(p.data[0], p.data[1])
	}
	o.ports.setPorts(q)
	carry(p, q)
	x.clampMSS(q)
	if q.size <= x.cfg.MTU4 {
		return forward(write4(q)), nil
	}
	if p.hasFrag || p.size <= 1280 {
		return outcome{translate.Split, translate.Translated, cut(q, x.cfg.MTU4-20, x.cfg.MTU4-20)}, nil
	}
	return outcome{}, tell(translate.TooBig, 2, 0, uint32(max(1280, x.cfg.MTU4+20)))
}

// leadsBack reports whether packets to an IPv4 address belong to an IPv6 host, and how it is
// mapped. What goes to the translator's own address leaves for IPv4, also if hosts share it.
func (x *Xlat) leadsBack(a netip.Addr) (mapping, bool) {
	m, covered := x.explicit6(a)
	return m, covered && !(a == x.cfg.IPv4 && x.shares(a))
}

// hairpin sends p back into IPv6 at once, because another IPv6 host stands
// after its IPv4 destination: RFC 7757 §4.2.2. d is that host.
func (x *Xlat) hairpin(p packet, o outer, d mapping) (outcome, error) {
	_, _, dstCode, srcCode := x.codes()
	prefix, n := x.across(d, way{prefix: o.dst.prefix}).prefix, o.ports
	switch {
	case x.shares(o.dst.addr):
		var err error
		if d.addr, prefix, n, err = x.sharedHost(p, o.src, o.dst.addr, n); err != nil {
			return outcome{}, err
		}
	case d.how == unmapped:
		return outcome{}, tell(translate.NoDestination, 1, dstCode, 0)
	}
	if err := x.checkUDPZero(p, o.dst.addr); err != nil {
		return outcome{}, err
	}
	s := x.compose6(o.src, prefix)
	switch {
	case s.nonGlobal:
		return outcome{}, tell(translate.NonGlobal, 1, srcCode, 0)
	case s.addr == p.src && d.addr == p.dst:
		return outcome{}, prohibit(p, translate.HairpinLoop)
	}
	q := x.turn6(x.turn4(p, o.src, o.dst.addr), s.addr, d.addr)
	q.ttl--
	n.setPorts(q)
	if p.udpWithoutChecksum() && x.udpZero(o.dst.addr) == translate.UDPZeroCompute {
		computeUDP(q)
	} else {
		carry(p, q)
	}
	x.clampMSS(q)
	pkt := write6(q)
	if len(pkt) > x.cfg.MTU6 {
		return outcome{}, tell(translate.TooBig, 2, 0, uint32(x.cfg.MTU6))
	}
	return outcome{translate.Forward, translate.Hairpinned, [][]byte{pkt}}, nil
}

// self6 answers an IPv6 packet to the translator itself.
func (x *Xlat) self6(p packet) (outcome, error) {
	if p.proto != icmp6 {
		return outcome{}, tell(translate.SelfProtocol, 4, 1, uint32(p.protoAt))
	}
	o, err := answerEcho(p, 128, 129)
	if why, silent := x.silent6(p.src, p.dst); err == nil && silent {
		return outcome{}, drop(why)
	}
	return o, err
}
