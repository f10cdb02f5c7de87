// Package safepath opens directories and files where other users may be able to
// change something on the way: a directory that they can write, a symbolic link
// that they made, a hard link to somebody else's file. A process of root that
// opens such a path by name does what the other user wants.
//
// Every component is opened from the directory before it, without following
// symbolic links. A link is followed if root or this process's user made it in a
// directory that nobody else can write. A file is opened if it is a regular one
// and, where others can write the directory, if it has no second name there or
// elsewhere.
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
// read a pipe would take until somebody writes.
var (
	errDirectory  = errors.New("is a directory")
	errNotRegular = errors.New("is not a regular file")
)
