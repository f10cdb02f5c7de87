package labtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
	"github.com/steppe-nat64/steppe/internal/test/testbed"
)

// TestRaces has the race detector watch the binary while packets pass, maps are
// read again, leases begin, rest, end and are saved, the MTU changes, and a client
// asks for counters, all at once. That is done with the fast path, which is told hosts and
// rules meanwhile, and with a packet log, which keeps it off.
func TestRaces(t *testing.T) {
	netlab.New(t) // skips where there is no laboratory
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("the race detector needs gcc")
	}
	tayga := filepath.Join(t.TempDir(), "tayga")
	build := exec.Command("go", "build", "-race", "-o", tayga, "github.com/steppe-nat64/steppe/cmd/tayga")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)

	for name, log := range map[string]string{"fast-path": "log dyn", "packet-log": "log drop reject icmp dyn"} {
		t.Run(name, func(t *testing.T) { testRaces(t, tayga, log) })
	}
}

func testRaces(t *testing.T, tayga, log string) {
	b, err := testbed.Open(tayga, "203.0.113.0/24", "workers 4", "map-file DIR/maps",
		"map 192.0.2.77 "+testbed.Client6.String(), // a transfer that has to wait would lose its lease
		"dynamic-pool-hold 1", "dynamic-pool-forget 2", log, "metrics-listen 127.0.0.1:9464")
	require.NoError(t, err)
	defer b.Close()
	maps := []string{"map 192.0.2.10 2001:db8:a::1\n", "map 192.0.2.10 2001:db8:a::2\nmap 203.0.113.9 2001:db8:a::3\n"}
	require.NoError(t, os.WriteFile(b.Path("maps"), []byte(maps[0]), 0o644))
	require.NoError(t, b.Start())

	tr := b.StartTraffic(1 << 20)
	for i, end := 0, time.Now().Add(5*time.Second); time.Now().Before(end); i++ {
		require.NoError(t, os.WriteFile(b.Path("maps"), []byte(maps[i%2]), 0o644))
		require.NoError(t, b.Signal(syscall.SIGHUP))
		require.NoError(t, b.Signal(syscall.SIGUSR1))
		for n := range uint32(20) {
			require.NoError(t, b.Speak(testbed.Host(uint32(i)%50*20+n)))
		}
		b.Gateway.MTU(testbed.Device, 1500-i%2*100)
		time.Sleep(50 * time.Millisecond)
	}
	require.NoError(t, tr.Stop())
	if f := fastOf(t, b.Process); log == "log dyn" {
		require.True(t, f.On)
		require.NotZero(t, f.Kernel)
	} else {
		require.NoError(t, f.Asleep(1<<20))
	}
	require.NoError(t, b.Stop(), "no data race")
	said := b.Process.Output()
	for _, what := range []string{"Reloaded ", "assigned", "dormant", "has an MTU of 1400 now"} {
		require.Greater(t, strings.Count(said, what), 3, what)
	}
	t.Logf("%d transfers, %d MiB", tr.Transfers.Load(), tr.Bytes.Load()>>20)
}
