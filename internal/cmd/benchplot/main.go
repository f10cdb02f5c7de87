// Command benchplot makes tables and a plot of what go test -bench has printed:
// gateways side by side, and figures beside their targets.
//
//	benchplot [-svg FILE] [-readme FILE] [-block NAME] [-summary FILE] RESULTS
//
// The tables go to standard output. They also replace what stands between the
// lines <!-- figures --> and <!-- end of figures --> of the file of -readme, or
// others with the NAME of -block. The plot and the main figures go between
// the lines <!-- summary --> and <!-- end of summary --> of the file of -summary.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// options are where results go, besides standard output; empty for nowhere.
type options struct{ svg, readme, block, summary string }

func main() {
	var o options
	flag.StringVar(&o.svg, "svg", "", "`file` to draw the plot into")
	flag.StringVar(&o.readme, "readme", "", "Markdown `file` to put the tables into")
	flag.StringVar(&o.block, "block", "figures", "`name` of the block of that file; "+fastBlock+" has the targets of the fast path alone")
	flag.StringVar(&o.summary, "summary", "", "Markdown `file` to put the plot and the main figures into")
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(flag.Arg(0), o); err != nil {
		fmt.Fprintf(os.Stderr, "benchplot: %v\n", err)
		os.Exit(1)
	}
}

// fastBlock is the block of what make bench-fast measures.
const fastBlock = "fast"

func run(file string, o options) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := parse(f)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	var tables bytes.Buffer
	groups := [][]target{r.targets(), r.fastTargets()}
	if o.block == fastBlock {
		groups = groups[1:]
	}
	r.writeTables(&tables, groups...)
	os.Stdout.Write(tables.Bytes())
	if o.readme != "" {
		if err := putInto(o.readme, o.block, tables.Bytes()); err != nil {
			return err
		}
	}
	if o.svg != "" {
		var plot bytes.Buffer
		switch drawn, err := r.writePlot(&plot); {
		case err != nil:
			return err
		case !drawn:
			return fmt.Errorf("%s: no gateway to draw", file)
		}
		if err := os.WriteFile(o.svg, plot.Bytes(), 0o644); err != nil {
			return err
		}
	}
	if o.summary == "" {
		return nil
	}
	plot := o.svg
	if plot != "" {
		if plot, err = filepath.Rel(filepath.Dir(o.summary), plot); err != nil {
			return err
		}
	}
	var summary bytes.Buffer
	r.writeSummary(&summary, filepath.ToSlash(plot))
	return putInto(o.summary, "summary", summary.Bytes())
}

// putInto replaces what stands between the marks of a block of a file.
func putInto(file, block string, text []byte) error {
	beginMark, endMark := "<!-- "+block+" -->\n", "<!-- end of "+block+" -->\n"
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(old, []byte(beginMark))
	_, after, ok2 := bytes.Cut(rest, []byte(endMark))
	if !ok || !ok2 {
		return fmt.Errorf("%s: %w", file, errMarks)
	}
	return os.WriteFile(file, bytes.Join([][]byte{before, []byte(beginMark), text, []byte(endMark), after}, nil), 0o644)
}

var errMarks = errors.New("the lines between which figures go are missing")
