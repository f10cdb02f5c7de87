package translate_test

import (
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// TestBatchIsOneByOne: TranslateBatch does to each packet what Translate does.
func TestBatchIsOneByOne(t *testing.T) {
	goldens, err := packettest.Goldens()
	if err != nil {
		t.Fatal(err)
	}
	one, all := newWorker(t, nil), newWorker(t, nil)
	var single, batch []translate.Packet
	for _, g := range goldens {
		single = append(single, packettest.Buffer(g.In))
		batch = append(batch, packettest.Buffer(g.In))
	}
	all.TranslateBatch(0, batch)
	for i := range single {
		res := one.Translate(0, &single[i])
		if res != batch[i].Result {
			t.Errorf("%s: %v alone, %v in a batch", goldens[i].ID, res, batch[i].Result)
		}
		if d := packettest.Equal(clearID(single[i].Bytes()), batch[i].Bytes()); d != "" {
			t.Errorf("%s: %s", goldens[i].ID, d)
		}
	}
}

// clearID marks the identification of an IPv4 packet as free.
func clearID(b []byte) []byte {
	if b[0]>>4 == 4 {
		return packettest.Edit(b, func(b []byte) { b[4], b[5] = 0, 0 })
	}
	return b
}

// TestStatsAddUp: every packet is counted once, with its bytes.
func TestStatsAddUp(t *testing.T) {
	cfg := packettest.Config()
	tab, err := translate.NewTable(packettest.TableConfig())
	if err != nil {
		t.Fatal(err)
	}
	tr, err := translate.New(cfg, tab)
	if err != nil {
		t.Fatal(err)
	}
	goldens, err := packettest.Goldens()
	if err != nil {
		t.Fatal(err)
	}
	ws := []*translate.Worker{tr.NewWorker(), tr.NewWorker()}
	var packets, size uint64
	for _, g := range goldens {
		for n := range len(g.In) + 1 {
			p := packettest.Buffer(g.In[:n])
			packets++
			size += uint64(n)
			ws[n%2].Translate(0, &p)
		}
	}
	var got translate.Count
	s := tr.Stats()
	for _, c := range s.All() {
		got.Packets += c.Packets
		got.Bytes += c.Bytes
	}
	if want := (translate.Count{Packets: packets, Bytes: size}); got != want {
		t.Errorf("counted %+v, sent %+v", got, want)
	}
}
