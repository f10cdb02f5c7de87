package translate_test

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// holding returns a translator with a portMapper, and with packets for Emit.
func holding(t *testing.T, edit func(*translate.Config)) (*translate.Translator, *translate.Holder) {
	t.Helper()
	cfg := pt.Config()
	if edit != nil {
		edit(&cfg)
	}
	tr := build(t, cfg, translate.ShareWith(pt.TableConfig(), translate.PortMapper))
	return tr, translate.SetHolder(tr)
}

var h1 = netip.MustParseAddr("2001:db8:a::1")

// TestEmitNothing: without an emitter there is nothing to emit, and never will be.
func TestEmitNothing(t *testing.T) {
	w := newWorker(t, nil)
	ps := translate.NewPackets(1, 1500)
	if n, next := w.Emit(0, ps); n != 0 || next != translate.Never {
		t.Errorf("%d packets, next at %v", n, next)
	}
	tr, _ := holding(t, nil) // an emitter with nothing to say
	if n, next := tr.NewWorker().Emit(0, ps); n != 0 || next != translate.Never {
		t.Errorf("%d packets, next at %v", n, next)
	}
}

// TestEmitTranslates: what was held is translated as if it came now: both directions,
// ports of Sessions, ICMP errors of our own, packets to cut and packets to drop, with
// their counters.
func TestEmitTranslates(t *testing.T) {
	data := pt.Bytes(64, 3)
	from4 := pt.Header{Src: pt.H4, Dst: translate.Shared, TTL: 64}
	expired := pt.From4()
	expired.TTL = 1
	broken := pt.IP(pt.From4(), pt.UDP(1, 2, data))
	broken[10] ^= 1
	type outcome = translate.Outcome
	for _, c := range []struct {
		name string
		in   []byte
		want []byte // nil: not compared
		outcome
	}{
		{"6to4", pt.IP(pt.Header{Src: h1, Dst: pt.H4in6, TTL: 64}, pt.UDP(1001, 53, data)),
			pt.IP(pt.Header{Src: translate.Shared, Dst: pt.H4, TTL: 63}, pt.UDP(40001, 53, data)),
			outcome{translate.V6ToV4, translate.Result{Verdict: translate.Forward, Reason: translate.Translated}}},
		{"4to6", pt.IP(from4, pt.TCP(80, 40001, data)),
			pt.IP(pt.Header{Src: pt.H4in6, Dst: h1, TTL: 63}, pt.TCP(80, 1001, data)),
			outcome{translate.V4ToV6, translate.Result{Verdict: translate.Forward, Reason: translate.Translated}}},
		{"reply", pt.IP(expired, pt.UDP(1, 2, data)), nil,
			outcome{translate.V4ToV6, translate.Result{Verdict: translate.Reply, Reason: translate.HopLimit}}},
		{"split", pt.IP(from4, pt.UDP(53, 40001, pt.Bytes(3000, 1))), nil,
			outcome{translate.V4ToV6, translate.Result{Verdict: translate.Split, Reason: translate.Translated}}},
		{"drop", broken, broken,
			outcome{translate.V4ToV6, translate.Result{Verdict: translate.Drop, Reason: translate.BadHeaderChecksum}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr, h := holding(t, nil)
			w := tr.NewWorker()
			h.Hold(0, c.in, translate.Offload{})
			ps := translate.NewPackets(2, 4000)
			n, next := w.Emit(0, ps)
			if n != 1 || next != translate.Never || ps[0].Result != c.Result {
				t.Fatalf("%d packets, %v, next at %v", n, ps[0].Result, next)
			}
			p := &ps[0]
			if c.want != nil {
				samePacket(t, p.Bytes(), c.want)
			}
			if got := tr.Stats().Count(c.outcome); got.Packets != 1 || got.Bytes != uint64(len(c.in)) {
				t.Errorf("counted as %+v", got)
			}
			for p.Result.Verdict == translate.Split {
				for i := range w.Fragment(p, ps[1:]) {
					if err := pt.Check(ps[1+i].Bytes()); err != nil {
						t.Error(err)
					}
				}
			}
			if p.Result.Verdict != translate.Drop {
				if err := pt.Check(p.Bytes()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestEmitComplete: a packet that the emitter has made leaves as it is, and is counted as
// one that came from neither side.
func TestEmitComplete(t *testing.T) {
	tr, h := holding(t, nil)
	alive := pt.IP(pt.Header{Src: pt.H4in6, Dst: h1}, pt.TCP(80, 1001, nil))
	want := translate.Result{Verdict: translate.Forward, Reason: translate.Translated}
	h.Make(0, alive, want)
	ps := translate.NewPackets(1, 1500)
	if n, _ := tr.NewWorker().Emit(0, ps); n != 1 || ps[0].Result != want {
		t.Fatalf("%d packets, %v", n, ps[0].Result)
	}
	if d := pt.Equal(alive, ps[0].Bytes()); d != "" {
		t.Error(d)
	}
	got := tr.Stats().Count(translate.Outcome{Direction: translate.NoFamily, Result: want})
	if got.Packets != 1 || got.Bytes != uint64(len(alive)) {
		t.Errorf("counted as %+v", got)
	}
}

// TestEmitSuperPacket: a super-packet that was held stays one.
func TestEmitSuperPacket(t *testing.T) {
	for name, c := range map[string]struct {
		in   []byte
		gso  uint8
		port int // where the rewritten port is, after the IP header
		want uint16
	}{
		"6to4": {pt.IP(pt.Header{Src: h1, Dst: pt.H4in6}, pt.TCP(1001, 80, pt.Bytes(4000, 1))), translate.GSOTCPv4, 0, 40001},
		"4to6": {pt.IP(pt.Header{Src: pt.H4, Dst: translate.Shared, DF: true}, pt.TCP(80, 40001, pt.Bytes(4000, 1))), translate.GSOTCPv6, 2, 1001},
	} {
		t.Run(name, func(t *testing.T) {
			tr, h := holding(t, nil)
			in := pt.Buffer(c.in)
			o := pt.Partial(in.Bytes(), 1000)
			h.Hold(0, in.Bytes(), o)
			ps := translate.NewPackets(1, 5000)
			if n, _ := tr.NewWorker().Emit(0, ps); n != 1 || ps[0].Result.Verdict != translate.Forward {
				t.Fatalf("%d packets, %v", n, ps[0].Result)
			}
			out, o := ps[0].Bytes(), ps[0].Offload
			if o.GSOType != c.gso || o.GSOSize != 1000 || o.Flags != translate.OffloadNeedsCsum {
				t.Errorf("%+v", o)
			}
			if got := binary.BigEndian.Uint16(out[int(o.CsumStart)+c.port:]); got != c.want {
				t.Errorf("port %d, want %d", got, c.want)
			}
			l4 := out[o.CsumStart:] // completed as the device would, the checksum is right
			binary.BigEndian.PutUint16(l4[o.CsumOffset:], ^onesSum(l4))
			if err := pt.Check(out); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestEmitFewBuffers: what there was no room for comes with the next calls, in order, and
// the time says so.
func TestEmitFewBuffers(t *testing.T) {
	tr, h := holding(t, nil)
	w := tr.NewWorker()
	for i := range 5 {
		h.Hold(0, pt.IP(pt.From4(), pt.UDP(uint16(i), 2, nil)), translate.Offload{})
	}
	ps := translate.NewPackets(2, 1500)
	if n, next := w.Emit(0, nil); n != 0 || next > 0 {
		t.Errorf("no buffers: %d packets, next at %v", n, next)
	}
	port := uint16(0)
	for _, want := range []int{2, 2, 1, 0} {
		n, next := w.Emit(0, ps)
		if n != want || (port+uint16(n) < 5) != (next <= 0) {
			t.Fatalf("%d packets, next at %v, want %d", n, next, want)
		}
		for _, p := range ps[:n] {
			if got := binary.BigEndian.Uint16(p.Bytes()[40:]); got != port {
				t.Errorf("packet %d, want %d", got, port)
			}
			port++
		}
	}
}

// TestEmitDeadline: a packet comes out once its time has come, by the latest time that the
// worker was given, and not before.
func TestEmitDeadline(t *testing.T) {
	tr, h := holding(t, nil)
	w := tr.NewWorker()
	at := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	for _, s := range []float64{1, 2, 5} {
		h.Hold(at(s), pt.IP(pt.From4(), pt.UDP(1, 2, nil)), translate.Offload{})
	}
	ps := translate.NewPackets(4, 1500)
	for i, c := range []struct {
		now  time.Duration
		n    int
		next time.Duration
	}{
		{0, 0, at(1)},
		{at(1) - 1, 0, at(1)},
		{at(1), 1, at(2)},
		{at(4.5), 1, at(5)},
		{at(3), 0, at(5)},
		{at(5), 1, translate.Never},
	} {
		if n, next := w.Emit(c.now, ps); n != c.n || next != c.next {
			t.Errorf("call %d at %v: %d packets, next at %v, want %d and %v", i, c.now, n, next, c.n, c.next)
		}
	}
	// Of several times the latest counts, also that of a batch.
	h.Hold(at(8), pt.IP(pt.From4(), pt.UDP(1, 2, nil)), translate.Offload{})
	w.TranslateBatch(at(9), nil)
	if n, next := w.Emit(at(6), ps); n != 1 || next != translate.Never {
		t.Errorf("%d packets, next at %v", n, next)
	}
}

// TestEmitterGone: settings without an emitter are noticed by Emit, too, whatever the
// worker knew in its last batch.
func TestEmitterGone(t *testing.T) {
	tr, h := holding(t, nil)
	w := tr.NewWorker()
	h.Hold(0, pt.IP(pt.From4(), pt.UDP(1, 2, nil)), translate.Offload{})
	if err := tr.Update(func(s *translate.Settings) { s.MTU6 = 1400 }); err != nil { // of cfg and table alone
		t.Fatal(err)
	}
	ps := translate.NewPackets(1, 1500)
	if n, next := w.Emit(0, ps); n != 0 || next != translate.Never {
		t.Errorf("%d packets, next at %v", n, next)
	}
}

// TestEmitShortBuffer: a buffer that cannot hold the packet is a mistake of the program,
// as with Fragment. The packet must not be cut short.
func TestEmitShortBuffer(t *testing.T) {
	tr, h := holding(t, nil)
	w := tr.NewWorker()
	b := pt.IP(pt.From4(), pt.UDP(1, 2, pt.Bytes(100, 0)))
	h.Hold(0, b, translate.Offload{})
	ps := translate.NewPackets(1, len(b)-1)
	said, _ := panics(func() { w.Emit(0, ps) }).(string)
	if !strings.Contains(said, "too short for a packet of 128 bytes") {
		t.Errorf("panics with %q", said)
	}
	if n, _ := w.Emit(0, translate.NewPackets(1, len(b))); n != 1 {
		t.Errorf("%d packets into a buffer of just that size", n)
	}
}

// TestEmitAllocs: to emit allocates nothing, with and without an emitter.
func TestEmitAllocs(t *testing.T) {
	plain := newWorker(t, nil)
	ps := translate.NewPackets(1, 1500)
	if n := testing.AllocsPerRun(100, func() { plain.Emit(0, ps) }); n != 0 {
		t.Errorf("%v allocations without an emitter", n)
	}
	tr, h := holding(t, nil)
	w := tr.NewWorker()
	for range 102 {
		h.Hold(0, pt.IP(pt.From4(), pt.UDP(1, 2, nil)), translate.Offload{})
	}
	if n := testing.AllocsPerRun(100, func() {
		if n, _ := w.Emit(0, ps); n != 1 {
			t.Fatal("no packet")
		}
	}); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

// TestEmitManyWorkers: each packet comes out of one worker, once. For the race detector.
func TestEmitManyWorkers(t *testing.T) {
	tr, h := holding(t, nil)
	const packets = 1000
	for i := range packets {
		h.Hold(time.Duration(i), pt.IP(pt.From4(), pt.UDP(uint16(i), 2, nil)), translate.Offload{})
	}
	var (
		mu   sync.Mutex
		seen [packets]int
		all  sync.WaitGroup
	)
	for range 3 {
		all.Go(func() {
			w, ps := tr.NewWorker(), translate.NewPackets(7, 100)
			for next := time.Duration(0); next != translate.Never; {
				var n int
				n, next = w.Emit(next, ps)
				mu.Lock()
				for _, p := range ps[:n] {
					seen[binary.BigEndian.Uint16(p.Bytes()[40:])]++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	for i, n := range seen {
		if n != 1 {
			t.Errorf("packet %d came out %d times", i, n)
		}
	}
}
