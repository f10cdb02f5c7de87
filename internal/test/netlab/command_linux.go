package netlab

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Cmd is an exec.Cmd that starts inside a host's network namespace, in a process
// group of its own. It dies with this program, however that ends, and with the
// lab. Of the methods that start a command it has Start, Run, Output and
// CombinedOutput.
type Cmd struct {
	*exec.Cmd
	host *Host
}

// Command returns the command to run a program in the host's network namespace.
// Files, users and everything else are those of the calling process.
func (h *Host) Command(name string, args ...string) *Cmd {
	c := exec.Command(name, args...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return &Cmd{Cmd: c, host: h}
}

// Start starts the command and does not wait for it.
func (c *Cmd) Start() error {
	// A process is born into the namespace of the thread that forks it, and its
	// parent-death signal follows that thread.
	if err := c.host.onThread(c.Cmd.Start); err != nil {
		return c.host.errorf("start %s: %w", c.Path, err)
	}
	c.host.lab.atClose(func() {
		if c.signal(syscall.SIGKILL) == nil {
			c.Process.Wait() // fails if another caller is waiting already, which is fine
		}
	})
	return nil
}

// Run starts the command and waits for its end.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the command and returns its standard output. If the command fails
// and Stderr was not set, the error quotes what it printed there.
func (c *Cmd) Output() ([]byte, error) {
	var stdout, stderr bytes.Buffer
	c.Stdout = &stdout
	quote := c.Stderr == nil
	if quote {
		c.Stderr = &stderr
	}
	err := c.Run()
	if quote {
		err = withOutput(err, stderr.String())
	}
	return stdout.Bytes(), err
}

// CombinedOutput runs the command and returns what it printed to standard output
// and standard error together.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}

// signal sends sig to the command and to all processes that it started. The
// process itself comes first: once it was waited for, its number may belong to
// another caller, and the error of the first call tells.
func (c *Cmd) signal(sig syscall.Signal) error {
	if err := c.Process.Signal(sig); err != nil {
		return err
	}
	syscall.Kill(-c.Process.Pid, sig)
	return nil
}

// killResidents ends all processes but this one whose network namespace is ns, and
// waits for their end: what they write then is written.
func killResidents(ns int) {
	var home unix.Stat_t
	if unix.Fstat(ns, &home) != nil {
		return
	}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if pid == os.Getpid() {
			continue
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(dir+"/ns/net", &st) == nil && st.Dev == home.Dev && st.Ino == home.Ino {
			unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
			ended(fd)
		}
		unix.Close(fd)
	}
}

// ended waits until the process of a pidfd has ended. A process that hangs in the
// kernel is left behind.
func ended(pidfd int) {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for end := time.Now().Add(settleTime); time.Now().Before(end); {
		if n, err := unix.Poll(fds, int(settleTime.Milliseconds())); err != unix.EINTR || n > 0 {
			return
		}
	}
}

// withOutput adds what a program printed to the error it ended with.
func withOutput(err error, out string) error {
	if out = strings.TrimSpace(out); err == nil || out == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, out)
}

// Process is a program running in the background inside a host. Its methods may
// be called from several goroutines at once.
type Process struct {
	cmd  *Cmd
	out  output
	done chan struct{}
	err  error // valid once done is closed
}

// Launch starts a program in the background and keeps what it prints.
func (h *Host) Launch(name string, args ...string) (*Process, error) {
	p := &Process{cmd: h.Command(name, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	h.lab.atClose(p.end)
	return p, nil
}

// Pid returns the number of the process.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done returns a channel that is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Output returns what the process has printed so far, to standard output and
// standard error together.
func (p *Process) Output() string { return p.out.String() }

// OutputFrom returns what the process has printed after its first n bytes, of
// which there must have been as many.
func (p *Process) OutputFrom(n int) string {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	return string(p.out.buf.Bytes()[n:])
}

// Signal sends a signal to the process and to those that it started. It returns
// os.ErrProcessDone if the process has ended.
func (p *Process) Signal(sig syscall.Signal) error { return p.cmd.signal(sig) }

// Stop asks the process to end by SIGTERM and waits for that. A process that has
// not ended after the grace time is killed, which is an error. So is an exit
// status that is not 0, and death by a signal; the error then quotes the output.
func (p *Process) Stop(grace time.Duration) error {
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return p.Wait()
	case <-time.After(grace):
		err := p.Kill()
		return fmt.Errorf("netlab: %s: %s still ran %v after SIGTERM: %w",
			p.cmd.host.name, p.cmd.Path, grace, err)
	}
}

// endTime is how long a process may take to end when the laboratory is closed.
const endTime = time.Second

// end asks the process to end, so that it removes what it has outside of the
// laboratory, such as a socket, and kills it if it does not.
func (p *Process) end() {
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(endTime):
		p.Kill()
	}
}

// Kill ends the process by SIGKILL and waits for that. It returns what Wait does.
func (p *Process) Kill() error {
	p.Signal(syscall.SIGKILL)
	return p.Wait()
}

// Wait waits for the end of the process. It returns nil if the exit status was 0,
// else an error that wraps an *exec.ExitError and quotes the output.
func (p *Process) Wait() error {
	<-p.done
	if p.err == nil {
		return nil
	}
	return p.cmd.host.errorf("%s: %w", p.cmd.Path, withOutput(p.err, p.Output()))
}

// output is a buffer that may be read while a process still writes to it.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Nft loads an nftables ruleset, in the language of nft(8), into the host. Where
// nft is not installed the test is skipped as where namespaces are missing.
func (h *Host) Nft(ruleset string) {
	h.lab.t.Helper()
	nft, err := exec.LookPath("nft")
	if err != nil {
		nft, err = exec.LookPath("/usr/sbin/nft") // not in everybody's PATH
	}
	if err != nil {
		h.lab.missing(unavailable("install nftables", err))
	}
	h.configure(func() error {
		c := h.Command(nft, "-f", "-")
		c.Stdin = strings.NewReader(ruleset)
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("load nftables rules: %w", withOutput(err, string(out)))
		}
		return nil
	})
}
