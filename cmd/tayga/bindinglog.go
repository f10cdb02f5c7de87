package main

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/session"
)

// bindingBacklog is how many events may wait for the log: those of some seconds of a busy
// gateway, in 3 MiB.
const bindingBacklog = 1 << 14

// A bindingLog writes the lines that the directive stateful-log asks for: who had which
// address and port, and when. Unlike a packetLog it leaves nothing out for the number of
// lines; only if the log does not keep up with the events, some are dropped and counted.
type bindingLog struct {
	kind    taygaconf.StatefulLog
	log     *logger
	waiting chan timedEvent
	dropped atomic.Uint64
}

type timedEvent struct {
	session.Event
	at      time.Time
	written chan<- struct{} // closed when everything before is with the logger
}

// newBindingLog starts a bindingLog, or returns nil if there are no lines to write.
func newBindingLog(kind taygaconf.StatefulLog, log *logger) *bindingLog {
	if kind == taygaconf.LogNoSessions {
		return nil
	}
	l := &bindingLog{kind: kind, log: log, waiting: make(chan timedEvent, bindingBacklog)}
	go l.run()
	return l
}

// run hands lines to the logger, and waits for it.
func (l *bindingLog) run() {
	for e := range l.waiting {
		switch {
		case e.written != nil:
			close(e.written)
		case !l.log.put(logLine{pri: priInfo, text: e.line()}):
			l.dropped.Add(1)
		}
	}
}

// onEvent returns what a session.Config calls, nil if there is no log.
func (l *bindingLog) onEvent() func(session.Event) {
	if l == nil {
		return nil
	}
	return l.event
}

// event takes an event without waiting. It is called with locks of the sessions held.
func (l *bindingLog) event(e session.Event) {
	if !l.wants(e) {
		return
	}
	select {
	case l.waiting <- timedEvent{Event: e, at: time.Now()}:
	default:
		l.dropped.Add(1)
	}
}

// wants reports whether there is a line for an event.
func (l *bindingLog) wants(e session.Event) bool {
	block := e.Kind == session.BlockTaken || e.Kind == session.BlockReleased
	return block == (l.kind == taygaconf.LogBlocks) || e.Static // ports of static bindings are in no block
}

// end logs the end of all that t has begun, since nothing does when tayga has ended. It waits
// for the log, but not for ever: what is left then is counted as missing.
func (l *bindingLog) end(t *session.Table) {
	if l == nil || t == nil {
		return
	}
	const patience = 5 * time.Second
	now, late := time.Now(), time.After(patience)
	inTime := true
	for e := range t.Begun {
		e.Kind++ // BindingMade is followed by BindingEnded, BlockTaken by BlockReleased
		if !l.wants(e) {
			continue
		}
		if inTime {
			select {
			case l.waiting <- timedEvent{Event: e, at: now}:
				continue
			case <-late:
				inTime = false
			}
		}
		l.dropped.Add(1)
	}
}

// report says how many lines were dropped since the last time.
func (l *bindingLog) report() {
	if l == nil {
		return
	}
	if n := l.dropped.Swap(0); n > 0 {
		l.log.warningf("stateful-log: %d lines are missing: the log did not keep up", n)
	}
}

// flush waits until the logger has all lines, but not for ever.
func (l *bindingLog) flush() {
	if l == nil {
		return
	}
	const patience = 2 * time.Second
	written := make(chan struct{})
	late := time.After(patience)
	select {
	case l.waiting <- timedEvent{written: written}:
	case <-late:
		return
	}
	select {
	case <-written:
	case <-late:
	}
	l.report()
}

// timeOfEvent has the same width for all times.
const timeOfEvent = "2006-01-02T15:04:05.000Z"

// line puts an event into words that are found by the address and port.
func (e *timedEvent) line() string {
	b := make([]byte, 0, 128)
	switch e.Kind {
	case session.BindingMade, session.BindingEnded:
		b = append(b, "BINDING: ["...)
		b = append(b, phaseOf(e.Event)...)
		b = append(b, "] "...)
		b = append(b, taygaconf.ProtocolName(e.Proto)...)
		b = append(b, ' ')
		b = e.Addr.AppendTo(b)
		b = append(b, ' ')
		b = e.Host.AppendTo(b)
	default:
		b = append(b, "BLOCK: ["...)
		b = append(b, phaseOf(e.Event)...)
		b = append(b, "] "...)
		b = e.Addr.AppendTo(b)
		b = append(b, '-')
		b = strconv.AppendInt(b, int64(e.Addr.Port())+int64(e.Ports)-1, 10)
		b = append(b, ' ')
		b = e.Subscriber.AppendTo(b)
	}
	b = append(b, ' ')
	return string(e.at.UTC().AppendFormat(b, timeOfEvent))
}

// phaseOf says whether an event is a begin or an end.
func phaseOf(e session.Event) string {
	switch {
	case e.Kind == session.BindingEnded, e.Kind == session.BlockReleased:
		return "end"
	case e.Static:
		return "begin static"
	}
	return "begin"
}
