package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const output = `# Linux 6.1
# two cores
goos: linux
pkg: github.com/steppe-nat64/steppe/bench
BenchmarkE2E/load=tcp/dir=6to4/streams=1/gateway=kernel/round=1-2  1  10e9 bit/s
BenchmarkE2E/load=tcp/dir=6to4/streams=1/gateway=steppe/round=1-2  1  5e9 bit/s  0.5 cpu-s/GB
BenchmarkE2E/load=tcp/dir=6to4/streams=1/gateway=tayga/round=1-2   1  1e9 bit/s  4 cpu-s/GB
BenchmarkE2E/load=tcp/dir=6to4/streams=1/gateway=kernel/round=2-2  1  12e9 bit/s
BenchmarkE2E/load=tcp/dir=6to4/streams=1/gateway=steppe/round=2-2  1  11e9 bit/s  0.3 cpu-s/GB
BenchmarkE2E/load=tcp/dir=6to4/streams=1/gateway=tayga/round=2-2   1  0.5e9 bit/s  4 cpu-s/GB
BenchmarkE2E/load=tcp/dir=6to4/streams=1/gateway=steppe/round=3-2  1  9e9 bit/s  0.9 cpu-s/GB
BenchmarkE2E/load=tcp/dir=6to4/streams=1/gateway=all-2  1  9e9 steppe-bit/s  0.8 steppe/kernel
    e2e_linux_test.go:68: a word in between
BenchmarkE2E/load=request/size=1/gateway=steppe/round=1  1  20000 p50-ns
BenchmarkE2E/load=request/size=1/gateway=tayga/round=1   1  25000 p50-ns
BenchmarkTranslate/dir=4to6/proto=tcp/kind=plain/size=64-2  1000  35.5 ns/op  0 B/op  0 allocs/op
BenchmarkTranslate/dir=4to6/proto=tcp/kind=plain/size=1400-2  1000  36.0 ns/op  0 B/op  0 allocs/op
BenchmarkRestore-2  1000  4.0 ns/op
--- SKIP: BenchmarkMemory: no network laboratory here
PASS
`

func parsed(t *testing.T, text string) *results {
	t.Helper()
	r, err := parse(strings.NewReader(text))
	require.NoError(t, err)
	return r
}

func TestParse(t *testing.T) {
	r := parsed(t, output)
	assert.Equal(t, []string{"Linux 6.1", "two cores"}, r.remarks)
	assert.Len(t, r.names, 8)
	const tcp = "load=tcp/dir=6to4/streams=1"
	assert.Equal(t, 11e9, r.at(tcp, "kernel", "bit/s"), "even number of samples")
	assert.Equal(t, 9e9, r.at(tcp, "steppe", "bit/s"), "odd number of samples")
	assert.True(t, math.IsNaN(r.at(tcp, "kernel", "cpu-s/GB")))
	assert.Equal(t, []load{
		{tcp, []string{"kernel", "steppe", "tayga"}},
		{"load=request/size=1", []string{"steppe", "tayga"}},
	}, r.loads())
}

func TestTables(t *testing.T) {
	var buf bytes.Buffer
	r := parsed(t, output)
	r.writeTables(&buf, r.targets(), r.fastTargets())
	text := buf.String()
	for _, want := range []string{
		"- Linux 6.1\n- two cores\n\n| load",
		"| TCP 6to4, one stream | Gbit/s     |   11.0 |   9.00 |  0.75 |          0.82 |         12.0 |\n",
		"| TCP 6to4, one stream | CPU s/GB   |      – |   0.50 |  4.00 |             – |         0.12 |\n",
		"| request of 1 byte    | µs, median |      – |   20.0 |  25.0 |             – |         0.80 |\n",
		"≥ 10.0 × |   12.0 × | yes ",
		"≥ 0.80 × |   0.82 × | yes ",
		"≤ 0.125 × |  0.125 × | yes ",
		"≤ 1.00 × |   0.80 × | yes ",
		"≤ 30.0 ns |  31.5 ns | no ",
		"≤ 0 |        0 | yes ",
		"≤ 1.10 × |   1.02 × | yes ",
		"≤ 250.0 MB |        – | not measured |\n",
		"6 of ",
	} {
		assert.Contains(t, text, want)
	}
	width := 0
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "|") {
			width = 0
			continue
		}
		n := len([]rune(line))
		if width == 0 {
			width = n
		}
		assert.Equal(t, width, n, line)
	}
}

