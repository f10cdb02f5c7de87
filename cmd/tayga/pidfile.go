package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/safepath"
)

// A pidFile holds the process id for as long as the daemon runs. A lock beside it
// keeps a second daemon with the same file away, however the first one ended.
type pidFile struct {
	name string
	file *os.File
	dir  *os.File // to remove the file from wherever we are by then; may be nil
	lock *lock    // nil if no file can be made there
}

// openPidFile opens or makes the file and locks its name. The content stays until
// write. A process that goes to jail must not hold a directory outside of it;
// its pid file stays behind, as TAYGA's does.
//
// Root opens a file in a directory that the user of id can write. It follows no
// link there, and does not truncate what is not a file of one name. A directory
// that others can write is no place for a number that root may kill by.
func openPidFile(path string, jailed bool, id identity, k locker) (*pidFile, error) {
	dir, name, err := safepath.Resolve(path)
	if err != nil {
		return nil, fmt.Errorf("pid file: %w", err)
	}
	if by := strangers(dir.Writers, id); len(by) > 0 && !by[0].Sticky {
		dir.Close()
		return nil, fmt.Errorf("pid file %s: %v: choose a directory that only root and the user of tayga can write", path, by[0])
	}
	p := &pidFile{name: name, dir: dir.File}
	p.lock, err = k.take(p.dir, name)
	var held errHeld
	switch {
	case errors.As(err, &held):
		err = fmt.Errorf("pid file %s is in use: tayga runs already", path)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EROFS):
		err = nil // the file itself may be there, for us to write
	}
	if err == nil {
		p.file, err = openPid(dir, name, id)
		if err != nil {
			err = fmt.Errorf("pid file: %w", &os.PathError{Op: "open", Path: path, Err: cause(err)})
		}
	}
	if err != nil {
		p.lock.release()
		p.dir.Close()
		return nil, err
	}
	if jailed {
		p.dir.Close()
		p.dir = nil
		if p.lock != nil {
			p.lock.dir, p.lock.name = nil, ""
		}
	}
	return p, nil
}

// openPid opens or makes the file, which belongs to root, to us or to the user
// that we become.
func openPid(dir *safepath.Dir, name string, id identity) (*os.File, error) {
	f, err := dir.OpenFile(name, unix.O_RDWR|unix.O_CREAT, created(0o644))
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return nil, err
	}
	if uid := int(st.Uid); uid != 0 && uid != os.Geteuid() && uid != id.uid {
		f.Close()
		return nil, fmt.Errorf("it belongs to user %d", uid)
	}
	return f, nil
}

// write replaces the content with the process id.
func (p *pidFile) write() error {
	err := p.file.Truncate(0)
	if err == nil {
		_, err = p.file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	return nil
}

// stopping tells a daemon that waits for the file that it is worth waiting.
func (p *pidFile) stopping() {
	if p != nil {
		p.lock.stopping()
	}
}

// remove removes the file if the process still may, and unlocks it. A file that
// has to stay behind is emptied, lest the number be taken for a running daemon.
func (p *pidFile) remove() {
	if p == nil {
		return
	}
	if p.dir == nil || unix.Unlinkat(int(p.dir.Fd()), p.name, 0) != nil {
		p.file.Truncate(0)
	}
	p.file.Close()
	p.lock.release()
	if p.dir != nil {
		p.dir.Close()
	}
}
