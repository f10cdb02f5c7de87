package sandbox

import (
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Enter gives up all that c does not keep. It is to be called once, when
// everything is open, and never ends the process. The steps have an order: without no_new_privs the next
// ones want privileges, and the filter lets none of their system calls pass.
func Enter(c Config) *Report {
	runtime.LockOSThread() // seccomp hands on what this thread has
	defer runtime.UnlockOSThread()
	r := &Report{
		NoNewPrivs: unlessFatal(noNewPrivsTrials, noNewPrivs),
		Landlock:   unlessFatal(landlockTrials, func() error { return restrictPaths(c.Paths, c.Discover) }),
		Dropped:    unlessFatal(capabilitiesTrials, func() error { return dropCapabilities(c.Keep) }),
		Held:       permitted(),
	}
	r.Seccomp = unlessFatal(seccompTrials, func() error { return filterCalls(c) })
	if r.Seccomp == nil && r.NoNewPrivs == errThreads {
		r.NoNewPrivs = nil // on all threads by now, with the filter
	}
	return r
}

// unlessFatal takes a step if its system calls do not end the process.
func unlessFatal(trials []trial, step func() error) error {
	if err := endured(trials); err != nil {
		return err
	}
	return step()
}

// noNewPrivs sets the flag on all threads. If that is impossible it sets it on
// this one, from which seccomp takes it to the others, and returns errThreads.
func noNewPrivs() error {
	err := allThreads(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1)
	if err == errThreads {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
	}
	return err
}

// allThreads makes a system call on every thread. None of the calls made here
// returns ENOTSUP by itself.
//
//go:uintptrescapes
func allThreads(trap, a1, a2 uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall6(trap, a1, a2, 0, 0, 0, 0)
	switch errno {
	case 0:
		return nil
	case unix.ENOTSUP:
		return errThreads
	}
	return errno
}
