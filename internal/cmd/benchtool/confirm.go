package main

import (
	"cmp"
	"math"
	"slices"
)

// How a difference is found. With a hundred benchmarks on a busy machine, some
// differ by chance, so a difference has to show itself twice.
//
// Screening: all benchmarks, a few rounds. Each whose median ratio is off by at
// least the minimum, in the same direction in most rounds, is a candidate. By
// chance there are some, which is no harm.
//
// Confirming: the candidates alone, with new figures. Each is confirmed if the
// confidence interval of its median ratio excludes 1, and the median is off by at
// least the minimum, in the direction of the screening. The confidence is such that
// the probability of confirming anything where nothing has changed is at most
// alpha: alpha is shared by the candidates and by two looks (Bonferroni), the
// second with twice as many rounds. Between them, what is confirmed is not run any
// more, and neither is what has lost its direction.

// rules are the bounds of a comparison.
type rules struct {
	confirm    int     // rounds until the first look
	candidates int     // at most
	alpha      float64 // for all benchmarks together
	min        float64 // difference that is reported
	threshold  float64 // slowdown of a benchmark that fails
	geomean    float64 // of all
}

const (
	looks      = 2
	mostRounds = 0.75 // of a candidate's rounds have its direction
)

// A candidate is a series that may differ.
type candidate struct {
	key
	slower   bool
	fresh    series // the rounds after the screening
	verdict  verdict
	estimate float64 // ratio, by the fresh rounds alone: being selected biases the others
}

type verdict string

const (
	undecided   verdict = ""
	confirmed   verdict = "confirmed"
	unconfirmed verdict = "not confirmed"
	notRepeated verdict = "not repeated" // there were too many candidates
)

// candidate returns nil if the series shows no difference.
func (r *rules) candidate(s *series) *candidate {
	if exact(s.unit) {
		return nil // exact: see moreAllocs
	}
	ratios := s.ratios()
	c := &candidate{key: s.key, estimate: median(ratios)}
	c.slower = c.estimate > 1
	if math.Abs(c.estimate-1) < r.min || agreement(ratios, c.slower) < mostRounds {
		return nil
	}
	return c
}

// screen lists the candidates, slowdowns first, the largest difference first.
func (r *rules) screen(all map[key]*series) (found []*candidate) {
	for s := range sorted(all) {
		if c := r.candidate(s); c != nil {
			found = append(found, c)
		}
	}
	slices.SortStableFunc(found, func(a, b *candidate) int { return -cmp.Compare(a.estimate, b.estimate) })
	for i, c := range found {
		if i >= r.candidates {
			c.verdict = notRepeated
		}
	}
	return found
}

// settle decides about the candidates. measure adds rounds to the fresh series of
// those that it is given.
func (r *rules) settle(all []*candidate, measure func([]*candidate) error) error {
	for i := range looks {
		undecided := open(all)
		if len(undecided) == 0 {
			return nil
		}
		if err := measure(undecided); err != nil {
			return err
		}
		r.look(all, i == looks-1)
	}
	return nil
}

// look decides what can be decided by the fresh rounds so far.
func (r *rules) look(all []*candidate, last bool) {
	repeated := 0
	for _, c := range all {
		if c.verdict != notRepeated {
			repeated++
		}
	}
	for _, c := range all {
		if c.verdict != undecided {
			continue
		}
		if len(c.fresh.base) == 0 {
			c.verdict = unconfirmed
			continue
		}
		ratios := c.fresh.ratios()
		in := interval(ratios, 1-r.alpha/looks/float64(repeated))
		c.estimate = in.Center
		off := math.Abs(in.Center-1) >= r.min && (in.Center > 1) == c.slower
		switch {
		case off && (in.Lo > 1 || in.Hi < 1):
			c.verdict = confirmed
		case last || !off || agreement(ratios, c.slower) < mostRounds:
			c.verdict = unconfirmed
		}
	}
}

// open lists the candidates to measure on.
func open(all []*candidate) []*candidate {
	return slices.DeleteFunc(slices.Clone(all), func(c *candidate) bool { return c.verdict != undecided })
}

// moreAllocs reports whether the head allocates more often, which needs no statistics:
// in every round it does.
func moreAllocs(s *series) bool {
	return exact(s.unit) && slices.Min(s.head) > slices.Max(s.base)+stray
}
