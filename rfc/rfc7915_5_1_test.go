package rfc

import (
	"net/netip"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// RFC 7915 §5.1: the fields of the IPv4 header.
func TestRFC7915_5_1_Fields(t *testing.T) {
	row(t, "7915-5.1-01", func(t *testing.T) {
		x := newXlat(t, func(s *settings) { s.MTU4 = 1400 })
		for _, s := range corpus(t) {
			if s.pkt[0]>>4 != 6 {
				continue
			}
			out, res := x.send(s.pkt)
			if res.Verdict == translate.Reply {
				continue
			}
			for _, b := range out {
				is(t, s.name+": version and IHL", b[0], 0x45)
			}
		}
	})

	row(t, "7915-5.1-02", func(t *testing.T) {
		x := newXlat(t, nil)
		for tc := range 256 {
			h, want := pt.From6(), as4
			h.TOS, want.TOS = uint8(tc), uint8(tc)
			x.becomes(pt.IP(h, udp(4)), pt.IP(want, udp(4)))
		}
	})

	row(t, "7915-5.1-03", func(t *testing.T) {
		for _, value := range []uint8{0x28, 0, 0xff} {
			x := newXlat(t, func(s *settings) { s.TOS6to4 = translate.TOS{Override: true, Value: value} })
			for _, tc := range []uint8{0xb9, 0, 0x28, 0xff} {
				out := x.forward(pt.IP(with(pt.From6(), func(h *pt.Header) { h.TOS = tc }), udp(4)))
				is(t, "TOS", out[1], value)
			}
		}
	})

	row(t, "7915-5.1-04", func(t *testing.T) {
		x := newXlat(t, nil)
		in := pt.IP(pt.From6(), udp(8))
		is(t, "payload length", ip6(in).payloadLen(), 16)
		is(t, "total length", ip4(x.forward(in)).totalLen(), 36)
		in = pt.IP(pt.From6(), pt.DestOpts(8, udp(8)))
		is(t, "payload length", ip6(in).payloadLen(), 24)
		is(t, "total length", ip4(x.forward(in)).totalLen(), 36)
		for n := 8; n <= 1024; n += 8 {
			out := x.forward(pt.IP(pt.From6(), pt.DestOpts(n, udp(8))))
			is(t, "total length", ip4(out).totalLen(), 36)
			is(t, "bytes", len(out), 36)
		}
	})

	row(t, "7915-5.1-05", identifications)

	row(t, "7915-5.1-06", func(t *testing.T) {
		x := newXlat(t, nil)
		is(t, "small", ip4(x.forward(pt.IP(pt.From6(), udp(4)))).fragWord(), 0x0000)
		is(t, "large", ip4(x.forward(pt.IP(pt.From6(), udp(1400)))).fragWord(), 0x4000)
	})

	row(t, "7915-5.1-07", func(t *testing.T) {
		x := newXlat(t, func(s *settings) { s.MTU4 = 576 })
		for hops := 2; hops <= 255; hops++ {
			h := with(pt.From6(), func(h *pt.Header) { h.TTL = uint8(hops) })
			is(t, "TTL", int(ip4(x.forward(pt.IP(h, udp(4)))).ttl()), hops-1)
		}
		for _, b := range x.pieces(pt.IP(with(pt.From6(), func(h *pt.Header) { h.TTL = 10 }), udp(1200))) {
			is(t, "TTL of a piece", ip4(b).ttl(), 9)
		}
	})

	row(t, "7915-5.1-08", func(t *testing.T) {
		x := newXlat(t, nil)
		one := with(pt.From6(), func(h *pt.Header) { h.TTL = 1 })
		wantPacket(t, x.reply(pt.IP(one, udp(4))), hexBytes(t, `
			60000000 003c 3a 40                        # payload length 60, ICMPv6, hop limit 64
			20010db8 000f0000 00000000 00000254        # from the translator
			20010db8 00060000 00000000 00000006        # to the source
			03 00 2db8 00000000                        # hop limit exceeded in transit
			60000000 000c 11 01                        # the packet
			20010db8 00060000 00000000 00000006
			20010db8 00640000 00000000 c6336404
			1388 1771 000c 4abd 01020304`))

		for _, in := range [][]byte{
			pt.IP(one, udp(4)),
			pt.IP(one, pt.EchoRequest(1, 2, nil)),
			pt.IP(one, pt.EchoReply(1, 2, nil)),
			pt.IP(one, pt.DestOpts(8, pt.TCP(1, 2, nil))),
			pt.Edit(pt.IP(one, udp(4)), func(b []byte) { b[7] = 0 }),
		} {
			msg := x.err6(in, 3, 0)
			is(t, "second word", be32(msg, 4), 0)
			wantBytes(t, "quote", msg[8:], in)
		}
		two := with(pt.From6(), func(h *pt.Header) { h.TTL = 2 })
		is(t, "TTL", ip4(x.forward(pt.IP(two, udp(4)))).ttl(), 1)
		for hops := range uint8(2) {
			in := pt.Edit(error6(1, 4, 0, pt.IP(sent6, udp(4))), func(b []byte) { b[7] = hops })
			x.drop(in, translate.HopLimit)
		}
	})

	row(t, "7915-5.1-09", func(t *testing.T) {
		goldens(t, "V02")
		out := newXlat(t, nil).forward(pt.IP(pt.From6(), pt.EchoRequest(1, 2, nil)))
		is(t, "protocol", ip4(out).proto(), 1)
	})

	row(t, "7915-5.1-13", func(t *testing.T) {
		x := newXlat(t, nil)
		for hops := 2; hops <= 255; hops++ {
			for _, tc := range []uint8{0, 0xff} {
				h := with(pt.From6(), func(h *pt.Header) { h.TTL, h.TOS = uint8(hops), tc })
				out := x.forward(pt.IP(h, udp(hops*5)))
				is(t, "sum of the header", pt.Sum(out[:20]), 0xffff)
			}
		}
	})

	row(t, "7915-5.1-14", func(t *testing.T) {
		out := newXlat(t, nil).forward(pt.IP(pt.From6(), udp(4)))
		wantBytes(t, "source", out[12:16], []byte{192, 0, 2, 6})
	})

	row(t, "7915-5.1-15", func(t *testing.T) {
		x := newXlat(t, nil)
		for _, src := range []string{
			"::", "::1",
			"ff00::", "ff02::1", "ff0e::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
			"fe80::", "fe80::1", "febf:ffff::1",
			"::ffff:0:0", "::ffff:198.51.100.4",
			// Composed from addresses that no IPv4 host has.
			"2001:db8:64::7f00:1", "2001:db8:64::", "2001:db8:64::1:203", "2001:db8:64::e000:1",
			"2001:db8:64::f000:1", "2001:db8:64::ffff:ffff",
		} {
			for _, p := range []pt.Payload{udp(4), pt.TCP(1, 2, nil), pt.EchoRequest(1, 2, nil)} {
				x.drop(pt.IP(pt.Header{Src: addr(src), Dst: pt.H4in6}, p), translate.IllegalSource)
			}
			// Errors are no exception here.
			in := pt.IP(pt.Header{Src: addr(src), Dst: pt.H4in6}, pt.ICMP(3, 0, 0, pt.IP(sent6, udp(4))))
			x.drop(in, translate.IllegalSource)
		}
		// The neighbours of these are addresses like others.
		hosts := newXlat(t, func(s *settings) {
			s.Maps = nil
			for i, src := range []string{"::2", "fec0::1", "fe7f::1", "::fffe:1:2", "::1:ffff:1:2"} {
				s.Maps = append(s.Maps, translate.Map{
					IPv4: netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, 1, byte(i)}), 32),
					IPv6: netip.PrefixFrom(addr(src), 128),
				})
			}
		})
		for _, src := range []string{"::2", "fec0::1", "fe7f::1", "::fffe:1:2", "::1:ffff:1:2", "2001:db8:64::a00:1"} {
			hosts.forward(pt.IP(pt.Header{Src: addr(src), Dst: pt.H4in6}, udp(4)))
		}
		// 240.0.0.0/4 is what the operator makes of it.
		strange := newXlat(t, func(s *settings) { s.AllowClassE = true })
		strange.forward(pt.IP(pt.Header{Src: addr("2001:db8:64::f000:1"), Dst: pt.H4in6}, udp(4)))
	})

	row(t, "7915-5.1-16", func(t *testing.T) {
		out := newXlat(t, nil).forward(pt.IP(pt.From6(), udp(4)))
		wantBytes(t, "destination", out[16:20], []byte{198, 51, 100, 4})
	})

	row(t, "7915-5.1-20", func(t *testing.T) {
		x := newXlat(t, nil)
		for _, label := range []uint32{0xabcde, 0xfffff, 1} {
			in := pt.IP(with(pt.From6(), func(h *pt.Header) { h.FlowLabel = label }), udp(4))
			is(t, "label", ip6(in).label(), label)
			x.becomes(in, pt.IP(as4, udp(4)))
		}
	})
}

