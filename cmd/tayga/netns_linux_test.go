package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/privsep"
	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// These tests run this very program, as tayga, in network namespaces.

// asTayga makes the test binary behave as tayga.
const asTayga = "STEPPE_TEST_AS_TAYGA"

func TestMain(m *testing.M) {
	if privsep.Marked() {
		if self, err := os.Executable(); err == nil && filepath.Base(self) == inmateName {
			inmateHelper()
		}
		os.Exit(help())
	}
	if os.Getenv(asFiltered) != "" {
		filtered()
	}
	if os.Getenv(asInmate) != "" {
		inmate()
		return
	}
	if os.Getenv(asJailed) != "" {
		jailed()
		return
	}
	if os.Getenv(asThief) != "" {
		thief()
		return
	}
	if os.Getenv(asTayga) != "" {
		main()
		return
	}
	os.Setenv(asTayga, "1") // for the processes that tests start
	os.Unsetenv("JOURNAL_STREAM")
	os.Unsetenv("NOTIFY_SOCKET")
	os.Unsetenv("STATE_DIRECTORY")
	flag.Parse()
	// Those that run in parallel wait for packets that do not come, not for a processor.
	if f := flag.Lookup("test.parallel"); f.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		f.Value.Set("6")
	}
	before := machineSockets()
	code := m.Run()
	removeSockets(before)
	if programDir != "" {
		os.RemoveAll(programDir)
	}
	os.Exit(code)
}

// machineSockets returns the status sockets in /run/tayga, where daemons have theirs
// without being asked to.
func machineSockets() []string {
	paths, _ := filepath.Glob(status.DefaultPath("*"))
	return paths
}

// removeSockets removes those that came since and that no daemon listens on: they
// are of daemons that gave up root, which may not remove them, or were killed.
func removeSockets(before []string) {
	for _, path := range machineSockets() {
		_, err := status.Ask(path, status.Summary)
		if errors.Is(err, unix.ECONNREFUSED) && !slices.Contains(before, path) {
			os.Remove(path)
		}
	}
}

// gatewayConf is a configuration with everything that an IPv6-only network
// needs; DIR stands for a directory of the test's own.
const gatewayConf = `tun-device nat64
ipv4-addr 192.168.255.1
ipv6-addr 2001:db8:1::64
prefix 64:ff9b::/96
dynamic-pool 192.168.255.0/24
map 192.168.254.7 2001:db8:7::7
data-dir DIR
log drop reject icmp self dyn
`

// bench is one host with a configuration.
type bench struct {
	*testing.T
	host *netlab.Host
	self string // this program
	dir  string
	conf string // path
}

func newBench(t *testing.T, conf string) *bench {
	t.Helper()
	host := netlab.New(t).Host("gateway")
	self, err := os.Executable()
	require.NoError(t, err)
	b := &bench{T: t, host: host, self: self, dir: t.TempDir()}
	b.conf = filepath.Join(b.dir, "tayga.conf")
	b.configure(conf)
	return b
}

func (b *bench) configure(conf string) {
	b.Helper()
	require.NoError(b, os.WriteFile(b.conf, []byte(strings.ReplaceAll(conf, "DIR", b.dir)), 0o644))
}

