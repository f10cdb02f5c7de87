package pool

import "sync/atomic"

// States of an entry. A lease is held or dormant; dead and moved end an entry,
// not a table's slot: a slot that was ever used stays so until its table is
// replaced.
const (
	empty   = iota // never used
	held           // both directions work
	dormant        // the host gets the address back, but packets to it reach no host
	dead           // the lease has ended
	moved          // the lease lives in a newer table
)

// An entry is a lease, in a slot of the host table. It has no pointer, so the garbage
// collector does not scan it. It fills half a cache line, so a hit costs one cache miss.
//
// host and addr are written before word first leaves the empty state, and never again;
// readers load word first.
type entry struct {
	host [16]byte
	word atomic.Uint64 // state in the upper half, second of last use in the lower
	addr uint32
	_    uint32
}

func word(state uint64, used uint32) uint64 { return state<<32 | uint64(used) }

// touch marks a lease that is held as used now, and returns the entry's state. It writes
// only if the clock has moved since the last use: at most one write a second for a host,
// so several workers can read the cache line without contention.
func (e *entry) touch(now uint32) uint64 {
	w := e.word.Load()
	if w == word(held, now) {
		return held
	}
	return e.refresh(w, now)
}

// refresh is touch for an entry that was last seen as w. State and time are in
// one word, so a lease cannot become dormant between the load and the store.
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