// identifications shows where the Identification of packets without Fragment
// Header comes from: RFC 7915 §5.1, RFC 6864 §4.3.
func identifications(t *testing.T) {
	x := newXlat(t, nil)
	id := func(x *xlat, dst netip.Addr, p pt.Payload) uint16 {
		t.Helper()
		return ip4(x.forward(pt.IP(pt.Header{Src: pt.M6, Dst: dst}, p))).id()
	}
	host := func(i int) netip.Addr { // 198.51.100.i in P
		a := pt.H4in6.As16()
		a[15] = byte(i)
		return netip.AddrFrom16(a)
	}

	seen := map[uint16]bool{}
	for range 1000 {
		seen[id(x, pt.H4in6, udp(4))] = true
	}
	is(t, "different values in 1000 packets of one flow", len(seen), 1000)

	// The others follow, and none comes twice before all have come.
	for range 1<<16 - 1000 {
		out, _ := x.send(pt.IP(pt.From6(), udp(4)))
		seen[ip4(out[0]).id()] = true
	}
	is(t, "different values in 65 536 packets of one flow", len(seen), 1<<16)

	// Two workers don't hand out the same values.
	other := &xlat{t: t, Translator: x.Translator, w: x.NewWorker()}
	clear(seen)
	for i := range 4000 {
		w := x
		if i%3 == 0 {
			w = other
		}
		seen[id(w, pt.H4in6, udp(4))] = true
	}
	is(t, "different values from two workers", len(seen), 4000)

	// There is no counter that goes on from destination to destination: the
	// values of 200 neighbours in the order of their packets have no common
	// step. Among random values some steps are alike: the most frequent one in
	// 200 would come less than ten times in any thousand years of testing.
	steps := map[uint16]int{}
	last := id(x, host(0), udp(4))
	for i := 1; i < 200; i++ {
		next := id(x, host(i), udp(4))
		steps[next-last]++
		last = next
	}
	for step, n := range steps {
		if n >= 10 {
			t.Errorf("the identifications of neighbours differ by %d, %d times in 199", step, n)
		}
	}

	// Nor does traffic to one show in the values of another, whatever the pair.
	loud := 0
	for pair := range 8 {
		quiet, before := 0, id(x, host(2*pair), udp(4))
		for i := range 100 {
			for range i % 7 {
				id(x, host(2*pair+1), udp(4))
			}
			now := id(x, host(2*pair), udp(4))
			if now == before+1 {
				quiet++
			}
			before = now
		}
		if quiet < 90 { // blocks of values end now and then
			loud++
		}
	}
	if loud > 2 {
		t.Errorf("the identifications of %d destinations in 8 show how much is sent to another", loud)
	}
}

