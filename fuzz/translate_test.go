package fuzz

import (
	"testing"

	"github.com/steppe-nat64/steppe/internal/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// FuzzTranslate: any octets into Translate come to a verdict, and nothing is
// touched outside of the packet's room.
func FuzzTranslate(f *testing.F) {
	goldens, err := packettest.Goldens()
	if err != nil {
		f.Fatal(err)
	}
	for _, g := range goldens { // one of each kind that is translated
		f.Add(g.In)
		f.Add(g.Out)
	}
	tab, err := translate.NewTable(packettest.TableConfig())
	if err != nil {
		f.Fatal(err)
	}
	cfg := packettest.Config()
	cfg.NodeAddress = true
	tr, err := translate.New(cfg, tab, nil)
	if err != nil {
		f.Fatal(err)
	}
	w := tr.NewWorker()
	more := []translate.Packet{{Buf: make([]byte, translate.Headroom+1500+translate.Tailroom)}}
	f.Fuzz(func(t *testing.T, pkt []byte) {
		if len(pkt) > 65535 {
			return
		}
		p := packettest.Buffer(pkt)
		res := w.Translate(&p)
		packettest.CheckGuards(t, &p, pkt)
		if res.Reason == translate.NotJudged {
			t.Error("not judged")
		}
		for p.Result.Verdict == translate.Split {
			if w.Fragment(&p, more) != 1 {
				t.Fatal("nothing cut from a packet that is too large")
			}
			if more[0].Len > 1500 {
				t.Errorf("a piece of %d octets", more[0].Len)
			}
		}
		if res.Verdict == translate.Forward && p.Len > 1500 {
			t.Errorf("a packet of %d octets leaves", p.Len)
		}
	})
}
