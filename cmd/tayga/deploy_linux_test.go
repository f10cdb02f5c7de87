package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// The ways in which distributions and other programs call tayga.

// clatd writes four lines, makes the device, sets it up, and runs tayga with
// signals ignored and, unless it debugs, an empty word at the end.
func TestClatd(t *testing.T) {
	lab := netlab.New(t)
	phone, network := lab.Host("phone"), lab.Host("network")
	lab.Link(phone, "eth0", network, "eth0", 1500)
	phone.Addr("eth0", "2001:db8:c::2/64")
	network.Addr("eth0", "2001:db8:c::1/64")
	phone.Forwarding()
	phone.DefaultRoute("2001:db8:c::1", "")
	network.Route("2001:db8:f00::/64", "2001:db8:c::2", "")
	network.Addr("lo", "64:ff9b::198.51.99.1/128") // stands for an IPv4 server

	self, err := os.Executable()
	require.NoError(t, err)
	b := &bench{T: t, host: phone, self: self, dir: t.TempDir()}
	b.conf = filepath.Join(b.dir, "clatd.conf")
	b.configure("tun-device clat\nprefix 64:ff9b::/96\nipv4-addr 192.0.0.2\nmap 192.0.0.1 2001:db8:f00::464\n")

	_, errs, status := b.tayga("--config", b.conf, "--mktun", "")
	require.Equal(t, 0, status, errs)
	phone.Up("clat")
	phone.Addr("clat", "192.0.0.1/32")
	phone.Route("2001:db8:f00::464", "", "clat")
	phone.AddRoute(netlab.Route{Dst: "0.0.0.0/0", Dev: "clat", MTU: 1260})

	p, err := phone.Launch("/bin/sh", "-c", fmt.Sprintf("trap '' INT TERM; exec %s --config %s --nodetach ''", self, b.conf))
	require.NoError(t, err)
	require.NoError(t, phone.WaitRunning("clat", patience))
	assert.NoError(t, b.ping("192.0.0.2"))
	assert.NoError(t, b.ping("198.51.99.1"))

	require.NoError(t, p.Stop(patience))
	_, errs, status = b.tayga("--config", b.conf, "--rmtun")
	require.Equal(t, 0, status, errs)
	assert.Equal(t, []string{"eth0"}, b.devices())
}

// startStopDaemon finds the program of that name, which init scripts use.
func startStopDaemon(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("start-stop-daemon")
	if err != nil {
		t.Skip("start-stop-daemon is not installed")
	}
	return path
}

// copyProgram gives tayga a file of its own: start-stop-daemon looks for running
// programs by their files, and would find this test.
func (b *bench) copyProgram() {
	b.Helper()
	text, err := os.ReadFile(b.self)
	require.NoError(b, err)
	b.self = b.dir + "/tayga"
	require.NoError(b, os.WriteFile(b.self, text, 0o755))
}

// Debian's init script makes the device, sets it up and starts tayga through
// start-stop-daemon, which puts it into the background although it goes there
// by itself; it looks for the process two seconds later and stops it by the pid
// file.
func TestDebianInitScript(t *testing.T) {
	ssd := startStopDaemon(t)
	b := newBench(t, gatewayConf)
	b.copyProgram()
	pidfile := b.dir + "/tayga.pid"
	for range 2 { // start, stop; start, stop
		out, _, status := b.tayga("--mktun", "-c", b.conf)
		require.Equal(t, 0, status, out)
		b.connect()
		b.host.Route("192.168.254.0/24", "", "nat64")
		start := b.host.Command(ssd, "--start", "-b", "--exec", b.self, "--", "--pidfile", pidfile, "-c", b.conf)
		text, err := start.CombinedOutput()
		require.NoError(t, err, string(text))
		b.eventually(func() bool {
			text, err := os.ReadFile(pidfile)
			return err == nil && len(text) > 0
		}, func() string { return "no pid file" })
		require.NoError(t, b.host.WaitRunning("nat64", patience))
		assert.NoError(t, b.ping("192.168.255.1"))

		pid := b.pid(pidfile)
		stop := b.host.Command(ssd, "--stop", "--quiet", "--pidfile", pidfile, "--exec", b.self)
		text, err = stop.CombinedOutput()
		require.NoError(t, err, string(text))
		// The script does not wait until the daemon has ended.
		out, _, status = b.tayga("--rmtun", "-c", b.conf)
		require.Equal(t, 0, status, out)
		b.eventually(func() bool { return len(b.devices()) == 0 }, func() string { return "the device is still there" })
		b.gone(pid) // restart waits ten seconds here
	}
}

