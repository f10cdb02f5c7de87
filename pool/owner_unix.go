//go:build unix

package pool

import (
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// owned reports whether a file belongs to root or to the process's user.
func owned(fi fs.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && (st.Uid == 0 || int(st.Uid) == os.Geteuid())
}

// othersWrite reports whether more than the owner of a directory, and the group of
// root, can write it.
func othersWrite(dir fs.FileInfo) bool {
	st, ok := dir.Sys().(*syscall.Stat_t)
	return !ok || dir.Mode()&0o002 != 0 || dir.Mode()&0o020 != 0 && st.Gid != 0
}

// ownedBy reports whether a file belongs to root, to the process's user or to the
// owner of the directory that it is in.
func ownedBy(fi, dir fs.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	in, ok2 := dir.Sys().(*syscall.Stat_t)
	return owned(fi) || ok && ok2 && st.Uid == in.Uid
}

// sameGroup reports whether a file that the process makes in dir has the group of
// old without more ado.
func sameGroup(dir *os.Root, old fs.FileInfo) bool {
	st, ok := old.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	in, err := dir.Stat(".")
	if err != nil {
		return false
	}
	gid := os.Getegid()
	if d, ok := in.Sys().(*syscall.Stat_t); ok && in.Mode()&fs.ModeSetgid != 0 {
		gid = int(d.Gid)
	}
	return int(st.Gid) == gid
}

// keepOwner gives f the owner and the group of old, or at least the group. It
// reports whether f has the group.
func keepOwner(f *os.File, old fs.FileInfo) bool {
	st, ok := old.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	fi, err := f.Stat()
	if err != nil {
		return false
	}
	if now, ok := fi.Sys().(*syscall.Stat_t); ok && now.Uid == st.Uid && now.Gid == st.Gid {
		return true
	}
	if os.Geteuid() == 0 && f.Chown(int(st.Uid), int(st.Gid)) == nil {
		return true
	}
	// Not without need: a seccomp filter may end the process for the call.
	groups, _ := os.Getgroups()
	return slices.Contains(groups, int(st.Gid)) && f.Chown(-1, int(st.Gid)) == nil
}
