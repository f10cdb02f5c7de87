package rfc

import (
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
)

func TestRFC6946(t *testing.T) {
	row(t, "6946-4-01", func(t *testing.T) {
		x := newXlat(t, nil)
		atomic := func(p pt.Payload) []byte { return pt.IP(pt.From6(), pt.Fragment(0x00012345, 0, false, p)) }
		whole := with(as4, func(h *pt.Header) { h.ID = 0x2345 })
		for _, p := range []pt.Payload{ping, pt.TCP(1, 2, pt.Bytes(100, 0)), pt.EchoRequest(1, 2, pt.Bytes(9, 0)), udp(1400)} {
			b := x.forward(atomic(p))
			wantPacket(t, b, pt.IP(whole, p))
			wantBytes(t, "identification", b[4:6], []byte{0x23, 0x45})
			wantBytes(t, "flags and offset", b[6:8], []byte{0, 0}) // no DF, however large
		}

		// Before, between and after real fragments of the same identification.
		first := pt.IP(pt.From6(), pt.Fragment(0x00012345, 0, true, pt.Part(udp(100), 0, 56)))
		last := pt.IP(pt.From6(), pt.Fragment(0x00012345, 7, false, pt.Part(udp(100), 56, 108)))
		want := x.forward(atomic(ping))
		wantPacket(t, x.forward(atomic(ping)), want)
		a := x.forward(first)
		wantPacket(t, x.forward(atomic(ping)), want)
		b := x.forward(last)
		wantPacket(t, x.forward(atomic(ping)), want)
		got, err := pt.Reassemble([][]byte{a, b})
		if err != nil {
			t.Fatal(err)
		}
		wantPacket(t, got, pt.IP(as4, udp(100)))
	})
}
