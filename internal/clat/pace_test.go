package clat

import (
	"testing"
	"time"
)

// TestDamper follows some changes at once, and many with pauses that grow up to a minute.
func TestDamper(t *testing.T) {
	var d damper
	now := time.Unix(1000, 0)
	for range 1 + fewTimes {
		now = now.Add(d.wait(now))
		d.did(now)
		if d.pause != leastPause {
			t.Fatalf("pause %s", d.pause)
		}
	}
	for _, want := range []time.Duration{2, 4, 8, 16, 32, 60, 60} {
		now = now.Add(d.wait(now))
		if d.did(now); d.pause != want*time.Second {
			t.Fatalf("pause %s, want %d s", d.pause, want)
		}
	}
	now = now.Add(mostPause + calm + 1)
	if d.wait(now) != 0 {
		t.Error("waits after calm")
	}
	if d.did(now); d.pause != leastPause {
		t.Errorf("pause %s after calm", d.pause)
	}
}

func TestBackoff(t *testing.T) {
	var b backoff
	now := time.Unix(1000, 0)
	if b.wait(now) != 0 {
		t.Error("waits at first")
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		if b.failed(now); b.wait(now) != want*time.Second {
			t.Errorf("waits %s, want %d s", b.wait(now), want)
		}
	}
	if b.sooner(now); b.wait(now) != leastPause {
		t.Errorf("sooner: %s", b.wait(now))
	}
	if b.succeeded(); b.wait(now) != 0 {
		t.Error("waits after success")
	}
}

func TestLogLimit(t *testing.T) {
	var l logLimit
	now := time.Unix(1000, 0)
	logged := 0
	for range 100 {
		if ok, _ := l.allow(now); ok {
			logged++
		}
	}
	if logged != logBurst {
		t.Errorf("%d sentences at once", logged)
	}
	if ok, left := l.allow(now.Add(logInterval)); !ok || left != 100-logBurst {
		t.Errorf("after a pause: %v, %d left", ok, left)
	}
}
