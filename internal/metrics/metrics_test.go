package metrics

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/status"
)

func sample() *status.Report {
	return &status.Report{
		Version: "1.0 (steppe)",
		Started: time.UnixMilli(1_800_000_000_500),
		Device: status.Device{
			Name: "nat\xff64", Present: true, Up: true, MTU: 1500, Workers: 2,
			Offloads: []string{"checksum", "tso"}, Refused: []uint64{0, 7}, Foreign: 3,
		},
		Packets: []status.Count{
			{Direction: "4to6", Verdict: "forward", Reason: "translated", Packets: 10, Bytes: 1000},
			{Direction: "6to4", Verdict: "drop", Reason: "bad-header", Packets: 1, Bytes: 20},
		},
		FastPath: &status.FastPath{
			On: true, Kernel: status.Share{Packets: 9, Bytes: 800}, Daemon: status.Share{Packets: 4, Bytes: 500},
			Counts: []status.FastCount{
				{Direction: "4to6", Reason: "by-host", Translated: true, Packets: 9, Segments: 99, Bytes: 800},
				{Direction: "6to4", Reason: "unkn\xffwn", Packets: 3, Segments: 4, Bytes: 70},
			},
		},
		ErrorsHeldBack: 5, MTUErrorsHeldBack: 2,
		MSSClamp: 1440,
		Helper:   &status.Helper{PID: 8, Alive: true},
		Pool:     &status.Pool{Size: 254, Held: 1, Dormant: 2, Refused: 3},
		Shared:   sampleShared(),
		CLAT:     sampleCLAT(),
		Maps:     status.Maps{Config: 1, MapFile: 2},
		Reloads:  status.Reloads{OK: 4, Failed: 6},
	}
}

