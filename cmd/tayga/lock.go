package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/safepath"
)

// lockSuffix is added to the name of what is locked.
const lockSuffix = ".lock"

// How long to wait for a lock: a holder may not have got its SIGTERM yet, and one
// that has got it says so and saves its leases.
const (
	lockPatience = 3 * time.Second
	stopPatience = time.Minute
)

// A lock is a file that is locked for as long as the process lives, however it
// ends. No other user can open the file, since a lock can be taken by every user
// who can: a file that others may read would not do. What it holds is who has
// the lock.
type lock struct {
	file *os.File
	out  *os.File // to write who has it; nil: the process may open it again
	dir  *os.File // where it is removed from; nil: the working directory
	name string   // empty: it stays, since the directory is out of reach by then
	who  holder
}

// A holder is a process that has a lock.
type holder struct {
	pid      int
	device   string
	host     string
	stopping bool
}

// thisProcess is the holder of our own locks.
func thisProcess(device string) holder {
	host, _ := os.Hostname()
	return holder{pid: os.Getpid(), device: device, host: host}
}

const stoppingWord = "stopping"

func (h holder) line() []byte {
	words := []string{strconv.Itoa(h.pid), strconv.Quote(h.device), strconv.Quote(h.host)}
	if h.stopping {
		words = append(words, stoppingWord)
	}
	return []byte(strings.Join(words, "\t") + "\n")
}

// readHolder reads what the holder of a lock has written. What makes no sense is
// the zero holder.
func readHolder(f *os.File) (h holder) {
	b := make([]byte, 1024)
	n, _ := f.ReadAt(b, 0)
	line, _, whole := bytes.Cut(b[:n], []byte("\n"))
	words := strings.Split(string(line), "\t")
	if !whole || len(words) < 3 {
		return holder{}
	}
	var errs [3]error
	h.pid, errs[0] = strconv.Atoi(words[0])
	h.device, errs[1] = strconv.Unquote(words[1])
	h.host, errs[2] = strconv.Unquote(words[2])
	if errors.Join(errs[:]...) != nil {
		return holder{}
	}
	h.stopping = len(words) > 3 && words[3] == stoppingWord
	return h
}

// String says who it is, for messages: process 17, device nat64.
func (h holder) String() string {
	if h.pid <= 0 {
		return "another process"
	}
	s := fmt.Sprintf("process %d, device %q", h.pid, h.device)
	if own, _ := os.Hostname(); h.host != own {
		s += fmt.Sprintf(", host %q", h.host)
	}
	return s
}

// errHeld says that another process has the lock.
type errHeld struct{ holder }

func (e errHeld) Error() string { return "locked by " + e.String() }

// A locker takes locks.
type locker struct {
	who holder
	// keep a descriptor to write with, for a process that changes its user. Others do
	// not: while it is open, a disk cannot be made read-only.
	keep    bool
	waiting func(name string, h holder) // called once before a lock is waited for
	signals <-chan os.Signal            // ends the waiting; may be nil
}

// take locks the name in dir, nil for the working directory. It waits a while for
// a holder that is about to end; after that the error is an errHeld, and
// errStopped if a signal came meanwhile.
func (k locker) take(dir *os.File, name string) (*lock, error) {
	name += lockSuffix
	for range 100 {
		f, err := openLock(dir, name)
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", name, cause(err))
		}
		if err := k.acquire(f, name); err != nil {
			return nil, err
		}
		// The one before may have removed the file: the lock would be that of a
		// file without a name, and lock out no other process.
		if named(dir, name, f) {
			return k.taken(f, dir, name)
		}
		f.Close()
	}
	return nil, fmt.Errorf("lock %s: others keep replacing it", name)
}

// taken makes a lock of a file that is locked.
func (k locker) taken(f, dir *os.File, name string) (*lock, error) {
	l := &lock{file: f, dir: dir, name: name, who: k.who}
	f.Chmod(0o600)
	out, err := l.open()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, cause(err))
	}
	l.who.writeTo(out)
	if k.keep {
		l.out = out
	} else {
		out.Close()
	}
	return l, nil
}

