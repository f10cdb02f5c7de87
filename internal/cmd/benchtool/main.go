// Command benchtool compares two revisions by their benchmarks, and checks the
// benchmarks themselves.
//
//	benchtool ab -base REV [flags]    build both revisions, run them in turn, compare
//	benchtool smoke [flags]           allocations, names, packets lost in a reload
//	benchtool json FILE               what go test -bench printed, as JSON
//
// ab exits with 1 if a slowdown above the threshold, or a new allocation, was
// confirmed, smoke if it found something; both with 2 if they could not measure. How
// ab decides is in confirm.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// errFound is returned when all was measured, and the result, which was printed, is
// bad.
var errFound = errors.New("found")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, errFound):
		os.Exit(1)
	case err != nil:
		fmt.Fprintf(os.Stderr, "benchtool: %v\n", err)
		os.Exit(2)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("want a command: ab, smoke or json")
	}
	switch args[0] {
	case "ab":
		o, err := parseOptions(args[1:])
		if err != nil {
			return err
		}
		return compare(ctx, o)
	case "smoke":
		return smoke(ctx, args[1:])
	case "json":
		return convert(os.Stdout, args[1:])
	}
	return fmt.Errorf("no command %q", args[0])
}

// options are the flags of ab.
type options struct {
	base, head string
	dir        string
	packages   []string
	bench      []string // one process for each
	benchtime  string
	rounds     int
	count      int
	rules      rules
	args       []string // more, for the test binaries
	out        string
}

func parseOptions(args []string) (o options, err error) {
	fs := flag.NewFlagSet("ab", flag.ContinueOnError)
	fs.StringVar(&o.base, "base", "", "`revision` to compare with")
	fs.StringVar(&o.head, "head", "", "`revision` to compare; empty is the working tree")
	fs.StringVar(&o.dir, "dir", ".", "the repository's `directory`")
	packages := fs.String("packages", "./bench", "the `packages` whose benchmarks are run")
	bench := fs.String("bench", ".", "the benchmarks, as for go test; each `alternative` of a|b gets a process of its own")
	fs.StringVar(&o.benchtime, "benchtime", "5ms", "`time` or count of each measurement, as for go test")
	more := fs.String("args", "", "more `flags` for the test binaries, such as those of end-to-end benchmarks")
	fs.IntVar(&o.count, "count", 3, "`measurements` in a process, of which the best counts")
	fs.IntVar(&o.rounds, "rounds", 6, "`rounds` that run everything")
	fs.IntVar(&o.rules.confirm, "confirm", 14, "`rounds` that run what differed once more, and up to twice as many where that does not settle it")
	fs.IntVar(&o.rules.candidates, "candidates", 24, "the largest `number` of benchmarks to run once more")
	fs.Float64Var(&o.rules.alpha, "alpha", 0.02, "`probability` of a report although nothing has changed, for all benchmarks together")
	minimum := fs.Float64("min", 1, "smallest difference that is reported, in `percent`")
	threshold := fs.Float64("threshold", 3, "slowdown of a benchmark that fails the comparison, in `percent`")
	geomean := fs.Float64("geomean", 2, "slowdown of the geometric mean that fails the comparison, in `percent`")
	fs.StringVar(&o.out, "out", "bench/results/ab", "`path` of the raw output and of the JSON file, without .base.txt, .head.txt and .json")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if o.base == "" {
		return o, errors.New("which revision to compare with? make bench-ab BASE=REV, or -base REV")
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("ab: %q is no flag", fs.Arg(0))
	}
	if o.rounds < 1 || o.count < 1 || o.rules.confirm < 1 || o.rules.candidates < 1 {
		return o, errors.New("ab: rounds, count, confirm and candidates must be at least 1")
	}
	o.packages, o.bench = strings.Fields(*packages), alternatives(*bench)
	o.args = strings.Fields(*more)
	o.rules.min, o.rules.threshold, o.rules.geomean = *minimum/100, *threshold/100, *geomean/100
	return o, nil
}

// alternatives splits a regular expression at each | that is in no bracket.
func alternatives(expr string) (all []string) {
	depth, from := 0, 0
	for i := 0; i < len(expr); i++ {
		switch expr[i] {
		case '\\':
			i++
		case '(', '[':
			depth++
		case ')', ']':
			depth--
		case '|':
			if depth == 0 {
				all, from = append(all, expr[from:i]), i+1
			}
		}
	}
	return append(all, expr[from:])
}
