//go:build !linux

package status

import (
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/safepath"
)

func bindPath(path string, _ *safepath.Dir, _ string) string { return path }

// setGroup gives the socket's file a group. There is no descriptor of such a file
// here.
func setGroup(dir int, name string, gid int) error {
	return unix.Fchownat(dir, name, -1, gid, unix.AT_SYMLINK_NOFOLLOW)
}
