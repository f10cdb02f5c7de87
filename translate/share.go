package translate

import (
	"encoding/binary"
	"net/netip"
)

// shares4 reports whether hosts share a: whether the longest prefix that covers it does.
func (t *Table) shares4(a addr4) bool {
	if t.sessions == nil || t.unlisted4(a) {
		return false
	}
	if _, found := t.hosts.to6(a); found {
		return false
	}
	e, found := t.to6.Lookup(netip.AddrFrom4(a.array()))
	return found && e.shared
}

// prefixOf returns the prefix with a number.
func (t *Table) prefixOf(number uint8) *prefix6052 {
	if int(number) >= len(t.numbered) {
		number = 0
	}
	return t.numbered[number]
}

// numberOf6 is the number of a prefix, which is nil for an address with a map.
func numberOf6(p *prefix6052) uint8 {
	if p == nil {
		return 0
	}
	return p.number
}

// sharable returns why a packet cannot share an address: it must have ports.
func (h *header) sharable() Reason {
	switch h.proto {
	case protoTCP, protoUDP, protoICMPv4, protoICMPv6:
	default:
		return OtherProtocol
	}
	return pass
}

// flowReasons are why a packet is refused that Sessions do not map.
var flowReasons = [...]Reason{
	FlowMapped:    pass,
	FlowNoBinding: NoBinding,
	FlowFiltered:  Filtered,
	FlowNoPort:    NoPort,
	FlowLimit:     SessionLimit,
	FlowHold:      UnsolicitedSYN,
	FlowDrop:      NoSession,
}

// reason is that of a packet. unshared is what FlowUnshared means.
func (r FlowResult) reason(unshared Reason) Reason {
	switch {
	case r == FlowUnshared:
		return unshared
	case int(r) >= len(flowReasons):
		return NoSession
	}
	return flowReasons[r]
}

// endpoints are the ports and the TCP flags of a whole packet of a protocol that Sessions
// know.
func (h *header) endpoints(data []byte) (src, dst uint16, tcpFlags uint8) {
	switch h.proto {
	case protoTCP:
		tcpFlags = data[13]
	case protoUDP:
	default:
		id := binary.BigEndian.Uint16(data[4:])
		return id, id, 0
	}
	both := word(data)
	return uint16(both >> 16), uint16(both), tcpFlags
}

// newPorts are the ports that a packet has now, though they are not written yet.
func (h *header) newPorts(data []byte) (src, dst uint16) {
	if h.ports.set {
		return h.ports.src, h.ports.dst
	}
	return h.portsOf(data)
}

// outbound maps the source of an IPv6 packet to dst4, which was addressed inside the
// prefix of that number.
func (w *Worker) outbound(h *header, data []byte, src addr6, dst4 addr4, pref64 uint8) (src4 addr4, why Reason) {
	s, f, to := w.s.tab.sessions, &w.tuple6, &w.tuple4
	f.Host.Hi, f.Host.Lo = src.hi, src.lo
	f.Remote, f.Proto, f.Pref64 = uint32(dst4), h.proto, pref64
	f.HostPort, f.RemotePort = 0, 0
	if why := h.sharable(); why != pass || h.off8 != 0 {
		if !w.shares6(src, dst4, pref64) {
			return src4, NoSource
		}
		if why == pass {
			src4, why = w.laterOutbound(h, src, dst4, pref64)
		}
		return src4, why
	}
	var flags uint8
	f.HostPort, f.RemotePort, flags = h.endpoints(data)
	if r := s.Outbound(w.now, f, flags, to); r != FlowMapped {
		if why = r.reason(NoSource); h.frag && r != FlowUnshared {
			why = w.firstOutbound(h, why)
		}
		return src4, why
	}
	h.ports = ports{to.LocalPort, to.RemotePort, true, f.Pref64}
	if h.frag {
		return addr4(to.Local), w.firstOutbound(h, pass)
	}
	return addr4(to.Local), pass
}

