package main

import (
	"errors"
	"os"
	"path/filepath"
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

// A daemon with --user could not reach a file in a directory of root alone, as /etc/tayga
// may be, and took it for unchanged.
func TestReloadSaysThatAPrivateConfigurationChanged(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, conf string){
		"nothing": nil,
		"line-added": func(t *testing.T, conf string) {
			f, err := os.OpenFile(conf, os.O_APPEND|os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.WriteString("udp-cksum-mode calc\n")
			require.NoError(t, errors.Join(err, f.Close()))
		},
		"replaced": func(t *testing.T, conf string) {
			require.NoError(t, os.WriteFile(conf+"~", nil, 0o600))
			require.NoError(t, os.Rename(conf+"~", conf))
		},
		"deleted": func(t *testing.T, conf string) { require.NoError(t, os.Remove(conf)) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, gatewayConf).installed()
			b.openDir()
			private := filepath.Join(t.TempDir(), "private")
			require.NoError(t, os.Mkdir(private, 0o700))
			conf := filepath.Join(private, "tayga.conf")
			require.NoError(t, os.Rename(b.conf, conf))
			b.conf = conf
			p := b.launch("-u", "nobody", "-g", "nogroup")
			want := 0
			if change != nil {
				change(t, conf)
				want = 1
			}
			require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGHUP))
			b.eventually(func() bool { return strings.Contains(p.Output(), "Received SIGHUP, reloading\n") }, p.Output)
			require.NoError(t, p.Stop(patience))
			assert.Equal(t, want, strings.Count(p.Output(), conf+" has changed since tayga was started"), p.Output())
		})
	}
}
