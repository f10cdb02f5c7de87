package rfc

import (
	"encoding/binary"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

func TestRFC7915_5(t *testing.T) {
	row(t, "7915-5-01", func(t *testing.T) {
		x := newXlat(t, nil)
		data := random(1000, 8)
		for _, p := range []pt.Payload{pt.UDP(1, 2, data), pt.TCP(1, 2, data), pt.EchoReply(1, 2, data), pt.Raw(132, data)} {
			for _, in := range [][]byte{
				pt.IP(pt.From6(), p),
				pt.IP(pt.From6(), pt.HopByHop(16, pt.DestOpts(8, p))),
			} {
				out := x.forward(in)
				is(t, "data", string(out[len(out)-1000:]), string(data))
				wantPacket(t, out, pt.IP(as4, p))
			}
		}
	})

	// What was wrong stays wrong: no receiver may take a damaged packet for a good
	// one because we have corrected its checksum.
	row(t, "7915-5-02", func(t *testing.T) {
		x := newXlat(t, nil)
		damaged := func(pkt []byte, at int, by uint16) []byte {
			return pt.Edit(pkt, func(b []byte) {
				binary.BigEndian.PutUint16(b[at:], binary.BigEndian.Uint16(b[at:])+by)
			})
		}
		for _, c := range []struct {
			name string
			pt.Payload
			at int // of the checksum, counted from the transport header
		}{
			{"UDP", udp(5), 6},
			{"TCP", pt.TCP(1, 2, pt.Bytes(5, 0)), 16},
			{"echo", pt.EchoRequest(1, 2, pt.Bytes(5, 0)), 2},
			{"DCCP", pt.DCCP(1, 2, pt.Bytes(5, 0)), 6},
			{"UDP-Lite", pt.UDPLite(1, 2, 0, pt.Bytes(5, 0)), 6},
		} {
			for by := uint16(1); by < 0xfff0; by += 13 {
				for _, in := range [][]byte{damaged(pt.IP(pt.From6(), c.Payload), 40+c.at, by), damaged(pt.IP(pt.From4(), c.Payload), 20+c.at, by)} {
					if c.name == "UDP" && be16(in, len(in)-7) == 0 {
						continue // by chance it has no checksum now, and gets none
					}
					out, _ := x.send(in)
					for _, b := range out {
						if pt.Check(b) == nil {
							t.Fatalf("%s with a checksum off by %d leaves intact\nin  %x\nout %x", c.name, by, in, b)
						}
					}
				}
			}
		}
		for by := uint16(1); by < 0xffff; by += 13 { // 0xffff more is no change
			x.drop(damaged(error6(1, 4, 0, pt.IP(sent6, udp(4))), 42, by), translate.ICMPChecksum)
			x.drop(damaged(error4(3, 3, 0, pt.IP(sent4, udp(4))), 22, by), translate.ICMPChecksum)
		}
		// Damage anywhere in an error is noticed.
		whole := error6(1, 4, 0, pt.IP(sent6, udp(4)))
		for i := 44; i < len(whole); i++ {
			if i < 48 { // length and unused bytes: a length of its own meets another refusal
				continue
			}
			x.drop(pt.Edit(whole, func(b []byte) { b[i] ^= 0x10 }), translate.ICMPChecksum)
		}
	})

	row(t, "7915-5-03", func(t *testing.T) {
		x := newXlat(t, nil)
		out := ip4(x.forward(pt.IP(pt.From6(), udp(1280-48))))
		is(t, "total length", out.totalLen(), 1260)
		is(t, "DF", out.df(), false)
		out = x.forward(pt.IP(pt.From6(), udp(1281-48)))
		is(t, "total length", out.totalLen(), 1261)
		is(t, "DF", out.df(), true)
		out = x.forward(pt.IP(pt.From6(), udp(1300-48)))
		is(t, "total length", out.totalLen(), 1280)
		is(t, "DF", out.df(), true)
		out = x.forward(pt.IP(pt.From6(), pt.HopByHop(8, udp(1288-56))))
		is(t, "total length", out.totalLen(), 1260)
		is(t, "DF", out.df(), false)
		for n := 0; n <= 1500-48; n += 3 {
			out := ip4(x.forward(pt.IP(pt.From6(), udp(n))))
			is(t, "DF", out.df(), 28+n > 1260)
		}
	})

	row(t, "7915-5-04", func(t *testing.T) {
		inOrder(t, pt.From6())
		x := newXlat(t, func(s *settings) { s.MTU4 = 576 })
		for free := 1; free <= 3; free++ {
			p := pt.Buffer(pt.IP(pt.From6(), udp(1232)))
			is(t, "verdict", x.w.Translate(0, &p).Verdict, translate.Split)
			more := make([]translate.Packet, free)
			for i := range more {
				more[i] = pt.Buffer(make([]byte, 576))
			}
			at := 0
			next := func(b []byte) {
				is(t, "offset", int(ip4(b).fragWord()&0x1fff)*8, at)
				at += len(b) - 20
			}
			for p.Result.Verdict == translate.Split {
				for i := range x.w.Fragment(&p, more) {
					next(more[i].Bytes())
				}
			}
			next(p.Bytes())
			is(t, "bytes in all", at, 1240)
		}
	})
}
