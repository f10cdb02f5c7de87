package repair

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/doctor"
	"github.com/steppe-nat64/steppe/internal/plain"
	"github.com/steppe-nat64/steppe/internal/safepath"
)

// Dir is where the file is, and copies of files that commands have edited.
const Dir = "/var/lib/steppe"

// fileName is the file's name, and copyName begins those of copies.
const (
	fileName = "doctor-undo.json"
	copyName = "doctor-copy-"
)

// What the file may hold.
const (
	maxFile    = 16 << 20
	maxEntries = 10_000
	maxCommand = 128 << 10
	maxTouches = 1000
	version    = 1
)

// An Entry is a command that was run.
type Entry struct {
	Time    time.Time      `json:"time"`
	Boot    string         `json:"boot"`  // of the machine, in which it was run
	Netns   string         `json:"netns"` // the network namespace
	About   string         `json:"about"`
	Command string         `json:"command"`
	Undo    string         `json:"undo"`
	Touches []doctor.Touch `json:"touches"`
	// Before and After are the states of what is touched. There is no After of a command
	// that was interrupted.
	Before []string `json:"before"`
	After  []string `json:"after,omitempty"`
	// Copy is the name of the copy of the file that the command edits.
	Copy string `json:"copy,omitempty"`
}

// Lasting reports whether what the command changed is still there after the next boot.
func (e *Entry) Lasting() bool {
	return !slices.ContainsFunc(e.Touches, func(t doctor.Touch) bool { return t.Kind != doctor.File })
}

// A Stack is what was done, last command last. It is locked against other processes.
type Stack struct {
	Entries []Entry
	dir     *safepath.Dir
	lock    *os.File // the same directory
}

// Open reads the stack in a directory, which is made if need be. It is an error
// if another user than root and that of this process can change what is there.
func Open(path string) (*Stack, error) {
	s, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(path, fileName), err)
	}
	return s, nil
}

