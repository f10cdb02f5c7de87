package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/safepath"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/pool"
	"github.com/steppe-nat64/steppe/session"
)

// sessionFileName holds the sessions across restarts, in data-dir. Only the daemon's user
// may read it: it says who has a connection to whom.
const (
	sessionFileName = "sessions.bin"
	sessionFilePerm = 0o600
)

// sessionFile are the sessions with their file. A nil one keeps nothing.
//
// The file is a log, session.Journal: a clean end writes it anew, with the time that each
// session has left; meanwhile what has changed is added every upkeepInterval. It is opened
// for each write, since an open file keeps a disk from being made read-only.
type sessionFile struct {
	savedFile
	table   *session.Table
	boot    [16]byte
	hurry   chan struct{}
	mu      sync.Mutex // one write at a time; guards what follows
	journal *session.Journal
	is      os.FileInfo // the file that the journal has begun
	size    int64       // of it
	failed  string      // why it could not be written, as logged
	closed  bool
}

// newSessionFile is called before there is a jail or a sandbox.
func newSessionFile(c *taygaconf.Config, t *session.Table, log *logger) *sessionFile {
	if t == nil {
		return nil
	}
	return &sessionFile{
		savedFile: savedFile{file: sessionFileName, dir: c.DataDir, log: log},
		table:     t,
		boot:      bootID(),
		hurry:     make(chan struct{}, 1),
		journal:   session.NewJournal(t),
	}
}

// bootID returns what identifies this boot of the machine, zeros if that is unknown.
func bootID() (id [16]byte) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return id
	}
	digits := strings.ReplaceAll(strings.TrimSpace(string(b)), "-", "")
	if n, err := hex.Decode(id[:], []byte(digits)[:min(len(digits), 2*len(id))]); err != nil || n != len(id) {
		return [16]byte{}
	}
	return id
}

// moment is the time by all clocks.
func (s *sessionFile) moment() session.Moment {
	m := session.Moment{Now: time.Since(started), Wall: time.Now()}
	if up, ok := uptime(); ok {
		m.Boot, m.Uptime = s.boot, up
	}
	return m
}

func (s *sessionFile) path() string { return s.dir + "/" + s.file }

// load reads the file, if there is one.
func (s *sessionFile) load() {
	if s == nil || s.dir == "" {
		return
	}
	f, err := taygaconf.OpenRegular(s.file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return
	case err != nil:
		s.log.errorf("Unable to open %s: %v: starting without the sessions in it", s.path(), err)
		s.setAside(damaged)
		return
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		s.log.errorf("Unable to read %s: %v: starting without the sessions in it", s.path(), err)
		return
	}
	l, err := s.table.Load(f, fi.Size(), s.moment())
	s.report(f, fi.Size(), l, err)
}

// report says what was loaded, and keeps a file of which something was left out: the next
// one takes its name.
func (s *sessionFile) report(f *os.File, size int64, l session.Loaded, err error) {
	switch {
	case errors.Is(err, session.ErrTooLarge):
		s.log.errorf("%s: %d bytes are more than tayga writes: starting without the sessions in it. Remove the file unless you know what it is", s.path(), size)
		s.setAside(damaged)
		return
	case errors.Is(err, session.ErrFormat):
		s.log.errorf("%s: damaged from its begin, or written by another version of tayga: starting without the sessions in it. That version can read it", s.path())
		s.setAside(damaged)
		return
	case err != nil:
		s.log.errorf("Unable to read %s to its end: %v: starting without the sessions that were not read. Check the disk", s.path(), cause(err))
		s.setAside(damaged)
	case l.Damaged > 0:
		s.log.warningf("%s: %d of its %d blocks are damaged, and the sessions in them are left out: check the disk, unless the power failed while tayga wrote", s.path(), l.Damaged, (size+session.BlockSize-1)/session.BlockSize)
		s.preserve(f, damaged)
	}
	if l.Dropped > 0 {
		kept := old
		if err != nil || l.Damaged > 0 {
			kept = damaged
		}
		s.log.warningf("%s: %d sessions left out: they no longer fit the configuration, or there is no room for them. To have them back, stop tayga, change the configuration back, run mv %s %s, and start it", s.path(), l.Dropped, s.path()+kept, s.path())
		if kept == old {
			s.preserve(f, old)
		}
	}
	ended := ""
	if l.Ended > 0 {
		ended = fmt.Sprintf("; the time of %d more had run out", l.Ended)
	}
	plural := "s"
	if l.Sessions == 1 {
		plural = ""
	}
	s.log.infof("Loaded %d session%s from %s%s", l.Sessions, plural, s.path(), ended)
}

// keep writes what has changed, until stop: at once, since a file that was loaded is of
// another table, and then every upkeepInterval.
func (s *sessionFile) keep(stop <-chan struct{}) {
	if s == nil || s.dir == "" {
		return
	}
	tick := time.NewTicker(upkeepInterval)
	defer tick.Stop()
	for {
		s.step()
		select {
		case <-tick.C:
		case <-s.hurry:
		case <-stop:
			return
		}
	}
}

// soon has keep write what has changed without a delay.
func (s *sessionFile) soon() {
	if s == nil {
		return
	}
	select {
	case s.hurry <- struct{}{}:
	default: // it is about to
	}
}

// step writes what has changed.
func (s *sessionFile) step() {
	if s == nil || s.dir == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if !s.journal.Due() && s.append() == nil {
		return
	}
	s.failing(s.replace(s.journal.Begin), fmt.Sprintf("trying again in %v; new sessions end if tayga is killed meanwhile", upkeepInterval))
}

// close writes all for the next start. Nothing changes any more.
func (s *sessionFile) close() {
	if s == nil || s.dir == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.failing(s.replace(s.journal.Close), "the next start finds what was written last")
}

// failing logs why the file cannot be written, once for each reason.
func (s *sessionFile) failing(err error, then string) {
	reason := ""
	if err != nil {
		reason = fmt.Sprint(cause(err))
	}
	switch {
	case reason == s.failed:
	case reason == "":
		s.log.noticef("%s is written again", s.path())
	default:
		s.log.warningf("Unable to write %s: %s: %s", s.path(), reason, then)
	}
	s.failed = reason
}

// replace writes a new file.
func (s *sessionFile) replace(write func(io.Writer, session.Moment) error) error {
	err := pool.ReplaceFilePerm(s.file, sessionFilePerm, func(to io.Writer) error { return write(to, s.moment()) })
	if err == nil {
		s.is, err = os.Stat(s.file)
	}
	if err != nil {
		s.journal = session.NewJournal(s.table) // there is no file of this one
		return err
	}
	s.size = s.is.Size()
	return nil
}

// append adds to the file what has changed. An error is no reason to log: the file is
// written anew then.
func (s *sessionFile) append() error {
	dir, name, err := safepath.Resolve(s.file)
	if err != nil {
		return err
	}
	defer dir.Close()
	f, err := dir.OpenFile(name, unix.O_WRONLY|unix.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(fi, s.is) || fi.Size() != s.size {
		return errors.New("replaced by another program")
	}
	n, err := s.journal.Append(f, s.moment())
	if s.size += n; err == nil && n > 0 {
		err = f.Sync()
	}
	return err
}
