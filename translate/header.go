package translate

import (
	"encoding/binary"

	"github.com/steppe-nat64/steppe/internal/checksum"
)

// Protocol and next header numbers.
const (
	protoHopByHop = 0
	protoICMPv4   = 1
	protoIGMP     = 2
	protoTCP      = 6
	protoUDP      = 17
	protoDCCP     = 33
	protoRouting  = 43
	protoFragment = 44
	protoAH       = 51
	protoICMPv6   = 58
	protoDestOpts = 60
	protoMobility = 135
	protoUDPLite  = 136
	protoHIP      = 139
	protoShim6    = 140
)

// Lengths of fixed headers.
const (
	len4    = 20
	len6    = 40
	lenFrag = 8
	lenICMP = 8
)

// hdr4 views the fixed IPv4 header, RFC 791 §3.1.
type hdr4 [len4]byte

func (v *hdr4) len() int         { return int(v[0]&15) * 4 }
func (v *hdr4) totalLen() int    { return int(binary.BigEndian.Uint16(v[2:])) }
func (v *hdr4) fragWord() uint16 { return binary.BigEndian.Uint16(v[6:]) }
func (v *hdr4) src() addr4       { return addr4(binary.BigEndian.Uint32(v[12:])) }
func (v *hdr4) dst() addr4       { return addr4(binary.BigEndian.Uint32(v[16:])) }

// header returns what put4 takes from a header.
func (v *hdr4) header() header {
	return header{tos: v[1], ttl: v[8], proto: v[9], id: uint32(binary.BigEndian.Uint16(v[4:]))}
}

// Bits of the IPv4 fragment word. Below them are 13 bits of offset.
const (
	flagDF = 0x4000
	flagMF = 0x2000
)

// hdr6 views the fixed IPv6 header, RFC 8200 §3.
type hdr6 [len6]byte

func (v *hdr6) trafficClass() uint8 { return v[0]<<4 | v[1]>>4 }
func (v *hdr6) payloadLen() int     { return int(binary.BigEndian.Uint16(v[4:])) }

// src and dst read eight bytes at a time: an array of sixteen would go by the stack.
func (v *hdr6) src() addr6 {
	return addr6{binary.BigEndian.Uint64(v[8:]), binary.BigEndian.Uint64(v[16:])}
}
func (v *hdr6) dst() addr6 {
	return addr6{binary.BigEndian.Uint64(v[24:]), binary.BigEndian.Uint64(v[32:])}
}

// header is what an IP header says in either family, addresses aside. Outer
// and quoted packets are read into it, and written from it.
type header struct {
	tos, ttl, proto uint8

	frag    bool // real fragment: offset or M/MF is not 0
	more    bool // M/MF
	df      bool // IPv4 only
	fh      bool // IPv4: same as frag; IPv6: there is a Fragment Header, maybe an atomic one
	partial bool // the checksum covers the pseudo-header only: Offload
	inner   bool // so does one deeper inside

	off8 uint16 // fragment offset in units of 8 bytes
	id   uint32 // identification

	hdrLen  int // bytes before the data: header, options, extension headers
	dataLen int // bytes of data that the header names; a quote may hold fewer

	l4Len int32 // of a super-packet: length of its transport header
	gso   int32 // of a super-packet: payload of each segment; 0 for others

	nextOff int32 // IPv6: where the byte that names proto lies
	routing int32 // IPv6: where the first Routing header with segments left begins, or 0

	label uint32 // what an IPv6 header gets as flow label
	ports ports  // what the transport header gets
	mss   uint16 // largest MSS that a SYN keeps; 0 for any, and in quotes
}

// read4 reads the IPv4 header at the beginning of b into h, which must be zero: a whole
// struct assigned at once would cost more than all the rest. It checks what
// concerns the header alone; the data may be cut short.
func (h *header) read4(b []byte) Reason {
	if len(b) < len4 || b[0]>>4 != 4 {
		return BadHeader
	}
	v := (*hdr4)(b)
	n, total := v.len(), v.totalLen()
	if n < len4 || n > len(b) || total < n {
		return BadHeader
	}
	w := v.fragWord()
	h.tos, h.ttl, h.proto = v[1], v[8], v[9]
	h.hdrLen, h.dataLen = n, total-n
	h.df = w&flagDF != 0
	h.id = uint32(binary.BigEndian.Uint16(v[4:]))
	if w&(flagMF|0x1fff) != 0 {
		h.frag, h.fh, h.more, h.off8 = true, true, w&flagMF != 0, w&0x1fff
	}
	return pass
}

// headerSum4 returns the folded sum of an IPv4 header of n bytes, which is
// 0xffff if its checksum is right.
func headerSum4(b []byte, n int) uint16 {
	v := (*hdr4)(b)
	s := checksum.Sum8(v[0:8]) + checksum.Sum8(v[8:16]) + uint64(binary.BigEndian.Uint32(v[16:]))
	if n > len4 {
		s += checksum.Sum(b[len4:n])
	}
	return checksum.Fold(s)
}

// badFragment reports whether a fragment cannot be part of any packet: a length
// that is no multiple of 8 although more follow, or an end beyond the largest
// packet (RFC 8200 §4.5, RFC 791 §3.1).
func (h *header) badFragment() bool {
	return h.more && (h.dataLen == 0 || h.dataLen%8 != 0) ||
		int(h.off8)*8+h.dataLen > maxLen
}

