package main

import (
	"bufio"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// results are figures of benchmarks, in the text format of go test: samples by
// name and unit. A name lacks the word Benchmark, the number of processors, and
// the round, since rounds are samples of the same thing.
type results struct {
	names   []string // in order of appearance
	samples map[string]map[string][]float64
	remarks []string // lines that begin with #: where and when
}

var (
	procs = regexp.MustCompile(`-\d+$`)
	round = regexp.MustCompile(`/round=\d+`)
)

// parse reads the output of go test. What is no figure is skipped, and so are
// medians that a benchmark itself computed.
func parse(r io.Reader) (*results, error) {
	res := &results{samples: make(map[string]map[string][]float64)}
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		line := sc.Text()
		if remark, ok := strings.CutPrefix(line, "# "); ok {
			res.remarks = append(res.remarks, remark)
		}
		res.add(strings.Fields(line))
	}
	return res, sc.Err()
}

// add takes up a line: name, iterations, and pairs of value and unit.
func (r *results) add(words []string) {
	if len(words) < 4 || len(words)%2 != 0 {
		return
	}
	name, ok := strings.CutPrefix(words[0], "Benchmark")
	if _, err := strconv.Atoi(words[1]); !ok || err != nil {
		return
	}
	name = round.ReplaceAllString(procs.ReplaceAllString(name, ""), "")
	if strings.HasSuffix(name, "/gateway=all") {
		return
	}
	if r.samples[name] == nil {
		r.names = append(r.names, name)
		r.samples[name] = make(map[string][]float64)
	}
	for i := 2; i < len(words); i += 2 {
		if v, err := strconv.ParseFloat(words[i], 64); err == nil {
			r.samples[name][words[i+1]] = append(r.samples[name][words[i+1]], v)
		}
	}
}

// median returns the median of a figure, NaN if it was not measured.
func (r *results) median(name, unit string) float64 {
	all := slices.Sorted(slices.Values(r.samples[name][unit]))
	if len(all) == 0 {
		return math.NaN()
	}
	return (all[len(all)/2] + all[(len(all)-1)/2]) / 2
}

// A load of BenchmarkE2E, and the gateways that it was put on.
type load struct {
	name     string // "load=tcp/dir=6to4/streams=1"
	gateways []string
}

// loads lists what BenchmarkE2E measured.
func (r *results) loads() (all []load) {
	for _, name := range r.names {
		name, ok := strings.CutPrefix(name, "E2E/")
		name, gateway, found := strings.Cut(name, "/gateway=")
		if !ok || !found {
			continue
		}
		i := slices.IndexFunc(all, func(l load) bool { return l.name == name })
		if i < 0 {
			i = len(all)
			all = append(all, load{name: name})
		}
		all[i].gateways = append(all[i].gateways, gateway)
	}
	return all
}

// at returns the median of what a load did on a gateway.
func (r *results) at(load, gateway, unit string) float64 {
	return r.median("E2E/"+load+"/gateway="+gateway, unit)
}

// title puts a load into words.
func (l *load) title() string {
	v := make(map[string]string)
	for part := range strings.SplitSeq(l.name, "/") {
		key, value, _ := strings.Cut(part, "=")
		v[key] = value
	}
	switch v["load"] {
	case "tcp":
		if v["streams"] == "1" {
			return "TCP " + v["dir"] + ", one stream"
		}
		return "TCP " + v["dir"] + ", " + v["streams"] + " streams"
	case "udp":
		cards := map[string]string{"gro": ", card", "gro-forwarding": ", UDP GRO"}
		return "UDP " + v["dir"] + ", " + v["size"] + " bytes" + cards[v["cards"]]
	case "request":
		return "request of " + v["size"] + " byte"
	}
	return l.name
}
