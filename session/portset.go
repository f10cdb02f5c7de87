package session

import (
	"math/bits"
	"math/rand/v2"
)

// A portSet is the ports of one address and protocol: which can be assigned. It finds one
// at random in a bounded number of steps, however few are left. Each port that fits is as
// likely as the others, whatever was assigned before: RFC 6056 §3.3.1, without the runs
// of adjacent ports that a search from a random start leaves.
//
// A busy port is assigned, or out of range, or in quarantine.
type portSet struct {
	busy   [words]uint64
	free   [runs][2]uint16 // by 1024 ports and by parity
	left   int             // sum of free
	cool   [2]*[words]uint64
	cooled int    // ports in quarantine
	turn   uint32 // the second at which cool[1] is released and cool[0] takes its place
}

const (
	words    = 65536 / 64
	runs     = 64           // runs of 1024 ports
	runWords = words / runs // words of a run
)

// The well-known ports are run 0: RFC 4787 §4.2.2.
const wellKnown = 1024

// Bits of a word by parity.
var parityMask = [2]uint64{0x5555555555555555, 0xaaaaaaaaaaaaaaaa}

// newPortSet returns a set of the ports low to high, all free.
func newPortSet(low, high int) *portSet {
	s := &portSet{}
	for i := range s.busy {
		s.busy[i] = ^rangeMask(i, low, high)
	}
	s.count()
	return s
}

// rangeMask returns which ports of word i are among low to high.
func rangeMask(i, low, high int) uint64 {
	from, to := max(low-64*i, 0), min(high-64*i, 63)
	if from > 63 || to < from {
		return 0
	}
	return ^uint64(0) << from & (^uint64(0) >> (63 - to))
}

// count sets free and left.
func (s *portSet) count() {
	s.free, s.left = [runs][2]uint16{}, 0
	for i, w := range s.busy {
		for parity, m := range parityMask {
			n := bits.OnesCount64(^w & m)
			s.free[i/runWords][parity] += uint16(n)
			s.left += n
		}
	}
}

func (s *portSet) isBusy(port uint16) bool { return s.busy[port/64]>>(port%64)&1 != 0 }

// take makes a free port busy.
func (s *portSet) take(port uint16) {
	s.busy[port/64] |= 1 << (port % 64)
	s.free[port/wellKnown][port%2]--
	s.left--
}

// release makes a busy port free.
func (s *portSet) release(port uint16) {
	s.busy[port/64] &^= 1 << (port % 64)
	s.free[port/wellKnown][port%2]++
	s.left++
}

// Sets of ports to choose from: a run, and a parity.
type choice struct {
	first, last int // runs
	parity      int // 0, 1, or anyParity
}

const anyParity = 2

// choices are the sets to try in turn for a source port: the range of the port is kept,
// then its parity, RFC 4787 §4.2.2; TCP keeps no parity, RFC 6146 §3.5.2.3, and ICMP
// identifiers have no ranges.
func choices(proto uint64, port uint16) (c [4]choice, n int) {
	if proto == icmp {
		return [4]choice{{0, runs - 1, anyParity}}, 1
	}
	same, other := choice{1, runs - 1, anyParity}, choice{0, 0, anyParity}
	if port < wellKnown {
		same, other = other, same
	}
	if proto == tcp {
		return [4]choice{same, other}, 2
	}
	c = [4]choice{same, same, other, other}
	c[0].parity, c[2].parity = int(port%2), int(port%2)
	return c, 4
}

// tries is how many ports are tried before the free ones are counted.
const tries = 4

// pick returns a random free port for a source port, and takes it.
func (s *portSet) pick(proto uint64, port uint16) (uint16, bool) {
	sets, n := choices(proto, port)
	for _, c := range sets[:n] {
		if p, ok := s.among(c); ok {
			s.take(p)
			return p, true
		}
	}
	return 0, false
}

// among returns a random free port of a set.
func (s *portSet) among(c choice) (uint16, bool) {
	r := rand.Uint64()
	size := uint64(c.last-c.first+1) * wellKnown
	for range tries {
		p := uint16(c.first*wellKnown) + uint16((r&0xffff)*size>>16)
		if c.parity != anyParity {
			p = p&^1 | uint16(c.parity)
		}
		if !s.isBusy(p) {
			return p, true
		}
		r >>= 16
	}
	total := 0
	for i := c.first; i <= c.last; i++ {
		total += s.freeIn(i, c.parity)
	}
	if total == 0 {
		return 0, false
	}
	k := rand.IntN(total)
	i := c.first
	for k >= s.freeIn(i, c.parity) {
		k -= s.freeIn(i, c.parity)
		i++
	}
	return s.nth(i*runWords, k, c.parity), true
}

