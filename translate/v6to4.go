package translate

import "github.com/steppe-nat64/steppe/internal/checksum"

// v6to4 takes an IPv6 packet through RFC 7915 §5, in the same order as v4to6.
func (w *Worker) v6to4(p *Packet) Result {
	var h header
	b := p.Bytes()
	if len(b) < len6 {
		return drop(BadHeader)
	}
	n := len6 + (*hdr6)(b).payloadLen()
	if n > len(b) {
		return drop(BadHeader)
	}
	b = b[:n] // bytes after the payload are the link's padding
	src, dst := (*hdr6)(b).src(), (*hdr6)(b).dst()
	f := w.flow6(src, dst)
	known := f.is6(src, dst, w.stamp)
	asked := !known && f.is6(src, dst, w.stamp|askSessions)
	if !known && !asked {
		if illegal6(dst) {
			return drop(IllegalDestination)
		}
		if illegal6(src) {
			return drop(IllegalSource)
		}
	}
	if why := h.read6(b); why != pass {
		return w.broken6(p, &h, b, why)
	}
	if h.frag && h.badFragment() {
		return w.prohibit6(p, &h, BadFragment)
	}
	data := b[h.hdrLen:]
	if why := h.protocol6(); why != pass {
		if why == FragmentedICMP && w.reassembles6(src, dst) {
			return w.echoFragment(p, &h, data, fragKey{src, dst, h.id, h.proto, fragFrom6})
		}
		return w.prohibit6(p, &h, why)
	}
	if p.Offload != (Offload{}) {
		if why := h.readOffload(&p.Offload, data, GSOTCPv6); why != pass {
			return drop(why)
		}
		if h.inner {
			return w.completed(p, b[p.Offload.CsumStart:])
		}
	}
	if dst == w.s.own6 && !w.s.own6Shared {
		return w.self6(p, &h, data)
	}
	if why := h.transport6(data); why != pass {
		return w.prohibit6(p, &h, why)
	}
	isError := h.proto == protoICMPv6 && isError6(data[0])
	if h.routing != 0 {
		// Byte 3 of a Routing header is Segments Left.
		return w.refuse6(p, &h, SourceRoute, icmp6ParamProblem, 0, uint32(h.routing+3))
	}
	if h.ttl <= 1 {
		return w.refuse6(p, &h, HopLimit, icmp6TimeExceeded, 0, 0)
	}
	if isError && checksum.Fold(checksum.Sum(data)+src.sum()+dst.sum()+pseudo6(len(data))) != 0xffff {
		return drop(ICMPChecksum)
	}

	if isError {
		return w.error6to4(p, &h, src, dst)
	}
	if asked {
		if no := w.again6(&h, data, f); no.why != pass {
			return w.unmapped6(p, &h, no)
		}
	} else if !known {
		src4, dst4, back, no := w.resolve6(&h, data, src, dst)
		if no.why != pass {
			return w.unmapped6(p, &h, no)
		}
		if back != nil {
			return w.hairpin(p, &h, data, addresses{src, dst, src4, dst4}, back)
		}
		a := addresses{src, dst, src4, dst4}
		w.keep(f, a, a.to4(), h.ports)
	}
	if !known {
		if proto := h.proto4(); !f.knowsIdent(proto) {
			w.seekIdent(f, proto)
		}
	}

	cut, mtu := w.size6(&h)
	if mtu != 0 {
		return w.refuse6(p, &h, TooBig, icmp6TooBig, 0, uint32(mtu))
	}
	return w.write4(p, &h, data, f, cut)
}

// protocol6 refuses the protocols that end at the translator.
func (h *header) protocol6() Reason {
	switch h.proto {
	case protoICMPv6:
		if h.frag {
			return FragmentedICMP
		}
		if h.dataLen < lenICMP {
			return ShortTransport
		}
	case protoICMPv4:
		return NoProtocol // it would become an ICMP message that was not checked
	}
	return pass
}

// transport6 refuses what cannot be translated by its transport header.
func (h *header) transport6(data []byte) Reason {
	if why := h.shape(data); why != pass {
		return why
	}
	if h.proto == protoICMPv6 {
		if _, _, found := icmpCounterpart(rules6to4[:], data[0], data[1]); !found {
			return ICMPType
		}
		switch {
		case data[0] == icmp6ParamProblem && data[1] == 0:
			if _, found := pointer(pointer6to4[:], word(data[4:])); !found {
				return ICMPPointer
			}
		case data[0] == icmp6TooBig && word(data[4:]) < minPTB:
			return ICMPMTU
		}
	}
	return pass
}

// size6 checks the size of the IPv4 packet to be. IPv6 sources cut their packets
// themselves, but no error makes them use less than 1280 bytes; and a packet
// that has a Fragment Header may be cut again by anybody once it is IPv4. RFC
// 7915 §1.4, §5.1.1; RFC 8200 §5.
func (w *Worker) size6(h *header) (cut bool, mtu int) {
	n := len4 + h.wireLen()
	if n <= w.s.mtu4 && len4+h.dataLen <= maxLen {
		return false, 0
	}
	if (h.fh || h.hdrLen+h.wireLen() <= minMTU6) && len4+h.dataLen <= maxLen {
		return true, 0
	}
	return false, max(minMTU6, w.s.mtu4+len6-len4)
}

// maxClearDF is the size up to which IPv4 packets leave without DF: they
// fit through any IPv6 network on their way back. RFC 7915 §5.
const maxClearDF = minMTU6 - len6 + len4

// fragWord4 is the flags and fragment offset of the IPv4 packet with n bytes of
// data that h becomes: RFC 7915 §5.1, §5.1.1.
func (h *header) fragWord4(n int) (word uint16) {
	switch {
	case h.fh && h.more:
		return h.off8 | flagMF
	case h.fh:
		return h.off8
	case len4+n > maxClearDF:
		return flagDF
	}
	return 0
}

// write4 replaces the IPv6 header and its extension headers by an IPv4 header and
// rewrites the transport header.
func (w *Worker) write4(p *Packet, h *header, data []byte, f *flow, cut bool) Result {
	h.mss = w.s.mss
	h.proto = h.rewriteTo4(data, &f.addresses, uint64(f.delta))
	if cut && h.gso == 0 {
		h.complete(data)
	}
	word := h.fragWord4(h.wireLen())
	if cut {
		word &^= flagDF
	}
	switch {
	case h.fh:
	case word&flagDF != 0:
		h.id = uint32(w.randomIdent())
	default:
		h.id = uint32(w.ident(f, h.proto, h.segments()))
	}
	h.tos, h.ttl = w.s.cfg.TOS6to4.apply(h.tos), h.ttl-1
	at := p.Off + h.hdrLen - len4
	h.put4(p.Buf[at:], h.dataLen, word, f.src4, f.dst4)
	p.window(at, len4+h.dataLen)
	p.Offload = h.offload(&p.Offload, len4, GSOTCPv4)
	if cut {
		return Result{Split, Translated}
	}
	return Result{Forward, Translated}
}
