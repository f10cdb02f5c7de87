package netlab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// requireEnv is the environment variable that turns a skip into a failure.
const requireEnv = "STEPPE_REQUIRE_NETNS"

// ErrUnavailable is wrapped by the error of Open where this machine or user
// can't have network namespaces, and by errors about a missing nft.
var ErrUnavailable = errors.New("no network laboratory here")

// Lab is a set of hosts and everything that was started or opened in them.
type Lab struct {
	t     reporter
	err   error // the first failure of setting up
	hosts []*Host

	// ctx ends when Close begins: a connection that is being set up is not there
	// to be closed yet.
	ctx    context.Context
	cancel context.CancelFunc

	close   sync.Once
	mu      sync.Mutex
	closed  bool
	cleanup []func() // run by Close, last one first
}

// reporter is the part of testing.TB that failures of setting up go to.
type reporter interface {
	Helper()
	Fatal(args ...any)
	Skipf(format string, args ...any)
}

// keeper stands in for a test in a lab from Open, where Lab.err does the work.
type keeper struct{}

func (keeper) Helper()              {}
func (keeper) Fatal(...any)         {}
func (keeper) Skipf(string, ...any) {}

// New returns an empty laboratory that is torn down at the end of the test, also
// of a failed one. It skips the test, with the reason, where network namespaces
// or /dev/net/tun can't be had; with STEPPE_REQUIRE_NETNS=1 it fails the test. The
// directories that t.TempDir returns are there until the laboratory is gone.
func New(t testing.TB) *Lab {
	t.Helper()
	// They are removed by a cleanup that their first call registers. A daemon that
	// writes in one meanwhile would fail the test.
	t.TempDir()
	l := newLab(t)
	if err := available(); err != nil {
		l.missing(err)
	}
	t.Cleanup(l.Close)
	return l
}

// Open returns an empty laboratory for a program that is not a test. Its error
// says what is missing and wraps ErrUnavailable. The caller checks Err after
// setting up and calls Close when done.
func Open() (*Lab, error) {
	if err := available(); err != nil {
		return nil, err
	}
	return newLab(keeper{}), nil
}

func newLab(t reporter) *Lab {
	ctx, cancel := context.WithCancel(context.Background())
	return &Lab{t: t, ctx: ctx, cancel: cancel}
}

// Err returns the first failure of setting up, or nil. It is always nil in a lab
// from New, where such a failure ends the test.
func (l *Lab) Err() error { return l.err }

// Close ends all processes of the lab, closes its sockets and captures and gives
// up its namespaces, which the kernel then removes together with their links.
// It waits for the processes, not for the kernel's removal. It may be called at
// any time once the lab is set up; what is going on then ends with an error.
func (l *Lab) Close() {
	l.close.Do(func() {
		l.cancel()
		l.mu.Lock()
		todo := l.cleanup
		l.cleanup, l.closed = nil, true
		l.mu.Unlock()
		for _, f := range slices.Backward(todo) {
			f()
		}
	})
}

// atClose runs f when the lab closes, or at once if it has closed already.
func (l *Lab) atClose(f func()) {
	l.mu.Lock()
	if !l.closed {
		l.cleanup = append(l.cleanup, f)
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	f()
}

// closeAtEnd closes c when the lab closes. An open socket would keep its
// namespace alive beyond that.
func (l *Lab) closeAtEnd(c io.Closer) {
	l.atClose(func() { c.Close() })
}

// fail keeps the first failure of setting up and ends the test, if there is one.
func (l *Lab) fail(err error) {
	l.t.Helper()
	if l.err == nil {
		l.err = err
	}
	l.t.Fatal(err)
}

// missing is fail for things that this machine lacks: a test is skipped where
// skipping is allowed.
func (l *Lab) missing(err error) {
	l.t.Helper()
	if os.Getenv(requireEnv) != "1" {
		l.t.Skipf("%v (with %s=1 this is a failure)", err, requireEnv)
	}
	l.fail(err)
}

// available returns nil if network namespaces and TUN devices can be made.
func available() error {
	if os.Geteuid() != 0 {
		return unavailable("network namespaces need root: run as root or with sudo", nil)
	}
	tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return unavailable("load the tun module or let this container use the device", err)
	}
	tun.Close()
	if err := tryUnshare(); err != nil {
		return unavailable("network namespaces need CAP_SYS_ADMIN", err)
	}
	return nil
}

func unavailable(advice string, cause error) error {
	if cause == nil {
		return fmt.Errorf("netlab: %w: %s", ErrUnavailable, advice)
	}
	return fmt.Errorf("netlab: %w: %w: %s", ErrUnavailable, cause, advice)
}

// tryUnshare makes a namespace in a thread that ends with it.
func tryUnshare() error {
	res := make(chan error)
	go func() {
		home, err := enterNew()
		if err == nil {
			err = leave(home)
		}
		res <- err
	}()
	return <-res
}

// enterNew locks the goroutine to its thread and moves the thread into a fresh
// network namespace. It returns the namespace that the thread came from. After
// an error the thread is where it was, and unlocked.
func enterNew() (home int, err error) {
	runtime.LockOSThread()
	home, err = threadNS()
	if err == nil {
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			return home, nil
		}
		unix.Close(home)
		err = fmt.Errorf("unshare: %w", err)
	}
	runtime.UnlockOSThread()
	return -1, err
}

// leave moves the thread back to the namespace home, closes that and unlocks the
// thread. If moving fails, the thread stays locked: it must not run any other
// goroutine, and ends with the one it is locked to.
func leave(home int) error {
	defer unix.Close(home)
	if err := unix.Setns(home, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("netlab: return from a network namespace: %w", err)
	}
	runtime.UnlockOSThread()
	return nil
}

// threadNS opens the network namespace of the calling thread.
func threadNS() (int, error) {
	const path = "/proc/thread-self/ns/net"
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	return fd, nil
}