// tayga runs tayga to its end and returns what it printed and its exit status.
func (b *bench) tayga(args ...string) (stdout, stderr string, status int) {
	b.Helper()
	var out, errs strings.Builder
	cmd := b.host.Command(b.self, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		b.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// launch starts tayga with its log on stdout and waits until it runs.
func (b *bench) launch(args ...string) *netlab.Process {
	b.Helper()
	p, err := b.host.Launch(b.self, append([]string{"-d", "-c", b.conf}, args...)...)
	require.NoError(b, err)
	b.await(p, "Workers: ")
	return p
}

// await waits until what the process has printed contains text.
func (b *bench) await(p *netlab.Process, text string) {
	b.Helper()
	b.eventually(func() bool { return strings.Contains(p.Output(), text) },
		func() string { return fmt.Sprintf("no %q in\n%s", text, p.Output()) })
}

func (b *bench) eventually(ok func() bool, why func() string) {
	b.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	b.Fatal(why())
}

// devices returns the interfaces of the host, without loopback.
func (b *bench) devices() (names []string) {
	b.Helper()
	require.NoError(b, b.host.Do(func() error {
		list, err := net.Interfaces()
		for _, i := range list {
			if i.Name != "lo" {
				names = append(names, i.Name)
			}
		}
		return err
	}))
	return names
}

func (b *bench) ping(addr string) error {
	_, err := b.host.Ping(netip.MustParseAddr(addr), netlab.Echo{Size: 56})
	return err
}

// lease makes the host take a lease, by a packet that no host answers.
func (b *bench) lease(p *netlab.Process) {
	b.Helper()
	b.host.Ping(netip.MustParseAddr("64:ff9b::198.51.99.1"), netlab.Echo{Timeout: time.Millisecond})
	b.await(p, "DYN: [assigned]")
}

// connect gives the host a side of the device: addresses of its own, and routes
// to the translator's.
func (b *bench) connect() {
	b.Helper()
	b.host.Up("nat64")
	b.host.Addr("nat64", "192.168.255.0/24")
	b.host.Addr("nat64", "2001:db8:1::1/64")
	b.host.Route("64:ff9b::/96", "", "nat64")
}

// run checks that the daemon ends by itself, with this status, and returns what
// it said.
func (b *bench) ends(p *netlab.Process, status int) string {
	b.Helper()
	select {
	case <-p.Done():
	case <-time.After(patience):
		b.Fatalf("still running:\n%s", p.Output())
	}
	got := 0
	var exit *exec.ExitError
	if err := p.Wait(); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		require.NoError(b, err)
	}
	assert.Equal(b, status, got, p.Output())
	return p.Output()
}

func TestDaemon(t *testing.T) {
	b := newBench(t, gatewayConf)
	p := b.launch()
	b.connect()
	assert.NoError(t, b.ping("192.168.255.1"))
	assert.NoError(t, b.ping("2001:db8:1::64"))
	assert.Error(t, b.ping("192.168.255.9"), "no host leases that")
	b.await(p, "REJECT: [v4] [192.168.255.0]->[192.168.255.9]")

	require.NoError(t, p.Signal(syscall.SIGTERM))
	out := b.ends(p, 0)
	for _, line := range []string{
		"Starting tayga " + version(),
		"Using tun device nat64 with MTU 1500",
		"TAYGA's IPv4 address: 192.168.255.1",
		"TAYGA's IPv6 address: 2001:db8:1::64",
		"NAT64 prefix: 64:ff9b::/96",
		"Dynamic pool: 192.168.255.0/24",
		"SELF: [v4] [192.168.255.0]->[192.168.255.1] (84 bytes) (proto 1) echo request answered",
		"Exiting on signal 15",
	} {
		assert.Contains(t, out, line+"\n")
	}
	assert.Empty(t, b.devices(), "the device goes with its daemon")
	assert.FileExists(t, filepath.Join(b.dir, leaseFile))
}

// Whatever asks it to end, it ends well.
func TestStopSignals(t *testing.T) {
	b := newBench(t, gatewayConf)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR2} {
		p := b.launch()
		require.NoError(t, p.Signal(sig))
		assert.Contains(t, b.ends(p, 0), fmt.Sprintf("Exiting on signal %d\n", int(sig)))
	}
}

// Parents like clatd start tayga with signals ignored, and expect them to work.
func TestSignalsIgnoredByParent(t *testing.T) {
	b := newBench(t, gatewayConf)
	for _, name := range []string{"INT", "TERM"} {
		p, err := b.host.Launch("/bin/sh", "-c", fmt.Sprintf("trap '' INT TERM HUP; exec %s -c %s -d", b.self, b.conf))
		require.NoError(t, err)
		b.await(p, "Workers: ")
		sig := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM}[name]
		require.NoError(t, p.Signal(sig))
		b.ends(p, 0)
	}
}

