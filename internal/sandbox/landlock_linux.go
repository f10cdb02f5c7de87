package sandbox

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The rights of Landlock's first version, Linux 5.13, and those that came later
// with the version that brought them.
const (
	rightsAtFirst = unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1
	versionRefer  = 2
	versionTrunc  = 3
	versionTCP    = 4
	versionIoctl  = 5
)

// rights are those of each Access. The right to refer is none of them: files are
// not moved from one directory to another.
var rights = map[Access]uint64{
	ReadFiles:   unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR,
	RemoveFiles: unix.LANDLOCK_ACCESS_FS_REMOVE_FILE,
	RemoveDirs:  unix.LANDLOCK_ACCESS_FS_REMOVE_DIR,
	KeepFiles: unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR |
		unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE |
		unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE,
	UseDevice: unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
		unix.LANDLOCK_ACCESS_FS_IOCTL_DEV,
}

// rightsToFiles are those that a rule for something else than a directory may
// give.
const rightsToFiles = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
	unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV

// restrictPaths leaves all threads no files but those below paths, and no TCP
// connections, or those to resolvers alone.
func restrictPaths(paths []Path, resolve bool) error {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch errno {
	case 0:
	case unix.ENOSYS:
		return errors.New("the kernel does not know it")
	case unix.EOPNOTSUPP:
		return errors.New("it is switched off in the kernel")
	default:
		return errno
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: rightsAtFirst}
	if version >= versionRefer {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if version >= versionTrunc {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if version >= versionTCP {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if version >= versionIoctl {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	// Kernels that know less of the structure take what is zero for the rest.
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return fmt.Errorf("landlock_create_ruleset: %w", errno)
	}
	ruleset := int(fd)
	defer unix.Close(ruleset)
	for _, p := range paths {
		if err := addRule(ruleset, p, attr.Handled_access_fs); err != nil {
			return err
		}
	}
	if resolve && attr.Handled_access_net != 0 {
		if err := addPort(ruleset, portDomain); err != nil {
			return err
		}
	}
	return allThreads(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), 0)
}

// open returns a descriptor of the path.
func (p Path) open() (int, error) {
	switch {
	case p.At == nil:
		return unix.Open(p.Name, unix.O_PATH|unix.O_CLOEXEC, 0)
	case p.Name == "":
		return unix.FcntlInt(p.At.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	}
	return unix.Openat(int(p.At.Fd()), p.Name, unix.O_PATH|unix.O_CLOEXEC, 0)
}

// addRule allows what p stands for, as far as the kernel could forbid it.
func addRule(ruleset int, p Path, handled uint64) error {
	fd, err := p.open()
	if err != nil {
		return nil // see Config
	}
	defer unix.Close(fd)
	rule := unix.LandlockPathBeneathAttr{Allowed_access: rights[p.Access] & handled, Parent_fd: int32(fd)}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		rule.Allowed_access &= rightsToFiles
	}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("landlock_add_rule %s: %w", p.Name, errno)
	}
	return nil
}

// portDomain is the port of resolvers.
const portDomain = 53

// addPort allows to connect to a port by TCP.
func addPort(ruleset int, port uint64) error {
	rule := netPortAttr{access: unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, port: port}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), ruleNetPort,
		uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("landlock_add_rule port %d: %w", port, errno)
	}
	return nil
}

// ruleNetPort is LANDLOCK_RULE_NET_PORT, linux/landlock.h.
const ruleNetPort = 2

// netPortAttr is struct landlock_net_port_attr, linux/landlock.h.
type netPortAttr struct{ access, port uint64 }
