// Package report prints a line for each check of a program, and counts the failures.
package report

import (
	"fmt"
	"io"
	"strings"
)

// Report is what one run of such a program says. One goroutine may use it.
type Report struct {
	W              io.Writer
	Passed, Failed int
}

// Check runs f and prints "ok", the name and the figures that f returns, or
// "FAIL", the name and the reason. It reports whether f passed.
func (r *Report) Check(name string, f func() (string, error)) bool {
	figures, err := f()
	if err != nil {
		r.Failed++
		fmt.Fprintf(r.W, "FAIL %s: %s\n", name, oneLine(err.Error()))
		return false
	}
	r.Passed++
	fmt.Fprintf(r.W, "ok   %s: %s\n", name, figures)
	return true
}

// Note prints a line beside the checks.
func (r *Report) Note(s string) {
	fmt.Fprintf(r.W, "     %s\n", s)
}

// longest is where the reason of a failure is cut, in bytes: it may quote all
// that a program has printed.
const longest = 4000

func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > longest {
		s = s[:longest/2] + " … " + s[len(s)-longest/2:]
	}
	return strings.ToValidUTF8(s, "")
}
