package main

import (
	"encoding/binary"
	"fmt"
)

// A linkType says what lies in front of an IP packet: LINKTYPE_ numbers of
// tcpdump.org.
type linkType uint16

const (
	linkNull     linkType = 0
	linkEthernet linkType = 1
	linkRawBSD   linkType = 12 // what some systems write for linkRaw
	linkRawOpen  linkType = 14 // and OpenBSD
	linkRaw      linkType = 101
	linkLoop     linkType = 108
	linkSLL      linkType = 113
	linkIPv4     linkType = 228
	linkIPv6     linkType = 229
	linkSLL2     linkType = 276
)

// Where the EtherType of a link type lies, and where its header ends.
var links = map[linkType]struct{ typ, end int }{
	linkNull:     {-1, 4},
	linkEthernet: {12, 14},
	linkRawBSD:   {-1, 0},
	linkRawOpen:  {-1, 0},
	linkRaw:      {-1, 0},
	linkLoop:     {-1, 4},
	linkSLL:      {14, 16},
	linkIPv4:     {-1, 0},
	linkIPv6:     {-1, 0},
	linkSLL2:     {0, 20},
}

// check reports whether packets of this link type can be read.
func (l linkType) check() error {
	if _, ok := links[l]; !ok {
		return fmt.Errorf("link type %d not supported: Ethernet, Linux cooked (SLL, SLL2), null, loop and raw IP are", l)
	}
	return nil
}

const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
)

// vlan tells the EtherTypes of tags: IEEE 802.1Q, 802.1ad and what came before it.
func vlan(typ uint16) bool { return typ == 0x8100 || typ == 0x88a8 || typ == 0x9100 }

// ip returns the IP packet in a frame, which may have octets behind it that are
// not its own. It reports false if there is none. l must be supported.
func (l linkType) ip(b []byte) ([]byte, bool) {
	at := links[l]
	if len(b) <= at.end {
		return nil, false
	}
	if at.typ >= 0 {
		typ, rest := binary.BigEndian.Uint16(b[at.typ:]), b[at.end:]
		for vlan(typ) && len(rest) > 4 {
			typ, rest = binary.BigEndian.Uint16(rest[2:]), rest[4:]
		}
		return rest, typ == etherIPv4 || typ == etherIPv6
	}
	// Null and loop name an address family, which for IPv6 is another number on
	// each system, and in either byte order. The version says the same.
	b = b[at.end:]
	return b, b[0]>>4 == 4 || b[0]>>4 == 6
}
