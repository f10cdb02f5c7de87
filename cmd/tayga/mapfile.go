package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/safepath"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// A mapSource is the map-file, which is read at start and on every SIGHUP, when
// the process may be in a jail.
type mapSource struct {
	path string   // as written, for messages
	name string   // as opened, counted from dir
	dir  *os.File // nil: the working directory, which is data-dir and the jail's root
}

// openMapSource finds a map-file. A relative path counts from the working
// directory. The name of a file inside the jail is made relative to it; the
// directory of one outside is held open, which leaves that directory within the
// process's reach.
func openMapSource(path, jail string) (*mapSource, error) {
	m := &mapSource{path: path, name: path}
	if !filepath.IsAbs(path) || jail == "" {
		return m, nil
	}
	rel, err := filepath.Rel(jail, filepath.Clean(path))
	if err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
		m.name = rel
		return m, nil
	}
	dir, err := safepath.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("map-file: %w", err)
	}
	m.dir, m.name = dir.File, filepath.Base(path)
	return m, nil
}

// at returns the descriptor from which name counts.
func (m *mapSource) at() int {
	if m.dir == nil {
		return unix.AT_FDCWD
	}
	return int(m.dir.Fd())
}

// read reads the file. The error is about the file as a whole, the problems
// are about its lines.
func (m *mapSource) read(c *taygaconf.Config) (taygaconf.MapFile, taygaconf.Problems, error) {
	f, err := safepath.OpenRegular(m.dir, m.name)
	if err != nil {
		return taygaconf.MapFile{}, nil, fmt.Errorf("map-file %s: %w", m.path, cause(err))
	}
	defer f.Close()
	maps, problems := c.ReadMaps(f, m.path)
	return maps, problems, nil
}
