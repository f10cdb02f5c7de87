package pref64

import "time"

const (
	solicitations   = 3               // MAX_RTR_SOLICITATIONS: RFC 4861 §10
	solicitInterval = 4 * time.Second // RTR_SOLICITATION_INTERVAL

	// A router answers a solicitation within half a second, MAX_RA_DELAY_TIME. DNS is asked
	// later, so that its prefix is not used for a moment only.
	headStart = time.Second

	refreshEarly = 10 * time.Second   // before the end of an answer: RFC 7050 §3
	minAnswer    = 30 * time.Second   // for which an answer is valid: with a TTL of 0 one query would follow the other
	maxAnswer    = 7 * 24 * time.Hour // RFC 8767 §4
	maxNegative  = 3 * time.Hour      // RFC 2308 §5
	firstPause   = time.Second        // before DNS is asked again after no answer; doubled each time
	maxPause     = 5 * time.Minute
	minNegative  = 10 * time.Second
)

// never is a time that does not come.
const never = time.Duration(forever)

// Actions are what has to be done now.
type Actions struct {
	Solicit bool // send a router solicitation
	Ask     bool // ask the resolvers, then call Answered or Failed
}

// A schedule says when to solicit and when to ask.
type schedule struct {
	solicits    int // that are left
	nextSolicit time.Duration

	asking   bool
	lastAsk  time.Duration
	nextAsk  time.Duration
	pause    time.Duration // after the next query without answer
	resolver bool          // there is a new one since the query began
}

func newSchedule(now time.Duration) schedule {
	return schedule{
		solicits: solicitations, nextSolicit: now,
		lastAsk: now, nextAsk: now + headStart, pause: firstPause,
	}
}

// Poll returns what has to be done now, and when to call it again at the latest; earlier
// after Learn, Answered or Failed. What it returns counts as done.
func (u *Uplink) Poll(now time.Duration) (Actions, time.Duration) {
	u.expire(now)
	next := u.nextEnd()
	var do Actions
	if u.solicits > 0 {
		if now >= u.nextSolicit {
			do.Solicit = true
			u.solicits--
			u.nextSolicit = now + solicitInterval
		}
		if u.solicits > 0 {
			next = min(next, u.nextSolicit)
		}
	}
	if u.asking || u.advertised() {
		return do, next
	}
	if now >= u.nextAsk {
		do.Ask = true
		u.asking, u.lastAsk, u.resolver = true, now, false
		return do, next
	}
	return do, min(next, u.nextAsk)
}

// advertised reports whether routers advertise a prefix that can be used.
func (u *Uplink) advertised() bool {
	for _, l := range u.learned {
		if u.check(l.prefix) == nil {
			return true
		}
	}
	return false
}

// nextEnd returns when the next of what is known ends.
func (u *Uplink) nextEnd() time.Duration {
	next := never
	for _, l := range u.learned {
		for _, r := range l.routers {
			next = min(next, r.end)
		}
	}
	for _, r := range u.resolvers {
		next = min(next, r.end)
	}
	if len(u.answer.Prefixes) > 0 {
		next = min(next, u.answerUntil)
	}
	return next
}

// routerSeen notes that there is a router. A host then sends one solicitation at least, and
// after that no more: RFC 4861 §6.3.7.
func (s *schedule) routerSeen() {
	if s.solicits < solicitations {
		s.solicits = 0
	} else {
		s.solicits = 1
	}
}

// askSoon brings the next query forward, since there is a new resolver. A router that
// changes its resolvers all the time causes one query in a firstPause.
func (s *schedule) askSoon() {
	if s.asking {
		s.resolver = true
		return
	}
	s.nextAsk = min(s.nextAsk, s.lastAsk+firstPause)
}

// answered returns when the prefixes of an answer end.
func (s *schedule) answered(now time.Duration, a Answer) time.Duration {
	if len(a.Prefixes) == 0 {
		s.nextAsk = now + min(max(a.TTL, minNegative, s.pause), maxNegative)
		s.asked()
		return now
	}
	until := now + min(max(a.TTL, minAnswer), maxAnswer)
	s.nextAsk = until - refreshEarly
	s.asked()
	s.pause = firstPause
	return until
}

func (s *schedule) failed(now time.Duration) {
	s.nextAsk = now + s.pause
	s.asked()
}

// asked ends a query.
func (s *schedule) asked() {
	s.asking = false
	s.pause = min(2*s.pause, maxPause)
	if s.resolver {
		s.askSoon()
	}
}
