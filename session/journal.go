package session

import (
	"bufio"
	"io"
	"net/netip"
	"runtime"
	"slices"
)

// A Journal keeps the sessions of a table in a file, so that they go on after an end that
// could not be foreseen. Begin writes a file with all sessions, Append adds to it which have
// begun, have changed their state and have ended since the last call. Close writes a file
// with the time that each session has left.
//
// Sessions do not get slower by it. Each call looks through the entries without a lock, and
// compares the word of each with what the file has of it; it locks a shard for a session that
// it writes. A packet that changes neither state is no change: after a crash each session
// counts as used when the file was last written to. So what is written depends on how many
// sessions begin and end, not on how many there are or how much traffic they have.
//
// A Journal belongs to one goroutine at a time.
type Journal struct {
	t *Table
	// written is the upper half of the word, which is version and state, that each entry
	// had when it was written, and 0 for those of which the file has no session.
	written []*[slabSize]uint32
	live    int // sessions that the file has

	prefixes    []netip.Prefix // of the file
	base, added int64          // bytes by Begin, and by Append since
	stale       bool           // the file is not as written says
}

// NewJournal returns the Journal of a file that does not exist yet.
func NewJournal(t *Table) *Journal { return &Journal{t: t, stale: true} }

// buffered is how many bytes are written at once.
const buffered = 64 * BlockSize

// smallFile is the size below which a file is not written anew.
const smallFile = 1 << 20

// Due reports whether Begin has to be called next, not Append: the first time, after an
// error, after an Update with other prefixes, and when Append has added as much as Begin has
// written, and a megabyte at least.
func (j *Journal) Due() bool {
	return j.stale || j.added >= max(j.base, smallFile) || !slices.Equal(j.prefixes, j.t.cfg.Load().prefixes)
}

// Begin writes all sessions, to an empty file that replaces the one before when it is
// complete.
func (j *Journal) Begin(w io.Writer, at Moment) error {
	j.forget()
	n, err := j.write(w, &writer{at: at}, true)
	j.base, j.added, j.stale = n, 0, err != nil
	return err
}

// Append writes what has changed since the last call, to the end of the file, and returns
// how many bytes. If there is no session and was none, it writes nothing.
func (j *Journal) Append(w io.Writer, at Moment) (int64, error) {
	n, err := j.write(w, &writer{at: at}, false)
	j.added += n
	j.stale = j.stale || err != nil
	return n, err
}

// Close is Begin for the last time: it also writes how much time each session has left.
func (j *Journal) Close(w io.Writer, at Moment) error {
	j.forget()
	_, err := j.write(w, &writer{at: at, exact: true}, true)
	j.stale = true
	return err
}

// forget begins with a file that has nothing.
func (j *Journal) forget() {
	for _, s := range j.written {
		clear(s[:])
	}
	j.live, j.prefixes = 0, j.t.cfg.Load().prefixes
}

// write writes what has changed. head is whether the head is written if there is nothing.
func (j *Journal) write(to io.Writer, w *writer, head bool) (int64, error) {
	w.to = bufio.NewWriterSize(to, buffered)
	if head || j.live > 0 {
		if err := w.head(j.prefixes); err != nil {
			return w.bytes, err
		}
	}
	for first := uint32(0); first < j.t.mem.size(); first += slabSize {
		if err := j.writeSlab(w, first); err != nil {
			return w.bytes, err
		}
		runtime.Gosched() // packets may wait for the processor
	}
	return w.bytes, w.end()
}

// writeSlab writes what has changed in a slab.
func (j *Journal) writeSlab(w *writer, first uint32) error {
	n := int(first / slabSize)
	if n == len(j.written) {
		j.written = append(j.written, new([slabSize]uint32))
	}
	written, sec := j.written[n], second(w.at.Now)
	slab := j.t.mem.dir[n].Load()
	for i := range slab {
		e := &slab[i]
		word := uint32(e.word.Load() >> 32)
		if word == written[i] || written[i] == 0 && !(isSession(e, word)) {
			continue
		}
		if err := j.writeEntry(w, &written[i], e, first+uint32(i), sec); err != nil {
			return err
		}
	}
	return nil
}

// isSession reports whether an entry is a session. word is the upper half of its word.
func isSession(e *entry, word uint32) bool {
	return state(word) != dead && kindOf(e.local.Load()) == aSession
}

// writeEntry writes an entry that has changed.
func (j *Journal) writeEntry(w *writer, written *uint32, e *entry, i, sec uint32) error {
	r, word, ok := j.t.saved(i, sec, w.exact)
	switch {
	case ok:
		if *written == 0 {
			j.live++
		}
		*written = word
	case *written != 0 && !isSession(e, uint32(e.word.Load()>>32)):
		r = record{place: i} // has ended
		*written = 0
		j.live--
	default:
		return nil // is about to end
	}
	if !w.begun {
		if err := w.head(j.prefixes); err != nil {
			return err
		}
	}
	return w.add(&r)
}
