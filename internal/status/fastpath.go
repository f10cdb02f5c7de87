package status

import "fmt"

// Percent returns which part of the bytes that were translated the kernel has, "-" if there
// were none.
func (f *FastPath) Percent() string { return percent(f.Kernel.Bytes, f.Daemon.Bytes) }

// percent returns the part that n is of n and rest together. They are added as floating-point
// numbers: a report may have any, and their sum may not overflow.
func percent(n, rest uint64) string {
	all := float64(n) + float64(rest)
	if all == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(n)/all)
}

// fastState writes whether the kernel translates.
func (t *table) fastState(f *FastPath) {
	if f.On {
		t.line("fast path: on: the kernel translates plain packets")
	} else {
		t.line("fast path: off: %s", clean(f.Off))
	}
}

// fastPath writes the share of each path, and what became of packets at the program, if any
// have come there.
func (t *table) fastPath(f *FastPath) {
	if !f.On && len(f.Counts) == 0 {
		return
	}
	const shares = "%-13s  %15v  %8s  %18v  %8s"
	t.line("")
	t.line(shares, "translated by", "packets", "share", "bytes", "share")
	t.line(shares, "kernel", f.Kernel.Packets, percent(f.Kernel.Packets, f.Daemon.Packets), f.Kernel.Bytes, percent(f.Kernel.Bytes, f.Daemon.Bytes))
	t.line(shares, "daemon", f.Daemon.Packets, percent(f.Daemon.Packets, f.Kernel.Packets), f.Daemon.Bytes, percent(f.Daemon.Bytes, f.Kernel.Bytes))
	if len(f.Counts) == 0 {
		return
	}
	const counts = "%-9s  %-10s  %-13s  %15v  %15v  %18v"
	t.line("")
	t.line(counts, "direction", "fast path", "reason", "packets", "segments", "bytes")
	for _, c := range f.Counts {
		t.line(counts, clean(c.Direction), c.fate(), clean(c.Reason), c.Packets, c.Segments, c.Bytes)
	}
}

// fate says what became of the packets.
func (c FastCount) fate() string {
	switch {
	case c.Translated:
		return "translated"
	case c.Lost():
		return "not sent"
	}
	return "to daemon"
}

// Lost reports whether the packets were neither translated nor left to the daemon.
func (c FastCount) Lost() bool { return c.Reason == "dropped" }