func (s *portSet) freeIn(run, parity int) int {
	if parity == anyParity {
		return int(s.free[run][0]) + int(s.free[run][1])
	}
	return int(s.free[run][parity])
}

// nth returns the free port number k of a parity, from word i on. It has to exist.
func (s *portSet) nth(i, k, parity int) uint16 {
	for ; ; i++ {
		w := ^s.busy[i]
		if parity != anyParity {
			w &= parityMask[parity]
		}
		n := bits.OnesCount64(w)
		if k >= n {
			k -= n
			continue
		}
		for ; k > 0; k-- {
			w &= w - 1
		}
		return uint16(64*i + bits.TrailingZeros64(w))
	}
}

// leftIn counts the free ports of a parity among the n from low on, n a multiple of 64.
func (s *portSet) leftIn(low uint16, n, parity int) (left int) {
	for _, w := range s.busy[low/64 : int(low)/64+n/64] {
		if parity != anyParity {
			w |= ^parityMask[parity]
		}
		left += 64 - bits.OnesCount64(w)
	}
	return left
}

// pickBlock is pick among the n ports from low on, n a multiple of 64; parity alone.
func (s *portSet) pickBlock(low uint16, n, parity int) (uint16, bool) {
	left := s.leftIn(low, n, parity)
	if left == 0 {
		return 0, false
	}
	p := s.nth(int(low)/64, rand.IntN(left), parity)
	s.take(p)
	return p, true
}

// quarantine keeps a busy port unused for at least time seconds more. It reports false if
// limit ports wait already.
func (s *portSet) quarantine(port uint16, sec, time uint32, limit int) bool {
	s.rotate(sec, time)
	if s.cooled >= limit {
		return false
	}
	if s.cool[0] == nil {
		s.cool = [2]*[words]uint64{new([words]uint64), new([words]uint64)}
	}
	if s.cooled == 0 {
		s.turn = sec + time + 1
	}
	s.cool[0][port/64] |= 1 << (port % 64)
	s.cooled++
	return true
}

// recall ends the quarantine of a port, which stays busy. It reports false if it was in none.
func (s *portSet) recall(port uint16) bool {
	for _, cool := range s.cool {
		if cool != nil && cool[port/64]>>(port%64)&1 != 0 {
			cool[port/64] &^= 1 << (port % 64)
			s.cooled--
			return true
		}
	}
	return false
}

// rotate ends the quarantine of ports. Those of cool[0] have come since the last turn,
// those of cool[1] in the time before that.
func (s *portSet) rotate(sec, time uint32) {
	for s.cooled > 0 && int32(sec-s.turn) >= 0 {
		for i, w := range s.cool[1] {
			for ; w != 0; w &= w - 1 {
				s.release(uint16(64*i + bits.TrailingZeros64(w)))
				s.cooled--
			}
			s.cool[1][i] = 0
		}
		s.cool[0], s.cool[1] = s.cool[1], s.cool[0]
		s.turn += time + 1
	}
}

// narrow returns the set with another range. Ports that are assigned, and those in
// quarantine, stay busy. own says which ports outside the old range are assigned.
func (s *portSet) narrow(low, high, newLow, newHigh int, own func(port uint16) bool) *portSet {
	to := *s
	for i, w := range s.busy {
		was, is := rangeMask(i, low, high), rangeMask(i, newLow, newHigh)
		w &= was
		for outside := ^was & s.busy[i]; outside != 0; outside &= outside - 1 {
			if p := uint16(64*i + bits.TrailingZeros64(outside)); own(p) {
				w |= 1 << (p % 64)
			}
		}
		to.busy[i] = w | ^is
	}
	to.cooled = 0
	for _, cool := range to.cool {
		for i := range words {
			if cool == nil {
				break
			}
			cool[i] &= rangeMask(i, newLow, newHigh)
			to.cooled += bits.OnesCount64(cool[i])
		}
	}
	to.count()
	return &to
}
