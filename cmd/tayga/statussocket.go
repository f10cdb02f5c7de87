package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/steppe-nat64/steppe/internal/safepath"
	"github.com/steppe-nat64/steppe/internal/status"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

// openStatus opens the socket for status reports. At its default path it is optional:
// the daemon starts without. One that the configuration asks for has to work. In a directory that other users can
// write, one of them could answer in our name.
func (d *daemon) openStatus(id identity) (err error) {
	switch path := d.conf.StatusSocket; path {
	case taygaconf.NoStatusSocket:
	case "":
		path = status.DefaultPath(d.conf.TunDevice)
		d.makeStatusDir()
		if err := checkSocketDir(path, id); err != nil {
			d.log.warningf("No status socket: %v", err)
			return nil
		}
		d.socket, _ = status.Listen(path, id.gid, d.o.chroot)
	default:
		err := checkSocketDir(path, id)
		if err == nil {
			d.socket, err = status.Listen(path, id.gid, d.o.chroot)
		}
		if err != nil {
			return fmt.Errorf("status-socket: %w", err)
		}
	}
	return nil
}

// makeStatusDir makes the directory of sockets at their default path.
func (d *daemon) makeStatusDir() {
	if os.Mkdir(status.Dir, os.FileMode(created(0o755))) == nil {
		d.madeDir = true
	}
}

// checkSocketDir rejects a directory that others than root and the daemon's user
// can write. Listen reports a directory that cannot be opened.
func checkSocketDir(path string, id identity) error {
	dir, err := safepath.Open(filepath.Dir(path))
	if err != nil {
		return nil
	}
	defer dir.Close()
	if by := strangers(dir.Writers, id); len(by) > 0 && !by[0].Sticky {
		return fmt.Errorf("%s: %v: choose a directory that only root and the user of tayga can write", path, by[0])
	}
	return nil
}

// closeStatus removes the socket, and its directory if the daemon made it.
func (d *daemon) closeStatus() {
	if d.socket != nil {
		d.socket.Close()
	}
	if d.madeDir && !d.o.chroot {
		os.Remove(status.Dir) // fails if another daemon has its socket there
	}
}