func TestBadConfig(t *testing.T) {
	b := newBench(t, "tun-device nat64\nipv4-addr 192.168.255.256\nprefix 2001:db8::/95\nfrobnicate\n")
	want := []string{
		b.conf + `:2: ipv4-addr: "192.168.255.256" is not an IPv4 address such as 192.0.2.1`,
		b.conf + `:3: prefix: length 95 not allowed by RFC 6052: use 32, 40, 48, 56, 64 or 96`,
		b.conf + `:4: unknown directive "frobnicate"`,
	}
	text := strings.Join(want, "\n") + "\n"
	for _, args := range [][]string{{"-d"}, {"--mktun"}, {"--rmtun"}, {"--check"}} {
		out, errs, status := b.tayga(append(args, "-c", b.conf)...)
		assert.Equal(t, 1, status, args)
		assert.Equal(t, text, out, args)
		assert.Empty(t, errs, args)
	}
	// Where the log goes elsewhere, the user who starts it sees the errors, too.
	for _, args := range [][]string{{"-n"}, {}, {"-n", "--journal"}, {"--stdout"}} {
		out, errs, status := b.tayga(append(args, "-c", b.conf)...)
		assert.Equal(t, 1, status, args)
		assert.Empty(t, out, args)
		assert.Equal(t, text, errs, args)
	}
	_, errs, status := b.tayga("-n", "-c", b.dir+"/absent")
	assert.Equal(t, 1, status)
	assert.Equal(t, b.dir+"/absent: no such file or directory\n", errs)
	assert.Empty(t, b.devices())
}

func TestMakeDevice(t *testing.T) {
	b := newBench(t, gatewayConf)
	out, _, status := b.tayga("-c", b.conf, "--mktun")
	assert.Equal(t, 0, status)
	assert.Equal(t, "Created persistent tun device nat64\n", out)
	assert.Equal(t, []string{"nat64"}, b.devices())
	out, _, status = b.tayga("-c", b.conf, "--mktun", "-d") // again, which is fine
	assert.Equal(t, 0, status)
	assert.Equal(t, "Created persistent tun device nat64\n", out)

	b.host.Up("nat64")
	p := b.launch()
	b.connect()
	require.NoError(t, b.host.WaitRunning("nat64", patience))
	assert.NoError(t, b.ping("192.168.255.1"))
	require.NoError(t, p.Stop(patience))
	assert.Equal(t, []string{"nat64"}, b.devices(), "a persistent device stays")

	for range 2 { // also where there is nothing to remove
		out, _, status = b.tayga("-c", b.conf, "--rmtun")
		assert.Equal(t, 0, status)
		assert.Equal(t, "Removed persistent tun device nat64\n", out)
		assert.Empty(t, b.devices())
	}
	for _, args := range [][]string{{"--mktun", "--rmtun"}, {"--mktun", "-u", "root"}, {"--rmtun", "-g", "root"}, {"--mktun", "-r"}} {
		out, errs, status := b.tayga(append(args, "-c", b.conf)...)
		assert.Equal(t, 1, status, args)
		assert.Empty(t, out, args)
		assert.NotEmpty(t, errs, args)
	}
	assert.Empty(t, b.devices())
}

func TestHelpAndVersion(t *testing.T) {
	b := newBench(t, "")
	out, errs, status := b.tayga("--help")
	assert.Equal(t, 0, status)
	assert.Empty(t, out)
	assert.Equal(t, usageText, errs)
	out, _, status = b.tayga("--version")
	assert.Equal(t, 0, status)
	assert.Equal(t, "tayga "+version()+"\n", out)
	_, errs, status = b.tayga("-x")
	assert.Equal(t, 1, status)
	assert.Equal(t, "tayga: invalid option -- 'x'\nTry 'tayga --help' for more information.\n", errs)
}

