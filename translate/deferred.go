package translate

import (
	"fmt"
	"time"
)

// deferred has the packets of shared addresses that no packet of a batch becomes. The
// Translator has one from the time on at which hosts share addresses.
type deferred struct {
	frags *fragments
	syns  heldSYNs
}

// newDeferred returns prev, or a new one if that is nil and hosts share addresses.
func newDeferred(prev *deferred, cfg *Config, tab *Table) (*deferred, error) {
	if prev == nil {
		if tab.sessions == nil {
			return nil, nil
		}
		prev = &deferred{frags: newFragments(cfg.Fragments, cfg.FragmentBytes)}
	}
	if len(prev.frags.entries) != cfg.Fragments || len(prev.frags.blocks) != cfg.FragmentBytes/blockSize {
		return nil, fmt.Errorf("translate: Fragments or FragmentBytes cannot change after hosts began to share addresses")
	}
	if s, ok := tab.sessions.(SYNHolder); ok {
		prev.syns.resize(s.HeldSYNs())
	}
	return prev, nil
}

// emit is that of emitter.
func (d *deferred) emit(w *Worker, ps []Packet) emission {
	if int64(w.now) >= d.frags.due.Load() {
		d.frags.expire(w)
	}
	for {
		switch {
		case w.whole.Result.Verdict != Drop:
			w.piece(ps)
			return counted
		case !w.ready.has:
			return d.ask(w, &ps[0])
		}
		i := w.ready.next(d.frags)
		if !d.frags.blocks[i].whole {
			d.frags.copyTo(&ps[0], i)
			return received
		}
		w.reassemble(d.frags, i)
	}
}

// ask makes p a packet that Sessions ask for.
func (d *deferred) ask(w *Worker, p *Packet) emission {
	if w.now < w.asked {
		return nothing
	}
	next, ok := w.unanswered(p)
	if ok {
		return complete
	}
	w.asked = next
	if next, ok = w.probes(p); ok {
		w.asked = w.now
		return complete
	}
	w.asked = min(w.asked, next)
	return nothing
}

// due is that of emitter. Fragments that wait are due when they have waited too long: the
// worker that stores one wakes up to drop it.
func (d *deferred) due(w *Worker) time.Duration {
	if w.ready.has || w.whole.Result.Verdict != Drop {
		return w.now
	}
	return max(w.now, min(time.Duration(d.frags.due.Load()), w.asked))
}

// copyTo makes p a stored fragment, which is freed.
func (x *fragments) copyTo(p *Packet, i int32) {
	n := int(x.blocks[i].size)
	if n > len(p.Buf)-Headroom-Tailroom {
		tooShort(p, n)
	}
	p.window(Headroom, n)
	p.Offload, p.Result = Offload{}, Result{}
	x.read(p.Bytes(), i, 0)
	x.mu.Lock()
	x.freeBlocks(i)
	x.mu.Unlock()
}

func tooShort(p *Packet, n int) {
	panic(fmt.Sprintf("translate: a buffer of %d bytes is too short for a packet of %d bytes that waited", len(p.Buf), n))
}
