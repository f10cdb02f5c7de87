package packettest

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// A Payload makes what follows an IP header. It is given the addresses of that
// header, for pseudo-headers and to know the family, and returns the protocol
// or Next Header number and the bytes, which the caller owns.
type Payload func(src, dst netip.Addr) (proto uint8, b []byte)

// Header describes an IP header. Its family is that of Src, and Dst has to be
// of the same. Fields that the family lacks are ignored.
type Header struct {
	Src, Dst netip.Addr
	TOS      uint8 // TOS or Traffic Class
	TTL      uint8 // TTL or hop limit; 0 means 64. Use Edit to send a real 0.

	ID      uint16 // IPv4
	DF, MF  bool   // IPv4
	Off8    uint16 // IPv4: fragment offset in units of 8 bytes
	Options []byte // IPv4: a multiple of 4 bytes, at most 40

	FlowLabel uint32 // IPv6: 20 bits
}

// From4 is the Header of a packet H4 → M4 with DF set, the usual IPv4 input.
func From4() Header { return Header{Src: H4, Dst: M4, DF: true} }

// From6 is the Header of a packet M6 → H4in6, the usual IPv6 input.
func From6() Header { return Header{Src: M6, Dst: H4in6} }

// IP builds a packet with right lengths and checksums.
func IP(h Header, p Payload) []byte {
	proto, data := p(h.Src, h.Dst)
	ttl := h.TTL
	if ttl == 0 {
		ttl = 64
	}
	if h.Src.Is4() {
		b := make([]byte, 20, 20+len(h.Options)+len(data))
		b = append(b, h.Options...)
		b[0] = 0x40 | uint8(len(b)/4)
		b[1] = h.TOS
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)+len(data)))
		binary.BigEndian.PutUint16(b[4:], h.ID)
		word := h.Off8 & 0x1fff
		if h.DF {
			word |= 0x4000
		}
		if h.MF {
			word |= 0x2000
		}
		binary.BigEndian.PutUint16(b[6:], word)
		b[8], b[9] = ttl, proto
		copy(b[12:], h.Src.AsSlice())
		copy(b[16:], h.Dst.AsSlice())
		FixHeader(b)
		return append(b, data...)
	}
	b := make([]byte, 40, 40+len(data))
	binary.BigEndian.PutUint32(b, 6<<28|uint32(h.TOS)<<20|h.FlowLabel&0xfffff)
	binary.BigEndian.PutUint16(b[4:], uint16(len(data)))
	b[6], b[7] = proto, ttl
	copy(b[8:], h.Src.AsSlice())
	copy(b[24:], h.Dst.AsSlice())
	return append(b, data...)
}

// FixHeader writes the header checksum of the IPv4 packet b. Packets of
// another version or cut inside the header are left alone.
func FixHeader(b []byte) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return
	}
	n := int(b[0]&15) * 4
	if n < 20 || n > len(b) {
		return
	}
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], ^Sum(b[:n]))
}

// Edit returns a copy of pkt that edit has changed, with the IPv4 header
// checksum made right again. Transport checksums stay as they are.
func Edit(pkt []byte, edit func(b []byte)) []byte {
	b := slices.Clone(pkt)
	edit(b)
	FixHeader(b)
	return b
}

