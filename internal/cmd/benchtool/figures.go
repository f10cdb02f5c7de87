package main

import (
	"io"
	"regexp"
	"strings"

	"golang.org/x/perf/benchfmt"
)

// Units of figures, as package benchfmt calls them.
const (
	unitTime         = "sec/op"
	unitInstructions = "instructions/op"
	unitAllocs       = "allocs/op"
	unitFractions    = "mallocs/op" // the same with fractions, of what one goroutine does
)

// A key names a series of figures. Its name lacks the number of processors, so that
// machines with more of them compare with those that have fewer, and the round of a
// benchmark that has rounds of its own.
type key struct{ pkg, name, unit string }

// figures are what one side measured in one round: of the measurements in a
// process the best, since what disturbs a process only makes it slower.
type figures map[key]float64

// read adds what a test binary printed. Where a benchmark gives times, all else but
// instructions and allocations follows from these. Others, end to end, measure
// throughput, processor time, latency or memory.
func (f figures) read(pkg string, r io.Reader) error {
	in := benchfmt.NewReader(r, pkg)
	for in.Scan() {
		res, ok := in.Result().(*benchfmt.Result)
		if !ok {
			continue
		}
		name := round.ReplaceAllString(plainName(res.Name), "")
		_, timed := res.Value(unitTime)
		for _, v := range res.Values {
			k := key{pkg, name, v.Unit}
			switch v.Unit {
			case unitTime, unitInstructions, unitAllocs, unitFractions:
			default:
				if timed || strings.Contains(name, "gateway=all") || !k.measured() {
					continue
				}
			}
			old, ok := f[k]
			if !ok || k.higherBetter() == (v.Value > old) {
				f[k] = v.Value
			}
		}
	}
	return in.Err()
}

// round is the part of a name that depends on flags.
var round = regexp.MustCompile(`/round=\d+$`)

// measured reports whether a figure is the outcome of a benchmark, and neither what it
// was given nor packets lost, which a ratio does not suit.
func (k key) measured() bool {
	return !strings.HasSuffix(k.unit, "-packets") && k.unit != "sent/s"
}

func (k key) higherBetter() bool { return strings.HasSuffix(k.unit, "/s") }

// exact reports whether figures of a unit need no statistics.
func exact(unit string) bool { return unit == unitAllocs || unit == unitFractions }

// plainName returns a benchmark's name without the number of processors.
func plainName(n benchfmt.Name) string {
	base, parts := n.Parts()
	var b strings.Builder
	b.Write(base)
	for _, p := range parts {
		if p[0] != '-' {
			b.Write(p)
		}
	}
	return b.String()
}