// fastOutput has the fast path beside the daemon.
const fastOutput = `BenchmarkE2E/load=tcp/dir=6to4/streams=1/gateway=kernel/round=1-2       1  10e9 bit/s  0.30 busy-s/GB
BenchmarkE2E/load=tcp/dir=6to4/streams=1/gateway=steppe/round=1-2       1   5e9 bit/s  0.60 busy-s/GB
BenchmarkE2E/load=tcp/dir=6to4/streams=1/gateway=steppe/fast/round=1-2  1   9e9 bit/s  0.36 busy-s/GB  100 kernel-%
BenchmarkE2E/load=udp/dir=6to4/size=64/gateway=steppe/round=1-2         1  100e3 packets/s
BenchmarkE2E/load=udp/dir=6to4/size=64/gateway=steppe/round=2-2         1   90e3 packets/s
BenchmarkE2E/load=udp/dir=6to4/size=64/gateway=steppe/round=3-2         1  110e3 packets/s
BenchmarkE2E/load=udp/dir=6to4/size=64/gateway=steppe/fast/round=1-2    1   95e3 packets/s
BenchmarkE2E/load=udp/dir=6to4/size=64/cards=gro-forwarding/gateway=kernel/round=1-2       1  250e3 packets/s
BenchmarkE2E/load=udp/dir=6to4/size=64/cards=gro-forwarding/gateway=steppe/fast/round=1-2  1  200e3 packets/s
BenchmarkShared/load=tcp/dir=6to4/streams=1/gateway=stateful/fast/round=1-2    1  8e9 bit/s
BenchmarkShared/load=tcp/dir=6to4/streams=1/gateway=stateless/fast/round=1-2   1 10e9 bit/s
BenchmarkFastpath/hosts=1000/packets=same-2     3000  100 ns/packet
BenchmarkFastpath/sessions=1000/packets=same-2  3000  140 ns/packet
`

func TestFastPath(t *testing.T) {
	var buf bytes.Buffer
	r := parsed(t, fastOutput)
	r.writeTables(&buf, r.fastTargets())
	text := regexp.MustCompile(` +`).ReplaceAllString(buf.String(), " ")
	for _, want := range []string{
		"| load | unit | kernel | steppe | steppe/fast | steppe/kernel | fast/kernel | fast/steppe |\n",
		"| TCP 6to4, one stream | Gbit/s | 10.0 | 5.00 | 9.00 | 0.50 | 0.90 | 1.80 |\n",
		"| TCP 6to4, one stream | busy s/GB | 0.30 | 0.60 | 0.36 | 2.00 | 1.20 | 0.60 |\n",
		"| UDP 6to4, 64 bytes, UDP GRO | 1,000 packets/s | 250 | – | 200 |",
		"kernel forwarding | ≥ 0.85 × | 0.90 × | yes |",
		"against the daemon | ≥ 1.70 × | 1.80 × | yes |",
		"≥ 0.90 × | 0.95 × | yes |",
		"≤ 1.25 × | 1.20 × | yes |",
		"shared address against own | ≥ 0.90 × | 0.80 × | no |",
		"program alone, 1,000 hosts | ≤ 130 ns | 100 ns | yes |",
		"1,000 sessions against hosts | ≤ 1.50 × | 1.40 × | yes |",
	} {
		assert.Contains(t, text, want)
	}
	buf.Reset()
	drawn, err := r.writePlot(&buf)
	require.NoError(t, err)
	require.True(t, drawn)
	assert.Contains(t, buf.String(), "steppe, fast-path off")
	assert.NotContains(t, buf.String(), "UDP GRO", "has no room")
	assert.Contains(t, buf.String(), `width="414"`, "nine tenths of the kernel")
}

