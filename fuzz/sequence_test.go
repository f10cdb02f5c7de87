package fuzz

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/internal/test/refxlat"
	"github.com/steppe-nat64/steppe/translate"
)

// Steps of FuzzSequence: four bytes each, of which the first chooses.
const (
	stepPacket = 0 // to 3: a generated packet; the others are its seed
	stepRepeat = 4 // an earlier packet, with a byte changed
	stepTable  = 5 // another table
	stepMTU    = 6 // other MTUs
	stepTime   = 7 // time goes by, at most 16 s
	steps      = 8
)

// Errors a second and at once in the sequences where they are limited.
const (
	errorRate  = 10
	errorBurst = 3
	fullBudget = errorBurst * time.Second / errorRate
)

// A sequence runs packets through two workers, one by one and in batches, and
// keeps account of what both have to do.
type sequence struct {
	t           *testing.T
	one, batch  *rig
	limited     bool
	now, budget time.Duration
	held        uint64
	mtuBudget   time.Duration // that of path MTU errors
	mtuHeld     uint64

	past    [][]byte // all packets so far
	pending [][]byte // those since the last change
	counts  map[translate.Outcome]translate.Count
	ids     [2]map[flow]time.Duration // when each of the two used an identification
}

type flow struct {
	src, dst netip.Addr
	proto    uint8
	id       [2]byte
}

func newSequence(t *testing.T, i uint8, limited bool) *sequence {
	all, err := rigs()
	if err != nil {
		t.Fatal(err)
	}
	setup := all[int(i)%len(all)].Setup
	limited = limited && setup.Config.ErrorRate > 0
	if limited {
		setup.Config.ErrorRate, setup.Config.ErrorBurst = errorRate, errorBurst
	}
	s := &sequence{t: t, limited: limited, now: time.Second, budget: fullBudget, mtuBudget: fullBudget,
		counts: make(map[translate.Outcome]translate.Count), ids: [2]map[flow]time.Duration{{}, {}}}
	for _, x := range []**rig{&s.one, &s.batch} {
		if *x, err = newRig(setup); err != nil {
			t.Fatal(err)
		}
		(*x).more[0].Buf = make([]byte, translate.Headroom+9000)
		(*x).now = s.now
	}
	return s
}

// packet puts a packet in line.
func (s *sequence) packet(pkt []byte) {
	s.past = append(s.past, pkt)
	s.pending = append(s.pending, pkt)
}

// expect is what has to become of pkt now, by the reference and by the budget for
// errors.
func (s *sequence) expect(pkt []byte) ([][]byte, translate.Result) {
	out, res := s.one.ref.Translate(pkt)
	if s.limited && res.Verdict == translate.Reply && res.Reason != translate.EchoReply {
		budget, held := &s.budget, &s.held // a burst of 3 has no reserve
		if res.Reason == translate.TooBig {
			budget, held = &s.mtuBudget, &s.mtuHeld
		}
		if *budget < time.Second/errorRate {
			*held++
			out, res.Verdict = nil, translate.Drop
		} else {
			*budget -= time.Second / errorRate
		}
	}
	d := translate.NoFamily
	if len(pkt) > 0 && pkt[0]>>4 == 4 {
		d = translate.V4ToV6
	} else if len(pkt) > 0 && pkt[0]>>4 == 6 {
		d = translate.V6ToV4
	}
	o := translate.Outcome{Direction: d, Result: res}
	c := s.counts[o]
	c.Packets++
	c.Bytes += uint64(len(pkt))
	s.counts[o] = c
	return out, res
}

// flush sends the packets in line through both workers.
func (s *sequence) flush() {
	t := s.t
	batch := make([]translate.Packet, len(s.pending))
	for i, pkt := range s.pending {
		batch[i] = packettest.Buffer(pkt)
	}
	s.batch.w.TranslateBatch(s.now, batch)
	for i, pkt := range s.pending {
		want, wantRes := s.expect(pkt)
		got, res := s.one.translate(t, pkt, 0xa5)
		s.one.keeps(t, pkt, got, res)
		s.compare(0, "alone", pkt, want, got, wantRes, res)

		packettest.CheckGuards(t, &batch[i], pkt)
		res = batch[i].Result
		got = s.batch.finish(t, &batch[i])
		s.compare(1, "in a batch", pkt, want, got, wantRes, res)
	}
	s.pending = nil
	s.batch.emit(t)
}

func (s *sequence) compare(who int, how string, pkt []byte, want, got [][]byte, wantRes, res translate.Result) {
	if res != wantRes {
		s.t.Fatalf("%s: %v (%v), want %v (%v)\nin %x", how, res.Verdict, res.Reason, wantRes.Verdict, wantRes.Reason, pkt)
	}
	if d := packettest.EqualAll(want, got); d != "" {
		s.t.Fatalf("%s: %v (%v): %s\nin %x", how, res.Verdict, res.Reason, d, pkt)
	}
	s.identify(who, how, pkt, got)
}

