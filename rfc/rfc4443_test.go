package rfc

import (
	"bytes"
	"net/netip"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

func TestRFC4443Error(t *testing.T) {
	row(t, "4443-2.2-01", func(t *testing.T) {
		x := strict(t, nil)
		for _, tr := range triggers6 {
			b := x.reply(pt.IP(with(pt.From6(), tr.edit), udp(1400)))
			wantBytes(t, tr.name, b[8:24], pt.X6.AsSlice())
			wantBytes(t, tr.name, b[40:42], tr.want[:])
		}
		b := x.reply(pt.IP(pt.Header{Src: pt.R6, Dst: pt.X6}, pt.EchoRequest(1, 2, nil)))
		wantEnds(t, b, "2001:db8:f::254 > 2001:db8:bad::1")
		x = strict(t, func(s *settings) { s.IPv6 = netip.Addr{} })
		for _, tr := range triggers6[:4] {
			x.none(pt.IP(with(pt.From6(), tr.edit), udp(1400)))
		}
	})
	row(t, "4443-2.3-01", func(t *testing.T) {
		x := strict(t, nil)
		for _, tr := range triggers6 {
			for _, n := range []int{1373, 1374, 1399, 1400} {
				b := x.reply(pt.IP(with(pt.From6(), tr.edit), udp(n)))
				is(t, "next header", b[6], 58)
				// 40 bytes of pseudo-header: addresses, length, 58.
				is(t, "sum", pt.Sum(b[8:40], []byte{0, 0}, b[4:6], []byte{0, 0, 0, 58}, b[40:]), 0xffff)
			}
		}
	})
	row(t, "4443-2.4-01", func(t *testing.T) {
		x := newXlat(t, func(s *settings) { s.MTU4 = 1400 })
		in := pt.IP(pt.From6(), udp(1500-48))
		b := x.reply(in)
		is(t, "bytes", len(b), 1280)
		is(t, "Payload Length", be16(b, 4), 1240)
		wantBytes(t, "quote", b[48:], in[:1232])
		in = pt.IP(with(pt.From6(), func(h *pt.Header) { h.TTL = 1 }), pt.HopByHop(8, udp(100)))
		b = x.reply(append(bytes.Clone(in), 1, 2, 3)) // the link added something
		wantBytes(t, "quote", b[48:], in)
		for size := 1182; size <= 1186; size++ {
			in := pt.IP(with(pt.From6(), func(h *pt.Header) { h.TTL = 1 }), udp(size))
			b := x.reply(in)
			is(t, "bytes", len(b), min(1280, len(in)+48))
			wantBytes(t, "quote", b[48:], in[:len(b)-48])
		}
	})
	row(t, "4443-3.2-01", func(t *testing.T) {
		for _, c := range []struct {
			mtu4, size int
			mtu        uint32
		}{
			{1400, 1500, 1420}, {1400, 1421, 1420}, {1200, 1400, 1280}, {1200, 1281, 1280}, {68, 1281, 1280}, {1260, 1281, 1280}, {1261, 1282, 1281}, {9000, 9021, 9020},
		} {
			x := newXlat(t, func(s *settings) { s.MTU4 = c.mtu4 })
			b := x.err6(pt.IP(pt.From6(), udp(c.size-48)), 2, 0)
			is(t, "MTU", be32(b, 4), c.mtu)
			if c.mtu > 1280 { // a host that follows the error gets through
				x.forward(pt.IP(pt.From6(), udp(int(c.mtu)-48)))
			} else {
				x.send(pt.IP(pt.From6(), udp(1280-48)))
			}
		}
	})
	row(t, "4443-3.3-01", func(t *testing.T) {
		x := newXlat(t, nil)
		for hops := range byte(3) {
			for _, p := range []pt.Payload{ping, pt.EchoRequest(1, 2, nil), pt.EchoReply(1, 2, nil), pt.Raw(132, make([]byte, 12))} {
				in := pt.Edit(pt.IP(pt.From6(), p), func(b []byte) { b[7] = hops })
				if hops < 2 {
					wantBytes(t, "second word", x.err6(in, 3, 0)[4:8], make([]byte, 4))
				} else {
					is(t, "TTL", x.forward(in)[8], 1)
				}
			}
		}
	})
	row(t, "4443-3.4-01", func(t *testing.T) {
		x := newXlat(t, nil)
		for _, c := range []struct {
			p       pt.Payload
			pointer uint32
		}{
			{pt.Routing(1, ping), 43},
			{pt.HopByHop(8, pt.Routing(1, ping)), 51},
			{pt.Routing(0, pt.Routing(255, ping)), 67},
			{pt.HopByHop(256, pt.Routing(1, ping)), 299}, // beyond one byte
			{pt.HopByHop(2048, pt.DestOpts(8, pt.Routing(1, ping))), 2099},
		} {
			b := x.err6(pt.IP(pt.From6(), c.p), 4, 0)
			is(t, "pointer", be32(b, 4), c.pointer)
		}
		// The next header that the translator has no use for.
		b := x.err6(pt.IP(pt.Header{Src: pt.M6, Dst: pt.X6}, ping), 4, 1)
		is(t, "pointer", be32(b, 4), 6)
		b = x.err6(pt.IP(pt.Header{Src: pt.M6, Dst: pt.X6}, pt.HopByHop(8, pt.DestOpts(16, ping))), 4, 1)
		is(t, "pointer", be32(b, 4), 48)
	})
}

func TestRFC4443Never(t *testing.T) {
	row(t, "4443-2.4-02", func(t *testing.T) {
		x := strict(t, nil)
		for typ := range 256 {
			for _, tr := range triggers6 {
				body := append(pt.IP(sent6, udp(1300)), make([]byte, 60)...)
				in := pt.IP(with(pt.From6(), tr.edit), pt.ICMP(uint8(typ), 0, 1500, body))
				_, res := x.send(in)
				answered := res.Verdict == translate.Reply
				switch {
				case typ == 128 && tr.name == "self": // it answers for itself
				case typ == 128 || typ == 129:
					// Of an address that can't be mapped nothing is said in any ICMPv6.
					is(t, tr.name, answered, tr.name == "hop-limit" || tr.name == "too-big")
				case answered:
					t.Errorf("type %d, %s: answered", typ, tr.name)
				}
			}
		}
		ttl1 := with(pt.From6(), func(h *pt.Header) { h.TTL = 1 })
		x.none(pt.IP(ttl1, pt.ICMP(1, 0, 0, pt.IP(sent6, ping))))
		x.none(pt.IP(ttl1, pt.ICMP(137, 0, 0, make([]byte, 32))))
	})
	row(t, "4443-2.4-03", func(t *testing.T) {
		x := strict(t, nil)
		for _, dst := range []string{"ff0e::1", "ff02::1", "ff05::2"} {
			for _, tr := range triggers6[:2] {
				x.drop(pt.IP(with(between("2001:db8:6::6", dst), tr.edit), udp(1400)), translate.IllegalDestination)
			}
			x.drop(pt.IP(between("2001:db8:6::6", dst), pt.Routing(1, ping)), translate.IllegalDestination)
		}
	})
	row(t, "4443-2.4-04", func(t *testing.T) {
		x := strict(t, nil)
		for _, src := range []string{"::", "::1", "ff0e::1", "ff02::1", "fe80::1", "::ffff:192.0.2.1"} {
			for _, tr := range triggers6 {
				if tr.name == "no-source" {
					continue
				}
				h := with(pt.From6(), tr.edit)
				h.Src = addr(src)
				x.drop(pt.IP(h, udp(1400)), translate.IllegalSource)
			}
		}
	})
	row(t, "4443-2.4-05", func(t *testing.T) {
		in := pt.IP(with(pt.From6(), func(h *pt.Header) { h.TTL = 1 }), ping)
		errorRates(t, in)
		x := newXlat(t, func(s *settings) { s.ErrorRate, s.ErrorBurst = 0, 0 })
		for range 3 { // the three probes of a traceroute
			x.err6(in, 3, 0)
		}
	})
}
