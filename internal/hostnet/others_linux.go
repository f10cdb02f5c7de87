package hostnet

import (
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// An otherEntry is a sysctl in the journal of another Manager.
type otherEntry struct {
	*entry
	lives bool // the Manager, which has not crashed
}

// otherList are those of all managers of the network namespace. A sysctl that two of them have
// set is restored by the last one.
type otherList []otherEntry

// others reads the journals of other managers. The lock is held.
func (m *Manager) others() (list otherList) {
	names, _ := m.files.names()
	for _, name := range names {
		if !strings.HasSuffix(name, m.files.suffix) || name == m.files.name {
			continue
		}
		text, err := m.files.read(name)
		if err != nil || text == nil {
			continue
		}
		p := Policy{Device: strings.TrimSuffix(name, m.files.suffix), Table: m.policy.Table}
		j, err := decode(text, p)
		if err != nil {
			continue
		}
		lives := m.files.lives(name)
		for _, e := range j.Entries {
			if e.Change.Sysctl != nil {
				list = append(list, otherEntry{e, lives})
			}
		}
	}
	return list
}

// names returns the names of all files of the directory.
func (f *files) names() ([]string, error) {
	fd, err := unix.Openat(int(f.dir.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	d := os.NewFile(uintptr(fd), f.path)
	defer d.Close()
	return d.Readdirnames(-1)
}

// lives reports whether the Manager of a journal has it locked.
func (f *files) lives(name string) bool {
	file, err := f.open(name+".lock", unix.O_RDWR)
	if err != nil {
		return false
	}
	defer file.Close()
	return flock(file) == unix.EWOULDBLOCK
}

// have reports whether another Manager that lives wants a value.
func (list otherList) have(name, value string) bool {
	return slices.ContainsFunc(list, func(e otherEntry) bool {
		return e.lives && (*e.Change.Sysctl == Sysctl{name, value} ||
			slices.ContainsFunc(e.Saved, func(v saved) bool { return v.Name == name && v.New == value }))
	})
}

// find returns what is to be restored of a sysctl that another Manager has set, nil if
// none has. One that has crashed will find that its value is wanted.
func (list otherList) find(s *Sysctl) []saved {
	for _, e := range list {
		if !e.Found && *e.Change.Sysctl == *s {
			return e.Saved
		}
	}
	for _, e := range list {
		for _, v := range e.Saved {
			if !e.Found && v.Name == s.Name && v.New == s.Value {
				return []saved{{Name: v.Name, Old: v.Old, New: v.New}}
			}
		}
	}
	return nil
}
