package translate_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/internal/test/refxlat"
	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

var conversed = flag.Int("conversed", 60_000, "packets that TestReferenceOnConversations compares")

// A bindingKey is whose port a binding has.
type bindingKey struct {
	proto uint8
	host  netip.AddrPort
}

// A sharedComparison translates the packets of hosts that share addresses by two workers, one
// for each direction, and by the reference implementation.
type sharedComparison struct {
	comparison
	from4, from6 *translate.Worker
	table        *session.Table
	sharing      *refxlat.Sharing
	emitted      []translate.Packet
	now          time.Duration
	story        []string // the last packets
	nEmitted     int      // fragments that had waited
	nAnswers     int      // to SYNs
	results      map[translate.Result]int
}

func newSharedComparison(t testing.TB, s packettest.SharedSetup) *sharedComparison {
	t.Helper()
	bound := map[bindingKey]netip.AddrPort{}
	s.Session.OnEvent = func(e session.Event) {
		switch k := (bindingKey{e.Proto, e.Host}); e.Kind {
		case session.BindingMade:
			bound[k] = e.Addr
		case session.BindingEnded:
			delete(bound, k)
		}
	}
	tab, err := session.New(s.Session)
	require.NoError(t, err)
	x := &sharedComparison{table: tab, now: time.Hour, results: map[translate.Result]int{}}
	x.sharing = refxlat.NewSharing(s.Session, func(proto uint8, host netip.AddrPort) (netip.AddrPort, bool) {
		at, ok := bound[bindingKey{proto, host}]
		return at, ok
	})
	x.ref, err = refxlat.New(s.Config, s.Table)
	require.NoError(t, err)
	x.ref.Share(s.Table.Shared, x.sharing)
	s.Table.Sessions = tab
	tr := build(t, s.Config, s.Table)
	x.from4, x.from6 = tr.NewWorker(), tr.NewWorker()
	x.emitted = translate.NewPackets(4, 65535)
	x.more = []translate.Packet{{Buf: make([]byte, translate.Headroom+65535+translate.Tailroom)}}
	return x
}

// compare lets time go by, translates pkt both ways, and returns what came out and describes
// the difference, if any.
func (x *sharedComparison) compare(t testing.TB, wait time.Duration, pkt []byte) (out [][]byte, diff string) {
	t.Helper()
	if x.now += wait; wait > 0 {
		for x.table.Expire(x.now) {
		}
		if out, diff = x.compareEmitted(t); diff != "" {
			return out, diff
		}
	}
	w := x.from6
	if pkt[0]>>4 == 4 {
		w = x.from4
	}
	p := packettest.Buffer(pkt)
	res := w.Translate(x.now, &p)
	packettest.CheckGuards(t, &p, pkt)
	out = x.take(w, &p)
	x.results[res]++
	x.story = append(x.story[max(0, len(x.story)-40):], fmt.Sprintf("%v %x: %v %v %x", x.now, pkt, res.Verdict, res.Reason, out))
	want, wantRes := x.ref.TranslateAt(x.now, pkt)
	switch d := packettest.EqualAll(want, out); {
	case x.sharing.Wrong != "":
		return out, x.sharing.Wrong
	case res != wantRes:
		return out, fmt.Sprintf("%v (%v), the reference says %v (%v)", res.Verdict, res.Reason, wantRes.Verdict, wantRes.Reason)
	case d != "":
		return out, d
	}
	more, diff := x.compareEmitted(t)
	return append(out, more...), diff
}

// take returns what has become of a packet.
func (x *sharedComparison) take(w *translate.Worker, p *translate.Packet) (out [][]byte) {
	for p.Result.Verdict == translate.Split {
		w.Fragment(p, x.more)
		out = append(out, slices.Clone(x.more[0].Bytes()))
	}
	if p.Result.Verdict != translate.Drop {
		out = append(out, slices.Clone(p.Bytes()))
	}
	return out
}

// compareEmitted compares what leaves without a packet that has come: fragments that have
// waited, and answers to SYNs, which the workers may have in another order.
func (x *sharedComparison) compareEmitted(t testing.TB) (out [][]byte, diff string) {
	t.Helper()
	var answers [][]byte
	for _, w := range []*translate.Worker{x.from4, x.from6} {
		for {
			n, _ := w.Emit(x.now, x.emitted)
			for i := range x.emitted[:n] {
				if p := &x.emitted[i]; p.Result.Reason == translate.UnsolicitedSYN {
					answers = append(answers, x.take(w, p)...)
				} else {
					out = append(out, x.take(w, p)...)
				}
			}
			if n < len(x.emitted) {
				break
			}
		}
	}
	x.story = append(x.story, fmt.Sprintf("%v emitted %x %x", x.now, out, answers))
	want, wantAnswers := x.ref.EmitAt(x.now)
	if d := packettest.EqualAll(want, out); d != "" {
		return out, "emitted: " + d
	}
	byQuote := func(a, b []byte) int { return slices.Compare(a[28:], b[28:]) }
	slices.SortFunc(answers, byQuote)
	slices.SortFunc(wantAnswers, byQuote)
	if len(answers) != len(wantAnswers) {
		return out, fmt.Sprintf("%d SYNs answered, want %d", len(answers), len(wantAnswers))
	}
	for i, a := range answers {
		if d := packettest.Equal(wantAnswers[i], a); d != "" {
			return out, "answer to a SYN: " + d
		}
	}
	x.nEmitted, x.nAnswers = x.nEmitted+len(out), x.nAnswers+len(answers)
	return append(out, answers...), ""
}

