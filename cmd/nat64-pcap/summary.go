package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// summary says what became of the packets: a line for each direction, verdict
// and reason that has occurred, and for packets that were not translated at all.
func (x *converter) summary(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(from, verdict, reason any, packets, size uint64) {
		if packets > 0 {
			fmt.Fprintf(t, "%v\t%v\t%v\t%d packets\t%d bytes\n", from, verdict, reason, packets, size)
		}
	}
	s := x.gateway.Stats().Packets
	for o, c := range s.All() {
		line(o.Direction, o.Verdict, o.Reason, c.Packets, c.Bytes)
	}
	line("-", "skipped", "not-ip", x.notIP.Packets, x.notIP.Bytes)
	line("-", "skipped", "cut-short-by-the-capture", x.cut.Packets, x.cut.Bytes)
	line("-", "held back", "errors-beyond-the-rate", s.ErrorsHeldBack, 0)
	t.Flush()
	fmt.Fprintf(w, "%d packets in, %d packets out\n", x.in, x.out)
}
