package translate

import (
	"math"
	"time"
)

// Never is the time that Emit returns if no packet waits. No clock reaches it.
const Never = time.Duration(math.MaxInt64)

// Emit fills ps, from the beginning, with packets that are not the translation of a packet
// in a batch: packets that were queued until the first fragment or an address for their
// host arrived, and packets that are due at a time, such as keep-alives or the answer to a
// packet that timed out. It returns how many it filled, and the time of the next call.
//
// The packets have a Result, as after TranslateBatch, and are handled in the same way:
// send Forward and Reply, call Fragment for Split, do not send Drop. They may be
// super-packets, of either family.
//
// Call Emit after each batch, and at the time next. If ps is too short for all packets
// that are due, next is not after now: call it again. A goroutine can wait for the next
// batch until next: only calls of this worker make next earlier. After a late call, packets
// are late; an early call returns 0. now is that of Translate.
//
// Buf of each packet must be at least as long as those of the packets that were given to
// the workers of this Translator, and hold what Fragment asks for, a packet as large as the
// next hop takes: one that is reassembled leaves in pieces of that size. Emit panics if one
// is too short for its packet. ps may be the last batch, if that has been sent. Emit
// allocates nothing. Packets are queued only for hosts that share IPv4 addresses:
// TableConfig.Sessions. Without such hosts Emit returns 0 and Never, at the cost of a
// comparison.
func (w *Worker) Emit(now time.Duration, ps []Packet) (n int, next time.Duration) {
	if w.s.emitter == nil {
		return 0, Never
	}
	return w.emitDue(now, ps)
}

// An emitter has packets which no packet of a batch became. All workers
// may call it at the same time.
type emitter interface {
	// emit fills the first of ps with the next packet that is due at w.now, and says what
	// it is.
	emit(w *Worker, ps []Packet) emission
	// due returns when emit will have a packet: Never, if none waits. A packet that is
	// due earlier than those before is one that came in the last batch of the worker
	// that asks, so that no other worker has to be woken for it.
	due(w *Worker) time.Duration
}

// An emission is what an emitter has filled a packet with.
type emission uint8

const (
	nothing  emission = iota // no packet is due
	received                 // a packet as it came in: it is translated now
	complete                 // a packet made by the emitter, which has set its Result
	counted                  // a part of one that is counted already
)

// emitDue is Emit with an emitter.
func (w *Worker) emitDue(now time.Duration, ps []Packet) (n int, next time.Duration) {
	w.begin(now)
	m := w.s.emitter
	if m == nil {
		return 0, Never
	}
	for ; n < len(ps); n++ {
		p := &ps[n]
		what := m.emit(w, ps[n:])
		if what == nothing {
			break
		}
		switch what {
		case received:
			w.process(p)
		case complete:
			w.counts.add(NoFamily, p.Result, p.Len) // it came from neither side
		}
	}
	w.counts.publish()
	return n, m.due(w)
}
