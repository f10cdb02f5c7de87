package main

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/session"
)

var (
	bindingTCP  = session.Event{Kind: session.BindingMade, Proto: 6, Host: netip.MustParseAddrPort("[2001:db8::2]:51812"), Addr: netip.MustParseAddrPort("203.0.113.1:40123")}
	bindingPing = session.Event{Kind: session.BindingEnded, Proto: 1, Host: netip.MustParseAddrPort("[2001:db8::2]:7"), Addr: netip.MustParseAddrPort("203.0.113.1:0")}
	staticUDP   = session.Event{Kind: session.BindingMade, Proto: 17, Static: true, Host: netip.MustParseAddrPort("[2001:db8::3]:53"), Addr: netip.MustParseAddrPort("203.0.113.1:53")}
	blockTaken  = session.Event{Kind: session.BlockTaken, Subscriber: netip.MustParsePrefix("2001:db8::/64"), Addr: netip.MustParseAddrPort("203.0.113.1:1024"), Ports: 512}
	blockEnded  = session.Event{Kind: session.BlockReleased, Subscriber: netip.MustParsePrefix("2001:db8::/64"), Addr: netip.MustParseAddrPort("203.0.113.1:65024"), Ports: 512}
)

// TestBindingLogLines: a line says who had which address and port, from or until when, and
// no destination.
func TestBindingLogLines(t *testing.T) {
	at := time.Date(2026, 11, 30, 22, 0, 0, 5e8, time.FixedZone("", 3600))
	for want, e := range map[string]session.Event{
		"BINDING: [begin] tcp 203.0.113.1:40123 [2001:db8::2]:51812 2026-11-30T21:00:00.500Z":  bindingTCP,
		"BINDING: [end] icmp 203.0.113.1:0 [2001:db8::2]:7 2026-11-30T21:00:00.500Z":           bindingPing,
		"BINDING: [begin static] udp 203.0.113.1:53 [2001:db8::3]:53 2026-11-30T21:00:00.500Z": staticUDP,
		"BLOCK: [begin] 203.0.113.1:1024-1535 2001:db8::/64 2026-11-30T21:00:00.500Z":          blockTaken,
		"BLOCK: [end] 203.0.113.1:65024-65535 2001:db8::/64 2026-11-30T21:00:00.500Z":          blockEnded,
	} {
		x := timedEvent{Event: e, at: at}
		assert.Equal(t, want, x.line())
	}
}

// TestBindingLogKinds: each kind has its lines; with blocks, static bindings have some too,
// since their ports are in no block.
func TestBindingLogKinds(t *testing.T) {
	all := []session.Event{bindingTCP, bindingPing, staticUDP, blockTaken, blockEnded}
	for kind, want := range map[taygaconf.StatefulLog]string{
		taygaconf.LogBindings: "BINDING.*BINDING.*BINDING",
		taygaconf.LogBlocks:   "BINDING.*static.*BLOCK.*BLOCK",
	} {
		r := &recorder{}
		l := newBindingLog(kind, newLogger(r))
		for _, e := range all {
			l.onEvent()(e)
		}
		l.flush()
		l.log.flush()
		assert.Regexp(t, regexp.MustCompile("^.6 "+want), fmt.Sprint(r.all()))
		assert.Len(t, r.all(), 3)
	}
	none := newBindingLog(taygaconf.LogNoSessions, nil)
	assert.Nil(t, none.onEvent())
	none.report()
	none.flush()
}

// TestBindingLogEnd: when tayga ends, each binding or block whose begin was logged has an end
// in the log. A clean stop wrote none, and the bindings seemed to go on.
func TestBindingLogEnd(t *testing.T) {
	for kind, block := range map[taygaconf.StatefulLog]int{taygaconf.LogBindings: 0, taygaconf.LogBlocks: 64} {
		r := &recorder{}
		l := newBindingLog(kind, newLogger(r))
		s := newTable(t, session.Config{PortBlock: block, OnEvent: l.onEvent(), Static: []session.Static{
			{Proto: 6, Addr: netip.MustParseAddrPort("203.0.113.1:80"), Host: netip.MustParseAddrPort("[2001:db8:c::2]:8080")},
		}})
		for host := range uint64(300) {
			mustMap(t, s, flow(host<<32+1, 17, 9))
		}
		l.end(s)
		l.flush()
		l.log.flush()
		logged := map[string]int{}
		for _, line := range r.all() {
			words := strings.Fields(strings.NewReplacer("begin static", "begin").Replace(line))
			phase := words[2]
			rest := append(words[:2:2], words[3:len(words)-1]...)
			switch phase {
			case "[begin]":
				logged[strings.Join(rest, " ")]++
			case "[end]":
				logged[strings.Join(rest, " ")]--
			}
		}
		assert.NotEmpty(t, logged)
		for what, open := range logged {
			assert.Zero(t, open, what)
		}
	}
	(*bindingLog)(nil).end(nil)
}

// TestBindingLogNeverWaits: a log that hangs holds up no event, which has locks of the
// sessions. What is missing is counted and logged later.
func TestBindingLogNeverWaits(t *testing.T) {
	r := &recorder{gate: make(chan struct{})}
	l := newBindingLog(taygaconf.LogBindings, newLogger(r))
	const events = 3 * bindingBacklog
	for range events {
		l.event(bindingTCP) // waits for nothing, or this test does not end
	}
	close(r.gate)
	missing := regexp.MustCompile(`^4 stateful-log: (\d+) lines are missing: the log did not keep up$`)
	counted := func() (n int) {
		for _, line := range r.all() {
			if m := missing.FindStringSubmatch(line); m != nil {
				lost, _ := strconv.Atoi(m[1])
				n += lost
				continue
			}
			n++
		}
		return n
	}
	assert.Eventually(t, func() bool {
		l.flush()
		l.log.flush()
		return counted() == events
	}, patience, time.Millisecond, "%d events are logged or counted", events)
	assert.Regexp(t, missing, strings.Join(r.all()[len(r.all())-1:], ""))
}
