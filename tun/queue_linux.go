package tun

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/translate"
)

// Queue is one queue of a device. One goroutine may read while another writes.
type Queue struct {
	d      *Device
	fd     int
	virtio bool
	poll   [2]unix.PollFd
	lost   atomic.Uint64
	rd, wr sync.Mutex              // locked while fd is read or written; each by one goroutine only
	iov    [maxSegments]unix.Iovec // of coalesced datagrams, under wr
	early  []translate.Packet      // packets that arrived during Probe, under rd; each Buf is a window
	failed int                     // reads since the last packet, under rd
}

// batchBytes ends a batch of Read. What has been copied from the kernel should
// still be in the core's own cache when it is copied back.
const batchBytes = 256 << 10

// Read waits for a packet, and then reads further packets without waiting, up to len(ps)
// packets or about 256 KiB. It sets the window, Offload and Result of each. Their Buf must
// be at least as long as those of NewPackets; Read panics if one has no room for
// translation. After an error the queue cannot be used any more: ErrClosed, ErrGone, or
// an error that repeats. A packet that the kernel does not deliver because of an error is
// counted in Failed and skipped. Read allocates nothing.
//
// Descriptors do not block; poll waits for the queue or the eventfd of Close. Under load
// poll is not called at all. The runtime's network poller would cost a switch of
// goroutines for each wake-up.
func (q *Queue) Read(ps []translate.Packet) (n int, err error) { return q.read(ps, -1) }

// ReadTimeout is Read that waits no longer than timeout, to the millisecond: then it
// returns 0 and no error. If timeout is 0 or less it does not wait. It is for a program
// that has to send something by a certain time.
func (q *Queue) ReadTimeout(ps []translate.Packet, timeout time.Duration) (n int, err error) {
	return q.read(ps, max(timeout, 0))
}

// read is Read, with a timeout if that is not negative.
func (q *Queue) read(ps []translate.Packet, timeout time.Duration) (n int, err error) {
	if err := q.d.enter(&q.rd); err != nil {
		return 0, err
	}
	defer q.rd.Unlock()
	if q.early != nil && len(ps) > 0 {
		return q.takeEarly(ps), nil
	}
	for size := 0; n < len(ps) && size < batchBytes; {
		err := q.readOne(&ps[n])
		switch {
		case err == nil:
			size += ps[n].Len
			n++
		case errors.Is(err, unix.EAGAIN):
			if n > 0 {
				return n, nil
			}
			if ready, err := q.wait(timeout); !ready {
				return 0, err
			}
		case q.passing(err):
		case n > 0:
			return n, nil // the next Read returns the error
		default:
			return 0, q.fatal("read", err)
		}
	}
	return n, nil
}

// passing reports whether reading can continue after an error, and counts the packet. The
// kernel discards a packet that it cannot deliver, for example a super-packet of a type
// that the virtio-net header cannot describe. But an error that repeats must end the loop.
func (q *Queue) passing(err error) bool {
	if errors.Is(err, unix.EINTR) {
		return true
	}
	if errors.Is(err, unix.EBADFD) || errors.Is(err, unix.EBADF) || q.failed == maxFailed {
		return false
	}
	q.failed++
	q.lost.Add(1)
	return true
}

// maxFailed is the number of successive errors after which a queue cannot be used.
const maxFailed = 100

// readOne reads one packet, or returns EAGAIN, or an error for passing.
func (q *Queue) readOne(p *translate.Packet) error {
	at := Headroom
	if q.virtio {
		at -= virtioLen
	}
	n, err := transfer(unix.SYS_READ, q.fd, p.Buf[at:len(p.Buf)-translate.Tailroom])
	if err != nil {
		return err
	}
	q.failed = 0
	p.Offload, p.Result = translate.Offload{}, translate.Result{}
	if q.virtio {
		if n < virtioLen {
			n = virtioLen
		} else {
			p.Offload = decodeVirtio(p.Buf[at:])
		}
		n -= virtioLen
	}
	p.Off, p.Len = Headroom, n
	return nil
}

