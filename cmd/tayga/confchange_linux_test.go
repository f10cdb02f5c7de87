package main

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// SIGHUP does not read tayga.conf, which operators expect, and it did not say so: a
// changed file had no effect, and the log was that of a reload that went well.
func TestReloadSaysThatTheConfigurationChanged(t *testing.T) {
	const warning = " has changed since tayga was started and was not read: a reload reads the map-file only, restart tayga\n"
	replace := func(t *testing.T, conf, text string) {
		require.NoError(t, os.WriteFile(conf+"~", []byte(text), 0o644))
		require.NoError(t, os.Rename(conf+"~", conf))
	}
	for _, test := range []struct {
		name   string
		change func(t *testing.T, conf, text string)
		want   int
	}{
		{"nothing", func(*testing.T, string, string) {}, 0},
		{"line-added", func(t *testing.T, conf, text string) {
			require.NoError(t, os.WriteFile(conf, []byte(text+"udp-cksum-mode calc\n"), 0o644))
		}, 1},
		{"replaced", func(t *testing.T, conf, text string) { replace(t, conf, text+"\n") }, 1},
		{"backup-kept", func(t *testing.T, conf, text string) {
			require.NoError(t, os.Rename(conf, conf+".orig"))
			replace(t, conf, text+"\n")
		}, 1},
		{"deleted", func(t *testing.T, conf, _ string) { require.NoError(t, os.Remove(conf)) }, 1},
	} {
		for how, args := range map[string][]string{"root": nil, "nobody": {"-u", "nobody", "-g", "nogroup"}, "jail": {"-u", "nobody", "-g", "nogroup", "-r"}} {
			t.Run(test.name+"/"+how, func(t *testing.T) {
				b := newBench(t, gatewayConf).installed()
				b.openDir()
				text, err := os.ReadFile(b.conf)
				require.NoError(t, err)
				p := b.launch(args...)
				test.change(t, b.conf, string(text))
				for i := range 2 {
					require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGHUP))
					b.eventually(func() bool { return strings.Count(p.Output(), "Received SIGHUP, reloading\n") == i+1 }, p.Output)
				}
				require.NoError(t, p.Stop(patience))
				assert.Equal(t, 2*test.want, strings.Count(p.Output(), b.conf+warning), p.Output())
			})
		}
	}
}
