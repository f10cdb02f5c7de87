// The Go runtime names its memory by prctl, for debuggers. A service manager's seccomp
// filter may end the process for that call before main runs.

//go:debug decoratemappings=0
package main

import (
	"os"
	"path/filepath"
	"time"

	"github.com/steppe-nat64/steppe/internal/sandbox"
	"github.com/steppe-nat64/steppe/internal/status"
)

// confine gives up what the daemon does not need any more, once all is open and
// set up. What is told on the way is what holds.
func (d *daemon) confine() {
	if !d.conf.Sandbox {
		d.log.infof("Sandbox: no")
		return
	}
	_, _ = time.Now().Zone() // reads /etc/localtime now, for lines to syslog later
	c := sandbox.Config{Paths: d.paths(), Keep: d.capabilities(), FastPath: d.fast.path != nil, Discover: d.conf.CLAT.On}
	if d.attachesByHelper() {
		c.Calls = sandbox.Translating
	}
	r := sandbox.Enter(c)
	d.confined = true
	d.log.infof("Sandbox: %v", r)
	for _, line := range r.Missing() {
		d.log.noticef("Note: %s", line)
	}
	if r.Landlock == nil {
		for _, w := range d.wide {
			d.log.noticef("Note: %s", w)
		}
	}
}

// paths are what the daemon still opens and removes: its leases, the map-file,
// the device if this process has to attach to it again, and at the end what shows that it
// runs. Metrics tell what the kernel knows about the process. tayga.conf is read
// at start only.
func (d *daemon) paths() []sandbox.Path {
	var list []sandbox.Path
	if !d.attachesByHelper() {
		list = append(list, sandbox.Path{Name: tunPath, Access: sandbox.UseDevice})
	}
	if d.conf.DataDir != "" {
		list = append(list, sandbox.Path{Name: ".", Access: sandbox.KeepFiles})
		for _, l := range d.savedFiles() {
			if dir := l.linkedDir(); dir != nil {
				d.held = append(d.held, dir)
				list = append(list, sandbox.Path{At: dir, Access: sandbox.KeepFiles})
			}
		}
	}
	if d.maps != nil {
		list = append(list, d.maps.paths()...)
	}
	if d.pid != nil && d.pid.dir != nil {
		list = append(list, sandbox.Path{At: d.pid.dir, Access: sandbox.RemoveFiles})
	}
	if d.metrics != nil && !d.o.chroot {
		for _, name := range []string{"/proc/self", "/proc/stat"} {
			// The kernel makes new inodes for these when no process has them open.
			if f, err := os.Open(name); err == nil {
				d.held = append(d.held, f)
				list = append(list, sandbox.Path{At: f, Access: sandbox.ReadFiles})
			}
		}
	}
	if dir := d.socketDir(); dir != "" {
		list = append(list, sandbox.Path{Name: dir, Access: sandbox.RemoveFiles})
		if d.madeDir {
			list = append(list, sandbox.Path{Name: filepath.Dir(status.Dir), Access: sandbox.RemoveDirs})
		}
	}
	return list
}

// tunPath is what devices are attached to by.
const tunPath = "/dev/net/tun"

// socketDir returns the directory of the status socket, empty if there is none
// that could be removed.
func (d *daemon) socketDir() string {
	if d.socket == nil || d.o.chroot {
		return ""
	}
	return d.socket.Dir()
}

// paths are the directories in which the file may be replaced: its own and, if it
// is a symbolic link, the one that it leads to. Kernels know directories with all
// that is below them, and no names in them.
func (m *mapSource) paths() []sandbox.Path {
	list := []sandbox.Path{{At: m.dir, Name: filepath.Dir(m.name), Access: sandbox.ReadFiles}}
	if m.dir == nil {
		if target, err := filepath.EvalSymlinks(m.name); err == nil {
			list = append(list, sandbox.Path{Name: filepath.Dir(target), Access: sandbox.ReadFiles})
		}
	}
	return list
}
