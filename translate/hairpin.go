package translate

import "github.com/steppe-nat64/steppe/internal/checksum"

// Hairpinning: two IPv6 hosts that have IPv4 addresses talk by these. In the
// intrinsic mode of RFC 7757 §4.2.2 the translator does at once what two passes
// would do: IPv6 to IPv4, and back under the rules of §4.2.1.

// hairpin sends a packet back into IPv6 whose IPv4 destination belongs to an IPv6
// host: it maps once more what has been mapped to the IPv4 addresses of a. pref64 is
// the prefix under which the host was addressed. The source gets an address under
// it, or under the one that the host's lease is bound to, so that answers come back
// through the translator, and from where they are expected.
func (w *Worker) hairpin(p *Packet, h *header, data []byte, a addresses, pref64 *prefix6052) Result {
	newDst, newPref64, no := w.inside4(h, data, &a, pref64)
	if no.why != pass {
		return w.unmapped6(p, h, no)
	}
	noChecksum := h.hasNoChecksum(data)
	if noChecksum {
		mode := w.udpZero(a.dst4)
		if why := h.udpZero(mode, data); why != pass {
			return w.prohibit6(p, h, why)
		}
		noChecksum = mode == UDPZeroCompute
	}
	newSrc, how := w.embed(newPref64, a.src4)
	if !how.mapped() {
		return w.unmapped6(p, h, refusal{NoSource, how})
	}
	if newSrc == a.src6 && newDst == a.dst6 {
		return w.prohibit6(p, h, HairpinLoop)
	}
	hdrLen := len6
	if h.frag {
		hdrLen += lenFrag
	}
	cut := hdrLen+h.wireLen() > w.s.mtu6
	if cut && !w.assembled {
		return w.refuse6(p, h, TooBig, icmp6TooBig, 0, uint32(w.s.mtu6))
	}

	h.mss = w.s.mss
	h.rewriteHairpin(data, newSrc.sum()+newDst.sum()+checksum.Minus(a.src6.sum()+a.dst6.sum()))
	a.src6, a.dst6 = newSrc, newDst
	if noChecksum {
		setUDP6(data, newSrc, newDst)
	}
	h.tos, h.id = w.bothTOS().apply(h.tos), h.id&0xffff
	w.write6(p, h, data, &a, h.frag || cut)
	if cut {
		return Result{Split, Hairpinned} // as its sender has sent it
	}
	return Result{Forward, Hairpinned}
}

// hairpinError sends an ICMPv6 error back into IPv6 that quotes a hairpinned
// packet: the IPv4 source of that belongs to the host that sent it. pref64 is the prefix
// under which the host was addressed.
func (w *Worker) hairpinError(p *Packet, h *header, e *icmpError, pref64 *prefix6052) Result {
	if why := w.resolveHairpinError(e, pref64); why != pass {
		return drop(why)
	}
	msg := e.msg
	typ4, code4, _ := icmpCounterpart(rules6to4[:], msg[0], msg[1])
	e.typ, e.code, _ = icmpCounterpart(rules4to6[:], typ4, code4) // every outcome of the first has one
	switch {
	case e.typ == icmp6TooBig:
		e.rest = uint32(w.s.ptbFromFragNeeded(w.s.fragNeededFromPTB(word(msg[4:]), &e.q), 0))
	case e.typ == icmp6ParamProblem && e.code == 1:
		e.rest = 6
	case e.typ == icmp6ParamProblem:
		at, _ := pointer(pointer6to4[:], word(msg[4:]))
		at, _ = pointer(pointer4to6[:], uint32(at))
		e.rest = uint32(at)
	}
	e.q.rewriteHairpin(e.data(), e.delta)
	w.writeError6(p, h, e, w.bothTOS())
	return Result{Forward, Hairpinned}
}

// bothTOS is what two passes do to a Traffic Class.
func (w *Worker) bothTOS() TOS {
	if w.s.cfg.TOS4to6.Override {
		return w.s.cfg.TOS4to6
	}
	return w.s.cfg.TOS6to4
}
