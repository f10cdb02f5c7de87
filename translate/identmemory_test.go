package translate_test

import (
	"encoding/binary"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// TestIdentMemory: identifications are counted in the memory that was set, before there are
// workers.
func TestIdentMemory(t *testing.T) {
	tab, err := translate.NewTable(packettest.TableConfig())
	if err != nil {
		t.Fatal(err)
	}
	tr, err := translate.New(packettest.Config(), tab)
	if err != nil {
		t.Fatal(err)
	}
	mem := new(translate.IdentMemory)
	ids, err := tr.SetIdentMemory(mem)
	if err != nil {
		t.Fatal(err)
	}
	if ids.Key == [2]uint64{} || ids.Places == [2]uint64{} {
		t.Error("no secrets")
	}
	w := tr.NewWorker()
	p := &translate.NewPackets(1, 1500)[0]
	var id uint16
	for i := range uint16(3) {
		p.Set(packettest.IP(packettest.From6(), packettest.UDP(1, 2, nil)))
		if res := w.Translate(0, p); res.Verdict != translate.Forward {
			t.Fatal(res)
		}
		next := binary.BigEndian.Uint16(p.Bytes()[4:])
		if i > 0 && next != id+1 {
			t.Errorf("%d comes after %d", next, id)
		}
		id = next
	}
	counters := 0
	for i := range mem {
		if mem[i].Load() != 0 {
			counters++
		}
	}
	if counters != 1 {
		t.Errorf("%d counters in the memory, not 1", counters)
	}
	if _, err := tr.SetIdentMemory(mem); err == nil {
		t.Error("set again while there is a worker")
	}
	if _, err := tr.SetIdentMemory(nil); err == nil {
		t.Error("no memory")
	}
}
