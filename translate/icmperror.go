package translate

import (
	"encoding/binary"
	"sync/atomic"
)

// icmpError is an ICMP error taken apart: the packet that it quotes, and the
// extension behind. Slices alias the message.
type icmpError struct {
	q     header // what the quoted IP header says
	quote []byte // the quoted packet from its IP header on, as far as it is there
	ext   []byte // RFC 4884 extension structure
}

// data returns the quoted octets behind the quoted IP header.
func (e *icmpError) data() []byte { return e.quote[e.q.hdrLen:] }

// open4 takes an ICMPv4 error apart. It refuses what cannot be translated:
// RFC 7915 §4.3.
func (e *icmpError) open4(msg []byte) Reason {
	if why := e.split(msg, quoteLen4(msg)); why != ok {
		return why
	}
	if e.q.read4(e.quote) != ok || e.q.protocol4() == NoProtocol {
		return ICMPQuote
	}
	return e.trim(protoICMPv4, icmp4Echo, icmp4EchoReply, isError4)
}

// open6 takes an ICMPv6 error apart: RFC 7915 §5.3.
func (e *icmpError) open6(msg []byte) Reason {
	if why := e.split(msg, quoteLen6(msg)); why != ok {
		return why
	}
	if e.q.read6(e.quote) != ok || e.q.routing != 0 || e.q.proto == protoICMPv4 {
		return ICMPQuote
	}
	return e.trim(protoICMPv6, icmp6Echo, icmp6EchoReply, isError6)
}

// split finds the extension by the length of the quote in octets, 0 if there is
// none: RFC 4884 §4, §5.4.
func (e *icmpError) split(msg []byte, length int) Reason {
	e.quote = msg[lenICMP:]
	if length > len(e.quote) {
		return ICMPExtension
	}
	if length > 0 {
		e.quote, e.ext = e.quote[:length], e.quote[length:]
	}
	return ok
}

// trim cuts the padding off the quote and looks at a quoted ICMP message: of
// those only request and reply, the two types of Echo, are translated.
func (e *icmpError) trim(icmp, request, reply uint8, isError func(uint8) bool) Reason {
	e.quote = e.quote[:min(len(e.quote), e.q.hdrLen+e.q.dataLen)]
	if e.q.proto != icmp {
		return ok
	}
	data := e.data()
	switch {
	case e.q.frag || len(data) == 0:
		return ICMPQuote
	case isError(data[0]):
		return ICMPQuotedError
	case data[0] != request && data[0] != reply:
		return ICMPQuote
	}
	return ok
}

// error4to6 translates an ICMPv4 error: RFC 7915 §4.2, §4.3. The outer
// destination is mapped already, like dstHow, and sees its peers inside the prefix
// peer. An error that would come back is dropped, as is one of our own, and one
// about a packet to an address without a map: there, routers without a mapping have
// nothing to report.
func (w *Worker) error4to6(p *Packet, h *header, src addr4, dst6 addr6, dstHow how, peer *prefix6052) Result {
	msg := p.Buf[p.Off+h.hdrLen:][:h.dataLen]
	simple := w.s.cfg.Hairpin == HairpinSimple

	// In a hairpin the router that complains may be the host that was sought.
	sought := simple && len(msg) >= lenICMP+len4 && msg[lenICMP]>>4 == 4 &&
		src == (*hdr4)(msg[lenICMP:]).dst()
	src6, how, _ := w.from4(src, sought, peer)
	if why := w.mayReplace(how, len(w.s.sources6)); why != ok {
		return drop(why)
	}
	if w.s.tab.loop4(dstHow, how) || w.s.sends4(src) && w.s.tab.loop4(dstHow, byPrefix) {
		return drop(NoDestination)
	}
	if !how.mapped() {
		src6 = pick(w, &w.t.last6, w.s.sources6)
	}

	var e icmpError
	if why := e.open4(msg); why != ok {
		return drop(why)
	}
	v := (*hdr4)(e.quote)
	qsrc, qdst := v.src(), v.dst()
	qsrc6, how1, qpeer := w.from4(qsrc, false, &w.s.tab.first)
	qdst6, how2, _ := w.from4(qdst, simple, qpeer)
	if !how1.mapped() || !how2.mapped() || w.s.cfg.illegal4(qsrc) || w.s.cfg.illegal4(qdst) ||
		w.staysLocal(qsrc) || w.staysLocal(qdst) {
		return drop(ICMPQuote)
	}
	if w.s.tab.loop4(dstHow, how2) {
		return drop(NoDestination)
	}

	// Nothing is refused any more.
	typ, code, _ := icmpCounterpart(rules4to6[:], msg[0], msg[1])
	rest := w.s.rest4to6(typ, code, msg, &e.q)
	next := e.q.proto
	addrs := qsrc6.sum() + qdst6.sum()
	switch {
	case e.q.off8 != 0:
	case next == protoICMPv4:
		next = protoICMPv6
		echo6(e.data(), addrs, e.q.dataLen)
	default:
		fixTransport(e.data(), next, addrs+minus(qsrc.sum()+qdst.sum()))
	}
	at := p.Off + h.hdrLen + lenICMP + e.q.hdrLen // of the quoted data, which stays
	w.writeError6(p, h, &e, at, next, qsrc6, qdst6, typ, code, rest, w.s.cfg.TOS4to6, src6, dst6)
	return Result{Forward, Translated}
}

