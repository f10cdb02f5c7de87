package main

import (
	"cmp"
	"iter"
	"math"
	"slices"

	"golang.org/x/perf/benchmath"
)

// A series is what both sides measured of one figure, round by round. Rounds that
// lack one side are left out: there is nothing to compare.
type series struct {
	key
	base, head []float64
}

// add pairs the figures of a round.
func add(all map[key]*series, base, head figures) {
	for k, b := range base {
		h, ok := head[k]
		if !ok {
			continue
		}
		if all[k] == nil {
			all[k] = &series{key: k}
		}
		all[k].base = append(all[k].base, b)
		all[k].head = append(all[k].head, h)
	}
}

// ratios are head/base, round by round, or base/head of what is better when it is
// higher: above 1 is worse. Both figures of a round were measured one
// right after the other, so what the machine did meanwhile mostly cancels out.
func (s *series) ratios() []float64 {
	all := make([]float64, len(s.base))
	for i := range all {
		if all[i] = s.head[i] / s.base[i]; s.higherBetter() {
			all[i] = 1 / all[i]
		}
	}
	return all
}

// interval is the median of the ratios with its confidence interval, which comes
// from the order of the values alone: excluding 1 is a sign test on the pairs. It
// assumes nothing about the distribution, and benchmarks have strange ones.
func interval(values []float64, confidence float64) benchmath.Summary {
	values = slices.Clone(values) // NewSample sorts them, and series are in pairs
	return benchmath.AssumeNothing.Summary(benchmath.NewSample(values, &benchmath.DefaultThresholds), confidence)
}

// agreement is the share of rounds in which the head differs from the base in the
// same direction as the median does.
func agreement(ratios []float64, slower bool) float64 {
	n := 0
	for _, r := range ratios {
		if r != 1 && r > 1 == slower {
			n++
		}
	}
	return float64(n) / float64(len(ratios))
}

// geomeans are the geometric means of the ratios of all series that are wanted, by
// round.
func geomeans(all map[key]*series, rounds int, want func(key) bool) []float64 {
	sums, n := make([]float64, rounds), 0
	for s := range sorted(all) {
		if !want(s.key) || len(s.base) != rounds {
			continue
		}
		n++
		for i, r := range s.ratios() {
			sums[i] += math.Log(r)
		}
	}
	if n == 0 {
		return nil
	}
	for i := range sums {
		sums[i] = math.Exp(sums[i] / float64(n))
	}
	return sums
}

// sorted yields series by package, name and unit.
func sorted(all map[key]*series) iter.Seq[*series] {
	return slices.Values(slices.SortedFunc(func(yield func(*series) bool) {
		for _, s := range all {
			if !yield(s) {
				return
			}
		}
	}, func(a, b *series) int {
		return cmp.Or(cmp.Compare(a.pkg, b.pkg), cmp.Compare(a.name, b.name), -cmp.Compare(a.unit, b.unit))
	}))
}

func median(values []float64) float64 {
	return interval(values, 0.5).Center
}