// Bytes returns n bytes that count up from first, modulo 256.
func Bytes(n int, first byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

// Raw is a payload of any protocol.
func Raw(proto uint8, data []byte) Payload {
	return func(_, _ netip.Addr) (uint8, []byte) { return proto, slices.Clone(data) }
}

// UDP is a datagram with a checksum.
func UDP(sport, dport uint16, data []byte) Payload {
	return udp(17, sport, dport, uint16(8+len(data)), data)
}

// UDPLite is an RFC 3828 datagram; its checksum covers coverage bytes, of
// which 8 is the least, and 0 means all.
func UDPLite(sport, dport, coverage uint16, data []byte) Payload {
	return udp(136, sport, dport, coverage, data)
}

// udp builds UDP and UDP-Lite, which differ in what their third field says.
func udp(proto uint8, sport, dport, field uint16, data []byte) Payload {
	return func(src, dst netip.Addr) (uint8, []byte) {
		b := make([]byte, 8, 8+len(data))
		binary.BigEndian.PutUint16(b, sport)
		binary.BigEndian.PutUint16(b[2:], dport)
		binary.BigEndian.PutUint16(b[4:], field)
		b = append(b, data...)
		covered := b
		if proto == 136 && field != 0 {
			covered = b[:field]
		}
		ck := ^Sum(Pseudo(src, dst, proto, len(b)), covered)
		if ck == 0 {
			ck = 0xffff
		}
		binary.BigEndian.PutUint16(b[6:], ck)
		return proto, b
	}
}

// UDPNoSum is a datagram without a checksum.
func UDPNoSum(sport, dport uint16, data []byte) Payload {
	return func(src, dst netip.Addr) (uint8, []byte) {
		proto, b := UDP(sport, dport, data)(src, dst)
		b[6], b[7] = 0, 0
		return proto, b
	}
}

// Flags of a TCP header.
const (
	FlagFIN = 1 << iota
	FlagSYN
	FlagRST
	FlagPSH
	FlagACK
)

// TCP is a segment with the ACK flag and no options.
func TCP(sport, dport uint16, data []byte) Payload { return Segment(sport, dport, FlagACK, data) }

// Segment is a segment with the given flags and no options.
func Segment(sport, dport uint16, flags uint8, data []byte) Payload {
	return func(src, dst netip.Addr) (uint8, []byte) {
		b := make([]byte, 20, 20+len(data))
		binary.BigEndian.PutUint16(b, sport)
		binary.BigEndian.PutUint16(b[2:], dport)
		binary.BigEndian.PutUint32(b[4:], 1000)
		binary.BigEndian.PutUint32(b[8:], 2000)
		b[12], b[13] = 5<<4, flags
		binary.BigEndian.PutUint16(b[14:], 0xfaf0)
		b = append(b, data...)
		binary.BigEndian.PutUint16(b[16:], ^Sum(Pseudo(src, dst, 6, len(b)), b))
		return 6, b
	}
}

// SYN is a segment with the SYN flag and the given options, padded to a multiple of 4
// bytes; at most 40.
func SYN(sport, dport uint16, options []byte) Payload {
	return func(src, dst netip.Addr) (uint8, []byte) {
		_, b := TCP(sport, dport, append(slices.Clone(options), make([]byte, -len(options)&3)...))(src, dst)
		b[12], b[13] = uint8(len(b)/4)<<4, 0x02
		b[16], b[17] = 0, 0
		binary.BigEndian.PutUint16(b[16:], ^Sum(Pseudo(src, dst, 6, len(b)), b))
		return 6, b
	}
}

// MSS is the TCP option that says which segments a host takes: RFC 9293 §3.7.1.
func MSS(n uint16) []byte { return binary.BigEndian.AppendUint16([]byte{2, 4}, n) }

// DCCP is an RFC 4340 DCCP-Data packet with 24-bit sequence numbers and full
// coverage.
func DCCP(sport, dport uint16, data []byte) Payload {
	return func(src, dst netip.Addr) (uint8, []byte) {
		b := make([]byte, 12, 12+len(data))
		binary.BigEndian.PutUint16(b, sport)
		binary.BigEndian.PutUint16(b[2:], dport)
		b[4], b[8] = 3, 2<<1 // data offset in words; type Data, X = 0
		b = append(b, data...)
		binary.BigEndian.PutUint16(b[6:], ^Sum(Pseudo(src, dst, 33, len(b)), b))
		return 33, b
	}
}

// ICMP is an ICMP message of the addresses' family. word is bytes 4 to 7.
func ICMP(typ, code uint8, word uint32, body []byte) Payload {
	return func(src, dst netip.Addr) (uint8, []byte) {
		b := make([]byte, 8, 8+len(body))
		b[0], b[1] = typ, code
		binary.BigEndian.PutUint32(b[4:], word)
		b = append(b, body...)
		if src.Is4() {
			binary.BigEndian.PutUint16(b[2:], ^Sum(b))
			return 1, b
		}
		binary.BigEndian.PutUint16(b[2:], ^Sum(Pseudo(src, dst, 58, len(b)), b))
		return 58, b
	}
}

// EchoRequest is an Echo Request of the addresses' family.
func EchoRequest(id, seq uint16, data []byte) Payload { return echo(8, 128, id, seq, data) }

// EchoReply is an Echo Reply of the addresses' family.
func EchoReply(id, seq uint16, data []byte) Payload { return echo(0, 129, id, seq, data) }

func echo(typ4, typ6 uint8, id, seq uint16, data []byte) Payload {
	return func(src, dst netip.Addr) (uint8, []byte) {
		typ := typ4
		if src.Is6() {
			typ = typ6
		}
		return ICMP(typ, 0, uint32(id)<<16|uint32(seq), data)(src, dst)
	}
}

// ExtendedError is an ICMP error with an RFC 4884 extension: the quote is padded
// to 128 bytes and to the unit of the family, its length goes into word at the
// place of the family, and ext follows. quote is at most 1020 bytes long.
func ExtendedError(typ, code uint8, word uint32, quote, ext []byte) Payload {
	return func(src, dst netip.Addr) (uint8, []byte) {
		unit, shift := 4, 16
		if src.Is6() {
			unit, shift = 8, 24
		}
		body := slices.Clone(quote)
		for len(body) < 128 || len(body)%unit != 0 {
			body = append(body, 0)
		}
		word := word | uint32(len(body)/unit)<<shift
		return ICMP(typ, code, word, append(body, ext...))(src, dst)
	}
}

// Extension is an RFC 4884 extension structure with a right checksum.
func Extension(objects ...[]byte) []byte {
	b := []byte{0x20, 0, 0, 0}
	for _, o := range objects {
		b = append(b, o...)
	}
	binary.BigEndian.PutUint16(b[2:], ^Sum(b))
	return b
}

// Object is an object of an extension structure. RFC 4884 §8 wants payload to
// be a multiple of 4 bytes.
func Object(class, ctype uint8, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(4+len(payload)))
	return append(append(b, class, ctype), payload...)
}

