package main

import (
	"fmt"
	"io"
	"slices"
)

// summaryRows are the rows of the summary, each of a load or of one in both directions.
var summaryRows = []struct {
	what, unit string
	per        float64
	loads      []string
}{
	{"TCP, one stream, Gbit/s", "bit/s", 1e9, []string{"load=tcp/dir=6to4/streams=1", "load=tcp/dir=4to6/streams=1"}},
	{"TCP, four streams, Gbit/s", "bit/s", 1e9, []string{"load=tcp/dir=6to4/streams=4", "load=tcp/dir=4to6/streams=4"}},
	{"busy seconds of the machine per GB of that", "busy-s/GB", 1, []string{"load=tcp/dir=6to4/streams=4", "load=tcp/dir=4to6/streams=4"}},
	{"UDP, 64 bytes, 1,000 packets/s", "packets/s", 1e3, []string{"load=udp/dir=6to4/size=64", "load=udp/dir=4to6/size=64"}},
	{"UDP, 1,400 bytes, 1,000 packets/s", "packets/s", 1e3, []string{"load=udp/dir=6to4/size=1400", "load=udp/dir=4to6/size=1400"}},
	{"latency, median, µs", "p50-ns", 1e3, []string{"load=request/size=1"}},
}

// writeSummary writes the main figures of the gateways, for readers who know nothing of the
// benchmarks, under the plot.
func (r *results) writeSummary(w io.Writer, plot string) {
	if plot != "" {
		fmt.Fprintf(w, "![throughput of the kernel, steppe and Debian's tayga](%s)\n\n", plot)
	}
	all := r.loads()
	if len(all) == 0 {
		return
	}
	head := []string{"IPv6 to IPv4; IPv4 to IPv6"}
	var gateways []string
	for _, g := range []string{"kernel", fast, "steppe", "tayga"} {
		if slices.Contains(all[0].gateways, g) {
			gateways = append(gateways, g)
			head = append(head, gatewayName(g, all[0].gateways))
		}
	}
	rows := [][]string{head}
	for _, s := range summaryRows {
		row := []string{s.what}
		for _, g := range gateways {
			cell := ""
			for i, load := range s.loads {
				if i > 0 {
					cell += "; "
				}
				cell += number(r.at(load, g, s.unit) / s.per)
			}
			row = append(row, cell)
		}
		if slices.ContainsFunc(row[1:], func(cell string) bool { return cell != "–" && cell != "–; –" }) {
			rows = append(rows, row)
		}
	}
	writeTable(w, rows)
	fmt.Fprintln(w)
	for _, remark := range r.remarks {
		fmt.Fprintf(w, "- %s\n", remark)
	}
}

// gatewayName says what a gateway is, among those that were measured.
func gatewayName(gateway string, all []string) string {
	switch {
	case gateway == "kernel":
		return "kernel forwarding, IPv6 to IPv6"
	case gateway == "tayga":
		return "Debian's tayga"
	case gateway == fast:
		return "steppe"
	case gateway == "steppe" && slices.Contains(all, fast):
		return "steppe, fast-path off"
	}
	return gateway
}
