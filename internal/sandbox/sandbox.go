package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Access is what may be done below a path.
type Access uint8

const (
	ReadFiles   Access = iota // read files, list directories
	KeepFiles                 // the same, and write, make, rename and remove files
	RemoveFiles               // remove files
	RemoveDirs                // remove empty directories
	UseDevice                 // the path is a device: read, write, ioctl
)

// A Path is a directory with all that is below it, or a file. The kernel knows it
// by its inode, whatever becomes of its name: a file that is replaced is another.
type Path struct {
	At     *os.File // directory from which a relative Name counts; nil: the working directory
	Name   string   // empty: At itself, which need not be a directory then
	Access Access
}

// Capabilities is a set of capabilities, one bit each by their number.
type Capabilities uint64

// Those that a process may have to keep.
const (
	DACOverride Capabilities = 1 << 1  // pass over permissions of files
	NetAdmin    Capabilities = 1 << 12 // set up devices and routes
)

// String names the capabilities as capabilities(7) does, in lower case.
func (c Capabilities) String() string {
	if c == ^Capabilities(0) {
		return "not known"
	}
	var names []string
	for _, k := range []struct {
		set  Capabilities
		name string
	}{{DACOverride, "cap_dac_override"}, {NetAdmin, "cap_net_admin"}} {
		if c&k.set != 0 {
			names = append(names, k.name)
			c &^= k.set
		}
	}
	if c != 0 {
		names = append(names, fmt.Sprintf("others (%#x)", uint64(c)))
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ", ")
}

// A Config is what the process keeps. The zero value keeps nothing.
type Config struct {
	// Paths that stay within reach. A path that cannot be opened is left out:
	// what is out of reach needs no rule.
	Paths []Path
	// Keep are the capabilities that stay, of those that the process has.
	Keep Capabilities
	// Calls are the system calls that stay, FastPath whether those of the fast path do.
	Calls    Calls
	FastPath bool
	// Discover keeps, for a process that translates packets, what it takes to look for a
	// prefix by DNS and to have an address on a link: datagrams, and TCP to port 53.
	Discover bool
	// Network keeps, for one that is Helping, what it takes to change settings of the
	// network: netlink for packet filters too, and files.
	Network bool
}

// Calls are the system calls of a kind of process.
type Calls uint8

const (
	Attaching   Calls = iota // translates packets, and attaches to its TUN device
	Translating              // the same, but another process attaches
	Helping                  // attaches and sets up for another; opens the device only, reads no packet
)

// A Report says what Enter came to: nil is what is in force.
type Report struct {
	Landlock, Seccomp, NoNewPrivs, Dropped error

	Held Capabilities // what the process still may do
}

// parts are the errors by name, in the order in which they are told.
func (r *Report) parts() []part {
	return []part{{"landlock", r.Landlock}, {"seccomp", r.Seccomp}, {"no_new_privs", r.NoNewPrivs}}
}

type part struct {
	name string
	err  error
}

// String returns what is in force, for example
//
//	landlock, seccomp, no_new_privs; capabilities: none
func (r *Report) String() string {
	var on []string
	for _, p := range r.parts() {
		if p.err == nil {
			on = append(on, p.name)
		}
	}
	if on == nil {
		on = []string{"none"}
	}
	return fmt.Sprintf("%s; capabilities: %s", strings.Join(on, ", "), r.Held)
}

// Missing returns what is not in force, and why, a line for each reason.
func (r *Report) Missing() (lines []string) {
	var names []string
	for _, p := range append(r.parts(), part{"dropping of capabilities", r.Dropped}) {
		switch {
		case errors.Is(p.err, errThreads): // one reason for several
			names = append(names, p.name)
		case p.err != nil:
			lines = append(lines, fmt.Sprintf("no %s: %v", p.name, p.err))
		}
	}
	if names != nil {
		lines = append(lines, fmt.Sprintf("no %s: %v", strings.Join(names, ", no "), errThreads))
	}
	return lines
}

// errThreads is why a thread-wise restriction is impossible with cgo.
var errThreads = errors.New("not all threads of a program with cgo can be reached: build it with CGO_ENABLED=0")
