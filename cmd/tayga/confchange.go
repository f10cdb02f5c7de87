package main

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A confFile is the configuration file as it was when it was read. SIGHUP does not
// read it again, and says so if it has changed: operators expect a reload to.
type confFile struct {
	path string
	was  unix.Stat_t
	// file is the file itself, for a process in a jail, in which path is another one, and
	// for a user who cannot read the directory. It shows that the file was replaced: its
	// name is gone then, or its status has changed.
	file *os.File
	jail bool
}

// newConfFile takes note of a file, before it is read. What is no regular file, such
// as a pipe, is not watched. user says that the process will be another user's.
func newConfFile(name string, jail, user bool) *confFile {
	path, err := filepath.Abs(name) // the working directory will be data-dir
	c := &confFile{path: path, jail: jail}
	if err != nil || unix.Stat(path, &c.was) != nil || c.was.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	if jail || user {
		if c.file, err = os.Open(path); err != nil {
			return nil
		}
	}
	return c
}

// changed reports whether the file is another one by now, as far as the process may
// know.
func (c *confFile) changed() bool {
	if c == nil {
		return false
	}
	var is unix.Stat_t
	if !c.jail {
		switch err := unix.Stat(c.path, &is); err {
		case nil:
			return c.differs(&is)
		case unix.ENOENT:
			return true
		}
	}
	if c.file == nil {
		return false
	}
	err := unix.Fstat(int(c.file.Fd()), &is)
	return err == nil && (is.Nlink == 0 || is.Ctim != c.was.Ctim || c.differs(&is))
}

func (c *confFile) differs(is *unix.Stat_t) bool {
	return is.Dev != c.was.Dev || is.Ino != c.was.Ino || is.Mtim != c.was.Mtim || is.Size != c.was.Size
}
