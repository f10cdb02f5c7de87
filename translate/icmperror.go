package translate

import (
	"encoding/binary"
	"sync/atomic"
)

// icmpError is an ICMP error taken apart: the packet that it quotes, and the
// extension after it. Slices alias the message.
type icmpError struct {
	msg   []byte // all of the message
	q     header // what the quoted IP header says
	quote []byte // the quoted packet from its IP header on, as far as it is there
	ext   []byte // RFC 4884 extension structure

	outer, inner addresses // of the error, and of the packet that it quotes
	delta        uint64    // of a hairpin: change of the quoted packet's pseudo-header
	replaced     bool      // the error's source has no counterpart: RFC 6791

	typ, code uint8 // of what it becomes
	rest      uint32
}

// data returns the quoted bytes after the quoted IP header.
func (e *icmpError) data() []byte { return e.quote[e.q.hdrLen:] }

// open4 takes an ICMPv4 error apart. It refuses what cannot be translated:
// RFC 7915 §4.3.
func (e *icmpError) open4() Reason {
	if why := e.split(quoteLen4(e.msg)); why != pass {
		return why
	}
	if e.q.read4(e.quote) != pass || e.q.protocol4() == NoProtocol {
		return ICMPQuote
	}
	return e.trim(protoICMPv4, icmp4Echo, icmp4EchoReply, isError4)
}

// open6 takes an ICMPv6 error apart: RFC 7915 §5.3.
func (e *icmpError) open6() Reason {
	if why := e.split(quoteLen6(e.msg)); why != pass {
		return why
	}
	if e.q.read6(e.quote) != pass || e.q.routing != 0 || e.q.proto == protoICMPv4 {
		return ICMPQuote
	}
	return e.trim(protoICMPv6, icmp6Echo, icmp6EchoReply, isError6)
}

// split finds the extension by the length of the quote in bytes, 0 if there is
// none: RFC 4884 §4, §5.4.
func (e *icmpError) split(length int) Reason {
	e.quote = e.msg[lenICMP:]
	if length > len(e.quote) {
		return ICMPExtension
	}
	if length != 0 {
		e.quote, e.ext = e.quote[:length], e.quote[length:]
	}
	return pass
}

