package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// scrape is what Prometheus would read: values by name and labels, as written.
type scrape map[string]float64

// sample is a line of the text format.
var sample = regexp.MustCompile(`^([a-z0-9_]+(?:\{.*\})?) (\S+)$`)

// byKernel returns how many packets the fast path has translated, which the device does not
// count.
func (s scrape) byKernel() uint64 { return s.sum("steppe_translated_packets_total", `path="kernel"`) }

// scrape asks a daemon on this host for its metrics.
func (b *bench) scrape() scrape {
	b.Helper()
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
			return b.host.Dial(network, addr, patience)
		},
	}}
	resp, err := client.Get("http://127.0.0.1:9464/metrics")
	require.NoError(b, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(b, err)
	require.Equal(b, http.StatusOK, resp.StatusCode, string(text))
	s := make(scrape)
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSuffix(line, "\n"); line[0] == '#' {
			continue
		}
		f := sample.FindStringSubmatch(line)
		require.NotNil(b, f, line)
		if s[f[1]], err = strconv.ParseFloat(f[2], 64); err != nil {
			b.Fatal(line)
		}
	}
	return s
}

// uncounted returns how many packets more the kernel has handed to the daemon than
// the metrics count.
func (b *bench) uncounted() (n uint64) {
	b.Helper()
	b.eventually(func() bool {
		before, err := b.host.Counters("nat64")
		require.NoError(b, err)
		s := b.scrape()
		in := s.sum("steppe_packets_total") - s.byKernel()
		after, err := b.host.Counters("nat64")
		require.NoError(b, err)
		s = b.scrape()
		again := s.sum("steppe_packets_total") - s.byKernel()
		n = after.Sent - in
		return before == after && in == again
	}, func() string { return "packets all the time" })
	return n
}

// sum adds up what begins with name and has all these labels.
func (s scrape) sum(name string, labels ...string) (n uint64) {
	for key, value := range s {
		fits := strings.HasPrefix(key, name+"{")
		for _, l := range labels {
			fits = fits && strings.Contains(key, l)
		}
		if fits {
			n += uint64(value)
		}
	}
	return n
}

