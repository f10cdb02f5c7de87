package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/safepath"
)

// enterDataDir changes to data-dir, or to the root if there is none. A missing
// data-dir is made, unless it is to belong to a user other than this one. From
// here on files in it are opened from the working directory, which cannot be
// exchanged as a path can. It returns who else can write there.
func enterDataDir(dir string, create bool) ([]safepath.Writer, error) {
	if dir == "" {
		return nil, os.Chdir("/")
	}
	d, err := safepath.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		if !create {
			return nil, fmt.Errorf("data-dir %s does not exist: make it, and give it to the user that tayga runs as", dir)
		}
		if err = makeDir(dir); err == nil {
			d, err = safepath.Open(dir)
		}
	}
	if err == nil {
		defer d.Close()
		err = d.Chdir()
	}
	if err != nil {
		return nil, fmt.Errorf("data-dir: %w", err)
	}
	return d.Writers, nil
}

// makeDir makes a directory that no other user can write to.
func makeDir(path string) error {
	parent, name, err := safepath.Resolve(path)
	if err != nil {
		return err
	}
	defer parent.Close()
	if err := unix.Mkdirat(int(parent.Fd()), name, created(0o755)); err != nil && err != unix.EEXIST {
		return &os.PathError{Op: "mkdir", Path: path, Err: err}
	}
	return nil
}

// checkDataDir looks whether the user that the daemon becomes can save leases and
// sessions there. Who can write there besides decides what they are.
func (d *daemon) checkDataDir(writers []safepath.Writer, id identity) error {
	if d.conf.DataDir == "" || len(savedNames(d.conf)) == 0 {
		return nil
	}
	if id.uid >= 0 && !id.held() { // else the lock tells, without calls that a filter may not permit
		var err error
		unknown := asUser(id, func() { err = unix.Faccessat(unix.AT_FDCWD, ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS) })
		if unknown == nil && err == unix.EACCES {
			return d.notWritable(id.userName)
		}
	}
	for _, w := range strangers(writers, id) {
		d.log.warningf("data-dir %s: %v, who can change the %s", d.conf.DataDir, w, savedWhat(d.conf))
	}
	return nil
}

// notWritable says that nothing can be saved. In a directory of a third user they
// would be that user's, which is refused; in one of root's, the daemon goes on
// without, as TAYGA does.
func (d *daemon) notWritable(user string) error {
	text := fmt.Sprintf("data-dir %s: user %s, as whom tayga runs, may not write there", d.conf.DataDir, user)
	var st unix.Stat_t
	if err := unix.Stat(".", &st); err == nil && st.Uid != 0 {
		return fmt.Errorf("%s: it belongs to user %d: give the directory to user %s", text, st.Uid, user)
	}
	d.log.warningf("%s: %s are forgotten when tayga ends: give the directory to that user", text, savedWhat(d.conf))
	return nil
}

// ownName is the name of the user that this process runs as.
func ownName() string {
	number := strconv.Itoa(os.Geteuid())
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return number
}

// lockDataDir locks the files of leases and sessions, so that no other daemon replaces
// them. Daemons without a pool, or with other files, may share the directory.
func (d *daemon) lockDataDir(k locker) error {
	if d.conf.DataDir == "" {
		return nil
	}
	for _, name := range savedNames(d.conf) {
		l, err := k.take(nil, name)
		var held errHeld
		switch {
		case err == nil:
			d.locks = append(d.locks, l)
		case errors.As(err, &held):
			return d.dataDirInUse(held.holder)
		case errors.Is(err, errStopped):
			return err
		case errors.Is(err, unix.EACCES) && !exists(name+lockSuffix):
			if err := d.notWritable(ownName()); err != nil {
				return err
			}
		case errors.Is(err, unix.EACCES):
			return fmt.Errorf("data-dir %s: %w: it is that of a daemon of another user", d.conf.DataDir, err)
		case !errors.Is(err, unix.EROFS): // where nothing is saved
			d.log.warningf("data-dir %s: %v: a second daemon is not kept away from the %s", d.conf.DataDir, err, savedWhat(d.conf))
		}
	}
	return nil
}

// lockLinks locks files that data-dir has only links to where they are: two
// data-dirs may lead to the same file. It is called by the user that the daemon runs
// as, who decides which links are followed, and root follows none of that user's.
func (d *daemon) lockLinks(k locker) error {
	if d.conf.DataDir == "" {
		return nil
	}
	for _, name := range savedNames(d.conf) {
		if fi, err := os.Lstat(name); err != nil || fi.Mode().Type() != os.ModeSymlink {
			continue
		}
		dir, base, err := safepath.Resolve(name)
		if err != nil {
			continue // nor is it followed later
		}
		l, err := k.take(dir.File, base)
		if err == nil {
			d.locks = append(d.locks, l)
			continue
		}
		dir.Close()
		var held errHeld
		switch {
		case errors.As(err, &held):
			return fmt.Errorf("data-dir %s: the file that %s leads to is in use by another tayga: %v", d.conf.DataDir, name, held.holder)
		case errors.Is(err, errStopped):
			return err
		case !errors.Is(err, unix.EROFS):
			d.log.warningf("data-dir %s: %s: %v: a second daemon is not kept away from the %s", d.conf.DataDir, name, err, savedWhat(d.conf))
		}
	}
	return nil
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// dataDirInUse says who has the leases. A second daemon for the same device gets
// of that, too.
func (d *daemon) dataDirInUse(h holder) error {
	err := fmt.Errorf("data-dir %s is in use by another tayga: %v", d.conf.DataDir, h)
	if h.device != d.conf.TunDevice || !deviceExists(h.device) {
		return err
	}
	dev, _, _, busy := openDevice(d.conf, d.owner)
	if busy == nil {
		dev.Close() // it has another, in another namespace
		return err
	}
	d.log.errorf("%v", err)
	return busy
}

// stopping tells daemons that wait for us that it is worth it.
func (d *daemon) stopping() {
	d.pid.stopping()
	for _, l := range d.locks {
		l.stopping()
	}
}

// unlock gives up what the daemon kept for itself.
func (d *daemon) unlock() {
	d.pid.remove()
	for _, l := range d.locks {
		l.release()
	}
}
