package translate

import (
	"encoding/binary"

	"github.com/steppe-nat64/steppe/internal/checksum"
)

// ICMP extensions, RFC 4884. In the types that can carry one, a byte of the
// second word names the length of the quote: byte 5 in ICMPv4 in units of 4
// bytes, byte 4 in ICMPv6 in units of 8. After the quote, padded to at least
// 128 bytes, lies the extension structure; we carry it as it is.

const minPaddedQuote = 128 // RFC 4884 §4

// quoteLen4 is the length of the quote in bytes that an ICMPv4 error names, or 0
// if it names none. All types that are translated can.
func quoteLen4(msg []byte) int { return int(msg[5]) * 4 }

// quoteLen6 is quoteLen4 for an ICMPv6 error.
func quoteLen6(msg []byte) int {
	if extensible6(msg[0]) {
		return int(msg[4]) * 8
	}
	return 0
}

// extensible6 reports whether an ICMPv6 error can carry an extension. Packet Too
// Big and Parameter Problem need the whole second word for themselves.
func extensible6(typ uint8) bool { return typ == icmp6Unreachable || typ == icmp6TimeExceeded }

// message is where an ICMP message lies in a buffer, and its length byte.
type message struct {
	at, end int
	length  int
}

// fit lays out an ICMP error around the quoted data at buf[at:], before
// which a quoted header of inner bytes and an outer header of outer bytes are
// to stand. The packet is kept to limit bytes: a quote without extension is
// cut; with one it is cut to no less than 128 bytes, and if that is not enough
// the extension is left out. It moves the extension and writes the padding, but
// no header. unit is what the length byte counts.
func (e *icmpError) fit(buf []byte, at, inner, outer, limit, unit int) message {
	begin := at - inner
	n := inner + len(e.data()) // length of the quote
	room := limit - outer - lenICMP
	m := message{at: begin - lenICMP}
	if len(e.ext) > 0 {
		padded := max(minPaddedQuote, (n+unit-1)/unit*unit)
		padded = min(padded, (room-len(e.ext))/unit*unit)
		if padded >= minPaddedQuote {
			n = min(n, padded)
			m.end = begin + padded + copy(buf[begin+padded:], e.ext)
			clear(buf[begin+n : begin+padded])
			m.length = padded / unit
			return m
		}
	}
	m.end = begin + min(n, room)
	return m
}

// Interface Information Object for the address of a node, RFC 5837 §4.
const (
	lenStructure  = 4  // extension structure header, RFC 4884 §7
	lenNode       = 24 // object header 4, sub-object header 4, address 16
	classIfInfo   = 2
	nodeCType     = 0x04 // role 0, IP address and nothing else
	roleMask      = 0xc0
	afiIPv6       = 2 // IANA address family numbers
	maxNodeStruct = maxError4 - len4 - lenICMP - minPaddedQuote
)

// addNode returns the extension structure ext with an object that holds the IPv6
// address of the node that sent the error: RFC 6791 §4. It returns ext itself if
// that is no structure that can be read, holds such an object already (RFC 5837
// §4.5), or leaves no room. The result lives in w until the next call.
func (w *Worker) addNode(ext []byte, node addr6) []byte {
	s := w.node[:]
	if len(ext) == 0 {
		binary.BigEndian.PutUint32(s, 2<<28)
		ext = s[:lenStructure]
	} else {
		if !acceptsNode(ext) || len(ext)+lenNode > len(s) {
			return ext
		}
		copy(s, ext)
	}
	n := len(ext)
	o := s[n : n+lenNode]
	binary.BigEndian.PutUint16(o, lenNode)
	o[2], o[3] = classIfInfo, nodeCType
	binary.BigEndian.PutUint32(o[4:], afiIPv6<<16)
	*(*[16]byte)(o[8:]) = node.array()
	s = s[:n+lenNode]
	if n == lenStructure {
		binary.BigEndian.PutUint16(s[2:], ^checksum.Fold(checksum.Sum(s)))
	} else if s[2]|s[3] != 0 { // 0: the sender wanted no checksum
		checksum.Update(s[2:], checksum.Sum(o))
	}
	return s
}

// acceptsNode reports whether ext is a sound extension structure, RFC 4884 §7 and
// §8, without Interface Information Object of role 0.
func acceptsNode(ext []byte) bool {
	if len(ext) <= lenStructure || len(ext)%4 != 0 || ext[0]>>4 != 2 {
		return false
	}
	if ext[2]|ext[3] != 0 && checksum.Fold(checksum.Sum(ext)) != 0xffff {
		return false // a new checksum would hide that it is damaged
	}
	for o := ext[lenStructure:]; len(o) != 0; { // 4 bytes at least, as all lengths are multiples of 4
		n := int(binary.BigEndian.Uint16(o))
		if n == 0 || n%4 != 0 || n > len(o) {
			return false
		}
		if o[2] == classIfInfo && o[3]&roleMask == 0 {
			return false
		}
		o = o[n:]
	}
	return true
}
