package translate

import (
	"encoding/binary"

	"github.com/steppe-nat64/steppe/internal/checksum"
)

// Super-packets: a kernel that is asked for it hands over TCP and UDP packets of
// up to 64 KiB that it has not cut into segments yet, with a checksum that covers
// the pseudo-header only. Such a packet is translated as one. What its Offload
// says about the headers is moved along; it is cut only where no header would be
// right for all segments.

// maxUDPSegments is how many datagrams the kernel makes of one packet at most
// (UDP_MAX_SEGMENTS).
const maxUDPSegments = 128

// readOffload reads what o says about the packet with the given data. A
// description that contradicts the packet is refused, since the kernel would cut
// or checksum the wrong bytes by it. tcp is the family's GSO type.
func (h *header) readOffload(o *Offload, data []byte, tcp uint8) Reason {
	gso := o.GSOType &^ GSOECN
	if o.Flags&OffloadNeedsCsum == 0 {
		if gso != GSONone {
			return BadOffload
		}
		return pass
	}
	if h.frag {
		return BadOffload // the checksum covers what is not here
	}
	if h.proto != protoTCP && h.proto != protoUDP || int(o.CsumStart) != h.hdrLen {
		return h.readInner(o, data)
	}
	if int(o.CsumOffset) != checksumOffset(h.proto) || len(data) < minTransport(h.proto) {
		return BadOffload
	}
	h.partial = true
	switch {
	case gso == GSONone:
		return pass
	case o.GSOSize == 0 || h.fh:
		return BadOffload
	case gso == tcp && h.proto == protoTCP:
		h.l4Len = int32(data[12]>>4) * 4
		if int(h.l4Len) < minTransport(protoTCP) || int(h.l4Len) > len(data) {
			return BadOffload
		}
	case gso == GSOUDPL4 && h.proto == protoUDP:
		h.l4Len = int32(minTransport(protoUDP))
		if len(data)-int(h.l4Len) > int(o.GSOSize)*maxUDPSegments {
			return BadOffload
		}
	default:
		return BadOffload
	}
	h.gso = int32(o.GSOSize)
	return pass
}

// readInner is readOffload for a checksum that is not that of the outer TCP or UDP
// header, but of a header inside a tunnel: VXLAN, GENEVE, GRE, IP in IP. Linux 6.17
// began to offer checksum offload for encapsulated packets on TUN devices. It keeps
// a tunnel's super-packets for itself, as long as no program asks for them by
// TUN_F_UDP_TUNNEL_GSO: one that comes all the same is refused. The checksum has to
// begin after the outer transport header; of DCCP and UDP-Lite it may be the outer
// one.
func (h *header) readInner(o *Offload, data []byte) Reason {
	start, field := int(o.CsumStart)-h.hdrLen, int(o.CsumOffset)
	isOuter := start == 0 && (h.proto == protoDCCP || h.proto == protoUDPLite) && field == checksumOffset(h.proto)
	if o.GSOType&^GSOECN != GSONone || start < minTransport(h.proto) && !isOuter || start+field+2 > len(data) {
		return BadOffload
	}
	h.inner = true
	return pass
}

// completed translates a packet whose unfinished checksum readInner has found, as
// the plain packet that it is with that checksum. Everything that sums or quotes the
// data comes afterwards. If the packet is dropped, it is again what it was. covered
// is what the checksum covers.
func (w *Worker) completed(p *Packet, covered []byte) (res Result) {
	o := p.Offload
	field := (*[2]byte)(covered[o.CsumOffset:])
	old := *field
	// The field holds the sum of a pseudo-header. Linux writes 0xffff for 0 whatever
	// the protocol (skb_checksum_help).
	c := ^checksum.Fold(checksum.Sum(covered))
	if c == 0 {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(field[:], c)
	p.Offload = Offload{}
	if p.Buf[p.Off]>>4 == 4 {
		res = w.v4to6(p)
	} else {
		res = w.v6to4(p)
	}
	if res.Verdict == Drop {
		*field, p.Offload = old, o
	}
	return res
}

// wireLen is the length of the data of the largest packet that goes on the wire.
func (h *header) wireLen() int {
	if h.gso == 0 {
		return h.dataLen
	}
	return min(h.dataLen, int(h.l4Len+h.gso))
}

// segments is how many packets go on the wire.
func (h *header) segments() int {
	if h.gso == 0 {
		return 1
	}
	return max(1, (h.dataLen-int(h.l4Len)+int(h.gso)-1)/int(h.gso))
}

// offload describes the packet that h becomes after an IP header of hdrLen
// bytes. tcp is the GSO type of the new family.
func (h *header) offload(o *Offload, hdrLen int, tcp uint8) Offload {
	if !h.partial {
		return Offload{}
	}
	n := Offload{
		Flags:      OffloadNeedsCsum,
		CsumStart:  uint16(hdrLen),
		CsumOffset: o.CsumOffset,
	}
	if h.gso != 0 {
		n.GSOType, n.GSOSize, n.HdrLen = GSOUDPL4, o.GSOSize, uint16(hdrLen+int(h.l4Len))
		if h.proto == protoTCP {
			n.GSOType = tcp | o.GSOType&GSOECN
		}
	}
	return n
}

// settle turns a packet with offloads into the plain packet that would have been
// the first on the wire, so that an ICMP error can quote it.
func (h *header) settle(p *Packet) {
	p.Offload = Offload{}
	if !h.partial {
		return
	}
	b := p.Bytes()
	data := b[h.hdrLen:][:h.dataLen]
	n := h.wireLen()
	pseudo := uint64(binary.BigEndian.Uint16(data[checksumOffset(h.proto):])) + checksum.Minus(uint64(h.dataLen)) + uint64(n)
	if h.gso != 0 {
		segmentHeader(data[:h.l4Len], h.proto, n-int(h.l4Len), n == h.dataLen)
	}
	finishChecksum(data[:n], nil, h.proto, pseudo)
	h.dataLen = n
	if b[0]>>4 == 4 {
		binary.BigEndian.PutUint16(b[2:], uint16(h.hdrLen+n))
		b[10], b[11] = 0, 0
		binary.BigEndian.PutUint16(b[10:], ^headerSum4(b, h.hdrLen))
	} else {
		binary.BigEndian.PutUint16(b[4:], uint16(h.hdrLen-len6+n))
	}
}
