package translate

import "encoding/binary"

// Fragment splits a packet with the verdict Split into packets that fit. It fills more
// from the beginning, in the order in which the pieces are to be sent, and returns how
// many it filled; p keeps the rest. When the rest fits, p itself is the last piece and
// its verdict is Forward. Until then, call Fragment again with free buffers:
//
//	for p.Result.Verdict == translate.Split {
//		n := w.Fragment(p, more)
//		send(more[:n])
//	}
//	send(p)
//
// Buf of each packet in more must hold Headroom bytes and a packet as large as
// the next hop takes, which is MTU4 or MTU6, and for super-packets more must be at
// least MaxPieces long; Fragment panics if they are shorter. It sets their windows.
// Any worker of the same Translator may continue with a packet. A packet with another
// verdict is not split, nor is one that fits because the MTU has grown since. With no
// buffers, a plain packet that does not fit is unchanged. Fragment allocates nothing.
func (w *Worker) Fragment(p *Packet, more []Packet) int {
	n := 0
	if p.Result.Verdict == Split && p.Offload.GSOType != GSONone {
		n = w.segment(p, more)
		if p.Offload.GSOType != GSONone {
			return n
		}
	}
	if p.Result.Verdict == Split { // the last segment may fit, and the MTU may have grown
		w.unfragment(p)
		w.passIfFits(p)
	}
	for n < len(more) && p.Result.Verdict == Split {
		if p.Buf[p.Off]>>4 == 6 {
			w.cut6(p, &more[n])
		} else {
			w.cut4(p, &more[n])
		}
		w.passIfFits(p)
		n++
	}
	return n
}

// limit is how large a packet like b may be: of IPv6, if it may be cut.
func (w *Worker) limit(b []byte) int {
	if b[0]>>4 == 6 {
		return w.s.cut6
	}
	return w.s.mtu4
}

// passIfFits makes the verdict on a packet that has to be cut Forward once what is
// left of it fits.
func (w *Worker) passIfFits(p *Packet) {
	if b := p.Bytes(); len(b) <= w.limit(b) {
		p.Result.Verdict = Forward
	}
}

// unfragment takes the Fragment Header off an IPv6 packet that is whole and fits
// without: RFC 8021.
func (w *Worker) unfragment(p *Packet) {
	b := p.Bytes()
	if b[0]>>4 != 6 || len(b)-lenFrag > w.s.cut6 || binary.BigEndian.Uint16(b[len6+2:]) != 0 {
		return
	}
	b[6] = b[len6] // next header
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-len6-lenFrag))
	copy(b[lenFrag:], b[:len6])
	p.window(p.Off+lenFrag, p.Len-lenFrag)
}

// cut6 moves the first piece of an IPv6 packet with Fragment Header to q: RFC
// 7915 §4.1.
func (w *Worker) cut6(p, q *Packet) {
	const hdrLen = len6 + lenFrag
	n := (w.s.cut6 - hdrLen) &^ 7
	b := p.Bytes()
	q.take(b[:hdrLen+n])
	c := q.Bytes()
	binary.BigEndian.PutUint16(c[4:], uint16(lenFrag+n))
	c[len6+3] |= 1 // M

	var hdr [hdrLen]byte
	copy(hdr[:], b)
	off := binary.BigEndian.Uint16(hdr[len6+2:]) + uint16(n) // in bytes, but for the low three bits
	binary.BigEndian.PutUint16(hdr[len6+2:], off)
	binary.BigEndian.PutUint16(hdr[4:], uint16(len(b)-len6-n))
	copy(b[n:], hdr[:])
	p.window(p.Off+n, p.Len-n)
}

// cut4 moves the first piece of an IPv4 packet to q: RFC 791 §3.2.
func (w *Worker) cut4(p, q *Packet) {
	n := (w.s.mtu4 - len4) &^ 7
	b := p.Bytes()
	v := (*hdr4)(b)
	h, src, dst := v.header(), v.src(), v.dst()
	frag := v.fragWord()
	q.take(b[:len4+n])
	h.put4(q.Bytes(), n, frag|flagMF, src, dst)

	p.window(p.Off+n, p.Len-n)
	h.put4(p.Bytes(), p.Len-len4, frag+uint16(n/8), src, dst)
}

// take makes q a copy of b.
func (q *Packet) take(b []byte) {
	q.Off, q.Offload, q.Result = Headroom, Offload{}, Result{Forward, Translated}
	q.Len = copy(q.Buf[Headroom:Headroom+len(b)], b)
}
