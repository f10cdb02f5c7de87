package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/privsep"
	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// helperConf has something to do for the helper.
const helperConf = gatewayConf + `tun-up yes
tun-ip 192.168.255.0/24
tun-ip 2001:db8:1::1/64
tun-route 64:ff9b::/96
tun-route 2001:db8:99::99/48
tun-route 10.0.0.0/8
`

var helperLine = regexp.MustCompile(`Privileged helper: process (\d+); `)

// helper returns the helper's process id.
func (b *bench) helper(p *netlab.Process) int {
	b.Helper()
	m := helperLine.FindStringSubmatch(p.Output())
	require.NotNil(b, m, p.Output())
	pid, err := strconv.Atoi(m[1])
	require.NoError(b, err)
	return pid
}

// over waits until a process is no more, not even a zombie.
func (b *bench) over(pid int) {
	b.Helper()
	b.eventually(func() bool { _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); return errors.Is(err, os.ErrNotExist) },
		func() string { return fmt.Sprintf("process %d is still there", pid) })
}

// descriptors returns what a process has open.
func (b *bench) descriptors(pid int) (links []string) {
	b.Helper()
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	require.NoError(b, err)
	for _, fd := range fds {
		link, err := os.Readlink(fd)
		require.NoError(b, err)
		links = append(links, link)
	}
	return links
}

// The ways to start: by an administrator, as in the units and in the container, and as a
// unit with User= or DynamicUser= and AmbientCapabilities=.
var starts = []struct {
	name string
	wrap []string // commands in front
	args []string
	user bool // the packet process is not root
}{
	{name: "root"},
	{name: "user", args: []string{"-u", "nobody", "-g", "nogroup"}, user: true},
	{name: "jail", args: []string{"-u", "nobody", "-g", "nogroup", "-r"}, user: true},
	{name: "unit-and-container", wrap: []string{"/usr/bin/setpriv", "--bounding-set", "-all,+net_admin", "--no-new-privs"}},
	{name: "unit-with-user", wrap: []string{"/usr/bin/setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
		"--bounding-set", "-all,+net_admin", "--inh-caps", "-all,+net_admin", "--ambient-caps", "-all,+net_admin", "--no-new-privs"}, user: true},
}

// The process that reads packets had CAP_NET_ADMIN for the day on which the device
// has to be set up again. In each way to start, it has no capability now; its helper has
// that one alone, sets the device up after it was deleted and created again by another program,
// keeps no queue, and ends with it.
func TestHelperInEveryWayToStart(t *testing.T) {
	for _, start := range starts {
		t.Run(start.name, func(t *testing.T) {
			b := newBench(t, strings.Replace(helperConf, "data-dir DIR", "data-dir DIR/data", 1)).installed()
			b.self = b.readable(b.self)
			require.NoError(t, os.Mkdir(b.dir+"/data", 0o755))
			if start.user {
				require.NoError(t, os.Chown(b.dir+"/data", 65534, 65534))
			}
			b.addTun("nat64", 2)
			args := append(slices.Clone(start.wrap), b.self, "-d", "-c", b.conf)
			p, err := b.host.Launch(args[0], append(args[1:], start.args...)...)
			require.NoError(t, err)
			b.await(p, "Workers: ")
			assert.Contains(t, p.Output(), inSandbox+"none\n")
			helper := b.helper(p)
			check := func() {
				t.Helper()
				b.confined(p.Pid(), 0)
				b.confined(helper, capNetAdmin)
				for _, pid := range []int{p.Pid(), helper} {
					text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
					require.NoError(t, err)
					bounding := "0000000000000000"
					if start.wrap != nil { // it may not drop the rest of that
						bounding = "0000000000001000"
					}
					assert.Equal(t, bounding, statusField(string(text), "CapBnd:"))
				}
				links := b.descriptors(helper)
				assert.NotContains(t, links, tunPath)
				links = slices.DeleteFunc(links, func(s string) bool { // of the Go runtime
					return strings.HasPrefix(s, "anon_inode:") || strings.HasPrefix(s, "/sys/fs/cgroup/")
				})
				assert.Len(t, links, 4, links)
			}
			check()
			assert.Empty(t, b.missing())

			name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", helper))
			require.NoError(t, err)
			assert.Equal(t, privsep.Name+"\n", string(name))
			words, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", helper))
			require.NoError(t, err)
			assert.Equal(t, privsep.Name+"\x00nat64\x00", string(words))
			environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", helper))
			require.NoError(t, err)
			assert.Equal(t, "TAYGA_HELPER=1\x00GOMAXPROCS=1\x00GOMEMLIMIT=32MiB\x00", string(environ))
			var st unix.Stat_t
			require.NoError(t, unix.Stat(fmt.Sprintf("/proc/%d/mem", helper), &st))
			assert.Zero(t, st.Uid, "that of a process whose memory its user may read is the user's")

			b.delete("nat64")
			b.await(p, "is gone: waiting for it to come back\n")
			b.addTun("nat64", 2) // root's
			b.eventually(func() bool { return strings.Count(p.Output(), "Workers: ") == 2 }, p.Output)
			assert.Empty(t, b.missing())
			b.setUp(false, true)
			b.eventually(func() bool { return len(b.missing()) == 0 }, p.Output)
			check()
			require.NoError(t, b.host.WaitRunning("nat64", patience))
			require.NoError(t, b.ping("192.168.255.1"))

			require.NoError(t, p.Stop(patience))
			b.over(helper)
			assert.NotContains(t, p.Output(), "not permitted")
			assert.NotContains(t, p.Output(), "permission denied")
		})
	}
}

