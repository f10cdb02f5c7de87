//go:build unix && !linux

package safepath

import "golang.org/x/sys/unix"

// searchOnly opens a directory that may be listed.
const searchOnly = unix.O_RDONLY

// magic reports whether the text of symbolic links in a directory is not their
// path.
func magic(int) bool { return false }