// OpenRC gives a pid file, a user and a group; the device stays over a restart.
func TestOpenRC(t *testing.T) {
	ssd := startStopDaemon(t)
	b := newBench(t, strings.Replace(gatewayConf, "data-dir DIR", "data-dir DIR/data", 1))
	b.openDir()
	require.NoError(t, os.Mkdir(b.dir+"/data", 0o755))
	require.NoError(t, os.Chown(b.dir+"/data", 65534, 65534))
	b.copyProgram()
	pidfile := b.dir + "/taygapid"
	_, _, status := b.tayga("--mktun", "-c", b.conf)
	require.Equal(t, 0, status)
	b.connect()
	for range 2 {
		start := b.host.Command(ssd, "--start", "--exec", b.self, "--", "-p", pidfile, "-u", "nobody", "-g", "nogroup", "-c", b.conf)
		text, err := start.CombinedOutput()
		require.NoError(t, err, string(text))
		pid := b.pid(pidfile)
		require.NoError(t, b.host.WaitRunning("nat64", patience))
		assert.NoError(t, b.ping("192.168.255.1"))
		stop := b.host.Command(ssd, "--stop", "--retry", "5", "--pidfile", pidfile)
		text, err = stop.CombinedOutput()
		require.NoError(t, err, string(text))
		b.gone(pid)
		assert.FileExists(t, b.dir+"/data/dynamic.map")
		assert.Equal(t, []string{"nat64"}, b.devices())
	}
	_, _, status = b.tayga("--rmtun", "-c", b.conf)
	require.Equal(t, 0, status)
}

// OpenWrt takes the status of --mktun for the verdict on the configuration, and
// keeps tayga in the foreground with a pid file.
func TestOpenWrt(t *testing.T) {
	b := newBench(t, strings.Replace(gatewayConf, "data-dir DIR", "data-dir DIR/run", 1))
	_, _, status := b.tayga("-c", b.conf, "--mktun")
	require.Equal(t, 0, status)
	pidfile := b.dir + "/tayga-wan.pid"
	p, err := b.host.Launch(b.self, "-n", "-c", b.conf, "-p", pidfile)
	require.NoError(t, err)
	require.NoError(t, waitFor(func() bool { _, err := os.Stat(pidfile); return err == nil }))
	b.connect()
	require.NoError(t, b.host.WaitRunning("nat64", patience))
	assert.NoError(t, b.ping("192.168.255.1"))
	require.NoError(t, p.Stop(patience))
	assert.DirExists(t, b.dir+"/run")
	_, _, status = b.tayga("-c", b.conf, "--rmtun")
	require.Equal(t, 0, status)
	assert.Empty(t, b.devices())
}

// Containers log to stdout all the time.
func TestContainer(t *testing.T) {
	b := newBench(t, gatewayConf)
	out, _, status := b.tayga("-c", b.conf, "-d", "--mktun")
	require.Equal(t, 0, status)
	assert.Equal(t, "Created persistent tun device nat64\n", out)
	p := b.launch()
	b.connect()
	assert.NoError(t, b.ping("192.168.255.1"))
	require.NoError(t, p.Stop(patience))
}

