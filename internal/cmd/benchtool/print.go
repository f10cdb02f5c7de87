package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/perf/benchunit"
)

func (x *comparison) printHead(w io.Writer) {
	r := x.report()
	fmt.Fprintf(w, "base %s, head %s, %s, %s, %d processors, load %s\n", r.Base, r.Head, r.Go, r.System, r.Processors, r.Load)
	for _, pkg := range x.packages {
		if same(x.sides[0], x.sides[1], pkg) {
			fmt.Fprintf(w, "%s: both revisions give the same test binary\n", pkg)
		}
	}
}

// finish prints and keeps the result.
func (x *comparison) finish() error {
	r := x.report()
	r.print(os.Stdout)
	fmt.Printf("\nraw output: %s.base.txt, %[1]s.head.txt; as JSON: %[1]s.json\n", x.out)
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(x.out+".json", append(b, '\n'), 0o644); err != nil {
		return err
	}
	if len(r.Failed) > 0 {
		return errFound
	}
	return nil
}

// print shows the rows, the means, and what it comes to.
func (r *report) print(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(tw, "\nbase\thead\tdifference\twithin\t\n")
	for _, b := range r.Benchmarks {
		if exact(b.Unit) && b.Verdict == undecided {
			continue
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t  %s %s%s\n", amount(b.BaseMedian, b.Unit), amount(b.HeadMedian, b.Unit),
			difference(b), within(b), strings.TrimPrefix(b.Package, "./"), b.Name, note(b))
	}
	tw.Flush()

	tw = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(r.Geomeans) > 0 {
		fmt.Fprint(tw, "\ngeometric mean\tdifference\twithin\n")
	}
	for _, g := range r.Geomeans {
		name := g.Name
		if name == "" {
			name = "all"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\n", name, percent(g.Ratio), span(g.Lo, g.Hi))
	}
	tw.Flush()
	r.printSummary(w)
}

func (r *report) printSummary(w io.Writer) {
	counts := map[verdict]int{}
	for _, b := range r.Benchmarks {
		counts[b.Verdict]++
	}
	fmt.Fprintf(w, "\n%d figures in %v: %d differ; %d seemed to and did not in further rounds", len(r.Benchmarks),
		time.Duration(r.Seconds)*time.Second, counts[confirmed], counts[unconfirmed])
	if n := counts[notRepeated]; n > 0 {
		fmt.Fprintf(w, "; %d more seem to, but there were too many to run again: choose fewer benchmarks", n)
	}
	fmt.Fprintln(w)
	if n, m := len(r.OnlyInBase), len(r.OnlyInHead); n+m > 0 {
		fmt.Fprintf(w, "not compared: %d benchmarks that only the base has, %d that only the head has\n", n, m)
	}
	for _, why := range r.Failed {
		fmt.Fprintf(w, "FAIL: %s\n", why)
	}
}

func amount(v float64, unit string) string {
	switch {
	case unit == unitTime:
		return benchunit.Scale(v, benchunit.Decimal) + "s"
	case unit == unitInstructions:
		return fmt.Sprintf("%.0f instr", v)
	case exact(unit):
		return fmt.Sprintf("%.3g allocs", v)
	}
	return benchunit.Scale(v, benchunit.ClassOf(unit)) + " " + unit
}

func percent(ratio float64) string { return fmt.Sprintf("%+.1f%%", (ratio-1)*100) }

// span is a confidence interval.
func span(lo, hi float64) string {
	if lo == 0 || hi == 1e9 {
		return "too few rounds"
	}
	return percent(lo) + "…" + percent(hi)
}

// difference is ~ where none was found.
func difference(b row) string {
	switch {
	case exact(b.Unit):
		return fmt.Sprintf("%+.3g", b.HeadMedian-b.BaseMedian)
	case b.Verdict == confirmed || b.Verdict == notRepeated:
		return percent(b.Ratio)
	}
	return "~"
}

func within(b row) string {
	if exact(b.Unit) {
		return ""
	}
	return span(b.Lo, b.Hi)
}

func note(b row) string {
	switch {
	case b.Verdict == notRepeated:
		return "  not run again"
	case b.Verdict != confirmed:
		return ""
	case exact(b.Unit) || b.Ratio > 1:
		return "  WORSE"
	}
	return "  better"
}
