package pref64

import (
	"net/netip"
	"slices"
	"time"
)

// A Source says how a prefix was found.
type Source int

const (
	FromAdvertisement Source = iota + 1 // RFC 8781
	FromDNS                             // RFC 7050
)

// String returns the source in words.
func (s Source) String() string {
	switch s {
	case FromAdvertisement:
		return "router advertisement"
	case FromDNS:
		return "DNS"
	}
	return "unknown"
}

// A Found is a prefix that can be used.
type Found struct {
	Prefix netip.Prefix // not valid if there is none
	Source Source
	Router netip.Addr    // that advertised it, the first of several; not valid if unknown, or from DNS
	Until  time.Duration // when it ends unless it is received again
}

// A Refused is a prefix that was received and is not used.
type Refused struct {
	Prefix netip.Prefix
	Source Source
	Err    error // says why
}

// Error says why. A Finder reports it so.
func (r Refused) Error() string { return r.Err.Error() }

// Unwrap returns Err.
func (r Refused) Unwrap() error { return r.Err }

const (
	maxRouters   = 4 // that advertise one prefix
	maxResolvers = 8
)

// An Uplink is what is known of the NAT64 prefixes of one uplink. Its methods take the time
// since any fixed start, by a clock that does not go back. One goroutine at a time may use
// it. NewUplink makes one.
type Uplink struct {
	own       []netip.Prefix
	learned   []learned // in the order in which they were received
	resolvers []until[netip.Addr]

	answer      Answer
	answerUntil time.Duration // when the prefixes of answer end

	schedule
}

// An until is what a router says for some time.
type until[T any] struct {
	value T
	end   time.Duration
}

// A learned is a prefix of router advertisements.
type learned struct {
	prefix  netip.Prefix
	routers []until[netip.Addr] // that advertise it; at least one
}

// NewUplink returns an uplink of which nothing is known.
func NewUplink(now time.Duration) *Uplink { return &Uplink{schedule: newSchedule(now)} }

// Restart forgets everything: the link was down, or is another one. The networks of the
// machine stay as they are.
func (u *Uplink) Restart(now time.Duration) {
	*u = Uplink{own: u.own, schedule: newSchedule(now)}
}

// SetOwn sets the networks of the machine. A prefix that overlaps one of them is refused as
// long as it does.
func (u *Uplink) SetOwn(own []netip.Prefix) { u.own = own }

// Learn takes an advertisement that was received on this uplink.
func (u *Uplink) Learn(now time.Duration, a Advertisement) {
	u.expire(now)
	u.routerSeen()
	for _, o := range a.Options {
		u.learn(end(now, o.Lifetime), a.Router, o)
	}
	for _, r := range a.Resolvers {
		for _, addr := range r.Addrs {
			if set(&u.resolvers, addr, end(now, r.Lifetime), r.Lifetime > 0, maxResolvers) {
				u.askSoon()
			}
		}
	}
}

// learn takes an option. A prefix that is not known yet is ignored if there are too many,
// unless a refused one can make room.
func (u *Uplink) learn(end time.Duration, router netip.Addr, o Option) {
	i := slices.IndexFunc(u.learned, func(l learned) bool { return l.prefix == o.Prefix })
	if i < 0 {
		if o.Lifetime == 0 || len(u.learned) == maxPrefixes && !u.makeRoom() {
			return
		}
		u.learned = append(u.learned, learned{prefix: o.Prefix})
		i = len(u.learned) - 1
	}
	set(&u.learned[i].routers, router, end, o.Lifetime > 0, maxRouters)
	if len(u.learned[i].routers) == 0 {
		u.learned = slices.Delete(u.learned, i, i+1)
	}
}

// makeRoom forgets a prefix that is refused. It reports false if there is none.
func (u *Uplink) makeRoom() bool {
	for i, l := range u.learned {
		if u.check(l.prefix) != nil {
			u.learned = slices.Delete(u.learned, i, i+1)
			return true
		}
	}
	return false
}

