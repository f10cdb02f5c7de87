package translate_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// Sizes that just fit, and that just do not.

// fragmented calls Fragment with room for n pieces at a time and returns the packets.
func fragmented(t *testing.T, w *translate.Worker, p *translate.Packet, n int) (out [][]byte) {
	t.Helper()
	for more := translate.NewPackets(n, 1<<16); p.Result.Verdict == translate.Split; {
		k := w.Fragment(p, more)
		if k == 0 && p.Result.Verdict == translate.Split {
			t.Fatal("no piece")
		}
		for _, q := range more[:k] {
			out = append(out, bytes.Clone(q.Bytes()))
		}
	}
	return append(out, bytes.Clone(p.Bytes()))
}

// TestFragmentHeaderStays: the Fragment Header of what is a fragment stays, although the
// packet would fit without. Only that of a whole packet may go, which has neither an
// offset nor more fragments. Of an offset of 256 bytes one byte is zero.
func TestFragmentHeaderStays(t *testing.T) {
	for _, c := range []struct {
		off8 uint16
		more bool
		size int // of the data: with the header it is too large, without it fits
	}{
		{1, false, 1240}, {31, false, 1240}, {32, false, 1236}, {32, true, 1240}, {0, true, 1240}, {256, false, 1233}, {0x1f00, false, 1240},
	} {
		t.Run(fmt.Sprintf("offset=%d,more=%v", c.off8*8, c.more), func(t *testing.T) {
			w := newWorker(t, nil)
			data := pt.Bytes(c.size, 1)
			h := pt.From4()
			h.DF, h.Off8, h.MF, h.ID = false, c.off8, c.more, 7
			p := pt.Buffer(pt.IP(h, pt.Raw(17, data)))
			if res := w.Translate(0, &p); res.Verdict != translate.Split {
				t.Fatal(res)
			}
			out, at := fragmented(t, w, &p, 1), int(c.off8)*8
			var got []byte
			for i, b := range out {
				word := int(binary.BigEndian.Uint16(b[42:]))
				wantMore := c.more || i < len(out)-1
				if b[6] != 44 || len(b) > 1280 || word&^7 != at || (word&1 != 0) != wantMore {
					t.Errorf("piece %d of %d: %x, want offset %d, more %v", i, len(out), b[:48], at, wantMore)
				}
				got, at = append(got, b[48:]...), at+len(b)-48
			}
			if !bytes.Equal(got[8:], data[8:]) { // the first fragment has a UDP header
				t.Error("not the data of the fragment")
			}
		})
	}
}

// TestFragmentHeaderGoes: that of a whole packet goes once the MTU has grown to what the
// packet has without it, and not a byte earlier: RFC 8021.
func TestFragmentHeaderGoes(t *testing.T) {
	const size = 1500 // of the IPv6 packet without Fragment Header
	for _, grown := range []int{size - 1, size, size + 1} {
		tr, err := translate.New(pt.Config(), newTable(t))
		if err != nil {
			t.Fatal(err)
		}
		w := tr.NewWorker()
		h := pt.From4()
		h.DF = false
		p := pt.Buffer(pt.IP(h, pt.UDP(1, 2, pt.Bytes(size-48, 1))))
		if res := w.Translate(0, &p); res.Verdict != translate.Split {
			t.Fatal(res)
		}
		if err := tr.Update(func(s *translate.Settings) { s.LowestIPv6MTU, s.MTU6 = grown, grown }); err != nil {
			t.Fatal(err)
		}
		w.TranslateBatch(0, nil)
		out := fragmented(t, w, &p, 1)
		if whole := grown >= size; whole != (len(out) == 1) || whole == (out[0][6] == 44) {
			t.Errorf("MTU %d: %d packets, the first of %d bytes", grown, len(out), len(out[0]))
		}
		for _, b := range out {
			if len(b) > grown {
				t.Errorf("MTU %d: a packet of %d bytes", grown, len(b))
			}
		}
	}
}