func TestCollector(t *testing.T) {
	c := &collector{sample}
	assert.NoError(t, testutil.CollectAndCompare(c, strings.NewReader(`
# HELP steppe_packets_total Packets that came in, by what became of them.
# TYPE steppe_packets_total counter
steppe_packets_total{direction="4to6",reason="translated",verdict="forward"} 10
steppe_packets_total{direction="6to4",reason="bad-header",verdict="drop"} 1
# HELP steppe_bytes_total Bytes of these packets as they came in, IP headers included.
# TYPE steppe_bytes_total counter
steppe_bytes_total{direction="4to6",reason="translated",verdict="forward"} 1000
steppe_bytes_total{direction="6to4",reason="bad-header",verdict="drop"} 20
# HELP steppe_icmp_errors_held_back_total ICMP errors that the rate limit kept from being sent.
# TYPE steppe_icmp_errors_held_back_total counter
steppe_icmp_errors_held_back_total 5
# HELP steppe_icmp_mtu_errors_held_back_total Those among them that would have told an MTU.
# TYPE steppe_icmp_mtu_errors_held_back_total counter
steppe_icmp_mtu_errors_held_back_total 2
# HELP steppe_fast_path_on Whether the kernel translates plain packets.
# TYPE steppe_fast_path_on gauge
steppe_fast_path_on 1
# HELP steppe_translated_packets_total Packets translated, by the path: kernel or daemon. A super-packet is one.
# TYPE steppe_translated_packets_total counter
steppe_translated_packets_total{path="daemon"} 4
steppe_translated_packets_total{path="kernel"} 9
# HELP steppe_translated_bytes_total Bytes of these packets as they came in, IP headers included.
# TYPE steppe_translated_bytes_total counter
steppe_translated_bytes_total{path="daemon"} 500
steppe_translated_bytes_total{path="kernel"} 800
# HELP steppe_fast_path_packets_total Packets at the fast path: translated by-host or by-session, or left to the daemon.
# TYPE steppe_fast_path_packets_total counter
steppe_fast_path_packets_total{direction="4to6",reason="by-host"} 9
steppe_fast_path_packets_total{direction="6to4",reason="unkn?wn"} 3
# HELP steppe_fast_path_segments_total The same, a super-packet as many as it has segments.
# TYPE steppe_fast_path_segments_total counter
steppe_fast_path_segments_total{direction="4to6",reason="by-host"} 99
steppe_fast_path_segments_total{direction="6to4",reason="unkn?wn"} 4
# HELP steppe_fast_path_bytes_total Bytes of these packets as they came in, IP headers included.
# TYPE steppe_fast_path_bytes_total counter
steppe_fast_path_bytes_total{direction="4to6",reason="by-host"} 800
steppe_fast_path_bytes_total{direction="6to4",reason="unkn?wn"} 70
# HELP steppe_device_info The TUN device, with the offloads that the kernel granted.
# TYPE steppe_device_info gauge
steppe_device_info{device="nat?64",offloads="checksum tso"} 1
# HELP steppe_device_up Whether the device is there and up.
# TYPE steppe_device_up gauge
steppe_device_up 1
# HELP steppe_device_mtu_bytes MTU of the device.
# TYPE steppe_device_mtu_bytes gauge
steppe_device_mtu_bytes 1500
# HELP steppe_tcp_mss_clamp_bytes What the MSS of TCP connections is lowered to.
# TYPE steppe_tcp_mss_clamp_bytes gauge
steppe_tcp_mss_clamp_bytes 1440
# HELP steppe_device_foreign_queues Queues of the device that other programs have open.
# TYPE steppe_device_foreign_queues gauge
steppe_device_foreign_queues 3
# HELP steppe_helper_up Whether the privileged helper, which attaches to the device and sets it up, is there.
# TYPE steppe_helper_up gauge
steppe_helper_up 1
# HELP steppe_workers Workers that translate packets, one for each queue of the device.
# TYPE steppe_workers gauge
steppe_workers 2
# HELP steppe_queue_refused_packets_total Packets that the kernel did not take from a queue.
# TYPE steppe_queue_refused_packets_total counter
steppe_queue_refused_packets_total{queue="0"} 0
steppe_queue_refused_packets_total{queue="1"} 7
# HELP steppe_pool_addresses Addresses of the dynamic pool that can be leased.
# TYPE steppe_pool_addresses gauge
steppe_pool_addresses 254
# HELP steppe_leases Leases of the dynamic pool.
# TYPE steppe_leases gauge
steppe_leases{state="dormant"} 2
steppe_leases{state="held"} 1
# HELP steppe_lease_requests_refused_total Requests for a lease that were refused.
# TYPE steppe_lease_requests_refused_total counter
steppe_lease_requests_refused_total 3
# HELP steppe_maps Explicit maps, by where they are written.
# TYPE steppe_maps gauge
steppe_maps{source="config"} 1
steppe_maps{source="map-file"} 2
# HELP steppe_reloads_total Reloads, by result.
# TYPE steppe_reloads_total counter
steppe_reloads_total{result="failed"} 6
steppe_reloads_total{result="ok"} 4
# HELP steppe_start_time_seconds When the daemon started, in seconds since 1970.
# TYPE steppe_start_time_seconds gauge
steppe_start_time_seconds 1.8000000005e+09
`), "steppe_packets_total", "steppe_bytes_total", "steppe_icmp_errors_held_back_total", "steppe_icmp_mtu_errors_held_back_total", "steppe_device_info",
		"steppe_fast_path_on", "steppe_translated_packets_total", "steppe_translated_bytes_total",
		"steppe_fast_path_packets_total", "steppe_fast_path_segments_total", "steppe_fast_path_bytes_total",
		"steppe_device_up", "steppe_device_mtu_bytes", "steppe_tcp_mss_clamp_bytes", "steppe_device_foreign_queues", "steppe_helper_up", "steppe_workers", "steppe_queue_refused_packets_total",
		"steppe_pool_addresses", "steppe_leases", "steppe_lease_requests_refused_total", "steppe_maps",
		"steppe_reloads_total", "steppe_start_time_seconds"))

	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	problems, err := testutil.GatherAndLint(reg)
	assert.NoError(t, err)
	assert.Empty(t, problems)

	down := sample()
	down.Device.Present, down.Pool, down.MSSClamp = false, nil, 0
	down.FastPath = &status.FastPath{Off: "fast-path off"}
	c.tell = func() *status.Report { return down }
	assert.NoError(t, testutil.CollectAndCompare(c, strings.NewReader(`
# HELP steppe_device_up Whether the device is there and up.
# TYPE steppe_device_up gauge
steppe_device_up 0
# HELP steppe_fast_path_on Whether the kernel translates plain packets.
# TYPE steppe_fast_path_on gauge
steppe_fast_path_on 0
`), "steppe_device_up", "steppe_tcp_mss_clamp_bytes", "steppe_fast_path_on", "steppe_fast_path_packets_total", "steppe_leases", "steppe_pool_addresses"))
}

// serveSample serves on a port of the loopback interface.
func serveSample(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- Serve(l, sample) }()
	t.Cleanup(func() {
		l.Close()
		assert.NoError(t, <-ended)
	})
	return l.Addr().String()
}

func get(t *testing.T, method, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	require.NoError(t, err)
	resp, err := (&http.Client{Timeout: time.Minute}).Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(b)
}

func TestServe(t *testing.T) {
	addr := serveSample(t)
	code, body := get(t, "GET", "http://"+addr+"/metrics")
	assert.Equal(t, http.StatusOK, code)
	assert.Contains(t, body, `steppe_packets_total{direction="4to6",reason="translated",verdict="forward"} 10`+"\n")
	assert.Contains(t, body, "\ngo_goroutines ")
	assert.Contains(t, body, "\nprocess_cpu_seconds_total ")
	assert.Contains(t, body, `steppe_build_info{goversion="go`)
	for _, test := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/", 404}, {"GET", "/metrics/", 404}, {"GET", "/metrics/../etc/passwd", 404}, {"GET", "/debug/pprof/", 404},
		{"POST", "/metrics", 405}, {"HEAD", "/metrics", 405}, {"PUT", "/metrics", 405}, {"DELETE", "/", 404},
	} {
		code, body := get(t, test.method, "http://"+addr+test.path)
		assert.Equal(t, test.want, code, test)
		assert.Less(t, len(body), 100, test)
	}
}

