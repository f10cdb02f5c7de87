package status

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/safepath"
)

// bindPath returns the name to bind: where others can change the way to the
// directory, one that leads through the directory that is held open.
func bindPath(path string, dir *safepath.Dir, name string) string {
	if len(dir.Writers) == 0 {
		return path
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name)
}

// setGroup gives the socket's file a group, by a descriptor: what another program
// has put in its place is no socket of ours.
func setGroup(dir int, name string, gid int) error {
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if !isSocket(&st) || int(st.Uid) != os.Geteuid() || st.Nlink != 1 {
		return errors.New("another program has created a file there")
	}
	return unix.Fchownat(fd, "", -1, gid, unix.AT_EMPTY_PATH)
}
