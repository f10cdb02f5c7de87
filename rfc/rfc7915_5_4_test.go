package rfc

import (
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// RFC 7915 §5.4: errors that the translator sends to IPv6.
func TestRFC7915_5_4(t *testing.T) {
	// Nothing maps R6.
	from := func(p pt.Payload) []byte { return pt.IP(pt.Header{Src: pt.R6, Dst: pt.H4in6}, p) }
	to := func(p pt.Payload) []byte { return pt.IP(pt.Header{Src: pt.M6, Dst: pt.R6}, p) }

	row(t, "7915-5.4-01", func(t *testing.T) {
		x := newXlat(t, nil)
		for _, in := range [][]byte{from(udp(4)), to(udp(4)), from(pt.TCP(1, 2, nil)), to(pt.Raw(132, nil))} {
			msg := x.err6(in, 1, 1)
			is(t, "second word", be32(msg, 4), 0)
			wantBytes(t, "quote", msg[8:], in)
		}
		// TAYGA tells the two apart.
		tayga := newXlat(t, func(s *settings) { s.ICMPErrors = translate.ErrorsTAYGA })
		tayga.err6(from(udp(4)), 1, 5)
		tayga.err6(to(udp(4)), 1, 0)
	})

	row(t, "7915-5.4-02", func(t *testing.T) {
		x := newXlat(t, nil)
		for _, echo := range []pt.Payload{pt.EchoRequest(1, 2, nil), pt.EchoReply(1, 2, nil)} {
			x.drop(from(echo), translate.NoSource)
			x.drop(to(echo), translate.NoDestination)
		}
		quote := pt.IP(pt.Header{Src: pt.R6, Dst: pt.M6}, udp(4))
		x.drop(to(pt.ICMP(1, 4, 0, quote)), translate.NoDestination)
		x.drop(to(pt.ICMP(3, 0, 0, quote)), translate.NoDestination)

		// The sender of a ping may get an error that the hop limit was exceeded, or that the packet is
		// too large, or where it was not meant to pass.
		one := with(pt.From6(), func(h *pt.Header) { h.TTL = 1 })
		x.err6(pt.IP(one, pt.EchoRequest(1, 2, nil)), 3, 0)
		x.err6(pt.IP(pt.From6(), pt.Routing(1, pt.EchoRequest(1, 2, nil))), 4, 0)
		narrow := newXlat(t, func(s *settings) { s.MTU4 = 1400 })
		narrow.err6(pt.IP(pt.From6(), pt.EchoRequest(1, 2, pt.Bytes(1400, 0))), 2, 0)
	})

	row(t, "7915-5.4-03", func(t *testing.T) { threeModes(t, from(udp(4))) })
}
