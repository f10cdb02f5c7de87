package main

import (
	"fmt"

	"github.com/steppe-nat64/steppe/translate"
)

// statLines puts the counters into words: a line for each direction, verdict
// and reason that has occurred.
func statLines(s translate.Stats) []string {
	var lines []string
	for o, c := range s.All() {
		lines = append(lines, fmt.Sprintf("%v %v %v: %d packets, %d octets",
			o.Direction, o.Verdict, o.Reason, c.Packets, c.Octets))
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
