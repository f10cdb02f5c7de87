package translate

import "encoding/binary"

// Reassembly, of shared addresses alone: UDP over IPv4 without checksum, which has to get
// one (RFC 6146 §3.4), and ICMP Echo, whose checksum covers the length of the message in
// IPv6 and no pseudo-header in IPv4. All other fragments are translated one by one.

// reassembles4 reports whether fragments of an ICMPv4 message to dst are reassembled.
func (w *Worker) reassembles4(dst addr4) bool {
	return w.s.tab.sessions != nil && w.s.tab.shares4(dst)
}

// reassembles6 is reassembles4 for an ICMPv6 message, whose sender has to share an address.
func (w *Worker) reassembles6(src, dst addr6) bool {
	if w.s.tab.sessions == nil {
		return false
	}
	dst4, how, pref64 := w.from6(dst)
	if !how.mapped() || w.staysLocal(dst4) || w.dynamicOf(src, pref64) != nil {
		return false
	}
	if src4, how, from := w.from6(src); how != unmapped || w.s.dropsSource(src4, from) {
		return false
	}
	return w.shares6(src, dst4, numberOf6(pref64))
}

// echoFragment stores a fragment of an ICMP message from or to a host that shares an
// address. Only Echo messages are as large as to need any.
func (w *Worker) echoFragment(p *Packet, h *header, data []byte, k fragKey) Result {
	if p.Offload.Flags&OffloadNeedsCsum != 0 || p.Offload.GSOType != GSONone {
		return drop(BadOffload)
	}
	if h.off8 == 0 {
		if h.dataLen < lenICMP {
			return w.prohibit(p, h, TinyFragment)
		}
		switch typ := data[0]; {
		case h.proto == protoICMPv4 && (typ == icmp4Echo || typ == icmp4EchoReply):
		case h.proto == protoICMPv6 && (typ == icmp6Echo || typ == icmp6EchoReply):
		default:
			return w.prohibit(p, h, FragmentedICMP)
		}
	}
	w.frag, w.fragWhole = k, true
	return w.store(p, h)
}

// prohibit is prohibit4 or prohibit6.
func (w *Worker) prohibit(p *Packet, h *header, why Reason) Result {
	if p.Buf[p.Off]>>4 == 4 {
		return w.prohibit4(p, h, why)
	}
	return w.prohibit6(p, h, why)
}

// store keeps a copy of a fragment for Emit: of the packet w.frag.
func (w *Worker) store(p *Packet, h *header) Result {
	if w.fragWhole && w.frag.kind == fragFrom4 {
		if _, mtu := w.size4(h); mtu != 0 {
			return w.refuse4(p, h, TooBig, icmp4Unreachable, 4, uint32(mtu))
		}
	}
	return drop(w.s.deferred.frags.store(w, &w.frag, h, p, w.fragWhole))
}

// reassemble makes w.whole of the fragments of a packet, which are freed, and translates
// it. All are counted by what becomes of it.
func (w *Worker) reassemble(x *fragments, i int32) {
	var (
		first  = &x.blocks[i]
		dir    = first.kind.direction()
		hdrLen = int(first.hdrLen)
		count  Count
		n      = hdrLen
		p      = &w.whole
	)
	x.read(p.Buf[Headroom:Headroom+hdrLen], i, 0)
	for j := i; j >= 0; j = x.blocks[j].piece {
		b := &x.blocks[j]
		at := Headroom + hdrLen + int(b.off)
		x.read(p.Buf[at:at+int(b.dataLen)], j, int(b.hdrLen))
		n += int(b.dataLen)
		count.Packets++
		count.Bytes += uint64(b.size)
	}
	x.mu.Lock()
	for i >= 0 {
		next := x.blocks[i].piece
		x.freeBlocks(i)
		i = next
	}
	x.mu.Unlock()

	p.window(Headroom, n)
	p.Offload = Offload{}
	w.assembled = true
	if b := p.Bytes(); b[0]>>4 == 4 {
		binary.BigEndian.PutUint16(b[2:], uint16(n))
		b[6], b[7], b[10], b[11] = 0, 0, 0, 0
		binary.BigEndian.PutUint16(b[10:], ^headerSum4(b, hdrLen))
		p.Result = w.v4to6(p)
	} else { // its Fragment Header stays, since it may be cut again
		binary.BigEndian.PutUint16(b[4:], uint16(n-len6))
		binary.BigEndian.PutUint16(b[hdrLen-lenFrag+2:], 0)
		p.Result = w.v6to4(p)
	}
	w.assembled = false
	w.counts.addAll(dir, p.Result, count)
	if p.Result.Verdict == Reply && p.Len > w.limit(p.Bytes()) {
		p.Result.Verdict = Split // an Echo Reply of our own
	}
}

// piece moves the next piece of w.whole to the first of ps.
func (w *Worker) piece(ps []Packet) {
	p, n := &w.whole, w.whole.Len
	if p.Result.Verdict == Split {
		n = min(n, w.limit(p.Bytes()))
	}
	if n > len(ps[0].Buf)-Headroom {
		tooShort(&ps[0], n)
	}
	if p.Result.Verdict == Split && w.Fragment(p, ps[:1]) == 1 {
		return
	}
	ps[0].take(p.Bytes())
	ps[0].Result, p.Result = p.Result, Result{}
}
