package translate_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// TestFragmentBounds: a packet is cut into as few pieces as its size needs, to the
// byte: the last piece need not be a multiple of 8 bytes long. Once the MTU has grown a
// packet that fits is not cut, and loses its Fragment Header. Comparisons that were off
// by one went unnoticed.
func TestFragmentBounds(t *testing.T) {
	no := packettest.From4()
	no.DF = false
	make4 := func(n int) []byte { return packettest.IP(no, packettest.UDP(1, 2, packettest.Bytes(n-8, 7))) }
	make6 := func(n int) []byte {
		return packettest.IP(packettest.From6(), packettest.UDP(1, 2, packettest.Bytes(n-8, 7)))
	}
	for _, c := range []struct {
		name  string
		pkt   []byte
		mtu   int // after the verdict, of the family that the packet becomes
		sizes []int
	}{
		{"6-whole-to-spare", make4(1308), 1500, []int{1348}},
		{"6-whole", make4(1308), 1348, []int{1348}},
		{"6-one-over", make4(1308), 1347, []int{48 + 1296, 48 + 12}},
		{"6-whole-with-fragment-header", make4(1308), 1356, []int{1348}},
		{"6-one-less-than-that", make4(1308), 1355, []int{1348}},
		{"6-last-piece-to-the-byte", make4(1232 + 1237), 48 + 1237, []int{48 + 1232, 48 + 1237}},
		{"6-last-piece-one-over", make4(1232 + 1237), 48 + 1236, []int{48 + 1232, 48 + 1232, 48 + 5}},
		{"6-full-pieces", make4(1232 + 1232), 48 + 1232, []int{48 + 1232, 48 + 1232}},
		{"4-whole-to-spare", make6(1208), 1500, []int{1228}},
		{"4-whole", make6(1208), 1228, []int{1228}},
		{"4-one-over", make6(1208), 1227, []int{20 + 1200, 20 + 8}},
		{"4-full-pieces", make6(1208), 20 + 604, []int{20 + 600, 20 + 600, 20 + 8}},
		{"4-last-piece-to-the-byte", make6(600 + 605), 20 + 605, []int{20 + 600, 20 + 605}},
		{"4-last-piece-one-over", make6(600 + 605), 20 + 604, []int{20 + 600, 20 + 600, 20 + 5}},
		{"4-lowest-mtu", make6(570), 68, slices.Concat(slices.Repeat([]int{68}, 11), []int{20 + 42})},
	} {
		for _, bufs := range []int{1, 2, 5} {
			t.Run(fmt.Sprintf("%s/%d", c.name, bufs), func(t *testing.T) {
				cfg := packettest.Config()
				cfg.MTU4, cfg.MTU6, cfg.LowestIPv6MTU = 576, 1280, 65535
				tr, w := newPair(t, cfg)
				p := packettest.Buffer(c.pkt)
				if res := w.Translate(0, &p); res.Verdict != translate.Split {
					t.Fatal(res)
				}
				mtu4, mtu6 := c.mtu, c.mtu
				if c.pkt[0]>>4 == 4 {
					mtu4 = 576
				} else {
					mtu6 = 1280
				}
				if err := setMTU(tr, mtu4, mtu6); err != nil {
					t.Fatal(err)
				}
				other := packettest.Buffer(packettest.IP(packettest.From4(), packettest.UDP(1, 2, nil)))
				w.Translate(0, &other) // takes the MTUs up
				var out [][]byte
				for p.Result.Verdict == translate.Split {
					more := translate.NewPackets(bufs, 1500)
					for _, q := range more[:w.Fragment(&p, more)] {
						out = append(out, q.Bytes())
					}
				}
				out = append(out, p.Bytes())
				var sizes []int
				for _, b := range out {
					sizes = append(sizes, len(b))
				}
				if !slices.Equal(sizes, c.sizes) {
					t.Errorf("pieces of %v bytes, want %v", sizes, c.sizes)
				}
				for _, b := range wholes(t, out) {
					if err := packettest.Check(b); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}

// TestSegmentsInTurns: whatever room Fragment has at a time, the pieces of a super-packet
// are the same, what is left has a right length, and identifications count up. With room
// for one piece more than a segment has, what is left could be cut as it was.
func TestSegmentsInTurns(t *testing.T) {
	no := packettest.From4()
	no.DF = false
	data := packettest.Bytes(5000, 3)
	for name, c := range map[string]struct {
		pkt        []byte
		gso        int
		mtu4, mtu6 int
		pieces     int // of a segment
	}{
		"4to6":             {packettest.IP(no, packettest.TCP(1, 2, data)), 1400, 1500, 1300, 2},
		"6to4":             {packettest.IP(packettest.From6(), packettest.TCP(1, 2, data)), 1200, 576, 1500, 3},
		"6to4-udp":         {packettest.IP(packettest.From6(), packettest.UDP(1, 2, data)), 1000, 600, 1500, 2},
		"4to6-one-over":    {packettest.IP(no, packettest.TCP(1, 2, data)), 1240 + 1 - 20, 1500, 1280, 2},
		"4to6-full-pieces": {packettest.IP(no, packettest.TCP(1, 2, data)), 2*1232 - 20, 1500, 1280, 2},
		"6to4-one-over":    {packettest.IP(packettest.From6(), packettest.TCP(1, 2, data)), 1180 + 1 - 20, 1200, 1500, 2},
		"6to4-header-only": {packettest.IP(packettest.From6(), packettest.TCP(1, 2, data[:400])), 60, 68, 1500, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var want [][]byte
			for _, bufs := range []int{translate.MaxPieces, c.pieces, c.pieces + 1, 2*c.pieces + 1, 7} {
				w := newWorker(t, func(cfg *translate.Config, _ *translate.TableConfig) {
					cfg.MTU4, cfg.MTU6, cfg.LowestIPv6MTU = c.mtu4, c.mtu6, c.mtu6
				})
				p := packettest.Buffer(c.pkt)
				p.Offload = packettest.Partial(p.Bytes(), c.gso)
				if res := w.Translate(0, &p); res.Verdict != translate.Split {
					t.Fatal(res)
				}
				var out [][]byte
				for p.Result.Verdict == translate.Split {
					more := translate.NewPackets(bufs, 1500)
					for _, q := range more[:w.Fragment(&p, more)] {
						out = append(out, q.Bytes())
					}
					if b := p.Bytes(); lengthOf(b) != len(b) {
						t.Errorf("what is left has %d bytes, and says %d", len(b), lengthOf(b))
					}
				}
				out = append(out, p.Bytes())
				last := -1
				for i, b := range out {
					if lengthOf(b) != len(b) {
						t.Errorf("piece %d has %d bytes, and says %d", i, len(b), lengthOf(b))
					}
					if b[0]>>4 == 4 {
						id := int(b[4])<<8 | int(b[5])
						if last >= 0 && id != last && id != (last+1)&0xffff {
							t.Errorf("identification %d follows %d", id, last)
						}
						last = id
						b[4], b[5] = 0, 0 // free
						b[10], b[11] = 0, 0
					} else {
						clear(b[44:48])
					}
				}
				if want == nil {
					want = out
				}
				if !slices.EqualFunc(out, want, slices.Equal[[]byte]) {
					t.Errorf("with room for %d packets there are %d pieces, or others, want %d", bufs, len(out), len(want))
				}
			}
		})
	}
}

// lengthOf is how long a packet is by its header.
func lengthOf(b []byte) int {
	if b[0]>>4 == 4 {
		return int(b[2])<<8 | int(b[3])
	}
	return 40 + (int(b[4])<<8 | int(b[5]))
}
