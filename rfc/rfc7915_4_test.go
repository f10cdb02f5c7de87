package rfc

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// noDF is the header of an IPv4 packet that may be cut.
var noDF = pt.Header{Src: pt.H4, Dst: pt.M4, ID: 0xbeef}

// random returns n bytes that are the same in every run.
func random(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 7915))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestRFC7915_4(t *testing.T) {
	row(t, "7915-4-01", func(t *testing.T) {
		x := newXlat(t, nil)
		data := random(1000, 1)
		for _, p := range []pt.Payload{pt.UDP(1, 2, data), pt.TCP(1, 2, data), pt.EchoRequest(1, 2, data), pt.Raw(132, data)} {
			out := x.forward(pt.IP(pt.From4(), p))
			is(t, "data", string(out[len(out)-1000:]), string(data))
			wantPacket(t, out, pt.IP(as6, p))
		}
	})

	row(t, "7915-4-02", func(t *testing.T) {
		out := newXlat(t, nil).pieces(pt.IP(noDF, udp(1500-28)))
		is(t, "pieces", len(out), 2)
		is(t, "bytes of the first", len(out[0]), 1280)
		is(t, "bytes of the second", len(out[1]), 296)
	})

	row(t, "7915-4-03", func(t *testing.T) {
		in := pt.IP(noDF, udp(1460-28))
		x := newXlat(t, func(s *settings) { s.LowestIPv6MTU = 1480 })
		x.becomes(in, pt.IP(as6, udp(1460-28)))
		is(t, "bytes", len(x.forward(in)), 1480)
		x.pieces(pt.IP(noDF, udp(1461-28)))

		// 1280 unless the operator knows better.
		x = newXlat(t, func(s *settings) { s.LowestIPv6MTU = 0 })
		x.forward(pt.IP(noDF, udp(1260-28)))
		x.pieces(pt.IP(noDF, udp(1261-28)))

		tab, err := translate.NewTable(pt.TableConfig())
		if err != nil {
			t.Fatal(err)
		}
		for _, low := range []int{1279, 68, 1, -1, 65536} {
			c := pt.Config()
			c.LowestIPv6MTU = low
			if _, err := translate.New(c, tab); err == nil {
				t.Errorf("a lowest IPv6 MTU of %d is accepted", low)
			}
		}
	})

	// RFC 6145 would have added a Fragment Header.
	row(t, "7915-4-04", func(t *testing.T) {
		x := newXlat(t, nil)
		out := x.forward(pt.IP(noDF, udp(100-28)))
		is(t, "next header", ip6(out).next(), 17)
		wantPacket(t, out, pt.IP(as6, udp(100-28)))
		for n := 0; n <= 1260-28; n += 7 {
			is(t, "next header", ip6(x.forward(pt.IP(noDF, udp(n)))).next(), 17)
		}
	})

	row(t, "7915-4-05", func(t *testing.T) {
		x := newXlat(t, nil)
		in4 := pt.IP(with(noDF, func(h *pt.Header) { h.Off8 = 5 }), pt.Raw(17, pt.Bytes(8, 0)))
		in6 := pt.IP(pt.From6(), pt.Fragment(0x1234beef, 5, true, pt.Raw(17, pt.Bytes(8, 0))))
		is(t, "4to6 identification", ip6(x.forward(in4)).frag().id(), 0x0000beef)
		is(t, "6to4 identification", ip4(x.forward(in6)).id(), 0xbeef)
		for id := range 1 << 16 {
			if id%251 != 0 && id > 300 && id < 65300 {
				continue
			}
			in := pt.Edit(in4, func(b []byte) { binary.BigEndian.PutUint16(b[4:], uint16(id)) })
			is(t, "4to6 identification", ip6(x.forward(in)).frag().id(), uint32(id))
			for _, high := range []uint32{0, 1, 0x8000, 0xffff} {
				binary.BigEndian.PutUint32(in6[44:], high<<16|uint32(id))
				is(t, "6to4 identification", ip4(x.forward(in6)).id(), uint16(id))
			}
		}
	})

	row(t, "7915-4-06", func(t *testing.T) {
		inOrder(t, pt.From4())
		// The pieces of a datagram come in the order of their offsets, however
		// many buffers there are at once.
		for free := 1; free <= 5; free++ {
			x := newXlat(t, nil)
			p := pt.Buffer(pt.IP(noDF, udp(4000)))
			if res := x.w.Translate(0, &p); res.Verdict != translate.Split {
				t.Fatalf("%v (%v), want pieces", res.Verdict, res.Reason)
			}
			more := make([]translate.Packet, free)
			for i := range more {
				more[i] = pt.Buffer(make([]byte, 1500))
			}
			at := 0
			next := func(b []byte) {
				is(t, "offset", ip6(b).frag().off8()*8, at)
				at += len(b) - 48
			}
			for p.Result.Verdict == translate.Split {
				for i := range x.w.Fragment(&p, more) {
					next(more[i].Bytes())
				}
			}
			next(p.Bytes())
			is(t, "bytes in all", at, 4008)
		}
	})
}

// inOrder sends 100 000 numbered packets of one flow through batches of many
// lengths, and expects them to lie in the batches as they came.
func inOrder(t *testing.T, h pt.Header) {
	t.Helper()
	x := newXlat(t, nil)
	sent, seen := uint32(0), uint32(0)
	batch := make([]translate.Packet, 256)
	numbered := func(n uint32) []byte {
		return pt.IP(h, pt.UDP(1, 2, binary.BigEndian.AppendUint32(nil, n)))
	}
	template := pt.Buffer(numbered(0))
	for i := range batch {
		batch[i] = pt.Buffer(numbered(0))
	}
	for size := 1; sent < 100_000; size = size%256 + 1 {
		for i := range size {
			p := &batch[i]
			copy(p.Buf, template.Buf)
			p.Off, p.Len = template.Off, template.Len
			binary.BigEndian.PutUint32(p.Buf[p.Off+p.Len-4:], sent)
			sent++
		}
		x.w.TranslateBatch(0, batch[:size])
		for i := range size {
			p := &batch[i]
			if p.Result.Verdict != translate.Forward {
				t.Fatalf("packet %d: %v (%v)", seen, p.Result.Verdict, p.Result.Reason)
			}
			b := p.Bytes()
			if got := be32(b, len(b)-4); got != seen {
				t.Fatalf("packet %d comes where %d is due", got, seen)
			}
			seen++
		}
	}
	is(t, "packets", seen, sent)
}