func newTable(t *testing.T) *translate.Table {
	t.Helper()
	tab, err := translate.NewTable(pt.TableConfig())
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// TestJustFits: what a packet may have at most to be forwarded whole, in bytes of data
// after its IP header, and what becomes of one that has a byte more. The pieces of that
// have the size that fits, too.
func TestJustFits(t *testing.T) {
	from4, from6 := pt.From4(), pt.From6()
	noDF := from4
	noDF.DF = false
	udp := func(n int) pt.Payload { return pt.UDP(1, 2, pt.Bytes(n-8, 0)) }
	fragment4 := func(n int) []byte {
		h := noDF
		h.MF = true
		return pt.IP(h, pt.Raw(17, pt.Bytes(n, 0)))
	}
	last4 := func(n int) []byte {
		h := noDF
		h.Off8 = 9
		return pt.IP(h, pt.Raw(17, pt.Bytes(n, 0)))
	}
	for _, c := range []struct {
		name    string
		most    int
		pkt     func(n int) []byte
		verdict translate.Verdict // of a byte more; Forward: not tried
		mtu4    int
		mtu6    int
	}{
		{"4to6", 1280 - 40, func(n int) []byte { return pt.IP(noDF, udp(n)) }, translate.Split, 1500, 1500},
		{"4to6-df", 1500 - 40, func(n int) []byte { return pt.IP(from4, udp(n)) }, translate.Reply, 1500, 1500},
		{"4to6-fragment", 1280 - 48, fragment4, translate.Forward, 1500, 1500},
		{"4to6-last-fragment", 1280 - 48, last4, translate.Split, 1500, 1500},
		{"6to4", 1500 - 20, func(n int) []byte { return pt.IP(from6, udp(n)) }, translate.Reply, 1500, 1500},
		{"6to4-small-mtu", 576 - 20, func(n int) []byte { return pt.IP(from6, udp(n)) }, translate.Split, 576, 1500},
		{"6to4-lowest-mtu", 1280 - 40, func(n int) []byte { return pt.IP(from6, udp(n)) }, translate.Reply, 576, 1500}, // is cut
		{"6to4-fragment", 1500 - 20, func(n int) []byte {
			return pt.IP(from6, pt.Fragment(7, 9, false, pt.Raw(17, pt.Bytes(n, 0))))
		}, translate.Split, 1500, 1500},
		{"6to4-largest", 65535 - 20, func(n int) []byte { return pt.IP(from6, udp(n)) }, translate.Reply, 65535, 65535},
		{"6to4-largest-fragment", 65535 - 20, func(n int) []byte {
			return pt.IP(from6, pt.Fragment(7, 0, false, pt.Raw(17, pt.Bytes(n, 0))))
		}, translate.Reply, 1500, 1500}, // is cut; what is larger has no length in IPv4
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorker(t, func(cfg *translate.Config, _ *translate.TableConfig) { cfg.MTU4, cfg.MTU6 = c.mtu4, c.mtu6 })
			p := pt.Buffer(c.pkt(c.most))
			if res := w.Translate(0, &p); res.Reason != translate.Translated {
				t.Errorf("%d bytes: %v (%v)", c.most, res.Verdict, res.Reason)
			} else if fits := c.name != "6to4-lowest-mtu" && c.name != "6to4-largest-fragment"; fits != (res.Verdict == translate.Forward) {
				t.Errorf("%d bytes: %v", c.most, res.Verdict)
			}
			if c.verdict == translate.Forward {
				return
			}
			p = pt.Buffer(c.pkt(c.most + 1))
			if res := w.Translate(0, &p); res.Verdict != c.verdict {
				t.Errorf("%d bytes: %v (%v), want %v", c.most+1, res.Verdict, res.Reason, c.verdict)
			}
		})
	}
}

// TestLargestWithoutDF: IPv4 packets of up to 1260 bytes leave without DF, since they fit
// through any IPv6 network: RFC 7915 §5. Of a super-packet the size of a segment counts.
func TestLargestWithoutDF(t *testing.T) {
	w := newWorker(t, nil)
	for size, want := range map[int]bool{1259: false, 1260: false, 1261: true} { // of the IPv4 packet
		p := pt.Buffer(pt.IP(pt.From6(), pt.UDP(1, 2, pt.Bytes(size-28, 0))))
		w.Translate(0, &p)
		super := pt.Buffer(pt.IP(pt.From6(), pt.TCP(1, 2, pt.Bytes(3*(size-40), 0))))
		super.Offload = pt.Partial(super.Bytes(), size-40)
		w.Translate(0, &super)
		for _, p := range []translate.Packet{p, super} {
			if p.Result.Verdict != translate.Forward || p.Bytes()[6]&0x40 != 0 != want {
				t.Errorf("%d bytes: %v, flags %#x", size, p.Result, p.Bytes()[6])
			}
		}
	}
}

