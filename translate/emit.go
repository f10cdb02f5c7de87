package translate

import (
	"fmt"
	"math"
	"time"
)

// Never is the time that Emit returns if no packet waits. No clock reaches it.
const Never = time.Duration(math.MaxInt64)

// Emit fills ps from the front with packets that no packet of a batch became: packets
// that were held until something came that they need, such as the first fragment or an
// address for their host; and packets that only the time brings, such as keep-alives or
// the answer to a packet that waited in vain. It returns how many it filled, and the
// time by which to call it again.
//
// The packets have a Result, as after TranslateBatch, and the same is done with them:
// Forward and Reply are sent, Split is cut by Fragment, Drop is not sent. They may be
// super-packets, of either family.
//
// Call it after each batch, and once next has come. If ps is too short for all packets
// that are due, next is not after now: call it again. A goroutine that waits for the
// next batch until next misses nothing, since only this worker's own calls bring next
// forward. A late call makes packets late; an early one returns 0. now is that of
// Translate.
//
// Buf of each packet must be at least as long as those of the packets that were given to
// the workers of this Translator; Emit panics if one is shorter than what it has to hold.
// ps may be the last batch, if that has been sent. Emit allocates nothing. Without
// anything that holds packets, which is so with every Table today, it returns 0 and
// Never, and costs a comparison.
func (w *Worker) Emit(now time.Duration, ps []Packet) (n int, next time.Duration) {
	if w.s.mapper == nil {
		return 0, Never
	}
	return w.emitDue(now, ps)
}

// An emitter is the part of a mapper that has packets which no packet became. All workers
// may call it at the same time.
type emitter interface {
	// emit fills p with the next packet that is due at now, and says what it is.
	emit(now time.Duration, p *Packet) emission
	// due returns when emit will have a packet: Never, if none waits. A packet that is
	// due earlier than those before is one that came in the last batch of the worker
	// that asks, so that no other worker has to be woken for it.
	due() time.Duration
}

// An emission is what a mapper has filled a packet with.
type emission uint8

const (
	nothing  emission = iota // no packet is due
	received                 // a packet as it came in: it is translated now
	complete                 // a packet made by the mapper, which has set its Result
)

// emitDue is Emit with a mapper.
func (w *Worker) emitDue(now time.Duration, ps []Packet) (n int, next time.Duration) {
	w.begin(now)
	m := w.s.mapper
	if m == nil {
		return 0, Never
	}
	for ; n < len(ps); n++ {
		p := &ps[n]
		what := m.emit(w.now, p)
		if what == nothing {
			break
		}
		if what == received {
			w.judge(p)
		} else {
			w.counts.add(NoFamily, p.Result, p.Len) // it came from neither side
		}
	}
	w.counts.publish()
	return n, m.due()
}

// restore makes p the packet that a mapper has kept as b and o.
func (p *Packet) restore(b []byte, o Offload) {
	if !p.Set(b) {
		panic(fmt.Sprintf("translate: a buffer of %d bytes is too short for a packet of %d bytes that was held", len(p.Buf), len(b)))
	}
	p.Offload = o
}
