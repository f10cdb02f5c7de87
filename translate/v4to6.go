package translate

// v4to6 takes an IPv4 packet through RFC 7915 §4. What is refused is found out
// before anything is written. Packets that no RFC has dropped silently are answered:
// rfc/README.md lists both kinds.
func (w *Worker) v4to6(p *Packet) Result {
	var h header
	b := p.Bytes()
	if why := h.read4(b); why != ok {
		return drop(why)
	}
	if h.hdrLen+h.dataLen > len(b) {
		return drop(BadHeader)
	}
	if headerSum4(b, h.hdrLen) != 0xffff {
		return drop(BadHeaderChecksum)
	}
	b = b[:h.hdrLen+h.dataLen] // octets behind Total Length are the link's padding
	data := b[h.hdrLen:]
	src, dst := (*hdr4)(b).src(), (*hdr4)(b).dst()
	isError := h.proto == protoICMPv4 && !h.frag && len(data) >= lenICMP && isError4(data[0])

	f := w.flow4(src, dst)
	known := !isError && f.is4(src, dst, w.stamp)
	if !known {
		if w.s.cfg.illegal4(dst) {
			return drop(IllegalDestination)
		}
		if w.s.illegalSource4(src, isError) {
			return drop(IllegalSource)
		}
		if dst != w.s.own4 && (w.staysLocal(dst) || !isError && w.staysLocal(src)) {
			return drop(LinkLocal)
		}
	}
	if h.badFragment() {
		return w.prohibit4(p, &h, BadFragment)
	}
	if why := h.protocol4(); why != ok {
		return w.prohibit4(p, &h, why)
	}
	if p.Offload != (Offload{}) {
		if why := h.readOffload(&p.Offload, data, GSOTCPv4); why != ok {
			return drop(why)
		}
		if h.inner {
			return w.completed(p, b[p.Offload.CsumStart:])
		}
	}
	if dst == w.s.own4 {
		return w.self4(p, &h, data)
	}
	if why := w.transport4(&h, data); why != ok {
		return w.prohibit4(p, &h, why)
	}
	if h.hdrLen > len4 && sourceRouted(b[len4:h.hdrLen]) {
		return w.refuse4(p, &h, SourceRoute, icmp4Unreachable, 5, 0)
	}
	if h.ttl <= 1 {
		return w.refuse4(p, &h, HopLimit, icmp4TimeExceeded, 0, 0)
	}
	if isError && fold(sum(data)) != 0xffff {
		return drop(ICMPChecksum)
	}

	if !known {
		dst6, how, peer := w.from4(dst, false, &w.s.tab.first)
		if !how.mapped() {
			return w.unmapped4(p, &h, how, NoDestination)
		}
		if isError {
			return w.error4to6(p, &h, src, dst6, how, peer)
		}
		src6, how2, _ := w.from4(src, w.s.cfg.Hairpin == HairpinSimple, peer)
		if !how2.mapped() {
			return w.unmapped4(p, &h, how2, NoSource)
		}
		if w.s.tab.loop4(how, how2) {
			return w.unmapped4(p, &h, unmapped, NoDestination)
		}
		delta := src6.sum() + dst6.sum() + minus(src.sum()+dst.sum())
		w.keep(f, src6, dst6, src, dst, delta)
	}

	cut, mtu := w.size4(&h)
	if mtu != 0 {
		return w.refuse4(p, &h, TooBig, icmp4Unreachable, 4, uint32(mtu))
	}
	return w.write6(p, &h, data, f, cut)
}

// protocol4 refuses the protocols that end at the translator: RFC 7915 §1.2 and
// §4.2, and those whose number means an extension header or ICMPv6 in IPv6.
func (h *header) protocol4() Reason {
	switch h.proto {
	case protoTCP, protoUDP:
		return ok
	case protoICMPv4:
		if h.frag {
			return FragmentedICMP
		}
		if h.dataLen < lenICMP {
			return ShortTransport
		}
	case protoHopByHop, protoIGMP, protoRouting, protoFragment, protoICMPv6, protoDestOpts:
		return NoProtocol
	}
	return ok
}

