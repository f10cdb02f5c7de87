package recipes

import (
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// patience is how long a machine under load may take for anything.
const patience = 3 * time.Minute

//go:embed boot.sh
var bootScript string

// Machine is a host of the laboratory that runs Debian. Its methods end the test
// if something fails.
type Machine struct {
	*netlab.Host // for links, addresses and routes, and the lab's own traffic

	r      *Recipe
	dir    string // of what is written over the image
	cgroup string // its control group, seen from outside
	init   *netlab.Cmd
	ended  chan struct{} // closed when init has ended
}

// confine takes rights away that would reach beyond the namespaces.
var confine = []string{"setpriv", "--inh-caps", dropped, "--bounding-set", dropped}

const dropped = "-sys_module,-sys_time,-sys_rawio,-syslog,-wake_alarm,-mac_admin,-mac_override"

// boot starts systemd and waits until everything that is to be started runs.
func (m *Machine) boot() error {
	if err := os.MkdirAll(filepath.Join(m.dir, "upper", "etc"), 0o755); err != nil {
		return m.errorf("make the root: %w", err)
	}
	for name, content := range map[string]string{
		"hostname": m.Name() + "\n", "machine-id": fmt.Sprintf("%x\n", randomID()),
		"hosts": "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 " + m.Name() + "\n",
	} {
		if err := os.WriteFile(filepath.Join(m.dir, "upper", "etc", name), []byte(content), 0o644); err != nil {
			return m.errorf("make the root: %w", err)
		}
	}
	return m.start()
}

// start starts systemd on what there is.
func (m *Machine) start() error {
	group, err := os.Open(m.cgroup)
	if err != nil {
		return m.errorf("open the control group: %w", err)
	}
	defer group.Close()
	args := append(confine[1:], "unshare", "--cgroup", "sh", "-c", bootScript, "boot.sh", m.r.image, m.dir, m.Name())
	m.init = m.Command(confine[0], args...)
	m.init.SysProcAttr.Cloneflags = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC
	m.init.SysProcAttr.UseCgroupFD = true
	m.init.SysProcAttr.CgroupFD = int(group.Fd())
	console, err := os.Create(filepath.Join(m.dir, "console"))
	if err != nil {
		return m.errorf("make a console: %w", err)
	}
	defer console.Close()
	m.init.Stdout, m.init.Stderr = console, console
	if err := m.init.Start(); err != nil {
		return err
	}
	m.ended = make(chan struct{})
	go func() {
		m.init.Wait()
		close(m.ended)
	}()
	return m.waitBooted()
}

// waitBooted waits for the end of the boot. systemd does not answer at its very
// beginning.
func (m *Machine) waitBooted() error {
	for end := time.Now().Add(patience); ; {
		out, err := m.inside("systemctl", "is-system-running", "--wait").CombinedOutput()
		switch strings.TrimSpace(string(out)) {
		case "running":
			return nil
		case "degraded":
			failed, _ := m.inside("systemctl", "--failed", "--no-pager", "--plain").Output()
			return m.errorf("boot: %s", failed)
		}
		select {
		case <-m.ended:
			said, _ := os.ReadFile(filepath.Join(m.dir, "console"))
			return m.errorf("boot: systemd ended: %s", said)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(end) {
			return m.errorf("boot: %s: %w", out, err)
		}
	}
}

// inside returns the command to run a program in all namespaces of the machine.
func (m *Machine) inside(name string, args ...string) *netlab.Cmd {
	all := append([]string{"--target", fmt.Sprint(m.init.Process.Pid), "--all", "--wd"}, confine...)
	all = append(all, "env", "-i", "--chdir=/root", "HOME=/root", "USER=root", "LOGNAME=root", "LANG=C.UTF-8", "TERM=dumb", "DEBIAN_FRONTEND=noninteractive",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", name)
	return m.Command("nsenter", append(all, args...)...)
}

// Try runs a script by bash -e, as root in /root, and returns what it printed to
// standard output and standard error together. It may be called from several
// goroutines at once.
func (m *Machine) Try(script string) (string, error) {
	out, err := m.inside("bash", "-e", "-o", "pipefail", "-c", script).CombinedOutput()
	if err != nil {
		return string(out), m.errorf("%w\n%s\n%s", err, script, out)
	}
	return string(out), nil
}

// Sh is Try for what has to succeed.
func (m *Machine) Sh(script string) string {
	m.r.t.Helper()
	out, err := m.Try(script)
	if err != nil {
		m.r.t.Fatal(err)
	}
	return out
}

// Eventually repeats a script until it succeeds, and returns what it printed then.
func (m *Machine) Eventually(script string, within time.Duration) string {
	m.r.t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(100 * time.Millisecond) {
		out, err := m.Try(script)
		if err == nil {
			return out
		}
		if time.Now().After(end) {
			m.r.t.Fatal(err)
		}
	}
}

// Write writes a file, with mode 644, and the directories it needs.
func (m *Machine) Write(path, content string) {
	m.r.t.Helper()
	c := m.inside("install", "-D", "-m", "644", "/dev/stdin", path)
	c.Stdin = strings.NewReader(content)
	if out, err := c.CombinedOutput(); err != nil {
		m.r.t.Fatal(m.errorf("write %s: %w: %s", path, err, out))
	}
}

// Copy copies a file of the machine outside, with its mode.
func (m *Machine) Copy(from, to string) {
	m.r.t.Helper()
	f, err := os.Open(from)
	if err != nil {
		m.r.t.Fatal(m.errorf("copy: %w", err))
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		m.r.t.Fatal(m.errorf("copy: %w", err))
	}
	c := m.inside("install", "-D", "-m", fmt.Sprintf("%o", st.Mode().Perm()), "/dev/stdin", to)
	c.Stdin = f
	if out, err := c.CombinedOutput(); err != nil {
		m.r.t.Fatal(m.errorf("copy %s: %w: %s", from, err, out))
	}
}

// Reboot shuts the machine down, which ends every unit in its order, and boots it
// again. Links, addresses and routes stay; TUN devices, nftables rules and
// forwarding are gone, as they would be after a boot.
func (m *Machine) Reboot() {
	m.r.t.Helper()
	m.inside("systemctl", "reboot").Run() // its connection may end before it does
	select {
	case <-m.ended:
	case <-time.After(patience):
		m.r.t.Fatal(m.errorf("reboot: still up after %v", patience))
	}
	const forget = `
		for f in /sys/class/net/*/tun_flags; do [ ! -e "$f" ] || ip link delete "$(basename "${f%/tun_flags}")"; done
		nft flush ruleset
		sysctl -q net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0`
	// A fresh sysfs shows the devices of this network namespace.
	c := m.Command("unshare", "--mount", "sh", "-euc", "mount -t sysfs sysfs /sys;"+forget)
	if out, err := c.CombinedOutput(); err != nil {
		m.r.t.Fatal(m.errorf("reboot: %w: %s", err, out))
	}
	if err := m.start(); err != nil {
		m.r.t.Fatal(err)
	}
}

// Journal returns what the machine has logged since it booted, of one unit or of
// all.
func (m *Machine) Journal(unit string) string {
	args := []string{"-b", "--no-pager", "-o", "short-monotonic"}
	if unit != "" {
		args = append(args, "-u", unit)
	}
	out, _ := m.inside("journalctl", args...).CombinedOutput()
	return string(out)
}

func (m *Machine) errorf(format string, args ...any) error {
	return fmt.Errorf("recipes: "+m.Name()+": "+format, args...)
}

// newCgroup makes a control group for the machine, below the root that this
// process sees. Its name tells whose it is: groups of processes that were killed
// are removed here.
func newCgroup(name string) (string, error) {
	root, err := cgroupRoot()
	if err != nil {
		return "", err
	}
	old, _ := filepath.Glob(filepath.Join(root, "steppe-*"))
	for _, dir := range old {
		var pid int
		fmt.Sscanf(filepath.Base(dir), "steppe-%d-", &pid)
		if pid > 0 && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			removeCgroup(dir)
		}
	}
	dir, err := os.MkdirTemp(root, fmt.Sprintf("steppe-%d-%s-", os.Getpid(), name))
	if err != nil {
		return "", fmt.Errorf("recipes: make a control group: %w", err)
	}
	return dir, nil
}

// cgroupRoot returns where control groups of version 2 are mounted.
func cgroupRoot() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", fmt.Errorf("recipes: find control groups: %w", err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return f[1], nil
		}
	}
	return "", errors.New("recipes: no cgroup2 is mounted")
}

// removeCgroup removes a control group without processes, and those below it.
func removeCgroup(dir string) error {
	var dirs []string
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	for i := len(dirs) - 1; i >= 0; i-- {
		if err := os.Remove(dirs[i]); err != nil {
			return fmt.Errorf("recipes: remove a control group: %w", err)
		}
	}
	return nil
}

func randomID() []byte {
	id := make([]byte, 16)
	rand.Read(id)
	return id
}
