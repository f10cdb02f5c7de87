package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/taygaconf/vectors"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// debianTayga is TAYGA 0.9.2 as Debian ships it.
const debianTayga = "/usr/sbin/tayga"

// Each configuration is given to this program and, where it is installed, to
// Debian's TAYGA: they run or end, as the table of vectors says. Where the two
// differ, so do the table's columns, and docs/compatibility.md tells why.
func TestVectorsSideBySide(t *testing.T) {
	lab := netlab.New(t)
	self, err := os.Executable()
	require.NoError(t, err)
	out, err := exec.Command(debianTayga, "--version").CombinedOutput()
	peer := err != nil && strings.Contains(string(out), "unrecognized option") // 0.9.2 has no such option, and neither had we
	if !peer {
		t.Logf("%s is not installed: only this program is run", debianTayga)
	}

	slots := make(chan int, runtime.NumCPU())
	hosts := make([]*netlab.Host, cap(slots))
	for i := range hosts {
		hosts[i] = lab.Host("gateway" + strconv.Itoa(i))
		slots <- i
	}
	for _, v := range vectors.All {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			slot := <-slots
			defer func() { slots <- slot }()
			host := hosts[slot]

			dir := t.TempDir()
			empty, bad, conf := filepath.Join(dir, "empty"), filepath.Join(dir, "bad"), filepath.Join(dir, "conf")
			text, env := v.File(dir, empty, bad)
			for path, text := range map[string]string{empty: "", bad: vectors.BadMaps, conf: text, dir + "/dynamic.map": ""} {
				require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
			}
			run := func(program string, runs func(*netlab.Process) bool) (running bool, output string) {
				words := []string{}
				for _, name := range slices.Sorted(maps.Keys(env)) {
					words = append(words, name+"="+env[name])
				}
				p, err := host.Launch("/usr/bin/env", append(words, program, "-d", "-c", conf)...)
				require.NoError(t, err)
				defer p.Kill()
				for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
					select {
					case <-p.Done():
						return false, p.Output()
					default:
					}
					if runs(p) {
						return true, p.Output()
					}
				}
				t.Fatalf("neither runs nor ends:\n%s", p.Output())
				return
			}
			want := v.Want.Accepted()
			if v.Name == "tun-route-without-tun-up" {
				want = false // the file is fine, but the kernel refuses the route
			}
			running, output := run(self, func(p *netlab.Process) bool { return strings.Contains(p.Output(), "Workers: ") })
			assert.Equal(t, want, running, output)
			if peer && v.Old != "" {
				start := time.Now() // its stdout is a pipe and therefore silent
				running, output := run(debianTayga, func(p *netlab.Process) bool {
					return time.Since(start) > 400*time.Millisecond && hasTun(p.Pid())
				})
				assert.Equal(t, v.Old.Accepted(), running, output)
			}
		})
	}
}

// hasTun reports whether a process has opened the TUN driver, which Debian's tayga does once
// it has accepted a file: on a busy machine, time alone does not tell that it has read it.
func hasTun(pid int) bool {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	return slices.ContainsFunc(fds, func(fd string) bool {
		name, _ := os.Readlink(fd)
		return name == "/dev/net/tun"
	})
}
