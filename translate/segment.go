package translate

import (
	"encoding/binary"
	"fmt"

	"github.com/steppe-nat64/steppe/internal/checksum"
)

// MaxPieces is how many packets Fragment may need at once for a super-packet:
// the pieces of one of its segments. For others it gets by with one.
const MaxPieces = 64

// TCP flags, RFC 9293 §3.1, that do not go into every segment.
const (
	tcpFIN = 0x01
	tcpPSH = 0x08
	tcpCWR = 0x80
)

// segmentHeader makes the transport header of a super-packet that of its first
// segment, with n bytes of payload. The checksum is left alone.
func segmentHeader(hdr []byte, proto uint8, n int, last bool) {
	if proto == protoUDP {
		binary.BigEndian.PutUint16(hdr[4:], uint16(len(hdr)+n))
	} else if !last {
		hdr[13] &^= tcpFIN | tcpPSH
	}
}

// segment is Fragment for a super-packet: it takes one segment after the other
// off p and cuts it. What is left of p is a shorter super-packet, and in the end
// a plain one.
func (w *Worker) segment(p *Packet, more []Packet) int {
	filled := 0
	for p.Offload.GSOType != GSONone {
		var (
			b       = p.Bytes()
			o       = &p.Offload
			ipLen   = int(o.CsumStart)
			data    = b[ipLen:]
			l4Len   = int(o.HdrLen) - ipLen
			n       = min(int(o.GSOSize), len(data)-l4Len) // payload of the first segment
			isLast  = n == len(data)-l4Len
			field   = data[o.CsumOffset:][:2]
			rest    = len(data) - n
			proto   = uint8(protoTCP)
			partial = uint64(binary.BigEndian.Uint16(field))
		)
		if o.GSOType == GSOUDPL4 {
			proto = protoUDP
		}
		// The transport header of this segment and its pseudo-header's sum.
		var l4 [60]byte
		hdr := l4[:copy(l4[:l4Len], data)]
		segmentHeader(hdr, proto, n, isLast)
		finishChecksum(hdr, data[l4Len:l4Len+n], proto, partial+checksum.Minus(uint64(len(data)))+uint64(l4Len+n))
		if isLast {
			copy(data, hdr)
			p.Offload = Offload{}
			return filled
		}
		used := w.emit(b[:ipLen], hdr, data[l4Len:l4Len+n], more[filled:])
		if used == 0 {
			if filled == 0 {
				panic(fmt.Sprintf("translate: %d packets are too few for the pieces of a segment", len(more)))
			}
			return filled
		}
		if used == 1 {
			w.unfragment(&more[filled]) // the MTU has grown
		}
		filled += used

		// Move the headers after the segment that is gone.
		binary.BigEndian.PutUint16(field, checksum.Fold(partial+checksum.Minus(uint64(n))))
		if proto == protoTCP {
			binary.BigEndian.PutUint32(data[4:], binary.BigEndian.Uint32(data[4:])+uint32(n))
			data[13] &^= tcpCWR // announced once: RFC 3168 §6.1.2
			o.GSOType &^= GSOECN
		}
		nextPacket(b[:ipLen], rest)
		copy(b[n:], b[:ipLen+l4Len])
		p.window(p.Off+n, p.Len-n)
	}
	return filled
}

// nextPacket makes an IP header that of the next segment, with n bytes of data:
// an identification of its own.
func nextPacket(hdr []byte, n int) {
	if hdr[0]>>4 == 6 {
		binary.BigEndian.PutUint16(hdr[4:], uint16(lenFrag+n))
		id := hdr[len6+6:]
		binary.BigEndian.PutUint16(id, binary.BigEndian.Uint16(id)+1)
		return
	}
	v := (*hdr4)(hdr)
	h := v.header()
	h.id++
	h.put4(hdr, n, v.fragWord(), v.src(), v.dst())
}

// emit cuts the packet that consists of ip, hdr and payload into more and
// returns how many pieces there are, or 0 if more is too short.
func (w *Worker) emit(ip, hdr, payload []byte, more []Packet) int {
	last := w.s.mtu4 - len4 // what the last piece can hold; the others hold multiples of 8
	if ip[0]>>4 == 6 {
		last = w.s.cut6 - len6 - lenFrag
	}
	room := last &^ 7
	length := len(hdr) + len(payload)
	pieces := 1 + (max(0, length-last)+room-1)/room
	if pieces > len(more) {
		return 0
	}
	for i := range pieces {
		q := &more[i]
		q.take(ip)
		from := i * room
		n := room
		if i == pieces-1 {
			n = length - from
		}
		q.Len += n
		to := q.Bytes()[len(ip):]
		if from < len(hdr) {
			k := copy(to, hdr[from:])
			copy(to[k:], payload)
		} else {
			copy(to, payload[from-len(hdr):])
		}
		setPiece(q.Bytes(), n, from/8, i < pieces-1)
	}
	return pieces
}

// setPiece makes an IP header that of a fragment with n bytes of data.
func setPiece(b []byte, n, off8 int, more bool) {
	v := (*hdr4)(b)
	if b[0]>>4 == 4 {
		word := uint16(off8)
		if more {
			word |= flagMF
		}
		h := v.header()
		h.put4(b, n, word, v.src(), v.dst())
		return
	}
	binary.BigEndian.PutUint16(b[4:], uint16(lenFrag+n))
	f := b[len6:]
	putFrag(f, f[0], uint16(off8), more, binary.BigEndian.Uint32(f[4:]))
}