// error6to4 translates an ICMPv6 error: RFC 7915 §5.2, §5.3. The outer
// destination is mapped already, by the prefix peer unless that is nil. No address
// is lent.
func (w *Worker) error6to4(p *Packet, h *header, src, dst addr6, dst4 addr4, peer *prefix6052) Result {
	msg := p.Buf[p.Off+h.hdrLen:][:h.dataLen]

	src4, how, pfx := w.from6(src)
	if how == unmapped {
		src4, how = w.s.addr(w.lender(peer), src)
	}
	switch {
	case w.s.dropsSource(pfx):
		return drop(EmbeddedSource)
	case how == illegal:
		return drop(IllegalSource)
	}
	if why := w.mayReplace(how, len(w.s.sources4)); why != ok {
		return drop(why)
	}
	replaced := !how.mapped()
	if !replaced && w.loop6(pfx, peer, dst4) {
		return drop(NoDestination)
	}
	if replaced {
		src4 = pick(w, &w.t.last4, w.s.sources4)
	}

	var e icmpError
	if why := e.open6(msg); why != ok {
		return drop(why)
	}
	if len4+e.q.dataLen > maxLen {
		return drop(ICMPQuote)
	}
	v := (*hdr6)(e.quote)
	qsrc, qdst := v.src(), v.dst()
	qsrc4, how1, qpfx := w.from6(qsrc)
	qdst4, how2, qpeer := w.from6(qdst)
	if how1 == unmapped {
		qsrc4, how1 = w.s.addr(w.lender(qpeer), qsrc)
	}
	if how2 == unmapped {
		qdst4, how2 = w.s.addr(w.lender(qpfx), qdst)
	}
	if !how1.mapped() || !how2.mapped() || w.staysLocal(qsrc4) || w.staysLocal(qdst4) {
		return drop(ICMPQuote)
	}
	if qpfx != nil && w.s.cfg.Hairpin == HairpinIntrinsic && w.s.tab.covers4(qsrc4) {
		return w.hairpinError(p, h, &e, msg, src4, dst4, qsrc4, qdst4, qpfx)
	}

	typ, code, _ := icmpCounterpart(rules6to4[:], msg[0], msg[1])
	rest := w.s.rest6to4(msg, &e.q)
	if replaced && w.s.cfg.NodeAddress {
		e.ext = w.addNode(e.ext, src)
	}
	proto := e.q.proto
	addrs := qsrc.sum() + qdst.sum()
	switch {
	case e.q.off8 != 0:
	case proto == protoICMPv6:
		proto = protoICMPv4
		echo4(e.data(), addrs, e.q.dataLen)
	default:
		fixTransport(e.data(), proto, qsrc4.sum()+qdst4.sum()+minus(addrs))
	}

	at := p.Off + h.hdrLen + lenICMP + e.q.hdrLen
	// Without a Fragment Header q.id is 0: what the router saw is not known.
	put4(p.Buf[at-len4:], w.s.cfg.TOS6to4.apply(e.q.tos), e.q.dataLen, uint16(e.q.id), e.q.fragWord4(e.q.dataLen), e.q.ttl, proto, qsrc4, qdst4)
	m := e.fit(p.Buf, at, len4, len4, maxError4, 4)
	putICMP(p.Buf[m.at:m.end], typ, code, rest|uint32(m.length)<<16, 0)

	n := m.end - m.at
	id := uint16(h.id)
	if !h.fh {
		id = w.identFor(src4, dst4, protoICMPv4)
	}
	put4(p.Buf[m.at-len4:], w.s.cfg.TOS6to4.apply(h.tos), n, id, h.fragWord4(n), h.ttl-1, protoICMPv4, src4, dst4)
	p.window(m.at-len4, len4+n)
	p.Offload = Offload{}
	return Result{Forward, Translated}
}