// A daemon that has no privilege needs no helper, and gets none; nor does one to which
// everything remains, or which has nothing to set up.
func TestNoHelper(t *testing.T) {
	for name, conf := range map[string]string{"all-remains": "tun-up yes\nsandbox no\n", "nothing-to-do": ""} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, gatewayConf+conf).installed()
			p := b.launch()
			assert.NotContains(t, p.Output(), "helper")
			children, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.Pid()))
			require.NoError(t, err)
			for _, file := range children {
				text, err := os.ReadFile(file)
				require.NoError(t, err)
				assert.Empty(t, string(text))
			}
			require.NoError(t, p.Stop(patience))
		})
	}
}

// The helper ends with the daemon, also if that is killed, and not by signals that are
// for the daemon: a service manager sends them to both.
func TestHelperEndsWithDaemon(t *testing.T) {
	b := newBench(t, helperConf).installed()
	b.addTun("nat64", 2)
	p := b.launch()
	helper := b.helper(p)
	for _, sig := range handledSignals {
		require.NoError(t, unix.Kill(helper, sig.(unix.Signal)))
	}
	b.setUp(false, true)
	b.eventually(func() bool { return len(b.missing()) == 0 }, p.Output)
	b.confined(helper, capNetAdmin)

	require.NoError(t, p.Signal(unix.SIGKILL))
	<-p.Done()
	b.over(helper)
	assert.NotContains(t, p.Output(), "has ended")
}

// A helper that ends takes nothing away from packets: the daemon goes on, and says
// everywhere that it cannot set up the device any more. When it has to, it ends.
func TestHelperKilled(t *testing.T) {
	b := newBench(t, helperConf+"status-socket DIR/socket\nmetrics-listen 127.0.0.1:9464\n").installed()
	b.addTun("nat64", 2)
	p := b.launch()
	helper := b.helper(p)
	report := func() (r status.Report) {
		out, errs, code := b.tayga("--status", "--json", "-c", b.conf)
		require.Equal(t, 0, code, errs)
		require.NoError(t, json.Unmarshal([]byte(out), &r))
		return r
	}
	require.NotNil(t, report().Helper)
	assert.Equal(t, status.Helper{PID: helper, Alive: true}, *report().Helper)

	require.NoError(t, unix.Kill(helper, unix.SIGKILL))
	b.await(p, fmt.Sprintf("The privileged helper, process %d, has ended: tun device nat64 cannot be attached to or set up again: restart tayga\n", helper))
	b.over(helper)
	assert.Equal(t, status.Helper{PID: helper}, *report().Helper)
	assert.Contains(t, b.examine(), "warning: helper: the privileged helper of tayga has ended")
	require.NoError(t, b.host.WaitRunning("nat64", patience))
	require.NoError(t, b.ping("192.168.255.1"))
	b.setUp(false, true)
	b.await(p, "the privileged helper has ended: not there since the device was down\n")
	require.NoError(t, p.Signal(unix.SIGHUP))
	b.await(p, "Received SIGHUP, reloading\n")
	assert.Equal(t, 1, strings.Count(p.Output(), "process "+strconv.Itoa(helper)+", has ended"))

	b.delete("nat64")
	b.await(p, "is gone: waiting for it to come back\n")
	b.addTun("nat64", 2)
	assert.Contains(t, b.ends(p, 1), "\nattach to tun device nat64: the privileged helper has ended\n")
}

// examine returns what the doctor says.
func (b *bench) examine() string {
	b.Helper()
	out, errs, _ := b.tayga("--doctor", "-c", b.conf)
	require.Empty(b, errs)
	return out
}