// transport4 refuses what cannot be translated by its transport header.
func (w *Worker) transport4(h *header, data []byte) Reason {
	if why := h.shape(data); why != ok {
		return why
	}
	if h.hasNoChecksum(data) {
		return h.udpZero(w.s.cfg.UDPZero, data)
	}
	if h.proto == protoICMPv4 {
		if _, _, found := icmpCounterpart(rules4to6[:], data[0], data[1]); !found {
			return ICMPType
		}
		if data[0] == icmp4ParamProblem {
			if _, found := pointer(pointer4to6[:], uint32(data[4])); !found {
				return ICMPPointer
			}
		}
	}
	return ok
}

// sourceRouted reports whether the IPv4 options hold a source route that has not
// reached its end: RFC 7915 §4.1, RFC 791 §3.1. Options that cannot be read are
// ignored like all others.
func sourceRouted(opts []byte) bool {
	const end, nop, loose, strict = 0, 1, 131, 137
	for len(opts) > 0 && opts[0] != end {
		if opts[0] == nop {
			opts = opts[1:]
			continue
		}
		if len(opts) < 2 || opts[1] < 2 || int(opts[1]) > len(opts) {
			return false
		}
		n := int(opts[1])
		if (opts[0] == loose || opts[0] == strict) && n >= 3 && int(opts[2]) <= n {
			return true
		}
		opts = opts[n:]
	}
	return false
}

// size4 judges the size of the IPv6 packet to be: RFC 7915 §4, §4.1. It reports
// whether the packet must be cut, or the MTU to tell the source. Total Length is
// compared although options will be gone, as the RFC has it.
func (w *Worker) size4(h *header) (cut bool, mtu int) {
	grow := len6 - len4
	if h.frag {
		grow += lenFrag
	}
	if h.df {
		if h.hdrLen+h.wireLen()+grow > w.s.mtu6 {
			return false, w.s.mtu6 - grow
		}
		return false, 0
	}
	return len4+grow+h.wireLen() > w.s.cut6, 0
}

// write6 replaces the IPv4 header by an IPv6 header and mends the transport
// checksum. It is the end of the road: all has been judged.
func (w *Worker) write6(p *Packet, h *header, data []byte, f *flow, cut bool) Result {
	next := h.proto
	if h.off8 == 0 {
		switch {
		case h.proto == protoICMPv4:
			next = protoICMPv6
			echo6(data, f.src6.sum()+f.dst6.sum(), h.dataLen)
		case h.hasNoChecksum(data):
			if w.s.cfg.UDPZero == UDPZeroCompute {
				setUDP6(data, f.src6, f.dst6)
			}
		default:
			h.fixChecksum(data, uint64(f.delta))
		}
	}

	if cut && h.gso == 0 {
		h.complete(data)
	}
	at := p.Off + h.hdrLen // where the data begins; it stays there
	tc := w.s.cfg.TOS4to6.apply(h.tos)
	label := w.flowLabel(f.src6, f.dst6, next, h, data)
	if h.frag || cut {
		putFrag(p.Buf[at-lenFrag:], next, h.off8, h.more, h.id)
		put6(p.Buf[at-lenFrag-len6:], tc, label, lenFrag+h.dataLen, protoFragment, h.ttl-1, f.src6, f.dst6)
		p.window(at-lenFrag-len6, len6+lenFrag+h.dataLen)
		p.Offload = h.offload(&p.Offload, len6+lenFrag, GSOTCPv6)
	} else {
		put6(p.Buf[at-len6:], tc, label, h.dataLen, next, h.ttl-1, f.src6, f.dst6)
		p.window(at-len6, len6+h.dataLen)
		p.Offload = h.offload(&p.Offload, len6, GSOTCPv6)
	}
	if cut {
		return Result{Split, Translated}
	}
	return Result{Forward, Translated}
}

// apply returns what becomes of a TOS octet or Traffic Class.
func (t TOS) apply(v uint8) uint8 {
	if t.Override {
		return t.Value
	}
	return v
}