func open(path string) (*Stack, error) {
	parent, err := safepath.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	if err := unix.Mkdirat(int(parent.Fd()), filepath.Base(path), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make its directory: %w", err)
	}
	dir, err := safepath.Open(path)
	if err != nil {
		return nil, err
	}
	if len(dir.Writers) > 0 {
		dir.Close()
		return nil, fmt.Errorf("others can change what is there: %v", dir.Writers[0])
	}
	// The directory as walked to can neither be locked nor be synced.
	fd, err := unix.Openat(int(dir.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		dir.Close()
		return nil, err
	}
	s := &Stack{dir: dir, lock: os.NewFile(uintptr(fd), path)}
	if err = lock(fd); err == nil {
		err = s.load()
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// lockTime is how long another process is waited for, in steps: one that asks a person may
// take any time.
var lockTime = 20 * time.Second

const lockStep = 100 * time.Millisecond

// lock locks a directory.
func lock(fd int) error {
	for end := time.Now().Add(lockTime); ; time.Sleep(lockStep) {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err != unix.EWOULDBLOCK:
			return err
		case time.Now().After(end):
			return errors.New("another process runs or undoes commands")
		}
	}
}

// Close unlocks the stack.
func (s *Stack) Close() error { return errors.Join(s.lock.Close(), s.dir.Close()) }

// load reads the file, if there is one.
func (s *Stack) load() error {
	f, err := s.dir.OpenFile(fileName, unix.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Mode&0o077 != 0 || int(st.Uid) != os.Geteuid() {
		return errors.New("is not a file of this user alone (mode 0600), and what it says is not run")
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return err
	}
	s.Entries, err = Parse(text)
	return err
}

// file is what is in the file.
type file struct {
	Version int     `json:"version"`
	Entries []Entry `json:"entries"`
}

// Parse reads the contents of a file. It takes what Push writes, and nothing else.
func Parse(text []byte) ([]Entry, error) {
	if len(text) > maxFile {
		return nil, errors.New("too long")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var f file
	if err := d.Decode(&f); err != nil {
		return nil, errors.New("is not understood: " + plain.Line(err.Error()))
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("goes on after its end")
	}
	if f.Version != version {
		return nil, fmt.Errorf("has version %d, not %d", f.Version, version)
	}
	if len(f.Entries) > maxEntries {
		return nil, errors.New("has too many entries")
	}
	for i := range f.Entries {
		if err := f.Entries[i].check(); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, err)
		}
	}
	return f.Entries, nil
}

// check reports whether an entry may have been made here.
func (e *Entry) check() error {
	for _, text := range []string{e.Boot, e.Netns, e.About, e.Command, e.Undo, e.Copy} {
		if len(text) > maxCommand || !plain.IsLine(text) {
			return errors.New("a text is too long, or no plain line")
		}
	}
	switch {
	case e.Command == "":
		return errors.New("no command")
	case len(e.Touches) == 0 || len(e.Touches) > maxTouches || len(e.Before) != len(e.Touches):
		return errors.New("no state, or too much of it")
	case len(e.After) != 0 && len(e.After) != len(e.Touches):
		return errors.New("the state after it is not that of what it touches")
	case e.Copy != "" && (!strings.HasPrefix(e.Copy, copyName) || strings.ContainsRune(e.Copy, '/')):
		return errors.New("not the name of a copy")
	}
	for _, t := range e.Touches {
		if err := check(t); err != nil {
			return err
		}
	}
	return nil
}

// check reports whether the doctor may touch such a thing. Its state is looked at without
// a question, and that takes a program in one case.
func check(t doctor.Touch) error {
	clean := filepath.Clean("/" + t.Name)
	switch {
	case !doctor.Known(t.Kind):
		return errors.New("not a kind of thing that commands touch")
	case !plain.IsLine(t.Name + t.Link + t.Text):
		return errors.New("a name has control characters")
	case t.Kind == doctor.Setting && (clean != "/"+t.Name || !strings.HasPrefix(t.Name, "ipv")):
		return errors.New("not the name of a setting")
	case t.Kind == doctor.IPTables && !lookup(t.Text):
		return errors.New("not a command that looks for a rule")
	}
	return nil
}

// lookup reports whether a command is one of iptables that looks for a rule, and no other
// one follows it.
func lookup(command string) bool {
	words := strings.Fields(command)
	return len(words) > 2 && slices.Contains([]string{"iptables", "ip6tables", "iptables-legacy", "ip6tables-legacy", "iptables-nft", "ip6tables-nft"}, words[0]) &&
		slices.Contains(words, "-C") && !strings.ContainsAny(command, ";&|<>$`\\\"()\n")
}

// save writes the file. One that is left by a crash is the old one or the new one, whole.
func (s *Stack) save() error {
	text, err := json.Marshal(file{version, s.Entries})
	if err != nil {
		return err
	}
	if len(text) > maxFile || len(s.Entries) > maxEntries {
		return fmt.Errorf("%s/%s would become too long: undo something first", s.dir.Name(), fileName)
	}
	return s.replace(fileName, plain.JSON(text))
}

// replace replaces a file in the directory.
func (s *Stack) replace(name string, text []byte) error {
	dir, temporary := int(s.dir.Fd()), name+"~"
	if err := unix.Unlinkat(dir, temporary, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := s.dir.OpenFile(temporary, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close())
	if err == nil {
		err = unix.Renameat(dir, temporary, dir, name)
	}
	if err != nil {
		unix.Unlinkat(dir, temporary, 0)
		return fmt.Errorf("write %s/%s: %w", s.dir.Name(), name, err)
	}
	return s.lock.Sync()
}

// Begin notes a command that is about to be run.
func (s *Stack) Begin(e Entry) error {
	e.Before, e.After = states(e.Touches), nil
	if err := e.check(); err != nil {
		return fmt.Errorf("the command cannot be noted: %w", err)
	}
	s.makeRoom(e)
	s.Entries = append(s.Entries, e)
	return s.save()
}

// makeRoom forgets the oldest entry that cannot be undone from where e is, if there are too many:
// network namespaces come and go, and nothing tells that one has gone.
func (s *Stack) makeRoom(e Entry) {
	if len(s.Entries) < maxEntries {
		return
	}
	i := slices.IndexFunc(s.Entries, func(o Entry) bool { return o.Copy == "" && (o.Boot != e.Boot || o.Netns != e.Netns) })
	if i >= 0 {
		s.Entries = slices.Delete(s.Entries, i, i+1)
	}
}

// End notes that the command that was noted last has ended. One that failed and changed
// nothing is not kept.
func (s *Stack) End(failed bool) error {
	last := &s.Entries[len(s.Entries)-1]
	last.After = states(last.Touches)
	if failed && slices.Equal(last.Before, last.After) {
		return s.Remove(len(s.Entries) - 1)
	}
	return s.save()
}

// Remove forgets an entry, and the copy that no other one needs.
func (s *Stack) Remove(i int) error {
	name := s.Entries[i].Copy
	s.Entries = slices.Delete(s.Entries, i, i+1)
	if err := s.save(); err != nil {
		return err
	}
	if name != "" && !slices.ContainsFunc(s.Entries, func(e Entry) bool { return e.Copy == name }) {
		return unix.Unlinkat(int(s.dir.Fd()), name, 0)
	}
	return nil
}

// Keep forgets an entry but keeps its copy, whose path it returns.
func (s *Stack) Keep(i int) (path string, err error) {
	if name := s.Entries[i].Copy; name != "" {
		path = filepath.Join(s.dir.Name(), name)
	}
	s.Entries = slices.Delete(s.Entries, i, i+1)
	return path, s.save()
}

// states reads the states of what is touched.
func states(touches []doctor.Touch) (list []string) {
	for _, t := range touches {
		list = append(list, doctor.State(t))
	}
	return list
}

// A Standing says whether a command can be undone.
type Standing uint8

const (
	Stands  Standing = iota // what it changed is as it left it
	Gone                    // is as before it
	Changed                 // is something else
)

// Standing compares the state of what an entry's command touched, and names what differs.
func (e *Entry) Standing() (standing Standing, what string) {
	now := states(e.Touches)
	if slices.Equal(now, e.Before) {
		return Gone, ""
	}
	for i := range e.After {
		if now[i] != e.After[i] {
			return Changed, e.Touches[i].String()
		}
	}
	return Stands, ""
}

// CopyOf returns the name of a copy of a file: equal ones have equal names.
func CopyOf(path string) (name string, text []byte, err error) {
	f, err := safepath.OpenRegular(nil, path)
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	text, err = io.ReadAll(io.LimitReader(f, doctor.MaxFile+1))
	if err == nil && len(text) > doctor.MaxFile {
		err = fmt.Errorf("%s is too long to keep a copy", path)
	}
	sum := sha256.Sum256(append([]byte(path+"\x00"), text...))
	return fmt.Sprintf("%s%x", copyName, sum[:8]), text, err
}

// Copy keeps a copy of a file, with its times, so that cp -p brings the file back.
func (s *Stack) Copy(path string) (name string, err error) {
	name, text, err := CopyOf(path)
	if err != nil {
		return "", err
	}
	if err := s.replace(name, text); err != nil {
		return "", err
	}
	fi, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	t := unix.NsecToTimespec(fi.ModTime().UnixNano())
	return name, unix.UtimesNanoAt(int(s.dir.Fd()), name, []unix.Timespec{t, t}, 0)
}