// Clients that send garbage, too much or nothing do not keep others out.
func TestBadClients(t *testing.T) {
	addr := serveSample(t)
	dial := func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(time.Minute))
		return conn
	}
	for _, test := range []struct{ request, want string }{
		{"\x00\xff\x16\x03\x01nonsense\r\n\r\n", "HTTP/1.1 400 Bad Request"},
		{"GET /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request: missing required Host header"},
		{"GET /metrics HTTP/9.9\r\nHost: x\r\n\r\n", "HTTP/1.1 505 HTTP Version Not Supported: unsupported protocol version"},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 404 Not Found"},
		{"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10), "HTTP/1.1 431 Request Header Fields Too Large"},
		{"GET " + strings.Repeat("/", 64<<10), "HTTP/1.1 431 Request Header Fields Too Large"},
	} {
		conn := dial()
		conn.Write([]byte(test.request))
		line, err := bufio.NewReader(conn).ReadString('\n')
		assert.NoError(t, err, "%.40q", test.request)
		assert.Equal(t, test.want, strings.TrimSpace(line), "%.40q", test.request)
	}

	// Sixty silent ones, some of which stop half-way, used up all sixteen places for
	// as long as the times allow, and again when they came back. Now the slowest goes.
	took := askTime
	for try := 0; try < 3 && took >= askTime; try++ { // a machine under load may be that slow by itself
		for i := range 2 * maxClients {
			conn := dial()
			switch i % 3 {
			case 0:
				fmt.Fprint(conn, "GET /metrics HTTP/1.1\r\nHost:")
			case 1:
				fmt.Fprint(conn, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n") // and reads no answer
			}
		}
		start := time.Now()
		code, _ := get(t, "GET", "http://"+addr+"/metrics")
		assert.Equal(t, http.StatusOK, code)
		took = time.Since(start)
	}
	assert.Less(t, took, askTime, "it had to wait until the time of others was up")
}

// The manual page has every metric of ours, with its labels.
func TestManual(t *testing.T) {
	page, err := os.ReadFile("../../docs/man/tayga.8")
	require.NoError(t, err)
	reg := prometheus.NewRegistry()
	reg.MustRegister(&collector{sample})
	families, err := reg.Gather()
	require.NoError(t, err)
	named := regexp.MustCompile(`steppe_[a-z_]+`).FindAllString(string(page), -1)
	assert.Len(t, named, len(families))
	for _, f := range families {
		assert.Contains(t, named, f.GetName())
		for _, l := range f.GetMetric()[0].GetLabel() {
			assert.Regexp(t, `\.BR? .*\b`+l.GetName()+`\b`, string(page))
		}
	}
}

// The dashboard asks for nothing that is not served.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../../docs/grafana/steppe.json")
	require.NoError(t, err)
	var dashboard struct {
		Inputs []struct{ Name string } `json:"__inputs"`
		Title  string
		Panels []struct {
			ID      int
			Title   string
			Type    string
			GridPos struct{ X, Y, W, H int }
			Targets []struct {
				Expr       string
				Datasource struct{ UID string }
			}
		}
	}
	require.NoError(t, json.Unmarshal(text, &dashboard))
	require.Len(t, dashboard.Inputs, 1, "what an import asks for")
	reg := prometheus.NewRegistry()
	reg.MustRegister(&collector{sample}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	families, err := reg.Gather()
	require.NoError(t, err)
	labels := make(map[string]map[string]bool) // of each metric
	for _, f := range families {
		labels[f.GetName()] = map[string]bool{"job": true, "instance": true}
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels[f.GetName()][l.GetName()] = true
		}
	}
	used := make(map[string]bool)
	metric := regexp.MustCompile(`\b((?:steppe|go|process)_[a-z_]+)\{([^}]*)\}`)
	label := regexp.MustCompile(`([a-z_]+)=`)
	for _, p := range dashboard.Panels {
		require.NotEmpty(t, p.Targets, p.Title)
		assert.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		for _, target := range p.Targets {
			assert.Equal(t, "${"+dashboard.Inputs[0].Name+"}", target.Datasource.UID)
			found := metric.FindAllStringSubmatch(target.Expr, -1)
			require.NotEmpty(t, found, target.Expr)
			for _, f := range found {
				require.Contains(t, labels, f[1], p.Title)
				used[f[1]] = true
				for _, l := range label.FindAllStringSubmatch(f[2], -1) {
					assert.Contains(t, labels[f[1]], l[1], target.Expr)
				}
			}
			by := regexp.MustCompile(`by \(([^)]*)\)`).FindStringSubmatch(target.Expr)
			for _, l := range strings.Split(append(by, "", "")[1], ", ") {
				assert.True(t, l == "" || labels[found[0][1]][l], target.Expr)
			}
		}
	}
	for name := range labels {
		if strings.HasPrefix(name, "steppe_") {
			assert.Contains(t, used, name, "shown nowhere")
		}
	}
}
