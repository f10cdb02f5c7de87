// Package tuntest has queues like those of package tun that need no device, no
// privilege and no particular system: packets written to one end of a Pair are
// read from the other.
package tuntest

import (
	"fmt"
	"sync"
	"time"

	"github.com/steppe-nat64/steppe/translate"
	"github.com/steppe-nat64/steppe/tun"
)

// A Queue is one end of a Pair. It keeps the contract of *tun.Queue: one
// goroutine may read while another writes, Read sets the window at tun.Headroom,
// and an error means that the queue is finished.
type Queue struct {
	in, out *line
}

// A line carries packets in one direction.
type line struct {
	mu      sync.Mutex
	more    sync.Cond // something was put in, or an end was closed
	packets []packet
	limit   int
	refused uint64
	reader  bool // the reading end is closed
	writer  bool // the writing end is closed
}

type packet struct {
	data    []byte
	offload translate.Offload
}

// Pair returns two connected queues. Each direction holds up to limit packets
// that were not read yet and refuses others, as a kernel does; 0 means no limit.
func Pair(limit int) (a, b *Queue) {
	x, y := newLine(limit), newLine(limit)
	return &Queue{in: x, out: y}, &Queue{in: y, out: x}
}

func newLine(limit int) *line {
	l := &line{limit: limit}
	l.more.L = &l.mu
	return l
}

// Read waits for a packet and then takes what else is there without waiting, up
// to len(ps) packets. It copies them to the buffers that ps has: the window
// begins at tun.Headroom and leaves translate.Tailroom, a longer packet is cut.
// Offload is what the packet was written with, Result is zero.
//
// The error is tun.ErrClosed after Close of this end; or tun.ErrGone after Close
// of the other, when everything written before has been read.
func (q *Queue) Read(ps []translate.Packet) (n int, err error) {
	return q.read(ps, new(bool))
}

// ReadTimeout is Read that waits no longer than timeout: then it returns 0 and no error.
// If timeout is 0 or less it does not wait.
func (q *Queue) ReadTimeout(ps []translate.Packet, timeout time.Duration) (n int, err error) {
	l, late := q.in, timeout <= 0
	if !late {
		defer time.AfterFunc(timeout, func() { l.end(&late) }).Stop()
	}
	return q.read(ps, &late)
}

// read is Read. It returns without packets once late is set, which the lock of the line
// guards.
func (q *Queue) read(ps []translate.Packet, late *bool) (n int, err error) {
	l := q.in
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(ps) > 0 && len(l.packets) == 0 && !l.reader && !l.writer && !*late {
		l.more.Wait()
	}
	switch {
	case l.reader:
		return 0, fmt.Errorf("tuntest: read: %w", tun.ErrClosed)
	case len(ps) > 0 && len(l.packets) == 0 && l.writer:
		return 0, fmt.Errorf("tuntest: read: %w", tun.ErrGone)
	}
	n = min(len(ps), len(l.packets))
	for i, from := range l.packets[:n] {
		p := &ps[i]
		p.Off = tun.Headroom
		p.Len = copy(p.Buf[tun.Headroom:len(p.Buf)-translate.Tailroom], from.data)
		p.Offload, p.Result = from.offload, translate.Result{}
	}
	l.packets = append(l.packets[:0], l.packets[n:]...)
	return n, nil
}

// Write sends the packets of ps in order, with their Offload, and returns how
// many there was room for. The others are counted in Failed. The packets are
// copied: they belong to the caller again. The error is tun.ErrClosed after
// Close of this end, tun.ErrGone after Close of the other.
func (q *Queue) Write(ps []translate.Packet) (n int, err error) {
	l := q.out
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.writer:
		return 0, fmt.Errorf("tuntest: write: %w", tun.ErrClosed)
	case l.reader:
		return 0, fmt.Errorf("tuntest: write: %w", tun.ErrGone)
	}
	for i := range ps {
		if l.limit > 0 && len(l.packets) >= l.limit {
			l.refused++
			continue
		}
		l.packets = append(l.packets, packet{append([]byte(nil), ps[i].Bytes()...), ps[i].Offload})
		n++
	}
	l.more.Broadcast()
	return n, nil
}

// Failed returns how many packets Write had no room for.
func (q *Queue) Failed() uint64 {
	q.out.mu.Lock()
	defer q.out.mu.Unlock()
	return q.out.refused
}

// Close ends this end of the pair and wakes the readers of both. It never fails.
func (q *Queue) Close() error {
	q.in.end(&q.in.reader)
	q.out.end(&q.out.writer)
	return nil
}

// end sets a flag of the line and wakes its readers.
func (l *line) end(which *bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*which = true
	l.more.Broadcast()
}
