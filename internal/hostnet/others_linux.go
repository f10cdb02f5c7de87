package hostnet

import (
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// otherList are the entries of other managers of the network namespace. A sysctl that two of
// them have set is restored by the last one.
type otherList []*entry

// others reads the journals of the managers that live. The lock is held.
func (m *Manager) others() (list otherList) {
	names, _ := m.files.names()
	for _, name := range names {
		if !strings.HasSuffix(name, m.files.suffix) || name == m.files.name || !m.files.lives(name) {
			continue
		}
		text, err := m.files.read(name)
		if err != nil || text == nil {
			continue
		}
		p := Policy{Device: strings.TrimSuffix(name, m.files.suffix), Table: m.policy.Table}
		if j, err := decode(text, p); err == nil {
			list = append(list, slices.DeleteFunc(j.Entries, func(e *entry) bool { return e.Found || e.Change.Sysctl == nil })...)
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

// have reports whether another Manager wants a value.
func (list otherList) have(name, value string) bool {
	for _, e := range list {
		for _, v := range e.Saved {
			if v.Name == name && v.New == value {
				return true
			}
		}
	}
	return false
}

// find returns what is to be restored of a sysctl that another Manager has set, nil if
// none has.
func (list otherList) find(s *Sysctl) []saved {
	for _, e := range list {
		if *e.Change.Sysctl == *s {
			return e.Saved
		}
	}
	for _, e := range list {
		for _, v := range e.Saved {
			if v.Name == s.Name && v.New == s.Value {
				return []saved{{Name: v.Name, Old: v.Old, New: v.New}}
			}
		}
	}
	return nil
}