// MPLS is the extension of the golden packets: one label stack entry.
func MPLS() []byte { return Extension(Object(1, 1, []byte{0, 1, 1, 1})) }

// HopByHop puts a Hop-by-Hop Options header of n bytes, a multiple of 8 up to
// 2048, before p.
func HopByHop(n int, p Payload) Payload { return extend(0, padding(n), p) }

// DestOpts puts a Destination Options header of n bytes before p.
func DestOpts(n int, p Payload) Payload { return extend(60, padding(n), p) }

// Routing puts a Routing header of type 0 with one address before p, 24
// bytes long.
func Routing(segmentsLeft uint8, p Payload) Payload {
	b := make([]byte, 24)
	b[1], b[3] = 2, segmentsLeft
	copy(b[8:], R6.AsSlice())
	return extend(43, b, p)
}

// Fragment puts a Fragment Header before p. off8 counts units of 8 bytes.
func Fragment(id uint32, off8 uint16, more bool, p Payload) Payload {
	b := make([]byte, 8)
	word := off8 << 3
	if more {
		word |= 1
	}
	binary.BigEndian.PutUint16(b[2:], word)
	binary.BigEndian.PutUint32(b[4:], id)
	return extend(44, b, p)
}

// extend puts an extension header with the given number before p.
func extend(number uint8, header []byte, p Payload) Payload {
	return func(src, dst netip.Addr) (uint8, []byte) {
		proto, data := p(src, dst)
		b := append(slices.Clone(header), data...)
		b[0] = proto
		return number, b
	}
}

// padding is an options header of n bytes that holds nothing but padding.
func padding(n int) []byte {
	b := make([]byte, n)
	b[1] = uint8(n/8 - 1)
	for i, rest := 2, n-2; rest > 0; {
		k := min(rest, 257) // PadN says two less than it takes, in one byte
		if k == rest-1 {
			k--
		}
		b[i], b[i+1] = 1, uint8(k-2)
		i, rest = i+k, rest-k
	}
	return b
}

// Part is the bytes from to until to of p, for fragments by hand: the
// checksum is that of the whole. to may lie after the end.
func Part(p Payload, from, to int) Payload {
	return func(src, dst netip.Addr) (uint8, []byte) {
		proto, data := p(src, dst)
		return proto, data[from:min(to, len(data))]
	}
}