func TestCheck(t *testing.T) {
	b := newBench(t, gatewayConf)
	out, _, status := b.tayga("--check", "-c", b.conf)
	assert.Equal(t, 0, status)
	assert.Equal(t, b.conf+": OK\n", out)
	// A CLAT without a file had nothing before the colon.
	out, _, status = b.tayga("--clat", "--check")
	assert.Equal(t, 0, status)
	assert.Equal(t, "--clat: OK\n", out)
	// What can be better is said, and is no error.
	b.configure(strings.Replace(gatewayConf, "64:ff9b::/96", "2001:db8:64::/96", 1))
	out, _, status = b.tayga("--check", "-c", b.conf)
	assert.Equal(t, 0, status)
	assert.Regexp(t, `^\S+:4: prefix: note: .* add "embedded-source drop"\n\S+: OK\n$`, out)
	// A relative map-file counts from data-dir.
	b.configure(gatewayConf + "map-file maps\n")
	_, _, status = b.tayga("--check", "-c", b.conf)
	assert.Equal(t, 1, status)
	require.NoError(t, os.WriteFile(b.dir+"/maps", []byte("map 10.0.0.1\n"), 0o644))
	out, _, status = b.tayga("--check", "-c", b.conf)
	assert.Equal(t, 1, status, out)
	assert.Contains(t, out, b.dir+"/maps:1: map: ")
	assert.Empty(t, b.devices())
}

// Without -d and -n the command returns when the daemon works, and leaves it in
// a session of its own.
func TestDetach(t *testing.T) {
	b := newBench(t, gatewayConf)
	pidfile := filepath.Join(b.dir, "pid")
	out, errs, status := b.tayga("-c", b.conf, "--pidfile", pidfile)
	require.Equal(t, 0, status, errs)
	assert.Empty(t, out)
	assert.Empty(t, errs)
	pid := b.pid(pidfile)
	assert.Equal(t, []string{"nat64"}, b.devices())
	sid, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	fields := strings.Fields(string(sid)) // pid (comm) state ppid pgrp session
	assert.Equal(t, strconv.Itoa(pid), fields[5], "session")
	for fd := range 3 {
		target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
		assert.NoError(t, err)
		assert.Equal(t, "/dev/null", target)
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	assert.NoError(t, err)
	assert.Equal(t, b.self, exe)
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	assert.NoError(t, err)
	assert.True(t, strings.HasPrefix(filepath.Base(b.self), strings.TrimSpace(string(comm))), "pidof finds it")

	b.connect()
	assert.NoError(t, b.ping("192.168.255.1"))

	// A second one is told so, and the first goes on.
	_, errs, status = b.tayga("-c", b.conf, "--pidfile", pidfile)
	assert.Equal(t, 1, status)
	assert.Equal(t, "pid file "+pidfile+" is in use: tayga runs already\n", errs)
	assert.NoError(t, b.ping("192.168.255.1"))

	require.NoError(t, syscall.Kill(pid, syscall.SIGTERM))
	b.gone(pid)
	assert.NoFileExists(t, pidfile)
	assert.Empty(t, b.devices())
}

// pid reads a pid file.
func (b *bench) pid(path string) int {
	b.Helper()
	text, err := os.ReadFile(path)
	require.NoError(b, err)
	require.True(b, strings.HasSuffix(string(text), "\n"))
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(b, err)
	return pid
}

// gone waits for the end of a process that is not our child. It may stay a
// zombie until the machine's init gets round to it.
func (b *bench) gone(pid int) {
	b.Helper()
	b.eventually(func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, state, _ := strings.Cut(string(stat), ") ")
		return errors.Is(err, os.ErrNotExist) || strings.HasPrefix(state, "Z")
	}, func() string { return fmt.Sprintf("process %d is still there", pid) })
}

