package main

import (
	"fmt"
	"io"
	"strings"
)

// report prints a line for each check and counts them.
type report struct {
	w              io.Writer
	passed, failed int
}

// check runs f and prints the figures that it returns, or why it failed. It
// reports whether it passed.
func (r *report) check(name string, f func() (string, error)) bool {
	figures, err := f()
	if err != nil {
		r.failed++
		fmt.Fprintf(r.w, "FAIL %s: %s\n", name, oneLine(err.Error()))
		return false
	}
	r.passed++
	fmt.Fprintf(r.w, "ok   %s: %s\n", name, figures)
	return true
}

// note prints a line beside the checks.
func (r *report) note(s string) {
	fmt.Fprintf(r.w, "     %s\n", s)
}

// summary prints the last line and reports whether everything passed.
func (r *report) summary() bool {
	fmt.Fprintf(r.w, "demo: %d checks passed, %d failed\n", r.passed, r.failed)
	return r.failed == 0
}

func oneLine(s string) string {
	return strings.Join(strings.Fields(s), " ")
}