// TestLastPieceJustFits: the rest of a packet that is cut leaves whole as soon as it fits,
// whatever Fragment is given room for.
func TestLastPieceJustFits(t *testing.T) {
	noDF := pt.From4()
	noDF.DF = false
	for _, c := range []struct {
		name  string
		pkt   func(n int) []byte // n bytes of data
		n     int
		sizes []int // of the pieces
	}{
		{"4to6", func(n int) []byte { return pt.IP(noDF, pt.UDP(1, 2, pt.Bytes(n-8, 0))) }, 1232 + 1232, []int{1280, 1280}},
		{"4to6-and-one", func(n int) []byte { return pt.IP(noDF, pt.UDP(1, 2, pt.Bytes(n-8, 0))) }, 1232 + 1233, []int{1280, 1280, 49}},
		{"6to4", func(n int) []byte { return pt.IP(pt.From6(), pt.UDP(1, 2, pt.Bytes(n-8, 0))) }, 552 + 556, []int{572, 576}},
		{"6to4-and-one", func(n int) []byte { return pt.IP(pt.From6(), pt.UDP(1, 2, pt.Bytes(n-8, 0))) }, 552 + 557, []int{572, 572, 25}},
	} {
		for room := 1; room <= 4; room++ {
			w := newWorker(t, func(cfg *translate.Config, _ *translate.TableConfig) { cfg.MTU4 = 576 })
			p := pt.Buffer(c.pkt(c.n))
			if res := w.Translate(0, &p); res.Verdict != translate.Split {
				t.Fatal(res)
			}
			var sizes []int
			for _, b := range fragmented(t, w, &p, room) {
				sizes = append(sizes, len(b))
			}
			if !slices.Equal(sizes, c.sizes) {
				t.Errorf("%s, room for %d: pieces of %v bytes, want %v", c.name, room, sizes, c.sizes)
			}
		}
	}
}

// TestSegmentsAndBuffers: Fragment returns when it has no room for all pieces of the next
// segment of a super-packet, also if it has some. What is left is a super-packet, which
// is not to be cut like a packet, and a short last segment is a packet by itself.
func TestSegmentsAndBuffers(t *testing.T) {
	for _, c := range []struct {
		name   string
		h      pt.Header
		gso    int
		mtu4   int
		pieces int // of a segment
	}{
		{"4to6", pt.Header{Src: pt.H4, Dst: pt.M4}, 1440, 1500, 2},
		{"6to4", pt.From6(), 1200, 576, 3},
		{"4to6-one-byte-more", pt.Header{Src: pt.H4, Dst: pt.M4}, 2*1232 + 1 - 20, 9000, 3}, // than two pieces hold
		{"6to4-one-byte-more", pt.From6(), 556 + 1 - 20, 576, 2},                            // than one packet holds
	} {
		for _, last := range []int{0, 1, 100} { // bytes after four segments
			t.Run(fmt.Sprintf("%s,last=%d", c.name, last), func(t *testing.T) {
				w := newWorker(t, func(cfg *translate.Config, _ *translate.TableConfig) { cfg.MTU4 = c.mtu4 })
				pkt := pt.IP(c.h, pt.TCP(1, 2, pt.Bytes(4*c.gso+last, 0)))
				o := pt.Partial(pkt, c.gso)
				all := func(room int) (out [][]byte) {
					p := pt.Buffer(pkt)
					p.Offload = o
					if res := w.Translate(0, &p); res.Verdict != translate.Split {
						t.Fatal(res)
					}
					out = fragmented(t, w, &p, room)
					if p.Offload != (translate.Offload{}) {
						t.Errorf("room for %d: the last packet has %+v", room, p.Offload)
					}
					return out
				}
				want := all(translate.MaxPieces)
				for _, b := range want {
					if b[0]>>4 == 6 && len(b) > 1280 || b[0]>>4 == 4 && len(b) > c.mtu4 {
						t.Errorf("a packet of %d bytes", len(b))
					}
				}
				if n := 4*c.pieces + min(last, 1); len(want) != n {
					t.Errorf("%d packets, want %d", len(want), n)
				}
				for room := c.pieces; room <= 3*c.pieces; room++ {
					got := all(room)
					if len(got) != len(want) {
						t.Fatalf("room for %d: %d packets, want %d", room, len(got), len(want))
					}
					for i := range want {
						skip := 0
						if !c.h.Src.Is4() {
							skip = 20 // the header has a new identification
						}
						if !bytes.Equal(got[i][skip:], want[i][skip:]) {
							t.Fatalf("room for %d: packet %d of %d differs\ngot  %x\nwant %x", room, i, len(got), got[i][:60], want[i][:60])
						}
					}
				}
				if with := panics(func() { all(c.pieces - 1) }); with == nil {
					t.Error("no panic with a buffer less")
				}
			})
		}
	}
}

