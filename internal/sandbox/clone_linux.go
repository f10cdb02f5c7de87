//go:build !s390x

package sandbox

import "golang.org/x/sys/unix"

// The first two arguments of clone, of which this processor has flags first.
const (
	cloneFlags = unix.CLONE_VFORK | uintptr(unix.SIGCHLD)
	cloneStack = 0
)
