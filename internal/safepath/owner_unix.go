//go:build unix

package safepath

import (
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// foreignWriters returns who can write a directory, but for root and this
// process's user. The owner can always, since he sets the mode.
func foreignWriters(path string, st *unix.Stat_t) (list []Writer) {
	mode := uint32(st.Mode)
	sticky := mode&unix.S_ISVTX != 0
	if !own(st.Uid) {
		list = append(list, Writer{Dir: path, UID: int(st.Uid), GID: -1})
	}
	if mode&unix.S_IWGRP != 0 && st.Gid != 0 {
		list = append(list, Writer{Dir: path, UID: -1, GID: int(st.Gid), Sticky: sticky})
	}
	if mode&unix.S_IWOTH != 0 {
		list = append(list, Writer{Dir: path, UID: -1, GID: -1, Sticky: sticky})
	}
	return list
}

// OthersWrite reports whether a user other than root and this process's can change
// what is in a directory.
func OthersWrite(dir *unix.Stat_t) bool { return len(foreignWriters("", dir)) > 0 }

// own reports whether a user is root or this process's.
func own(uid uint32) bool {
	return uid == 0 || int(uid) == os.Geteuid() || uid == overflowUID && unmapped()
}

// overflowUID is the owner of all files whose owner a user namespace does not
// know.
const overflowUID = 65534

// unmapped reports whether this process is in a user namespace without a user of
// that number. What belongs to it there is outside of the namespace: most often
// root's.
var unmapped = sync.OnceValue(func() bool {
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		first, err1 := strconv.ParseUint(f[0], 10, 32)
		n, err2 := strconv.ParseUint(f[2], 10, 32)
		if err1 != nil || err2 != nil || first <= overflowUID && overflowUID < first+n {
			return false
		}
	}
	return true
})
