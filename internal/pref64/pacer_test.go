package pref64

import (
	"context"
	"testing"
	"time"
)

// TestPacer: a neighbour that sends all the time is read maxReads times a second.
func TestPacer(t *testing.T) {
	var p pacer
	start := time.Now()
	now, n := start, 0
	for now.Sub(start) < 100*time.Second {
		n++
		now = now.Add(p.pause(now)).Add(time.Microsecond)
	}
	if n < 99*maxReads || n > 102*maxReads {
		t.Errorf("%d in 100 seconds", n)
	}
	for range 1000 {
		now = now.Add(time.Second)
		if d := p.pause(now); d != 0 {
			t.Fatalf("one a second waits for %s", d)
		}
	}
}

// TestPacerEnds: what waits ends with its context.
func TestPacerEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := pacer{second: time.Now().Add(time.Hour), n: maxReads}
	if p.wait(ctx) {
		t.Error("has waited")
	}
}
