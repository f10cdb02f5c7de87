package main

import (
	"errors"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// asUser calls f on a thread that has the permissions for files of the user and
// the group that the daemon is to become, and gives the thread its own back. f
// starts no goroutines. The error says that they cannot be had.
func asUser(id identity, f func()) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	groups, err := unix.Getgroups()
	if err != nil {
		return err
	}
	if err := threadGroups([]int{id.gid}); err != nil {
		return err
	}
	defer threadGroups(groups)
	if id.gid >= 0 {
		defer unix.Setfsgid(os.Getegid())
		unix.Setfsgid(id.gid)
	}
	if id.uid >= 0 {
		defer unix.Setfsuid(os.Geteuid())
		unix.Setfsuid(id.uid)
		if now, _ := unix.SetfsuidRetUid(-1); now != id.uid {
			return errors.ErrUnsupported
		}
	}
	f()
	return nil
}

// threadGroups sets the supplementary groups of this thread alone.
func threadGroups(groups []int) error {
	list := make([]uint32, len(groups)+1)
	for i, g := range groups {
		list[i] = uint32(g)
	}
	_, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&list[0])), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