// TestSummary: the plot is named as seen from the file, and gateways by what they are.
func TestSummary(t *testing.T) {
	dir := t.TempDir()
	readme, raw := filepath.Join(dir, "README.md"), filepath.Join(dir, "raw")
	for out, want := range map[string]string{
		output: "![throughput of the kernel, steppe and Debian's tayga](bench/plot.svg)\n\n" +
			"| IPv6 to IPv4; IPv4 to IPv6 | kernel forwarding, IPv6 to IPv6 | steppe | Debian's tayga |\n|-\n" +
			"| TCP, one stream, Gbit/s | 11.0; – | 9.00; – | 0.75; – |\n" +
			"| latency, median, µs | – | 20.0 | 25.0 |\n\n- Linux 6.1\n- two cores\n",
		fastOutput: "![throughput of the kernel, steppe and Debian's tayga](bench/plot.svg)\n\n" +
			"| IPv6 to IPv4; IPv4 to IPv6 | kernel forwarding, IPv6 to IPv6 | steppe | steppe, fast-path off |\n|-\n" +
			"| TCP, one stream, Gbit/s | 10.0; – | 9.00; – | 5.00; – |\n" +
			"| UDP, 64 bytes, 1,000 packets/s | –; – | 95.0; – | 100; – |\n\n",
	} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "bench"), 0o755))
		require.NoError(t, os.WriteFile(raw, []byte(out), 0o644))
		require.NoError(t, os.WriteFile(readme, []byte("a\n<!-- summary -->\nold\n<!-- end of summary -->\nz\n"), 0o644))
		require.NoError(t, run(raw, options{svg: filepath.Join(dir, "bench/plot.svg"), summary: readme}))
		text, err := os.ReadFile(readme)
		require.NoError(t, err)
		got := regexp.MustCompile(`(?m)^\|-.*$`).ReplaceAllString(regexp.MustCompile(` +`).ReplaceAllString(string(text), " "), "|-")
		assert.Equal(t, "a\n<!-- summary -->\n"+want+"<!-- end of summary -->\nz\n", got)
	}
}

func TestNothingMeasured(t *testing.T) {
	r := parsed(t, "")
	for _, target := range append(r.targets(), r.fastTargets()...) {
		assert.False(t, target.measured(), target.what)
		assert.False(t, target.met(), "%s: met without a measurement", target.what)
	}
}

func TestPlot(t *testing.T) {
	var buf bytes.Buffer
	drawn, err := parsed(t, output).writePlot(&buf)
	require.NoError(t, err)
	require.True(t, drawn)
	for d := xml.NewDecoder(bytes.NewReader(buf.Bytes())); ; {
		if _, err := d.Token(); err != nil {
			require.ErrorIs(t, err, io.EOF)
			break
		}
	}
	text := buf.String()
	assert.Contains(t, text, `x="170" y="56" width="460"`, "the kernel's bar is the whole")
	assert.Contains(t, text, `x="170" y="69" width="376"`, "ours has 9 elevenths")
	assert.Contains(t, text, "9.00 Gbit/s")
	assert.NotContains(t, text, "request of", "latency is not carried")

	drawn, err = parsed(t, "BenchmarkFlows/flows=1 100 30 ns/op\n").writePlot(io.Discard)
	assert.NoError(t, err)
	assert.False(t, drawn)
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		return path
	}
	raw, plot := file("raw", output), filepath.Join(dir, "plot.svg")
	readme := file("README.md", "before\n<!-- figures -->\nold\n<!-- end of figures -->\nafter\n")
	require.NoError(t, run(raw, options{svg: plot, readme: readme, block: "figures"}))
	require.NoError(t, run(raw, options{svg: plot, readme: readme, block: "figures"}), "and again")
	text, err := os.ReadFile(readme)
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(string(text), "before\n<!-- figures -->\n- Linux 6.1\n"), string(text))
	assert.True(t, strings.HasSuffix(string(text), "targets met.\n<!-- end of figures -->\nafter\n"), string(text))
	assert.NotContains(t, string(text), "old")
	assert.FileExists(t, plot)

	assert.ErrorIs(t, run(raw, options{readme: file("plain.md", "no marks\n"), block: "figures"}), errMarks)
	assert.ErrorContains(t, run(file("empty", ""), options{svg: plot}), "no gateway to draw")
	assert.True(t, errors.Is(run(filepath.Join(dir, "none"), options{}), os.ErrNotExist))
}
