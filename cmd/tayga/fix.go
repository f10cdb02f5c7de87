package main

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/steppe-nat64/steppe/internal/doctor"
	"github.com/steppe-nat64/steppe/internal/repair"
)

// How many commands are run at most, and how often the same one: each look at the machine
// may find something else, for ever on a machine that another program changes.
const (
	maxRuns = 200
	maxSame = 3
)

// A treatment runs the commands of the doctor.
type treatment struct {
	*consent
	stack    *repair.Stack
	findings []doctor.Finding
	machine  *doctor.Machine
	numbers  map[string]int  // of commands, in the order in which they were seen
	past     map[string]bool // commands that were run or skipped, while their finding remains
	runs     map[string]int
	undoable int
}

// fix runs the commands of the doctor, each shown first. It looks at the machine again
// before each, since one may change what another one needs and how it is undone.
func fix(o options, stdout, stderr io.Writer) int {
	m, err := doctor.Look()
	if err != nil {
		printError(stderr, err)
		return 2
	}
	o.resolve = once(m)
	t := &treatment{consent: newConsent(o, stdout, stderr), numbers: map[string]int{}, past: map[string]bool{}, runs: map[string]int{}}
	if !t.permitted() {
		return 2
	}
	if err := t.examine(); err != nil {
		printError(stderr, err)
		return 2
	}
	for _, n := range o.numbers {
		if n > len(t.numbers) {
			printError(stderr, fmt.Errorf("there is no command %d, but %d of them", n, len(t.numbers)))
			return 2
		}
	}
	if t.dry {
		return t.list()
	}
	if t.stack, err = repair.Open(repair.Dir); err != nil {
		printError(stderr, err)
		return 2
	}
	defer t.stack.Close()
	err = t.run()
	if err != nil {
		printError(stderr, err)
	}
	return t.conclude(err)
}

// examine looks at the machine. A command whose finding has gone may be needed again.
func (t *treatment) examine() (err error) {
	t.findings, t.machine, err = diagnose(t.options)
	seen := map[string]bool{}
	for _, f := range t.findings {
		if f.Command == "" {
			continue
		}
		seen[key(f)] = true
		if t.numbers[key(f)] == 0 {
			t.numbers[key(f)] = len(t.numbers) + 1
		}
	}
	for k := range t.past {
		if !seen[k] && t.runs[k] < maxSame {
			delete(t.past, k)
		}
	}
	return err
}

// key is by what a finding is known again.
func key(f doctor.Finding) string { return f.About + "\x00" + f.Command }

// wanted reports whether a finding's command is to be run.
func (t *treatment) wanted(f doctor.Finding) bool {
	return f.Command != "" && !t.past[key(f)] && (len(t.options.numbers) == 0 || slices.Contains(t.options.numbers, t.numbers[key(f)]))
}

// describe makes a report of a finding.
func (t *treatment) describe(f doctor.Finding) commandReport {
	r := commandReport{Severity: f.Severity.String(), About: f.About, Text: f.Text, Command: f.Command, Undo: f.Undo}
	if f.Command != "" {
		r.Number = t.numbers[key(f)]
	}
	if path := edits(f); path != "" {
		r.Undo = ""
		if name, _, err := repair.CopyOf(path); err == nil {
			r.Undo = restoring(name, path)
		}
	}
	return r
}

// edits returns the file that a finding's command edits, empty if it edits none.
func edits(f doctor.Finding) string {
	for _, touch := range f.Change.Touches {
		if touch.Kind == doctor.File {
			return touch.Name
		}
	}
	return ""
}

// restoring returns the command that brings a file back.
func restoring(name, path string) string {
	return doctor.Words("cp", "-p", filepath.Join(repair.Dir, name), path)
}

// list prints what would be run.
func (t *treatment) list() int {
	n := 0
	for _, f := range t.findings {
		r := t.describe(f)
		switch why := t.endangered(t.machine, f.Change.Touches, false); {
		case f.Command == "" && len(t.options.numbers) == 0:
			t.line("%v", f)
			t.report(r, resultDry, "")
			t.reports[len(t.reports)-1].Result = resultLeft
		case !t.wanted(f):
		case why != "":
			t.show(r)
			t.report(r, resultSkipped, why)
		default:
			n++
			t.show(r)
			t.report(r, resultDry, "")
		}
	}
	switch {
	case n > 0:
		t.line("%s: nothing was changed, since standard input or output is no terminal; with --yes, %s would be run", t.source(), count(n, "command"))
	case worst(t.findings) == doctor.Note:
		t.line("%s: nothing is missing", t.source())
	}
	return t.finish(int(worst(t.findings)))
}

// run runs what is wanted, until nothing is left, one command fails, or a person has had
// enough.
func (t *treatment) run() error {
	for n := 0; n < maxRuns && !t.quit; n++ {
		i := slices.IndexFunc(t.findings, t.wanted)
		if i < 0 {
			return nil
		}
		f := t.findings[i]
		t.past[key(f)] = true
		r := t.describe(f)
		t.show(r)
		if why := t.endangered(t.machine, f.Change.Touches, false); why != "" {
			t.report(r, resultSkipped, why)
			continue
		}
		if r.Undo == "" && !f.Change.Restarts && !f.Change.Keeps && t.input == nil && len(t.options.numbers) == 0 {
			t.report(r, resultSkipped, fmt.Sprintf("no command undoes this: tayga --doctor --fix %d runs it", r.Number))
			continue
		}
		if !t.agreed() {
			t.report(r, resultSkipped, "not wanted")
			continue
		}
		if err := t.execute(f, r); err != nil {
			t.report(r, resultFailed, err.Error())
			return fmt.Errorf("%s: %w", f.Command, err)
		}
		reason := ""
		if r.Undo == "" && !f.Change.Restarts && !f.Change.Keeps {
			reason = "no command undoes this"
		}
		t.report(r, resultDone, reason)
		if err := t.examine(); err != nil {
			return err
		}
	}
	return nil
}

// execute runs the command of a finding, and notes before what undoes it.
func (t *treatment) execute(f doctor.Finding, r commandReport) error {
	t.runs[key(f)]++
	e := repair.Entry{Time: time.Now(), Boot: repair.Boot(), Netns: repair.Here(), About: f.About,
		Command: f.Command, Undo: r.Undo, Touches: f.Change.Touches}
	if path := edits(f); path != "" {
		var err error
		if e.Copy, err = t.stack.Copy(path); err != nil {
			return err
		}
		e.Undo = restoring(e.Copy, path)
	}
	noted := e.Undo != ""
	if noted {
		if err := t.stack.Begin(e); err != nil {
			return err
		}
		t.undoable++
	}
	err := repair.Run(f.Command)
	if noted {
		if failed := t.stack.End(err != nil); err == nil {
			err = failed
		}
	}
	return err
}

// conclude says what is left.
func (t *treatment) conclude(failed error) int {
	if err := t.examine(); err != nil {
		printError(t.stderr, err)
		return 2
	}
	for _, f := range t.findings {
		r := t.describe(f)
		r.Number = 0
		r.Result = resultLeft
		t.reports = append(t.reports, r)
	}
	if !t.json {
		if t.undoable > 0 {
			say(t.stdout, "%s can be undone: tayga --doctor --undo", count(t.undoable, "command"))
		}
		if len(t.findings) > 0 && worst(t.findings) != doctor.Note {
			say(t.stdout, "what is left:")
		}
		printFindings(t.stdout, t.options, t.findings)
	}
	if failed != nil {
		return t.finish(2)
	}
	return t.finish(int(worst(t.findings)))
}
