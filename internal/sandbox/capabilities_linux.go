package sandbox

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// capState is what capget and capset work on: the low half of every set, and
// the high one.
type capState [2]unix.CapUserData

// thisThread is the header that means the calling thread.
func thisThread() *unix.CapUserHeader {
	return &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
}

func (s *capState) permitted() Capabilities {
	return Capabilities(s[0].Permitted) | Capabilities(s[1].Permitted)<<32
}

// set makes c both permitted and effective, and nothing inheritable. Ambient
// capabilities go with the inheritable ones.
func (s *capState) set(c Capabilities) {
	s[0] = unix.CapUserData{Effective: uint32(c), Permitted: uint32(c)}
	s[1] = unix.CapUserData{Effective: uint32(c >> 32), Permitted: uint32(c >> 32)}
}

// permitted returns the capabilities of this thread, all where that is not known.
func permitted() Capabilities {
	var s capState
	if endured(readCapabilitiesTrials) != nil || unix.Capget(thisThread(), &s[0]) != nil {
		return ^Capabilities(0)
	}
	return s.permitted()
}

// Permitted returns the capabilities that the calling thread has, all where that is not
// known.
func Permitted() Capabilities { return permitted() }

// dropCapabilities drops all capabilities of all threads but those of keep.
func dropCapabilities(keep Capabilities) error {
	DropBounding()
	var s capState
	s.set(permitted() & keep)
	err := allThreads(unix.SYS_CAPSET, uintptr(unsafe.Pointer(thisThread())), uintptr(unsafe.Pointer(&s)))
	if err == errThreads && permitted()&^keep == 0 {
		return nil // there was nothing to drop, as after a change of user
	}
	return err
}

// setPCap is the capability that dropping others from the bounding set takes.
const setPCap Capabilities = 1 << unix.CAP_SETPCAP

// DropBounding drops what no program that is run could get any more, if the process
// may: before it changes its user, after which it may not. It is no error if not, since
// no_new_privs keeps programs from getting a capability, too. Those that the process has
// stay.
func DropBounding() {
	if permitted()&setPCap == 0 || endured(boundingTrials) != nil {
		return
	}
	for c := range uintptr(64) {
		if allThreads(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c) != nil {
			return // no capability has this number; or cgo
		}
	}
}

// Unprivileged calls f on a thread without effective capabilities, to find out
// what is possible without them. f starts no goroutines.
func Unprivileged(f func()) error {
	if err := endured(capabilitiesTrials); err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before capState
	if err := unix.Capget(thisThread(), &before[0]); err != nil {
		return fmt.Errorf("sandbox: capget: %w", err)
	}
	without := before
	without[0].Effective, without[1].Effective = 0, 0
	if err := unix.Capset(thisThread(), &without[0]); err != nil {
		return fmt.Errorf("sandbox: capset: %w", err)
	}
	f()
	if err := unix.Capset(thisThread(), &before[0]); err != nil {
		return fmt.Errorf("sandbox: capset: %w", err)
	}
	return nil
}
