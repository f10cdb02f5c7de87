package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// A wideReach is a directory that the sandbox has to leave within reach, and that
// holds more than what is meant: the kernel knows directories only with all that is
// below them.
type wideReach struct {
	cause, path string // what asks for it
	may         string // what the process may do there
	dir         string
}

func (w wideReach) String() string {
	return fmt.Sprintf("because of %s %s the process may %s all that lies below %s: a directory of its own would be better",
		w.cause, w.path, w.may, w.dir)
}

// wideReaches finds those of a configuration. Names mean what they mean before the
// process changes its root.
func wideReaches(c *taygaconf.Config, o options) (list []wideReach) {
	add := func(cause, path, may, dir string) {
		if dir != "" {
			list = append(list, wideReach{cause, path, may, dir})
		}
	}
	if c.DataDir != "" {
		add("data-dir", c.DataDir, "read, change and remove", systemDir(c.DataDir))
	}
	if c.MapFile != "" {
		add("map-file", c.MapFile, "read", wideMapDir(c.DataDir, c.MapFile))
	}
	if o.chroot { // what is outside cannot be reached
		return list
	}
	if o.pidfile != "" {
		add("pid file", o.pidfile, "remove", systemDir(filepath.Dir(o.pidfile)))
	}
	if path := c.StatusSocket; path != "" && path != taygaconf.NoStatusSocket {
		add("status-socket", path, "remove", systemDir(filepath.Dir(path)))
	}
	return list
}

// warnings says the same about a configuration file.
func warnings(file string, list []wideReach) (problems taygaconf.Problems) {
	for _, w := range list {
		problems = append(problems, taygaconf.Problem{File: file, Directive: "sandbox", Text: w.String(), Warning: true})
	}
	return problems
}

// systemDirs are directories that belong to the system, or hold those of several
// programs: hier(7).
var systemDirs = []string{"/", "/bin", "/boot", "/dev", "/dev/shm", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt",
	"/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/usr/bin", "/usr/lib", "/usr/local", "/usr/sbin",
	"/usr/share", "/var", "/var/cache", "/var/db", "/var/lib", "/var/log", "/var/opt", "/var/spool", "/var/tmp"}

// systemDir returns which of them a directory is, whatever it is called, or the
// empty string.
func systemDir(dir string) string {
	fi, err := os.Stat(dir)
	if err != nil {
		return ""
	}
	for _, name := range systemDirs {
		if other, err := os.Stat(name); err == nil && os.SameFile(fi, other) {
			return name
		}
	}
	return ""
}

// wideMapDir returns the map-file's directory if that is the root or right below
// it, such as /etc, where there is more than maps; or the directory that it leads
// to as a symbolic link.
func wideMapDir(dataDir, path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join("/", dataDir, path)
	}
	target, _ := filepath.EvalSymlinks(path)
	for _, path := range []string{path, target} {
		dir := filepath.Dir(path)
		if filepath.IsAbs(path) && filepath.Dir(dir) == "/" && dir != filepath.Clean(dataDir) {
			return dir
		}
	}
	return ""
}
