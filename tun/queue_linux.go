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
	d       *Device
	fd      int
	virtio  bool
	poll    [2]unix.PollFd
	refused atomic.Uint64
	rd, wr  sync.Mutex           // held while fd is read or written: nobody else's line
	iov     [maxTrain]unix.Iovec // of a train, under wr
	early   []translate.Packet   // that Probe has met, under rd; each Buf is a window
	failed  int                  // reads since the last packet, under rd
}

// batchBytes ends a batch of Read. What has been copied from the kernel should
// still be in the core's own cache when it is copied back.
const batchBytes = 256 << 10

// Read waits for a packet and then takes what else is there without waiting, up
// to len(ps) packets or about 256 KiB, whichever comes first. It sets the window,
// Offload and Result of each; their Buf must be at least as long as those of
// NewPackets; it panics if one has not even the room for translation. An error
// means that the queue is finished: ErrClosed, ErrGone, or what every read ends
// with by now. A packet that the kernel fails to hand over is counted in Refused
// and left out. Read allocates nothing.
//
// Descriptors do not block; poll waits for the queue or the eventfd of Close.
// Under load poll is not called at all. The runtime's network poller would cost
// a switch of goroutines for each wake-up instead.
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
			return n, nil // the next Read meets the error again
		default:
			return 0, q.fatal("read", err)
		}
	}
	return n, nil
}

// passing reports whether reading can go on after an error, and counts the packet.
// The kernel throws away a single packet that it cannot hand over, as a
// super-packet of a kind that the virtio-net header has no word for. But no error
// may have us read in vain forever.
func (q *Queue) passing(err error) bool {
	if errors.Is(err, unix.EINTR) {
		return true
	}
	if errors.Is(err, unix.EBADFD) || errors.Is(err, unix.EBADF) || q.failed == maxFailed {
		return false
	}
	q.failed++
	q.refused.Add(1)
	return true
}

// maxFailed is after how many failures in a row a queue is given up.
const maxFailed = 100

// readOne reads one packet, or returns EAGAIN, or an error for passing to judge.
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

// transfer is read(2) or write(2) of one packet. It does not tell the runtime's
// scheduler: a descriptor that does not block is back before anybody could have
// made use of the processor, and telling costs more than the system call.
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

// milliseconds rounds a timeout up to what poll takes: earlier there is nothing to do.
// One of more than three weeks is shortened.
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

// Write sends the packets of ps in order, with their Offload, and returns how
// many the kernel took. A packet that it refuses (the link is down, there is no
// memory, the packet is malformed) is counted in Refused and left behind; the
// others go on. An error means that the queue is finished: ErrClosed or ErrGone.
// Write changes up to ten bytes before each window, and headers.
//
// Where the device has USO, UDP datagrams that are alike and follow each other go
// as one super-packet. It leaves the kernel as the datagrams that were given, except
// that identifications of those with DF, which have no meaning, count up.
func (q *Queue) Write(ps []translate.Packet) (n int, err error) {
	if err := q.d.enter(&q.wr); err != nil {
		return 0, err
	}
	defer q.wr.Unlock()
	for len(ps) > 0 {
		k := 1
		if q.d.features.USO {
			k = trainLen(ps)
		}
		switch err := q.writeTrain(ps[:k]); {
		case err == nil:
			n += k
		case errors.Is(err, unix.EBADFD), errors.Is(err, unix.EBADF):
			return n, q.fatal("write", err)
		default:
			q.refused.Add(uint64(k))
		}
		ps = ps[k:]
	}
	return n, nil
}

// Refused returns how many packets the kernel would not take from Write, or failed
// to hand over to Read.
func (q *Queue) Refused() uint64 { return q.refused.Load() }

// writeTrain writes packets that trainLen has found to be one train.
func (q *Queue) writeTrain(ps []translate.Packet) error {
	if len(ps) > 1 {
		couple(ps)
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
