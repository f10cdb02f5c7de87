package packettest

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
)

// A Gen makes packets that a translator can nearly always make sense of: the
// addresses are those of a Setup, and what is wrong with a packet is one or two
// small things. Equal seeds make equal packets. A Gen must not be used by
// several goroutines at once.
type Gen struct {
	rng   *rand.Rand
	setup Setup
	odd   bool // whether the packet in work may be malformed
}

// NewGen returns a generator for translators made of s.
func NewGen(seed uint64, s Setup) *Gen {
	return &Gen{rng: rand.New(rand.NewPCG(seed, 0x5eed)), setup: s}
}

// Valid returns a packet of either family with which Check finds nothing wrong.
// That does not mean that it can be translated: its addresses, its type or its
// size may forbid it.
func (g *Gen) Valid() []byte {
	g.odd = false
	if g.one(2) {
		return g.packet4()
	}
	return g.packet6()
}

// Packet returns a packet of either family that may be a little wrong: in about
// every second case it has malformed parts, or one or two mutations.
func (g *Gen) Packet() []byte {
	g.odd = g.one(4)
	var pkt []byte
	if g.one(2) {
		pkt = g.packet4()
	} else {
		pkt = g.packet6()
	}
	if g.one(4) {
		pkt = g.Mutate(pkt)
	}
	if g.one(8) {
		pkt = g.Mutate(pkt)
	}
	return pkt
}

// one is true in one of n cases.
func (g *Gen) one(n int) bool { return g.rng.IntN(n) == 0 }

// strange is one in n, if the packet may be malformed.
func (g *Gen) strange(n int) bool { return g.odd && g.one(n) }

func (g *Gen) byte() uint8 { return uint8(g.rng.Uint32()) }

func pick[T any](g *Gen, from ...T) T { return from[g.rng.IntN(len(from))] }

// bytes returns n random bytes, or n zeros now and then.
func (g *Gen) bytes(n int) []byte {
	b := make([]byte, n)
	if g.one(8) {
		return b
	}
	for i := range b {
		b[i] = g.byte()
	}
	return b
}

// packet4 makes an IPv4 packet for the translator.
func (g *Gen) packet4() []byte {
	src, dst := g.outside4(), g.inside4()
	if g.one(6) {
		src = g.any4()
	}
	if g.one(8) {
		dst = g.any4()
	}
	h := g.header4(src, dst)
	return g.hops(g.fragmented4(h, 0))
}

// packet6 makes an IPv6 packet for the translator.
func (g *Gen) packet6() []byte {
	src, dst := g.inside6(), g.compose(g.outside4())
	if g.one(5) {
		dst = g.compose(g.inside4()) // a hairpin
	}
	if g.one(12) {
		src = g.compose(g.outside4()) // a host numbered from a prefix
	}
	if g.one(6) {
		src = g.any6()
	}
	if g.one(8) {
		dst = g.any6()
	}
	h := g.header6(src, dst)
	return g.hops(IP(h, g.chain(h, g.whole(h, 0))))
}

// hops lets the TTL or hop limit of pkt run out now and then.
func (g *Gen) hops(pkt []byte) []byte {
	if !g.one(12) {
		return pkt
	}
	at := 8
	if pkt[0]>>4 == 6 {
		at = 7
	}
	n := pick(g, uint8(0), 1, 1, 2, 3, 255)
	return Edit(pkt, func(b []byte) { b[at] = n })
}

func (g *Gen) header4(src, dst netip.Addr) Header {
	h := Header{Src: src, Dst: dst, TOS: g.byte(), ID: uint16(g.rng.Uint32()), DF: g.one(2)}
	if g.one(8) {
		h.Options = g.options()
	}
	return h
}

func (g *Gen) header6(src, dst netip.Addr) Header {
	return Header{Src: src, Dst: dst, TOS: g.byte(), FlowLabel: g.rng.Uint32()}
}

// options makes IPv4 options: a list of which one may be a source route, or
// bytes at random.
func (g *Gen) options() []byte {
	if g.strange(2) {
		return g.bytes(4 * (1 + g.rng.IntN(10)))
	}
	var b []byte
	for len(b) < 24 && !g.one(3) {
		typ := pick(g, uint8(1), 1, 7, 68, 131, 137, 148)
		if typ == 1 {
			b = append(b, 1)
			continue
		}
		n := 3 + g.rng.IntN(9)
		b = append(b, typ, uint8(n), uint8(4+g.rng.IntN(10)))
		b = append(b, g.bytes(n-3)...)
	}
	for len(b)%4 != 0 || len(b) == 0 {
		b = append(b, 0)
	}
	return b
}

// chain puts extension headers and a Fragment Header before p, now and
// then, and cuts p if it is to be a fragment.
func (g *Gen) chain(h Header, p Payload) Payload {
	if g.one(5) {
		p = g.fragment6(h, p)
	}
	for g.one(6) {
		switch g.rng.IntN(3) {
		case 0:
			p = HopByHop(8*(1+g.rng.IntN(4)), p)
		case 1:
			p = DestOpts(8*(1+g.rng.IntN(40)), p)
		case 2:
			p = Routing(pick(g, uint8(0), 0, 1, 255), p)
		}
	}
	return p
}

