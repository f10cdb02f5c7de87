package main

import (
	"fmt"
	"math"
)

// A target is a figure and what it should be.
type target struct {
	what  string
	value float64
	least bool // at least limit, else at most
	limit float64
	form  string // of value and limit
}

func (t *target) measured() bool { return !math.IsNaN(t.value) }

func (t *target) met() bool {
	if t.least {
		return t.value >= t.limit
	}
	return t.value <= t.limit
}

// targets are those for a machine with two cores. CPU and latency are compared
// with Debian's tayga too: the less the better.
func (r *results) targets() (all []target) {
	add := func(what, sign string, limit float64, form string, value float64) {
		all = append(all, target{what, value, sign == "≥", limit, form})
	}
	ratio := func(load, base, unit string) float64 {
		return r.at(load, "steppe", unit) / r.at(load, base, unit)
	}
	for _, dir := range []string{"6to4", "4to6"} {
		one := "load=tcp/dir=" + dir + "/streams=1"
		add("TCP "+dir+", one stream, against Debian's tayga", "≥", 10, "%.1f ×", ratio(one, "tayga", "bit/s"))
		add("TCP "+dir+", one stream, against kernel forwarding", "≥", 0.80, "%.2f ×", ratio(one, "kernel", "bit/s"))
		add("TCP "+dir+", four streams, against Debian's tayga", "≥", 10, "%.1f ×",
			ratio("load=tcp/dir="+dir+"/streams=4", "tayga", "bit/s"))
		add("UDP "+dir+", 64 bytes delivered, against Debian's tayga", "≥", 1.5, "%.2f ×",
			ratio("load=udp/dir="+dir+"/size=64", "tayga", "packets/s"))
		add("UDP "+dir+", 1,400 bytes delivered, against Debian's tayga", "≥", 1.3, "%.2f ×",
			ratio("load=udp/dir="+dir+"/size=1400", "tayga", "packets/s"))
		add("TCP "+dir+", CPU seconds per GB, against Debian's tayga", "≤", 0.125, "%.3f ×", ratio(one, "tayga", "cpu-s/GB"))
	}
	add("latency, median, against Debian's tayga", "≤", 1, "%.2f ×", ratio("load=request/size=1", "tayga", "p50-ns"))

	for _, dir := range []string{"4to6", "6to4"} {
		of := func(size string) float64 { // what is measured includes putting the packet back
			return r.median("Translate/dir="+dir+"/proto=tcp/kind=plain/size="+size, "ns/op") - r.median("Restore", "ns/op")
		}
		add("Translate "+dir+", TCP, 64 bytes, less Restore", "≤", 30, "%.1f ns", of("64"))
		add("… its allocations", "≤", 0, "%.0f", r.median("Translate/dir="+dir+"/proto=tcp/kind=plain/size=64", "allocs/op"))
		add("… 1,400 bytes, against 64", "≤", 1.10, "%.2f ×", of("1400")/of("64"))
		add("… super-packet of 64 KiB, against 64", "≤", 1.25, "%.2f ×", of("64KiB/gso=1400")/of("64"))
		table := func(maps int) float64 {
			return r.median(fmt.Sprintf("Table/dir=%s/maps=%d/workers=1", dir, maps), "ns/op")
		}
		add("table lookup "+dir+", 1,000,000 maps against 10", "≤", 4, "%.1f ×", table(million)/table(10))
	}
	for _, op := range []string{"assign", "host"} {
		pool := func(hosts, goroutines int) float64 {
			return r.median(fmt.Sprintf("Pool/op=%s/hosts=%d/goroutines=%d", op, hosts, goroutines), "packets/s")
		}
		add("pool hit ("+op+"), 1,000,000 hosts against 10", "≤", 3, "%.1f ×", pool(10, 1)/pool(million, 1))
		add("pool hit ("+op+"), 1,000,000 hosts, two goroutines against one", "≥", 1.8, "%.2f ×", pool(million, 2)/pool(million, 1))
	}
	memory := func(leases int) float64 { // whichever is more
		name := fmt.Sprintf("Memory/leases=%d", leases)
		return math.Max(r.median(name, "rss-B"), r.median(name, "busy-rss-B")) / 1e6
	}
	add("resident memory, idle", "≤", 30, "%.1f MB", memory(0))
	add("resident memory, 1,000,000 leases", "≤", 250, "%.1f MB", memory(million))
	add("map-file of 1,000,000 lines: load", "≤", 3, "%.1f s", r.median("MapFile/lines=1000000", "load-s"))
	add("… reload while forwarding: packets lost", "≤", 0, "%.0f", r.median("MapFile/lines=1000000", "reload-lost-packets"))
	return all
}

const million = 1_000_000
