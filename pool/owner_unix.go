//go:build unix

package pool

import (
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// stat returns what fi says of a file beyond what all systems know. fi is from package
// os.
func stat(fi fs.FileInfo) *syscall.Stat_t { return fi.Sys().(*syscall.Stat_t) }

// owned reports whether a file belongs to root or to the process's user.
func owned(fi fs.FileInfo) bool {
	uid := int(stat(fi).Uid)
	return uid == 0 || uid == os.Geteuid()
}

// othersWrite reports whether more than the owner of a directory, and the group of
// root, can write it.
func othersWrite(dir fs.FileInfo) bool {
	return dir.Mode()&0o002 != 0 || dir.Mode()&0o020 != 0 && stat(dir).Gid != 0
}

// ownedBy reports whether a file belongs to root, to the process's user or to the
// owner of the directory that it is in.
func ownedBy(fi, dir fs.FileInfo) bool {
	return owned(fi) || stat(fi).Uid == stat(dir).Uid
}

// sameGroup reports whether a file that the process makes in dir has the group of
// old without more ado.
func sameGroup(dir, old fs.FileInfo) bool {
	gid := os.Getegid()
	if dir.Mode()&fs.ModeSetgid != 0 {
		gid = int(stat(dir).Gid)
	}
	return int(stat(old).Gid) == gid
}

// keepOwner gives f the owner and the group of old, or at least the group. It
// reports whether f has the group.
func keepOwner(f *os.File, old fs.FileInfo) bool {
	fi, err := f.Stat()
	if err != nil {
		return false
	}
	st, now := stat(old), stat(fi)
	if now.Uid == st.Uid && now.Gid == st.Gid {
		return true
	}
	if os.Geteuid() == 0 && f.Chown(int(st.Uid), int(st.Gid)) == nil {
		return true
	}
	// Not without need: a seccomp filter may end the process for the call.
	groups, _ := os.Getgroups()
	return slices.Contains(groups, int(st.Gid)) && f.Chown(-1, int(st.Gid)) == nil
}
