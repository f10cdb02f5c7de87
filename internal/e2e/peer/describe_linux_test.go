package peer

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
)

// n6 is the host of M6 where that would lie inside the prefix.
var n6 = netip.MustParseAddr("2001:db9:6::6")

// names stand for the addresses of the trials.
var names = map[netip.Addr]string{
	pt.H4: "H4", pt.H4in6: "H4in6", pt.M4: "M4", pt.M6: "M6",
	pt.R4: "R4", pt.R4in6: "R4in6", pt.R6: "R6", pt.X4: "X4", pt.X6: "X6", n6: "N6",
}

func name(a netip.Addr) string {
	if n, ok := names[a]; ok {
		return n
	}
	return a.String()
}

// describeAll says in a line what packets are, "nothing" if there are none.
func describeAll(pkts [][]byte) string {
	if len(pkts) == 0 {
		return "nothing"
	}
	var all []string
	for _, b := range pkts {
		s := describe(b)
		if pt.Check(b) != nil {
			s += " WRONG"
		}
		all = append(all, s)
	}
	return strings.Join(all, " | ")
}

// describe says what a packet is: addresses, what its headers say if it is out
// of the ordinary, its transport protocol, and the number of its bytes. Packets
// quoted in ICMP errors follow in parentheses.
func describe(b []byte) string {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		return describe4(b)
	case len(b) >= 40 && b[0]>>4 == 6:
		return describe6(b)
	}
	return fmt.Sprintf("%x", b)
}

func describe4(b []byte) string {
	src, dst := netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	s := name(src) + ">" + name(dst)
	if b[1] != 0 {
		s += fmt.Sprintf(" tos=%#x", b[1])
	}
	if b[8] != 63 {
		s += fmt.Sprintf(" ttl=%d", b[8])
	}
	word := binary.BigEndian.Uint16(b[6:])
	if word&0x4000 != 0 {
		s += " DF"
	}
	first := word&0x1fff == 0
	switch {
	case word&0x3fff != 0:
		s += fragment(word<<3, word&0x2000 != 0)
	case b[4] != 0 || b[5] != 0:
		s += " id"
	}
	n := int(b[0]&15) * 4
	if n > 20 {
		s += " options"
	}
	if n > len(b) {
		return s + " cut"
	}
	return s + describePayload(b[9], b[n:], first) + trailing(len(b), binary.BigEndian.Uint16(b[2:]))
}

func describe6(b []byte) string {
	src, dst := netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	s := name(src) + ">" + name(dst)
	if class := b[0]<<4 | b[1]>>4; class != 0 {
		s += fmt.Sprintf(" tos=%#x", class)
	}
	if label := binary.BigEndian.Uint32(b) & 0xfffff; label != 0 {
		s += fmt.Sprintf(" label=%#x", label)
	}
	if b[7] != 63 {
		s += fmt.Sprintf(" ttl=%d", b[7])
	}
	proto, data, first := b[6], b[40:], true
	if proto == 44 && len(data) >= 8 {
		word := binary.BigEndian.Uint16(data[2:])
		s += fragment(word&^7, word&1 != 0)
		proto, data, first = data[0], data[8:], word>>3 == 0
	}
	return s + describePayload(proto, data, first) + trailing(len(b), 40+binary.BigEndian.Uint16(b[4:]))
}

func fragment(off uint16, more bool) string {
	s := fmt.Sprintf(" frag=%d", off)
	if more {
		s += "+"
	}
	return s
}

// trailing describes the length of a packet, and that in its header if it is
// another one.
func trailing(n int, said uint16) string {
	if n == int(said) {
		return fmt.Sprintf(" %d", n)
	}
	return fmt.Sprintf(" %d of %d", n, said)
}

// describePayload names the protocol of what follows an IP header.
func describePayload(proto uint8, data []byte, first bool) string {
	if !first {
		return fmt.Sprintf(" proto=%d", proto)
	}
	switch {
	case proto == 17 && len(data) >= 8:
		if data[6] == 0 && data[7] == 0 {
			return " udp sum=0"
		}
		return " udp"
	case proto == 6:
		return " tcp"
	case (proto == 1 || proto == 58) && len(data) >= 8:
		return describeICMP(proto, data)
	}
	return fmt.Sprintf(" proto=%d", proto)
}

// describeICMP names an ICMP message. word is the second one of the header.
func describeICMP(proto uint8, data []byte) string {
	typ, code, word := data[0], data[1], binary.BigEndian.Uint32(data[4:])
	s := fmt.Sprintf(" icmp=%d/%d", typ, code)
	extension, unit := int(data[5]), 4
	extensible := typ == 3 || typ == 11 || typ == 12 // RFC 4884 §4
	isError := extensible || typ == 4 || typ == 5
	if proto == 58 {
		s = fmt.Sprintf(" icmp6=%d/%d", typ, code)
		extension, unit = int(data[4]), 8
		extensible, isError = typ == 1 || typ == 3, typ < 128
	}
	if !isError {
		return s
	}
	quote := data[8:]
	if n := extension * unit; extensible && n > 0 && n < len(quote) {
		return s + fmt.Sprintf(" (%s) extension=%d", describe(quote[:n]), len(quote)-n)
	}
	if proto == 1 && typ == 12 {
		word >>= 24 // the pointer
	}
	if word != 0 {
		s += fmt.Sprintf(" %d", word)
	}
	return s + " (" + describe(quote) + ")"
}

// mask returns a copy of a packet without what the two programs never agree on:
// see the differences dontFragment, identification and precedence. An IPv4 header whose checksum
// is wrong is not touched.
func mask(b []byte) []byte {
	if len(b) < 20 || b[0]>>4 != 4 || pt.Sum(b[:20]) != 0xffff {
		return b
	}
	isError := b[9] == 1 && len(b) >= 48 && (b[20] == 3 || b[20] == 11 || b[20] == 12) && pt.Check(b) == nil
	return pt.Edit(b, func(b []byte) {
		unidentify(b)
		if !isError {
			return
		}
		if netip.AddrFrom4([4]byte(b[12:])) == pt.X4 {
			b[1] = 0
		}
		unidentify(b[28:])
		pt.FixHeader(b[28:])
		b[22], b[23] = 0, 0
		binary.BigEndian.PutUint16(b[22:], ^pt.Sum(b[20:]))
	})
}

// unidentify clears identification and DF of a packet that is not a fragment.
func unidentify(b []byte) {
	if binary.BigEndian.Uint16(b[6:])&0x3fff == 0 {
		b[4], b[5], b[6] = 0, 0, 0
	}
}
