package sandbox

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A service manager may have put the process under a filter of its own, and systemd's
// ends the process for a call that is not listed, unless SystemCallErrorNumber= says
// otherwise. Then to give something up could be the last that the process does, so
// each call is made in a child first. The child is made by clone and nothing else is
// needed for that, since the Go runtime needs clone, too: it is not waited for, and
// what it has to say lies in memory.

// A trial is a system call as a filter sees it, with arguments that do no harm.
type trial struct {
	name string
	nr   uintptr
	args [6]uintptr
}

// nowhere is a descriptor that is not open.
const nowhere = ^uintptr(0)

// What each step makes of the kernel.
var (
	noNewPrivsTrials = []trial{
		{"prctl", unix.SYS_PRCTL, [6]uintptr{unix.PR_SET_NO_NEW_PRIVS, 1}},
	}
	landlockTrials = []trial{
		{"landlock_create_ruleset", unix.SYS_LANDLOCK_CREATE_RULESET, [6]uintptr{0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION}},
		{"landlock_create_ruleset", unix.SYS_LANDLOCK_CREATE_RULESET, [6]uintptr{0, unsafe.Sizeof(unix.LandlockRulesetAttr{}), 0}},
		{"landlock_add_rule", unix.SYS_LANDLOCK_ADD_RULE, [6]uintptr{nowhere, unix.LANDLOCK_RULE_PATH_BENEATH}},
		{"landlock_restrict_self", unix.SYS_LANDLOCK_RESTRICT_SELF, [6]uintptr{nowhere}},
	}
	readCapabilitiesTrials = []trial{
		{"capget", unix.SYS_CAPGET, [6]uintptr{}},
	}
	capabilitiesTrials = []trial{
		{"capget", unix.SYS_CAPGET, [6]uintptr{}},
		{"capset", unix.SYS_CAPSET, [6]uintptr{}},
	}
	boundingTrials = []trial{
		{"prctl", unix.SYS_PRCTL, [6]uintptr{unix.PR_CAPBSET_DROP, nowhere}},
	}
	undumpableTrials    = []trial{undumped}
	endWithParentTrials = []trial{
		{"prctl", unix.SYS_PRCTL, [6]uintptr{unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL)}},
	}
	// What it takes to start a process, to talk to it, and to clean up if it does not start.
	runTrials = []trial{
		{"execve", unix.SYS_EXECVE, [6]uintptr{}},
		{"chdir", unix.SYS_CHDIR, [6]uintptr{}},
		{"dup3", unix.SYS_DUP3, [6]uintptr{nowhere, nowhere}},
		{"prlimit64", unix.SYS_PRLIMIT64, [6]uintptr{0, unix.RLIMIT_NOFILE}},
		{"wait4", unix.SYS_WAIT4, [6]uintptr{nowhere, 0, unix.WNOHANG}},
		{"getppid", unix.SYS_GETPPID, [6]uintptr{}},
		{"socketpair", unix.SYS_SOCKETPAIR, [6]uintptr{nowhere}},
		{"sendmsg", unix.SYS_SENDMSG, [6]uintptr{nowhere}},
		{"recvmsg", unix.SYS_RECVMSG, [6]uintptr{nowhere}},
		{"shutdown", unix.SYS_SHUTDOWN, [6]uintptr{nowhere}},
		{"getsockopt", unix.SYS_GETSOCKOPT, [6]uintptr{nowhere}},
		{"getsockname", unix.SYS_GETSOCKNAME, [6]uintptr{nowhere}},
		{"getpeername", unix.SYS_GETPEERNAME, [6]uintptr{nowhere}},
	}
	ambientTrials = []trial{
		{"capget", unix.SYS_CAPGET, [6]uintptr{}},
		{"capset", unix.SYS_CAPSET, [6]uintptr{}},
		{"prctl", unix.SYS_PRCTL, [6]uintptr{unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_IS_SET, unix.CAP_NET_ADMIN}},
	}
	seccompTrials = []trial{
		{"seccomp", unix.SYS_SECCOMP, [6]uintptr{unix.SECCOMP_SET_MODE_FILTER, filterFlags}},
		{"seccomp", unix.SYS_SECCOMP, [6]uintptr{unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC}},
	}
	accessTrials = []trial{
		{"faccessat2", unix.SYS_FACCESSAT2, [6]uintptr{nowhere, 0, 0, unix.AT_EACCESS}},
	}
	programTrials = []trial{ // of which nothing is valid
		{"bpf", unix.SYS_BPF, [6]uintptr{unix.BPF_MAP_CREATE}},
		{"bpf", unix.SYS_BPF, [6]uintptr{unix.BPF_PROG_LOAD}},
	}
	groupsTrials = []trial{
		{"getgroups", unix.SYS_GETGROUPS, [6]uintptr{}},
	}
)

