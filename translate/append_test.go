package translate_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// TestAppend: for the golden packets, and for packets of each verdict, Append gives
// what Translate and Fragment give, after what was in dst before.
func TestAppend(t *testing.T) {
	_, one := newPair(t, packettest.Config())
	_, other := newPair(t, packettest.Config())
	low, noDF := packettest.From4(), packettest.From4()
	low.TTL, noDF.DF = 1, false
	packets := [][]byte{
		packettest.IP(noDF, packettest.UDP(1, 2, packettest.Bytes(3000, 1))),
		packettest.IP(low, packettest.TCP(1, 2, nil)),
		{}, {0x45}, make([]byte, 100),
	}
	goldens, err := packettest.Goldens()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range goldens {
		packets = append(packets, g.In)
	}
	verdicts := map[translate.Verdict]bool{}
	for _, in := range packets {
		p := packettest.Buffer(in)
		want := []byte("before")
		wantRes := other.Translate(0, &p)
		for p.Result.Verdict == translate.Split {
			more := translate.NewPackets(1, 65535)
			other.Fragment(&p, more)
			want = append(want, more[0].Bytes()...)
		}
		if wantRes.Verdict != translate.Drop {
			want = append(want, p.Bytes()...)
		}
		given := slices.Clone(in)
		got, res := one.Append(0, []byte("before"), given)
		if res != wantRes || !bytes.Equal(blank(got), blank(want)) {
			t.Errorf("%v, want %v\nin   %x\ngot  %x\nwant %x", res, wantRes, in, got, want)
		}
		if !bytes.Equal(given, in) {
			t.Errorf("the packet was changed: %x", in)
		}
		verdicts[res.Verdict] = true
	}
	if len(verdicts) != 4 {
		t.Errorf("only the verdicts %v were tried", verdicts)
	}
}

// blank clears identification and header checksum of the IPv4 packets after
// "before": identifications are random.
func blank(b []byte) []byte {
	b = slices.Clone(b)
	for at := len("before"); at < len(b); {
		if b[at]>>4 == 4 {
			clear(b[at+4 : at+6])
			clear(b[at+10 : at+12])
			at += int(b[at+2])<<8 | int(b[at+3])
		} else {
			at += 40 + int(b[at+4])<<8 | int(b[at+5])
		}
	}
	return b
}

// TestAppendHuge: no packet is too long to be refused, and the longest that fits a
// header is translated.
func TestAppendHuge(t *testing.T) {
	tr, w := newPair(t, packettest.Config())
	if out, res := w.Append(0, nil, make([]byte, 1<<20)); res.Verdict != translate.Drop || len(out) != 0 {
		t.Errorf("a megabyte: %v, %d bytes", res, len(out))
	}
	s := tr.Stats()
	if c := total(s, translate.NoFamily, translate.Drop); c.Packets != 1 {
		t.Errorf("counted %v", c)
	}
	h := packettest.From4()
	h.DF = false
	big := packettest.IP(h, packettest.UDP(1, 2, make([]byte, 65535-28)))
	if out, res := w.Append(0, nil, big); res.Verdict != translate.Split || len(out) < 65535 {
		t.Errorf("65,535 bytes: %v, %d bytes", res, len(out))
	}
}

func TestAppendAllocs(t *testing.T) {
	_, w := newPair(t, packettest.Config())
	in := packettest.IP(packettest.From4(), packettest.UDP(1, 2, make([]byte, 100)))
	dst, _ := w.Append(0, nil, in)
	if n := testing.AllocsPerRun(100, func() { dst, _ = w.Append(0, dst[:0], in) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestSet: a packet that does not fit changes nothing, one that does is plain.
func TestSet(t *testing.T) {
	p := &translate.NewPackets(1, 10)[0]
	p.Offload.Flags, p.Result.Verdict = 1, translate.Reply
	if p.Set(make([]byte, 11)) || p.Off != 0 || p.Offload.Flags != 1 {
		t.Errorf("11 bytes fit a buffer for 10: %+v", p)
	}
	if !p.Set([]byte("0123456789")) || string(p.Bytes()) != "0123456789" || p.Offload != (translate.Offload{}) || p.Result != (translate.Result{}) {
		t.Errorf("set: %+v", p)
	}
	var none translate.Packet
	if none.Set(nil) {
		t.Error("a packet without a buffer was set")
	}
}

// TestClose: what a closed worker has counted stays, and it is used no more.
func TestClose(t *testing.T) {
	tr, w := newPair(t, packettest.Config())
	in := packettest.IP(packettest.From4(), packettest.UDP(1, 2, nil))
	w.Append(0, nil, in)
	w.Close()
	w.Close()
	other := tr.NewWorker()
	other.Append(0, nil, in)
	s := tr.Stats()
	if c := total(s, translate.V4ToV6, translate.Forward); c.Packets != 2 {
		t.Errorf("counted %v, want 2 packets", c)
	}
	if panics(func() { w.Append(0, nil, in) }) == nil {
		t.Error("a closed worker translates")
	}
	other.Close()
	if s := tr.Stats(); total(s, translate.V4ToV6, translate.Forward).Packets != 2 {
		t.Errorf("after the last worker: %v", total(s, translate.V4ToV6, translate.Forward))
	}
}
