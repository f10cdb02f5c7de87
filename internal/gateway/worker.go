package gateway

import (
	"time"

	"github.com/steppe-nat64/steppe/translate"
)

// A Worker is a translate.Worker that tells the fast path, if there is one, what it has
// translated. It belongs to one goroutine at a time.
type Worker struct {
	*translate.Worker
	learner *learner // nil: there is no fast path
}

func (g *Gateway) newWorker() *Worker {
	return &Worker{g.trans.NewWorker(), g.fast.newLearner(g.conf.SharedPrefixes())}
}

// TranslateBatch is that of a translate.Worker. With a fast path it also notes the hosts and
// sessions of plain packets, without allocating, to tell of them when the packets are sent.
func (w *Worker) TranslateBatch(now time.Duration, ps []translate.Packet) {
	generation := uint32(0)
	if w.learner != nil {
		generation = w.learner.cache.Generation()
	}
	if generation == 0 {
		w.Worker.TranslateBatch(now, ps)
		return
	}
	l := w.learner
	if len(l.lessons) == 0 {
		l.leases, l.batches = l.fast.leases(), 0
	}
	l.keep(ps)
	w.Worker.TranslateBatch(now, ps)
	for i := range ps {
		if ps[i].Result == (translate.Result{Verdict: translate.Forward, Reason: translate.Translated}) {
			l.note(generation, now, &l.was[i], ps[i].Bytes())
		}
	}
}

// Sent is called when a batch that TranslateBatch has translated has been sent. more says that
// others are known to wait. Then the fast path is told a little later: packets of a host that
// it knows pass those that wait, so that some of them change their order once.
func (w *Worker) Sent(more bool) {
	if w.learner != nil && len(w.learner.lessons) > 0 {
		w.learner.sent(more)
	}
}
