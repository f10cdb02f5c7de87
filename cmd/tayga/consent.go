package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"github.com/steppe-nat64/steppe/internal/doctor"
	"github.com/steppe-nat64/steppe/internal/repair"
)

// A resolver looks up the IPv6 addresses of a name.
type resolver func(ctx context.Context, name string) ([]netip.Addr, error)

// What becomes of a command.
const (
	resultDry     = "dry-run" // it would be run
	resultDone    = "done"
	resultFailed  = "failed"
	resultSkipped = "skipped"
	resultLeft    = "left" // a finding that remains
)

// A commandReport is what --fix and --undo say about a command, in JSON.
type commandReport struct {
	Number   int    `json:"number,omitempty"` // of a finding without a command there is none
	Severity string `json:"severity,omitempty"`
	About    string `json:"about"`
	Text     string `json:"text,omitempty"`
	Command  string `json:"command,omitempty"`
	Undo     string `json:"undo,omitempty"`
	Result   string `json:"result"`
	Reason   string `json:"reason,omitempty"`
}

// consent decides whether commands are run, and reports what became of them.
type consent struct {
	options
	stdout, stderr io.Writer
	input          *bufio.Reader // of a terminal; nil: no question is asked
	dry            bool
	quit           bool
	connections    []repair.Connection
	reports        []commandReport
}

// newConsent asks if standard input and output are terminals. If they are not, nothing is
// run without --yes.
func newConsent(o options, stdout, stderr io.Writer) *consent {
	c := &consent{options: o, stdout: stdout, stderr: stderr, connections: repair.Connections()}
	switch {
	case o.yes:
	case !o.json && repair.IsTerminal(os.Stdin) && repair.IsTerminal(os.Stdout):
		c.input = bufio.NewReaderSize(os.Stdin, 1<<10)
	default:
		c.dry = true
	}
	return c
}

// permitted reports whether the process may run the commands.
func (c *consent) permitted() bool {
	if c.dry || os.Geteuid() == 0 {
		return true
	}
	printError(c.stderr, errors.New("only root can run these commands"))
	return false
}

// line prints a line that is for people.
func (c *consent) line(format string, args ...any) {
	if !c.json {
		say(c.stdout, format, args...)
	}
}

// report notes what became of a command.
func (c *consent) report(r commandReport, result, reason string) {
	r.Result, r.Reason = result, reason
	c.reports = append(c.reports, r)
	switch {
	case result == resultDry:
	case reason == "":
		c.line("   %s", result)
	default:
		c.line("   %s: %s", result, reason)
	}
}

// show prints a command before it is run.
func (c *consent) show(r commandReport) {
	if r.Text == "" {
		c.line("%d. %s", r.Number, r.About)
	} else {
		c.line("%d. %s: %s: %s", r.Number, r.Severity, r.About, r.Text)
	}
	c.line("   run:  %s", r.Command)
	if r.Undo != "" {
		c.line("   undo: %s", r.Undo)
	}
}

// endangered says why a command is not run over the connection that there is.
func (c *consent) endangered(m *doctor.Machine, touches []doctor.Touch, undo bool) string {
	return repair.Endangered(c.connections, m, touches, undo)
}

// agreed asks whether to run the command that was shown.
func (c *consent) agreed() bool {
	for c.input != nil {
		io.WriteString(c.stdout, "   run it? [y]es, [n]o, [a]ll, [q]uit: ")
		answer, err := c.input.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			c.quit = true
			return false
		}
		switch strings.ToLower(strings.TrimSpace(string(answer))) {
		case "y", "yes":
			return true
		case "n", "no":
			return false
		case "a", "all":
			c.input = nil
			return true
		case "q", "quit":
			c.quit = true
			return false
		}
		if err != nil {
			c.line("")
			c.quit = true
			return false
		}
	}
	return true
}

// finish prints the reports as JSON, if that is wanted.
func (c *consent) finish(status int) int {
	if !c.json {
		return status
	}
	if c.reports == nil {
		c.reports = []commandReport{}
	}
	if err := writeJSON(c.stdout, c.reports); err != nil {
		printError(c.stderr, err)
		return 2
	}
	return status
}

// once asks a resolver once for each name.
func once(m *doctor.Machine) resolver {
	type answer struct {
		addrs []netip.Addr
		err   error
	}
	known, ask := map[string]answer{}, m.Resolve
	return func(ctx context.Context, name string) ([]netip.Addr, error) {
		a, found := known[name]
		if !found {
			a.addrs, a.err = ask(ctx, name)
			known[name] = a
		}
		return a.addrs, a.err
	}
}

// count writes a number of things.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
