package translate_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// offloaded translates a packet with offloads and returns what goes on the wire,
// segmented and with full checksums.
func offloaded(t *testing.T, w *translate.Worker, pkt []byte, o translate.Offload) ([][]byte, translate.Result) {
	t.Helper()
	p := packettest.Buffer(pkt)
	p.Offload = o
	res := w.Translate(0, &p)
	if res.Verdict == translate.Drop && p.Offload != o {
		t.Errorf("offload of a dropped packet changed")
	}
	if res.Verdict != translate.Reply { // a reply quotes what is settled first
		packettest.CheckGuards(t, &p, pkt)
	}
	more := make([]translate.Packet, translate.MaxPieces)
	for i := range more {
		more[i].Buf = make([]byte, translate.Headroom+1500+translate.Tailroom)
	}
	var out [][]byte
	for p.Result.Verdict == translate.Split {
		for i := range w.Fragment(&p, more) {
			out = append(out, slices.Clone(more[i].Bytes()))
		}
	}
	if p.Result.Verdict == translate.Drop {
		return nil, res
	}
	return append(out, packettest.Segments(p.Bytes(), p.Offload)...), res
}

// TestSuperPackets: segmenting the translated super-packet gives the packets
// that translating its segments gives. Free are the generated identifications,
// and DF of a last short segment, for which the header of the full ones speaks.
func TestSuperPackets(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	verdicts := map[string]int{}
	for range 1500 {
		h := packettest.From4()
		if r.IntN(2) == 0 {
			h = packettest.From6()
		}
		h.DF = r.IntN(4) != 0
		h.ID, h.TOS = uint16(r.Uint32()), uint8(r.Uint32())
		payload := packettest.Bytes(r.IntN(20000), byte(r.Uint32()))
		gso := []int{0, 1, 100, 536, 1180, 1200, 1208, 1220, 1232, 1240, 1388, 1400, 1420, 1440, 1448, 1460, 2000}[r.IntN(17)]
		if gso > 0 && gso < 300 {
			payload = payload[:min(len(payload), gso*100)]
		}
		l4 := packettest.UDP(1000, 2000, payload)
		if r.IntN(2) == 0 {
			l4 = packettest.TCP(1000, 2000, payload)
		}
		pkt := packettest.IP(h, l4)
		if len(pkt) > 60 && pkt[0]>>4 == 4 && pkt[9] == 6 || pkt[0]>>4 == 6 && pkt[6] == 6 {
			pkt[len(pkt)-len(payload)-7] |= uint8(r.Uint32()) & 0x89 // FIN, PSH, CWR
		}
		o := packettest.Partial(pkt, gso)
		segments := packettest.Segments(pkt, o)
		if len(segments[0]) > 65535 {
			continue
		}
		edit := func(c *translate.Config, _ *translate.TableConfig) {
			switch r.IntN(4) {
			case 0:
				c.MTU4, c.MTU6 = 9000, 9000
			case 1:
				c.MTU4 = 576
			}
		}
		cfg := packettest.Config()
		edit(&cfg, nil)
		w := newWorker(t, func(c *translate.Config, _ *translate.TableConfig) { *c = cfg })
		got, res := offloaded(t, w, pkt, o)

		var want [][]byte
		for i, s := range segments {
			out, sres := offloaded(t, w, s, translate.Offload{})
			if sres.Verdict != translate.Reply || i == 0 { // a super-packet is refused once
				want = append(want, out...)
			}
			if res.Verdict == translate.Reply {
				break
			}
		}
		verdicts[fmt.Sprint(res.Verdict, pkt[0]>>4)]++
		if len(got) != len(want) {
			t.Fatalf("%v: %d packets, want %d (gso %d, payload %d, DF %v, %+v)", res, len(got), len(want), gso, len(payload), h.DF, cfg.MTU4)
		}
		for i := range got {
			a, b := free(got[i], pkt), free(want[i], pkt)
			if i == len(got)-1 && a[0]>>4 == 4 {
				a[6] &^= 0x40
				b[6] &^= 0x40
				packettest.FixHeader(a)
				packettest.FixHeader(b)
			}
			if !slices.Equal(a, b) {
				t.Fatalf("%v: packet %d of %d (gso %d, payload %d, DF %v)\ngot  %x\nwant %x", res, i, len(got), gso, len(payload), h.DF, a[:80], b[:80])
			}
			if err := packettest.Check(got[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, want := range []string{"forward 4", "forward 6", "reply 4", "reply 6", "split 4", "split 6"} {
		if verdicts[want] == 0 {
			t.Errorf("no packet came to %q: %v", want, verdicts)
		}
	}
}

// TestFewestPieces: the segments of a super-packet are cut into no more pieces
// than packets of their size. Only the last piece of each may hold more than the
// others, since it need not be a multiple of 8 bytes long; fuzzing found three
// pieces where two are enough.
func TestFewestPieces(t *testing.T) {
	for _, c := range []struct {
		name  string
		h     packettest.Header
		gso   int // with 20 bytes of TCP header: as much as two pieces hold
		mtu4  int
		mtu6  int
		sizes []int // of the pieces of one segment
	}{
		{"4to6", packettest.Header{Src: packettest.H4, Dst: packettest.M4}, 1344 + 1349 - 20, 1500, 1397, []int{48 + 1344, 1397}},
		{"6to4", packettest.From6(), 552 + 557 - 20, 577, 1500, []int{20 + 552, 577}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorker(t, func(cfg *translate.Config, _ *translate.TableConfig) {
				cfg.MTU4, cfg.MTU6, cfg.LowestIPv6MTU = c.mtu4, c.mtu6, 1500
			})
			pkt := packettest.IP(c.h, packettest.TCP(1, 2, packettest.Bytes(3*c.gso, 0)))
			o := packettest.Partial(pkt, c.gso)
			out, res := offloaded(t, w, pkt, o)
			if res.Verdict != translate.Split || len(out) != 6 {
				t.Fatalf("%v (%v), %d packets, want 6", res.Verdict, res.Reason, len(out))
			}
			for i, b := range out {
				if len(b) != c.sizes[i%2] {
					t.Errorf("piece %d has %d bytes, want %d", i, len(b), c.sizes[i%2])
				}
			}
		})
	}
}

// free clears the identification that the translator chose: all of them in IPv4
// packets.
func free(b, in []byte) []byte {
	if b[0]>>4 == 4 && in[0]>>4 == 6 {
		return packettest.Edit(b, func(b []byte) { b[4], b[5] = 0, 0 })
	}
	if b[0]>>4 == 4 { // an ICMP error
		return packettest.Edit(b, func(b []byte) { b[4], b[5] = 0, 0 })
	}
	return b
}

// TestPartialChecksum: finishing the translated packet gives what translating
// the finished packet gives.
func TestPartialChecksum(t *testing.T) {
	for _, h := range []packettest.Header{packettest.From4(), packettest.From6()} {
		for n := range 100 {
			for _, l4 := range []packettest.Payload{packettest.UDP(1, 2, packettest.Bytes(n, 0)), packettest.TCP(1, 2, packettest.Bytes(n, 0))} {
				w := newWorker(t, nil)
				pkt := packettest.IP(h, l4)
				whole, _ := offloaded(t, w, pkt, translate.Offload{})
				o := packettest.Partial(pkt, 0)
				got, res := offloaded(t, w, pkt, o)
				if res.Verdict != translate.Forward {
					t.Fatal(res)
				}
				if d := packettest.Equal(free(whole[0], pkt), got[0]); d != "" {
					t.Fatal(d)
				}
			}
		}
	}
}

// TestOffloadThatLies: a description that contradicts the packet is refused.
func TestOffloadThatLies(t *testing.T) {
	tcp4 := packettest.IP(packettest.From4(), packettest.TCP(1, 2, packettest.Bytes(3000, 0)))
	tcp6 := packettest.IP(packettest.From6(), packettest.TCP(1, 2, packettest.Bytes(3000, 0)))
	udp6 := packettest.IP(packettest.From6(), packettest.UDP(1, 2, packettest.Bytes(3000, 0)))
	frag := packettest.IP(packettest.From6(), packettest.Fragment(1, 0, true, packettest.UDP(1, 2, packettest.Bytes(1000, 0))))
	echo := packettest.IP(packettest.From6(), packettest.EchoRequest(1, 2, packettest.Bytes(1000, 0)))
	short := packettest.Edit(tcp4, func(b []byte) { b[32] = 4 << 4 })
	long := packettest.Edit(tcp4[:44], func(b []byte) { b[32] = 0xf0; binary.BigEndian.PutUint16(b[2:], 44) })
	for _, c := range []struct {
		name string
		pkt  []byte
		edit func(o *translate.Offload)
	}{
		{"csum-start-beyond", tcp4, func(o *translate.Offload) { o.CsumStart = 60000 }},
		{"csum-start-in-ip-header", tcp4, func(o *translate.Offload) { o.CsumStart = 0 }},
		{"csum-offset-wrong", tcp4, func(o *translate.Offload) { o.CsumOffset = 6 }},
		{"csum-offset-beyond", tcp4, func(o *translate.Offload) { o.CsumOffset = 65535 }},
		{"gso-without-csum", tcp4, func(o *translate.Offload) { o.Flags = 0 }},
		{"gso-size-0", tcp4, func(o *translate.Offload) { o.GSOSize = 0 }},
		{"gso-other-family", tcp4, func(o *translate.Offload) { o.GSOType = translate.GSOTCPv6 }},
		{"gso-other-family-6", tcp6, func(o *translate.Offload) { o.GSOType = translate.GSOTCPv4 }},
		{"gso-tcp-on-udp", udp6, func(o *translate.Offload) { o.GSOType = translate.GSOTCPv6 }},
		{"gso-udp-on-tcp", tcp6, func(o *translate.Offload) { o.GSOType = translate.GSOUDPL4 }},
		{"ufo", udp6, func(o *translate.Offload) { o.GSOType = 3 }},
		{"gso-unknown", tcp6, func(o *translate.Offload) { o.GSOType = 0x7f }},
		{"udp-too-many-segments", udp6, func(o *translate.Offload) { o.GSOSize = 23 }},
		{"tcp-header-short", short, nil},
		{"tcp-header-beyond", long, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			pkt := slices.Clone(c.pkt)
			o := packettest.Partial(pkt, 1000)
			if c.edit != nil {
				c.edit(&o)
			}
			if _, res := offloaded(t, newWorker(t, nil), pkt, o); res != (translate.Result{Verdict: translate.Drop, Reason: translate.BadOffload}) {
				t.Errorf("%v (%v)", res.Verdict, res.Reason)
			}
		})
	}
	for name, pkt := range map[string][]byte{"fragment": frag, "echo": echo} {
		o := translate.Offload{Flags: translate.OffloadNeedsCsum, CsumStart: 40, CsumOffset: 2}
		if _, res := offloaded(t, newWorker(t, nil), pkt, o); res.Reason != translate.BadOffload {
			t.Errorf("%s: %v", name, res.Reason)
		}
	}
}

// TestOffloadMoves: what the kernel needs to know about the new headers.
func TestOffloadMoves(t *testing.T) {
	pkt := packettest.IP(packettest.From4(), packettest.TCP(1, 2, packettest.Bytes(9000, 0)))
	o := packettest.Partial(pkt, 1400)
	o.GSOType |= translate.GSOECN
	o.HdrLen = 7 // the kernel's own is not to be trusted
	p := packettest.Buffer(pkt)
	p.Offload = o
	w := newWorker(t, nil)
	w.Translate(0, &p)
	want := translate.Offload{
		Flags: translate.OffloadNeedsCsum, GSOType: translate.GSOTCPv6 | translate.GSOECN,
		HdrLen: 60, GSOSize: 1400, CsumStart: 40, CsumOffset: 16,
	}
	if p.Offload != want {
		t.Errorf("4to6: %+v, want %+v", p.Offload, want)
	}

	pkt = packettest.IP(packettest.From6(), packettest.HopByHop(8, packettest.UDP(1, 2, packettest.Bytes(9000, 0))))
	p = packettest.Buffer(pkt)
	p.Offload = translate.Offload{Flags: translate.OffloadNeedsCsum, GSOType: translate.GSOUDPL4, HdrLen: 56, GSOSize: 1200, CsumStart: 48, CsumOffset: 6}
	w.Translate(0, &p)
	want = translate.Offload{
		Flags: translate.OffloadNeedsCsum, GSOType: translate.GSOUDPL4,
		HdrLen: 28, GSOSize: 1200, CsumStart: 20, CsumOffset: 6,
	}
	if p.Offload != want {
		t.Errorf("6to4: %+v, want %+v", p.Offload, want)
	}
}
