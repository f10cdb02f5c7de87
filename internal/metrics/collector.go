// Package metrics serves the status of a daemon as metrics for Prometheus.
//
//	collector.go  a status.Report as metrics; shared.go what a stateful pool adds, clat.go what
//	              a CLAT adds
//	server.go     the HTTP server, which trusts no client
package metrics

import (
	"runtime"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/steppe-nat64/steppe/internal/plain"
	"github.com/steppe-nat64/steppe/internal/status"
)

// A collector turns a report into metrics, anew for each scrape, so that one
// scrape holds what --status would have told at that moment.
type collector struct{ tell func() *status.Report }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("steppe_"+name, help, labels, nil)
}

var (
	packetsDesc  = desc("packets_total", "Packets that came in, by what became of them.", "direction", "verdict", "reason")
	bytesDesc    = desc("bytes_total", "Bytes of these packets as they came in, IP headers included.", "direction", "verdict", "reason")
	heldBackDesc = desc("icmp_errors_held_back_total", "ICMP errors that the rate limit kept from being sent.")
	mtuHeldDesc  = desc("icmp_mtu_errors_held_back_total", "Those among them that would have told an MTU.")

	fastDesc         = desc("fast_path_on", "Whether the kernel translates plain packets.")
	pathPacketsDesc  = desc("translated_packets_total", "Packets translated, by the path: kernel or daemon. A super-packet is one.", "path")
	pathBytesDesc    = desc("translated_bytes_total", "Bytes of these packets as they came in, IP headers included.", "path")
	fastPacketsDesc  = desc("fast_path_packets_total", "Packets at the fast path: translated by-host or by-session, or left to the daemon.", "direction", "reason")
	fastSegmentsDesc = desc("fast_path_segments_total", "The same, a super-packet as many as it has segments.", "direction", "reason")
	fastBytesDesc    = desc("fast_path_bytes_total", "Bytes of these packets as they came in, IP headers included.", "direction", "reason")

	deviceDesc  = desc("device_info", "The TUN device, with the offloads that the kernel granted.", "device", "offloads")
	upDesc      = desc("device_up", "Whether the device is there and up.")
	mtuDesc     = desc("device_mtu_bytes", "MTU of the device.")
	mssDesc     = desc("tcp_mss_clamp_bytes", "What the MSS of TCP connections is lowered to.")
	workersDesc = desc("workers", "Workers that translate packets, one for each queue of the device.")
	foreignDesc = desc("device_foreign_queues", "Queues of the device that other programs have open.")
	refusedDesc = desc("queue_refused_packets_total", "Packets that the kernel did not take from a queue.", "queue")

	helperDesc = desc("helper_up", "Whether the privileged helper, which attaches to the device and sets it up, is there.")

	poolDesc     = desc("pool_addresses", "Addresses of the dynamic pool that can be leased.")
	leasesDesc   = desc("leases", "Leases of the dynamic pool.", "state")
	requestsDesc = desc("lease_requests_refused_total", "Requests for a lease that were refused.")

	mapsDesc    = desc("maps", "Explicit maps, by where they are written.", "source")
	reloadsDesc = desc("reloads_total", "Reloads, by result.", "result")
	startDesc   = desc("start_time_seconds", "When the daemon started, in seconds since 1970.")
	buildDesc   = desc("build_info", "Version of the daemon and of the Go that built it.", "version", "goversion")
)

// Describe sends nothing, which makes this an unchecked collector: what there is
// to collect depends on the configuration and on what has happened.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect makes a report and sends it as metrics.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	r, o := c.tell(), output(out)
	count, gauge := o.count, o.gauge

	for _, p := range r.Packets {
		count(packetsDesc, p.Packets, p.Direction, p.Verdict, p.Reason)
		count(bytesDesc, p.Bytes, p.Direction, p.Verdict, p.Reason)
	}
	count(heldBackDesc, r.ErrorsHeldBack)
	count(mtuHeldDesc, r.MTUErrorsHeldBack)

	if r.FastPath != nil {
		o.fastPath(r.FastPath)
	}

	gauge(deviceDesc, 1, r.Device.Name, strings.Join(r.Device.Offloads, " "))
	up := 0.0
	if r.Device.Present && r.Device.Up {
		up = 1
	}
	gauge(upDesc, up)
	gauge(mtuDesc, float64(r.Device.MTU))
	if r.MSSClamp > 0 {
		gauge(mssDesc, float64(r.MSSClamp))
	}
	gauge(foreignDesc, float64(r.Device.Foreign))
	gauge(workersDesc, float64(r.Device.Workers))
	for i, n := range r.Device.Refused {
		count(refusedDesc, n, strconv.Itoa(i))
	}

	if h := r.Helper; h != nil {
		up := 0.0
		if h.Alive {
			up = 1
		}
		gauge(helperDesc, up)
	}
	if p := r.Pool; p != nil {
		gauge(poolDesc, float64(p.Size))
		gauge(leasesDesc, float64(p.Held), "held")
		gauge(leasesDesc, float64(p.Dormant), "dormant")
		count(requestsDesc, p.Refused)
	}
	if r.Shared != nil {
		o.shared(r.Shared)
	}
	if r.CLAT != nil {
		o.clat(r.CLAT)
	}
	gauge(mapsDesc, float64(r.Maps.Config), "config")
	gauge(mapsDesc, float64(r.Maps.MapFile), "map-file")
	count(reloadsDesc, r.Reloads.OK, "ok")
	count(reloadsDesc, r.Reloads.Failed, "failed")
	gauge(startDesc, float64(r.Started.UnixMilli())/1000)
	gauge(buildDesc, 1, r.Version, runtime.Version())
}

// fastPath sends what the fast path has done.
func (o output) fastPath(f *status.FastPath) {
	on := 0.0
	if f.On {
		on = 1
	}
	o.gauge(fastDesc, on)
	for path, s := range map[string]status.Share{"kernel": f.Kernel, "daemon": f.Daemon} {
		o.count(pathPacketsDesc, s.Packets, path)
		o.count(pathBytesDesc, s.Bytes, path)
	}
	for _, c := range f.Counts {
		o.count(fastPacketsDesc, c.Packets, c.Direction, c.Reason)
		o.count(fastSegmentsDesc, c.Segments, c.Direction, c.Reason)
		o.count(fastBytesDesc, c.Bytes, c.Direction, c.Reason)
	}
}

// An output takes metrics.
type output chan<- prometheus.Metric

func (o output) count(d *prometheus.Desc, n uint64, labels ...string) {
	o.send(d, prometheus.CounterValue, float64(n), labels)
}

func (o output) gauge(d *prometheus.Desc, value float64, labels ...string) {
	o.send(d, prometheus.GaugeValue, value, labels)
}

func (o output) send(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels []string) {
	for i := range labels {
		labels[i] = plain.Line(labels[i]) // the kernel takes any bytes for a device's name
	}
	m, err := prometheus.NewConstMetric(d, kind, value, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(d, err)
	}
	o <- m
}