// set notes that v is valid until end, or that it is not valid any more. It reports whether
// v is new. There is no room for more than limit.
func set[T comparable](all *[]until[T], v T, end time.Duration, valid bool, limit int) bool {
	i := slices.IndexFunc(*all, func(u until[T]) bool { return u.value == v })
	switch {
	case i >= 0 && valid:
		(*all)[i].end = end
	case i >= 0:
		*all = slices.Delete(*all, i, i+1)
	case valid && len(*all) < limit:
		*all = append(*all, until[T]{v, end})
		return true
	}
	return false
}

// end returns when something ends that has a lifetime.
func end(now, lifetime time.Duration) time.Duration {
	if lifetime > forever-now {
		return forever
	}
	return now + lifetime
}

// Answered takes an answer of DNS. It replaces the one before, but prefixes that were in that
// keep their order, before others: servers have the records in another order each time.
func (u *Uplink) Answered(now time.Duration, a Answer) {
	u.expire(now)
	got := a.Prefixes[:min(len(a.Prefixes), maxPrefixes)]
	known := slices.DeleteFunc(u.answer.Prefixes, func(p netip.Prefix) bool { return !slices.Contains(got, p) })
	for _, p := range got {
		if !slices.Contains(known, p) {
			known = append(known, p)
		}
	}
	a.Prefixes = known
	u.answer, u.answerUntil = a, u.answered(now, a)
}

// Failed says that no resolver has answered. An answer from before stays valid until its
// time is over.
func (u *Uplink) Failed(now time.Duration) { u.failed(now) }

// expire forgets what has ended.
func (u *Uplink) expire(now time.Duration) {
	for i := range u.learned {
		u.learned[i].routers = valid(u.learned[i].routers, now)
	}
	u.learned = slices.DeleteFunc(u.learned, func(l learned) bool { return len(l.routers) == 0 })
	u.resolvers = valid(u.resolvers, now)
	if now >= u.answerUntil {
		u.answer.Prefixes = nil
	}
}

func valid[T any](all []until[T], now time.Duration) []until[T] {
	return slices.DeleteFunc(all, func(u until[T]) bool { return now >= u.end })
}

// check returns why a prefix is refused.
func (u *Uplink) check(p netip.Prefix) error {
	if err := Check(p); err != nil {
		return err
	}
	return checkOwn(p, u.own)
}

// Prefixes returns the prefixes that can be used, of one source only, that which counts
// first. They are in the order in which they were received.
func (u *Uplink) Prefixes(now time.Duration) []Found {
	u.expire(now)
	var all []Found
	for _, l := range u.learned {
		if u.check(l.prefix) == nil {
			f := Found{Prefix: l.prefix, Source: FromAdvertisement, Router: l.routers[0].value}
			for _, r := range l.routers {
				f.Until = max(f.Until, r.end)
			}
			all = append(all, f)
		}
	}
	if len(all) > 0 {
		return all
	}
	for _, p := range u.answer.Prefixes {
		if u.check(p) == nil {
			all = append(all, Found{Prefix: p, Source: FromDNS, Until: u.answerUntil})
		}
	}
	return all
}

// Prefix returns the prefix that counts; the zero value if there is none.
func (u *Uplink) Prefix(now time.Duration) Found {
	if all := u.Prefixes(now); len(all) > 0 {
		return all[0]
	}
	return Found{}
}

// Refused returns the prefixes that were received, are valid, and can't be used.
func (u *Uplink) Refused(now time.Duration) []Refused {
	u.expire(now)
	var all []Refused
	for _, l := range u.learned {
		if err := u.check(l.prefix); err != nil {
			all = append(all, Refused{l.prefix, FromAdvertisement, err})
		}
	}
	for _, p := range u.answer.Prefixes {
		if err := u.check(p); err != nil {
			all = append(all, Refused{p, FromDNS, err})
		}
	}
	return all
}

// Resolvers returns the resolvers that routers have advertised, in the order in which they were received.
func (u *Uplink) Resolvers(now time.Duration) []netip.Addr {
	u.expire(now)
	var all []netip.Addr
	for _, r := range u.resolvers {
		all = append(all, r.value)
	}
	return all
}