// Under all kinds of traffic at once the metrics never go back and agree with the
// kernel, which counts what it handed to the daemon; afterwards they are, to the
// packet, what SIGUSR1 logs and --status tells.
func TestMetricsAddUp(t *testing.T) {
	v := newVillage(t, villageConf+"metrics-listen 127.0.0.1:9464\nstatus-socket DIR/sock\n")
	p := v.launch()
	require.NoError(t, v.host.WaitRunning("nat64", patience))
	v.hosts()
	probes := v.uncounted() // by which the daemon has tried the device
	assert.LessOrEqual(t, probes, uint64(8))
	_, err := v.server.ServeTransfers(":80")
	require.NoError(t, err)
	raw, err := v.host.OpenSender("nat64", nil) // what is not even a packet
	require.NoError(t, err)

	stop := make(chan struct{})
	var load sync.WaitGroup
	during := func(what func() error) {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if err := what(); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	ping := func(h *netlab.Host, to string, e netlab.Echo) {
		e.Timeout = 50 * time.Millisecond
		h.Ping(netip.MustParseAddr(to), e) // many of these have no answer
	}
	during(func() error {
		_, err := v.client.Download("["+serverIn6+"]:80", 4<<20, time.Minute)
		return err
	})
	during(func() error {
		_, err := v.client.Upload("["+serverIn6+"]:80", 4<<20, time.Minute)
		return err
	})
	during(func() error {
		ping(v.server, client4, netlab.Echo{Size: 2500})
		ping(v.server, "198.51.99.9", netlab.Echo{Size: 56})  // no such host
		ping(v.server, "198.51.99.1", netlab.Echo{Size: 100}) // the daemon
		ping(v.client, "2001:db8:1::64", netlab.Echo{Size: 100})
		ping(v.client, "64:ff9b::10.0.0.1", netlab.Echo{Size: 56})       // private
		ping(v.client, serverIn6, netlab.Echo{Size: 56, HopLimit: 2})    // ends at the daemon
		ping(v.server, client4, netlab.Echo{Size: 1400, HopLimit: 2})    // this one, too
		ping(v.server, client4, netlab.Echo{Size: 1472, HopLimit: 60})   // to be cut
		_, err := raw.Send([]byte{0x60, 0, 0, 0, 0, 8, 17, 64, 1, 2, 3}) // cut short
		return err
	})
	n := 0
	during(func() error {
		n++
		time.Sleep(time.Millisecond)
		return v.speak(n % 200)
	})

	workers := v.ask(status.Summary).Device.Workers
	last := make(scrape)
	scrapes := 0
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); scrapes++ {
		before, err := v.host.Counters("nat64")
		require.NoError(t, err)
		s := v.scrape()
		after, err := v.host.Counters("nat64")
		require.NoError(t, err)
		in := s.sum("steppe_packets_total") + probes - s.byKernel()
		assert.LessOrEqual(t, in, after.Sent)
		assert.GreaterOrEqual(t, in+uint64(workers*batchSize), before.Sent, "more than a batch for each worker is on its way")
		for key, value := range last {
			if name, _, _ := strings.Cut(key, "{"); strings.HasSuffix(name, "_total") {
				require.GreaterOrEqual(t, s[key], value, key)
			}
		}
		last = s
	}
	close(stop)
	load.Wait()
	require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGHUP))
	v.await(p, "Received SIGHUP, reloading\n")

	// The kernel still speaks to its neighbours now and then. So look until it did
	// not while we looked.
	var s scrape
	var r *status.Report
	logged := ""
	v.eventually(func() bool {
		s, r = v.scrape(), v.ask(status.Leases)
		mark := len(p.Output())
		require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGUSR1))
		v.eventually(func() bool { return strings.Contains(p.Output()[mark:], "dynamic pool: ") }, p.Output)
		logged = p.Output()[mark:]
		return s.sum("steppe_packets_total") == v.scrape().sum("steppe_packets_total")
	}, func() string { return "no rest" })
	assert.Equal(t, probes, v.uncounted(), "packets that the kernel handed over and no counter has")
	kernel, err := v.host.Counters("nat64")
	require.NoError(t, err)

	all := s.sum("steppe_packets_total")
	split := uint64(0)
	for _, verdict := range []string{"forward", "reply", "drop", "split"} {
		n := s.sum("steppe_packets_total", `verdict="`+verdict+`"`)
		assert.NotZero(t, n, verdict)
		split += n
	}
	assert.Equal(t, all, split, "in = forwarded + replied + dropped + split")
	assert.Equal(t, all, s.sum("steppe_packets_total", `direction="4to6"`)+s.sum("steppe_packets_total", `direction="6to4"`))
	out := s.sum("steppe_packets_total", `verdict="forward"`) + s.sum("steppe_packets_total", `verdict="reply"`)
	cut := s.sum("steppe_packets_total", `verdict="split"`)
	assert.GreaterOrEqual(t, kernel.Received+s.byKernel(), out+2*cut-s.sum("steppe_queue_refused_packets_total"))

	var told uint64
	for _, c := range r.Packets {
		labels := fmt.Sprintf(`{direction="%s",reason="%s",verdict="%s"}`, c.Direction, c.Reason, c.Verdict)
		assert.EqualValues(t, c.Packets, s["steppe_packets_total"+labels], labels)
		assert.EqualValues(t, c.Bytes, s["steppe_bytes_total"+labels], labels)
		assert.Contains(t, logged, fmt.Sprintf("%s %s %s: %d packets, %d octets\n", c.Direction, c.Verdict, c.Reason, c.Packets, c.Bytes))
		told += c.Packets
	}
	assert.Equal(t, all, told)
	assert.Equal(t, len(r.Packets), strings.Count(logged, " octets\n"))
	assert.Contains(t, logged, fmt.Sprintf("dynamic pool: %v addresses, %v held, %v dormant, %v requests refused\n",
		s["steppe_pool_addresses"], s[`steppe_leases{state="held"}`], s[`steppe_leases{state="dormant"}`], s["steppe_lease_requests_refused_total"]))
	assert.EqualValues(t, r.Pool.Held, s[`steppe_leases{state="held"}`])
	assert.Equal(t, r.Pool.Held, len(r.LeaseList.Entries))
	assert.Equal(t, r.Pool.Size, r.Pool.Held, "more hosts than addresses")
	assert.NotZero(t, r.Pool.Refused)
	assert.EqualValues(t, r.Pool.Refused, s["steppe_lease_requests_refused_total"])
	assert.EqualValues(t, 1, s[`steppe_reloads_total{result="ok"}`])
	assert.EqualValues(t, 0, s[`steppe_reloads_total{result="failed"}`])
	assert.EqualValues(t, 1, s[`steppe_maps{source="config"}`])
	assert.EqualValues(t, 1, s["steppe_device_up"])
	assert.Contains(t, s, "go_goroutines")
	assert.Contains(t, s, "process_resident_memory_bytes")
	require.NoError(t, p.Stop(patience))
	t.Logf("%d scrapes, %d packets of %d kinds", scrapes, all, len(r.Packets))
}

// Clients of all kinds are no concern of the packets'.
func TestMetricsClients(t *testing.T) {
	b := newBench(t, gatewayConf+"metrics-listen 127.0.0.1:9464\n")
	p := b.launch("-u", "nobody", "-g", "nogroup")
	b.connect()
	for range 20 { // silent ones, more than there is room for
		conn, err := b.host.Dial("tcp", "127.0.0.1:9464", patience)
		require.NoError(t, err)
		defer conn.Close()
	}
	for range 100 {
		require.NoError(t, b.ping("192.168.255.1"))
	}
	assert.EqualValues(t, 100, b.scrape()[`steppe_packets_total{direction="4to6",reason="echo-reply",verdict="reply"}`])
	require.NoError(t, p.Stop(patience))
}

// An address that cannot be had ends the daemon, with the reason.
func TestMetricsListenFails(t *testing.T) {
	b := newBench(t, gatewayConf+"metrics-listen 203.0.113.1:9464\n")
	out, _, code := b.tayga("-d", "-c", b.conf)
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "metrics-listen: listen tcp 203.0.113.1:9464: bind: cannot assign requested address\n")
	assert.Empty(t, b.devices())
}
