// Package safepath opens directories and files where other users may be able to change a
// part of the path: a directory that they can write to, a symbolic link that they own, a
// hard link to another user's file. If a process of root opens such a path by name, the
// other user chooses the file.
//
// Every component is opened relative to the directory before it, without following
// symbolic links. A link is followed if it belongs to root or to the user of this process,
// in a directory that no other user can write to. A file is opened if it is a regular one
// and, where others can write to the directory, if it has a single hard link.
package safepath

import (
	"errors"
	"fmt"
)

// A Writer is a user other than root and this process's, or a group, who can
// change what is in a directory.
type Writer struct {
	Dir string // the directory, as walked to
	UID int    // its owner; -1: not by being its owner
	GID int    // the members of this group; -1: not by group
	// Sticky: only the owner of a file can rename or remove it there.
	Sticky bool
}

// Anyone reports whether every user can write.
func (w Writer) Anyone() bool { return w.UID < 0 && w.GID < 0 }

// String names the directory and who can write it.
func (w Writer) String() string {
	dir := w.Dir
	if dir == "." {
		dir = "its directory"
	}
	switch {
	case w.UID >= 0:
		return fmt.Sprintf("%s belongs to user %d", dir, w.UID)
	case w.GID >= 0:
		return fmt.Sprintf("%s can be written by group %d", dir, w.GID)
	}
	return fmt.Sprintf("%s can be written by every user", dir)
}

// errNotRegular is why a pipe, a device or a socket is not opened: to open or to
// read a pipe would take until a program writes.
var (
	errDirectory  = errors.New("is a directory")
	errNotRegular = errors.New("is not a regular file")
)
