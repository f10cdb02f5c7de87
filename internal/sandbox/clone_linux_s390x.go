package sandbox

import "golang.org/x/sys/unix"

// The first two arguments of clone, in the places of each other.
const (
	cloneFlags = 0
	cloneStack = unix.CLONE_VFORK | uintptr(unix.SIGCHLD)
)
