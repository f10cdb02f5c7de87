//go:build unix && !linux

package safepath

import "golang.org/x/sys/unix"

// searchOnly opens a directory that may be listed.
const searchOnly = unix.O_RDONLY
