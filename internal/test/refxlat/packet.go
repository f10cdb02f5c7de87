package refxlat

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/steppe-nat64/steppe/translate"
)

// Protocol and Next Header numbers.
const (
	hopByHop  = 0
	icmp4     = 1
	tcp       = 6
	udp       = 17
	dccp      = 33
	routing   = 43
	fragHdr   = 44
	ah        = 51
	icmp6     = 58
	destOpts  = 60
	mobility  = 135
	udpLite   = 136
	hip       = 139
	shim6     = 140
	maxPacket = 65535
)

// extensions are the IPv6 extension headers but for ESP.
var extensions = []uint8{hopByHop, routing, fragHdr, ah, destOpts, mobility, hip, shim6}

// packet is an IP packet taken apart. One that an ICMP error quotes is usually
// cut short: then data is shorter than length.
type packet struct {
	src, dst netip.Addr
	tos, ttl uint8 // or Traffic Class, hop limit
	proto    uint8 // numbered as the family of src numbers it
	id       uint32
	off8     int // fragment offset in units of 8 bytes
	more     bool
	df       bool
	hasFrag  bool   // IPv6: there is a Fragment Header, perhaps an atomic one
	options  []byte // IPv4
	size     int    // of the whole packet, as the header says
	length   int    // of what follows the headers that translation removes, as the header says
	data     []byte // of that, the bytes that are here
	raw      []byte // all of it, as it came

	protoAt   int // IPv6: offset of the byte that holds proto
	routingAt int // IPv6: offset of the first Routing header with segments left; 0 if none
}

func (p packet) fragment() bool { return p.more || p.off8 != 0 }

func (p packet) is4() bool { return p.src.Is4() }

// read4 takes an IPv4 packet apart. ok is false if the header is not all here
// or contradicts itself.
func read4(b []byte) (p packet, ok bool) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return p, false
	}
	header, word := int(b[0]&15)*4, binary.BigEndian.Uint16(b[6:])
	p = packet{
		src: netip.AddrFrom4([4]byte(b[12:])), dst: netip.AddrFrom4([4]byte(b[16:])),
		tos: b[1], ttl: b[8], proto: b[9],
		id: uint32(binary.BigEndian.Uint16(b[4:])), off8: int(word & 0x1fff),
		more: word&0x2000 != 0, df: word&0x4000 != 0,
		size: int(binary.BigEndian.Uint16(b[2:])), raw: b,
	}
	if header < 20 || header > len(b) || p.size < header {
		return p, false
	}
	p.options = b[20:header]
	p.length = p.size - header
	p.data = b[header:min(p.size, len(b))]
	return p, true
}

// read6 takes the fixed IPv6 header off. ok is false if it is not all here.
func read6(b []byte) (p packet, ok bool) {
	if len(b) < 40 || b[0]>>4 != 6 {
		return p, false
	}
	p = packet{
		src: netip.AddrFrom16([16]byte(b[8:])), dst: netip.AddrFrom16([16]byte(b[24:])),
		tos: b[0]<<4 | b[1]>>4, ttl: b[7], proto: b[6], protoAt: 6,
		length: int(binary.BigEndian.Uint16(b[4:])), raw: b,
	}
	p.size = 40 + p.length
	p.data = b[40:min(p.size, len(b))]
	return p, true
}

// walk takes the extension headers off a packet from read6: RFC 7915 §5.1,
// §5.1.1. All of them have to be here.
func (p *packet) walk() error {
	at := 40
	skip := func(n int) {
		p.proto, p.protoAt = p.data[0], at
		at, p.data, p.length = at+n, p.data[n:], p.length-n
	}
	for p.proto == hopByHop || p.proto == routing || p.proto == destOpts {
		if len(p.data) < 8 || len(p.data) < (int(p.data[1])+1)*8 {
			return prohibit(*p, translate.BadExtensionHeader)
		}
		if p.proto == routing && p.data[3] != 0 && p.routingAt == 0 {
			p.routingAt = at
		}
		skip((int(p.data[1]) + 1) * 8)
	}
	if p.proto != fragHdr {
		return nil
	}
	if len(p.data) < 8 {
		return prohibit(*p, translate.BadExtensionHeader)
	}
	word := binary.BigEndian.Uint16(p.data[2:])
	p.hasFrag, p.off8, p.more = true, int(word>>3), word&1 != 0
	p.id = binary.BigEndian.Uint32(p.data[4:])
	skip(8)
	if slices.Contains(extensions, p.proto) {
		return prohibit(*p, translate.FragmentChain)
	}
	return nil
}

// checkFragment refuses fragments that cannot be part of a packet: RFC 8200
// §4.5.
func (p packet) checkFragment() error {
	if p.more && (p.length == 0 || p.length%8 != 0) || p.fragment() && p.off8*8+p.length > maxPacket {
		return prohibit(p, translate.BadFragment)
	}
	return nil
}

// checkTransport refuses transport headers that are cut short: RFC 1858, RFC
// 3128, and UDP-Lite without the checksum that RFC 3828 §3.1 demands.
func (p packet) checkTransport() error {
	if p.proto == tcp && p.off8 == 1 {
		return prohibit(p, translate.TinyFragment)
	}
	if p.off8 != 0 {
		return nil
	}
	least := map[uint8]int{tcp: 20, udp: 8, dccp: 12, udpLite: 8}[p.proto]
	if len(p.data) < least && p.more {
		return prohibit(p, translate.TinyFragment)
	}
	if len(p.data) < least {
		return prohibit(p, translate.ShortTransport)
	}
	if p.proto == udpLite && p.data[6] == 0 && p.data[7] == 0 {
		return prohibit(p, translate.UDPZeroChecksum)
	}
	return nil
}

