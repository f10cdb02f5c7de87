package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"

	"github.com/steppe-nat64/steppe/internal/safepath"
	"github.com/steppe-nat64/steppe/tun"
)

// identity is what the process turns into once it holds the device. Negative
// numbers stay as they are.
type identity struct {
	uid, gid int
	userName string
}

// lookUp finds the user and the group of the options by name; a number is a
// name too. Without a group it is the user's: the groups of root, who starts the
// daemon, are no part of what a user may do.
func lookUp(o options) (identity, error) {
	id := identity{uid: -1, gid: -1, userName: o.user}
	if o.user != "" {
		u, err := user.Lookup(o.user)
		if err != nil {
			return id, fmt.Errorf("unknown user %s", o.user)
		}
		if id.uid, err = strconv.Atoi(u.Uid); err != nil {
			return id, fmt.Errorf("user %s: %w", o.user, err)
		}
		if id.gid, err = strconv.Atoi(u.Gid); err != nil {
			return id, fmt.Errorf("group of user %s: %w", o.user, err)
		}
	}
	if o.group != "" {
		g, err := user.LookupGroup(o.group)
		if err != nil {
			return id, fmt.Errorf("unknown group %s", o.group)
		}
		if id.gid, err = strconv.Atoi(g.Gid); err != nil {
			return id, fmt.Errorf("group %s: %w", o.group, err)
		}
	}
	return id, nil
}

// owner returns who may attach without privilege to a device that the process makes:
// it itself, with the user and the group that it will have.
func (id identity) owner() tun.Owner {
	own := tun.Owner{UID: id.uid, GID: id.gid}
	if own.UID < 0 {
		own.UID = os.Geteuid()
	}
	if own.GID < 0 {
		own.GID = os.Getegid()
	}
	return own
}

// checkJail says what --chroot is of no use without.
func checkJail(id identity, dataDir string) error {
	switch {
	case dataDir == "":
		return errors.New("--chroot needs a data-dir to confine the process to")
	case id.uid < 0:
		return errors.New("--chroot needs --user: root can leave the directory again")
	case id.uid == 0:
		return errors.New("--chroot needs another user than root, who can leave the directory again")
	}
	return nil
}

// jail confines the process to its working directory, which becomes its root. The
// directory is the one that was entered, and that the files were looked for in: by
// its name another one could be found by now.
func jail() error {
	if err := syscall.Chroot("."); err != nil {
		return fmt.Errorf("chroot to data-dir: %w", err)
	}
	return nil
}

// drop gives up the present identity of the whole process, for good: saved ids
// go too, and all capabilities with the root user. What is open stays open.
func (id identity) drop() error {
	if id.held() {
		return nil // and no privilege to give up groups
	}
	if id.gid >= 0 {
		if err := syscall.Setgroups([]int{id.gid}); err != nil {
			return fmt.Errorf("set the supplementary groups: %w", err)
		}
		if err := syscall.Setgid(id.gid); err != nil {
			return fmt.Errorf("set the group id to %d: %w", id.gid, err)
		}
	}
	if id.uid >= 0 {
		if err := syscall.Setuid(id.uid); err != nil {
			return fmt.Errorf("set the user id to %d: %w", id.uid, err)
		}
	}
	return nil
}

// held reports whether a process without root's privileges is that already.
func (id identity) held() bool {
	uid := os.Geteuid()
	return uid != 0 && (id.uid < 0 || id.uid == uid) && (id.gid < 0 || id.gid == os.Getegid())
}

// fits reports whether a user who can write to a directory is the user or in the group
// that the daemon runs as.
func (id identity) fits(w safepath.Writer) bool {
	return w.UID >= 0 && w.UID == id.uid || w.GID >= 0 && (w.GID == id.gid || id.gid < 0 && w.GID == os.Getegid())
}

// strangers are those who can write a directory and are neither root nor the
// daemon's user, the most dangerous first.
func strangers(writers []safepath.Writer, id identity) (list []safepath.Writer) {
	for _, w := range writers {
		if !id.fits(w) {
			list = append(list, w)
		}
	}
	slices.SortStableFunc(list, func(a, b safepath.Writer) int {
		switch {
		case a.Sticky == b.Sticky:
			return 0
		case b.Sticky:
			return -1
		}
		return 1
	})
	return list
}

// umask is what the process has inherited. It is no longer in force: files are made
// with the mode that they are to have, which may be that of an older file.
var umask os.FileMode

// takeUmask is called once, before there are files to make.
func takeUmask() { umask = os.FileMode(syscall.Umask(0)) & os.ModePerm }

// created returns the mode of a file that is made where there was none.
func created(mode uint32) uint32 { return mode &^ uint32(umask) }
