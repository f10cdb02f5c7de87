package pacer

import (
	"context"
	"testing"
	"time"
)

const limit = 64

// TestPacer: a neighbour that sends all the time is read limit times a second.
func TestPacer(t *testing.T) {
	p := Pacer{Limit: limit}
	start := time.Now()
	now, n := start, 0
	for now.Sub(start) < 100*time.Second {
		n++
		now = now.Add(p.pause(now)).Add(time.Microsecond)
	}
	if n < 99*limit || n > 102*limit {
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
	p := Pacer{Limit: limit, second: time.Now().Add(time.Hour), n: limit}
	if p.Wait(ctx) {
		t.Error("has waited")
	}
}
