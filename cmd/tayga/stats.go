package main

import (
	"fmt"

	"github.com/steppe-nat64/steppe/internal/gateway"
	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// statLines puts the counters into words: a line for each direction, verdict
// and reason that has occurred.
func statLines(s translate.Stats) []string {
	var lines []string
	for o, c := range s.All() {
		lines = append(lines, fmt.Sprintf("%v %v %v: %d packets, %d octets",
			o.Direction, o.Verdict, o.Reason, c.Packets, c.Bytes))
	}
	if s.ErrorsHeldBack > 0 {
		lines = append(lines, fmt.Sprintf("ICMP errors held back by the rate limit: %d", s.ErrorsHeldBack))
	}
	if s.MTUErrorsHeldBack > 0 {
		lines = append(lines, fmt.Sprintf("path MTU errors among them: %d", s.MTUErrorsHeldBack))
	}
	if len(lines) == 0 {
		lines = append(lines, "no packets yet")
	}
	return lines
}

// printStats answers SIGUSR1.
func (d *daemon) printStats() {
	s := d.gateway.Stats()
	for _, line := range statLines(s.Packets) {
		d.log.noticef("%s", line)
	}
	n := uint64(0)
	for _, refused := range d.state.refused() {
		n += refused
	}
	if n > 0 {
		d.log.noticef("refused by the kernel: %d packets", n)
	}
	for _, line := range fastLines(fastOf(s, d.fast.state())) {
		d.log.noticef("%s", line)
	}
	d.log.noticef("%s", poolLine(s))
	if t := d.gateway.Sessions(); t != nil {
		d.log.noticef("%s", sessionLine(t.Stats()))
	}
}

// sessionLine puts the figures of hosts that share addresses into words. What they were
// denied is among the counters of packets.
func sessionLine(s session.Stats) string {
	return fmt.Sprintf("stateful pool: %d hosts, %d sessions (%d at most), %d half-open, %d opened from IPv4; %d made, %d ended",
		s.Hosts, s.Sessions, s.Limits.Sessions, s.HalfOpen, s.Inbound, s.Made, s.Ended)
}

// poolLine puts the figures of all pools into words.
func poolLine(s gateway.Stats) string {
	if s.Pools == 0 {
		return "no dynamic pool"
	}
	n := s.Leases
	return fmt.Sprintf("dynamic pool: %d addresses, %d held, %d dormant, %d requests refused", n.Size, n.Held, n.Dormant, n.Denied)
}