// RFC 7915 §5.1: extension headers.
func TestRFC7915_5_1_ExtensionHeaders(t *testing.T) {
	row(t, "7915-5.1-10", func(t *testing.T) {
		x := newXlat(t, nil)
		out := x.forward(pt.IP(pt.From6(), pt.HopByHop(8, pt.DestOpts(24, pt.Routing(0, pt.DestOpts(8, udp(4)))))))
		is(t, "protocol", ip4(out).proto(), 17)
		wantPacket(t, out, pt.IP(as4, udp(4)))
		for _, p := range []pt.Payload{
			pt.DestOpts(8, pt.HopByHop(8, udp(4))), // in an order that RFC 8200 does not know
			pt.Routing(0, pt.Routing(0, udp(4))),
			pt.HopByHop(2048, udp(4)), // the longest
			pt.HopByHop(264, pt.DestOpts(2048, pt.Routing(0, udp(4)))),
		} {
			x.becomes(pt.IP(pt.From6(), p), pt.IP(as4, udp(4)))
			x.becomes(pt.IP(pt.From6(), pt.Fragment(0xbeef, 0, false, udp(4))), pt.IP(with(as4, func(h *pt.Header) { h.ID = 0xbeef }), udp(4)))
		}
		many := udp(4)
		for range 500 {
			many = pt.DestOpts(8, many)
		}
		x.becomes(pt.IP(pt.From6(), many), pt.IP(as4, udp(4)))
	})

	row(t, "7915-5.1-11", func(t *testing.T) {
		x := newXlat(t, nil)
		data := pt.Bytes(40, 7)
		for next := range 256 {
			p := pt.Raw(uint8(next), data)
			switch next {
			case 0, 43, 44, 58, 60: // have rows of their own
				continue
			case 1: // would become an ICMPv4 message with a wrong checksum
				x.prohibited(pt.IP(pt.From6(), p), translate.NoProtocol)
				continue
			case 6:
				p = pt.TCP(1, 2, data)
			case 17:
				p = udp(40)
			case 33:
				p = pt.DCCP(1, 2, data)
			case 136:
				p = pt.UDPLite(1, 2, 0, data)
			}
			for _, p6 := range []pt.Payload{p, pt.HopByHop(8, pt.DestOpts(8, p))} {
				out := x.forward(pt.IP(pt.From6(), p6))
				is(t, "protocol", int(ip4(out).proto()), next)
				wantPacket(t, out, pt.IP(as4, p))
			}
		}
		// Nothing after the first header that is no extension is looked at: a
		// Destination Options header in AH stays where it is.
		_, inner := pt.DestOpts(8, udp(4))(pt.M6, pt.H4in6)
		ah := append(hexBytes(t, "3c 04 0000 00000001 00000001 000000000000000000000000"), inner...)
		x.becomes(pt.IP(pt.From6(), pt.Raw(51, ah)), pt.IP(as4, pt.Raw(51, ah)))
	})

	row(t, "7915-5.1-12", func(t *testing.T) {
		x := newXlat(t, nil)
		// AH with an integrity value that can no longer be right, and PGM, whose
		// checksum we do not know: both go on.
		for _, proto := range []uint8{51, 113} {
			data := random(60, uint64(proto))
			x.becomes(pt.IP(pt.From6(), pt.Raw(proto, data)), pt.IP(as4, pt.Raw(proto, data)))
			x.becomes(pt.IP(pt.From4(), pt.Raw(proto, data)), pt.IP(as6, pt.Raw(proto, data)))
		}
	})

	row(t, "7915-5.1-17", func(t *testing.T) {
		x := newXlat(t, nil)
		for _, p := range []struct {
			pt.Payload
			proto uint8
		}{{udp(8), 17}, {pt.TCP(1, 2, nil), 6}, {pt.EchoRequest(1, 2, nil), 1}, {pt.Raw(132, pt.Bytes(16, 0)), 132}} {
			plain := ip4(x.forward(pt.IP(pt.From6(), p.Payload)))
			out := ip4(x.forward(pt.IP(pt.From6(), pt.HopByHop(8, pt.Routing(0, pt.DestOpts(32, p.Payload))))))
			is(t, "protocol", out.proto(), p.proto)
			is(t, "total length", out.totalLen(), plain.totalLen())
			wantBytes(t, "data", out[20:], plain[20:])
		}
	})

	row(t, "7915-5.1-18", func(t *testing.T) {
		x := newXlat(t, nil)
		pointer := func(p pt.Payload) uint32 {
			t.Helper()
			in := pt.IP(pt.From6(), p)
			msg := x.err6(in, 4, 0)
			wantBytes(t, "quote", msg[8:], in[:min(len(in), 1232)])
			return be32(msg, 4)
		}
		is(t, "pointer", pointer(pt.Routing(1, udp(4))), 43)
		is(t, "pointer after 8 bytes", pointer(pt.HopByHop(8, pt.Routing(1, udp(4)))), 51)
		is(t, "pointer after 64 bytes", pointer(pt.HopByHop(8, pt.DestOpts(56, pt.Routing(1, udp(4))))), 107)
		is(t, "pointer to the second of two", pointer(pt.Routing(0, pt.Routing(7, udp(4)))), 67)
		is(t, "pointer to the first of two", pointer(pt.Routing(7, pt.Routing(7, udp(4)))), 43)
		is(t, "pointer before a Fragment Header", pointer(pt.Routing(1, pt.Fragment(7, 0, true, udp(8)))), 43)
		is(t, "pointer in an Echo Request", pointer(pt.Routing(1, pt.EchoRequest(1, 2, nil))), 43)
		for left := 1; left < 256; left++ {
			is(t, "pointer", pointer(pt.Routing(uint8(left), udp(4))), 43)
		}
		// Types of routing header that are still in use are no different.
		for _, typ := range []byte{2, 3, 4, 253} {
			in := pt.Edit(pt.IP(pt.From6(), pt.Routing(1, udp(4))), func(b []byte) { b[42] = typ })
			is(t, "pointer", be32(x.err6(in, 4, 0), 4), 43)
		}
		x.forward(pt.IP(pt.From6(), pt.Routing(0, udp(4))))
		// Not about an ICMPv6 error, nor about a later fragment.
		x.drop(pt.IP(pt.From6(), pt.Routing(1, pt.ICMP(3, 0, 0, pt.IP(sent6, udp(4))))), translate.SourceRoute)
		x.drop(pt.IP(pt.From6(), pt.Routing(1, pt.Fragment(7, 9, false, pt.Raw(17, pt.Bytes(8, 0))))), translate.SourceRoute)
	})

	row(t, "7915-5.1-19", func(t *testing.T) {
		x := newXlat(t, nil)
		for _, p := range []pt.Payload{pt.Routing(1, udp(4)), pt.HopByHop(8, pt.Routing(255, udp(4)))} {
			x.drop(error6(3, 0, 0, pt.IP(sent6, p)), translate.ICMPQuote)
			x.drop(error6(1, 4, 0, pt.IP(sent6, p)), translate.ICMPQuote)
		}
		x.becomes(error6(3, 0, 0, pt.IP(sent6, pt.Routing(0, udp(4)))), error6as4(11, 0, 0, pt.IP(sent6as4, udp(4))))
	})
}

