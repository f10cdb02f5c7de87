package rfc

import (
	"encoding/binary"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// RFC 7915 §5.5: transport checksums.
func TestRFC7915_5_5(t *testing.T) {
	row(t, "7915-5.5-01", func(t *testing.T) {
		goldens(t, "V05", "V06")
		x := newXlat(t, nil)
		for n := range 100 {
			data := random(n, 9)
			for _, p := range []pt.Payload{udp(n), pt.UDP(1, 2, data), pt.TCP(1, 2, data), pt.EchoRequest(1, 2, data)} {
				x.becomes(pt.IP(pt.From6(), p), pt.IP(as4, p))
			}
		}
		// Two bytes that take all values take the checksum through all values;
		// 0 would mean that there is none.
		ffff := 0
		for v := range 1 << 16 {
			p := pt.UDP(5000, 6001, []byte{byte(v >> 8), byte(v)})
			out, res := x.send(pt.IP(pt.From6(), p))
			if res.Verdict != translate.Forward {
				t.Fatalf("%v (%v)", res.Verdict, res.Reason)
			}
			sum := be16(out[0], 26)
			if sum == 0 {
				t.Fatalf("data %04x: no checksum", v)
			}
			if sum == 0xffff {
				ffff++
			}
			if v%97 == 0 || sum == 0xffff {
				wantPacket(t, out[0], pt.IP(as4, p))
			}
		}
		is(t, "checksums that fold to zero", ffff, 1)

		// A datagram that has no checksum (RFC 6936) gets none.
		none := pt.UDPNoSum(5000, 6001, pt.Bytes(8, 1))
		x.becomes(pt.IP(pt.From6(), none), pt.IP(as4, none))
		x.becomes(pt.IP(pt.From6(), pt.Fragment(0xbeef, 0, true, none)),
			pt.IP(with(as4, func(h *pt.Header) { h.ID, h.MF = 0xbeef, true }), none))
		// Later fragments have no header, whatever their bytes look like.
		zero := pt.Raw(17, make([]byte, 24))
		x.becomes(pt.IP(pt.From6(), pt.Fragment(0xbeef, 3, false, zero)),
			pt.IP(with(as4, func(h *pt.Header) { h.ID, h.Off8 = 0xbeef, 3 }), zero))
	})

	row(t, "7915-5.5-02", func(t *testing.T) {
		x := newXlat(t, nil)
		for n := range 40 {
			data := random(n, 10)
			for _, p := range []pt.Payload{
				pt.DCCP(5000, 6001, data),
				pt.UDPLite(5000, 6001, 0, data),
				pt.UDPLite(5000, 6001, 8, data),
				pt.UDPLite(5000, 6001, uint16(8+n/2), data),
			} {
				x.becomes(pt.IP(pt.From6(), p), pt.IP(as4, p))
			}
		}
		_, b := pt.UDPLite(1, 2, 8, nil)(pt.M6, pt.H4in6)
		binary.BigEndian.PutUint16(b[6:], 0)
		x.prohibited(pt.IP(pt.From6(), pt.Raw(136, b)), translate.UDPZeroChecksum)
		_, b = pt.UDPLite(5000, 6001, 0, []byte{0, 0})(pt.M4, pt.H4)
		is(t, "checksum", be16(x.forward(pt.IP(pt.From6(), pt.UDPLite(5000, 6001, 0, b[6:8]))), 26), 0xffff)
	})

	row(t, "7915-5.5-03", func(t *testing.T) {
		x := newXlat(t, nil)
		out := x.forward(pt.IP(pt.From6(), pt.Raw(132, sctpInit(t))))
		is(t, "protocol", ip4(out).proto(), 132)
		wantBytes(t, "SCTP", out[20:], sctpInit(t))
		for _, proto := range []uint8{4, 41, 47, 50, 115} {
			data := random(77, uint64(proto))
			x.becomes(pt.IP(pt.From6(), pt.Raw(proto, data)), pt.IP(as4, pt.Raw(proto, data)))
			x.becomes(pt.IP(pt.From6(), pt.Raw(proto, nil)), pt.IP(as4, pt.Raw(proto, nil)))
		}
	})
}