// foreign reports whether the process is under a filter already, or may be: in a jail
// there is nothing that tells.
var foreign = sync.OnceValue(func() bool {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return true
	}
	_, mode, found := strings.Cut(string(text), "\nSeccomp:")
	mode, _, _ = strings.Cut(mode, "\n")
	return found && strings.TrimSpace(mode) != "0"
})

// endured returns nil if the process survives these calls, whether or not they succeed.
func endured(trials []trial) error {
	if !foreign() {
		return nil
	}
	var fatal []string
	for _, t := range trials {
		ok, err := t.result()
		if err != nil {
			return fmt.Errorf("the process was started with a seccomp filter, and whether that permits %s cannot be tried: %w", t.name, err)
		}
		if !ok && !slices.Contains(fatal, t.name) {
			fatal = append(fatal, t.name)
		}
	}
	if fatal != nil {
		return fmt.Errorf("the seccomp filter that the process was started with kills it for these calls: %s", strings.Join(fatal, " "))
	}
	return nil
}

// MayAsk reports whether the process may call faccessat2. It may not where that would
// end it.
func MayAsk() bool { return endured(accessTrials) == nil }

// MayAskGroups reports the same of getgroups.
func MayAskGroups() bool { return endured(groupsTrials) == nil }

// MayLoad returns nil if the process may load programs into the kernel, as far as a filter
// that would end it has a say.
func MayLoad() error { return endured(programTrials) }

// MayRun returns nil if the process may start another one and talk to it, as far as a
// filter has a say. ambient says that the other one is to inherit capabilities.
func MayRun(ambient bool) error {
	if err := endured(runTrials); err != nil || !ambient {
		return err
	}
	return endured(ambientTrials)
}

// Undumpable keeps other processes of the same user from looking into this one.
func Undumpable() error {
	return unlessFatal(undumpableTrials, func() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) })
}

// EndWithParent has the kernel kill this process when the thread that started it ends.
// The calling thread has to last as long as the process.
func EndWithParent() error {
	return unlessFatal(endWithParentTrials, func() error {
		return unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
	})
}

// results are those of the trials so far.
var (
	resultsMu sync.Mutex
	results   = map[trial]result{}
)

type result struct {
	lived bool
	err   error
}

// undumped is the trial of a call that keeps a child from leaving a core file, which
// the service manager would report.
var undumped = trial{"prctl", unix.SYS_PRCTL, [6]uintptr{unix.PR_SET_DUMPABLE, 0}}

// result makes the call in a child, the first time, and reports whether that lived on.
func (t trial) result() (bool, error) {
	resultsMu.Lock()
	defer resultsMu.Unlock()
	if _, found := results[undumped]; !found {
		lived, err := undumped.survive(false)
		results[undumped] = result{lived, err}
	}
	r, found := results[t]
	if !found {
		r.lived, r.err = t.survive(results[undumped].lived)
		results[t] = r
	}
	return r.lived, r.err
}

func (t *trial) survive(quietly bool) (bool, error) {
	shared, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
	if err != nil {
		return false, err
	}
	defer unix.Munmap(shared)
	// The kernel removes a child whose end is ignored by itself: no call is needed that
	// might be missing, too. What comes after Enter has no children.
	signal.Ignore(unix.SIGCHLD)

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// No handler is to run in the child, where no other thread is.
	all, before := [1]uint64{^uint64(0)}, [1]uint64{}
	mask := func(set, old *[1]uint64) {
		unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
	}
	mask(&all, &before)
	errno := spawn(t, quietly, (*uint32)(unsafe.Pointer(&shared[0])))
	mask(&before, nil)
	if errno != 0 {
		return false, errno
	}
	return *(*uint32)(unsafe.Pointer(&shared[0])) == lived, nil
}

const lived = 1

// spawn makes a child that makes the call and says so. It returns when the child is
// gone: that is what CLONE_VFORK is for. The child has memory of its own, so that its
// end is used by no other process, and it is a copy of one thread: nothing may be called in it
// that the Go runtime takes part in.
//
//go:norace
//go:nosplit
//go:noinline
func spawn(t *trial, quietly bool, said *uint32) syscall.Errno {
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, cloneFlags, cloneStack, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return errno
	}
	if quietly {
		syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0, 0, 0, 0)
	}
	syscall.RawSyscall6(t.nr, t.args[0], t.args[1], t.args[2], t.args[3], t.args[4], t.args[5])
	*said = lived
	for {
		syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 0, 0, 0, 0, 0, 0)
	}
}
