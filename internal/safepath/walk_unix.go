//go:build unix

package safepath

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// mostLinks is how many symbolic links a path may lead through, as in the kernel.
const mostLinks = 40

// A Dir is a directory that is held open.
type Dir struct {
	*os.File
	// Writers are the users who can change what is in the directory, or put
	// another one in its place.
	Writers []Writer
}

// Open opens the directory path. Symbolic links on the way are followed if they
// can be trusted; see the package comment.
func Open(path string) (*Dir, error) {
	if path != "" {
		path += "/."
	}
	d, _, err := Resolve(path)
	return d, err
}

// OpenRegular opens a regular file for reading. A relative path counts from the
// directory dir; nil is the working directory.
func OpenRegular(dir *os.File, path string) (*os.File, error) {
	w, err := walk(at(dir), path)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer w.close()
	flags := unix.O_RDONLY | unix.O_NOFOLLOW
	if w.magic {
		flags = unix.O_RDONLY
	}
	return opened(path)(openIn(w.fd, w.base, flags, 0, len(w.writers)+len(w.foreign) > 0))
}

// Resolve returns the directory and the name that a path leads to once all
// symbolic links that can be trusted were followed. The file need not exist.
func Resolve(path string) (*Dir, string, error) {
	w, err := walk(unix.AT_FDCWD, path)
	if err != nil {
		return nil, "", &os.PathError{Op: "open", Path: strings.TrimSuffix(path, "/."), Err: err}
	}
	return &Dir{os.NewFile(uintptr(w.fd), w.path), append(w.writers, w.foreign...)}, w.base, nil
}