// trim cuts the padding off the quote and looks at a quoted ICMP message: of
// those only request and reply, the two types of Echo, are translated.
func (e *icmpError) trim(icmp, request, reply uint8, isError func(uint8) bool) Reason {
	e.quote = e.quote[:min(len(e.quote), e.q.hdrLen+e.q.dataLen)]
	if e.q.proto != icmp {
		return pass
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
	return pass
}

// error4to6 translates an ICMPv4 error: RFC 7915 §4.2, §4.3.
func (w *Worker) error4to6(p *Packet, h *header, src, dst addr4) Result {
	e := icmpError{msg: p.Buf[p.Off+h.hdrLen:][:h.dataLen]}
	bad := e.open4()
	if why := w.resolveError4(&e, bad, src, dst); why != pass {
		return drop(why)
	}
	e.typ, e.code, _ = icmpCounterpart(rules4to6[:], e.msg[0], e.msg[1])
	e.rest = w.s.rest4to6(e.typ, e.code, e.msg, &e.q)
	e.q.proto = e.q.rewriteTo6(e.data(), &e.inner, e.inner.to6())
	w.writeError6(p, h, &e, w.s.cfg.TOS4to6)
	return Result{Forward, Translated}
}

// error6to4 translates an ICMPv6 error: RFC 7915 §5.2, §5.3. No address is leased.
func (w *Worker) error6to4(p *Packet, h *header, src, dst addr6) Result {
	e := icmpError{msg: p.Buf[p.Off+h.hdrLen:][:h.dataLen]}
	bad := e.open6()
	if bad == pass && len4+e.q.dataLen > maxLen {
		bad = ICMPQuote
	}
	back, why := w.resolveError6(&e, bad, src, dst)
	if why != pass {
		return drop(why)
	}
	if back != nil {
		return w.hairpinError(p, h, &e, back)
	}
	e.typ, e.code, _ = icmpCounterpart(rules6to4[:], e.msg[0], e.msg[1])
	e.rest = w.s.rest6to4(e.msg, &e.q)
	if e.replaced && w.s.cfg.NodeAddress {
		e.ext = w.addNode(e.ext, src)
	}
	e.q.proto = e.q.rewriteTo4(e.data(), &e.inner, e.inner.to4())
	w.writeError4(p, h, &e)
	return Result{Forward, Translated}
}

// writeError4 writes an ICMPv4 error around the quoted data, which stays.
func (w *Worker) writeError4(p *Packet, h *header, e *icmpError) {
	at := p.Off + h.hdrLen + lenICMP + e.q.hdrLen
	tos := w.s.cfg.TOS6to4
	// Without a Fragment Header q.id is 0: what the router saw is not known.
	e.q.tos = tos.apply(e.q.tos)
	e.q.put4(p.Buf[at-len4:], e.q.dataLen, e.q.fragWord4(e.q.dataLen), e.inner.src4, e.inner.dst4)
	m := e.fit(p.Buf, at, len4, len4, maxError4, 4)
	putICMP(p.Buf[m.at:m.end], e.typ, e.code, e.rest|uint32(m.length)<<16, 0)

	n := m.end - m.at
	if !h.fh {
		h.id = uint32(w.identFor(e.outer.src4, e.outer.dst4, protoICMPv4))
	}
	h.tos, h.ttl, h.proto = tos.apply(h.tos), h.ttl-1, protoICMPv4
	h.put4(p.Buf[m.at-len4:], n, h.fragWord4(n), e.outer.src4, e.outer.dst4)
	p.window(m.at-len4, len4+n)
	p.Offload = Offload{}
}

// writeError6 writes an ICMPv6 error around the quoted data, which stays.
func (w *Worker) writeError6(p *Packet, h *header, e *icmpError, tos TOS) {
	at := p.Off + h.hdrLen + lenICMP + e.q.hdrLen
	next, inner := e.q.proto, len6
	if e.q.frag {
		putFrag(p.Buf[at-lenFrag:], next, e.q.off8, e.q.more, e.q.id&0xffff)
		next, inner = protoFragment, len6+lenFrag
	}
	e.q.tos = tos.apply(e.q.tos)
	e.q.put6(p.Buf[at-inner:], next, inner-len6+e.q.dataLen, e.inner.src6, e.inner.dst6)

	if !extensible6(e.typ) {
		e.ext = nil
	}
	src, dst := e.outer.src6, e.outer.dst6
	m := e.fit(p.Buf, at, inner, len6, maxError6, 8)
	n := m.end - m.at
	putICMP(p.Buf[m.at:m.end], e.typ, e.code, e.rest|uint32(m.length)<<24, src.sum()+dst.sum()+pseudo6(n))
	h.tos, h.ttl = tos.apply(h.tos), h.ttl-1
	h.put6(p.Buf[m.at-len6:], protoICMPv6, n, src, dst)
	p.window(m.at-len6, len6+n)
	p.Offload = Offload{}
}

// rest4to6 is the second word of the ICMPv6 error that an ICMPv4 error becomes,
// but for the length byte: RFC 7915 §4.2.
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
// but for the length byte: RFC 7915 §5.2.
func (s *state) rest6to4(msg []byte, q *header) uint32 {
	switch {
	case msg[0] == icmp6TooBig:
		return uint32(s.fragNeededFromPTB(word(msg[4:]), q))
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
func (w *Worker) mayReplace(how origin, sources int) Reason {
	switch {
	case how.mapped():
		return pass
	case how == notGlobal && w.s.cfg.ICMPErrors == ErrorsRFC7915:
		return NonGlobal
	case sources == 0:
		return ICMPSource
	}
	return pass
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
