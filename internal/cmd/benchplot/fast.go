package main

import (
	"fmt"
	"slices"
)

// fast is the gateway on which the kernel translates, beside steppe, where the daemon does.
const fast = "steppe/fast"

// fastTargets are those of the fast path.
func (r *results) fastTargets() (all []target) {
	most := func(what string, limit float64, form string, value float64) {
		all = append(all, target{what, value, false, limit, form})
	}
	least := func(what string, limit, value float64) {
		all = append(all, target{what, value, true, limit, "%.2f ×"})
	}
	ratio := func(load, base, unit string) float64 { return r.at(load, fast, unit) / r.at(load, base, unit) }
	for _, dir := range []string{"6to4", "4to6"} {
		one, four := "load=tcp/dir="+dir+"/streams=1", "load=tcp/dir="+dir+"/streams=4"
		least("fast path: TCP "+dir+", one stream, against kernel forwarding", 0.85, ratio(one, "kernel", "bit/s"))
		least("… against the daemon", 1.7, ratio(one, "steppe", "bit/s"))
		least("fast path: TCP "+dir+", four streams, against kernel forwarding", 0.90, ratio(four, "kernel", "bit/s"))
		least("… against Debian's tayga", 20, ratio(four, "tayga", "bit/s"))
		most("fast path: TCP "+dir+", busy seconds of the machine per GB, against kernel forwarding", 1.25, "%.2f ×", ratio(one, "kernel", "busy-s/GB"))
		for _, size := range []struct{ name, words string }{{"64", "64"}, {"1400", "1,400"}} {
			load := "load=udp/dir=" + dir + "/size=" + size.name
			least("fast path: UDP "+dir+", "+size.words+" bytes delivered, against the daemon, less its spread",
				r.spread(load, "steppe", "packets/s"), ratio(load, "steppe", "packets/s"))
		}
		for _, streams := range []struct{ name, words string }{{"1", "one stream"}, {"4", "four streams"}} {
			load := "Shared/load=tcp/dir=" + dir + "/streams=" + streams.name + "/gateway="
			least("fast path: TCP "+dir+", "+streams.words+", shared address against own", 0.9, r.median(load+"stateful/fast", "bit/s")/r.median(load+"stateless/fast", "bit/s"))
		}
	}
	most("fast path: latency, median, against kernel forwarding", 1.25, "%.2f ×", ratio("load=request/size=1", "kernel", "p50-ns"))

	alone := func(kind string, n int, packets string) float64 {
		return r.median(fmt.Sprintf("Fastpath/%s=%d/packets=%s", kind, n, packets), "ns/packet")
	}
	most("program alone, 1,000 hosts", 130, "%.0f ns", alone("hosts", 1000, "same"))
	most("… 1,000,000 hosts at random", 600, "%.0f ns", alone("hosts", million, "any"))
	most("… 1,000 sessions against hosts", 1.5, "%.2f ×", alone("sessions", 1000, "same")/alone("hosts", 1000, "same"))
	most("… 1,000,000 sessions against hosts", 1.8, "%.2f ×", alone("sessions", million, "any")/alone("hosts", million, "any"))
	return all
}

// spread returns the lower quartile of what a load did on a gateway, in proportion to the
// median: what is less is not by chance.
func (r *results) spread(load, gateway, unit string) float64 {
	all := slices.Sorted(slices.Values(r.samples["E2E/"+load+"/gateway="+gateway][unit]))
	if len(all) == 0 {
		return 1
	}
	return all[len(all)/4] / r.at(load, gateway, unit)
}
