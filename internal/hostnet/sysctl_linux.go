package hostnet

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// read returns the value of a sysctl, with single spaces.
func (h *host) read(name string) (string, error) {
	fd, err := h.openSysctl(name, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	b, err := readAll(fd, 4096)
	if err != nil {
		return "", fmt.Errorf("sysctl %s: %w", name, err)
	}
	return strings.Join(strings.Fields(string(b)), " "), nil
}

func (h *host) write(name, value string) error {
	fd, err := h.openSysctl(name, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	h.step()
	for {
		_, err := unix.Pwrite(fd, []byte(value), 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("sysctl %s=%s: %w", name, value, err)
		}
		return nil
	}
}

func (h *host) openSysctl(name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(h.proc, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return -1, fmt.Errorf("sysctl %s: %w", name, err)
		}
		return fd, nil
	}
}

// interfaces returns the names below net/FAMILY/conf, without "all".
func (h *host) interfaces(family string) ([]string, error) {
	name := "net/" + family + "/conf"
	fd, err := h.openSysctl(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return slices.DeleteFunc(names, func(s string) bool { return s == "all" }), err
}

// gone reports whether an error says that an interface is no longer there.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO)
}

func (s *Sysctl) look(h *host) (bool, error) {
	value, err := h.read(s.Name)
	return value == s.Value, err
}

// adopt takes over what another Manager has noted: the last of both restores it.
func (s *Sysctl) adopt(h *host, e *entry) error {
	e.Saved = h.others().find(s)
	e.Found = e.Saved == nil
	return nil
}

// note saves the value, and the values that change with it.
func (s *Sysctl) note(h *host, e *entry) error {
	var list []saved
	add := func(name, value string, follows bool) error {
		old, err := h.read(name)
		if err != nil {
			if follows && gone(err) {
				return nil
			}
			return err
		}
		new := saved{name, old, value, follows}
		for _, before := range e.Saved { // set by us, and not by another program since
			if before.Name == name && before.New == old {
				new.Old = before.Old
			}
		}
		list = append(list, new)
		return nil
	}
	if s.forwards() {
		devices, err := h.interfaces("ipv6")
		if err != nil {
			return err
		}
		for _, device := range devices {
			name := "net/ipv6/conf/" + device + "/accept_ra"
			value, err := h.read(name)
			if err != nil && !gone(err) {
				return err
			}
			if value == "1" || value == "2" && noted(e.Saved, name) {
				if err := add(name, "2", false); err != nil {
					return err
				}
			}
		}
	}
	if family, each, more := s.followers(); each != "" {
		devices, err := h.interfaces(family)
		if err != nil {
			return err
		}
		for _, name := range more { // inet_forward_change sets it to the opposite
			if err := add(name, opposite(s.Value), true); err != nil {
				return err
			}
		}
		for _, device := range devices {
			if err := add("net/"+family+"/conf/"+device+"/"+each, s.Value, true); err != nil {
				return err
			}
		}
	}
	if err := add(s.Name, s.Value, false); err != nil {
		return err
	}
	e.Saved = list
	return nil
}

func noted(list []saved, name string) bool {
	return slices.ContainsFunc(list, func(s saved) bool { return s.Name == name })
}

func opposite(value string) string {
	if value == "0" {
		return "1"
	}
	return "0"
}

func (s *Sysctl) make(h *host, e *entry, _ kind) error {
	for _, v := range e.Saved {
		if v.Follows {
			continue
		}
		if err := h.write(v.Name, v.New); err != nil && (v.Name == s.Name || !gone(err)) {
			return err
		}
	}
	return nil
}

// undo restores what is still as we made it, the last one first. To write one sysctl changes
// those that follow: their values are read before.
func (s *Sysctl) undo(h *host, e *entry) error {
	now := map[string]string{}
	for _, v := range e.Saved {
		value, err := h.read(v.Name)
		if err != nil && !gone(err) {
			return err
		}
		if err == nil {
			now[v.Name] = value
		}
	}
	others := h.others()
	value, ok := now[s.Name]
	ours := ok && value == s.Value && !others.have(s.Name, s.Value)
	var errs error
	for _, v := range slices.Backward(e.Saved) {
		value, ok := now[v.Name]
		made := s.made(v)
		switch {
		case !ok, v.Follows && !ours:
		case v.Follows && value != made: // another program's
			errs = errors.Join(errs, h.restore(v.Name, value))
		case value == made && (v.Follows || !others.have(v.Name, made)):
			errs = errors.Join(errs, h.restore(v.Name, v.Old))
		}
	}
	return errs
}

// made returns the value that a sysctl has got from this change, which may be another than the
// entry lists: that of the change that replaces it.
func (s *Sysctl) made(v saved) string {
	switch {
	case v.Name == s.Name:
		return s.Value
	case v.Follows && strings.HasSuffix(v.Name, "/accept_redirects"):
		return opposite(s.Value)
	case v.Follows:
		return s.Value
	}
	return v.New
}

// restore writes a value, if it is not there and the interface is.
func (h *host) restore(name, value string) error {
	now, err := h.read(name)
	if err == nil && now != value {
		err = h.write(name, value)
	}
	if gone(err) {
		return nil
	}
	return err
}
