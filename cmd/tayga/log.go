package main

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/steppe-nat64/steppe/internal/plain"
)

// A priority is how much a line matters, as syslog counts: RFC 5424 §6.2.1.
type priority uint8

const (
	priError   priority = 3
	priWarning priority = 4
	priNotice  priority = 5
	priInfo    priority = 6
	priDebug   priority = 7
)

// A logWriter takes one line at a time, without its line feed. It is used by
// one goroutine.
type logWriter interface {
	writeLine(pri priority, line string) error
}

// A logger hands lines to a logWriter in the order in which they come. Its
// goroutine stands between, so that neither a slow terminal nor a syslog daemon
// that hangs holds up packets.
type logger struct {
	lines chan logLine
	stuck atomic.Bool // waiting was in vain, and no line has got through since
}

type logLine struct {
	pri     priority
	text    string
	written chan<- struct{} // closed when everything before has been written
}

// logBacklog is how many lines may wait for the sink.
const logBacklog = 1024

// newLogger starts a logger.
func newLogger(w logWriter) *logger {
	l := &logger{lines: make(chan logLine, logBacklog)}
	go func() {
		for line := range l.lines {
			if line.written != nil {
				close(line.written)
				continue
			}
			// Parts of a line may come from anywhere.
			if w.writeLine(line.pri, plain.Line(line.text)) == nil { // an error of the log cannot be logged
				l.stuck.Store(false)
			}
		}
	}()
	return l
}

// printf logs a line. It waits a while if the sink does not keep up, then drops
// the line: the daemon's work goes before its words. After that no other line is
// waited for until the sink has taken one: SIGTERM would wait as well, after the
// hundred lines that a reload may have to say.
func (l *logger) printf(pri priority, format string, args ...any) {
	l.put(logLine{pri: pri, text: fmt.Sprintf(format, args...)})
}

// put is printf for a line. It reports whether the line was taken.
func (l *logger) put(line logLine) bool {
	select {
	case l.lines <- line:
		return true
	default:
	}
	if l.stuck.Load() {
		return false
	}
	select {
	case l.lines <- line:
		return true
	case <-time.After(time.Second):
		l.stuck.Store(true)
		return false
	}
}

// try logs a line unless that would take any waiting. It reports whether the
// line was taken.
func (l *logger) try(pri priority, text string) bool {
	select {
	case l.lines <- logLine{pri: pri, text: text}:
		return true
	default:
		return false
	}
}

// flush waits until the lines so far have been written, but not for ever.
func (l *logger) flush() {
	const patience = 2 * time.Second
	written := make(chan struct{})
	late := time.After(patience)
	select {
	case l.lines <- logLine{written: written}:
	case <-late:
		return
	}
	select {
	case <-written:
	case <-late:
	}
}

func (l *logger) errorf(format string, args ...any)   { l.printf(priError, format, args...) }
func (l *logger) warningf(format string, args ...any) { l.printf(priWarning, format, args...) }
func (l *logger) noticef(format string, args ...any)  { l.printf(priNotice, format, args...) }
func (l *logger) infof(format string, args ...any)    { l.printf(priInfo, format, args...) }
func (l *logger) debugf(format string, args ...any)   { l.printf(priDebug, format, args...) }

// A stream writes bare lines, each in one piece, without time or priority.
type stream struct{ w io.Writer }

func (s stream) writeLine(_ priority, line string) error {
	_, err := io.WriteString(s.w, line+"\n")
	return err
}

// A tee gives errors to a second writer as well.
type tee struct {
	all    logWriter
	errors logWriter
}

func (t tee) writeLine(pri priority, line string) error {
	err := t.all.writeLine(pri, line)
	if pri <= priWarning {
		t.errors.writeLine(pri, line)
	}
	return err
}

// openLog opens the sink that the options name. Errors and warnings also go to
// early, where the user who starts the daemon sees them.
func openLog(o options, early io.Writer) logWriter {
	switch {
	case o.sink == toStdout && o.foreground:
		return stream{os.Stdout}
	case o.sink == toStdout:
		return tee{stream{os.Stdout}, stream{early}}
	case o.sink == toJournal:
		return tee{openJournal(), stream{early}}
	default:
		return tee{openSyslog(), stream{early}}
	}
}
