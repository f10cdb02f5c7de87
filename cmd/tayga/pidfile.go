package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// A pidFile holds the process id for as long as the daemon runs. Its lock keeps
// a second daemon with the same file away, however the first one ended.
type pidFile struct {
	path string
	file *os.File
	dir  *os.File // to remove the file from wherever we are by then; may be nil
}

// openPidFile opens or makes the file and locks it. The content stays until
// write. A process that goes to jail must not hold a directory outside of it;
// its pid file stays behind, as TAYGA's does.
func openPidFile(path string, jailed bool) (*pidFile, error) {
	f, err := lockFile(path)
	if err != nil {
		return nil, err
	}
	p := &pidFile{path: path, file: f}
	if !jailed {
		p.dir, _ = os.Open(filepath.Dir(path)) // without it the file stays behind, too
	}
	return p, nil
}

// lockFile opens or makes the file and locks it. A daemon that ends may remove the
// file between the two; the lock would be that of a file without a name, and keep
// nobody away. Then the file that is there now is tried.
func lockFile(path string) (*os.File, error) {
	for range 100 {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, fmt.Errorf("pid file: %w", err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, fmt.Errorf("pid file %s is in use: tayga runs already", path)
			}
			return nil, fmt.Errorf("pid file: lock %s: %w", path, err)
		}
		locked, err := f.Stat()
		named, _ := os.Stat(path)
		if err == nil && os.SameFile(locked, named) {
			return f, nil
		}
		f.Close()
	}
	return nil, fmt.Errorf("pid file %s: others keep replacing it", path)
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

// remove removes the file if the process still may, and unlocks it. A file that
// has to stay behind is emptied, lest the number be taken for a running daemon.
func (p *pidFile) remove() {
	if p == nil {
		return
	}
	gone := false
	if p.dir != nil {
		gone = unix.Unlinkat(int(p.dir.Fd()), filepath.Base(p.path), 0) == nil
		p.dir.Close()
	}
	if !gone {
		p.file.Truncate(0)
	}
	p.file.Close()
}