// What goes wrong in the background is said in the foreground, with the status.
func TestDetachReportsFailure(t *testing.T) {
	b := newBench(t, gatewayConf)
	for _, test := range []struct{ args, want string }{
		{"--user=nosuchuser", "unknown user nosuchuser\n"},
		{"--user=0", "unknown user 0\n"},
		{"--group=nosuchgroup", "unknown group nosuchgroup\n"},
		{"--chroot", "--chroot needs --user: root can leave the directory again\n"},
		{"--chroot --user=root", "--chroot needs another user than root, who can leave the directory again\n"},
		{"--pidfile=/nonexistent/pid", "pid file: open /nonexistent/pid: no such file or directory\n"},
	} {
		_, errs, status := b.tayga(append(strings.Fields(test.args), "-c", b.conf)...)
		assert.Equal(t, 1, status, test.args)
		assert.Equal(t, test.want, errs, test.args)
	}
	b.configure(strings.Replace(gatewayConf, "data-dir DIR", "data-dir DIR/new", 1))
	_, errs, status := b.tayga("-c", b.conf, "-u", "nobody")
	assert.Equal(t, 1, status)
	assert.Contains(t, errs, "data-dir "+b.dir+"/new does not exist")
	_, errs, status = b.tayga("-c", b.conf, "-p", b.dir+"/pid") // root makes it
	require.Equal(t, 0, status, errs)
	assert.DirExists(t, b.dir+"/new")
	pid := b.pid(b.dir + "/pid")
	require.NoError(t, syscall.Kill(pid, syscall.SIGTERM))
	b.gone(pid)
	assert.FileExists(t, b.dir+"/new/dynamic.map")

	// A relative pid file counts from data-dir.
	_, errs, status = b.tayga("-c", b.conf, "-p", "pid")
	require.Equal(t, 0, status, errs)
	pid = b.pid(b.dir + "/new/pid")
	require.NoError(t, syscall.Kill(pid, syscall.SIGTERM))
	b.gone(pid)
}

// openDir makes the test's directories passable for other users, as far as they
// are the test's.
func (b *bench) openDir() {
	b.Helper()
	for dir := b.dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		require.NoError(b, os.Chmod(dir, 0o755))
	}
}

// With -u, -g and -r nothing of root is left, and leases are still saved.
func TestPrivileges(t *testing.T) {
	b := newBench(t, strings.Replace(gatewayConf, "data-dir DIR", "data-dir DIR/data\nmap-file DIR/data/maps", 1))
	b.openDir()
	data := b.dir + "/data"
	require.NoError(t, os.Mkdir(data, 0o755))
	require.NoError(t, os.Chown(data, 65534, 65534))
	maps := data + "/maps"
	require.NoError(t, os.WriteFile(maps, []byte("map 192.168.254.8 2001:db8:7::8\n"), 0o644))

	p := b.launch("-u", "nobody", "-g", "nogroup", "-r", "-p", b.dir+"/pid")
	assert.Equal(t, p.Pid(), b.pid(b.dir+"/pid"))
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.Pid()))
	require.NoError(t, err)
	require.NotEmpty(t, tasks)
	for _, task := range tasks {
		status, err := os.ReadFile(task)
		require.NoError(t, err)
		text := strings.Join(strings.Fields(string(status)), " ")
		assert.Contains(t, text, "Uid: 65534 65534 65534 65534")
		assert.Contains(t, text, "Gid: 65534 65534 65534 65534")
		assert.Contains(t, text, "Groups: 65534 NStgid:")
		assert.Contains(t, text, "CapPrm: 0000000000000000")
		assert.Contains(t, text, "CapEff: 0000000000000000")
	}
	root, err := os.Readlink(fmt.Sprintf("/proc/%d/root", p.Pid()))
	require.NoError(t, err)
	assert.Equal(t, data, root)
	// Nothing leads out of the jail.
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.Pid()))
	require.NoError(t, err)
	for _, fd := range fds {
		if fi, err := os.Stat(fd); err == nil {
			assert.False(t, fi.IsDir(), fd)
		}
	}

	b.connect()
	assert.NoError(t, b.ping("192.168.255.1"))
	b.lease(p)

	// The map-file is found again in the jail, and the leases are saved.
	require.NoError(t, os.WriteFile(maps, []byte("map 192.168.254.9 2001:db8:7::9\n"), 0o644))
	require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGHUP))
	b.await(p, "Reloaded "+maps+": 1 maps")
	require.NoError(t, p.Stop(patience))
	saved, err := os.ReadFile(data + "/dynamic.map")
	require.NoError(t, err)
	assert.Contains(t, string(saved), "\t2001:db8:1::1\t")
	fi, err := os.Stat(data + "/dynamic.map")
	require.NoError(t, err)
	assert.EqualValues(t, 65534, fi.Sys().(*syscall.Stat_t).Uid)
}

