package rfc

import (
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
)

func TestRFC8021(t *testing.T) {
	row(t, "8021-3-01", noSmallPTB)
	row(t, "8021-3-02", func(t *testing.T) {
		// 1000 packets without Fragment Header: the IPv6 header has no
		// identification, so each of these is of the translator's making.
		x := newXlat(t, nil)
		seen := map[uint16]bool{}
		for range 1000 {
			b := x.forward(pt.IP(pt.From6(), ping))
			seen[ip4(b).id()] = true
		}
		is(t, "identifications", len(seen), 1000)
		b := x.forward(pt.IP(pt.From6(), pt.Fragment(0x12345678, 0, false, ping)))
		is(t, "identification of an atomic fragment", ip4(b).id(), 0x5678)
	})
}

// noSmallPTB expects no Packet Too Big to leave with an MTU below 1280, whether
// translated or originated, whatever the MTUs are.
func noSmallPTB(t *testing.T) {
	for _, mtu4 := range []int{68, 576, 1000, 1259, 1260, 1261, 1280, 1500} {
		for _, mtu6 := range []int{1280, 1281, 1500} {
			x := newXlat(t, func(s *settings) { s.MTU4, s.MTU6 = mtu4, mtu6 })
			for _, mtu := range []uint32{0, 1, 68, 576, 1000, 1259, 1260, 1261, 1500, 65535} {
				for _, size := range []int{100, 576, 1280, 1500} { // of the quoted packet, for the plateaus
					b := x.forward(error4(3, 4, mtu, quoted(sent4, size-28, 28)))
					wantBytes(t, "type and code", b[40:42], []byte{2, 0})
					if got := be32(b, 44); got < 1280 {
						t.Errorf("MTU %d becomes %d, MTUs %d and %d", mtu, got, mtu4, mtu6)
					}
				}
			}
			for _, size := range []int{1281, 1400, 1500} {
				in := pt.IP(pt.From6(), udp(size-48))
				if size-20 <= mtu4 {
					x.forward(in)
					continue
				}
				want := uint32(1280)
				if mtu4+20 > 1280 {
					want = uint32(mtu4) + 20
				}
				is(t, "MTU", be32(x.err6(in, 2, 0), 4), want)
			}
			in := pt.IP(pt.From6(), udp(1280-48))
			if mtu4 < 1260 { // cut instead
				x.pieces(in)
			} else {
				x.forward(in)
			}
		}
	}
}
