package safepath

import "golang.org/x/sys/unix"

// searchOnly opens a directory that may be passed, if not listed.
const searchOnly = unix.O_PATH

// magic reports whether symbolic links in a directory are those of /proc: what
// /proc/self/fd/3 leads to may have another path than its text, or none.
func magic(dir int) bool {
	var fs unix.Statfs_t
	return unix.Fstatfs(dir, &fs) == nil && fs.Type == unix.PROC_SUPER_MAGIC
}