// transfer is read(2) or write(2) of one packet. It does not notify the runtime's
// scheduler: the call does not block, and the notification costs more than the call.
func transfer(trap uintptr, fd int, b []byte) (n int, err error) {
	r, _, errno := unix.RawSyscall(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}

// wait blocks until there is something to read, or until the timeout, unless that is
// negative.
func (q *Queue) wait(timeout time.Duration) (ready bool, err error) {
	ms, end := -1, time.Time{}
	if timeout >= 0 {
		ms, end = milliseconds(timeout), time.Now().Add(timeout)
	}
	for {
		n, err := unix.Poll(q.poll[:], ms)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false, q.fatal("poll", err)
		}
		if q.d.closed.Load() {
			return false, fmt.Errorf("tun: %s: %w", q.d.name, ErrClosed)
		}
		if err == nil {
			return n > 0, nil
		}
		if timeout >= 0 { // a signal; the runtime sends some
			ms = milliseconds(time.Until(end))
		}
	}
}

// milliseconds rounds a timeout up to the milliseconds of poll. A timeout of more than
// three weeks is shortened.
func milliseconds(d time.Duration) int {
	d = min(max(d, 0), (math.MaxInt32-1)*time.Millisecond)
	return int((d + time.Millisecond - 1) / time.Millisecond)
}

// fatal wraps an error that ends the queue.
func (q *Queue) fatal(op string, err error) error {
	if errors.Is(err, unix.EBADFD) {
		err = ErrGone
	}
	return fmt.Errorf("tun: %s %s: %w", op, q.d.name, err)
}

// Write sends the packets of ps in order, with their Offload, and returns how many were
// sent. A packet that the kernel does not accept (the link is down, there is no memory,
// the packet is malformed) is counted in Failed; the others are sent. After an error the
// queue cannot be used any more: ErrClosed or ErrGone. Write changes up to ten bytes
// before each window, and headers.
//
// If the device has USO, Write coalesces successive UDP datagrams of one flow and size into
// one super-packet. The kernel segments it into the same datagrams, except that the
// identifications of those with DF, which have no meaning, count up.
func (q *Queue) Write(ps []translate.Packet) (n int, err error) {
	if err := q.d.enter(&q.wr); err != nil {
		return 0, err
	}
	defer q.wr.Unlock()
	for len(ps) > 0 {
		k := 1
		if q.d.features.USO {
			k = coalesceLen(ps)
		}
		switch err := q.writeCoalesced(ps[:k]); {
		case err == nil:
			n += k
		case errors.Is(err, unix.EBADFD), errors.Is(err, unix.EBADF):
			return n, q.fatal("write", err)
		default:
			q.lost.Add(uint64(k))
		}
		ps = ps[k:]
	}
	return n, nil
}

// Failed returns how many packets Write could not send, and how many packets the kernel
// did not deliver to Read because of an error.
func (q *Queue) Failed() uint64 { return q.lost.Load() }

// writeCoalesced writes packets that can be one super-packet, as coalesceLen reports.
func (q *Queue) writeCoalesced(ps []translate.Packet) error {
	if len(ps) > 1 {
		coalesce(ps)
	}
	for {
		err := q.write(ps)
		if err != unix.EINTR { //nolint:errorlint // a bare errno
			return err
		}
	}
}

// write is one system call.
func (q *Queue) write(ps []translate.Packet) error {
	p := &ps[0]
	head := p.Bytes()
	switch {
	case !q.virtio:
	case p.Off >= virtioLen:
		head = p.Buf[p.Off-virtioLen : p.Off+p.Len]
		encodeVirtio(head, &p.Offload)
	default: // no room before the packet
		var hdr [virtioLen]byte
		encodeVirtio(hdr[:], &p.Offload)
		head = append(hdr[:], head...)
	}
	if len(ps) == 1 {
		_, err := transfer(unix.SYS_WRITE, q.fd, head)
		return err
	}
	q.iov[0].Base = &head[0]
	q.iov[0].SetLen(len(head))
	for i := 1; i < len(ps); i++ {
		payload := ps[i].Bytes()[p.Offload.HdrLen:]
		q.iov[i].Base = &payload[0]
		q.iov[i].SetLen(len(payload))
	}
	_, _, errno := unix.RawSyscall(unix.SYS_WRITEV, uintptr(q.fd), uintptr(unsafe.Pointer(&q.iov)), uintptr(len(ps)))
	if errno != 0 {
		return errno
	}
	return nil
}
