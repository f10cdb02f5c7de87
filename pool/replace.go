package pool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// newFilePerm are the permissions of a new file.
const newFilePerm fs.FileMode = 0o644

// ReplaceFile writes a file so that a program that opens it, also after a crash
// at any moment, finds the old contents or the new, whole: it writes name~~
// in the same directory, syncs that to disk and renames it. write gets the new file. When
// ReplaceFile fails before the rename, the old file is unchanged and name~~ is removed.
// Only one call at a time may replace a file.
//
// The new file has the permissions of the old one, and its owner and group if
// the process may set them; with another group than the old one, members of the
// group may do what all other users may. A file that was not there, or that
// belongs to none of root, the process's user and the owner of the directory,
// gets 0644, less the umask, and no more than it had.
//
// If name is a symbolic link, the file that it leads to is replaced and the link
// stays, provided that root or the process's user made the link in a directory
// that no other user can write to. Any other link is an error.
func ReplaceFile(name string, write func(io.Writer) error) error {
	return replaced(name, replaceFile(name, nil, write))
}

// ReplaceFilePerm is ReplaceFile for a file that is to have these permissions,
// less the umask, and the process's user and group, whatever the old one had.
func ReplaceFilePerm(name string, perm fs.FileMode, write func(io.Writer) error) error {
	return replaced(name, replaceFile(name, &perm, write))
}

func replaced(name string, err error) error {
	if err != nil {
		return fmt.Errorf("pool: replace %s: %w", name, err)
	}
	return nil
}

// replaceFile replaces a file by one with permissions, nil for those that it has.
func replaceFile(name string, perm *fs.FileMode, write func(io.Writer) error) error {
	dir, base, err := locateFile(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	tmp := base + "~~"
	// Never write to a file that another user may have created there.
	if err := dir.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	like := attributes{perm: newFilePerm}
	if perm != nil {
		like.perm = *perm
	} else if old, err := dir.Lstat(base); err == nil && old.Mode().IsRegular() {
		like.keep(dir, old)
	}
	err = writeSynced(dir, tmp, like, write)
	if err == nil {
		err = dir.Rename(tmp, base)
	}
	if err != nil {
		dir.Remove(tmp)
		return err
	}
	return syncDir(dir)
}

// attributes are what a new file gets.
type attributes struct {
	perm fs.FileMode
	of   fs.FileInfo // whose owner and group it gets; nil: the process's
	dir  fs.FileInfo // where that is
}

// keep takes over what an old file has.
func (a *attributes) keep(dir *os.Root, old fs.FileInfo) {
	in, err := dir.Stat(".")
	if err != nil || !ownedBy(old, in) {
		a.perm &= old.Mode().Perm() // another user created it
		return
	}
	a.perm, a.of, a.dir = old.Mode().Perm(), old, in
}

// first returns the permissions that the file begins with: until it has its group, the
// one that it has may not do more than others.
func (a *attributes) first() fs.FileMode {
	if a.of != nil && !sameGroup(a.dir, a.of) {
		return othersOnly(a.perm)
	}
	return a.perm
}

// mostLinks is how many symbolic links a name may lead through, as in Linux.
const mostLinks = 40

// locateFile opens the directory of the file that name leads to, and returns the
// file's name in it, which is not that of a symbolic link.
func locateFile(name string) (dir *os.Root, base string, err error) {
	for range 1 + mostLinks {
		parent := filepath.Dir(name)
		if dir, err = os.OpenRoot(parent); err != nil {
			return nil, "", err
		}
		base = filepath.Base(name)
		link, err := dir.Lstat(base)
		if err != nil || link.Mode().Type() != fs.ModeSymlink {
			return dir, base, nil
		}
		target, err := trustedLink(dir, base, link)
		dir.Close()
		if err != nil {
			return nil, "", err
		}
		if name = target; !filepath.IsAbs(name) {
			name = parent + string(filepath.Separator) + name // not Join: .. may follow a link
		}
	}
	return nil, "", &fs.PathError{Op: "open", Path: name, Err: syscall.ELOOP}
}

// errForeignLink is why a file is not replaced.
var errForeignLink = errors.New("is a symbolic link that another user can make or change")

// trustedLink returns where a symbolic link leads to.
func trustedLink(dir *os.Root, base string, link fs.FileInfo) (string, error) {
	in, err := dir.Stat(".")
	if err != nil {
		return "", err
	}
	if !owned(link) || !owned(in) || othersWrite(in) {
		return "", &fs.PathError{Op: "open", Path: base, Err: errForeignLink}
	}
	return dir.Readlink(base)
}

// writeSynced makes a file.
func writeSynced(dir *os.Root, name string, like attributes, write func(io.Writer) error) error {
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, like.first())
	if err != nil {
		return err
	}
	if like.of != nil {
		restore(f, like)
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// restore gives a file its owner, group and permissions, as far as the process
// may: what it may not do leaves less to others, not more.
func restore(f *os.File, like attributes) {
	if !keepOwner(f, like.of) {
		return
	}
	if fi, err := f.Stat(); err == nil && fi.Mode().Perm() != like.perm {
		f.Chmod(like.perm)
	}
}

// othersOnly gives the group no more than every other user has.
func othersOnly(perm fs.FileMode) fs.FileMode {
	return perm &^ (0o070 &^ (perm & 0o007 << 3))
}

// syncDir makes a rename in a directory last. Some systems and file systems
// cannot, or need not.
func syncDir(dir *os.Root) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	return syncError(d.Sync())
}

// syncError is err, but for the errors of file systems that cannot sync a directory.
func syncError(err error) error {
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) {
		return nil
	}
	return err
}