// read6 reads the IPv6 header at the beginning of b into h, which must be zero, and walks
// its extension headers, RFC 7915 §5.1. b may end before the payload does, but not
// inside the chain.
func (h *header) read6(b []byte) Reason {
	if len(b) < len6 || b[0]>>4 != 6 {
		return BadHeader
	}
	v := (*hdr6)(b)
	end := len6 + v.payloadLen()
	h.tos, h.ttl, h.proto = v.trafficClass(), v[7], v[6]
	h.hdrLen, h.dataLen, h.nextOff = len6, end-len6, 6
	switch h.proto {
	case protoTCP, protoUDP, protoICMPv6:
		return pass
	}
	return h.walk6(b, end)
}

// walk6 steps over Hop-by-Hop, Routing and Destination Options headers, in any
// number and order, and over one Fragment Header after them. Every step moves
// at least 8 bytes forward, so the walk is bounded by the packet.
func (h *header) walk6(b []byte, end int) Reason {
	have := min(len(b), end)
	at := len6
	for {
		switch h.proto {
		case protoHopByHop, protoDestOpts, protoRouting:
			if have < at+8 {
				return BadExtensionHeader
			}
			n := (int(b[at+1]) + 1) * 8
			if have < at+n {
				return BadExtensionHeader
			}
			if h.proto == protoRouting && b[at+3] != 0 && h.routing == 0 {
				h.routing = int32(at)
			}
			h.proto, h.nextOff = b[at], int32(at)
			at += n
			continue
		case protoFragment:
			if have < at+lenFrag {
				return BadExtensionHeader
			}
			w := binary.BigEndian.Uint16(b[at+2:])
			h.fh, h.more, h.off8 = true, w&1 != 0, w>>3
			h.frag = h.more || h.off8 != 0
			h.id = binary.BigEndian.Uint32(b[at+4:])
			h.proto, h.nextOff = b[at], int32(at)
			at += lenFrag
			if isExtension(h.proto) {
				return FragmentChain
			}
		}
		h.hdrLen, h.dataLen = at, end-at
		return pass
	}
}

// leadsElsewhere reports whether the extension headers of an IPv6 packet, which may
// follow a Fragment Header, lead to a protocol that is not ICMPv6. Every step moves at
// least 8 bytes forward.
func leadsElsewhere(b []byte) bool {
	next, at := b[6], len6
	for isExtension(next) {
		if len(b) < at+8 {
			return false
		}
		n := 8 + int(b[at+1])*8
		switch next {
		case protoFragment:
			n = lenFrag
		case protoAH:
			n = (int(b[at+1]) + 2) * 4 // RFC 4302 §2.2
		}
		next, at = b[at], at+n
	}
	return next != protoICMPv6 && at < len(b)
}

// isExtension reports whether proto is an IPv6 extension header that must not
// follow a Fragment Header into IPv4: RFC 7915 §5.1.1. ESP may.
func isExtension(proto uint8) bool {
	switch proto {
	case protoHopByHop, protoRouting, protoFragment, protoAH, protoDestOpts,
		protoMobility, protoHIP, protoShim6:
		return true
	}
	return false
}

// put4 writes an IPv4 header without options into b: what h says, with length bytes of
// data and word as the flags and fragment offset.
func (h *header) put4(b []byte, length int, word uint16, src, dst addr4) {
	v := (*hdr4)(b)
	total, id := len4+length, uint16(h.id)
	v[0], v[1] = 0x45, h.tos
	binary.BigEndian.PutUint16(v[2:], uint16(total))
	binary.BigEndian.PutUint16(v[4:], id)
	binary.BigEndian.PutUint16(v[6:], word)
	v[8], v[9] = h.ttl, h.proto
	s := 0x4500 + uint64(h.tos) + uint64(total) + uint64(id) + uint64(word) +
		uint64(h.ttl)<<8 + uint64(h.proto) + src.sum() + dst.sum()
	binary.BigEndian.PutUint16(v[10:], ^checksum.Fold(s))
	binary.BigEndian.PutUint32(v[12:], uint32(src))
	binary.BigEndian.PutUint32(v[16:], uint32(dst))
}

// put6 writes an IPv6 header into b: what h says, with next as Next Header and length
// as Payload Length.
func (h *header) put6(b []byte, next uint8, length int, src, dst addr6) {
	v := (*hdr6)(b)
	binary.BigEndian.PutUint32(v[0:], 6<<28|uint32(h.tos)<<20|h.label)
	binary.BigEndian.PutUint16(v[4:], uint16(length))
	v[6], v[7] = next, h.ttl
	binary.BigEndian.PutUint64(v[8:], src.hi)
	binary.BigEndian.PutUint64(v[16:], src.lo)
	binary.BigEndian.PutUint64(v[24:], dst.hi)
	binary.BigEndian.PutUint64(v[32:], dst.lo)
}

// putFrag writes a Fragment Header into b: RFC 8200 §4.5. Reserved bits are 0.
func putFrag(b []byte, next uint8, off8 uint16, more bool, id uint32) {
	v := (*[lenFrag]byte)(b)
	v[0], v[1] = next, 0
	w := off8 << 3
	if more {
		w |= 1
	}
	binary.BigEndian.PutUint16(v[2:], w)
	binary.BigEndian.PutUint32(v[4:], id)
}
