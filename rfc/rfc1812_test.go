package rfc

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// A trigger makes a packet one that the translator answers with an ICMP error of
// the type and code want, if it may.
type trigger struct {
	name string
	want [2]uint8
	edit func(h *pt.Header)
}

var (
	looseRoute   = []byte{0x83, 7, 4, 10, 0, 0, 1, 0} // one hop to go
	expiredRoute = []byte{0x83, 7, 8, 10, 0, 0, 1, 0}

	// triggers4 are all there are for IPv4 packets; packets have to be larger than
	// 1480 bytes for one of them.
	triggers4 = []trigger{
		{"ttl", [2]uint8{11, 0}, func(h *pt.Header) { h.TTL = 1 }},
		{"too-big", [2]uint8{3, 4}, func(h *pt.Header) { h.DF = true }},
		{"source-route", [2]uint8{3, 5}, func(h *pt.Header) { h.Options = looseRoute }},
		{"no-destination", [2]uint8{3, 13}, func(h *pt.Header) { h.Dst = addr("192.0.2.200") }},
		{"self", [2]uint8{3, 2}, func(h *pt.Header) { h.Dst = pt.X4 }},
	}
	triggers6 = []trigger{
		{"hop-limit", [2]uint8{3, 0}, func(h *pt.Header) { h.TTL = 1 }},
		{"too-big", [2]uint8{2, 0}, func(h *pt.Header) {}},
		{"no-destination", [2]uint8{1, 1}, func(h *pt.Header) { h.Dst = addr("2001:db8:1::1") }},
		{"no-source", [2]uint8{1, 1}, func(h *pt.Header) { h.Src = pt.R6 }},
		{"self", [2]uint8{4, 1}, func(h *pt.Header) { h.Dst = pt.X6 }},
	}
)

// strict is a translator in which all triggers work: a pool of which nothing is
// leased, and an MTU4 below what comes from IPv6.
func strict(t *testing.T, edit func(s *settings)) *xlat {
	t.Helper()
	return newXlat(t, func(s *settings) {
		s.Pools = pt.Pools(nil, "192.0.2.192/28")
		s.MTU4 = 1400
		if edit != nil {
			edit(s)
		}
	})
}

func TestRFC1812Input(t *testing.T) {
	row(t, "1812-5.2.2-01", func(t *testing.T) {
		x := newXlat(t, nil)
		good := pt.IP(pt.From4(), ping)
		x.becomes(good, pt.IP(as6, ping))
		for n := range len(good) { // fewer bytes than Total Length, or than a header
			x.drop(good[:n], translate.BadHeader)
		}
		for v := range byte(16) { // version
			if v != 4 {
				x.drop(pt.Edit(good, func(b []byte) { b[0] = v<<4 | 5 }), translate.BadHeader)
			}
		}
		for ihl := range byte(5) {
			in := pt.Edit(good, func(b []byte) { b[0] = 0x40 | ihl })
			x.drop(in, translate.BadHeader)
		}
		for _, ihl := range []byte{9, 15} { // header beyond the end, or beyond Total Length
			x.drop(pt.Edit(good, func(b []byte) { b[0] = 0x40 | ihl }), translate.BadHeader)
		}
		for _, n := range []byte{0, 19, 33, 255} { // Total Length; the packet has 32 bytes
			x.drop(pt.Edit(good, func(b []byte) { b[3] = n }), translate.BadHeader)
		}
		for bit := range 160 { // header checksum: every single bit wrong
			in := bytes.Clone(good)
			in[bit/8] ^= 0x80 >> (bit % 8)
			x.none(in)
		}
		in := bytes.Clone(good)
		in[10] ^= 1
		x.drop(in, translate.BadHeaderChecksum)
		in[10], in[11] = 0, 0
		x.drop(in, translate.BadHeaderChecksum)
	})
}