// Create is os.Create, but for a directory that others can write: there, it makes a
// file or empties a regular one of root or of this process's user that has no other
// name, and follows no link.
func Create(path string) (*os.File, error) {
	d, err := Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	if len(d.Writers) == 0 {
		return os.Create(path)
	}
	f, err := d.OpenFile(filepath.Base(path), unix.O_RDWR|unix.O_CREAT, 0o666)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(int(f.Fd()), &st); err == nil && !own(st.Uid) {
		err = fmt.Errorf("belongs to user %d, in a directory that others can write", st.Uid)
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err != nil {
		f.Close()
		return nil, &os.PathError{Op: "create", Path: path, Err: err}
	}
	return f, nil
}

// OpenFile opens the regular file name in the directory, with the flags of open(2).
// A symbolic link of that name is an error and, if others can write the directory,
// so is a file with a second name.
func (d *Dir) OpenFile(name string, flags int, perm uint32) (*os.File, error) {
	return opened(name)(openIn(at(d.File), name, flags|unix.O_NOFOLLOW, perm, len(d.Writers) > 0))
}

// OpenIn opens the regular file name in a directory, nil for the working directory,
// with the flags of open(2). A symbolic link of that name is an error.
func OpenIn(dir *os.File, name string, flags int, perm uint32) (*os.File, error) {
	return opened(name)(openIn(at(dir), name, flags|unix.O_NOFOLLOW, perm, false))
}

// opened adds the name of a file to the error of its opening.
func opened(name string) func(*os.File, error) (*os.File, error) {
	return func(f *os.File, err error) (*os.File, error) {
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
		return f, nil
	}
}

func openIn(dir int, name string, flags int, perm uint32, single bool) (*os.File, error) {
	fd, err := openat(dir, name, flags|unix.O_NONBLOCK, perm)
	if err == unix.ELOOP || err == unix.EMLINK { // the latter on FreeBSD
		return nil, fmt.Errorf("is a symbolic link: %w", err)
	}
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil {
		err = checkRegular(&st, single)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// checkRegular refuses what is no regular file and, with single, a file that has
// a second name: that may be in a directory of which its owner knows.
func checkRegular(st *unix.Stat_t, single bool) error {
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return errDirectory
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return errNotRegular
	case single && st.Nlink > 1:
		return fmt.Errorf("has %d names (hard links) in a directory that others can write", st.Nlink)
	}
	return nil
}

func at(dir *os.File) int {
	if dir == nil {
		return unix.AT_FDCWD
	}
	return int(dir.Fd())
}

// A walker is on its way along a path.
type walker struct {
	fd      int    // of the directory
	path    string // to it, for messages
	base    string // the name in it that is left to open
	writers []Writer
	foreign []Writer // those of the directory itself
	links   int
	magic   bool // base is a link that only the kernel can follow
}

func (w *walker) close() {
	if w.fd >= 0 {
		unix.Close(w.fd)
		w.fd = -1
	}
}

// walk opens all of a path but its last component; if that is a symbolic link, it
// goes on to where the link leads.
func walk(start int, path string) (*walker, error) {
	if path == "" {
		return nil, unix.ENOENT
	}
	w := &walker{fd: -1}
	if !strings.HasPrefix(path, "/") {
		if err := w.enter(start, ".", ".", unix.O_NOFOLLOW); err != nil {
			return nil, err
		}
	}
	if err := w.along(path); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// along follows a path from where the walker is.
func (w *walker) along(path string) error {
	if strings.HasPrefix(path, "/") {
		w.close()
		if err := w.enter(unix.AT_FDCWD, "/", "/", unix.O_NOFOLLOW); err != nil {
			return err
		}
	}
	var names []string
	for _, name := range strings.Split(path, "/") {
		if name != "" {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		names = []string{"."}
	}
	for _, name := range names[:len(names)-1] {
		target, owner, err := w.look(name)
		if err == nil && target != "" {
			err = w.enterLink(name, target, owner)
		} else if err == nil {
			err = w.step(name)
		}
		if err != nil {
			return err
		}
	}
	w.base = names[len(names)-1]
	target, owner, err := w.look(w.base)
	switch {
	case err == unix.ENOENT:
		return nil
	case err != nil || target == "":
		return err
	}
	if err := w.trust(w.base, owner); err != nil || magic(w.fd) {
		w.magic = true
		return err
	}
	return w.along(target)
}

// enterLink goes to the directory that the symbolic link name leads to.
func (w *walker) enterLink(name, target string, owner uint32) error {
	if err := w.trust(name, owner); err != nil {
		return err
	}
	if !magic(w.fd) {
		return w.along(target + "/.")
	}
	before := w.fd
	if err := w.enter(before, name, join(w.path, name), 0); err != nil {
		return err
	}
	return unix.Close(before)
}

// trust reports why the symbolic link name is not followed.
func (w *walker) trust(name string, owner uint32) error {
	if w.links++; w.links > mostLinks {
		return unix.ELOOP
	}
	for _, by := range w.foreign {
		if !by.Sticky {
			return fmt.Errorf("the symbolic link %s is not followed: %v", join(w.path, name), by)
		}
	}
	if !own(owner) {
		return fmt.Errorf("the symbolic link %s is not followed: it belongs to user %d", join(w.path, name), owner)
	}
	return nil
}

// look returns where name leads to if it is a symbolic link, and its owner.
func (w *walker) look(name string) (target string, owner uint32, err error) {
	var st unix.Stat_t
	if err := unix.Fstatat(w.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return "", 0, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", st.Uid, nil
	}
	b := make([]byte, 4096)
	n, err := unix.Readlinkat(w.fd, name, b)
	if err == nil && n == 0 {
		err = unix.ENOENT
	}
	return string(b[:max(n, 0)]), st.Uid, err
}

// step enters the directory name. Those who can write the one that is left can
// put another in its place, but for a directory of root or ours in a sticky one.
func (w *walker) step(name string) error {
	if name == "." {
		return nil
	}
	before, left := w.fd, w.foreign
	if err := w.enter(before, name, join(w.path, name), unix.O_NOFOLLOW); err != nil {
		return err
	}
	unix.Close(before)
	var st unix.Stat_t
	if err := unix.Fstat(w.fd, &st); err != nil {
		return err
	}
	for _, by := range left {
		if !by.Sticky || !own(st.Uid) {
			w.writers = append(w.writers, by)
		}
	}
	return nil
}

// enter opens a directory and finds out who can write it.
func (w *walker) enter(dir int, name, path string, noFollow int) error {
	fd, err := openat(dir, name, searchOnly|unix.O_DIRECTORY|noFollow, 0)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return err
	}
	w.fd, w.path = fd, path
	w.foreign = foreignWriters(path, &st)
	return nil
}

func join(dir, name string) string {
	switch dir {
	case ".":
		return name
	case "/":
		return "/" + name
	}
	return dir + "/" + name
}

func openat(dir int, name string, flags int, perm uint32) (fd int, err error) {
	for {
		fd, err = unix.Openat(dir, name, flags|unix.O_CLOEXEC, perm)
		if err != unix.EINTR {
			return fd, err
		}
	}
}