// fragment6 makes p the data of a fragment, atomic in one of three cases.
func (g *Gen) fragment6(h Header, p Payload) Payload {
	id := g.rng.Uint32()
	if g.one(3) {
		return Fragment(id, 0, false, p)
	}
	proto, data := p(h.Src, h.Dst)
	off8, more, n := g.piece(len(data))
	if n == 0 && !g.odd || proto == 58 && !g.one(4) {
		return p // fragmented ICMP is never translated: not too much of it
	}
	return Fragment(id, off8, more, Part(p, 0, n))
}

// piece chooses offset, M and length of a fragment out of size bytes.
func (g *Gen) piece(size int) (off8 uint16, more bool, n int) {
	more, n = g.one(2), size
	if !g.one(3) {
		off8 = uint16(pick(g, 1, 1, 2, 185, g.rng.IntN(8192), 8191))
	}
	more = more || off8 == 0
	if more && !g.strange(3) {
		n &^= 7
	}
	if int(off8)*8+n > 65535 && !g.odd {
		off8 = 100
	}
	return off8, more, n
}

// size chooses how many bytes of data a packet has, headers taking over.
func (g *Gen) size(over int) int {
	if g.one(200) {
		return 9000 + g.rng.IntN(50000)
	}
	if !g.one(4) {
		return g.rng.IntN(80)
	}
	around := pick(g, 68, 128, 552, 576, 1260, 1280, 1400, 1480, 1500)
	return max(0, around-over-40+g.rng.IntN(60))
}

// whole makes an upper-layer packet. depth counts the quotes around it.
func (g *Gen) whole(h Header, depth int) Payload {
	sport, dport := uint16(g.rng.Uint32()), uint16(g.rng.Uint32())
	n := g.size(28)
	if depth > 0 {
		n = min(n, 2000)
	}
	data := g.bytes(n)
	switch k := g.rng.IntN(20); {
	case k < 4:
		return UDP(sport, dport, data)
	case k < 5:
		return g.syn(sport, dport)
	case k < 7:
		return TCP(sport, dport, data)
	case k < 8:
		if h.Src.Is6() && !g.odd {
			return UDP(sport, dport, data)
		}
		return UDPNoSum(sport, dport, data)
	case k < 9:
		return DCCP(sport, dport, data)
	case k < 10:
		return UDPLite(sport, dport, pick(g, uint16(0), 8), data)
	case k < 12:
		return pick(g, EchoRequest, EchoReply)(sport, dport, data)
	case k < 18 && depth == 0, k < 13:
		return g.icmpError(h, depth)
	case k < 19 && !g.strange(2):
		return Raw(pick(g, uint8(4), 41, 47, 50, 51, 59, 89, 132, 135, 253), data)
	case g.odd:
		return Raw(g.byte(), data)
	}
	return ICMP(g.queryType(h), g.byte()&3, g.rng.Uint32(), data)
}

// syn makes a SYN with options of which any may be an MSS, at even and odd places.
func (g *Gen) syn(sport, dport uint16) Payload {
	var b []byte
	for len(b) < 32 && !g.one(4) {
		switch g.rng.IntN(4) {
		case 0:
			b = append(b, 1)
		case 1:
			n := 2 + g.rng.IntN(5)
			b = append(b, pick(g, uint8(2), 3, 4, 8, 34), uint8(n))
			b = append(b, g.bytes(n-2)...)
		default:
			b = append(b, MSS(pick(g, uint16(g.rng.Uint32()), 0, 536, 1220, 1440, 1460, 8960, 65535))...)
		}
	}
	if g.strange(2) && len(b) > 0 {
		b[g.rng.IntN(len(b))] = g.byte()
	}
	return SYN(sport, dport, b)
}

// queryType is an ICMP type that is no error.
func (g *Gen) queryType(h Header) uint8 {
	if h.Src.Is4() {
		return pick(g, uint8(0), 8, 9, 10, 13, 14, 17, 42, 200)
	}
	return 128 | g.byte()
}

// icmpError makes an ICMP error about a packet that the destination of h sent.
func (g *Gen) icmpError(h Header, depth int) Payload {
	quote := g.quote(h, depth)
	typ, code := pick(g, uint8(3), 3, 3, 11, 11, 12, 4, 5), g.byte()&15
	if h.Src.Is6() {
		typ, code = pick(g, uint8(1), 1, 2, 2, 3, 3, 4, 100), pick(g, uint8(0), 0, 1, 2, 3, 4, 5)
	}
	word := g.word(h, typ, &code)
	if !g.one(3) || (h.Src.Is6() && typ != 1 && typ != 3) || (h.Src.Is4() && typ != 3 && typ != 11 && typ != 12) {
		return ICMP(typ, code, word, quote)
	}
	quote = quote[:min(len(quote), 1016)]
	p := ExtendedError(typ, code, word, quote, g.extension())
	if !g.strange(3) {
		return p
	}
	return func(src, dst netip.Addr) (uint8, []byte) { // the length lies
		_, b := p(src, dst)
		at := 5
		if src.Is6() {
			at = 4
		}
		b[at] = pick(g, 0, b[at]-1, b[at]+1, g.byte()&63, 255)
		return ICMP(typ, code, binary.BigEndian.Uint32(b[4:]), b[8:])(src, dst)
	}
}