func TestRFC1812Never(t *testing.T) {
	big := pt.EchoRequest(1, 2, make([]byte, 1480))
	row(t, "1812-4.3.2.7-01", func(t *testing.T) {
		x := strict(t, nil)
		for typ := range 256 {
			for _, tr := range triggers4 {
				body := append(pt.IP(sent4, udp(1440)), make([]byte, 12)...)
				h := with(pt.From4(), tr.edit)
				in := pt.IP(h, pt.ICMP(uint8(typ), 0, 0, body))
				switch {
				case typ != 0 && typ != 8:
					if tr.name != "too-big" { // what is not answered may be translated and cut
						x.none(in)
					} else if _, res := x.send(in); res.Verdict == translate.Reply {
						t.Errorf("type %d: answered", typ)
					}
				case tr.name == "self": // Echo has answers of its own
				default:
					x.err4(in, tr.want[0], tr.want[1])
				}
			}
		}
	})
	row(t, "1812-4.3.2.7-02", func(t *testing.T) {
		x := strict(t, func(s *settings) { s.AllowClassE = true })
		for _, dst := range []string{"224.0.0.1", "239.255.255.255", "255.255.255.255"} {
			for _, tr := range triggers4[:3] {
				x.drop(pt.IP(with(between("198.51.100.4", dst), tr.edit), big), translate.IllegalDestination)
			}
		}
	})
	row(t, "1812-4.3.2.7-03", func(t *testing.T) {
		x := strict(t, nil)
		data := pt.Raw(17, make([]byte, 1488))
		for _, tr := range triggers4 {
			for _, more := range []bool{true, false} {
				h := with(pt.From4(), tr.edit)
				h.MF = more
				h.Off8 = 5
				x.none(pt.IP(h, data))
				h.Off8, h.MF = 0, true
				x.err4(pt.IP(h, pt.Part(udp(3000), 0, 1488)), tr.want[0], tr.want[1])
			}
		}
	})
	row(t, "1812-4.3.2.7-04", func(t *testing.T) {
		for _, classE := range []bool{false, true} {
			x := strict(t, func(s *settings) { s.AllowClassE = classE })
			for _, src := range []string{"0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255", "224.0.0.5", "239.1.1.1", "255.255.255.255", "240.0.0.1", "254.1.1.1"} {
				for _, tr := range triggers4 {
					h := with(pt.From4(), tr.edit)
					h.Src = addr(src)
					x.none(pt.IP(h, udp(1480)))
				}
			}
		}
	})
	row(t, "1812-4.3.2.7-05", func(t *testing.T) {
		x := strict(t, nil)
		good := pt.IP(with(pt.From4(), func(h *pt.Header) { h.TTL = 1 }), udp(20))
		x.err4(good, 11, 0)
		for n := range len(good) {
			x.none(good[:n])
		}
		for _, edit := range []func(b []byte){
			func(b []byte) { b[0] = 0x44 },
			func(b []byte) { b[0] = 0x55 },
			func(b []byte) { b[3] = 19 },
			func(b []byte) { b[3]++ },
		} {
			x.none(pt.Edit(good, edit))
		}
		bad := bytes.Clone(good)
		bad[11] ^= 1
		x.none(bad)
		// What is dropped silently is so whatever else is wrong with it.
		ttl1 := func(src, dst string, p pt.Payload) []byte {
			return pt.IP(with(between(src, dst), func(h *pt.Header) { h.TTL = 1 }), p)
		}
		for _, in := range [][]byte{
			ttl1("198.51.100.4", "192.0.2.6", pt.Raw(2, make([]byte, 8))),          // IGMP
			ttl1("198.51.100.4", "192.0.2.6", pt.ICMP(13, 0, 0, make([]byte, 12))), // Timestamp
			ttl1("198.51.100.4", "127.0.0.1", ping),
			ttl1("198.51.100.4", "240.0.0.1", ping),
		} {
			x.none(in)
		}
	})
}

