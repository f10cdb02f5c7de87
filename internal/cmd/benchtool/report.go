package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report is the result of a comparison, as in the JSON file. Ratios above 1 are worse:
// head/base, or base/head where more is better, with confidence intervals of 95 %.
type report struct {
	Base, Head string // commits
	Date       time.Time
	Go, System string
	Processors int
	Load       string // at the start
	Rounds     int    // of the screening
	Seconds    float64
	Geomeans   []geomean
	Benchmarks []row
	OnlyInBase []string `json:",omitempty"`
	OnlyInHead []string `json:",omitempty"`
	Failed     []string `json:",omitempty"` // why the comparison failed
}

// A geomean is over the times of all benchmarks of a function; an empty name is
// over all of them.
type geomean struct {
	Name          string
	Ratio, Lo, Hi float64
}

// A row is one figure of a benchmark. Medians and ratio are those of the fresh
// rounds where there are any.
type row struct {
	Package, Name, Unit    string
	BaseMedian, HeadMedian float64
	Ratio, Lo, Hi          float64 // the median of the ratios by round
	Verdict                verdict `json:",omitempty"` // of a candidate
	Base, Head             []float64
	FreshBase, FreshHead   []float64 `json:",omitempty"` // rounds after the screening
}

func (x *comparison) report() *report {
	r := &report{
		Base: x.sides[0].commit, Head: x.sides[1].commit, Date: x.begin.UTC().Round(time.Second),
		Go: runtime.Version(), System: system(), Processors: runtime.NumCPU(), Load: x.load,
		Rounds: x.options.rounds, Seconds: time.Since(x.begin).Round(time.Second).Seconds(),
		OnlyInBase: names(x.onlyIn[0]), OnlyInHead: names(x.onlyIn[1]),
	}
	candidates := map[key]*candidate{}
	for _, c := range x.candidates {
		candidates[c.key] = c
	}
	groups := []string{""}
	for s := range sorted(x.series) {
		b := newRow(s, candidates[s.key])
		r.Benchmarks = append(r.Benchmarks, b)
		switch {
		case exact(s.unit) && b.Verdict == confirmed:
			r.fail("%s: %v allocations instead of %v", s.name, b.HeadMedian, b.BaseMedian)
		case s.unit != unitInstructions && b.Verdict == confirmed && b.Ratio > 1+x.rules.threshold:
			r.fail("%s: %s %s", s.name, s.unit, percent(b.Ratio))
		}
		if g := group(s.key); g != groups[len(groups)-1] {
			groups = append(groups, g)
		}
	}
	for _, g := range groups {
		r.addGeomean(x, g)
	}
	return r
}

// newRow says what was measured of a figure. c is nil if it did not seem to differ.
func newRow(s *series, c *candidate) row {
	b := row{Package: s.pkg, Name: s.name, Unit: s.unit, Base: s.base, Head: s.head}
	best := s
	if c != nil {
		b.Verdict = c.verdict
		if len(c.fresh.base) > 0 {
			best, b.FreshBase, b.FreshHead = &c.fresh, c.fresh.base, c.fresh.head
		}
	}
	b.BaseMedian, b.HeadMedian = median(best.base), median(best.head)
	if exact(s.unit) {
		b.Ratio, b.Lo, b.Hi = 1, 1, 1 // 0 of 0 is no number
		if moreAllocs(s) {
			b.Verdict = confirmed
		}
		return b
	}
	in := interval(best.ratios(), 0.95)
	b.Ratio, b.Lo, b.Hi = in.Center, finite(in.Lo), finite(in.Hi)
	return b
}

// addGeomean adds the mean of a group, an empty one for all.
func (r *report) addGeomean(x *comparison, g string) {
	ratios := geomeans(x.series, x.options.rounds, func(k key) bool {
		return k.unit == unitTime && (g == "" || group(k) == g)
	})
	if ratios == nil {
		return
	}
	in := interval(ratios, 0.95)
	r.Geomeans = append(r.Geomeans, geomean{Name: g, Ratio: in.Center, Lo: finite(in.Lo), Hi: finite(in.Hi)})
	if g == "" && in.Center > 1+x.rules.geomean && in.Lo > 1 {
		r.fail("geometric mean of all: %s", percent(in.Center))
	}
}

func (r *report) fail(format string, args ...any) {
	r.Failed = append(r.Failed, fmt.Sprintf(format, args...))
}

// group is the function of a benchmark.
func group(k key) string {
	f, _, _ := strings.Cut(k.name, "/")
	return strings.TrimPrefix(k.pkg, "./") + " " + f
}

// names lists benchmarks that were run on one side only.
func names(keys map[key]bool) (all []string) {
	for k := range keys {
		if k.unit == unitTime {
			all = append(all, strings.TrimPrefix(k.pkg, "./")+" "+k.name)
		}
	}
	slices.Sort(all)
	return all
}

// finite makes the bound of an interval of too few rounds fit into JSON.
func finite(v float64) float64 { return min(max(v, 0), 1e9) }

func system() string {
	out, err := exec.Command("uname", "-srm").Output()
	if err != nil {
		return runtime.GOOS + " " + runtime.GOARCH
	}
	return strings.TrimSpace(string(out))
}

func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Fields(string(b))[0]
}
