package bench

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"
)

var (
	rounds  = flag.Int("rounds", 5, "`number` of rounds in which BenchmarkE2E measures every gateway")
	seconds = flag.Float64("seconds", 2, "`time` that a measurement of BenchmarkE2E takes")
)

// BenchmarkE2E carries real traffic from an IPv6-only client to a server, by way
// of a gateway on which these take turns: the kernel's own forwarding from IPv6
// to IPv6, our binary without and with the fast path (steppe and steppe/fast), and Debian's
// tayga where it is installed. All gateways
// are measured in every round, so that whatever else the machine does meets all
// of them. A line that ends in round=N is one measurement; the line that ends in
// gateway=all has the medians of all rounds side by side, and their ratios.
//
// It needs root and /dev/net/tun.
func BenchmarkE2E(b *testing.B) {
	x := newLab(b)
	x.addKernel()
	own := build(b)
	x.addOurs(b, "steppe", own, false)
	x.addOurs(b, "steppe/fast", own, true)
	if _, err := os.Stat(*peerBinary); err == nil {
		x.addTranslator(b, "tayga", *peerBinary)
	} else {
		fmt.Printf("--- no tayga to compare with: %v\n", err)
	}
	for _, v := range also {
		if v.binary == "" {
			v.binary = own
		}
		x.addTranslator(b, v.name, v.binary, v.directives...)
	}
	for _, l := range loads {
		samples := make(map[*way][]sample)
		for round := range *rounds {
			for _, w := range x.ways {
				s := x.sample(b, fmt.Sprintf("%s/gateway=%s/round=%d", l.name, w.name, round+1), l, w)
				if s != nil {
					samples[w] = append(samples[w], s)
				}
			}
		}
		if len(samples) > 0 {
			b.Run(l.name+"/gateway=all", func(b *testing.B) { x.report(b, l, samples) })
		}
	}
}

// BenchmarkQueues carries TCP through our binary with 1, 2 and 4 queues of the
// device, each of them with a worker, in turn.
func BenchmarkQueues(b *testing.B) {
	x := newLab(b)
	own := build(b)
	queues := []int{1, 2, 4}
	for _, n := range queues {
		x.addTranslator(b, fmt.Sprintf("queues-%d", n), own, fmt.Sprintf("workers %d", n), pathOff)
	}
	for _, l := range []load{tcpLoad("6to4", 4), tcpLoad("4to6", 4)} {
		for round := range *rounds {
			for i, n := range queues {
				x.sample(b, fmt.Sprintf("%s/queues=%d/round=%d", l.name, n, round+1), l, x.ways[i])
			}
		}
	}
}

// sample is one measurement, nil if it is not wanted or failed.
func (x *lab) sample(b *testing.B, name string, l load, w *way) (s sample) {
	b.Run(name, func(b *testing.B) {
		if b.N == 1 { // further calls are for a better mean, which we don't take
			// There are more threads than processors here, all waiting in system
			// calls: none of them should wait for another when it comes back.
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(32))
			err := x.setCards(l.cards)
			if err == nil {
				s, err = l.run(x, w, time.Duration(*seconds*float64(time.Second)))
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		report(b, s)
	})
	return s
}

func report(b *testing.B, s sample) {
	b.ReportMetric(0, "ns/op") // which would be the time of the measurement
	for unit, v := range s {
		b.ReportMetric(v, unit)
	}
}

// report sets the medians side by side.
func (x *lab) report(b *testing.B, l load, samples map[*way][]sample) {
	s := make(sample)
	for _, w := range x.ways {
		if len(samples[w]) > 0 {
			s[w.name+"-"+l.unit] = median(samples[w], l.unit)
		}
	}
	for _, base := range []string{"kernel", "steppe", "stateless/fast", "masquerade", "tayga"} {
		for _, w := range x.ways {
			of, ok := s[base+"-"+l.unit]
			v, measured := s[w.name+"-"+l.unit]
			if ok && measured && w.process != nil && w.name != base {
				s[w.name+"/"+base] = v / of
			}
		}
	}
	report(b, s)
}

func median(samples []sample, unit string) float64 {
	var all []float64
	for _, s := range samples {
		all = append(all, s[unit])
	}
	slices.Sort(all)
	return (all[len(all)/2] + all[(len(all)-1)/2]) / 2
}