// The systemd unit: the journal, a state directory, and a socket on which the
// service manager is notified when the daemon is ready, reloads and stops.
func TestSystemd(t *testing.T) {
	b := newBench(t, strings.Replace(gatewayConf, "data-dir DIR\n", "map-file DIR/maps\n", 1))
	require.NoError(t, os.WriteFile(b.dir+"/maps", nil, 0o644))
	require.NoError(t, os.Mkdir(b.dir+"/state", 0o700))
	path := b.dir + "/notify"
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	defer conn.Close()

	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("STATE_DIRECTORY", b.dir+"/state")
	p, err := b.host.Launch(b.self, "--config", b.conf, "--journal", "--nodetach")
	require.NoError(t, err)
	status := fmt.Sprintf("STATUS=Translating on nat64, %d workers", runtime.NumCPU())
	ready := fmt.Sprintf("READY=1\nMAINPID=%d\n%s", p.Pid(), status)
	assert.Equal(t, ready, receive(t, conn))
	assert.Equal(t, []string{"nat64"}, b.devices())
	b.connect()
	assert.NoError(t, b.ping("192.168.255.1"))

	require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGHUP))
	assert.Regexp(t, `^RELOADING=1\nMONOTONIC_USEC=[1-9]\d+$`, receive(t, conn))
	assert.Equal(t, "READY=1\n"+status, receive(t, conn))

	require.NoError(t, p.Signal(syscall.SIGTERM))
	assert.Equal(t, "STOPPING=1", receive(t, conn))
	b.ends(p, 0)
	assert.FileExists(t, b.dir+"/state/dynamic.map")

	// A manager that cannot be told would wait in vain.
	t.Setenv("NOTIFY_SOCKET", b.dir+"/absent")
	_, errs, code := b.tayga("--config", b.conf, "--journal", "--nodetach")
	assert.Equal(t, 1, code)
	assert.Contains(t, errs, "NOTIFY_SOCKET: ")
}

// A unit with errors in its tayga.conf said a hundred lines every two seconds, for ever.
// The service manager is told by the exit status that there is no use in trying again;
// everybody else gets that of TAYGA. Whatever may pass by itself is tried again.
func TestExitStatusForManager(t *testing.T) {
	for _, unit := range []string{"tayga.service", "tayga@.service", "steppe-clat.service"} {
		text, err := os.ReadFile("../../docs/systemd/" + unit)
		require.NoError(t, err)
		for _, line := range []string{"Restart=on-failure", "RestartPreventExitStatus=78", "StartLimitIntervalSec=0", "RestartSteps=10"} {
			assert.Contains(t, string(text), "\n"+line+"\n", unit)
		}
		assert.NotContains(t, string(text), "ExecStartPre=", "its exit status prevents nothing")
	}
	b := newBench(t, gatewayConf)
	good := b.conf
	bad := b.dir + "/bad.conf"
	require.NoError(t, os.WriteFile(bad, []byte(strings.Repeat("nonsense\n", 10)), 0o644))
	conn := listen(t, b.dir+"/notify")
	defer conn.Close()
	for _, test := range []struct {
		name, notify string
		want         int
		args         []string
	}{
		{"unit", b.dir + "/notify", 78, []string{"--config", bad, "--journal", "--nodetach"}},
		{"journal", "", 1, []string{"--config", bad, "--journal", "--nodetach"}},
		{"manager", b.dir + "/notify", 78, []string{"-c", bad, "-d"}},
		{"by-hand", "", 1, []string{"-c", bad, "-d"}},
		{"check", b.dir + "/notify", 1, []string{"-c", bad, "--check"}},
		{"no-file", b.dir + "/notify", 1, []string{"--config", bad + ".absent", "--journal", "--nodetach"}},
		{"no-user", b.dir + "/notify", 1, []string{"--config", good, "--journal", "--nodetach", "-u", "nosuchuser"}},
		{"no-pid-file", b.dir + "/notify", 1, []string{"--config", good, "--journal", "--nodetach", "-p", "/absent/pid"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("NOTIFY_SOCKET", test.notify)
			_, errs, status := b.tayga(test.args...)
			assert.Equal(t, test.want, status, errs)
		})
	}
}

func waitFor(ok func() bool) error {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return nil
		}
	}
	return fmt.Errorf("nothing after %v", patience)
}
