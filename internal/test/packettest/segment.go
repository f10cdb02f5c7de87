package packettest

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/steppe-nat64/steppe/translate"
)

// Partial makes a TCP or UDP packet what a kernel with checksum offload hands
// over: the checksum field holds the folded sum of the pseudo-header. With a gso
// above 0 it is a super-packet with segments of so many bytes of payload. pkt is
// changed in place; it has no extension headers.
func Partial(pkt []byte, gso int) translate.Offload {
	ip, proto, src, dst := addresses(pkt)
	data := pkt[ip:]
	at := map[uint8]int{6: 16, 17: 6}[proto]
	binary.BigEndian.PutUint16(data[at:], Sum(Pseudo(src, dst, proto, len(data))))
	o := translate.Offload{
		Flags:      translate.OffloadNeedsCsum,
		CsumStart:  uint16(ip),
		CsumOffset: uint16(at),
	}
	if gso > 0 {
		o.GSOSize = uint16(gso)
		switch {
		case proto == 17:
			o.GSOType, o.HdrLen = translate.GSOUDPL4, uint16(ip+8)
		case src.Is4():
			o.GSOType, o.HdrLen = translate.GSOTCPv4, uint16(ip+int(data[12]>>4)*4)
		default:
			o.GSOType, o.HdrLen = translate.GSOTCPv6, uint16(ip+int(data[12]>>4)*4)
		}
	}
	return o
}

// Segments does the work that o leaves undone, as a kernel would on the way to a
// plain link: it returns the packets that go on the wire, with full checksums.
// The identifications of IPv4 segments count up.
func Segments(pkt []byte, o translate.Offload) [][]byte {
	if o.Flags&translate.OffloadNeedsCsum == 0 {
		return [][]byte{slices.Clone(pkt)}
	}
	ip, proto, _, _ := addresses(pkt)
	l4 := 8
	if proto == 6 {
		l4 = int(pkt[ip+12]>>4) * 4
	}
	payload := pkt[ip+l4:]
	size := len(payload)
	if o.GSOType != translate.GSONone {
		size = int(o.GSOSize)
	}
	var out [][]byte
	for from := 0; from == 0 || from < len(payload); from += max(size, 1) {
		to := min(from+size, len(payload))
		b := slices.Concat(pkt[:ip+l4], payload[from:to])
		data := b[ip:]
		if proto == 17 {
			binary.BigEndian.PutUint16(data[4:], uint16(len(data)))
		} else {
			binary.BigEndian.PutUint32(data[4:], binary.BigEndian.Uint32(data[4:])+uint32(from))
			if to < len(payload) {
				data[13] &^= 0x09 // FIN, PSH: on the last
			}
			if from > 0 {
				data[13] &^= 0x80 // CWR: on the first
			}
		}
		if b[0]>>4 == 4 {
			binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
			binary.BigEndian.PutUint16(b[4:], binary.BigEndian.Uint16(b[4:])+uint16(len(out)))
			FixHeader(b)
		} else {
			binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
		}
		FixTransport(b)
		out = append(out, b)
	}
	return out
}

// FixTransport computes the checksum of a whole TCP or UDP packet without
// extension headers.
func FixTransport(b []byte) {
	ip, proto, src, dst := addresses(b)
	data := b[ip:]
	c := data[map[uint8]int{6: 16, 17: 6}[proto]:][:2]
	c[0], c[1] = 0, 0
	v := ^Sum(Pseudo(src, dst, proto, len(data)), data)
	if v == 0 && proto == 17 {
		v = 0xffff
	}
	binary.BigEndian.PutUint16(c, v)
}

// addresses reads an IP header without extension headers.
func addresses(b []byte) (hdrLen int, proto uint8, src, dst netip.Addr) {
	if b[0]>>4 == 4 {
		return int(b[0]&15) * 4, b[9], netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	}
	return 40, b[6], netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
}
