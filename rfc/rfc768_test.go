package rfc

import (
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

func TestRFC768(t *testing.T) {
	row(t, "768-0-01", func(t *testing.T) {
		goldens(t, "V04", "V05")
		// One of these datagrams sums to 0xffff between the addresses on the other
		// side, in each direction; and when the translator computes it all.
		for name, c := range map[string]struct {
			in, out pt.Header
			sent    func(data []byte) pt.Payload
		}{
			"4 to 6":   {pt.From4(), as6, func(data []byte) pt.Payload { return pt.UDP(1, 2, data) }},
			"6 to 4":   {pt.From6(), as4, func(data []byte) pt.Payload { return pt.UDP(1, 2, data) }},
			"computed": {pt.From4(), as6, func(data []byte) pt.Payload { return pt.UDPNoSum(1, 2, data) }},
		} {
			// The checksum of data 0000 is the data that makes it 0.
			_, b := pt.UDP(1, 2, []byte{0, 0})(c.out.Src, c.out.Dst)
			data := b[6:8]
			x := newXlat(t, func(s *settings) { s.UDPZero = translate.UDPZeroCompute })
			got := x.forward(pt.IP(c.in, c.sent(data)))
			wantBytes(t, name, got[len(got)-4:len(got)-2], []byte{0xff, 0xff})
			wantPacket(t, got, pt.IP(c.out, pt.UDP(1, 2, data)))
		}
	})
}
