package pool

import "sync/atomic"

// States of an entry. A lease is held or dormant; dead and moved end an entry,
// not a table's slot: a slot that was ever used stays so until its table is
// replaced.
const (
	empty   = iota // no host was ever put here
	held           // both directions work
	dormant        // remembered: the host gets the address back, nobody reaches it
	dead           // the lease has ended
	moved          // the lease lives in a newer table
)

// An entry is a lease, in the slot of the host table that it was put into. It
// holds no pointer, so that a million of them are no work for the garbage
// collector, and fills half a cache line, so that a hit costs one.
//
// host and addr are written before word first leaves the empty state and never
// again; readers look at word first.
type entry struct {
	host [16]byte
	word atomic.Uint64 // state in the upper half, second of last use in the lower
	addr uint32
	_    uint32
}

func word(state uint64, used uint32) uint64 { return state<<32 | uint64(used) }

// touch marks a lease that is held as used now, and returns the entry's state.
// It writes only if the clock has moved since the last use: within a second, workers
// only read the cache line for all packets of a host but the first.
func (e *entry) touch(now uint32) uint64 {
	w := e.word.Load()
	if w == word(held, now) {
		return held
	}
	return e.refresh(w, now)
}

// refresh is touch for an entry that was last seen as w. State and time are in
// one word, so a lease cannot become dormant between the look and the mark.
func (e *entry) refresh(w uint64, now uint32) uint64 {
	for w>>32 == held && uint32(w) < now {
		if e.word.CompareAndSwap(w, word(held, now)) {
			return held
		}
		w = e.word.Load()
	}
	return w >> 32
}

// rest turns a held lease that was not used after cutoff into a dormant one. It
// reports false if there is no such lease (any more).
func (e *entry) rest(cutoff uint32) bool {
	for {
		w := e.word.Load()
		if w>>32 != held || uint32(w) > cutoff {
			return false
		}
		if e.word.CompareAndSwap(w, word(dormant, uint32(w))) {
			return true
		}
	}
}