// A user without a group kept group 0 and all groups of the root that started it,
// and with them what those may read: it gets its own group.
func TestUserAlone(t *testing.T) {
	b := newBench(t, strings.Replace(gatewayConf, "data-dir DIR\n", "", 1))
	b.openDir()
	cmd := b.host.Command(b.self, "-d", "-c", b.conf, "-u", "nobody")
	cmd.SysProcAttr.Credential = &syscall.Credential{Groups: []uint32{0, 4, 27, 42}}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "Workers: ") {
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	require.NoError(t, err)
	text := strings.Join(strings.Fields(string(status)), " ")
	assert.Contains(t, text, "Uid: 65534 65534 65534 65534")
	assert.Contains(t, text, "Gid: 65534 65534 65534 65534")
	assert.Contains(t, text, "Groups: 65534 NStgid:")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	for lines.Scan() {
	}
	require.NoError(t, cmd.Wait())
}

// Who is the user of -u already has nothing to give up, and no privilege to. He
// needs a data-dir that he can write as well as any other.
func TestUserIsThatAlready(t *testing.T) {
	b := newBench(t, gatewayConf).installed()
	b.openDir()
	require.NoError(t, os.Chmod(filepath.Dir(b.self), 0o755))
	require.NoError(t, b.host.Do(func() error {
		return netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "nat64"}, Mode: netlink.TUNTAP_MODE_TUN, Owner: 65534, Group: 65534})
	}))
	start := func() (log string, err error) {
		cmd := b.host.Command(b.self, "-d", "-c", b.conf, "-u", "nobody")
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		for lines := bufio.NewScanner(out); lines.Scan(); {
			log += lines.Text() + "\n"
			if strings.HasPrefix(lines.Text(), "Workers: ") {
				require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
			}
		}
		return log, cmd.Wait()
	}
	log, err := start()
	assert.NoError(t, err, log)
	assert.Contains(t, log, "data-dir "+b.dir+": user nobody, as whom tayga runs, may not write there: leases are forgotten")
	require.NoError(t, os.Chown(b.dir, 65534, 65534))
	log, err = start()
	assert.NoError(t, err, log)

	// A lock of root's may be that of a daemon.
	require.NoError(t, os.WriteFile(b.dir+"/dynamic.map.lock", nil, 0o600))
	log, err = start()
	assert.Error(t, err)
	assert.Equal(t, "data-dir "+b.dir+": lock dynamic.map.lock: permission denied: it is that of a daemon of another user\n", log)
}

// Hosts keep their addresses across a restart.
func TestLeasesSurviveRestart(t *testing.T) {
	b := newBench(t, gatewayConf)
	p := b.launch()
	b.connect()
	b.lease(p)
	_, after, _ := strings.Cut(p.Output(), "DYN: [assigned] ")
	lease, _, _ := strings.Cut(after, "\n")
	require.NoError(t, p.Stop(patience))

	p = b.launch()
	b.await(p, "Loaded 1 dynamic map from "+b.dir+"/dynamic.map\n")
	assert.Contains(t, p.Output(), "DYN: [loaded] "+lease+"\n")
	require.NoError(t, p.Stop(patience))
}

