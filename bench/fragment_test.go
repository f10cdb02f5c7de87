package bench

import (
	"fmt"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// smallMTU4 is an IPv4 link that takes less than every IPv6 packet must fit into:
// what comes from IPv6 is cut there, RFC 7915 §5.1.1.
const smallMTU4 = 1000

// cuts lists packets that have to be cut, and into how many pieces. Whole packets
// from IPv4 may be cut if DF is clear, those from IPv6 up to 1280 bytes.
func cuts(h packettest.Header) (all []shape, pieces []int) {
	h.DF = false
	add := func(proto, kind string, pkt []byte, o translate.Offload, n int) {
		size := fmt.Sprint(len(pkt))
		if o.GSOSize > 0 {
			size = fmt.Sprintf("64KiB/gso=%d", o.GSOSize)
		}
		name := fmt.Sprintf("proto=%s/kind=%s/size=%s", proto, kind, size)
		// The headers of the rest are written over what has become a piece, so all
		// has to be put back.
		all = append(all, shape{name, traffic{pkt: pkt, offload: o, restore: len(pkt)}, translate.Forward})
		pieces = append(pieces, n)
	}
	large, segment := []int{1400, 4000}, 1400
	if h.Src.Is6() {
		large, segment = []int{1280}, 1200
	}
	for _, p := range protos {
		for _, size := range large {
			n := 2
			if size == 4000 {
				n = 4
			}
			add(p.name, "plain", padded(h, size, p.l4), translate.Offload{}, n)
		}
	}
	for _, p := range protos[:2] { // each segment gives two pieces, but for a short last one
		super := padded(h, 65000, p.l4)
		o := packettest.Partial(super, segment)
		payload := len(super) - int(o.HdrLen)
		n := payload / segment * 2
		if rest := payload % segment; rest > 0 {
			n++
		}
		add(p.name, "super", super, o, n)
	}
	return all, pieces
}

func newCutter(t testing.TB) *translate.Translator {
	x := newTranslator(t, packettest.TableConfig())
	if err := x.Update(func(s *translate.Settings) { s.MTU4 = smallMTU4 }); err != nil {
		t.Fatal(err)
	}
	return x
}

// BenchmarkFragment is the cost of translating a packet and cutting it into pieces
// that fit, which are copied into buffers of their own.
func BenchmarkFragment(b *testing.B) {
	t := newCutter(b)
	directions(func(dir string, h packettest.Header) {
		all, pieces := cuts(h)
		for i, s := range all {
			b.Run("dir="+dir+"/"+s.name, func(b *testing.B) {
				p := newPump(t, &s.traffic)
				p.more = translate.NewPackets(translate.MaxPieces, 1500)
				measurePumps(b, s.want, p)
				b.ReportMetric(float64(pieces[i]), "pieces/op")
			})
		}
	})
}

// TestCuts holds every packet of BenchmarkFragment to its pieces, and cutting to not
// allocating.
func TestCuts(t *testing.T) {
	x := newCutter(t)
	directions(func(dir string, h packettest.Header) {
		all, pieces := cuts(h)
		for i, s := range all {
			t.Run("dir="+dir+"/"+s.name, func(t *testing.T) {
				p := newPump(x, &s.traffic)
				p.more = translate.NewPackets(translate.MaxPieces, 1500)
				if n := testing.AllocsPerRun(5, func() { p.run(batch) }); n != 0 {
					t.Errorf("%v allocations a batch", n)
				}
				p.check(t, s.want)
				p.pieces = 0
				p.run(1)
				if p.pieces != pieces[i]*batch {
					t.Errorf("%v pieces of a packet, want %d", float64(p.pieces)/batch, pieces[i])
				}
			})
		}
	})
}
