package safepath

import "golang.org/x/sys/unix"

// searchOnly opens a directory that may be passed, if not listed.
const searchOnly = unix.O_PATH
