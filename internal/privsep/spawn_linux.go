package privsep

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/sandbox"
)

// Name is how the helper is called in lists of processes.
const Name = "tayga-helper"

// The mark of the process that is to be the helper: its name and this variable.
const markEnv = "TAYGA_HELPER"

// Descriptors of the helper: its end of the pair of sockets, and the program, if there is one.
const (
	socketFD  = 3
	programFD = 4
)

// environment is all that the helper gets: little memory, one processor, and no variable
// that is for the daemon.
var environment = []string{markEnv + "=1", "GOMAXPROCS=1", "GOMEMLIMIT=32MiB"}

// Marked reports whether this process was started to be the helper.
func Marked() bool { return len(os.Args) > 0 && os.Args[0] == Name && os.Getenv(markEnv) != "" }

// Prepare gives the helper its name, and makes it a process that no program stops, looks into
// or outlives. One that has to undo something notices the end of the daemon by the socket
// alone, and does that first. The calling goroutine is that which serves.
func Prepare(undoes bool) {
	runtime.LockOSThread() // for EndWithParent
	if f, err := os.OpenFile("/proc/self/comm", os.O_WRONLY, 0); err == nil {
		f.WriteString(Name)
		f.Close()
	}
	// Neither is needed for the helper to work, and a filter may be in the way.
	_ = sandbox.Undumpable()
	if !undoes {
		_ = sandbox.EndWithParent()
	}
}

// inherits reports whether the helper has to be given its capability: a program that root
// runs has it anyway.
func inherits() bool { return os.Geteuid() != 0 }

// spawn starts this program once more. The calling thread has to last as long as the
// process: see sandbox.EndWithParent. stdin, socket and program are the helper's.
func spawn(device string, stdin, socket, program int) (pid int, err error) {
	self := "/proc/self/exe" // also if another program has its name by now
	// A shell that kills its job kills the daemon's process group: the helper may have to
	// undo something then.
	attr := &syscall.ProcAttr{Dir: "/", Env: environment, Sys: &syscall.SysProcAttr{Setpgid: true}}
	if inherits() {
		attr.Sys.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN}
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	attr.Files = []uintptr{uintptr(stdin), null.Fd(), uintptr(unix.Stderr), uintptr(socket)}
	if program >= 0 {
		attr.Files = append(attr.Files, uintptr(program))
	}
	closeOnExec()
	if pid, err = syscall.ForkExec(self, []string{Name, device}, attr); err != nil {
		return 0, fmt.Errorf("run %s: %w", self, err)
	}
	return pid, nil
}

// closeOnExec keeps descriptors that this process was started with, and that no program has
// marked so, from the helper.
func closeOnExec() {
	list, _ := os.ReadDir("/proc/self/fd")
	for _, f := range list {
		if fd, err := strconv.Atoi(f.Name()); err == nil && fd > unix.Stderr {
			unix.CloseOnExec(fd)
		}
	}
}
