package main

import (
	"fmt"

	"github.com/steppe-nat64/steppe/internal/gateway"
	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/translate"
)

// fastOf returns what the fast path has done.
func fastOf(s gateway.Stats, off string) *status.FastPath {
	f := &status.FastPath{On: off == "", Off: off, Counts: []status.FastCount{}}
	for _, c := range s.Fast {
		f.Counts = append(f.Counts, status.FastCount{
			Direction: c.Direction.String(), Reason: c.Reason.String(), Translated: c.Reason.Translated(),
			Packets: c.Packets, Segments: c.Segments, Bytes: c.Bytes,
		})
		if c.Reason.Translated() {
			f.Kernel.Packets += c.Packets
			f.Kernel.Bytes += c.Bytes
		}
	}
	for _, d := range []translate.Direction{translate.V4ToV6, translate.V6ToV4} {
		n := s.Packets.Count(translate.Outcome{Direction: d, Result: translate.Result{Verdict: translate.Forward, Reason: translate.Translated}})
		f.Daemon.Packets += n.Packets
		f.Daemon.Bytes += n.Bytes
	}
	f.Daemon.Packets -= f.Kernel.Packets
	f.Daemon.Bytes -= f.Kernel.Bytes
	return f
}

// fastLines puts the fast path into words: the share of each path, then what became of packets
// at the program.
func fastLines(f *status.FastPath) []string {
	state := "on"
	if !f.On {
		state = "off: " + f.Off
	}
	lines := []string{fmt.Sprintf("fast path: %s; %d packets, %d bytes translated by the kernel (%s); %d packets, %d bytes by this process",
		state, f.Kernel.Packets, f.Kernel.Bytes, f.Percent(), f.Daemon.Packets, f.Daemon.Bytes)}
	for _, c := range f.Counts {
		did := "left to this process"
		switch {
		case c.Translated:
			did = "translated"
		case c.Lost():
			did = "not sent"
		}
		lines = append(lines, fmt.Sprintf("fast path: %s %s %s: %d packets, %d segments, %d bytes", c.Direction, did, c.Reason, c.Packets, c.Segments, c.Bytes))
	}
	return lines
}
