package hostnet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/safepath"
)

// lockName is the file that a Manager locks while it changes something.
const lockName = "hostnet.lock"

// files are those of a Manager, in a directory that other managers use, too.
type files struct {
	dir    *os.File // for openat(2)
	path   string   // for messages
	name   string   // of the journal
	suffix string   // of the names of all journals of this network namespace
	alive  *os.File // locked while the Manager lives
}

// openFiles opens the directory and locks the journal. A directory that is not there is
// made if its parent is.
func openFiles(dir, device string) (*files, error) {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	d, err := safepath.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	if len(d.Writers) > 0 {
		return nil, fmt.Errorf("%s: %v", dir, d.Writers[0])
	}
	var ns unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &ns); err != nil {
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	f := &files{path: dir, suffix: fmt.Sprintf("-%d.net", ns.Ino)}
	f.name = device + f.suffix
	// safepath has opened it for names in it; this descriptor lists them, too.
	fd, err := unix.Openat(int(d.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	f.dir = os.NewFile(uintptr(fd), dir)
	if f.alive, err = f.take(f.name + ".lock"); err != nil {
		f.close()
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, f.name), err)
	}
	return f, nil
}

func (f *files) open(name string, flags int) (*os.File, error) {
	return safepath.OpenIn(f.dir, name, flags, 0o600)
}

// take locks a file, which is made if it is not there. Its owner removes it before it unlocks
// it, so the lock counts only if the file still has its name.
func (f *files) take(name string) (*os.File, error) {
	for {
		file, err := f.open(name, unix.O_RDWR|unix.O_CREAT)
		if err != nil {
			return nil, err
		}
		err = flock(file)
		var locked, named unix.Stat_t
		if err == nil {
			err = unix.Fstat(int(file.Fd()), &locked)
		}
		if err == nil {
			err = unix.Fstatat(int(f.dir.Fd()), name, &named, unix.AT_SYMLINK_NOFOLLOW)
		}
		if err == nil && locked.Ino == named.Ino {
			return file, nil
		}
		file.Close()
		if err == unix.EWOULDBLOCK {
			err = ErrBusy
		}
		if err != nil && err != unix.ENOENT {
			return nil, err
		}
	}
}

// flock locks a file, if no other process has.
func flock(file *os.File) error {
	for {
		if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EINTR {
			return err
		}
	}
}

// lockTimeout is how long another Manager may take for its changes.
const lockTimeout = 15 * time.Second

// lock waits until no other Manager changes anything. One that was stopped meanwhile does
// not stop this one for good.
func (f *files) lock() (unlock func(), err error) {
	var file *os.File
	for end := time.Now().Add(lockTimeout); ; time.Sleep(5 * time.Millisecond) {
		file, err = f.take(lockName)
		if !errors.Is(err, ErrBusy) || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(f.path, lockName), err)
	}
	return func() { file.Close() }, nil
}

// read returns the text of a journal, nil if there is none.
func (f *files) read(name string) ([]byte, error) {
	file, err := f.open(name, unix.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return nil, err
	}
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return nil, fmt.Errorf("it belongs to user %d", st.Uid)
	}
	return readAll(int(file.Fd()), mostJournal+1)
}

// readAll reads a file by its descriptor, which pread(2) does where read(2) is not allowed.
func readAll(fd, most int) ([]byte, error) {
	b := make([]byte, 0, 4096)
	for len(b) < most {
		if len(b) == cap(b) {
			b = append(b, make([]byte, len(b))...)[:len(b)]
		}
		n, err := unix.Pread(fd, b[len(b):cap(b)], int64(len(b)))
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return b, err
		}
		b = b[:len(b)+n]
	}
	return b, nil
}

// write replaces the journal. Either the old text or the new one is there after a crash of
// this process.
func (f *files) write(text []byte) error {
	name := f.name + ".new"
	if err := unix.Unlinkat(int(f.dir.Fd()), name, 0); err != nil && err != unix.ENOENT {
		return f.error(err)
	}
	file, err := f.open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return f.error(err)
	}
	defer file.Close()
	for off := 0; off < len(text); {
		n, err := unix.Pwrite(int(file.Fd()), text[off:], int64(off))
		if err != nil && err != unix.EINTR {
			return f.error(err)
		}
		off += max(n, 0)
	}
	if err := unix.Renameat(int(f.dir.Fd()), name, int(f.dir.Fd()), f.name); err != nil {
		return f.error(err)
	}
	return nil
}

// there reports whether there is a journal.
func (f *files) there() bool {
	var st unix.Stat_t
	return unix.Fstatat(int(f.dir.Fd()), f.name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

// remove removes the journal.
func (f *files) remove() error {
	for _, name := range []string{f.name + ".new", f.name} {
		if err := unix.Unlinkat(int(f.dir.Fd()), name, 0); err != nil && err != unix.ENOENT {
			return f.error(err)
		}
	}
	return nil
}

func (f *files) error(err error) error {
	return fmt.Errorf("journal %s: %w", filepath.Join(f.path, f.name), err)
}

// end removes the file that shows that the Manager lives and, if there is no other one, that
// which is locked now: the directory is left as it was.
func (f *files) end() {
	f.unlink(f.name + ".lock")
	names, err := f.names()
	if err == nil && !slices.ContainsFunc(names, func(s string) bool { return strings.HasSuffix(s, ".net.lock") }) {
		f.unlink(lockName)
	}
}

func (f *files) unlink(name string) { unix.Unlinkat(int(f.dir.Fd()), name, 0) }

// close closes all files.
func (f *files) close() {
	if f.alive != nil {
		f.alive.Close()
		f.alive = nil
	}
	f.dir.Close()
}
