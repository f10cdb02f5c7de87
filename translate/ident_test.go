package translate

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

func newIdentTranslator(t testing.TB) *Translator {
	t.Helper()
	tab, err := NewTable(TableConfig{})
	if err != nil {
		t.Fatal(err)
	}
	tr, err := New(Config{}, tab)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// TestIdentHash: SipHash-1-3 of the bytes of dst, src and proto, with key 0. The
// values are CPython's: PYTHONHASHSEED=0, hash(struct.pack("<IIB", dst, src, proto)).
func TestIdentHash(t *testing.T) {
	var s identSpace
	for _, c := range []struct {
		src, dst addr4
		proto    uint8
		want     uint64
	}{
		{0, 0, 0, 0x66b1b52b4f6ef1c4},
		{0xc0000206, 0xc6336404, 17, 0xc33d69eb759dfd61},
		{0xffffffff, 1, 255, 0x429020f4dc37775},
	} {
		if got := s.hash(c.src, c.dst, c.proto); got != c.want {
			t.Errorf("%x, %x, %d: %#x, want %#x", c.src, c.dst, c.proto, got, c.want)
		}
	}
}

// TestIdentTags: a tag is never that of an empty counter, and an empty counter is
// free.
func TestIdentTags(t *testing.T) {
	s := identSpace{places: [2]uint64{0, 1}}
	if _, tag := s.place(0, 0, 0); tag == 0 || identCounter(0).inUse(0) || identCounter(0).inUse(1<<31) {
		t.Error("an empty counter belongs to a flow")
	}
	for _, clock := range []uint32{0, 1, 1000, 1<<24 - 1, 1 << 24, 1 << 31, 1<<32 - 1} {
		for _, c := range []struct {
			before int // of the counter to the clock
			want   bool
		}{{-1 << 20, false}, {-identSpan, false}, {-clockSlack, false}, {1 - clockSlack, true}, {0, true}, {1, true}, {identSpan, true}, {2*identSpan - clockSlack, true}, {2*identSpan - clockSlack + 1, false}, {2 * identSpan, false}} {
			counter := (identCounter(1)<<tagShift | 0xabcd<<countBits).at(clock + uint32(c.before))
			if counter.before(clock) != c.before {
				t.Errorf("clock %d: counter %#x is %d before it, want %d", clock, counter, counter.before(clock), c.before)
			}
			if got := counter.inUse(clock); got != c.want {
				t.Errorf("clock %d, counter %d before it: in use %v", clock, c.before, got)
			}
			next := counter.ahead(clock)
			if c.before > 0 && next.value() != counter.value() || c.before <= 0 && next.before(clock) != 0 || next.before(clock) > identSpan || next>>countBits != counter>>countBits {
				t.Errorf("clock %d, counter %d before it: goes on at %#x", clock, c.before, next)
			}
		}
	}
}

// TestIdentCountsComeRound: a flow goes on without a repeated value, and a gap of its
// own at most, where the count of its counter begins at 0 again.
func TestIdentCountsComeRound(t *testing.T) {
	w := newIdentTranslator(t).NewWorker()
	now := time.Duration(1<<countBits-40) << clockShift
	f := flow{addresses: addresses{src4: 1, dst4: 2}}
	seen := map[uint16]bool{}
	for range 3000 {
		w.begin(now)
		now += time.Second / 30
		if id := w.ident(&f, protoUDP, 1); seen[id] {
			t.Fatalf("value %04x came twice", id)
		} else {
			seen[id] = true
		}
	}
}

// TestIdentWindow: whatever the rate of a flow, however it is spread over workers and
// with super-packets among its packets, no value comes twice within two minutes
// unless the flow has sent 50,000 packets in between.
func TestIdentWindow(t *testing.T) {
	for _, workers := range []int{1, 2, 8} {
		for _, rate := range []int{1, 10, 30, 100, 400, 540, 2000, 50_000} { // packets a second
			tr := newIdentTranslator(t)
			var ws []*Worker
			for range workers {
				ws = append(ws, tr.NewWorker())
			}
			r := rand.New(rand.NewPCG(uint64(workers), uint64(rate)))
			type use struct {
				at time.Duration
				n  int
			}
			last := make([]use, 1<<16)
			now, sent := time.Hour, 0
			for sent < 140_000 {
				if r.IntN(1000) == 0 {
					now += time.Duration(r.IntN(90)) * time.Second // silence
				}
				w := ws[r.IntN(workers)]
				burst := 1 + r.IntN(1<<r.IntN(8))
				now += time.Duration(burst) * time.Second / time.Duration(rate)
				w.begin(now)
				for burst > 0 {
					n := 1
					if r.IntN(20) == 0 {
						n = 1 + r.IntN(100)
					}
					burst -= n
					f := flow{addresses: addresses{src4: 1, dst4: 2}}
					id := w.ident(&f, protoUDP, n)
					for range n {
						sent++
						if u := last[id]; u.n > 0 && now-u.at < 2*time.Minute && sent-u.n < 50_000 {
							t.Fatalf("%d workers, %d packets a second: value repeated after %v and %d packets", workers, rate, now-u.at, sent-u.n)
						}
						last[id] = use{now, sent}
						id++
					}
				}
			}
		}
	}
}

// TestIdentOfOthers: the values of a flow are the same whether or not others send,
// in whichever number, and over whichever workers it is spread.
func TestIdentOfOthers(t *testing.T) {
	quiet, busy := newIdentTranslator(t), newIdentTranslator(t)
	busy.ids.key = quiet.ids.key
	var workers [2][2]*Worker
	for i, tr := range []*Translator{quiet, busy} {
		workers[i] = [2]*Worker{tr.NewWorker(), tr.NewWorker()}
	}
	r := rand.New(rand.NewPCG(7739, 5))
	now := time.Duration(0)
	others := addr4(0)
	for range 6000 {
		now += time.Duration(r.IntN(100)) * time.Millisecond
		on := r.IntN(2)
		n := 1
		if r.IntN(10) == 0 {
			n = 1 + r.IntN(50)
		}
		f := flow{addresses: addresses{src4: 1, dst4: addr4(r.IntN(100))}} // some often, some seldom
		g := f
		workers[0][on].begin(now)
		workers[1][on].begin(now)
		for range r.IntN(60) { // new ones, and the same again and again
			others++
			x := flow{addresses: addresses{src4: 2, dst4: others}}
			if others%3 == 0 {
				x.dst4 = others % 1000
			}
			workers[1][r.IntN(2)].ident(&x, protoUDP, 1+r.IntN(3))
		}
		if a, b := workers[0][on].ident(&f, protoUDP, n), workers[1][on].ident(&g, protoUDP, n); a != b {
			t.Fatalf("at %v: %04x alone, %04x beside %d other flows", now, a, b, others)
		}
	}
}

// TestIdentPlaces: however the addresses of 12,000 flows are chosen, and whatever the
// keys are, nearly all of them find a counter. Counters were once chosen by one product:
// with one key in forty, most hosts of a scanned network shared a few sets, and from
// there on got random values, some of them twice within seconds.
func TestIdentPlaces(t *testing.T) {
	const flows = 12_000
	keys := [][2]uint64{{0, 1}, {0, 1 << 32}, {0, 1<<64 - 1}, {0, 0x5555555555555555}, {0, 0x3333333333333333}, {0, 1<<63 | 1}, {1 << 63, 0x2492492492492492}}
	r := rand.New(rand.NewPCG(7739, 6))
	for range 100 {
		keys = append(keys, [2]uint64{r.Uint64(), r.Uint64()})
	}
	for name, flow := range map[string]func(i int) (src, dst addr4, proto uint8){
		"destinations in a row":    func(i int) (addr4, addr4, uint8) { return 0xc0000207, 0xc6120000 + addr4(i), protoUDP },
		"sources in a row":         func(i int) (addr4, addr4, uint8) { return 0xc0a80000 + addr4(i), 0xc6336404, protoUDP },
		"one host of each network": func(i int) (addr4, addr4, uint8) { return 0xc0000207, addr4(0x0a000001 + i<<8), protoUDP },
		"all pairs of two networks": func(i int) (addr4, addr4, uint8) {
			return 0xc0a80000 + addr4(i%110), 0xc6120000 + addr4(i/110), protoUDP
		},
		"all protocols": func(i int) (addr4, addr4, uint8) { return 0xc0a80000 + addr4(i>>8), 0xc6336404, uint8(i) },
	} {
		for _, key := range keys {
			s := identSpace{places: key}
			var sets [identSets]uint8
			random := 0
			for i := range flows {
				at, _ := s.place(flow(i))
				if sets[at/identWays]++; sets[at/identWays] > identWays {
					random++
				}
			}
			if random > flows/200 {
				t.Errorf("%s, key %#x: %d of %d have no counter", name, key, random, flows)
			}
		}
	}
}

// TestIdentFull: with all counters in use, newcomers get random values, and the
// flows that have counters go on as before.
func TestIdentFull(t *testing.T) {
	tr := newIdentTranslator(t)
	w := tr.NewWorker()
	var first []flow
	var next []uint16
	for i := range 10_000 {
		first = append(first, flow{addresses: addresses{src4: 1, dst4: addr4(i)}})
		next = append(next, w.ident(&first[i], protoTCP, 1)+1)
	}
	for i := range 40 * len(tr.ids.counters) / 10 {
		w.ident(&flow{addresses: addresses{src4: 2, dst4: addr4(i)}}, protoTCP, 1)
	}
	stranger := flow{addresses: addresses{src4: 3, dst4: 3}}
	for i := range tr.ids.counters {
		if tr.ids.counters[i].Load() == 0 {
			t.Fatal("a counter is free")
		}
	}
	moved := 0
	for i := range first {
		if w.ident(&first[i], protoTCP, 1) != next[i] {
			moved++
		}
	}
	if moved > 20 { // those that shared a set with sixteen others from the beginning
		t.Errorf("%d of %d flows were disturbed", moved, len(first))
	}
	steps := map[uint16]int{}
	last := w.ident(&stranger, protoTCP, 1)
	for range 1000 {
		id := w.ident(&stranger, protoTCP, 1)
		steps[id-last]++
		last = id
	}
	for step, n := range steps {
		if n > 5 {
			t.Errorf("%d steps of %d in 1000 random values", n, step)
		}
	}
}

// TestIdentAtOnce: many flows, each on several workers at the same time from its
// first packet on.
func TestIdentAtOnce(t *testing.T) {
	const workers, flows, packets = 4, 3000, 40
	tr := newIdentTranslator(t)
	ids := make([][][]uint16, workers)
	var running sync.WaitGroup
	for i := range ids {
		w := tr.NewWorker()
		ids[i] = make([][]uint16, flows)
		running.Go(func() {
			for range packets {
				for j := range flows {
					f := flow{addresses: addresses{src4: addr4(j), dst4: 9}}
					ids[i][j] = append(ids[i][j], w.ident(&f, protoUDP, 1))
				}
			}
		})
	}
	running.Wait()
	for j := range flows {
		seen := map[uint16]bool{}
		for i := range ids {
			for _, id := range ids[i][j] {
				if seen[id] {
					t.Fatalf("flow %d: value %04x given twice", j, id)
				}
				seen[id] = true
			}
		}
	}
}

// TestRandomIdents: each bit is set in half of the values, and no value is frequent.
func TestRandomIdents(t *testing.T) {
	w := newIdentTranslator(t).NewWorker()
	const n = 1 << 18
	var bits [16]int
	count := make([]int, 1<<16)
	for range n {
		id := w.randomIdent()
		count[id]++
		for b := range bits {
			bits[b] += int(id >> b & 1)
		}
	}
	for b, set := range bits {
		if set < n/2-2000 || set > n/2+2000 { // 8 standard deviations
			t.Errorf("bit %d is set in %d of %d values", b, set, n)
		}
	}
	for id, times := range count {
		if times > 30 { // 4 are expected
			t.Errorf("%04x came %d times", id, times)
		}
	}
}

// BenchmarkIdent is the cost of an identification: for one flow, for as many as a
// worker remembers, for one that it has to look up, and with DF.
func BenchmarkIdent(b *testing.B) {
	w := newIdentTranslator(b).NewWorker()
	flows := make([]flow, 1000)
	for i := range flows {
		flows[i].src4, flows[i].dst4 = addr4(1000), addr4(i*7)
	}
	b.Run("flows=1", func(b *testing.B) {
		for b.Loop() {
			w.ident(&flows[0], protoUDP, 1)
		}
	})
	b.Run("flows=1000", func(b *testing.B) {
		i := 0
		for b.Loop() {
			w.ident(&flows[i], protoUDP, 1)
			if i++; i == len(flows) {
				i = 0
			}
		}
	})
	b.Run("flows=new", func(b *testing.B) {
		i := addr4(0)
		for b.Loop() {
			i = (i + 1) % 1000
			w.identFor(1000, i*7, protoUDP)
		}
	})
	b.Run("df", func(b *testing.B) {
		for b.Loop() {
			w.randomIdent()
		}
	})
}
