package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	svg "github.com/ajstarks/svgo"
)

// Measures of the plot in pixels.
const (
	plotWidth = 760
	barsFrom  = 170 // where bars begin: names stand to the left
	barsWidth = 460 // of kernel forwarding; figures stand to the right
	barHeight = 13
	groupGap  = 12
	headSpace = 56
	footSpace = 28
)

// colours of the gateways; others get the last.
var colours = map[string]string{"kernel": "#9aa5b1", "steppe": "#9ae6b4", fast: "#2f855a", "tayga": "#c98a2b", "": "#5a67d8"}

// writePlot draws how much of each load got through each gateway, as bars in
// proportion to the kernel's forwarding. It reports false if there is nothing to
// draw.
func (r *results) writePlot(w io.Writer) (bool, error) {
	var groups []load
	for _, l := range r.loads() {
		if strings.Contains(l.name, "/cards=") {
			continue // is in the tables
		}
		if slices.Contains(l.gateways, "kernel") && !math.IsNaN(r.at(l.name, "kernel", l.rate())) {
			groups = append(groups, l)
		}
	}
	if len(groups) == 0 {
		return false, nil
	}
	bars := len(groups[0].gateways)
	height := headSpace + len(groups)*(bars*barHeight+groupGap) + footSpace

	var buf bytes.Buffer // svgo ignores errors of writing
	s := svg.New(&buf)
	s.Startview(plotWidth, height, 0, 0, plotWidth, height)
	s.Title("What a gateway carries, in proportion to the kernel's forwarding")
	s.Rect(0, 0, plotWidth, height, "fill:#ffffff")
	s.Gstyle("font-family:Helvetica,Arial,sans-serif;font-size:12px;fill:#1a202c")
	s.Text(12, 20, "What a gateway carries, in proportion to the kernel's forwarding", "font-size:15px;font-weight:bold")
	legend(s, groups[0].gateways)
	for i, l := range groups {
		r.group(s, &l, headSpace+i*(bars*barHeight+groupGap))
	}
	s.Line(barsFrom, headSpace-6, barsFrom, height-footSpace, "stroke:#1a202c")
	s.Text(12, height-10, strings.Join(r.remarks, " · "), "font-size:10px;fill:#4a5568")
	s.Gend()
	s.End()
	_, err := w.Write(buf.Bytes())
	return true, err
}

func legend(s *svg.SVG, gateways []string) {
	x := 12
	for _, g := range gateways {
		name := gatewayName(g, gateways)
		s.Rect(x, 30, 10, 10, "fill:"+colour(g))
		s.Text(x+15, 39, name)
		x += 40 + 7*len(name)
	}
}

// group draws the bars of a load from y downwards.
func (r *results) group(s *svg.SVG, l *load, y int) {
	s.Text(barsFrom-8, y+len(l.gateways)*barHeight/2+4, l.title(), "text-anchor:end")
	whole := r.at(l.name, "kernel", l.rate())
	for i, g := range l.gateways {
		v := r.at(l.name, g, l.rate())
		if math.IsNaN(v) {
			continue
		}
		n := int(math.Round(math.Min(v/whole, 1.1) * barsWidth)) // the rest of the width is for the figure
		top := y + i*barHeight
		s.Rect(barsFrom, top, n, barHeight-2, "fill:"+colour(g))
		s.Text(barsFrom+n+5, top+barHeight-3, l.figure(v), "font-size:10px")
	}
}

func colour(gateway string) string {
	if c, ok := colours[gateway]; ok {
		return c
	}
	return colours[""]
}

// rate is the unit of what a load carries.
func (l *load) rate() string {
	if strings.HasPrefix(l.name, "load=udp/") {
		return "packets/s"
	}
	return "bit/s"
}

func (l *load) figure(v float64) string {
	if l.rate() == "bit/s" {
		return number(v/1e9) + " Gbit/s"
	}
	return fmt.Sprintf("%.0f,000 packets/s", v/1e3)
}
