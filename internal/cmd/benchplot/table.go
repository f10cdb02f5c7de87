package main

import (
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// units are the figures of the side-by-side table, and what is made of them.
var units = []struct {
	unit, label string
	per         float64
}{
	{"bit/s", "Gbit/s", 1e9},
	{"packets/s", "1,000 packets/s", 1e3},
	{"cpu-s/GB", "CPU s/GB", 1},
	{"cpu-ns/packet", "CPU ns/packet", 1},
	{"busy-s/GB", "busy s/GB", 1},
	{"busy-ns/packet", "busy ns/packet", 1},
	{"p50-ns", "µs, median", 1e3},
	{"p99-ns", "µs, 99 %", 1e3},
}

// writeTables writes what was measured as Markdown that can be read as it is, with targets of
// which anything was measured.
func (r *results) writeTables(w io.Writer, groups ...[]target) {
	for _, remark := range r.remarks {
		fmt.Fprintf(w, "- %s\n", remark)
	}
	if all := r.loads(); len(all) > 0 {
		fmt.Fprintln(w)
		writeTable(w, r.sideBySide(all))
	}
	fmt.Fprintln(w)
	targets, met, count := [][]string{{"target", "", "measured", "met"}}, 0, 0
	for _, group := range groups {
		if !slices.ContainsFunc(group, func(t target) bool { return t.measured() }) {
			continue
		}
		count += len(group)
		for _, t := range group {
			targets = append(targets, t.row())
			if t.met() {
				met++
			}
		}
	}
	writeTable(w, targets)
	fmt.Fprintf(w, "\n%d of %d targets met.\n", met, count)
}

// row is the row of a target.
func (t *target) row() []string {
	sign, yes := "≤ ", "no"
	if t.least {
		sign = "≥ "
	}
	if t.met() {
		yes = "yes"
	}
	value := fmt.Sprintf(t.form, t.value)
	if !t.measured() {
		value, yes = "–", "not measured"
	}
	return []string{t.what, sign + fmt.Sprintf(t.form, t.limit), value, yes}
}

// ratios are the columns of the side-by-side table that compare two gateways.
var ratios = [][2]string{{"steppe", "kernel"}, {"steppe", "tayga"}, {fast, "kernel"}, {fast, "steppe"}}

// sideBySide sets the gateways beside each other.
func (r *results) sideBySide(loads []load) [][]string {
	gateways := loads[0].gateways
	head := append([]string{"load", "unit"}, gateways...)
	ratios := slices.DeleteFunc(slices.Clone(ratios), func(of [2]string) bool {
		return !slices.Contains(gateways, of[0]) || !slices.Contains(gateways, of[1])
	})
	for _, of := range ratios {
		head = append(head, path.Base(of[0])+"/"+of[1])
	}
	rows := [][]string{head}
	for _, l := range loads {
		for _, u := range units {
			row := []string{l.title(), u.label}
			for _, g := range gateways {
				row = append(row, number(r.at(l.name, g, u.unit)/u.per))
			}
			if !slices.ContainsFunc(row[2:], func(s string) bool { return s != "–" }) {
				continue // not measured for this load
			}
			for _, of := range ratios {
				row = append(row, number(r.at(l.name, of[0], u.unit)/r.at(l.name, of[1], u.unit)))
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// number prints three digits.
func number(v float64) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// writeTable writes rows, of which the first is the head, in columns.
func writeTable(w io.Writer, rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	line := func(row []string) {
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if i > 0 && isFigure(rows, i) {
				fmt.Fprintf(w, "| %s%s ", pad, cell)
			} else {
				fmt.Fprintf(w, "| %s%s ", cell, pad)
			}
		}
		fmt.Fprintln(w, "|")
	}
	line(rows[0])
	for i, n := range width {
		if i > 0 && isFigure(rows, i) {
			fmt.Fprintf(w, "|%s:", strings.Repeat("-", n+1))
		} else {
			fmt.Fprintf(w, "|%s", strings.Repeat("-", n+2))
		}
	}
	fmt.Fprintln(w, "|")
	for _, row := range rows[1:] {
		line(row)
	}
}

// isFigure reports whether a column is one of figures, which stand to the right.
func isFigure(rows [][]string, column int) bool {
	for _, row := range rows[1:] {
		cell := strings.TrimLeft(row[column], "≤≥ ")
		if cell != "" && cell != "–" && (cell[0] < '0' || cell[0] > '9') {
			return false
		}
	}
	return true
}
