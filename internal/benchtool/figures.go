package main

import (
	"io"
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

// compared are the units that are compared. Others follow from these, or are of
// no use for a comparison.
var compared = []string{unitTime, unitInstructions, unitAllocs, unitFractions}

// A key names a series of figures. Its name lacks the number of processors, so that
// machines with more of them compare with those that have fewer.
type key struct{ pkg, name, unit string }

// figures are what one side measured in one round: of the measurements in a
// process the least, since what disturbs a process only makes it slower.
type figures map[key]float64

// read adds what a test binary printed.
func (f figures) read(pkg string, r io.Reader) error {
	in := benchfmt.NewReader(r, pkg)
	for in.Scan() {
		res, ok := in.Result().(*benchfmt.Result)
		if !ok {
			continue
		}
		name := plainName(res.Name)
		for _, unit := range compared {
			v, ok := res.Value(unit)
			if !ok {
				continue
			}
			k := key{pkg, name, unit}
			if old, ok := f[k]; !ok || v < old {
				f[k] = v
			}
		}
	}
	return in.Err()
}

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

// exact reports whether figures of a unit need no statistics.
func exact(unit string) bool { return unit == unitAllocs || unit == unitFractions }