func TestCounters(t *testing.T) {
	b := newBench(t, gatewayConf)
	p := b.launch()
	b.connect()
	require.NoError(t, b.ping("192.168.255.1"))
	b.eventually(func() bool {
		require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGUSR1))
		return strings.Contains(p.Output(), "4to6 reply echo-reply: 1 packets, 84 octets\n")
	}, p.Output)
	b.await(p, "dynamic pool: 254 addresses, 0 held, 0 dormant, 0 requests refused\n")
	require.NoError(t, p.Stop(patience))
}

// A reload takes the new maps or, if the file has an error, nothing of it.
func TestReload(t *testing.T) {
	b := newBench(t, gatewayConf+"map-file DIR/maps\nwkpf-strict no\n")
	write := func(text string) {
		t.Helper()
		require.NoError(t, os.WriteFile(b.dir+"/maps", []byte(text), 0o644))
	}
	write("map 192.168.254.8 2001:db8:1::1\nmap nonsense\n")
	p := b.launch()
	b.connect()
	b.host.Route("192.168.254.0/24", "", "nat64")
	b.await(p, b.dir+"/maps:2: map: ") // left out at start
	reload := func(want string) {
		t.Helper()
		require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGHUP))
		b.await(p, want)
	}
	// The host pings its own IPv6 address by the IPv4 address that stands for it;
	// the answer comes back the same way.
	b.host.Addr("nat64", "10.1.2.3/32")
	ping := func(addr string) error {
		_, err := b.host.Ping(netip.MustParseAddr(addr), netlab.Echo{Source: netip.MustParseAddr("10.1.2.3")})
		return err
	}
	require.NoError(t, ping("192.168.254.8"))

	write("map 192.168.254.9 2001:db8:1::1\n")
	reload("Reloaded " + b.dir + "/maps: 1 maps\n")
	require.NoError(t, ping("192.168.254.9"))
	require.Error(t, ping("192.168.254.8"))

	for i, text := range []string{
		"map 192.168.254.10 2001:db8:1::1\nmap 192.168.254.7 2001:db8:1::2\n", // taken in tayga.conf
		"map 192.168.254.10 2001:db8:1::1\nnonsense\n",
		"\x00",
	} {
		write(text)
		require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGHUP))
		b.eventually(func() bool {
			return strings.Count(p.Output(), "has errors: going on with the maps as they were\n") == i+1
		}, p.Output)
		require.NoError(t, ping("192.168.254.9"))
	}
	require.NoError(t, os.Remove(b.dir+"/maps"))
	reload("map-file " + b.dir + "/maps: no such file or directory: going on with the maps as they were\n")
	require.NoError(t, ping("192.168.254.9"))
	require.NoError(t, p.Stop(patience))
}

// Where a pipe has taken the map-file's place, the daemon does not wait until a program writes
// to it. The daemon did, and handled no signal any more. It is in its sandbox here.
func TestReloadFromAPipe(t *testing.T) {
	b := newBench(t, gatewayConf+"map-file DIR/maps\n").installed()
	maps := b.dir + "/maps"
	require.NoError(t, os.WriteFile(maps, []byte("map 192.168.254.8 2001:db8:1::1\n"), 0o644))
	p := b.launch()
	require.NoError(t, os.Remove(maps))
	require.NoError(t, syscall.Mkfifo(maps, 0o600))
	require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGHUP))
	b.await(p, "map-file "+maps+": is not a regular file: going on with the maps as they were\n")
	require.NoError(t, os.Remove(maps))
	require.NoError(t, os.WriteFile(maps, []byte("map 192.168.254.9 2001:db8:1::1\n"), 0o644))
	require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGHUP))
	b.await(p, "Reloaded "+maps+": 1 maps\n")
	require.NoError(t, p.Stop(patience))

	require.NoError(t, os.Remove(maps))
	require.NoError(t, syscall.Mkfifo(maps, 0o600))
	out, _, status := b.tayga("-d", "-c", b.conf)
	assert.Equal(t, 1, status)
	assert.Equal(t, "map-file "+maps+": is not a regular file\n", out)
	out, _, status = b.tayga("--check", "-c", b.conf)
	assert.Equal(t, 1, status)
	assert.Equal(t, b.conf+": map-file: "+maps+": is not a regular file\n", out)
}

