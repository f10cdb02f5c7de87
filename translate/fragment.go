package translate

import "encoding/binary"

// Fragment cuts a packet that was judged Split into packets that fit. It fills
// more from the front, in the order in which the pieces are to be sent, and
// returns how many it filled; p keeps what is left. Once the rest fits, p itself
// is the last piece and its verdict is Forward; until then call Fragment again
// with buffers that are free:
//
//	for p.Result.Verdict == translate.Split {
//		n := w.Fragment(p, more)
//		send(more[:n])
//	}
//	send(p)
//
// Buf of each packet in more must hold Headroom octets and a packet as large as
// the next hop takes, and for super-packets more must be at least MaxPieces long;
// Fragment panics if they are shorter. Of a packet that was not judged Split
// nothing is cut. It allocates nothing.
func (w *Worker) Fragment(p *Packet, more []Packet) int {
	n := 0
	if p.Result.Verdict == Split && p.Offload.GSOType != GSONone {
		n = w.segment(p, more)
		if p.Offload.GSOType != GSONone {
			return n
		}
	}
	for n < len(more) && p.Result.Verdict == Split {
		if p.Buf[p.Off]>>4 == 6 {
			w.cut6(p, &more[n])
		} else {
			w.cut4(p, &more[n])
		}
		n++
	}
	return n
}

// cut6 moves the first piece of an IPv6 packet with Fragment Header to q: RFC
// 7915 §4.1.
func (w *Worker) cut6(p, q *Packet) {
	const hdrLen = len6 + lenFrag
	limit := w.s.cut6
	n := (limit - hdrLen) &^ 7
	b := p.Bytes()
	q.take(b[:hdrLen+n])
	c := q.Bytes()
	binary.BigEndian.PutUint16(c[4:], uint16(lenFrag+n))
	c[len6+3] |= 1 // M

	var hdr [hdrLen]byte
	copy(hdr[:], b)
	off := binary.BigEndian.Uint16(hdr[len6+2:]) + uint16(n) // in octets, but for the low three bits
	binary.BigEndian.PutUint16(hdr[len6+2:], off)
	binary.BigEndian.PutUint16(hdr[4:], uint16(len(b)-len6-n))
	copy(b[n:], hdr[:])
	p.window(p.Off+n, p.Len-n)
	if p.Len <= limit {
		p.Result.Verdict = Forward
	}
}

// cut4 moves the first piece of an IPv4 packet to q: RFC 791 §3.2.
func (w *Worker) cut4(p, q *Packet) {
	limit := w.s.mtu4
	n := (limit - len4) &^ 7
	b := p.Bytes()
	v := (*hdr4)(b)
	tos, id, ttl, proto, src, dst := v[1], binary.BigEndian.Uint16(v[4:]), v[8], v[9], v.src(), v.dst()
	frag := v.fragWord()
	q.take(b[:len4+n])
	put4(q.Bytes(), tos, n, id, frag|flagMF, ttl, proto, src, dst)

	p.window(p.Off+n, p.Len-n)
	put4(p.Bytes(), tos, p.Len-len4, id, frag+uint16(n/8), ttl, proto, src, dst)
	if p.Len <= limit {
		p.Result.Verdict = Forward
	}
}

// take makes q a copy of b.
func (q *Packet) take(b []byte) {
	q.Off, q.Offload, q.Result = Headroom, Offload{}, Result{Forward, Translated}
	q.Len = copy(q.Buf[Headroom:Headroom+len(b)], b)
}