func TestRFC1812Error(t *testing.T) {
	row(t, "1812-4.3.2.2-01", func(t *testing.T) {
		x := strict(t, nil)
		for _, tr := range triggers4 {
			for _, ttl := range []byte{0, 1, 2, 63, 64, 255} {
				in := pt.Edit(pt.IP(with(pt.From4(), tr.edit), udp(1480)), func(b []byte) {
					if tr.name != "ttl" || ttl < 2 {
						b[8] = ttl
					}
				})
				if b := x.reply(in); b[8] != 64 {
					t.Errorf("%s: TTL %d about a packet with %d", tr.name, b[8], in[8])
				}
			}
		}
	})
	row(t, "1812-4.3.2.3-01", func(t *testing.T) {
		x := newXlat(t, nil)
		in := pt.IP(pt.From4(), udp(1500-28))
		b := x.reply(in)
		is(t, "bytes", len(b), 576)
		is(t, "Total Length", be16(b, 2), 576)
		wantBytes(t, "quote", b[28:], in[:548])
		// Smaller packets are quoted in whole, without what the link added.
		in = pt.IP(with(pt.From4(), func(h *pt.Header) { h.TTL, h.Options = 1, expiredRoute }), udp(100))
		b = x.reply(append(bytes.Clone(in), 1, 2, 3))
		wantBytes(t, "quote", b[28:], in)
		for size := 518; size <= 522; size++ {
			in := pt.IP(with(pt.From4(), func(h *pt.Header) { h.TTL = 1 }), udp(size))
			b := x.reply(in)
			is(t, "bytes", len(b), min(576, len(in)+28))
			wantBytes(t, "quote", b[28:], in[:len(b)-28])
		}
	})
	row(t, "1812-4.3.2.4-01", func(t *testing.T) {
		x := strict(t, nil)
		for _, tr := range triggers4 {
			b := x.reply(pt.IP(with(pt.From4(), tr.edit), udp(1480)))
			wantBytes(t, tr.name, b[12:16], []byte{192, 0, 2, 254})
		}
		// Without an own address there is no source for the error.
		x = strict(t, func(s *settings) { s.IPv4 = netip.Addr{} })
		for _, tr := range triggers4[:4] {
			x.none(pt.IP(with(pt.From4(), tr.edit), udp(1480)))
		}
	})
	row(t, "1812-4.3.2.5-01", func(t *testing.T) {
		x := newXlat(t, nil)
		for tos := range 256 {
			b := x.reply(pt.IP(with(pt.From4(), func(h *pt.Header) { h.TTL, h.TOS = 1, byte(tos) }), ping))
			is(t, "TOS", b[1], byte(0xc0|tos&0x1e))
		}
		b := x.reply(pt.IP(with(pt.From4(), func(h *pt.Header) { h.TTL, h.TOS = 1, 0x08 }), ping))
		is(t, "TOS", b[1], 0xc8)
	})
	row(t, "1812-4.3.2.6-01", func(t *testing.T) {
		// What is done instead: the answer goes straight to the source.
		x := newXlat(t, nil)
		for _, h := range []pt.Header{
			with(pt.From4(), func(h *pt.Header) { h.Options = looseRoute }),
			with(pt.From4(), func(h *pt.Header) { h.Options, h.TTL = expiredRoute, 1 }),
		} {
			b := x.reply(pt.IP(h, ping))
			is(t, "version and header length", b[0], 0x45)
			wantEnds(t, b, "192.0.2.254 > 198.51.100.4")
		}
	})
	row(t, "1812-4.3.2.8-01", func(t *testing.T) {
		in := pt.IP(with(pt.From4(), func(h *pt.Header) { h.TTL = 1 }), ping)
		errorRates(t, in)
	})
	row(t, "1812-4.3.2-01", func(t *testing.T) {
		seen := map[[2]uint8]bool{}
		x := strict(t, nil)
		for _, s := range append(corpusForErrors(), pt.IP(pt.From4(), udp(1480))) {
			for _, tr := range triggers4 {
				for _, edit := range []func(b []byte){
					func([]byte) {},
					func(b []byte) { b[9] = 132 },
					func(b []byte) { b[9] = 2 },
				} {
					h := with(pt.From4(), tr.edit)
					in := pt.IP(h, pt.Raw(s[9], s[20:]))
					out, res := x.send(pt.Edit(in, edit))
					if res.Verdict == translate.Reply && res.Reason != translate.EchoReply {
						seen[[2]uint8{out[0][20], out[0][21]}] = true
					}
				}
			}
		}
		want := map[[2]uint8]bool{{3, 2}: true, {3, 4}: true, {3, 5}: true, {3, 13}: true, {11, 0}: true}
		is(t, "kinds of errors", fmt.Sprint(seen), fmt.Sprint(want))
	})
}

// corpusForErrors are IPv4 packets of several protocols and sizes.
func corpusForErrors() (all [][]byte) {
	for _, n := range []int{0, 100, 1480} {
		data := make([]byte, n)
		for _, p := range []pt.Payload{udp(n), pt.TCP(1, 2, data), pt.EchoRequest(1, 2, data), pt.EchoReply(1, 2, data),
			pt.ICMP(3, 3, 0, pt.IP(sent4, udp(n))), pt.DCCP(1, 2, data), pt.UDPLite(1, 2, 8, data), pt.Raw(50, data)} {
			all = append(all, pt.IP(pt.From4(), p))
		}
	}
	return all
}

