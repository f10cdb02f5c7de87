package main

import (
	"errors"
	"time"

	"github.com/steppe-nat64/steppe/translate"
	"github.com/steppe-nat64/steppe/tun"
)

// A worker is what a pump needs of it: *gateway.Worker, or a test's.
type worker interface {
	TranslateBatch(now time.Duration, ps []translate.Packet)
	Sent(more bool)
	Emit(now time.Duration, ps []translate.Packet) (n int, next time.Duration)
	Fragment(p *translate.Packet, more []translate.Packet) int
}

// A pump is one worker: it moves packets from a queue of the device through
// the translator and back to the same queue. Everything it touches on the way
// is its own, and made once.
type pump struct {
	queue  queue
	worker worker
	log    *packetLog
	batch  []translate.Packet // as they come in
	pieces []translate.Packet // what is cut from packets that are too large
}

// Packets per batch. It is as large as it has to be for the costs per batch not
// to show.
const batchSize = 64

// started is where the clock of all workers begins.
var started = time.Now()

// newPump makes the buffers for a queue.
func newPump(q queue, w worker, log *packetLog) *pump {
	return &pump{
		queue:  q,
		worker: w,
		log:    log,
		batch:  tun.NewPackets(batchSize),
		pieces: tun.NewPackets(translate.MaxPieces),
	}
}

// run pumps until the queue is closed, or returns what is wrong with it. The worker may
// have packets to send that come from no packet of the queue: a read ends in time for
// them.
func (p *pump) run() error {
	next := p.emit(time.Since(started)) // a worker outlives its queue
	for {
		n, err := p.read(next)
		if errors.Is(err, tun.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		now := time.Since(started)
		p.translate(now, p.batch[:n])
		next = p.emit(now)
	}
}

// read fills the batch. It waits until next at most.
func (p *pump) read(next time.Duration) (n int, err error) {
	if next == translate.Never {
		return p.queue.Read(p.batch)
	}
	return p.queue.ReadTimeout(p.batch, next-time.Since(started))
}

// translate translates a batch and sends it.
func (p *pump) translate(now time.Duration, batch []translate.Packet) {
	p.worker.TranslateBatch(now, batch)
	p.finish(batch)
	p.worker.Sent(len(batch) == len(p.batch))
}

// emit sends what the worker has of its own, a batch at most, and returns when it is to be
// asked again: before the next read waits for packets.
func (p *pump) emit(now time.Duration) (next time.Duration) {
	n, next := p.worker.Emit(now, p.batch)
	p.finish(p.batch[:n])
	return next
}

// finish does with packets what their verdicts say. They leave in the order in which they
// came.
func (p *pump) finish(batch []translate.Packet) {
	if p.log.kinds != 0 {
		p.log.batch(batch)
	}
	sent := 0
	for i := range batch {
		switch batch[i].Result.Verdict {
		case translate.Drop:
			p.send(batch[sent:i])
			sent = i + 1
		case translate.Split:
			p.send(batch[sent:i])
			sent = i // what is left of the packet goes with those after it
			p.split(&batch[i])
		}
	}
	p.send(batch[sent:])
}

// split sends all of a large packet but its last piece.
func (p *pump) split(big *translate.Packet) {
	for big.Result.Verdict == translate.Split {
		n := p.worker.Fragment(big, p.pieces)
		p.send(p.pieces[:n])
	}
}

// send writes packets. What the kernel refuses is counted by the queue, and a
// queue that is finished says so at the next Read.
func (p *pump) send(ps []translate.Packet) {
	if len(ps) > 0 {
		p.queue.Write(ps)
	}
}
