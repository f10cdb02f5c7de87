package translate

import (
	"math"
	"time"
)

// An errorClass is a kind of ICMP errors with a budget of its own: RFC 4443 §2.4
// (f), RFC 1812 §4.3.2.8. A path MTU error that is not sent stalls a connection, so
// nothing but other path MTU errors may use up what they are given.
type errorClass uint8

const (
	otherErrors errorClass = iota
	mtuErrors              // Fragmentation Needed, Packet Too Big

	errorClasses = int(mtuErrors) + 1
)

// classOf sorts the errors about packets that were refused for why.
func classOf(why Reason) errorClass {
	if why == TooBig {
		return mtuErrors
	}
	return otherErrors
}

// allowance is the part of a budget that the configuration lays down. It is counted
// in time: an error costs what it takes the bucket to gain one.
type allowance struct {
	off     bool
	cost    time.Duration // 0: no limit
	reserve time.Duration // on top of the burst, for hosts without an error lately
	full    time.Duration // burst and reserve
}

// newAllowance makes the allowance of a rate, which is not 0.
func newAllowance(rate, burst int) allowance {
	if rate < 0 {
		return allowance{off: true}
	}
	a := allowance{cost: time.Second / time.Duration(rate)} // 0 for UnlimitedErrors
	a.reserve = a.cost * time.Duration(burst/reserveShare)
	a.full = a.cost*time.Duration(burst) + a.reserve
	return a
}

// reserveShare is what part of a burst is there a second time, in reserve.
const reserveShare = 5

// errorHosts is how many slots a budget has to tell which hosts were sent an error
// lately. A host is found by a keyed hash, so that no host can choose to share a
// slot with another.
const (
	errorHostBits  = 10
	errorHosts     = 1 << errorHostBits
	errorHostShift = 64 - errorHostBits
)

// errorBudget is a token bucket. One host can take the burst and all that is gained;
// the reserve below is for hosts that got nothing in this second and the one before,
// so that a host that provokes errors without end does not cost others theirs.
type errorBudget struct {
	left time.Duration
	last [errorHosts]int64 // the second in which a host was sent an error
}

func newErrorBudgets(s *state) *[errorClasses]errorBudget {
	bs := new([errorClasses]errorBudget)
	for c := range bs {
		bs[c].left = s.allowed[c].full
		for i := range bs[c].last {
			bs[c].last[i] = math.MinInt64
		}
	}
	return bs
}

// refill adds what was gained in the nanoseconds since the last one.
func (b *errorBudget) refill(a *allowance, passed uint64) {
	b.left = min(b.left+time.Duration(min(passed, uint64(a.full))), a.full)
}

// spend takes an error about a packet that was refused for why from the budget. hash
// is that of the host to which it goes.
func (w *Worker) spend(why Reason, hash uint64) bool {
	c := classOf(why)
	a, b := &w.s.allowed[c], &w.budgets[c]
	if a.off {
		return false
	}
	last := &b.last[hash>>errorHostShift]
	if b.left < a.cost || b.left < a.cost+a.reserve && *last >= w.second-1 {
		w.counts.heldBack[c]++
		return false
	}
	b.left -= a.cost
	*last = w.second
	return true
}

// errorHost4 and errorHost6 are the hashes of hosts.
func (w *Worker) errorHost4(a addr4) uint64 { return uint64(a) * w.flowKeys[0] }
func (w *Worker) errorHost6(a addr6) uint64 { return a.hi*w.flowKeys[0] + a.lo*w.flowKeys[1] }
