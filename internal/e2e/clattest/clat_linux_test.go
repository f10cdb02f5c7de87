package clattest

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// dir returns the directory that has the host's own /run, /etc and /var/lib.
func (x *lab) dir(h *netlab.Host) string {
	x.t.Helper()
	if dir, ok := x.dirs[h]; ok {
		return dir
	}
	dir := x.t.TempDir()
	for _, sub := range []string{"run", "etc", "lib"} {
		require.NoError(x.t, os.Mkdir(filepath.Join(dir, sub), 0o755))
	}
	for _, name := range []string{"passwd", "group", "nsswitch.conf", "hosts", "protocols", "services", "ld.so.cache"} {
		if b, err := os.ReadFile("/etc/" + name); err == nil {
			require.NoError(x.t, os.WriteFile(filepath.Join(dir, "etc", name), b, 0o644))
		}
	}
	// Each machine has addresses of its own by it, and the same after a restart.
	id := sha256.Sum256([]byte(h.Name()))
	require.NoError(x.t, os.WriteFile(filepath.Join(dir, "etc", "machine-id"), fmt.Appendf(nil, "%x\n", id[:16]), 0o444))
	x.dirs[h] = dir
	x.resolver(h, "")
	return dir
}

// resolver writes the host's resolv.conf, as network managers do: a new file in its place.
func (x *lab) resolver(h *netlab.Host, server string) {
	x.t.Helper()
	text := "# no resolver\n"
	if server != "" {
		text = "nameserver " + server + "\n"
	}
	path := filepath.Join(x.dir(h), "etc", "resolv.conf")
	require.NoError(x.t, os.WriteFile(path+".new", []byte(text), 0o644))
	require.NoError(x.t, os.Rename(path+".new", path))
}

// within runs a program among the host's own files.
const within = `mount --bind "$1/run" /run && mount --bind "$1/etc" /etc && mount --bind "$1/lib" /var/lib && mount -t sysfs sysfs /sys && shift && exec "$@"`

func (x *lab) within(h *netlab.Host, name string, args ...string) []string {
	return append([]string{"--mount", "--propagation", "private", "sh", "-euc", within, "sh", x.dir(h), name}, args...)
}

// A clat is the binary that runs on a host.
type clat struct {
	x     *lab
	host  *netlab.Host
	proc  *netlab.Process
	begin time.Time
}

// run starts tayga --clat as a user does, on the host.
func (x *lab) run(args ...string) *clat {
	x.t.Helper()
	x.clat = x.runOn(x.host, args...)
	return x.clat
}

func (x *lab) runOn(h *netlab.Host, args ...string) *clat {
	x.t.Helper()
	c := &clat{x: x, host: h, begin: time.Now()}
	var err error
	c.proc, err = h.Launch("unshare", x.within(h, tayga(x.t), append([]string{"--clat"}, args...)...)...)
	require.NoError(x.t, err)
	x.logAtFailure("tayga --clat on "+h.Name(), c.proc)
	return c
}

// stop ends the binary as ctrl-C or systemd does.
func (c *clat) stop() {
	c.x.t.Helper()
	require.NoError(c.x.t, syscall.Kill(c.proc.Pid(), syscall.SIGTERM))
	c.ended()
	require.NoError(c.x.t, c.proc.Wait())
}

// ended waits for the end of the binary.
func (c *clat) ended() {
	c.x.t.Helper()
	select {
	case <-c.proc.Done():
	case <-time.After(patience):
		c.x.t.Fatal("tayga still runs")
	}
}

// says waits until the binary has logged the text, since its first bytes.
func (c *clat) says(text string, after int) {
	c.x.t.Helper()
	awaitLine(c.x.t, c.proc, text, after)
}

// status is what tayga --status prints.
func (c *clat) status() string {
	c.x.t.Helper()
	out, _ := c.host.Command("unshare", c.x.within(c.host, tayga(c.x.t), "--status")...).CombinedOutput()
	return string(out)
}

// report is what tayga --status --json says about the CLAT.
func (c *clat) report() status.CLAT {
	c.x.t.Helper()
	out, err := c.host.Command("unshare", c.x.within(c.host, tayga(c.x.t), "--status", "--json")...).Output()
	var r status.Report
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil || r.CLAT == nil {
		c.x.t.Logf("tayga --status --json: %v: %s", err, out)
		return status.CLAT{}
	}
	return *r.CLAT
}

// processes returns the daemon and its helpers.
func (c *clat) processes() []int {
	pids := []int{c.proc.Pid()}
	for i := 0; i < len(pids); i++ {
		tasks, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pids[i]), "task/*/children"))
		for _, task := range tasks {
			b, _ := os.ReadFile(task)
			for word := range strings.FieldsSeq(string(b)) {
				if pid, err := strconv.Atoi(word); err == nil {
					pids = append(pids, pid)
				}
			}
		}
	}
	return pids
}

// helper returns the process that changes the network.
func (c *clat) helper() int {
	c.x.t.Helper()
	pids := c.processes()
	require.Greater(c.x.t, len(pids), 1, "there is no helper")
	return pids[1]
}

// kill ends processes by SIGKILL, and waits for the end of the daemon.
func (c *clat) kill(pids ...int) {
	c.x.t.Helper()
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	c.ended()
}

// cpu returns the processor time that the binary and its helpers have used.
func (c *clat) cpu() (sum time.Duration) {
	for _, pid := range c.processes() {
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if err != nil {
			continue
		}
		// After the name, which may have any character, the 12th and 13th are user and system time
		// in hundredths of a second: proc(5).
		words := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		for _, i := range []int{11, 12} {
			n, _ := strconv.Atoi(words[i])
			sum += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return sum
}

// signal sends a signal to the daemon and its helpers.
func (c *clat) signal(sig syscall.Signal) {
	c.x.t.Helper()
	for _, pid := range c.processes() {
		require.NoError(c.x.t, syscall.Kill(pid, sig))
	}
}

// settled waits until the host's network stays as it is for a moment.
func (c *clat) settled() {
	c.x.t.Helper()
	last := c.x.take(c.host)
	require.True(c.x.t, eventually(c.x.t, c.proc, func() bool {
		time.Sleep(100 * time.Millisecond)
		now := c.x.take(c.host)
		same := len(last.diff(now)) == 0
		last = now
		return same
	}), "the host's network changes all the time")
}
