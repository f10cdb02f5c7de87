package rfc

import (
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// xlat is a translator seen from outside: packets in, packets out.
type xlat struct {
	t *testing.T
	*translate.Translator
	w   *translate.Worker
	now time.Duration // for the worker

	waits bool // something waits for Emit, or did
}

// settings are what a test may change before the translator is made.
type settings struct {
	translate.Config
	translate.TableConfig
}

// newXlat makes a translator with the configuration and mappings of packettest,
// changed by edit if that is not nil.
func newXlat(t *testing.T, edit func(s *settings)) *xlat {
	t.Helper()
	s := settings{Config: packettest.Config(), TableConfig: packettest.TableConfig()}
	if edit != nil {
		edit(&s)
	}
	tab, err := translate.NewTable(s.TableConfig)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := translate.New(s.Config, tab)
	if err != nil {
		t.Fatal(err)
	}
	return &xlat{t: t, Translator: tr, w: tr.NewWorker()}
}

// send translates in, checks that nothing outside of the window was touched, and
// returns what came of it: no packet, one, or the pieces of one.
func (x *xlat) send(in []byte) (out [][]byte, res translate.Result) {
	x.t.Helper()
	p := packettest.Buffer(in)
	res = x.w.Translate(x.now, &p)
	packettest.CheckGuards(x.t, &p, in)
	x.waits = x.waits || res.Reason == translate.Waiting || res.Reason == translate.UnsolicitedSYN
	if n, next := x.w.Emit(x.now, nil); n != 0 || next != translate.Never && !x.waits {
		x.t.Errorf("%d packets that come from none, next at %v", n, next)
	}
	switch res.Verdict {
	case translate.Drop:
		return nil, res
	case translate.Split:
		for p.Result.Verdict == translate.Split {
			more := []translate.Packet{{Buf: make([]byte, translate.Headroom+65535+translate.Tailroom)}}
			x.w.Fragment(&p, more)
			out = append(out, more[0].Bytes())
		}
	}
	return append(out, p.Bytes()), res
}

// checked is send for packets that must be well formed when they leave.
func (x *xlat) checked(in []byte) (out [][]byte, res translate.Result) {
	x.t.Helper()
	out, res = x.send(in)
	for _, b := range out {
		if err := packettest.Check(b); err != nil {
			x.t.Errorf("%v: %v\nin  %x\nout %x", res.Reason, err, in, b)
		}
	}
	return out, res
}

// forward expects in to be translated to one well-formed packet.
func (x *xlat) forward(in []byte) []byte {
	x.t.Helper()
	out, res := x.checked(in)
	if res.Verdict != translate.Forward {
		x.t.Fatalf("%v (%v), want a translated packet\nin %x", res.Verdict, res.Reason, in)
	}
	return out[0]
}

// pieces expects in to be translated and cut, and returns the well-formed pieces.
func (x *xlat) pieces(in []byte) [][]byte {
	x.t.Helper()
	out, res := x.checked(in)
	if res.Verdict != translate.Split {
		x.t.Fatalf("%v (%v), want pieces\nin %x", res.Verdict, res.Reason, in)
	}
	return out
}

// none expects in to be dropped silently and returns the reason.
func (x *xlat) none(in []byte) translate.Reason {
	x.t.Helper()
	out, res := x.send(in)
	if res.Verdict != translate.Drop {
		x.t.Fatalf("%v (%v), want silence\nin  %x\nout %x", res.Verdict, res.Reason, in, out)
	}
	return res.Reason
}

// reply expects in to be answered with a well-formed packet.
func (x *xlat) reply(in []byte) []byte {
	x.t.Helper()
	out, res := x.checked(in)
	if res.Verdict != translate.Reply {
		x.t.Fatalf("%v (%v), want an answer\nin %x", res.Verdict, res.Reason, in)
	}
	return out[0]
}

// err4 expects in, an IPv4 packet, to be answered with an ICMPv4 error from the
// translator's own address to its source, and returns the ICMP message.
func (x *xlat) err4(in []byte, typ, code uint8) []byte {
	x.t.Helper()
	b := x.reply(in)
	switch {
	case b[0] != 0x45 || b[9] != 1:
		x.t.Fatalf("answer is no ICMPv4: %x", b)
	case string(b[12:16]) != string(packettest.X4.AsSlice()) || string(b[16:20]) != string(in[12:16]):
		x.t.Fatalf("answer has wrong addresses: %x", b)
	case b[20] != typ || b[21] != code:
		x.t.Fatalf("ICMPv4 %d/%d, want %d/%d", b[20], b[21], typ, code)
	}
	return b[20:]
}

// err6 is err4 for IPv6.
func (x *xlat) err6(in []byte, typ, code uint8) []byte {
	x.t.Helper()
	b := x.reply(in)
	switch {
	case b[0]>>4 != 6 || b[6] != 58:
		x.t.Fatalf("answer is no ICMPv6: %x", b)
	case string(b[8:24]) != string(packettest.X6.AsSlice()) || string(b[24:40]) != string(in[8:24]):
		x.t.Fatalf("answer has wrong addresses: %x", b)
	case b[40] != typ || b[41] != code:
		x.t.Fatalf("ICMPv6 %d/%d, want %d/%d", b[40], b[41], typ, code)
	}
	return b[40:]
}

// outcome is what packets are counted by.
func outcome(d translate.Direction, v translate.Verdict, r translate.Reason) translate.Outcome {
	return translate.Outcome{Direction: d, Result: translate.Result{Verdict: v, Reason: r}}
}
