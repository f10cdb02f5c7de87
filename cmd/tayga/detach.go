package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// detachedEnv marks the process that goes into the background. A Go program
// cannot fork, so it runs itself a second time.
const detachedEnv = "TAYGA_DETACHED"

// reportFD is the pipe on which that process tells its parent how it went.
const reportFD = 3

// detach starts the same command in a session of its own, away from the
// terminal, and waits until it runs. It returns the exit status: 0 once the
// daemon works, else that of the daemon, whose errors have gone to stderr.
func detach(args []string, stderr io.Writer) int {
	r, w, err := os.Pipe()
	if err != nil {
		printError(stderr, err)
		return 1
	}
	defer r.Close()
	path, err := os.Executable()
	if err != nil {
		printError(stderr, err)
		return 1
	}
	cmd := exec.Command(path, args...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), detachedEnv+"=1")
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start() // with /dev/null as its first three files
	w.Close()
	if err != nil {
		printError(stderr, err)
		return 1
	}
	if relay(stderr, r) {
		cmd.Process.Release()
		return 0
	}
	var exit *exec.ExitError
	if errors.As(cmd.Wait(), &exit) && exit.ExitCode() > 0 {
		return exit.ExitCode()
	}
	return 1
}

// ready is what the daemon sends when it works.
const ready = 0

// relay copies the errors that the daemon prints, and reports whether it became
// ready in the end.
func relay(w io.Writer, r io.Reader) bool {
	b := make([]byte, 4096)
	for {
		n, err := r.Read(b)
		text, _, isReady := bytes.Cut(b[:n], []byte{ready})
		w.Write(text)
		if isReady {
			return true
		}
		if err != nil {
			return false
		}
	}
}

// A parent is the process that waits until this one runs. What is written to it
// appears on its stderr.
type parent struct {
	mu   sync.Mutex
	pipe *os.File // nil once the parent has gone
}

// findParent returns the parent if this process is to go into the background,
// else nil.
func findParent() *parent {
	if os.Getenv(detachedEnv) == "" {
		return nil
	}
	os.Unsetenv(detachedEnv)
	syscall.CloseOnExec(reportFD)
	return &parent{pipe: os.NewFile(reportFD, "report")}
}

func (p *parent) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pipe == nil {
		return len(b), nil
	}
	return p.pipe.Write(b)
}

// done lets the parent go.
func (p *parent) done() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pipe.Write([]byte{ready})
	p.pipe.Close()
	p.pipe = nil
}
