package translate

import (
	"iter"
	"sync/atomic"
)

// A Direction is the side from which packets come.
type Direction uint8

const (
	V4ToV6   Direction = iota // IPv4 packets
	V6ToV4                    // IPv6 packets
	NoFamily                  // neither, and packets that came from no side: see Emit

	numDirections = int(NoFamily) + 1
)

// String returns "4to6", "6to4" or "none".
func (d Direction) String() string {
	return [...]string{"4to6", "6to4", "none", "none"}[d&3]
}

// Count counts packets and their bytes as they came in, headers included.
type Count struct{ Packets, Bytes uint64 }

// An Outcome is what packets are counted by: the side from which they came, and what
// became of them.
type Outcome struct {
	Direction Direction
	Result
}

// valid reports whether o consists of constants of this package.
func (o Outcome) valid() bool {
	return int(o.Direction) < numDirections && int(o.Verdict) < numVerdicts && int(o.Reason) < NumReasons
}

// Stats are counters since the Translator was made. Every packet given to Translate, and
// every packet that Emit makes, is counted once. A fragment that waits (Waiting) is counted
// when it is known what becomes of it: when Emit translates it, or when it has waited too
// long. Fragments that are reassembled are counted by what becomes of the whole packet.
type Stats struct {
	counts [numDirections][numVerdicts][NumReasons]Count
	// ErrorsHeldBack counts errors that were not originated because the budget was
	// used up, and MTUErrorsHeldBack those among them that report an MTU.
	ErrorsHeldBack, MTUErrorsHeldBack uint64
}

// All returns the outcomes that have occurred, in the order of the constants, each
// with its count.
func (s Stats) All() iter.Seq2[Outcome, Count] {
	return func(yield func(Outcome, Count) bool) {
		for d := range s.counts {
			for v := range s.counts[d] {
				for r, c := range s.counts[d][v] {
					o := Outcome{Direction(d), Result{Verdict(v), Reason(r)}}
					if c != (Count{}) && !yield(o, c) {
						return
					}
				}
			}
		}
	}
}

// Count returns the count of one outcome. It is zero for an invalid one.
func (s Stats) Count(o Outcome) Count {
	if !o.valid() {
		return Count{}
	}
	return s.counts[o.Direction][o.Verdict][o.Reason]
}

// Add adds packets that something else has translated. An invalid outcome counts nothing.
func (s *Stats) Add(o Outcome, c Count) {
	if o.valid() {
		n := &s.counts[o.Direction][o.Verdict][o.Reason]
		n.Packets += c.Packets
		n.Bytes += c.Bytes
	}
}

// Stats sums the counters of all workers. Each counter is exact and never goes
// back; counters of packets in flight may be a batch apart.
func (t *Translator) Stats() (s Stats) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s = t.closed
	for _, w := range t.workers {
		w.counts.addTo(&s)
	}
	return s
}

// counts are one worker's counters. The worker adds to plain fields and
// publishes what it touched at the end of a batch, since an atomic store costs
// as much as half a translation.
type counts struct {
	mine      [numDirections][numVerdicts][NumReasons]Count
	heldBack  [errorClasses]uint64
	touched   [16]slot
	nTouched  int
	last      slot
	published [numDirections][numVerdicts][NumReasons]struct{ packets, bytes atomic.Uint64 }
	pubHeld   [errorClasses]atomic.Uint64
}

// slot names a counter.
type slot struct {
	d Direction
	v Verdict
	r Reason
}

func (c *counts) add(d Direction, res Result, size int) {
	s := slot{d, res.Verdict, res.Reason}
	n := &c.mine[s.d][s.v][s.r]
	n.Packets++
	n.Bytes += uint64(size)
	if c.nTouched > 0 && s == c.last {
		return
	}
	if c.nTouched == len(c.touched) {
		c.publish()
	}
	c.last = s
	c.touched[c.nTouched] = s
	c.nTouched++
}

// addAll adds several packets.
func (c *counts) addAll(d Direction, res Result, n Count) {
	c.add(d, res, int(n.Bytes))
	c.mine[d][res.Verdict][res.Reason].Packets += n.Packets - 1
}

func (c *counts) publish() {
	for _, s := range c.touched[:c.nTouched] {
		n, p := &c.mine[s.d][s.v][s.r], &c.published[s.d][s.v][s.r]
		p.packets.Store(n.Packets)
		p.bytes.Store(n.Bytes)
	}
	c.nTouched = 0
	for i := range c.heldBack {
		if c.heldBack[i] != c.pubHeld[i].Load() {
			c.pubHeld[i].Store(c.heldBack[i])
		}
	}
}

func (c *counts) addTo(s *Stats) {
	for d := range c.published {
		for v := range c.published[d] {
			for r := range c.published[d][v] {
				p := &c.published[d][v][r]
				s.counts[d][v][r].Packets += p.packets.Load()
				s.counts[d][v][r].Bytes += p.bytes.Load()
			}
		}
	}
	mtu := c.pubHeld[mtuErrors].Load()
	s.ErrorsHeldBack += c.pubHeld[otherErrors].Load() + mtu
	s.MTUErrorsHeldBack += mtu
}
