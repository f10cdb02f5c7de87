package main

import (
	"errors"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/sandbox"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/tun"
)

// capabilities returns those that the daemon cannot do without, if it has them.
// To move packets, to follow the device and to save leases and sessions takes none; nor does
// anything about the device, with a helper.
func (d *daemon) capabilities() (keep sandbox.Capabilities) {
	if !d.attachesByHelper() && !d.free {
		keep |= sandbox.NetAdmin
	}
	permitted := sandbox.MayAsk()
	err := sandbox.Unprivileged(func() { permitted = permitted && d.filesPermitted() })
	if err != nil || !permitted {
		keep |= sandbox.DACOverride
	}
	return keep
}

// attachesFreely reports whether a device that was deleted and comes back can be
// taken up again without CAP_NET_ADMIN by the process as it will be: it does not have to
// be set up, and the kernel lets us attach to it, since it belongs to us or has no owner.
// A program that creates it again is assumed to create the same. We create a missing one.
func attachesFreely(c *taygaconf.Config, id identity) bool {
	if c.TunUp || len(c.TunIPs) > 0 || len(c.TunRoutes) > 0 {
		return false
	}
	i, err := tun.Inspect(c.TunDevice)
	if errors.Is(err, unix.ENODEV) {
		return true
	}
	own := id.owner()
	if err != nil || i.UID >= 0 && i.UID != own.UID {
		return false
	}
	return i.GID < 0 || i.GID == own.GID || id.gid < 0 && inGroup(i.GID)
}

// inGroup reports whether a group is one of the supplementary ones. It is not asked
// where the question could end the process.
func inGroup(gid int) bool {
	if !sandbox.MayAskGroups() {
		return false
	}
	groups, err := os.Getgroups()
	return err == nil && slices.Contains(groups, gid)
}

// filesPermitted reports whether the permissions of all files that the daemon
// still opens, or removes, let this thread do so. What is absent is no obstacle.
func (d *daemon) filesPermitted() bool {
	ok := d.attachesByHelper() || permitted(unix.AT_FDCWD, tunPath, unix.R_OK|unix.W_OK)
	if d.conf.DataDir != "" {
		ok = ok && permitted(unix.AT_FDCWD, ".", unix.R_OK|unix.W_OK|unix.X_OK)
		for _, l := range d.savedFiles() {
			ok = ok && permitted(unix.AT_FDCWD, l.file, unix.R_OK)
			if dir := l.linkedDir(); dir != nil {
				ok = ok && permitted(int(dir.Fd()), ".", unix.R_OK|unix.W_OK|unix.X_OK)
				dir.Close()
			}
		}
	}
	if d.maps != nil {
		ok = ok && permitted(d.maps.at(), d.maps.name, unix.R_OK)
	}
	if d.pid != nil && d.pid.dir != nil {
		ok = ok && permitted(int(d.pid.dir.Fd()), ".", unix.W_OK|unix.X_OK)
	}
	if dir := d.socketDir(); dir != "" {
		ok = ok && permitted(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK)
	}
	return ok
}

// permitted asks for the effective user and capabilities of this thread, which
// faccessat2 alone does. Kernels without it, before 5.8, permit nothing here.
func permitted(at int, path string, mode int) bool {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return false
	}
	_, _, errno := unix.Syscall6(unix.SYS_FACCESSAT2, uintptr(at), uintptr(unsafe.Pointer(name)), uintptr(mode), unix.AT_EACCESS, 0, 0)
	return errno == 0 || errno == unix.ENOENT || errno == unix.EROFS
}