// A helper that is under a filter, too, does what it is there for, with as much of a
// sandbox as the filter permits.
func TestHelperUnderFilters(t *testing.T) {
	for name, calls := range map[string][]uintptr{
		"nothing": nil, "unit": strictUnit, "all-of-it": optionalCalls, "prctl": {unix.SYS_PRCTL}, "capget": {unix.SYS_CAPGET}, "getgroups": {unix.SYS_GETGROUPS},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, helperConf).installed()
			b.addTun("nat64", 2)
			p := b.launchFiltered(unix.SECCOMP_RET_KILL_PROCESS, calls)
			helper := b.helper(p)
			b.delete("nat64")
			b.await(p, "is gone: waiting for it to come back\n")
			b.addTun("nat64", 2)
			b.eventually(func() bool { return strings.Count(p.Output(), "Workers: ") == 2 }, p.Output)
			assert.Empty(t, b.missing())
			require.NoError(t, p.Stop(patience))
			b.over(helper)
			assert.NotContains(t, p.Output(), "not permitted")
		})
	}
}

// With sandbox no, a daemon that gives up root has a helper as well, which is then as free
// as the daemon was.
func TestHelperWithoutSandbox(t *testing.T) {
	b := newBench(t, strings.Replace(helperConf, "data-dir DIR\n", "sandbox no\n", 1)).installed()
	b.openDir()
	b.addTun("nat64", 2)
	p := b.launch("-u", "nobody")
	assert.Contains(t, p.Output(), "; sandbox: no\n")
	b.setUp(false, true)
	b.eventually(func() bool { return len(b.missing()) == 0 }, p.Output)
	require.NoError(t, p.Stop(patience))
	b.over(b.helper(p))
}

// Where no helper can be started, a filter of the service manager being in the way, the
// daemon works in one process as it did before, and warns of what that means. No call is
// made that ends it.
func TestHelperFilteredOut(t *testing.T) {
	for _, test := range []struct {
		name   string
		action uint32
		call   uintptr
		want   string
	}{
		{"killed", unix.SECCOMP_RET_KILL_PROCESS, unix.SYS_SOCKETPAIR, "the seccomp filter that the process was started with kills it for these calls: socketpair"},
		{"killed-in-the-child", unix.SECCOMP_RET_KILL_PROCESS, unix.SYS_DUP3, "the seccomp filter that the process was started with kills it for these calls: dup3"},
		{"denied", unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM), unix.SYS_SOCKETPAIR, "socketpair: operation not permitted"},
		{"denied-in-the-child", unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM), unix.SYS_DUP3, "run /proc/self/exe: operation not permitted"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, helperConf).installed()
			b.addTun("nat64", 2)
			p := b.launchFiltered(test.action, []uintptr{test.call})
			assert.Contains(t, p.Output(), "No privileged helper: "+test.want+": this process keeps the capability to set up the device again\n")
			assert.Contains(t, p.Output(), inSandbox+"cap_net_admin\n")
			b.delete("nat64")
			b.await(p, "is gone: waiting for it to come back\n")
			b.addTun("nat64", 2)
			b.eventually(func() bool { return strings.Count(p.Output(), "Workers: ") == 2 }, p.Output)
			assert.Empty(t, b.missing())
			require.NoError(t, p.Stop(patience))
		})
	}
}

// A start that failed after the helper was there, as by a tun-route, also printed
// "configuration of the helper: EOF". A helper that the daemon has no use for is silent.
func TestHelperUnused(t *testing.T) {
	b := newBench(t, helperConf).installed()
	for name, test := range map[string]struct {
		script string // of which the helper is the process itself, or a child
		open   bool   // the daemon's end
		want   string
	}{
		"before-it-is-configured": {`exec -a "$1" "$0" nat64`, true, ""},
		"before-it-has-begun":     {`(exec -a "$1" "$0" nat64); exit $?`, false, ""},
		"of-another-process":      {`(exec -a "$1" "$0" nat64); exit $?`, true, "tayga: only tayga starts its helper, and it has ended\n"},
	} {
		t.Run(name, func(t *testing.T) {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
			require.NoError(t, err)
			if test.open {
				defer unix.Close(pair[0])
			} else {
				unix.Close(pair[0])
			}
			end := os.NewFile(uintptr(pair[1]), "")
			defer end.Close()
			cmd := b.host.Command("bash", "-c", test.script, b.self, privsep.Name)
			cmd.Env = append(os.Environ(), "TAYGA_HELPER=1")
			cmd.ExtraFiles = []*os.File{end} // and nothing on standard input
			out, err := cmd.CombinedOutput()
			assert.Error(t, err)
			assert.Equal(t, test.want, string(out))
		})
	}
}

// A user who runs the helper by its name gets an explanation.
func TestHelperByHand(t *testing.T) {
	b := newBench(t, helperConf).installed()
	t.Setenv("TAYGA_HELPER", "1")
	cmd := b.host.Command(b.self)
	cmd.Args = []string{privsep.Name, "nat64"}
	out, err := cmd.CombinedOutput()
	assert.Error(t, err)
	assert.Equal(t, "tayga: only tayga starts its helper\n", string(out))
	out, err = b.host.Command(b.self, "--version").CombinedOutput() // the variable alone is no mark
	assert.NoError(t, err)
	assert.Contains(t, string(out), "(steppe)")
}
