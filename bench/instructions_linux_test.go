package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A counter counts events of this thread: perf_event_open(2).
type counter struct{ fd int }

// openCounter begins to count, in user mode only. It fails if the machine has no
// such counter, as most virtual machines, or does not allow it.
func openCounter(kind uint32, event uint64) (*counter, error) {
	attr := unix.PerfEventAttr{
		Type: kind, Config: event,
		Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{})),
		// Pinned: it counts all the time, or reading it gives nothing.
		Bits: unix.PerfBitPinned | unix.PerfBitExcludeKernel | unix.PerfBitExcludeHv,
	}
	fd, err := unix.PerfEventOpen(&attr, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("perf_event_open: %w", err)
	}
	return &counter{fd}, nil
}

// read returns the events so far.
func (c *counter) read() (uint64, error) {
	var b [8]byte
	n, err := unix.Read(c.fd, b[:])
	if err == nil && n != len(b) {
		err = errors.New("the processor had no counter left")
	}
	return binary.NativeEndian.Uint64(b[:]), err
}

func (c *counter) close() { unix.Close(c.fd) }

// openInstructions begins to count instructions.
func openInstructions() (*counter, error) {
	return openCounter(unix.PERF_TYPE_HARDWARE, unix.PERF_COUNT_HW_INSTRUCTIONS)
}
