package refxlat

import (
	"encoding/binary"
	"slices"

	"github.com/steppe-nat64/steppe/translate"
)

// Finish returns the plain packet that pkt is once the checksum that o leaves
// undone is there, whichever header's it is: the sum of all from CsumStart to the
// end of the packet, the pseudo-header's in the field included. ok is false if o
// describes a super-packet, or a checksum that pkt cannot have.
func Finish(pkt []byte, o translate.Offload) (plain []byte, ok bool) {
	if o.Flags&translate.OffloadNeedsCsum == 0 || o.GSOType&^translate.GSOECN != translate.GSONone {
		return nil, false
	}
	p, ok := read4(pkt)
	if !ok {
		if p, ok = read6(pkt); ok {
			ok = p.walk() == nil
		}
	}
	if !ok || p.size > len(pkt) || p.fragment() {
		return nil, false
	}
	start, field, header := int(o.CsumStart), int(o.CsumStart)+int(o.CsumOffset), p.size-p.length
	least := map[uint8]int{tcp: 20, udp: 8, dccp: 12, udpLite: 8, icmp4: 8, icmp6: 8}[p.proto]
	own, hasOwn := checksumAt[p.proto]
	switch {
	case start == header && hasOwn:
		ok = p.proto != icmp4 && p.proto != icmp6 && int(o.CsumOffset) == own
		if p.proto == tcp || p.proto == udp {
			ok = ok && p.length >= least
		}
	default:
		ok = start >= header+least
	}
	if !ok || field+2 > p.size {
		return nil, false
	}
	plain = slices.Clone(pkt)
	ck := ^sum(plain[start:p.size])
	if ck == 0 {
		ck = 0xffff
	}
	binary.BigEndian.PutUint16(plain[field:], ck)
	return plain, true
}