func TestTunDirectives(t *testing.T) {
	b := newBench(t, gatewayConf+`tun-up yes
tun-ip 192.168.255.0/24
tun-ip 2001:db8:1::1/64
tun-route 64:ff9b::/96
tun-route 10.0.0.0/8
`)
	p := b.launch()
	for _, line := range []string{
		"Tun device nat64 is UP",
		"Added IPv4 address 192.168.255.0/24 to tun device nat64",
		"Added IPv6 address 2001:db8:1::1/64 to tun device nat64",
		"Added IPv4 route 10.0.0.0/8 to tun device nat64",
		"Added IPv6 route 64:ff9b::/96 to tun device nat64",
	} {
		assert.Contains(t, p.Output(), line+"\n")
	}
	assert.NoError(t, b.ping("192.168.255.1"))
	b.lease(p)
	require.NoError(t, p.Stop(patience))

	// On a persistent device all of it is there already at the second start.
	_, _, status := b.tayga("--mktun", "-c", b.conf)
	require.Equal(t, 0, status)
	for range 2 {
		p = b.launch()
		require.NoError(t, b.host.WaitRunning("nat64", patience))
		require.NoError(t, b.ping("192.168.255.1"))
		require.NoError(t, p.Stop(patience))
	}
}

// A route for a device that is down: the message says what to do.
func TestTunRouteDown(t *testing.T) {
	b := newBench(t, gatewayConf+"tun-route 10.0.0.0/8\n")
	out, errs, status := b.tayga("-d", "-c", b.conf)
	assert.Equal(t, 1, status)
	assert.Empty(t, errs)
	assert.Contains(t, out, "tun-route: add 10.0.0.0/8 over device nat64: network is down: the device must be up first, by tun-up yes or otherwise\n")
	assert.Empty(t, b.devices())
}

// A route of another program is not removed.
func TestTunRouteTaken(t *testing.T) {
	b := newBench(t, gatewayConf+"tun-up yes\ntun-route 0.0.0.0/0\n")
	p := b.launch()
	require.NoError(t, p.Stop(patience))

	other := strings.ReplaceAll(gatewayConf, "nat64", "other")
	b.configure(other)
	_, _, status := b.tayga("--mktun", "-c", b.conf)
	require.Equal(t, 0, status)
	b.host.Up("other")
	b.host.Addr("other", "10.9.9.1/24")
	b.host.Route("0.0.0.0/0", "", "other")
	b.configure(gatewayConf + "tun-up yes\ntun-route 0.0.0.0/0\n")
	out, _, status := b.tayga("-d", "-c", b.conf)
	assert.Equal(t, 1, status)
	assert.Contains(t, out, "there is a route over device other already")
}

// The tests left sockets in /run/tayga, of daemons that may not remove them; what is
// there for other reasons stays.
func TestSocketsAreRemoved(t *testing.T) {
	device := fmt.Sprintf("rm%d", os.Getpid())
	b := newBench(t, strings.Replace(strings.Replace(gatewayConf, "nat64", device, 1), "data-dir DIR\n", "", 1))
	b.openDir()
	path := status.DefaultPath(device)
	p := b.launch("-u", "nobody")
	before := machineSockets()
	others := slices.DeleteFunc(slices.Clone(before), func(s string) bool { return s == path })
	removeSockets(others)
	assert.FileExists(t, path, "a daemon listens there")
	require.NoError(t, p.Stop(patience))
	require.FileExists(t, path, "not removed by a daemon without privilege")
	removeSockets(before)
	require.FileExists(t, path, "it was there before")
	removeSockets(others)
	assert.NoFileExists(t, path)
}
