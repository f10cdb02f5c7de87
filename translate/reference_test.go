package translate_test

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/internal/test/refxlat"
	"github.com/steppe-nat64/steppe/translate"
)

// A comparison translates the same packets by a worker and by the reference implementation.
type comparison struct {
	w    *translate.Worker
	ref  *refxlat.Xlat
	more []translate.Packet
}

func newComparison(t testing.TB, cfg translate.Config, tc translate.TableConfig) *comparison {
	t.Helper()
	tr := build(t, cfg, tc)
	ref, err := refxlat.New(cfg, tc)
	if err != nil {
		t.Fatal(err)
	}
	more := []translate.Packet{{Buf: make([]byte, translate.Headroom+65535+translate.Tailroom)}}
	return &comparison{tr.NewWorker(), ref, more}
}

// compare translates pkt both ways and describes the difference, if any.
func (x *comparison) compare(t testing.TB, pkt []byte) string {
	t.Helper()
	p := packettest.Buffer(pkt)
	res := x.w.Translate(0, &p)
	packettest.CheckGuards(t, &p, pkt)
	var got [][]byte
	for p.Result.Verdict == translate.Split {
		x.w.Fragment(&p, x.more)
		got = append(got, append([]byte(nil), x.more[0].Bytes()...))
	}
	if p.Result.Verdict != translate.Drop {
		got = append(got, p.Bytes())
	}
	want, wantRes := x.ref.Translate(pkt)
	emitted, next := x.w.Emit(0, x.more)
	if wanted, wantNext := x.ref.Emit(0); emitted != len(wanted) || next != wantNext {
		return fmt.Sprintf("%d packets emitted, next at %v, want %d and %v\nin %x", emitted, next, len(wanted), wantNext, pkt)
	}
	if res != wantRes {
		return fmt.Sprintf("%v (%v), the reference says %v (%v)\nin %x", res.Verdict, res.Reason, wantRes.Verdict, wantRes.Reason, pkt)
	}
	if d := packettest.EqualAll(want, got); d != "" {
		return fmt.Sprintf("%s\nin %x", d, pkt)
	}
	return ""
}

// TestReferenceOnMutatedGoldens: every prefix of each golden packet, and each golden
// packet with every single byte set to 0x00, to 0xff and inverted.
func TestReferenceOnMutatedGoldens(t *testing.T) {
	goldens, err := packettest.Goldens()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range goldens {
		t.Run(g.ID, func(t *testing.T) {
			cfg, err := g.Apply(packettest.Config())
			if err != nil {
				t.Fatal(err)
			}
			x := newComparison(t, cfg, packettest.TableConfig())
			try := func(pkt []byte, what string, at int) {
				t.Helper()
				if d := x.compare(t, pkt); d != "" {
					t.Errorf("%s %d: %s", what, at, d)
				}
			}
			for _, pkt := range [][]byte{g.In, g.Out} {
				for n := range len(pkt) + 1 {
					try(pkt[:n], "cut to", n)
				}
				b := make([]byte, len(pkt))
				for i := range pkt {
					for _, v := range []byte{0x00, 0xff, ^pkt[i]} {
						copy(b, pkt)
						b[i] = v
						try(b, fmt.Sprintf("byte set to %#x:", v), i)
						packettest.FixHeader(b)
						try(b, fmt.Sprintf("byte set to %#x, header checksum corrected:", v), i)
					}
				}
			}
		})
	}
}

var generated = flag.Int("generated", 30_000, "packets that TestReferenceOnGeneratedPackets compares")

// TestReferenceOnGeneratedPackets: nearly valid packets of all kinds, under
// configurations of all kinds.
func TestReferenceOnGeneratedPackets(t *testing.T) {
	setups := packettest.Setups()
	for i, s := range setups {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			x := newComparison(t, s.Config, s.Table)
			seed := uint64(i)
			if *generated >= 1_000_000 { // worth new ground every time
				seed = uint64(time.Now().UnixNano())
			}
			g := packettest.NewGen(seed, s)
			differences := 0
			for range *generated / len(setups) {
				if d := x.compare(t, g.Packet()); d != "" {
					t.Errorf("seed %d: %s", seed, d)
					if differences++; differences == 5 {
						break
					}
				}
			}
		})
	}
}
