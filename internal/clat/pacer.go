package clat

import (
	"context"
	"time"
)

// A pacer limits how often something is done in a second.
type pacer struct {
	limit  int
	second time.Time // when the current one began
	n      int       // done since then
}

// pause returns for how long to wait before it is done once more.
func (p *pacer) pause(now time.Time) time.Duration {
	if now.Sub(p.second) >= time.Second {
		p.second, p.n = now, 0
	}
	if p.n++; p.n <= p.limit {
		return 0
	}
	return p.second.Add(time.Second).Sub(now)
}

// wait waits for that long. It reports false if ctx is done first.
func (p *pacer) wait(ctx context.Context) bool {
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