// word makes the second word of an ICMP error without the RFC 4884 length, and
// may change the code to one that has such a word.
func (g *Gen) word(h Header, typ uint8, code *uint8) uint32 {
	garbage := g.rng.Uint32()
	if h.Src.Is4() {
		garbage &^= 0x00ff0000
		switch {
		case typ == 12:
			*code = pick(g, uint8(0), 0, 2, 1)
			return uint32(pick(g, g.byte()&31, g.byte()))<<24 | garbage&0xffff
		case typ == 3 && g.one(3):
			*code = 4
			return uint32(pick(g, 0, 0, 68, 576, 1260, 1261, 1400, 1480, 1500, 9000, g.rng.IntN(65536))) | garbage&0xff000000
		}
		return garbage & pick(g, uint32(0), 0xffffffff)
	}
	switch typ {
	case 2:
		return pick(g, uint32(0), 87, 88, 95, 96, 1280, 1400, 1500, 9000, 66936, garbage)
	case 4:
		return pick(g, garbage&63, garbage&63, garbage&0x1ff, garbage)
	}
	return garbage & pick(g, uint32(0), 0x00ffffff)
}

// extension makes an RFC 4884 extension: nearly always a structure.
func (g *Gen) extension() []byte {
	if g.strange(4) {
		return g.bytes(g.rng.IntN(40))
	}
	var objects [][]byte
	for len(objects) == 0 || g.one(2) {
		switch g.rng.IntN(5) {
		case 0:
			objects = append(objects, Object(2, g.byte()&0xcf, g.bytes(4*g.rng.IntN(6)))) // RFC 5837
		case 1:
			objects = append(objects, Object(g.byte(), g.byte(), g.bytes(4*g.rng.IntN(300))))
		default:
			objects = append(objects, Object(1, 1, g.bytes(4)))
		}
	}
	ext := Extension(objects...)
	switch {
	case g.one(6):
		ext[2], ext[3] = 0, 0 // no checksum
	case g.strange(4):
		ext[g.rng.IntN(len(ext))] ^= 1 << g.rng.IntN(8)
	}
	return ext
}

// quote makes a packet that the destination of h sent, or nearly, cut anywhere
// after its fixed header.
func (g *Gen) quote(h Header, depth int) []byte {
	var q Header
	if h.Src.Is4() {
		q = g.header4(h.Dst, pick(g, h.Src, g.outside4(), g.outside4(), g.inside4()))
		if g.one(12) {
			q.Src = g.any4()
		}
		if g.one(12) {
			q.Dst = g.any4()
		}
	} else {
		q = g.header6(h.Dst, pick(g, h.Src, g.inside6(), g.inside6(), g.compose(g.inside4())))
		if g.one(12) {
			q.Src = g.any6()
		}
		if g.one(12) {
			q.Dst = g.any6()
		}
	}
	q.TTL = g.byte()
	var pkt []byte
	if h.Src.Is4() {
		pkt = g.fragmented4(q, depth+1)
	} else {
		pkt = IP(q, g.chain(q, g.whole(q, depth+1)))
	}
	least := 40
	if h.Src.Is4() {
		least = 20 + len(q.Options)
	}
	switch {
	case g.strange(4):
		pkt = pkt[:g.rng.IntN(len(pkt)+1)]
	case g.one(4):
		pkt = pkt[:least+g.rng.IntN(len(pkt)-least+1)]
	case g.one(4):
		pkt = pkt[:min(len(pkt), least+pick(g, 8, 16, 20, 28))]
	case g.one(8):
		pkt = append(slices.Clip(pkt), g.bytes(g.rng.IntN(64))...) // padding
	}
	if g.strange(4) && len(pkt) > 0 {
		pkt = Edit(pkt, func(b []byte) { b[g.rng.IntN(min(len(b), 48))] = g.byte() })
	}
	return pkt
}

// fragmented4 makes an IPv4 packet that may be a fragment.
func (g *Gen) fragmented4(h Header, depth int) []byte {
	p := g.whole(h, depth)
	if !g.one(6) {
		return IP(h, p)
	}
	proto, data := p(h.Src, h.Dst)
	off8, more, n := g.piece(len(data))
	if n == 0 && !g.odd || proto == 1 && !g.one(4) {
		return IP(h, p)
	}
	h.Off8, h.MF = off8, more
	return IP(h, Part(p, 0, n))
}
