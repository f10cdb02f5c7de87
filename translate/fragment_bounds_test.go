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