// open opens the file for writing, as long as it has the name.
func (l *lock) open() (*os.File, error) {
	if l.name == "" {
		return nil, os.ErrNotExist
	}
	f, err := safepath.OpenIn(l.dir, l.name, unix.O_WRONLY, 0)
	if err == nil && !named(l.dir, l.name, l.file) {
		f.Close()
		return nil, os.ErrNotExist
	}
	return f, err
}

// edit calls f with the file to write to, if that is possible. Without what is
// written there, others know less.
func (l *lock) edit(f func(out *os.File)) {
	out := l.out
	if out == nil {
		var err error
		if out, err = l.open(); err != nil {
			return
		}
		defer out.Close()
	}
	f(out)
}

// openLock opens or makes the file of a lock. What another user put there is
// removed: by that name there is nothing but locks. The owner of the directory
// is no other user, since he runs daemons of his own there.
func openLock(dir *os.File, name string) (*os.File, error) {
	at := dirFd(dir)
	for range 100 {
		f, err := safepath.OpenIn(dir, name, unix.O_RDONLY|unix.O_CREAT, 0o600)
		if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS) || errors.Is(err, unix.ENOSPC) {
			return nil, err
		}
		if err == nil && ownLock(dir, f) {
			return f, nil
		}
		if f != nil {
			f.Close()
		}
		if rm := unix.Unlinkat(at, name, 0); rm != nil && rm != unix.ENOENT {
			return nil, errors.Join(err, rm)
		}
	}
	return nil, errors.New("others keep replacing it")
}

// ownLock reports whether a lock's file belongs to root, to this process's user or
// to the owner of the directory. Where others can write, a file with a second name
// may be any file of root's.
func ownLock(dir *os.File, f *os.File) bool {
	var st, in unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil || unix.Fstatat(dirFd(dir), ".", &in, 0) != nil {
		return false
	}
	if st.Nlink > 1 && safepath.OthersWrite(&in) {
		return false
	}
	return st.Uid == 0 || int(st.Uid) == os.Geteuid() || st.Uid == in.Uid
}

func dirFd(dir *os.File) int {
	if dir == nil {
		return unix.AT_FDCWD
	}
	return int(dir.Fd())
}

// named reports whether name in dir is the file f.
func named(dir *os.File, name string, f *os.File) bool {
	var a, b unix.Stat_t
	return unix.Fstat(int(f.Fd()), &a) == nil &&
		unix.Fstatat(dirFd(dir), name, &b, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		a.Dev == b.Dev && a.Ino == b.Ino
}

// acquire locks the file, which it closes if there is an error.
func (k locker) acquire(f *os.File, name string) error {
	err := flock(f, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return k.wait(f, name)
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("lock %s: %w", name, err)
	}
	return nil
}

// wait waits for the lock of a file that another process has.
func (k locker) wait(f *os.File, name string) error {
	if k.waiting != nil {
		k.waiting(name, readHolder(f))
	}
	got, leave := make(chan error), make(chan struct{})
	defer close(leave)
	go func() {
		err := flock(f, unix.LOCK_EX)
		select {
		case got <- err:
		case <-leave:
			f.Close()
		}
	}()
	late := time.After(lockPatience)
	extended := false
	for {
		select {
		case err := <-got:
			if err != nil {
				f.Close()
				return fmt.Errorf("lock %s: %w", name, err)
			}
			return nil
		case sig := <-k.signals:
			if sig != unix.SIGHUP && sig != unix.SIGUSR1 { // which have nothing to do yet
				return errStopped
			}
		case <-late:
			h := readHolder(f)
			if !h.stopping || extended {
				return errHeld{h}
			}
			late, extended = time.After(stopPatience), true
		}
	}
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}

// writeTo writes who it is.
func (h holder) writeTo(f *os.File) {
	b := h.line()
	f.WriteAt(b, 0)
	f.Truncate(int64(len(b)))
}

// stopping tells others that it is worth waiting.
func (l *lock) stopping() {
	if l == nil {
		return
	}
	l.who.stopping = true
	l.edit(l.who.writeTo)
}

// release removes the file if the process still may, and unlocks it.
func (l *lock) release() {
	if l == nil {
		return
	}
	if l.name == "" || unix.Unlinkat(dirFd(l.dir), l.name, 0) != nil {
		l.edit(func(out *os.File) { out.Truncate(0) })
	}
	if l.out != nil {
		l.out.Close()
	}
	l.file.Close()
}
