package translate

// store keeps a copy of a fragment, p, that cannot be translated yet: of the packet k, which
// is whole if it is to be reassembled. It returns Waiting, or why the fragment is dropped.
// If it was the last of a whole packet, that is w's to emit.
func (x *fragments) store(w *Worker, k *fragKey, h *header, p *Packet, whole bool) Reason {
	x.mu.Lock()
	defer x.mu.Unlock()
	i := x.find(w, k)
	if i >= 0 && x.entries[i].list != fragWaiting {
		e := &x.entries[i]
		switch {
		case e.list == fragDone && h.off8 == 0:
			x.end(w, i, pass) // of an earlier packet
			i = -1
		case e.why != pass:
			return e.why
		case whole:
			return x.poison(w, i, FragmentOverlap)
		default: // the first has come to another worker just now
			j := x.put(w, i, h, p)
			if j < 0 {
				return FragmentRoom
			}
			w.ready.add(x, j)
			return Waiting
		}
	}
	if i < 0 {
		if i = x.begin(w, k, fragWaiting); i < 0 {
			return FragmentRoom
		}
	}
	x.entries[i].whole = x.entries[i].whole || whole
	why := x.place(w, i, h, p)
	if why == Waiting && x.complete(&x.entries[i]) {
		return x.release(w, i)
	}
	return why
}

// place stores a fragment among the others of its packet. A fragment that is there already
// is dropped; one that overlaps others makes an end of all: RFC 5722.
func (x *fragments) place(w *Worker, i int32, h *header, p *Packet) Reason {
	e := &x.entries[i]
	off, end := int32(h.off8)*8, int32(h.off8)*8+int32(h.dataLen)
	at, last := &e.pieces, false
	for *at >= 0 && x.blocks[*at].off < off {
		b := &x.blocks[*at]
		if b.endOff() > off {
			return x.poison(w, i, FragmentOverlap)
		}
		last, at = !b.more, &b.piece
	}
	if *at >= 0 {
		switch b := &x.blocks[*at]; {
		case b.off == off && b.endOff() == end && b.more == h.more:
			return FragmentOverlap
		case b.off < end, b.off == off, !h.more:
			return x.poison(w, i, FragmentOverlap)
		}
	}
	switch {
	case last:
		return x.poison(w, i, FragmentOverlap)
	case e.count == maxFragments:
		return FragmentRoom
	}
	j := x.put(w, i, h, p)
	if j < 0 {
		return FragmentRoom
	}
	x.blocks[j].piece, *at = *at, j
	e.count++
	e.bytes += int32(h.dataLen)
	if !h.more {
		e.end = end
	}
	return Waiting
}

// put copies a fragment into free blocks, and returns the first of them, or -1: if the
// source has too many, or all belong to others that are not older. The
// oldest packets make room.
func (x *fragments) put(w *Worker, i int32, h *header, p *Packet) int32 {
	source := x.entries[i].source
	n := int32((p.Len + blockSize - 1) / blockSize)
	if source.uses(&x.blocksOf)+n > x.maxBlocks {
		return -1
	}
	for x.nFree < n {
		oldest := x.lists[fragWaiting].head
		if oldest < 0 || oldest == i {
			return -1
		}
		x.end(w, oldest, FragmentRoom)
	}
	source.use(&x.blocksOf, n)
	x.nFree -= n
	first, last := x.free, int32(-1)
	for b := p.Bytes(); len(b) > 0; {
		last = x.free
		x.free = x.blocks[last].next
		b = b[copy(x.data[int(last)*blockSize:][:blockSize], b):]
	}
	x.blocks[last].next = -1
	e := &x.entries[i]
	b := &x.blocks[first]
	*b = block{
		next: b.next, piece: -1, ready: -1, source: e.source, kind: e.key.kind, more: h.more,
		size: int32(p.Len), hdrLen: int32(h.hdrLen), off: int32(h.off8) * 8, dataLen: int32(h.dataLen),
	}
	return first
}

// complete reports whether all fragments of a packet that is reassembled have come.
func (x *fragments) complete(e *fragEntry) bool {
	return e.whole && e.end != 0 && e.bytes == e.end
}

// release gives w a packet that is complete.
func (x *fragments) release(w *Worker, i int32) Reason {
	e := &x.entries[i]
	first := &x.blocks[e.pieces]
	if length := first.hdrLen + e.end; length > maxLen && first.kind == fragFrom4 || length > len6+maxLen {
		x.poison(w, i, BadFragment) // and so the last is counted with the others
		return Waiting
	}
	first.whole = true
	w.ready.add(x, e.pieces)
	e.pieces = -1
	x.end(w, i, pass)
	return Waiting
}

// dropStored drops what is stored of a packet.
func (x *fragments) dropStored(w *Worker, e *fragEntry, why Reason) {
	for e.pieces >= 0 {
		i := e.pieces
		b := &x.blocks[i]
		e.pieces = b.piece
		w.counts.add(b.kind.direction(), drop(why), int(b.size))
		x.freeBlocks(i)
	}
	e.count, e.bytes, e.end = 0, 0, 0
}

// freeBlocks frees the blocks of a fragment.
func (x *fragments) freeBlocks(i int32) {
	source := x.blocks[i].source
	for i >= 0 {
		next := x.blocks[i].next
		x.blocks[i].next = x.free
		x.free = i
		x.nFree++
		source.use(&x.blocksOf, -1)
		i = next
	}
}

// read copies bytes of a fragment, from the one at off on, to b.
func (x *fragments) read(b []byte, i int32, off int) {
	for len(b) > 0 {
		if off < blockSize {
			b = b[copy(b, x.data[int(i)*blockSize+off:(int(i)+1)*blockSize]):]
			off = blockSize
		}
		off -= blockSize
		i = x.blocks[i].next
	}
}
