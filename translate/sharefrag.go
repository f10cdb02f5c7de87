package translate

// Fragments of hosts that share an address: RFC 6146 §3.4. Sessions are asked about the
// first, which has the ports. It says where the others go.

// fragKey4 names the packet of an IPv4 fragment.
func fragKey4(h *header, src, dst addr4) fragKey {
	return fragKey{addr6{lo: uint64(src)}, addr6{lo: uint64(dst)}, h.id, h.proto, fragFrom4}
}

// fragKeyOut names the packet of a fragment that a host has sent.
func fragKeyOut(h *header, src addr6, dst4 addr4, pref64 uint8) fragKey {
	return fragKey{src, addr6{uint64(pref64), uint64(dst4)}, h.id, h.proto, fragFrom6}
}

// laterOutbound is outbound for a fragment that is not the first.
func (w *Worker) laterOutbound(h *header, src addr6, dst4 addr4, pref64 uint8) (src4 addr4, why Reason) {
	w.frag, w.fragWhole = fragKeyOut(h, src, dst4, pref64), false
	to, why := w.s.deferred.frags.later(w, &w.frag, h)
	h.ports = ports{set: true, pref64: pref64}
	return addr4(to.addr.lo), why
}

// firstOutbound takes what outbound says about the first fragment in w.tuple6: pass, and
// the shared address in w.tuple4, or why it has none.
func (w *Worker) firstOutbound(h *header, why Reason) Reason {
	f := &w.tuple6
	w.frag = fragKeyOut(h, addr6{f.Host.Hi, f.Host.Lo}, addr4(f.Remote), f.Pref64)
	to := fragMap{addr6{lo: uint64(w.tuple4.Local)}, f.Pref64}
	return w.s.deferred.frags.first(w, &w.frag, h, to, why)
}

// waits reports whether Sessions cannot be asked about a fragment to a shared address. It
// sets w.frag.
func (w *Worker) waits(h *header, data []byte, src, dst addr4, was6 *addresses) bool {
	w.frag = fragKey4(h, src, dst)
	if was6 != nil {
		w.frag = fragKey{was6.src6, was6.dst6, h.id, h.proto, fragHairpin}
	}
	w.fragWhole = h.hasNoChecksum(data) && w.s.cfg.UDPZero != UDPZeroForward
	return w.fragWhole || h.off8 != 0
}

// laterInbound is inbound for the fragment of w.frag, which is not the first, or the first of
// a packet that is reassembled.
func (w *Worker) laterInbound(h *header) (dst6 addr6, why Reason) {
	if w.fragWhole {
		return dst6, Waiting
	}
	to, why := w.s.deferred.frags.later(w, &w.frag, h)
	h.ports = ports{set: true, pref64: to.pref64}
	return to.addr, why
}

// firstInbound takes what inbound says about the first fragment of w.frag.
func (w *Worker) firstInbound(h *header, dst6 addr6, why Reason) Reason {
	return w.s.deferred.frags.first(w, &w.frag, h, fragMap{dst6, h.ports.pref64}, why)
}

// udpZero is what happens to UDP without checksum for dst. If hosts share that, it gets one
// where the configuration says that it is rejected: RFC 6146 §3.4.
func (w *Worker) udpZero(dst addr4) UDPZero {
	mode := w.s.cfg.UDPZero
	if mode == UDPZeroDrop && w.s.tab.sessions != nil && w.s.tab.shares4(dst) {
		return UDPZeroCompute
	}
	return mode
}

// drain drops what a worker would emit. The next ones get new packets.
func (w *Worker) drain() {
	for w.ready.has {
		x := w.s.deferred.frags
		x.mu.Lock()
		e := fragEntry{pieces: w.ready.next(x)}
		x.dropStored(w, &e, FragmentTimeout)
		x.mu.Unlock()
	}
}
