package peer

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// patience is how long a machine under load may take for what takes no time.
const patience = 20 * time.Second

// A program is one of the two.
type program struct {
	name string // in messages
	path string
	runs func(*netlab.Process) bool // whether it has got to its main loop
	bye  string                     // what it says when SIGTERM ends it
}

// debian is TAYGA 0.9.2 as Debian ships it. With stdout on a pipe it says nothing before
// it ends; but it catches signals from its main loop on, and not before.
var debian = &program{
	name: "Debian's tayga",
	path: "/usr/sbin/tayga",
	runs: func(p *netlab.Process) bool { return catches(p.Pid(), syscall.SIGTERM) },
	bye:  "exiting on signal 15\n",
}

// steppe is the program of this module.
var steppe = &program{
	name: "this tayga",
	runs: func(p *netlab.Process) bool { return strings.Contains(p.Output(), "Workers: ") },
	bye:  "Exiting on signal 15\n",
}

func TestMain(m *testing.M) {
	os.Unsetenv("JOURNAL_STREAM")
	os.Unsetenv("NOTIFY_SOCKET")
	os.Unsetenv("STATE_DIRECTORY")
	dir, err := os.MkdirTemp("", "peer")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	steppe.path = filepath.Join(dir, "tayga")
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// newLab returns a laboratory for both programs, or skips the test.
func newLab(t *testing.T) *netlab.Lab {
	t.Helper()
	lab := netlab.New(t)
	if err := findDebian(); err != nil {
		if os.Getenv("STEPPE_REQUIRE_PEER") == "1" {
			t.Fatal(err)
		}
		t.Skipf("%v (with STEPPE_REQUIRE_PEER=1 this is a failure)", err)
	}
	require.NoError(t, build())
	return lab
}

// findDebian looks whether the other program is there, and is what it should be
// and not a copy of this one.
var findDebian = sync.OnceValue(func() error {
	if _, err := os.Stat(debian.path); err != nil {
		return fmt.Errorf("peer: Debian's package tayga is not installed: %w", err)
	}
	lab, err := netlab.Open()
	if err != nil {
		return err
	}
	defer lab.Close()
	conf, err := os.CreateTemp("", "tayga.conf")
	if err != nil {
		return err
	}
	defer os.Remove(conf.Name())
	fmt.Fprint(conf, "tun-device nat64\nipv4-addr 192.0.2.254\nprefix 2001:db8:64::/96\n")
	conf.Close()
	p, err := lab.Host("host").Launch(debian.path, "-d", "-c", conf.Name())
	if err != nil {
		return err
	}
	running, err := verdict(debian, p)
	if err == nil && !running {
		err = p.Wait()
	}
	if err != nil {
		return fmt.Errorf("peer: try %s: %w", debian.path, err)
	}
	p.Stop(patience)
	if first, _, _ := strings.Cut(p.Output(), "\n"); first != "starting TAYGA 0.9.2" {
		return fmt.Errorf("peer: %s is not TAYGA 0.9.2, it says %q", debian.path, first)
	}
	return nil
})

// build makes the program of this module.
var build = sync.OnceValue(func() error {
	out, err := exec.Command("go", "build", "-o", steppe.path, "github.com/steppe-nat64/steppe/cmd/tayga").CombinedOutput()
	if err != nil {
		return fmt.Errorf("peer: go build: %w: %s", err, out)
	}
	return nil
})

// verdict waits until a program has got to its main loop, or has ended with the
// status for errors. Everything else is an error.
func verdict(prog *program, p *netlab.Process) (running bool, err error) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		select {
		case <-p.Done():
			err := p.Wait()
			var exit *exec.ExitError
			switch {
			case err == nil:
				return false, fmt.Errorf("%s has ended with status 0", prog.name)
			case !errors.As(err, &exit) || exit.ExitCode() != 1:
				return false, err
			}
			return false, nil
		default:
			if prog.runs(p) {
				return true, nil
			}
		}
	}
	return false, fmt.Errorf("%s neither runs nor ends", prog.name)
}

// catches reports whether a process has a handler for a signal.
func catches(pid int, sig syscall.Signal) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), "\nSigCgt:\t")
	var mask uint64
	fmt.Sscanf(rest, "%x", &mask)
	return mask>>(sig-1)&1 != 0
}

// launch starts a program with its log on stdout and waits until it runs.
func launch(t *testing.T, prog *program, host *netlab.Host, conf string) *netlab.Process {
	t.Helper()
	p, err := host.Launch(prog.path, "-d", "-c", conf)
	require.NoError(t, err)
	running, err := verdict(prog, p)
	require.NoError(t, err)
	require.True(t, running, "%s has ended:\n%s", prog.name, p.Output())
	return p
}

// stop ends a program as init does.
func stop(t *testing.T, prog *program, p *netlab.Process) {
	t.Helper()
	require.NoError(t, p.Stop(patience))
	require.True(t, strings.HasSuffix(p.Output(), prog.bye), "%s said last:\n%s", prog.name, p.Output())
}
