// Package pacer limits how often something is done, such as how many messages are read that
// any neighbour can send: they fill the queue of a socket then, and not the processor.
package pacer

import (
	"context"
	"time"
)

// A Pacer limits how often something is done in a second.
type Pacer struct {
	Limit  int       // at least 1
	second time.Time // when the current one began
	n      int       // done since then
}

// pause returns for how long to wait before it is done once more.
func (p *Pacer) pause(now time.Time) time.Duration {
	if now.Sub(p.second) >= time.Second {
		p.second, p.n = now, 0
	}
	if p.n++; p.n <= p.Limit {
		return 0
	}
	return p.second.Add(time.Second).Sub(now)
}

// Wait waits for that long. It reports false if ctx is done first.
func (p *Pacer) Wait(ctx context.Context) bool {
	d := p.pause(time.Now())
	if d == 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
