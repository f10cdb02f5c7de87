package rfc

import (
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
)

func TestRFC791(t *testing.T) {
	row(t, "791-2.3-01", func(t *testing.T) {
		x := newXlat(t, func(s *settings) { s.MTU4 = 576 })
		out := x.pieces(pt.IP(pt.From6(), udp(1280-48)))
		is(t, "pieces", len(out), 3)
		for i, want := range []struct {
			size int
			word uint16 // flags and offset
		}{
			{572, 0x2000}, // 20 + 552, the greatest multiple of 8 in 556
			{572, 0x2045}, // 552 / 8
			{156, 0x008a}, // 20 + 1240 - 2 * 552
		} {
			b := ip4(out[i])
			is(t, "bytes", len(b), want.size)
			is(t, "Total Length", b.totalLen(), want.size)
			is(t, "flags and offset", b.fragWord(), want.word)
			is(t, "identification", b.id(), ip4(out[0]).id())
			is(t, "TTL", b.ttl(), 63)
			is(t, "header sum", pt.Sum(b[:20]), 0xffff)
			wantEnds(t, b, "192.0.2.6 > 198.51.100.4")
		}
		whole, err := pt.Reassemble(out)
		if err != nil {
			t.Fatal(err)
		}
		want := with(as4, func(h *pt.Header) { h.ID = ip4(out[0]).id() })
		wantPacket(t, whole, pt.IP(want, udp(1280-48)))

		// Fewest pieces at any MTU, and pieces of pieces.
		for _, mtu := range []int{68, 75, 76, 576, 1006, 1259} {
			x := newXlat(t, func(s *settings) { s.MTU4 = mtu })
			out := x.pieces(pt.IP(pt.From6(), udp(1280-48)))
			room := (mtu - 20) &^ 7
			is(t, "pieces", len(out), (1240+room-1)/room)
			for i, b := range out {
				if len(b) > mtu || i < len(out)-1 && len(b) != 20+room {
					t.Errorf("MTU %d: piece %d has %d bytes", mtu, i, len(b))
				}
			}
			if _, err := pt.Reassemble(out); err != nil {
				t.Error(err)
			}
			for _, more := range []bool{true, false} {
				out = x.pieces(pt.IP(pt.From6(), pt.Fragment(0xbeef, 100, more, pt.Raw(17, pt.Bytes(1400, 0)))))
				is(t, "pieces", len(out), (1400+room-1)/room)
				for i, b := range out {
					is(t, "offset", int(ip4(b).fragWord()&0x1fff), 100+i*room/8)
					is(t, "MF", ip4(b).fragWord()>>13, map[bool]uint16{true: 1, false: 0}[more || i < len(out)-1])
					is(t, "identification", ip4(b).id(), 0xbeef)
				}
			}
		}
	})
}
