package main

import (
	"encoding/binary"
	"fmt"
)

// A linkType says what lies before an IP packet: LINKTYPE_ numbers of
// tcpdump.org.
type linkType uint16

const (
	linkNull     linkType = 0
	linkEthernet linkType = 1
	linkPPP      linkType = 9
	linkRawBSD   linkType = 12 // what some systems write for linkRaw
	linkRawOpen  linkType = 14 // and OpenBSD
	linkPPPHDLC  linkType = 50
	linkPPPoE    linkType = 51 // without an Ethernet header
	linkRaw      linkType = 101
	linkHDLC     linkType = 104 // Cisco's
	linkLoop     linkType = 108
	linkEnc      linkType = 109 // of BSD's enc(4)
	linkSLL      linkType = 113
	linkPPPD     linkType = 166
	linkIPv4     linkType = 228
	linkIPv6     linkType = 229
	linkSLL2     linkType = 276
)

// Where the EtherType of a link type lies, and where its header ends. Without one, what
// comes then is the given kind of packet.
var links = map[linkType]struct {
	typ, end int
	kind     uint16
}{
	linkNull:     {typ: -1, end: 4},
	linkEthernet: {typ: 12, end: 14},
	linkPPP:      {typ: -1, kind: etherPPP},
	linkRawBSD:   {typ: -1},
	linkRawOpen:  {typ: -1},
	linkPPPHDLC:  {typ: -1, kind: etherPPP},
	linkPPPoE:    {typ: -1, kind: etherPPPoE},
	linkRaw:      {typ: -1},
	linkHDLC:     {typ: 2, end: 4},
	linkLoop:     {typ: -1, end: 4},
	linkEnc:      {typ: -1, end: 12},
	linkSLL:      {typ: 14, end: 16},
	linkPPPD:     {typ: -1, kind: etherPPP},
	linkIPv4:     {typ: -1},
	linkIPv6:     {typ: -1},
	linkSLL2:     {typ: 0, end: 20},
}

// check reports whether packets of this link type can be read.
func (l linkType) check() error {
	if _, ok := links[l]; !ok {
		return fmt.Errorf("link type %d not supported: Ethernet, Linux cooked (SLL, SLL2), PPP, PPPoE, Cisco HDLC, null, loop, enc and raw IP are", l)
	}
	return nil
}

// EtherTypes. IEEE 802.1Q, 802.1ad and what came before it are tags.
const (
	etherIP    = 0 // either version of IP: none of Ethernet's
	etherIPv4  = 0x0800
	etherCTag  = 0x8100
	etherIPv6  = 0x86dd
	etherMPLS  = 0x8847 // RFC 3032
	etherMPLSm = 0x8848 // RFC 5332
	etherPPPoE = 0x8864 // a session: RFC 2516
	etherSTag  = 0x88a8
	etherPPP   = 0x880b // RFC 1661
	etherQinQ  = 0x9100
	maxLength  = 1500 // an EtherType up to this is a length: IEEE 802.3
)

// ip returns the IP packet in a frame, which may have bytes after it that are not its
// own. It reports false if there is none. l must be supported.
func (l linkType) ip(b []byte) ([]byte, bool) {
	at := links[l]
	if len(b) <= at.end {
		return nil, false
	}
	typ, rest := at.kind, b[at.end:]
	if at.typ >= 0 {
		typ = binary.BigEndian.Uint16(b[at.typ:])
	}
	for ok := true; ok; typ, rest, ok = unwrap(typ, rest) {
		switch typ {
		case etherIP, etherIPv4, etherIPv6:
			// Null and loop name an address family, which for IPv6 is another number on
			// each system, and in either byte order. MPLS names nothing. The version says
			// the same.
			return rest, len(rest) > 0 && (typ != etherIP || rest[0]>>4 == 4 || rest[0]>>4 == 6)
		}
	}
	return nil, false
}

// unwrap takes a header off that lies between that of the link and IP, and returns what
// comes after it, which is shorter.
func unwrap(typ uint16, b []byte) (next uint16, rest []byte, ok bool) {
	switch {
	case typ == etherCTag || typ == etherSTag || typ == etherQinQ:
		if len(b) > 4 {
			return binary.BigEndian.Uint16(b[2:]), b[4:], true
		}
	case typ == etherMPLS || typ == etherMPLSm:
		if len(b) <= 4 {
			return 0, nil, false
		}
		if b[2]&1 != 0 { // the bottom of the stack
			typ = etherIP
		}
		return typ, b[4:], true
	case typ == etherPPPoE:
		if len(b) > 6 && b[0] == 0x11 && b[1] == 0 {
			return etherPPP, b[6:], true
		}
	case typ == etherPPP:
		return unwrapPPP(b)
	case typ <= maxLength && len(b) > 8 && [6]byte(b[:6]) == [6]byte{0xaa, 0xaa, 3}:
		return binary.BigEndian.Uint16(b[6:]), b[8:], true // LLC and SNAP: RFC 1042
	}
	return 0, nil, false
}

// unwrapPPP takes the header of PPP off, in which address, control and the upper byte of
// the protocol may be left out: RFC 1661 §6.5, §6.6, RFC 1662 §3.1.
func unwrapPPP(b []byte) (next uint16, rest []byte, ok bool) {
	if len(b) > 2 && b[0] == 0xff && b[1] == 3 {
		b = b[2:]
	}
	if len(b) > 2 && b[0]&1 == 0 {
		if b[0] != 0 {
			return 0, nil, false
		}
		b = b[1:]
	}
	if len(b) < 2 {
		return 0, nil, false
	}
	switch b[0] {
	case 0x21: // RFC 1332
		return etherIPv4, b[1:], true
	case 0x57: // RFC 5072
		return etherIPv6, b[1:], true
	}
	return 0, nil, false
}
