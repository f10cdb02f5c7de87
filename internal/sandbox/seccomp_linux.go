package sandbox

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A rule allows a system call: always, or when one of the matches holds.
type rule struct {
	nr   uintptr
	when []match
}

// A match holds if all of its words do.
type match []word

// A word holds if the bits of mask have this value in an argument, counted from
// 0. Bits above the 32nd are not looked at: the kernel does not look at them
// either where an argument is an int, as all of those compared here are, or a
// set of flags of which none lies there. The upper half of another argument is that
// with the number arg+upper.
type word struct {
	arg         int
	mask, value uint32
}

// upper is added to the number of an argument for the upper half of its 64 bits.
const upper = 6

// all is the mask of words that are compared as a whole.
const all = ^uint32(0)

// What a filter answers.
const (
	retAllow  = unix.SECCOMP_RET_ALLOW
	retEPERM  = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	retENOSYS = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
)

// struct seccomp_data, linux/seccomp.h: int nr; u32 arch; u64 ip; u64 args[6].
// Both processors that we know are little-endian: the low half comes first.
const (
	offsetNr   = 0
	offsetArch = 4
	offsetArgs = 16
)

// compile turns rules into a filter, in their order. The first ones cost least,
// where that matters: since Linux 5.11 the kernel remembers which calls are
// allowed whatever their arguments, and runs the filter for the others only.
func compile(arch uint32, rules []rule) []unix.SockFilter {
	f := []unix.SockFilter{
		load(offsetArch),
		jumpIf(arch, 1, 0),
		answer(retEPERM), // a call in the way of another processor has other numbers
		load(offsetNr),
	}
	for _, r := range rules {
		body := compileMatches(r.when)
		f = append(f, jumpIf(uint32(r.nr), 0, uint8(len(body))))
		f = append(f, body...)
	}
	// Flags of clone3 lie in memory, where no filter sees them. A C library that
	// is told that there is no such call uses clone.
	return append(f,
		jumpIf(unix.SYS_CLONE3, 0, 1),
		answer(retENOSYS),
		answer(retEPERM))
}

// offset is where the word lies in struct seccomp_data.
func (w word) offset() uint32 {
	return offsetArgs + 8*uint32(w.arg%upper) + 4*uint32(w.arg/upper)
}

// compileMatches ends in an answer, whatever happens.
func compileMatches(when []match) (f []unix.SockFilter) {
	if when == nil {
		return []unix.SockFilter{answer(retAllow)}
	}
	for _, m := range when {
		const perWord = 3
		for i, w := range m {
			rest := uint8((len(m) - i - 1) * perWord) // of this match, without its answer
			f = append(f, load(w.offset()), and(w.mask), jumpIf(w.value, 0, rest+1))
		}
		f = append(f, answer(retAllow))
	}
	return append(f, answer(retEPERM))
}

// The four instructions of classic BPF that a filter needs: see seccomp(2).

// load takes 32 bits of struct seccomp_data.
func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

// and leaves of what was loaded the bits of mask.
func and(mask uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: mask}
}

// jumpIf skips so many instructions if what was loaded is value, or is not.
func jumpIf(value uint32, is, isNot uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jt: is, Jf: isNot}
}

// answer ends the filter.
func answer(ret uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: ret}
}

// filterFlags: without SPEC_ALLOW, kernels before 5.16 also switch off speculative
// stores for the process, against foreign code that runs in it.
// There is none here, and packets would pay for it.
const filterFlags = unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW

// filterCalls leaves all threads no system calls but those of the table.
func filterCalls(c Config) error {
	if calls == nil {
		return errors.New("no filter for this processor")
	}
	f := compile(auditArch, calls(os.Getpid(), c))
	prog := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, filterFlags, uintptr(unsafe.Pointer(&prog)))
	if errno == unix.EINVAL { // SPEC_ALLOW came with 4.17
		thread, _, errno = unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
			unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	}
	switch {
	case errno == unix.ENOSYS, errno == unix.EINVAL:
		return errors.New("the kernel does not know it")
	case errno != 0:
		return errno
	case thread != 0:
		return fmt.Errorf("thread %d has a filter of its own", thread)
	}
	return nil
}
