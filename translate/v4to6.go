package translate

import "github.com/steppe-nat64/steppe/internal/checksum"

// v4to6 takes an IPv4 packet through RFC 7915 §4. What is refused is found out
// before anything is written. Packets that no RFC has dropped silently are answered:
// rfc/README.md lists both kinds.
func (w *Worker) v4to6(p *Packet) Result {
	var h header
	b := p.Bytes()
	if why := h.read4(b); why != pass {
		return drop(why)
	}
	if h.hdrLen+h.dataLen > len(b) {
		return drop(BadHeader)
	}
	if headerSum4(b, h.hdrLen) != 0xffff {
		return drop(BadHeaderChecksum)
	}
	b = b[:h.hdrLen+h.dataLen] // bytes after Total Length are the link's padding
	data := b[h.hdrLen:]
	src, dst := (*hdr4)(b).src(), (*hdr4)(b).dst()
	isError := h.proto == protoICMPv4 && !h.frag && len(data) >= lenICMP && isError4(data[0])

	f := w.flow4(src, dst)
	known := !isError && f.is4(src, dst, w.stamp)
	asked := !known && !isError && f.is4(src, dst, w.stamp|askSessions)
	if !known && !asked {
		if w.s.cfg.illegal4(dst) {
			return drop(IllegalDestination)
		}
		if !isError && w.s.cfg.illegal4(src) || isError && illegalRouter4(src) {
			return drop(IllegalSource)
		}
		if dst != w.s.own4 && (w.staysLocal(dst) || !isError && w.staysLocal(src)) {
			return drop(LinkLocal)
		}
	}
	if h.badFragment() {
		return w.prohibit4(p, &h, BadFragment)
	}
	if why := h.protocol4(); why != pass {
		if why == FragmentedICMP && w.reassembles4(dst) {
			return w.echoFragment(p, &h, data, fragKey4(&h, src, dst))
		}
		return w.prohibit4(p, &h, why)
	}
	if p.Offload != (Offload{}) {
		if why := h.readOffload(&p.Offload, data, GSOTCPv4); why != pass {
			return drop(why)
		}
		if h.inner {
			return w.completed(p, b[p.Offload.CsumStart:])
		}
	}
	if dst == w.s.own4 && !w.s.ownShared {
		return w.self4(p, &h, data)
	}
	if why := w.transport4(&h, data, dst); why != pass {
		return w.prohibit4(p, &h, why)
	}
	if h.hdrLen > len4 && sourceRouted(b[len4:h.hdrLen]) {
		return w.refuse4(p, &h, SourceRoute, icmp4Unreachable, 5, 0)
	}
	if h.ttl <= 1 && (isError || dst != w.s.own4) {
		return w.refuse4(p, &h, HopLimit, icmp4TimeExceeded, 0, 0)
	}
	if isError && checksum.Fold(checksum.Sum(data)) != 0xffff {
		return drop(ICMPChecksum)
	}

	if isError {
		return w.error4to6(p, &h, src, dst)
	}
	if !known {
		var no refusal
		if asked {
			no = w.again4(&h, data, f)
		} else {
			no = w.first4(&h, data, f, src, dst)
		}
		switch {
		case no.why == pass && h.ttl > 1:
		case dst == w.s.own4 && no.ours(h.proto):
			return w.self4(p, &h, data) // no host's
		case no.why != pass:
			return w.unmapped4(p, &h, no)
		default:
			return w.refuse4(p, &h, HopLimit, icmp4TimeExceeded, 0, 0)
		}
	}

	cut, mtu := w.size4(&h)
	if mtu != 0 {
		return w.refuse4(p, &h, TooBig, icmp4Unreachable, 4, uint32(mtu))
	}
	h.mss = w.s.mss
	h.proto = h.rewriteTo6(data, &f.addresses, uint64(f.delta))
	if h.hasNoChecksum(data) && w.udpZero(dst) == UDPZeroCompute {
		setUDP6(data, f.src6, f.dst6)
	}
	if cut && h.gso == 0 {
		h.complete(data)
	}
	h.tos = w.s.cfg.TOS4to6.apply(h.tos)
	w.write6(p, &h, data, &f.addresses, h.frag || cut)
	if cut {
		return Result{Split, Translated}
	}
	return Result{Forward, Translated}
}

// protocol4 refuses the protocols that end at the translator: RFC 7915 §1.2 and
// §4.2, and those whose number means an extension header or ICMPv6 in IPv6.
func (h *header) protocol4() Reason {
	switch h.proto {
	case protoTCP, protoUDP:
		return pass
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
	return pass
}

// transport4 refuses what cannot be translated by its transport header.
func (w *Worker) transport4(h *header, data []byte, dst addr4) Reason {
	if why := h.shape(data); why != pass {
		return why
	}
	if h.hasNoChecksum(data) {
		mode := w.udpZero(dst)
		if h.frag && mode == UDPZeroCompute && w.s.tab.sessions != nil && w.s.tab.shares4(dst) {
			return pass // it is reassembled
		}
		return h.udpZero(mode, data)
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
	return pass
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

// size4 checks the size of the IPv6 packet to be: RFC 7915 §4, §4.1. It reports
// whether the packet must be cut, or the MTU to tell the source. Total Length is
// compared although options will be gone, as the RFC has it.
func (w *Worker) size4(h *header) (cut bool, mtu int) {
	grow := len6 - len4
	if h.frag {
		grow += lenFrag
	}
	n := h.wireLen() + grow
	if !h.df {
		return len4+n > w.s.cut6, 0
	}
	if h.hdrLen+n > w.s.mtu6 {
		mtu = w.s.mtu6 - grow
	}
	return false, mtu
}

// write6 replaces the IP header of p by an IPv6 header, with a Fragment Header if frag
// is set, before data whose transport header is rewritten. It is the end of the
// road: nothing is refused any more.
func (w *Worker) write6(p *Packet, h *header, data []byte, a *addresses, frag bool) {
	at := p.Off + h.hdrLen // where the data begins; it stays there
	if w.s.cfg.FlowLabels {
		h.label = w.flowLabel(a, h, data)
	}
	h.ttl--
	next, hdrLen := h.proto, len6
	if frag {
		putFrag(p.Buf[at-lenFrag:], next, h.off8, h.more, h.id)
		next, hdrLen = protoFragment, len6+lenFrag
	}
	h.put6(p.Buf[at-hdrLen:], next, hdrLen-len6+h.dataLen, a.src6, a.dst6)
	p.window(at-hdrLen, hdrLen+h.dataLen)
	p.Offload = h.offload(&p.Offload, hdrLen, GSOTCPv6)
}

// apply returns the new value of a TOS byte or Traffic Class.
func (t TOS) apply(v uint8) uint8 {
	if t.Override {
		return t.Value
	}
	return v
}