// shares6 reports whether the host src shares an address, for packets to dst4 inside the
// prefix of that number.
func (w *Worker) shares6(src addr6, dst4 addr4, pref64 uint8) bool {
	f := &w.tuple6
	f.Host.Hi, f.Host.Lo = src.hi, src.lo
	f.Remote, f.Pref64, f.HostPort, f.RemotePort = uint32(dst4), pref64, 0, 0
	f.Proto = protoUDP // of this every host has sessions, if it has any
	return w.s.tab.sessions.OutboundError(w.now, f, &w.tuple4) != FlowUnshared
}

// inbound maps the destination of an IPv4 packet, or of one that was IPv6 until now, to a
// shared address. was6 is the latter's, nil for an IPv4 packet. h.ports tells the prefix
// inside which the host sees its peers.
func (w *Worker) inbound(h *header, data []byte, src, dst addr4, was6 *addresses) (dst6 addr6, why Reason) {
	if why := h.sharable(); why != pass {
		return dst6, why
	}
	if h.frag && w.waits(h, data, src, dst, was6) {
		return w.laterInbound(h)
	}
	f, to := &w.tuple4, &w.tuple6
	f.Local, f.Remote, f.Proto = uint32(dst), uint32(src), h.proto4()
	srcPort, dstPort, flags := h.endpoints(data)
	if h.ports.set { // from the first half of a hairpin
		srcPort, dstPort = h.ports.src, h.ports.dst
	}
	f.RemotePort, f.LocalPort = srcPort, dstPort
	if r := w.s.tab.sessions.Inbound(w.now, f, flags, to); r != FlowMapped {
		if why = r.reason(NoDestination); h.frag && r != FlowUnshared {
			why = w.firstInbound(h, dst6, why)
		}
		return dst6, why
	}
	h.ports = ports{to.RemotePort, to.HostPort, true, to.Pref64}
	dst6 = addr6{to.Host.Hi, to.Host.Lo}
	if h.frag {
		return dst6, w.firstInbound(h, dst6, pass)
	}
	return dst6, pass
}

// resolveShared4 is resolve4 for a packet to a shared address.
func (w *Worker) resolveShared4(h *header, data []byte, src, dst addr4) (src6, dst6 addr6, no refusal) {
	dst6, why := w.inbound(h, data, src, dst, nil)
	if why != pass {
		return src6, dst6, refusal{why: why}
	}
	src6, how := w.remote4(src, w.s.tab.prefixOf(h.ports.pref64))
	if !how.mapped() {
		return src6, dst6, refusal{NoSource, how}
	}
	return src6, dst6, no
}

// again4 is resolve4 for a packet between addresses that another one has been mapped
// for, of this session or another one.
func (w *Worker) again4(h *header, data []byte, f *flow) (no refusal) {
	dst6, why := w.inbound(h, data, f.src4, f.dst4, nil)
	if why != pass {
		return refusal{why: why}
	}
	if dst6 == f.dst6 && h.ports.pref64 == f.pref64 {
		return no
	}
	a := addresses{f.src6, dst6, f.src4, f.dst4}
	if h.ports.pref64 != f.pref64 {
		how := unmapped
		if a.src6, how = w.remote4(a.src4, w.s.tab.prefixOf(h.ports.pref64)); !how.mapped() {
			return refusal{NoSource, how}
		}
	}
	w.keep(f, a, a.to6(), h.ports)
	return no
}

// again6 is again4 for a packet from IPv6.
func (w *Worker) again6(h *header, data []byte, f *flow) (no refusal) {
	src4, why := w.outbound(h, data, f.src6, f.dst4, f.pref64)
	if why == pass && src4 != f.src4 {
		a := addresses{f.src6, f.dst6, src4, f.dst4}
		w.keep(f, a, a.to4(), h.ports)
	}
	return refusal{why: why}
}

// inboundError maps the source of a packet that an error to the shared address to quotes.
// An error that says to be about another host's packet is about none.
func (w *Worker) inboundError(q *header, data []byte, src, dst, to addr4) (src6 addr6, pref64 *prefix6052, why Reason) {
	if src != to || !q.quotesPorts(data) {
		return src6, nil, NoSession
	}
	f, host := &w.tuple4, &w.tuple6
	*f = Tuple4{Local: uint32(src), Remote: uint32(dst), Proto: q.proto4()}
	f.LocalPort, f.RemotePort = q.newPorts(data)
	if w.s.tab.sessions.InboundError(w.now, f, host) != FlowMapped {
		return src6, nil, NoSession
	}
	q.ports = ports{host.HostPort, host.RemotePort, true, host.Pref64}
	return addr6{host.Host.Hi, host.Host.Lo}, w.s.tab.prefixOf(host.Pref64), pass
}

