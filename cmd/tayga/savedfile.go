package main

import (
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/safepath"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/pool"
)

// A savedFile is what the daemon keeps in data-dir: leases, or sessions.
type savedFile struct {
	file string // its name
	dir  string // data-dir, for messages; empty if nothing is kept
	log  *logger
	less os.FileMode // permissions that the file as last seen did not give: nor does a new one
}

// savedNames are the files that a daemon with this configuration keeps.
func savedNames(c *taygaconf.Config) (names []string) {
	for _, p := range c.Pools {
		names = append(names, leaseFileOf(p.Pref64, p.Prefixes))
	}
	if len(c.Stateful.Pools) > 0 {
		names = append(names, sessionFileName)
	}
	return names
}

// savedFiles are those of this daemon.
func (d *daemon) savedFiles() (all []*savedFile) {
	for _, l := range d.leases {
		all = append(all, &l.savedFile)
	}
	if d.sessions != nil {
		all = append(all, &d.sessions.savedFile)
	}
	return all
}

// savedWhat names what the files hold, for messages.
func savedWhat(c *taygaconf.Config) string {
	switch {
	case len(c.Stateful.Pools) == 0:
		return "leases"
	case len(c.Pools) == 0:
		return "sessions"
	}
	return "leases and sessions"
}

// What follows the name of a file that was kept because something was left out.
const (
	damaged = ".damaged" // some of it made no sense
	old     = ".old"     // all did, but is of leases or sessions that cannot be any more
)

// preserve keeps a copy of a file from which something was left out, since the
// next save replaces it. Only users who may read the file may read the copy.
func (l *savedFile) preserve(f *os.File, suffix string) {
	perm := os.FileMode(0o600)
	if fi, err := f.Stat(); err == nil {
		perm = copyPerm(fi)
	}
	err := pool.ReplaceFilePerm(l.file+suffix, perm, func(w io.Writer) error {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		_, err := io.Copy(w, f)
		return err
	})
	if err != nil {
		l.log.warningf("Unable to keep a copy of it: %v", err)
		l.setAside(suffix)
		return
	}
	l.log.warningf("A copy of it is kept in %s/%s", l.dir, l.file+suffix)
}

// copyPerm returns the permissions for our copy of a file. If it is of another
// group, ours gets what all others have.
func copyPerm(fi os.FileInfo) os.FileMode {
	perm := fi.Mode().Perm()
	if st, ok := fi.Sys().(*syscall.Stat_t); !ok || int(st.Gid) != os.Getegid() {
		perm &^= 0o070 &^ (perm & 0o007 << 3)
	}
	return perm
}

// setAside keeps a file that cannot be read or copied from being replaced: the one
// that is opened by that name, not a symbolic link that leads to it. A link that
// is not followed is what is in the way itself.
func (l *savedFile) setAside(suffix string) {
	dir, name, err := safepath.Resolve(l.file)
	at, where := unix.AT_FDCWD, l.dir
	if err != nil {
		name = l.file
	} else {
		defer dir.Close()
		at = int(dir.Fd())
		if where = dir.Name(); where == "." {
			where = l.dir
		}
	}
	var st unix.Stat_t
	if err := unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil && st.Mode&unix.S_IFMT != unix.S_IFLNK {
		l.less = ^os.FileMode(st.Mode).Perm()
	}
	if err := unix.Renameat(at, name, at, name+suffix); err != nil {
		l.log.warningf("Unable to set it aside: %v", err)
		return
	}
	l.log.warningf("It is now %s/%s", where, name+suffix)
}

// linkedDir opens the directory that the file is in if it is a symbolic link; nil
// is data-dir.
func (l *savedFile) linkedDir() *os.File {
	if fi, err := os.Lstat(l.file); err != nil || fi.Mode().Type() != os.ModeSymlink {
		return nil
	}
	dir, _, err := safepath.Resolve(l.file)
	if err != nil {
		return nil // it will not be followed
	}
	return dir.File
}
