package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/steppe-nat64/steppe/internal/doctor"
	"github.com/steppe-nat64/steppe/internal/repair"
)

// A reversal undoes what --fix did, last command first.
type reversal struct {
	*consent
	stack    *repair.Stack
	number   int
	skipped  int
	restored bool // a configuration file was
}

// undo undoes what --fix did. The exit status is 0 if nothing is left of it, 1 if
// something was skipped, 2 if something failed.
func undo(o options, stdout, stderr io.Writer) int {
	v := &reversal{consent: newConsent(o, stdout, stderr)}
	if !v.permitted() {
		return 2
	}
	var err error
	if v.stack, err = repair.Open(repair.Dir); err != nil {
		printError(stderr, err)
		return 2
	}
	defer v.stack.Close()
	elsewhere := 0
	for i := len(v.stack.Entries) - 1; i >= 0 && !v.quit; i-- {
		e := v.stack.Entries[i]
		if e.Boot == repair.Boot() && e.Netns != repair.Here() {
			elsewhere++ // also where its file is another one
			continue
		}
		if err := v.step(i, e); err != nil {
			printError(stderr, err)
			return v.finish(2)
		}
	}
	if v.restored && !v.quit {
		if err := v.restart(); err != nil {
			printError(stderr, err)
			return v.finish(2)
		}
	}
	v.summary(elsewhere)
	if v.skipped > 0 || v.quit {
		return v.finish(1)
	}
	return v.finish(0)
}

// summary says what there was to do.
func (v *reversal) summary(elsewhere int) {
	switch {
	case v.number == 0:
		v.line("nothing is to be undone")
	case v.dry:
		v.line("nothing was changed, since standard input or output is no terminal; --yes runs these commands")
	}
	if elsewhere > 0 {
		v.line("%s of another network namespace can be undone there", count(elsewhere, "command"))
	}
}

// step undoes one command, or says why not.
func (v *reversal) step(i int, e repair.Entry) error {
	v.number++
	r := commandReport{Number: v.number, About: e.About, Command: e.Undo}
	v.show(r)
	if e.Boot != repair.Boot() && !e.Lasting() {
		return v.drop(i, r, "the machine was started again, which has undone it")
	}
	switch standing, what := e.Standing(); standing {
	case repair.Gone:
		return v.drop(i, r, "the state is the one before "+e.Command+" already")
	case repair.Changed:
		return v.drop(i, r, what+" has changed since")
	}
	m, err := doctor.Look()
	if err != nil {
		return err
	}
	if why := v.endangered(m, e.Touches, true); why != "" {
		v.skipped++
		v.report(r, resultSkipped, why)
		return nil
	}
	if v.dry {
		v.report(r, resultDry, "")
		return nil
	}
	if !v.agreed() {
		v.skipped++
		v.report(r, resultSkipped, "not wanted")
		return nil
	}
	if err := repair.Run(e.Undo); err != nil {
		v.report(r, resultFailed, err.Error())
		return fmt.Errorf("%s: %w", e.Undo, err)
	}
	v.restored = v.restored || slices.ContainsFunc(e.Touches, func(t doctor.Touch) bool { return t.Kind == doctor.File })
	v.report(r, resultDone, "")
	return v.stack.Remove(i)
}

// drop forgets what cannot be undone any more.
func (v *reversal) drop(i int, r commandReport, why string) error {
	v.report(r, resultSkipped, why)
	if v.dry {
		return nil
	}
	path, err := v.stack.Keep(i)
	if path != "" {
		v.line("   the file before is %s", path)
	}
	return err
}

// restart starts the daemon anew, which runs with a configuration that was undone.
func (v *reversal) restart() error {
	findings, m, err := diagnose(v.options)
	if err != nil {
		return err
	}
	for _, f := range findings {
		if !f.Change.Restarts || f.About != "daemon" {
			continue
		}
		v.number++
		r := commandReport{Number: v.number, About: f.About, Severity: f.Severity.String(), Text: f.Text, Command: f.Command}
		v.show(r)
		if why := v.endangered(m, f.Change.Touches, false); why != "" {
			v.report(r, resultSkipped, why)
		} else if !v.agreed() {
			v.report(r, resultSkipped, "not wanted")
		} else if err := repair.Run(f.Command); err != nil {
			v.report(r, resultFailed, err.Error())
			return fmt.Errorf("%s: %w", f.Command, err)
		} else {
			v.report(r, resultDone, "")
		}
	}
	return nil
}