// writeError6 writes an ICMPv6 error around the quoted data at at.
func (w *Worker) writeError6(p *Packet, h *header, e *icmpError, at int, next uint8, qsrc, qdst addr6, typ, code uint8, rest uint32, tos TOS, src, dst addr6) {
	inner := len6
	if e.q.frag {
		inner += lenFrag
		putFrag(p.Buf[at-lenFrag:], next, e.q.off8, e.q.more, e.q.id&0xffff)
		next = protoFragment
	}
	put6(p.Buf[at-inner:], tos.apply(e.q.tos), 0, inner-len6+e.q.dataLen, next, e.q.ttl, qsrc, qdst)

	if !extensible6(typ) {
		e.ext = nil
	}
	m := e.fit(p.Buf, at, inner, len6, maxError6, 8)
	n := m.end - m.at
	putICMP(p.Buf[m.at:m.end], typ, code, rest|uint32(m.length)<<24, src.sum()+dst.sum()+pseudo6(n))
	put6(p.Buf[m.at-len6:], tos.apply(h.tos), 0, n, protoICMPv6, h.ttl-1, src, dst)
	p.window(m.at-len6, len6+n)
	p.Offload = Offload{}
}

// rest4to6 is the second word of the ICMPv6 error that an ICMPv4 error becomes,
// but for the length octet: RFC 7915 §4.2.
func (s *state) rest4to6(typ, code uint8, msg []byte, q *header) uint32 {
	switch {
	case typ == icmp6TooBig:
		mtu := int(binary.BigEndian.Uint16(msg[6:]))
		return uint32(s.ptbFromFragNeeded(mtu, q.hdrLen+q.dataLen))
	case typ == icmp6ParamProblem && code == 1:
		return 6 // the Next Header field
	case typ == icmp6ParamProblem:
		to, _ := pointer(pointer4to6[:], uint32(msg[4]))
		return uint32(to)
	}
	return 0
}

// rest6to4 is the second word of the ICMPv4 error that an ICMPv6 error becomes,
// but for the length octet: RFC 7915 §5.2.
func (s *state) rest6to4(msg []byte, q *header) uint32 {
	switch {
	case msg[0] == icmp6TooBig:
		return uint32(s.fragNeededFromPTB(word(msg[4:]), q.fh))
	case msg[0] == icmp6ParamProblem && msg[1] == 0:
		to, _ := pointer(pointer6to4[:], word(msg[4:]))
		return uint32(to) << 24
	}
	return 0
}

// mayReplace decides whether an ICMP error whose source is mapped like how may go
// on, with another source if it has no counterpart: RFC 6791. A source that is
// only refused for being non-global ends the error, since RFC 6052 §3.1 wants it
// so, unless TAYGA is to be followed.
func (w *Worker) mayReplace(how how, sources int) Reason {
	switch {
	case how.mapped():
		return ok
	case how == notGlobal && w.s.cfg.ICMPErrors == ErrorsRFC7915:
		return NonGlobal
	case sources == 0:
		return ICMPSource
	}
	return ok
}

// pick chooses one of the sources at random, never the same twice in a row if
// there is a choice, so that two hops of a traceroute do not look like one: RFC
// 6791 §5. The kernel gives the errors of two routers to different workers, so
// they have to share last, the index of the one before modulo their number.
func pick[A any](w *Worker, last *atomic.Uint64, sources []A) A {
	n := uint64(len(sources))
	if n == 1 {
		return sources[0]
	}
	return sources[last.Add(1+w.rnd.Uint64()%(n-1))%n]
}