// compareSessions compares all sessions.
func (x *sharedComparison) compareSessions() (diff string) {
	var all []session.Session
	for page, first := session.Page(0), true; first || page != 0; first = false {
		all, page = x.table.Sessions(all, x.now, session.Filter{}, page, 1000)
	}
	var got []string
	for _, s := range all {
		got = append(got, fmt.Sprintf("%d %s %s %s %s %ds", s.Proto, s.Host, s.Addr, s.Remote, s.State, int(s.Expires/time.Second)))
	}
	slices.Sort(got)
	want := x.sharing.List()
	n := 0
	for _, b := range x.table.Stats().Bindings {
		n += b
	}
	if !slices.Equal(got, want) || n != x.sharing.Bindings() {
		return fmt.Sprintf("%d bindings, sessions\n%s\nwant %d bindings and\n%s", n, strings.Join(got, "\n"), x.sharing.Bindings(), strings.Join(want, "\n"))
	}
	return ""
}

// TestReferenceOnConversations: packets of many hosts that share addresses, with the two
// directions on two workers, under configurations of all kinds.
func TestReferenceOnConversations(t *testing.T) {
	var (
		setups  = packettest.SharedSetups()
		mu      sync.Mutex
		reached [translate.NumReasons]int
		emitted int
		answers int
	)
	t.Cleanup(func() { // after all of the subtests
		for _, r := range []translate.Reason{
			translate.Translated, translate.Hairpinned, translate.NoSession, translate.SessionLimit, translate.Filtered,
			translate.NoBinding, translate.NoPort, translate.OtherProtocol, translate.EmbeddedSource, translate.TooBig,
			translate.Waiting, translate.UnsolicitedSYN,
		} {
			if reached[r] == 0 && !t.Failed() {
				t.Errorf("no packet was %v", r)
			}
		}
		if (emitted == 0 || answers == 0) && !t.Failed() {
			t.Errorf("%d fragments had waited, %d SYNs were answered", emitted, answers)
		}
	})
	for i, s := range setups {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			seed := uint64(i)
			if *conversed >= 1_000_000 { // worth new ground every time
				seed = uint64(time.Now().UnixNano())
			}
			c, x := packettest.NewConversations(seed, s), newSharedComparison(t, s)
			for n := range *conversed / len(setups) {
				wait, pkt := c.Next()
				out, diff := x.compare(t, wait, pkt)
				if diff == "" && n%500 == 0 {
					diff = x.compareSessions()
				}
				if diff != "" {
					t.Fatalf("seed %d, packet %d: %s\n%s", seed, n, diff, strings.Join(x.story, "\n"))
				}
				c.Saw(out)
			}
			mu.Lock()
			defer mu.Unlock()
			emitted += x.nEmitted
			answers += x.nAnswers
			for r, n := range x.results {
				reached[r.Reason] += n
			}
		})
	}
}

// FuzzConversations compares the packets of conversations whose course the fuzzer chooses,
// under one of the setups, with the reference implementation.
func FuzzConversations(f *testing.F) {
	setups := packettest.SharedSetups()
	for i := range setups {
		f.Add(uint8(i), []byte("a packet, its answer, and what follows from these"))
	}
	f.Add(uint8(0), []byte{0, 0, 0, 0, 255, 128, 7, 64, 32, 200, 100, 50, 25})
	f.Fuzz(func(t *testing.T, setup uint8, course []byte) {
		s := setups[int(setup)%len(setups)]
		c := packettest.ConversationsFrom(&packettest.Choices{Bytes: course, Rest: rand.NewPCG(1, 2)}, s)
		x := newSharedComparison(t, s)
		for range 50 + len(course)/4 {
			wait, pkt := c.Next()
			out, diff := x.compare(t, wait, pkt)
			if diff == "" {
				diff = x.compareSessions()
			}
			if diff != "" {
				t.Fatalf("%s\n%s", diff, strings.Join(x.story, "\n"))
			}
			c.Saw(out)
		}
	})
}
