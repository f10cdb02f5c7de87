package rfc

import (
	"slices"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// RFC 7915 §1: what a stateless translator is.
func TestRFC7915_1(t *testing.T) {
	row(t, "7915-1-01", func(t *testing.T) {
		x := newXlat(t, func(s *settings) { s.Maps = nil })
		m6 := addr("2001:db8:64::c000:206") // 192.0.2.6 in P

		x.becomes(pt.IP(pt.From4(), udp(4)), pt.IP(pt.Header{Src: pt.H4in6, Dst: m6, TTL: 63}, udp(4)))
		x.becomes(pt.IP(pt.Header{Src: m6, Dst: pt.H4in6}, udp(4)), pt.IP(as4, udp(4)))
	})
}

func TestRFC7915_1_2(t *testing.T) {
	// An IPv4 option leaves no trace.
	row(t, "7915-1.2-01", func(t *testing.T) {
		recordRoute := with(pt.From4(), func(h *pt.Header) { h.Options = []byte{7, 7, 4, 203, 0, 113, 9, 0} })
		out := newXlat(t, nil).forward(pt.IP(recordRoute, udp(4)))
		is(t, "next header", ip6(out).next(), 17)
		wantPacket(t, out, hexBytes(t, `
			60000000                         # version 6, traffic class 0, flow label 0
			000c 11 3f                       # payload length 12, next header UDP, hop limit 63
			20010db8006400000000 0000c6336404 # source
			20010db8000600000000 000000000006 # destination
			1388 1771 000c 4abd              # ports 5000 and 6001, length 12, checksum
			01020304                         # data`))
	})

	// Nor does an IPv6 extension header.
	row(t, "7915-1.2-02", func(t *testing.T) {
		out := newXlat(t, nil).forward(pt.IP(pt.From6(), pt.HopByHop(8, udp(4))))
		is(t, "version and IHL", out[0], 0x45)
		is(t, "protocol", ip4(out).proto(), 17)
		is(t, "total length", ip4(out).totalLen(), 20+12)
		wantPacket(t, out, pt.IP(as4, udp(4)))
	})

	row(t, "7915-1.2-03", func(t *testing.T) {
		x := newXlat(t, nil)
		echo := pt.EchoRequest(1, 2, pt.Bytes(56, 0))
		frag := func(off8 uint16, more bool) pt.Header {
			return with(pt.From4(), func(h *pt.Header) { h.DF, h.Off8, h.MF = false, off8, more })
		}
		x.prohibited(pt.IP(frag(0, true), echo), translate.FragmentedICMP)
		x.drop(pt.IP(frag(1, true), pt.Raw(1, pt.Bytes(16, 0))), translate.FragmentedICMP)
		x.drop(pt.IP(frag(1, false), pt.Raw(1, pt.Bytes(3, 0))), translate.FragmentedICMP)
		// Errors are no exception.
		quote := pt.ICMP(3, 3, 0, pt.IP(sent4, udp(4)))
		x.drop(pt.IP(frag(0, true), quote), translate.FragmentedICMP)
	})

	row(t, "7915-1.2-04", func(t *testing.T) {
		x := newXlat(t, nil)
		echo := pt.EchoRequest(1, 2, pt.Bytes(56, 0))
		x.drop(pt.IP(pt.From6(), pt.Fragment(7, 0, true, echo)), translate.FragmentedICMP)
		x.drop(pt.IP(pt.From6(), pt.Fragment(7, 3, true, pt.Raw(58, pt.Bytes(16, 0)))), translate.FragmentedICMP)
		x.drop(pt.IP(pt.From6(), pt.Fragment(7, 3, false, pt.Raw(58, pt.Bytes(3, 0)))), translate.FragmentedICMP)
		quote := pt.ICMP(1, 4, 0, pt.IP(sent6, udp(8)))
		x.drop(pt.IP(pt.From6(), pt.Fragment(7, 0, true, quote)), translate.FragmentedICMP)

		// An atomic fragment is a whole packet.
		x.becomes(pt.IP(pt.From6(), pt.Fragment(7, 0, false, echo)),
			pt.IP(with(as4, func(h *pt.Header) { h.ID = 7 }), echo))
	})

	row(t, "7915-1.2-05", func(t *testing.T) {
		first := with(pt.From4(), func(h *pt.Header) { h.DF, h.MF, h.ID = false, true, 0xbeef })
		in := pt.IP(first, pt.UDPNoSum(5000, 6001, pt.Bytes(8, 1)))
		for _, mode := range []translate.UDPZero{translate.UDPZeroDrop, translate.UDPZeroCompute} {
			x := newXlat(t, func(s *settings) { s.UDPZero = mode })
			x.prohibited(in, translate.UDPZeroChecksum)
		}
		x := newXlat(t, func(s *settings) { s.UDPZero = translate.UDPZeroForward })
		wantPacket(t, x.forward(in), pt.IP(as6, pt.Fragment(0xbeef, 0, true, pt.UDPNoSum(5000, 6001, pt.Bytes(8, 1)))))
	})

	// Multicast has no place in either family, and no ICMP error answers it.
	row(t, "7915-1.2-06", func(t *testing.T) {
		x := newXlat(t, nil)
		for _, dst := range []string{"224.0.0.1", "239.255.255.255", "ff0e::1", "ff02::1",
			"2001:db8:64::e000:1", "2001:db8:64::efff:ffff"} { // 224.0.0.1 and 239.255.255.255 in P
			h := pt.From6()
			if addr(dst).Is4() {
				h = pt.From4()
			}
			h.Dst = addr(dst)
			x.drop(pt.IP(h, udp(4)), translate.IllegalDestination)
			if h.TTL = 1; addr(dst).IsMulticast() {
				x.drop(pt.IP(h, udp(4)), translate.IllegalDestination)
			}
		}
		// Nor does a source.
		x.drop(pt.IP(pt.Header{Src: addr("2001:db8:64::e000:1"), Dst: pt.H4in6}, udp(4)), translate.IllegalSource)
	})
}

func TestRFC7915_1_3(t *testing.T) {
	// Two translators see the same packets, one of them backwards and after
	// another translator has been thrown away: only Identifications may differ.
	row(t, "7915-1.3-01", func(t *testing.T) {
		packets := corpus(t)
		newXlat(t, nil).send(packets[0].pkt)
		a, b := newXlat(t, nil), newXlat(t, nil)
		var forth, back [][][]byte
		for _, s := range packets {
			out, _ := a.send(s.pkt)
			forth = append(forth, out)
		}
		for _, s := range slices.Backward(packets) {
			out, _ := b.send(s.pkt)
			back = append(back, out)
		}
		slices.Reverse(back)
		for i, s := range packets {
			if len(forth[i]) != len(back[i]) {
				t.Errorf("%s: %d packets and %d packets", s.name, len(forth[i]), len(back[i]))
				continue
			}
			for k := range forth[i] {
				one, other := withoutID(forth[i][k], s.pkt), withoutID(back[i][k], s.pkt)
				if !slices.Equal(one, other) {
					t.Errorf("%s: %x and %x", s.name, one, other)
				}
			}
		}
	})
}

// withoutID blanks the Identification of an IPv4 packet that was generated, and
// what depends on it.
func withoutID(out, in []byte) []byte {
	generated := in[0]>>4 == 4 || be16(out, 4) != 0xbeef // which all fragments of the corpus carry
	if out[0]>>4 != 4 || !generated {
		return out
	}
	return pt.Edit(out, func(b []byte) { b[4], b[5] = 0, 0 })
}

func TestRFC7915_1_4(t *testing.T) {
	row(t, "7915-1.4-01", func(t *testing.T) {
		x := newXlat(t, func(s *settings) { s.MTU4 = 1400 })
		in := pt.IP(pt.From6(), udp(1500-48))
		msg := x.err6(in, 2, 0)
		is(t, "MTU", be32(msg, 4), 1420)
		is(t, "quote", string(msg[8:]), string(in[:1280-48]))
		x.forward(pt.IP(pt.From6(), udp(1420-48)))
		x.err6(pt.IP(pt.From6(), udp(1421-48)), 2, 0)

		// IPv6 hosts need not go below 1280; the rest is cut.
		narrow := newXlat(t, func(s *settings) { s.MTU4 = 1000 })
		is(t, "MTU", be32(narrow.err6(pt.IP(pt.From6(), udp(1281-48)), 2, 0), 4), 1280)
		is(t, "pieces", len(narrow.pieces(pt.IP(pt.From6(), udp(1280-48)))), 2)

		x = newXlat(t, func(s *settings) { s.MTU6 = 1400 })
		is(t, "MTU", be32(x.err4(pt.IP(pt.From4(), udp(1500-28)), 3, 4), 4), 1380)
		x.forward(pt.IP(pt.From4(), udp(1380-28)))
		x.err4(pt.IP(pt.From4(), udp(1381-28)), 3, 4)

		// Packets without an ICMP error arrive in pieces.
		noDF := with(pt.From4(), func(h *pt.Header) { h.DF = false })
		is(t, "pieces", len(x.pieces(pt.IP(noDF, udp(1500-28)))), 2)
	})
}