// errorRates checks the budget for errors about in, which always deserves one:
// as it is by default, with other numbers, without limit and switched off.
func errorRates(t *testing.T, in []byte) {
	t.Helper()
	// errors sends in once a millisecond for a second and counts the answers.
	errors := func(rate, burst int) (n int, held uint64) {
		x := newXlat(t, func(s *settings) { s.ErrorRate, s.ErrorBurst = rate, burst })
		for ms := range 1000 {
			x.now = time.Hour + time.Duration(ms)*time.Millisecond
			switch _, res := x.send(in); res.Verdict {
			case translate.Reply:
				n++
			case translate.Drop:
				is(t, "reason", res.Reason, translate.HopLimit)
			}
		}
		return n, x.Stats().ErrorsHeldBack
	}
	for _, c := range []struct{ rate, burst, low, high int }{
		{0, 0, 149, 150}, // the default: 50 at once and 100 a second
		{10, 10, 19, 20}, // what RFC 4443 names for a small device
		{200, 5, 203, 205},
		{1, 1, 1, 2},
		{translate.UnlimitedErrors, 0, 1000, 1000},
		{-1, 0, 0, 0},
	} {
		n, held := errors(c.rate, c.burst)
		if n < c.low || n > c.high {
			t.Errorf("rate %d, burst %d: %d errors in a second, want %d to %d", c.rate, c.burst, n, c.low, c.high)
		}
		if c.rate >= 0 && n+int(held) != 1000 {
			t.Errorf("rate %d, burst %d: %d errors sent and %d held back, of 1000", c.rate, c.burst, n, held)
		}
	}

	// Bursts are answered, as traceroute needs it, again and again.
	x := newXlat(t, func(s *settings) { s.ErrorRate, s.ErrorBurst = 10, 10 })
	for s := range 10 {
		x.now = time.Duration(s) * time.Second
		for range 10 {
			x.reply(in)
		}
		x.none(in)
	}
	// Time that stands still or runs back brings nothing.
	x.now = 9 * time.Second
	x.none(in)
	x.now = time.Second
	x.none(in)
	// A worker for which time stands still has its burst and no more.
	x = newXlat(t, func(s *settings) { s.ErrorRate, s.ErrorBurst = 0, 0 })
	for range 50 {
		x.reply(in)
	}
	x.none(in)
}

func TestRFC1812Self(t *testing.T) {
	toX4 := with(pt.From4(), func(h *pt.Header) { h.Dst = pt.X4 })
	row(t, "1812-5.3.1-01", func(t *testing.T) {
		x := newXlat(t, nil)
		for ttl := range byte(3) {
			in := pt.Edit(pt.IP(pt.From4(), ping), func(b []byte) { b[8] = ttl })
			if ttl < 2 {
				x.err4(in, 11, 0)
			} else {
				is(t, "hop limit", x.forward(in)[7], 1)
			}
			echo := pt.Edit(pt.IP(toX4, pt.EchoRequest(1, 2, nil)), func(b []byte) { b[8] = ttl })
			_, res := x.checked(echo)
			is(t, "echo to the translator", res, translate.Result{Verdict: translate.Reply, Reason: translate.EchoReply})
		}
		x.none(pt.IP(with(between("198.51.100.4", "224.0.0.1"), func(h *pt.Header) { h.TTL = 1 }), ping))
	})
	row(t, "1812-4.3.3.6-01", func(t *testing.T) {
		x := newXlat(t, nil)
		toX6 := pt.Header{Src: pt.M6, Dst: pt.X6}
		for _, n := range []int{0, 1, 56, 1400} {
			for _, tos := range []byte{0, 0x08, 0xb9, 0xff} {
				data := pt.Bytes(n, 7)
				in4, in6 := with(toX4, func(h *pt.Header) { h.TOS = tos }), with(toX6, func(h *pt.Header) { h.TOS = tos })
				wantPacket(t, x.reply(pt.IP(in4, pt.EchoRequest(0x1234, 5, data))),
					pt.IP(pt.Header{Src: pt.X4, Dst: pt.H4, TOS: tos}, pt.EchoReply(0x1234, 5, data)))
				wantPacket(t, x.reply(pt.IP(in6, pt.EchoRequest(0x1234, 5, data))),
					pt.IP(pt.Header{Src: pt.X6, Dst: pt.M6, TOS: tos}, pt.EchoReply(0x1234, 5, data)))
			}
		}
		// From the other side the packet crosses the translator to reach it.
		x = newXlat(t, func(s *settings) { s.Maps = append(s.Maps, maps("192.0.2.253/32", "2001:db8:f::254/128")...) })
		for _, c := range []struct{ host, own string }{
			{"2001:db8:6::6", "2001:db8:64::c000:2fe"},
			{"198.51.100.4", "192.0.2.253"},
		} {
			there := x.forward(pt.IP(between(c.host, c.own), pt.EchoRequest(1, 2, nil)))
			back := x.forward(x.reply(there))
			wantPacket(t, back, pt.IP(pt.Header{Src: addr(c.own), Dst: addr(c.host), TTL: 63}, pt.EchoReply(1, 2, nil)))
		}

		for _, bad := range [][]byte{
			pt.Edit(pt.IP(toX4, pt.EchoRequest(1, 2, nil)), func(b []byte) { b[23] ^= 1 }),
			pt.Edit(pt.IP(toX6, pt.EchoRequest(1, 2, nil)), func(b []byte) { b[43] ^= 1 }),
		} {
			x.drop(bad, translate.ICMPChecksum)
		}
		x.drop(pt.IP(toX4, pt.EchoReply(1, 2, nil)), translate.SelfICMP)
		x.drop(pt.IP(toX6, pt.EchoReply(1, 2, nil)), translate.SelfICMP)
	})
}
