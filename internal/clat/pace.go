package clat

import "time"

const (
	leastPause = time.Second
	mostPause  = time.Minute
	// calm is for how long after a pause nothing has to happen until the next is short again.
	calm = 10 * time.Second
)

// A damper has pauses that grow while something happens again and again.
type damper struct {
	last  time.Time
	pause time.Duration
	times int // that it has happened again, without calm between
}

// fewTimes is how often something may happen again with short pauses alone: a person or a
// network manager that makes some changes is to be followed at once.
const fewTimes = 5

// wait returns for how long it has to wait.
func (d *damper) wait(now time.Time) time.Duration {
	if d.last.IsZero() {
		return 0
	}
	return max(d.last.Add(d.pause).Sub(now), 0)
}

// did says that it has happened.
func (d *damper) did(now time.Time) {
	if d.last.IsZero() || now.Sub(d.last) > d.pause+calm {
		d.pause, d.times = leastPause, 0
	} else if d.times++; d.times > fewTimes {
		d.pause = min(2*d.pause, mostPause)
	}
	d.last = now
}

// A backoff has pauses that grow with each failure.
type backoff struct {
	pause time.Duration
	next  time.Time // not before that; zero: at once
}

func (b *backoff) wait(now time.Time) time.Duration { return max(b.next.Sub(now), 0) }

func (b *backoff) failed(now time.Time) {
	b.pause = min(max(2*b.pause, leastPause), mostPause)
	b.next = now.Add(b.pause)
}

func (b *backoff) succeeded() { *b = backoff{} }

// sooner lets the next try be a short time after the last one: what is tried has changed.
func (b *backoff) sooner(now time.Time) {
	if next := now.Add(leastPause); b.next.After(next) {
		b.next = next
	}
}

// A logLimit limits how many sentences are logged: some at once, then one each few seconds.
type logLimit struct {
	tokens float64
	at     time.Time
	left   int // sentences that were not logged
}

const (
	logBurst    = 20
	logInterval = 10 * time.Second
)

// allow reports whether a sentence may be logged, and how many before it were not.
func (l *logLimit) allow(now time.Time) (ok bool, left int) {
	if l.at.IsZero() {
		l.tokens = logBurst
	} else {
		l.tokens = min(l.tokens+float64(now.Sub(l.at))/float64(logInterval), logBurst)
	}
	l.at = now
	if l.tokens < 1 {
		l.left++
		return false, 0
	}
	l.tokens--
	left, l.left = l.left, 0
	return true, left
}
