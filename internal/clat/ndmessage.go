package clat

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/steppe-nat64/steppe/internal/checksum"
)

// A mac is a link-layer address of Ethernet and links that look like it.
type mac [6]byte

const (
	ipv6Header     = 40
	ndHeader       = 24 // of a solicitation or advertisement, with the target: RFC 4861 §4.3, §4.4
	ndHops         = 255
	protocolICMPv6 = 58

	neighbourSolicitation  = 135
	neighbourAdvertisement = 136

	optionSource = 1  // Source Link-Layer Address
	optionTarget = 2  // Target Link-Layer Address
	optionNonce  = 14 // RFC 3971 §5.3.2

	flagSolicited = 0x40
	flagOverride  = 0x20

	// maxMessage limits which messages are read. A larger one is malformed: RFC 4861
	// defines two options of at most 24 bytes for them.
	maxMessage = 2048
)

var (
	allNodes    = netip.MustParseAddr("ff02::1")
	unspecified = netip.IPv6Unspecified()
)

// An ndMessage is a neighbour solicitation or advertisement, with its addresses.
type ndMessage struct {
	advertisement bool
	src, dst      netip.Addr
	target        netip.Addr
	solicited     bool // of an advertisement
	override      bool

	link     mac // Source Link-Layer Address of a solicitation, Target Link-Layer Address of an advertisement
	hasLink  bool
	nonce    [6]byte // of a solicitation; zero if it has another length
	hasNonce bool
}

var errMessage = errors.New("clat: not a valid neighbour solicitation or advertisement")

// parseND reads a packet from its IPv6 header on. The error says that a node has to discard
// it: RFC 4861 §7.1. It keeps nothing of b.
func parseND(b []byte) (ndMessage, error) {
	if len(b) < ipv6Header+ndHeader || b[0]>>4 != 6 || b[6] != protocolICMPv6 || b[7] != ndHops {
		return ndMessage{}, errMessage
	}
	// A short frame may be padded after the packet.
	end := ipv6Header + int(binary.BigEndian.Uint16(b[4:]))
	if end < ipv6Header+ndHeader || end > len(b) {
		return ndMessage{}, errMessage
	}
	b = b[:end]
	icmp := b[ipv6Header:]
	advertisement := icmp[0] == neighbourAdvertisement
	m := ndMessage{
		advertisement: advertisement,
		src:           netip.AddrFrom16([16]byte(b[8:24])),
		dst:           netip.AddrFrom16([16]byte(b[24:40])),
		target:        netip.AddrFrom16([16]byte(icmp[8:24])),
		solicited:     advertisement && icmp[4]&flagSolicited != 0,
		override:      advertisement && icmp[4]&flagOverride != 0,
	}
	if icmp[0] != neighbourSolicitation && icmp[0] != neighbourAdvertisement || icmp[1] != 0 ||
		checksum.Fold(pseudo(b)+checksum.Sum(icmp)) != 0xffff || !m.options(icmp[ndHeader:]) || !m.valid() {
		return ndMessage{}, errMessage
	}
	return m, nil
}

// valid has the checks of addresses and flags.
func (m *ndMessage) valid() bool {
	switch {
	case m.target.IsMulticast(), m.src.IsMulticast():
		return false
	case m.advertisement:
		return !m.dst.IsMulticast() || !m.solicited
	case m.src == unspecified:
		return isSolicitedNode(m.dst) && !m.hasLink
	}
	return true
}

// options reads options. It reports false if one has no length, or they do not end with b.
// Of several of one type the first counts; those of an unknown type are ignored, as are
// link-layer addresses of another length.
func (m *ndMessage) options(b []byte) bool {
	address := byte(optionSource)
	if m.advertisement {
		address = optionTarget
	}
	for len(b) >= 8 {
		n := int(b[1]) * 8
		if n == 0 || n > len(b) {
			return false
		}
		switch {
		case b[0] == address && n == 8 && !m.hasLink:
			m.link, m.hasLink = mac(b[2:8]), true
		case b[0] == optionNonce && !m.advertisement && !m.hasNonce:
			if m.hasNonce = true; n == 8 {
				m.nonce = [6]byte(b[2:8])
			}
		}
		b = b[n:]
	}
	return len(b) == 0
}

// packet returns the message from its IPv6 header on.
func (m *ndMessage) packet() []byte {
	b := make([]byte, ipv6Header+ndHeader, ipv6Header+ndHeader+16)
	b[0], b[6], b[7] = 0x60, protocolICMPv6, ndHops
	src, dst, target := m.src.As16(), m.dst.As16(), m.target.As16()
	copy(b[8:], src[:])
	copy(b[24:], dst[:])
	copy(b[ipv6Header+8:], target[:])
	kind, address := byte(neighbourSolicitation), byte(optionSource)
	if m.advertisement {
		kind, address = neighbourAdvertisement, optionTarget
		if m.solicited {
			b[ipv6Header+4] |= flagSolicited
		}
		if m.override {
			b[ipv6Header+4] |= flagOverride
		}
	}
	b[ipv6Header] = kind
	if m.hasLink {
		b = append(append(b, address, 1), m.link[:]...)
	}
	if m.hasNonce {
		b = append(append(b, optionNonce, 1), m.nonce[:]...)
	}
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-ipv6Header))
	binary.BigEndian.PutUint16(b[ipv6Header+2:], ^checksum.Fold(pseudo(b)+checksum.Sum(b[ipv6Header:])))
	return b
}

// pseudo returns the sum of the pseudo-header of a packet: RFC 8200 §8.1.
func pseudo(b []byte) uint64 {
	return checksum.Sum(b[8:40]) + uint64(len(b)-ipv6Header) + protocolICMPv6
}

// solicitedNode returns the solicited-node multicast address of an address: RFC 4291 §2.7.1.
func solicitedNode(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
}

func isSolicitedNode(a netip.Addr) bool { return a.IsMulticast() && solicitedNode(a) == a }

// multicastMAC returns the link-layer address of a multicast address: RFC 2464 §7.
func multicastMAC(a netip.Addr) mac {
	b := a.As16()
	return mac{0x33, 0x33, b[12], b[13], b[14], b[15]}
}