// RFC 7915 §5.1.1: the Fragment Header.
func TestRFC7915_5_1_1(t *testing.T) {
	first := func(n int) pt.Payload { return pt.Part(udp(100), 0, n) }

	row(t, "7915-5.1.1-01", func(t *testing.T) {
		x := newXlat(t, nil)
		refused := uint64(0)
		for _, next := range []uint8{0, 43, 44, 51, 60, 135, 139, 140} {
			_, b := pt.DestOpts(8, udp(4))(pt.M6, pt.H4in6)
			p := pt.Part(pt.Raw(next, append(b, 0, 0, 0, 0)), 0, 24)
			for _, in := range [][]byte{
				pt.IP(pt.From6(), pt.Fragment(7, 0, true, p)),
				pt.IP(pt.From6(), pt.Fragment(7, 10, true, p)),
				pt.IP(pt.From6(), pt.Fragment(7, 10, false, p)),
				pt.IP(pt.From6(), pt.Fragment(7, 0, false, p)), // atomic
				pt.IP(pt.From6(), pt.HopByHop(8, pt.Fragment(7, 0, true, p))),
			} {
				x.refused(in, translate.FragmentChain)
				refused++
			}
		}
		// The count is what a log is made from.
		s := x.Stats()
		is(t, "counted", s.Count(outcome(translate.V6ToV4, translate.Drop, translate.FragmentChain)).Packets+
			s.Count(outcome(translate.V6ToV4, translate.Reply, translate.FragmentChain)).Packets, refused)

		esp := pt.Raw(50, pt.Bytes(24, 0))
		x.becomes(pt.IP(pt.From6(), pt.Fragment(0xbeef, 0, true, esp)),
			pt.IP(with(as4, func(h *pt.Header) { h.ID, h.MF = 0xbeef, true }), esp))
		x.becomes(pt.IP(pt.From6(), pt.Fragment(0xbeef, 10, false, esp)),
			pt.IP(with(as4, func(h *pt.Header) { h.ID, h.Off8 = 0xbeef, 10 }), esp))
	})

	row(t, "7915-5.1.1-02", func(t *testing.T) {
		x := newXlat(t, nil)
		in := pt.IP(pt.From6(), pt.HopByHop(8, pt.Fragment(7, 0, true, first(24))))
		is(t, "payload length", ip6(in).payloadLen(), 40)
		is(t, "total length", ip4(x.forward(in)).totalLen(), 44)
		in = pt.IP(pt.From6(), pt.HopByHop(8, pt.DestOpts(40, pt.Routing(0, pt.Fragment(7, 0, true, first(24))))))
		is(t, "total length", ip4(x.forward(in)).totalLen(), 44)
	})

	row(t, "7915-5.1.1-03", func(t *testing.T) {
		goldens(t, "V10")
		x := newXlat(t, nil)
		for _, id := range []uint32{0x1234beef, 0xffff0000, 0x0000ffff, 0, 0x80008001} {
			out := x.forward(pt.IP(pt.From6(), pt.Fragment(id, 0, true, first(24))))
			is(t, "identification", ip4(out).id(), uint16(id&0xffff))
		}
	})

	row(t, "7915-5.1.1-04", func(t *testing.T) {
		x := newXlat(t, nil)
		for _, off8 := range []uint16{0, 1, 100, 8000} {
			for _, more := range []bool{true, false} {
				out := x.forward(pt.IP(pt.From6(), pt.Fragment(7, off8, more, pt.Raw(132, pt.Bytes(24, 0)))))
				is(t, "MF", out[6]&0x20 != 0, more)
			}
		}
	})

	row(t, "7915-5.1.1-05", func(t *testing.T) {
		x := newXlat(t, nil)
		in := pt.IP(pt.From6(), pt.Fragment(0xbeef, 0, true, pt.Raw(132, pt.Bytes(1448, 0))))
		in = append(in, 0, 0, 0, 0) // 1500 bytes hold 1448 and 4 of padding
		out := ip4(x.forward(in))
		is(t, "total length", out.totalLen(), 1468)
		is(t, "DF", out.df(), false)
		in = pt.IP(pt.From6(), pt.Fragment(0xbeef, 181, false, pt.Raw(132, pt.Bytes(1452, 0))))
		is(t, "bytes in", len(in), 1500)
		out = x.forward(in)
		is(t, "total length", out.totalLen(), 1472)
		is(t, "DF", out.df(), false)
		out = x.forward(pt.IP(pt.From6(), pt.Fragment(0xbeef, 0, false, udp(1500-56))))
		is(t, "DF of an atomic fragment", out.df(), false)
	})

	row(t, "7915-5.1.1-06", func(t *testing.T) {
		x := newXlat(t, nil)
		in := pt.IP(pt.From6(), pt.Fragment(7, 5, true, first(24)))
		is(t, "word in", be16(in, 42), 0x0029)
		is(t, "word", ip4(x.forward(in)).fragWord(), 0x2005)
		for off8 := range uint16(8189) {
			in := pt.IP(pt.From6(), pt.Fragment(7, off8, false, pt.Raw(17, pt.Bytes(24, 1))))
			if off8 == 0 {
				continue // not a fragment
			}
			out := ip4(x.forward(in))
			is(t, "word", out.fragWord(), off8)
			wantBytes(t, "data", out[20:], in[48:])
		}
	})

	row(t, "7915-5.1.1-07", func(t *testing.T) {
		x := newXlat(t, nil)
		is(t, "protocol", ip4(x.forward(pt.IP(pt.From6(), pt.Fragment(7, 0, true, first(24))))).proto(), 17)
		is(t, "protocol", ip4(x.forward(pt.IP(pt.From6(), pt.Fragment(7, 0, false, pt.EchoRequest(1, 2, nil))))).proto(), 1)
		for _, next := range []uint8{4, 6, 33, 41, 47, 50, 59, 132, 136, 253} {
			out := x.forward(pt.IP(pt.From6(), pt.Fragment(7, 9, false, pt.Raw(next, pt.Bytes(24, 0)))))
			is(t, "protocol", ip4(out).proto(), next)
		}
	})

	row(t, "7915-5.1.1-08", func(t *testing.T) {
		for _, mtu := range []int{576, 68, 69, 75, 76, 1000, 1251} {
			x := newXlat(t, func(s *settings) { s.MTU4 = mtu })
			for _, p := range []struct{ in, out pt.Payload }{
				{udp(1280 - 48), udp(1280 - 48)},
				{pt.TCP(1, 2, pt.Bytes(1280-60, 0)), pt.TCP(1, 2, pt.Bytes(1280-60, 0))},
				{pt.EchoRequest(1, 2, pt.Bytes(1280-48, 0)), pt.EchoRequest(1, 2, pt.Bytes(1280-48, 0))},
				{pt.HopByHop(8, udp(1280-56)), udp(1280 - 56)},
			} {
				in := pt.IP(pt.From6(), p.in)
				is(t, "bytes in", len(in), 1280)
				out := x.pieces(in)
				for i, b := range out {
					is(t, "identification", ip4(b).id(), ip4(out[0]).id())
					is(t, "DF", ip4(b).df(), false)
					if i < len(out)-1 {
						is(t, "bytes", len(b), 20+(mtu-20)/8*8)
					} else if len(b) > mtu {
						t.Errorf("last piece has %d bytes, more than %d", len(b), mtu)
					}
				}
				wantPacket(t, reassembled(t, out), pt.IP(as4, p.out))
			}
			// Fragments are cut too, and whatever had a Fragment Header may be
			// cut however large it was.
			data := pt.Raw(17, pt.Bytes(1232, 1))
			out := x.pieces(pt.IP(pt.From6(), pt.Fragment(0xbeef, 100, true, data)))
			at := 100
			for _, b := range out {
				is(t, "offset", int(ip4(b).fragWord()&0x1fff), at)
				is(t, "MF", b[6]&0x20 != 0, true)
				is(t, "identification", ip4(b).id(), 0xbeef)
				at += (len(b) - 20) / 8
			}
			is(t, "end", at, 100+1232/8)
			out = x.pieces(pt.IP(pt.From6(), pt.Fragment(0xbeef, 0, false, udp(1400))))
			wantPacket(t, reassembled(t, out), pt.IP(with(as4, func(h *pt.Header) { h.ID = 0xbeef }), udp(1400)))
		}
		// One byte less than needed, and enough.
		whole := pt.IP(pt.From6(), udp(1280-48))
		newXlat(t, func(s *settings) { s.MTU4 = 1260 }).forward(whole)
		newXlat(t, func(s *settings) { s.MTU4 = 1259 }).pieces(whole)
	})

	row(t, "7915-5.1.1-09", func(t *testing.T) {
		x := newXlat(t, nil)
		in := pt.IP(pt.From6(), pt.Fragment(0xbeef, 0, true, first(24)))
		want := pt.IP(with(as4, func(h *pt.Header) { h.ID, h.MF = 0xbeef, true }), first(24))
		x.becomes(in, want)
		x.becomes(pt.Edit(in, func(b []byte) { b[41] = 0xff }), want) // reserved byte
		x.becomes(pt.Edit(in, func(b []byte) { b[43] |= 6 }), want)   // reserved bits
		x.becomes(pt.Edit(in, func(b []byte) { b[41], b[43] = 0x55, b[43]|2 }), want)
		// They don't stand for M either.
		last := pt.IP(pt.From6(), pt.Fragment(0xbeef, 5, false, pt.Raw(17, pt.Bytes(5, 1))))
		x.becomes(pt.Edit(last, func(b []byte) { b[43] |= 6 }),
			pt.IP(with(as4, func(h *pt.Header) { h.ID, h.Off8 = 0xbeef, 5 }), pt.Raw(17, pt.Bytes(5, 1))))
		atomic := pt.IP(pt.From6(), pt.Fragment(0xbeef, 0, false, pt.EchoRequest(1, 2, nil)))
		x.becomes(pt.Edit(atomic, func(b []byte) { b[41], b[43] = 0xff, 6 }),
			pt.IP(with(as4, func(h *pt.Header) { h.ID = 0xbeef }), pt.EchoRequest(1, 2, nil)))
	})
}
