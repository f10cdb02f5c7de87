package main

import (
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// The reader of the daemon's output may exit before it does. The next line took
// the daemon along, by SIGPIPE, and its leases.
func TestReaderOfLogEnds(t *testing.T) {
	for name, args := range map[string][]string{"stdout": {"-d"}, "stderr": {"-n"}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, gatewayConf+"status-socket DIR/sock\nmap-file DIR/maps\n")
			require.NoError(t, os.WriteFile(b.dir+"/maps", nil, 0o644))
			r, w, err := os.Pipe()
			require.NoError(t, err)
			cmd := b.host.Command(b.self, append(args, "-c", b.conf)...)
			if name == "stdout" {
				cmd.Stdout = w
			} else {
				cmd.Stderr = w
			}
			require.NoError(t, cmd.Start())
			w.Close()
			b.eventually(func() bool {
				_, _, code := b.tayga("--status", "-c", b.conf)
				return code == 0
			}, func() string { return "it does not start" })
			b.connect()
			require.NoError(t, r.Close())

			require.NoError(t, os.WriteFile(b.dir+"/maps", []byte("nonsense\n"), 0o644))
			for i := range 3 {
				require.NoError(t, cmd.Process.Signal(syscall.SIGUSR1))
				require.NoError(t, cmd.Process.Signal(syscall.SIGHUP))
				b.eventually(func() bool { return b.ask(status.Summary).Reloads.Failed > uint64(i) },
					func() string { return "no reload" })
			}
			b.host.Ping(netip.MustParseAddr("64:ff9b::198.51.99.1"), netlab.Echo{Timeout: time.Millisecond})
			b.eventually(func() bool { return b.ask(status.Summary).Pool.Held == 1 },
				func() string { return "no lease" })
			require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
			require.NoError(t, cmd.Wait())
			saved, err := os.ReadFile(b.dir + "/dynamic.map")
			require.NoError(t, err)
			assert.Contains(t, string(saved), "\t2001:db8:1::1\t")
		})
	}
}
