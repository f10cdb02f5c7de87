package translate

// Hairpinning: two IPv6 hosts that have IPv4 addresses talk by these. In the
// intrinsic mode of RFC 7757 §4.2.2 the translator does at once what two passes
// would do: IPv6 to IPv4, and back under the rules of §4.2.1.

// hairpin sends a packet back into IPv6 whose IPv4 destination belongs to an
// IPv6 host. pfx is the prefix under which the host was addressed. The source
// gets an address under it, or under the one that the host's lease is bound to, so
// that answers come back through the translator, and from where they are expected.
func (w *Worker) hairpin(p *Packet, h *header, data []byte, src, dst addr6, src4, dst4 addr4, pfx *prefix6052) Result {
	newDst, how, peer := w.from4(dst4, false, pfx)
	if !how.mapped() {
		return w.unmapped6(p, h, how, NoDestination)
	}
	noChecksum := h.hasNoChecksum(data)
	if noChecksum {
		mode := w.s.cfg.UDPZero
		if why := h.udpZero(mode, data); why != ok {
			return w.prohibit6(p, h, why)
		}
		noChecksum = mode == UDPZeroCompute
	}
	newSrc, how := w.embed(peer, src4)
	if !how.mapped() {
		return w.unmapped6(p, h, how, NoSource)
	}
	if newSrc == src && newDst == dst {
		return w.prohibit6(p, h, HairpinLoop)
	}
	hdrLen := len6
	if h.frag {
		hdrLen += lenFrag
	}
	if hdrLen+h.wireLen() > w.s.mtu6 {
		return w.refuse6(p, h, TooBig, icmp6TooBig, 0, uint32(w.s.mtu6))
	}

	switch delta := newSrc.sum() + newDst.sum() + minus(src.sum()+dst.sum()); {
	case h.off8 != 0:
	case noChecksum:
		setUDP6(data, newSrc, newDst)
	case h.proto == protoICMPv6:
		update(data[2:], delta)
	default:
		h.fixChecksum(data, delta)
	}
	at := p.Off + h.hdrLen
	next := h.proto
	label := w.flowLabel(newSrc, newDst, next, h, data)
	if h.frag {
		putFrag(p.Buf[at-lenFrag:], next, h.off8, h.more, h.id&0xffff)
		next = protoFragment
	}
	put6(p.Buf[at-hdrLen:], w.bothTOS().apply(h.tos), label, hdrLen-len6+h.dataLen, next, h.ttl-1, newSrc, newDst)
	p.window(at-hdrLen, hdrLen+h.dataLen)
	p.Offload = h.offload(&p.Offload, hdrLen, GSOTCPv6)
	return Result{Forward, Hairpinned}
}

// hairpinError sends an ICMPv6 error back into IPv6 that quotes a hairpinned
// packet: qsrc4 belongs to the host that sent it.
func (w *Worker) hairpinError(p *Packet, h *header, e *icmpError, msg []byte, src4, dst4, qsrc4, qdst4 addr4, pfx *prefix6052) Result {
	newDst, how, peer := w.from4(dst4, false, pfx)
	switch {
	case how == notGlobal:
		return drop(NonGlobal)
	case !how.mapped(), how == byPrefix && pfx.checkLoops:
		return drop(NoDestination)
	}
	newSrc, how, _ := w.from4(src4, src4 == qdst4, peer)
	if why := w.mayReplace(how, len(w.s.sources6)); why != ok {
		return drop(why)
	}
	if !how.mapped() {
		newSrc = pick(w, &w.t.last6, w.s.sources6)
	}
	newQsrc, how1, qpeer := w.from4(qsrc4, false, pfx)
	newQdst, how2 := w.embed(qpeer, qdst4)
	if !how1.mapped() || !how2.mapped() {
		return drop(ICMPQuote)
	}

	typ4, code4, _ := icmpCounterpart(rules6to4[:], msg[0], msg[1])
	typ, code, _ := icmpCounterpart(rules4to6[:], typ4, code4) // every outcome of the first has one
	rest := uint32(0)
	switch {
	case typ == icmp6TooBig:
		rest = uint32(w.s.ptbFromFragNeeded(w.s.fragNeededFromPTB(word(msg[4:]), e.q.fh), 0))
	case typ == icmp6ParamProblem && code == 1:
		rest = 6
	case typ == icmp6ParamProblem:
		at, _ := pointer(pointer6to4[:], word(msg[4:]))
		at, _ = pointer(pointer4to6[:], uint32(at))
		rest = uint32(at)
	}
	if e.q.off8 == 0 {
		v := (*hdr6)(e.quote)
		qsrc, qdst := v.src(), v.dst()
		delta := newQsrc.sum() + newQdst.sum() + minus(qsrc.sum()+qdst.sum())
		if data := e.data(); e.q.proto != protoICMPv6 {
			fixTransport(data, e.q.proto, delta)
		} else if len(data) >= 4 {
			update(data[2:], delta)
		}
	}
	at := p.Off + h.hdrLen + lenICMP + e.q.hdrLen
	w.writeError6(p, h, e, at, e.q.proto, newQsrc, newQdst, typ, code, rest, w.bothTOS(), newSrc, newDst)
	return Result{Forward, Hairpinned}
}

// bothTOS is what two passes do to a Traffic Class.
func (w *Worker) bothTOS() TOS {
	if w.s.cfg.TOS4to6.Override {
		return w.s.cfg.TOS4to6
	}
	return w.s.cfg.TOS6to4
}
