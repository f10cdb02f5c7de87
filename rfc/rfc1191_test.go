package rfc

import (
	"encoding/binary"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
)

func TestRFC1191(t *testing.T) {
	row(t, "1191-4-01", func(t *testing.T) {
		for _, mtu6 := range []int{1280, 1281, 1500, 9000, 65535} {
			x := newXlat(t, func(s *settings) { s.MTU6 = mtu6 })
			fits := mtu6 - 20
			x.forward(pt.IP(pt.From4(), udp(fits-28)))
			if mtu6 < 65535 {
				b := x.err4(pt.IP(pt.From4(), udp(fits+1-28)), 3, 4)
				wantBytes(t, "second word", b[4:8], []byte{0, 0, byte(fits >> 8), byte(fits)})
			}
			// A fragment grows by 28.
			first := with(pt.From4(), func(h *pt.Header) { h.MF = true })
			fits = (mtu6-48)&^7 + 20
			x.forward(pt.IP(first, pt.Raw(17, udpPart(fits-20))))
			b := x.err4(pt.IP(first, pt.Raw(17, udpPart(fits+8-20))), 3, 4)
			wantBytes(t, "second word", b[4:8], []byte{0, 0, byte((mtu6 - 28) >> 8), byte(mtu6 - 28)})
		}
		// 68 is the least that is ever named, in translated errors too.
		x := newXlat(t, func(s *settings) { s.MTU4 = 68 })
		for _, mtu := range []uint32{88, 89, 1280, 65535} {
			b := x.forward(error6(2, 0, mtu, pt.IP(sent6, ping)))
			is(t, "MTU", be32(b, 24), 68)
		}
		x = newXlat(t, nil)
		is(t, "MTU", be32(x.forward(error6(2, 0, 88, pt.IP(sent6, ping))), 24), 68)
		is(t, "MTU", be32(x.forward(error6(2, 0, 88, pt.IP(sent6, pt.Fragment(7, 0, false, ping)))), 24), 68)
		x.none(error6(2, 0, 87, pt.IP(sent6, ping)))
	})
	row(t, "1191-7-01", func(t *testing.T) {
		x := newXlat(t, func(s *settings) { s.MTU4, s.MTU6 = 65535, 65535 })
		for _, c := range []struct{ quoted, mtu int }{
			{65535, 32020}, {32001, 32020}, {32000, 17934}, {17915, 17934}, {17914, 8186}, {9000, 8186}, {8167, 8186}, {8166, 4372},
			{4500, 4372}, {4353, 4372}, {4352, 2022}, {2003, 2022}, {2002, 1512}, {1500, 1512}, {1493, 1512},
			// 1006, 508, 296 and 68 are below what IPv6 needs.
			{1492, 1280}, {1281, 1280}, {1007, 1280}, {576, 1280}, {297, 1280}, {69, 1280}, {28, 1280},
		} {
			q := pt.Edit(pt.IP(sent4, udp(0)), func(b []byte) { binary.BigEndian.PutUint16(b[2:], uint16(c.quoted)) })
			b := x.forward(error4(3, 4, 0, q))
			wantBytes(t, "type and code", b[40:42], []byte{2, 0})
			is(t, "MTU", int(be32(b, 44)), c.mtu)
		}
		// A router that does name an MTU is believed.
		q := pt.Edit(pt.IP(sent4, udp(0)), func(b []byte) { binary.BigEndian.PutUint16(b[2:], 1500) })
		is(t, "MTU", be32(x.forward(error4(3, 4, 1400, q)), 44), 1420)
	})
}

// udpPart is the first n bytes of a larger datagram.
func udpPart(n int) []byte {
	_, b := udp(65500)(pt.H4, pt.M4)
	return b[:n]
}