// identify fails the test if the identification that a packet without DF got was
// given to its pair of addresses less than two minutes ago: RFC 6864 §4.3.
func (s *sequence) identify(who int, how string, pkt []byte, out [][]byte) {
	if len(out) == 0 || out[0][0]>>4 != 4 || out[0][6]&0x40 != 0 {
		return
	}
	to, _ := open(out[0])
	if in, _ := open(pkt); in.fh {
		return // it came with one
	}
	f := flow{to.src, to.dst, to.proto, [2]byte(out[0][4:6])}
	if used, found := s.ids[who][f]; found && s.now-used < 2*time.Minute {
		s.t.Errorf("%s: identification %x of %s → %s was used %v before", how, f.id, f.src, f.dst, s.now-used)
	}
	s.ids[who][f] = s.now
}

// change flushes, and replaces the tables or the MTUs of both workers.
func (s *sequence) change(tab *rig, mtu4, mtu6 int) {
	s.flush()
	for _, x := range []*rig{s.one, s.batch} {
		x.Config.MTU4, x.Config.MTU6, x.Table = mtu4, mtu6, tab.Table
		x.update(s.t, mtu4, mtu6, tab.tab)
		var err error
		if x.ref, err = refxlat.New(x.Config, x.Table); err != nil {
			s.t.Fatal(err)
		}
		x.tab = tab.tab
	}
}

// tick flushes and lets time go by, for both workers.
func (s *sequence) tick(d time.Duration) {
	s.flush()
	s.now += d
	s.one.now = s.now
	s.budget = min(s.budget+d, fullBudget)
	s.mtuBudget = min(s.mtuBudget+d, fullBudget)
}

// checkStats holds the counters against the account.
func (s *sequence) checkStats() {
	for _, x := range []*rig{s.one, s.batch} {
		st := x.tr.Stats()
		if got := maps.Collect(st.All()); !maps.Equal(got, s.counts) {
			s.t.Errorf("counted %v, want %v", got, s.counts)
		}
		if st.ErrorsHeldBack != s.held+s.mtuHeld || st.MTUErrorsHeldBack != s.mtuHeld {
			s.t.Errorf("%d errors held back, %d about the MTU; want %d and %d", st.ErrorsHeldBack, st.MTUErrorsHeldBack, s.held+s.mtuHeld, s.mtuHeld)
		}
	}
}

// run runs a program.
func (s *sequence) run(program []byte) {
	all, _ := rigs()
	for step := range slices.Chunk(program, 4) {
		if len(step) < 4 {
			break
		}
		a, b, c := step[1], step[2], step[3]
		switch k := step[0] % steps; k {
		default: // stepPacket
			seed := uint64(a)<<16 | uint64(b)<<8 | uint64(c)
			s.packet(packettest.NewGen(seed, s.one.Setup).Packet())
		case stepRepeat:
			if len(s.past) == 0 {
				continue
			}
			old := s.past[int(a)%len(s.past)]
			s.packet(packettest.Edit(old, func(p []byte) {
				if int(b) < len(p) {
					p[b] = c
				}
			}))
		case stepTable:
			s.change(all[int(a)%len(all)], s.one.Config.MTU4, s.one.Config.MTU6)
		case stepMTU:
			mtu4 := []int{68, 576, 1260, 1280, 1480, 1500, 9000}[int(a)%7]
			mtu6 := []int{1280, 1300, 1500, 9000}[int(b)%4]
			s.change(&rig{Setup: s.one.Setup, tab: s.one.tab}, mtu4, mtu6)
		case stepTime:
			s.tick(time.Duration(a)<<8 | time.Duration(b)*time.Millisecond/4)
		}
	}
	s.flush()
	s.checkStats()
}

// FuzzSequence: up to 64 steps with one worker: packets, the same packets again
// with a byte changed, other tables and MTUs, time. Each packet has the
// outcome that the reference, which remembers nothing, gives it under the tables and
// MTUs of the moment, alone as well as in a batch; it keeps what FuzzPacket4to6
// promises; errors are as many as the budget has, no more and no fewer;
// generated identifications do not repeat; and in the end every counter of the
// translator is exact.
func FuzzSequence(f *testing.F) {
	f.Add(uint8(1), false, []byte{0, 0, 0, 1, 0, 0, 0, 2, 4, 0, 9, 6, 0, 0, 0, 3})                    // a pair seen twice
	f.Add(uint8(1), false, []byte{0, 0, 0, 1, 4, 0, 255, 0, 5, 20, 0, 0, 4, 0, 255, 0})               // and under another table
	f.Add(uint8(0), false, []byte{0, 0, 1, 1, 4, 0, 255, 0, 6, 0, 0, 0, 4, 0, 255, 0})                // and under other MTUs
	f.Add(uint8(0), true, []byte{0, 0, 2, 1, 4, 0, 7, 1, 4, 0, 7, 1, 4, 0, 7, 1, 4, 0, 7, 1})         // hop limit runs out, over and over
	f.Add(uint8(2), true, []byte{0, 0, 2, 5, 4, 0, 8, 1, 4, 0, 8, 0, 7, 1, 0, 0, 4, 0, 8, 1})         // with a pause
	f.Add(uint8(25), false, []byte{0, 0, 3, 1, 1, 0, 3, 2, 2, 0, 3, 3, 7, 255, 255, 0, 4, 0, 255, 0}) // leases, a second later
	f.Fuzz(func(t *testing.T, setup uint8, limited bool, program []byte) {
		newSequence(t, setup, limited).run(program[:min(len(program), 64*4)])
	})
}