// TestSegmentsThatFitByNow: a super-packet had to be cut before the MTU grew. Its segments
// then leave whole, without the Fragment Header of a whole packet (RFC 8021), one with
// each call if there is one buffer.
func TestSegmentsThatFitByNow(t *testing.T) {
	h := pt.From4()
	h.DF = false
	pkt := pt.IP(h, pt.TCP(1, 2, pt.Bytes(3*1400, 0)))
	o := pt.Partial(pkt, 1400)
	tr, err := translate.New(pt.Config(), newTable(t))
	if err != nil {
		t.Fatal(err)
	}
	w, p := tr.NewWorker(), pt.Buffer(pkt)
	p.Offload = o
	if res := w.Translate(0, &p); res.Verdict != translate.Split {
		t.Fatal(res)
	}
	if err := tr.Update(func(s *translate.Settings) { s.MTU6, s.LowestIPv6MTU = 9000, 9000 }); err != nil {
		t.Fatal(err)
	}
	w.TranslateBatch(0, nil)
	out := fragmented(t, w, &p, 1)
	if len(out) != 3 {
		t.Fatalf("%d packets, want 3", len(out))
	}
	for i, b := range out {
		if len(b) != 40+20+1400 || b[6] != 6 {
			t.Errorf("packet %d: %d bytes, %x", i, len(b), b[:48])
		}
		if err := pt.Check(b); err != nil {
			t.Error(err)
		}
	}
}

// TestICMPPoolOf256: the most sources that errors can have, each of which is chosen. One
// more is refused.
func TestICMPPoolOf256(t *testing.T) {
	cfg := pt.Config()
	cfg.ICMPPool4, cfg.ICMPPool6 = nil, nil
	for i := range 256 {
		cfg.ICMPPool4 = append(cfg.ICMPPool4, netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}))
		cfg.ICMPPool6 = append(cfg.ICMPPool6, netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)}))
	}
	tr, err := translate.New(cfg, newTable(t))
	if err != nil {
		t.Fatal(err)
	}
	w, seen := tr.NewWorker(), make(map[byte]bool)
	quote := pt.IP(pt.Header{Src: pt.H4in6, Dst: pt.M6}, pt.UDP(1, 2, nil))
	router := pt.Header{Src: netip.MustParseAddr("2001:db8:bad::1"), Dst: pt.H4in6}
	for range 20_000 { // one of 256 is missed once in 10^31 runs
		p := pt.Buffer(pt.IP(router, pt.ICMP(3, 0, 0, quote)))
		if res := w.Translate(0, &p); res.Verdict != translate.Forward {
			t.Fatal(res)
		}
		seen[p.Bytes()[15]] = true
	}
	if len(seen) != 256 {
		t.Errorf("%d sources", len(seen))
	}
	cfg.ICMPPool4 = append(cfg.ICMPPool4, netip.MustParseAddr("203.0.114.1"))
	if _, err := translate.New(cfg, newTable(t)); err == nil {
		t.Error("257 sources are taken")
	}
}