// udpWithoutChecksum reports whether p shows a UDP header with a checksum of 0.
func (p packet) udpWithoutChecksum() bool {
	return p.proto == udp && p.off8 == 0 && p.data[6] == 0 && p.data[7] == 0
}

// checkUDPZero refuses UDP without a checksum where IPv6 would have to carry it:
// RFC 7915 §4.5. dst is its IPv4 destination.
func (x *Xlat) checkUDPZero(p packet, dst netip.Addr) error {
	if !p.udpWithoutChecksum() {
		return nil
	}
	switch x.udpZero(dst) {
	case translate.UDPZeroForward:
		return nil
	case translate.UDPZeroCompute:
		if p.more {
			return prohibit(p, translate.UDPZeroChecksum)
		}
		if n := int(binary.BigEndian.Uint16(p.data[4:])); n < 8 || n > len(p.data) {
			return prohibit(p, translate.ShortTransport)
		}
		return nil
	}
	return prohibit(p, translate.UDPZeroChecksum)
}

// udpZero is what becomes of UDP without a checksum for dst. If hosts share that, it gets one
// where it would be rejected: RFC 6146 §3.4.
func (x *Xlat) udpZero(dst netip.Addr) translate.UDPZero {
	if x.cfg.UDPZero == translate.UDPZeroDrop && x.shares(dst) {
		return translate.UDPZeroCompute
	}
	return x.cfg.UDPZero
}

// turn6 gives p an IPv6 header: RFC 7915 §4.1. The data is copied; its
// checksum is the caller's business, and so is the hop limit.
func (x *Xlat) turn6(p packet, src, dst netip.Addr) packet {
	q := p
	q.src, q.dst, q.data = src, dst, slices.Clone(p.data)
	q.tos = treat(x.cfg.TOS4to6, p.tos)
	if p.proto == icmp4 {
		q.proto = icmp6
	}
	q.hasFrag = p.fragment()
	return q
}

// turn4 gives p an IPv4 header: RFC 7915 §5.1. An Identification that is to be
// generated is 0.
func (x *Xlat) turn4(p packet, src, dst netip.Addr) packet {
	q := p
	q.src, q.dst, q.data = src, dst, slices.Clone(p.data)
	q.tos = treat(x.cfg.TOS6to4, p.tos)
	if p.proto == icmp6 {
		q.proto = icmp4
	}
	q.size = 20 + p.length
	if p.hasFrag {
		q.id, q.df = p.id&0xffff, false
	} else {
		q.id, q.df = 0, q.size > 1260
	}
	return q
}

func treat(t translate.TOS, tos uint8) uint8 {
	if t.Override {
		return t.Value
	}
	return tos
}

// write4 writes p with an IPv4 header without options. p may be cut short.
func write4(p packet) []byte {
	word := uint16(p.off8)
	if p.df {
		word |= 0x4000
	}
	if p.more {
		word |= 0x2000
	}
	b := []byte{0x45, p.tos}
	b = binary.BigEndian.AppendUint16(b, uint16(20+p.length))
	b = binary.BigEndian.AppendUint16(b, uint16(p.id))
	b = binary.BigEndian.AppendUint16(b, word)
	b = append(b, p.ttl, p.proto, 0, 0)
	b = append(b, p.src.AsSlice()...)
	b = append(b, p.dst.AsSlice()...)
	binary.BigEndian.PutUint16(b[10:], ^sum(b))
	return append(b, p.data...)
}

// write6 writes p with an IPv6 header, and a Fragment Header if it is a
// fragment. p may be cut short.
func write6(p packet) []byte {
	length, next := p.length, p.proto
	var frag []byte
	if p.fragment() {
		word := uint16(p.off8) << 3
		if p.more {
			word |= 1
		}
		frag = []byte{p.proto, 0}
		frag = binary.BigEndian.AppendUint16(frag, word)
		frag = binary.BigEndian.AppendUint32(frag, p.id)
		length, next = length+8, fragHdr
	}
	b := binary.BigEndian.AppendUint32(nil, 6<<28|uint32(p.tos)<<20)
	b = binary.BigEndian.AppendUint16(b, uint16(length))
	b = append(b, next, p.ttl)
	b = append(b, p.src.AsSlice()...)
	b = append(b, p.dst.AsSlice()...)
	b = append(b, frag...)
	return append(b, p.data...)
}

func write(p packet) []byte {
	if p.is4() {
		return write4(p)
	}
	return write6(p)
}

// cut writes p as fragments with at most room bytes of data each, all but the
// last with a multiple of 8, and the last with no more than last. p may be a
// fragment itself: RFC 7915 §4.1.
func cut(p packet, room, last int) [][]byte {
	var out [][]byte
	for at := 0; at < len(p.data); {
		n := len(p.data) - at
		if n > last {
			n = room / 8 * 8
		}
		q := p
		q.df = false
		q.off8 = p.off8 + at/8
		q.more = p.more || at+n < len(p.data)
		q.data = p.data[at : at+n]
		q.length = n
		out = append(out, write(q))
		at += n
	}
	return out
}