// quotesPorts reports whether a quote says which session it belongs to. Eight bytes of the
// data are what every error quotes: RFC 792.
func (h *header) quotesPorts(data []byte) bool { return h.off8 == 0 && len(data) >= 8 }

// quotedShared4 is inboundError for an ICMPv4 error.
func (w *Worker) quotedShared4(e *icmpError, to addr4) (src6 addr6, pref64 *prefix6052, why Reason) {
	v := (*hdr4)(e.quote)
	return w.inboundError(&e.q, e.data(), v.src(), v.dst(), to)
}

// A quotedHost is one that a packet went to which an ICMPv6 error quotes.
type quotedHost struct {
	v6     addr6
	v4     addr4
	shares bool // v4, with others
}

// quotedShared6 maps the destination of the packet that an ICMPv6 error quotes, if it is a
// host that shares an address.
func (w *Worker) quotedShared6(e *icmpError) (host quotedHost, why Reason) {
	v := (*hdr6)(e.quote)
	host.v6 = v.dst()
	remote, _, pref64 := w.from6(v.src())
	if _, how, _ := w.from6(host.v6); how != unmapped || w.dynamicOf(host.v6, pref64) != nil {
		return host, pass
	}
	f, to := &w.tuple6, &w.tuple4
	*f = Tuple6{Host: Addr6{host.v6.hi, host.v6.lo}, Remote: uint32(remote), Proto: e.q.proto, Pref64: numberOf6(pref64)}
	f.RemotePort, f.HostPort = e.q.portsOf(e.data())
	switch r := w.s.tab.sessions.OutboundError(w.now, f, to); {
	case r == FlowUnshared:
		return host, pass
	case r != FlowMapped || !e.q.quotesPorts(e.data()):
		return host, NoSession
	}
	host.v4, host.shares = addr4(to.Local), true
	e.q.ports = ports{to.RemotePort, to.LocalPort, true, f.Pref64}
	return host, pass
}

// bySessions reports whether Sessions refuse the packet, not the tables.
func (no refusal) bySessions() bool { return no.why != NoSource && no.why != NoDestination }

// ours reports whether a packet of a protocol to the shared address that is our own is for
// no host, and so for us. Of a port of UDP we say what any shared address says.
func (no refusal) ours(proto uint8) bool {
	switch no.why {
	case NoBinding:
		return proto != protoUDP
	case OtherProtocol:
		return true
	}
	return no.why == NoDestination && no.how == unmapped
}

// unshared4 refuses an IPv4 packet that Sessions do not map: RFC 6146 §3.4, §3.5.
func (w *Worker) unshared4(p *Packet, h *header, why Reason) Result {
	code := uint8(prohibited)
	switch why {
	case Waiting:
		return w.store(p, h)
	case UnsolicitedSYN:
		w.holdSYN(p, h)
		return drop(why)
	case NoSession, SessionLimit, FragmentRoom, FragmentOverlap:
		return drop(why)
	case OtherProtocol:
		code = 2 // protocol unreachable
	case NoBinding:
		code = 1 // host unreachable
		if h.proto == protoUDP {
			code = 3 // port unreachable
		}
	}
	return w.refuse4(p, h, why, icmp4Unreachable, code, 0)
}

// unshared6 is unshared4 for an IPv6 packet.
func (w *Worker) unshared6(p *Packet, h *header, why Reason) Result {
	code := uint8(3) // address unreachable
	switch why {
	case Waiting:
		return w.store(p, h)
	case UnsolicitedSYN:
		w.holdSYN(p, h)
		return drop(why)
	case NoSession, FragmentRoom, FragmentOverlap:
		return drop(why)
	case Filtered: // by the other host of a hairpin
		return w.prohibit6(p, h, why)
	case OtherProtocol:
		code = 4 // port unreachable
	case NoBinding:
		if h.proto == protoUDP {
			code = 4
		}
	}
	return w.refuse6(p, h, why, icmp6Unreachable, code, 0)
}
