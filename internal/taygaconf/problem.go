package taygaconf

import (
	"fmt"
	"slices"
	"strconv"
)

// A Problem is one thing that is wrong, or strange, in a configuration file.
type Problem struct {
	File      string
	Line      int    // from 1; 0 if the file as a whole is meant
	Directive string // may be empty
	Text      string // what is wrong, and what to do
	Warning   bool   // the file can be used all the same
}

// Error returns "file:line: directive: what is wrong".
func (p Problem) Error() string {
	s := p.File
	if p.Line > 0 {
		s += ":" + strconv.Itoa(p.Line)
	}
	if p.Directive != "" {
		s += ": " + p.Directive
	}
	if p.Warning {
		s += ": warning"
	}
	return s + ": " + p.Text
}

// Problems is everything found in one reading, in the order of lines.
type Problems []Problem

// Failed reports whether one of them is more than a warning.
func (ps Problems) Failed() bool {
	return slices.ContainsFunc(ps, func(p Problem) bool { return !p.Warning })
}

// maxProblems bounds what one file can make us say: the wrong file given by
// mistake may have a hundred thousand lines.
const maxProblems = 100

// A reporter collects the problems of one file. Errors go before warnings once
// the bound is reached.
type reporter struct {
	file     string
	problems Problems
	errors   int
	left     int // not kept
}

func (r *reporter) add(p Problem) {
	p.File = r.file
	if !p.Warning {
		r.errors++
	}
	if len(r.problems) < maxProblems {
		r.problems = append(r.problems, p)
		return
	}
	r.left++
	if p.Warning || r.errors > maxProblems {
		return
	}
	// An error must not go unsaid because of warnings before it.
	for i := range r.problems {
		if r.problems[i].Warning {
			r.problems = append(slices.Delete(r.problems, i, i+1), p)
			return
		}
	}
}

func (r *reporter) errorf(line int, directive, format string, args ...any) {
	r.add(Problem{Line: line, Directive: directive, Text: fmt.Sprintf(format, args...)})
}

func (r *reporter) warnf(line int, directive, format string, args ...any) {
	r.add(Problem{Line: line, Directive: directive, Text: fmt.Sprintf(format, args...), Warning: true})
}

// done returns what was found, sorted by line.
func (r *reporter) done() Problems {
	slices.SortStableFunc(r.problems, func(a, b Problem) int { return a.Line - b.Line })
	if r.left > 0 {
		r.problems = append(r.problems, Problem{
			File:    r.file,
			Text:    fmt.Sprintf("%d more lines like these are not shown", r.left),
			Warning: r.errors == 0,
		})
	}
	return r.problems
}

// show returns a word of a file in quotes, short enough and free of control
// characters, for use in a message.
func show(word string) string {
	const most = 48
	if len(word) > most {
		return strconv.Quote(word[:most]) + "…"
	}
	return strconv.Quote(word)
}
