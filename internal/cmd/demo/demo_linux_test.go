package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// buildTayga builds the binary to show.
func buildTayga(t *testing.T) string {
	t.Helper()
	netlab.New(t) // skips where there is no laboratory
	path := filepath.Join(t.TempDir(), "tayga")
	out, err := exec.Command("go", "build", "-o", path, "github.com/steppe-nat64/steppe/cmd/tayga").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// TestDemo runs the demo twice: as a user sees it, with all offloads, and with
// captures, in which an independent decoder must find nothing wrong.
func TestDemo(t *testing.T) {
	tayga := buildTayga(t)
	t.Run("plain", func(t *testing.T) {
		out := shown(t, options{tayga: tayga})
		assert.True(t, strings.HasSuffix(out, "\ndemo: 29 checks passed, 0 failed\n"))
	})
	t.Run("captured", func(t *testing.T) {
		dir := t.TempDir()
		out := shown(t, options{tayga: tayga, pcap: dir})
		assert.True(t, strings.HasSuffix(out, "\ndemo: 30 checks passed, 0 failed\n"))
		for _, name := range []string{"ipv6.pcap", "ipv4.pcap"} {
			packets := readPcap(t, filepath.Join(dir, name))
			assert.Greater(t, len(packets), 5000, name)
			assert.Empty(t, netlab.Check(packets), name)
		}
	})
}

// shown runs the demo and returns what it printed.
func shown(t *testing.T, o options) string {
	t.Helper()
	emptyTemp(t)
	var out bytes.Buffer
	passed := run(t.Context(), &out, o)
	t.Log("\n" + out.String())
	assert.True(t, passed)
	assert.NotContains(t, out.String(), "FAIL")
	for _, check := range []string{"fast-path", "shared-fast-path"} {
		assert.Regexp(t, `\nok   `+check+` *: (9[5-9]|100)\.\d % of \d+ MiB of TCP translated by the kernel`, out.String())
	}
	return out.String()
}

func readPcap(t *testing.T, path string) []netlab.Packet {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	r, err := pcapgo.NewReader(f)
	require.NoError(t, err)
	require.Equal(t, layers.LinkTypeRaw, r.LinkType())
	var packets []netlab.Packet
	for {
		data, ci, err := r.ReadPacketData()
		if err == io.EOF {
			return packets
		}
		require.NoError(t, err)
		packets = append(packets, netlab.Packet{Time: ci.Timestamp, Data: data})
	}
}

// TestInterrupt ends the demo at several moments, the way a signal does.
func TestInterrupt(t *testing.T) {
	tayga := buildTayga(t)
	for _, after := range []time.Duration{0, 50, 150, 600, 1200} {
		after *= time.Millisecond
		t.Run(after.String(), func(t *testing.T) {
			emptyTemp(t)
			ctx, cancel := context.WithTimeout(t.Context(), after)
			defer cancel()
			var out bytes.Buffer
			assert.False(t, run(ctx, &out, options{tayga: tayga}))
			assert.NotRegexp(t, "demo: (2[0-9]|30) checks passed", out.String(), "it went on to the end")
			assert.Contains(t, out.String(), "FAIL ")
		})
	}
}
