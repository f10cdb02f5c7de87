package tun

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/translate"
)

// Device is an open TUN device. All methods may be called at any time, but for
// Probe, which comes before any other use, and for Close and Watch, which the
// function given to Watch must not call: they wait for it.
type Device struct {
	name     string
	features Features
	queues   []*Queue
	lock     int // abstract socket that keeps other daemons of ours away
	ctl      int // socket for ioctls, in the namespace of the device
	route    int // route netlink socket, for Watch
	query    int // another, for questions about the device
	wake     int // eventfd that is readable once the device is closed
	index    int

	closed   atomic.Bool // Stop was called: descriptors are used no more
	ending   sync.Mutex  // held by Stop and Close; guards released
	released bool
	mu       sync.Mutex // held while ctl and query are used
	watching sync.Mutex // held while route is used
	repaired int        // settings that were changed and set back, under mu
}

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

// Open makes or attaches to the device. On any error nothing is left behind.
func Open(c Config) (*Device, error) {
	if err := checkName(c.Name); err != nil {
		return nil, err
	}
	if c.Queues < 0 || c.Queues > 64 {
		return nil, fmt.Errorf("tun: %d queues: want 1 to 64", c.Queues)
	}
	d := &Device{name: c.Name, lock: -1, ctl: -1, route: -1, query: -1, wake: -1}
	if err := d.open(c); err != nil {
		d.release()
		return nil, err
	}
	return d, nil
}

// checkName refuses what does not name one device. The kernel would stop reading
// at a NUL, and take another device than the one whose lock we hold; of a pattern
// it would make a new one at every call.
func checkName(name string) error {
	if name == "" || len(name) >= unix.IFNAMSIZ {
		return fmt.Errorf("tun: device name %q: want 1 to %d octets", name, unix.IFNAMSIZ-1)
	}
	if strings.ContainsAny(name, "%\x00") {
		return fmt.Errorf("tun: device name %q: want no %% and no NUL", name)
	}
	return nil
}

func (d *Device) open(c Config) (err error) {
	if err := d.claim(); err != nil {
		return err
	}
	if n, _ := queuesInUse(d.name); n > 0 {
		return explain(d.name, unix.EBUSY)
	}
	if err := d.attachAll(c); err != nil {
		return err
	}
	if n, ok := queuesInUse(d.name); ok && n > len(d.queues) { // somebody was as fast
		return explain(d.name, unix.EBUSY)
	}
	if d.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("tun: eventfd: %w", err)
	}
	for _, q := range d.queues {
		q.poll = [2]unix.PollFd{{Fd: int32(q.fd), Events: unix.POLLIN}, {Fd: int32(d.wake), Events: unix.POLLIN}}
	}
	return d.openLink()
}

// claim takes a lock on the device's name. The kernel lets any number of
// programs attach to a device with multiple queues, and would deal the packets
// out among them. An abstract socket is bound to the network namespace, as the
// device is, and is gone when the process is. Programs that do not know of the
// lock are found by queuesInUse; and since anybody in the namespace may bind the
// socket, without privilege, what the kernel says of the queues goes before it.
func (d *Device) claim() (err error) {
	d.lock, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("tun: socket: %w", err)
	}
	err = unix.Bind(d.lock, &unix.SockaddrUnix{Name: "@steppe-tun/" + d.name})
	if errors.Is(err, unix.EADDRINUSE) {
		if unused(d.name) {
			return nil
		}
		return explain(d.name, unix.EBUSY)
	}
	if err != nil {
		return fmt.Errorf("tun: lock %s: %w", d.name, err)
	}
	return nil
}

// settle is how long a process that has bound the socket may take to attach.
const settle = 250 * time.Millisecond

// unused reports whether the kernel says, for as long as settle, that nobody is
// attached to the named device.
func unused(name string) bool {
	for end := time.Now().Add(settle); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if n, ok := queuesInUse(name); n > 0 || !ok {
			return false
		}
	}
	return true
}

// attachAll opens the queues, asking for multiple queues unless the device was
// made for one, and for the best offloads that the kernel grants.
func (d *Device) attachAll(c Config) error {
	own := ownerOf(c)
	flags := uint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_MULTI_QUEUE)
	if !c.Plain {
		flags |= unix.IFF_VNET_HDR
	}
	q, _, err := makeOrAttach(d.name, flags, own)
	if errors.Is(err, unix.EINVAL) {
		flags &^= unix.IFF_MULTI_QUEUE
		q, _, err = makeOrAttach(d.name, flags, own)
	}
	if errors.Is(err, unix.EINVAL) && !c.Plain {
		flags = flags&^unix.IFF_VNET_HDR | unix.IFF_MULTI_QUEUE
		if q, _, err = makeOrAttach(d.name, flags, own); errors.Is(err, unix.EINVAL) {
			flags &^= unix.IFF_MULTI_QUEUE
			q, _, err = makeOrAttach(d.name, flags, own)
		}
	}
	if err != nil {
		return explain(d.name, err)
	}
	q.d = d
	d.queues = []*Queue{q}
	for flags&unix.IFF_MULTI_QUEUE != 0 && len(d.queues) < c.Queues {
		q, err := attach(d.name, flags)
		if err != nil {
			return explain(d.name, err)
		}
		q.d = d
		d.queues = append(d.queues, q)
	}
	reset(q.fd) // what a program before us may have left
	_, err = restore(q.fd)
	if flags&unix.IFF_VNET_HDR != 0 && err == nil {
		d.features = grant(q.fd, c)
	} else if err := plain(q.fd); err != nil {
		return fmt.Errorf("tun: switch off offloads of %s: %w", d.name, err)
	}
	return nil
}

// attach opens one queue of the named device.
func attach(name string, flags uint16) (*Queue, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/dev/net/tun", Err: err}
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(flags)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &Queue{fd: fd, virtio: flags&unix.IFF_VNET_HDR != 0}, nil
}

// explain turns an error of attach into a sentence that says what to do.
func explain(name string, err error) error {
	var path *os.PathError
	switch {
	case errors.As(err, &path) && errors.Is(err, unix.ENOENT):
		return fmt.Errorf("tun: %w (load the tun module, or give the container the device)", err)
	case errors.As(err, &path) && (errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO)):
		return fmt.Errorf("tun: %w (the kernel has no TUN driver: load the tun module)", err)
	case errors.As(err, &path) && errors.Is(err, unix.EPERM):
		return fmt.Errorf("tun: %w (the container may not use the device: allow it)", err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("tun: attach %s: %w (run as root or with CAP_NET_ADMIN)", name, err)
	case errors.Is(err, errRaced):
		return fmt.Errorf("tun: make %s: %w", name, err)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("tun: attach %s: %w (stop the other process first)", name, ErrBusy)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("tun: attach %s: %w (an interface of that name that is no TUN device?)", name, err)
	}
	return fmt.Errorf("tun: attach %s: %w", name, err)
}

// Offload flags of TUNSETOFFLOAD, linux/if_tun.h. The last two came with 6.2. Those
// of 6.17 (TUN_F_UDP_TUNNEL_GSO and its checksum, 0x80 and 0x100) are not asked for:
// the kernel then cuts super-packets inside of tunnels itself, and hands over plain
// packets whose inner checksum is undone, which translate completes.
const (
	tunFCsum   = 0x01
	tunFTSO4   = 0x02
	tunFTSO6   = 0x04
	tunFTSOECN = 0x08
	tunFUSO4   = 0x20
	tunFUSO6   = 0x40
)

// grant asks for offloads, fewer with every refusal. The kernel takes them for
// the whole device.
func grant(fd int, c Config) Features {
	for _, f := range []Features{{true, true, true}, {true, true, false}, {true, false, false}} {
		f.TSO = f.TSO && !c.NoTSO
		f.USO = f.USO && !c.NoUSO
		if unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, f.bits()) == nil {
			return f
		}
	}
	return Features{}
}

// bits are the flags of TUNSETOFFLOAD for f, which has Checksum.
func (f Features) bits() int {
	b := tunFCsum
	if f.TSO {
		b |= tunFTSO4 | tunFTSO6 | tunFTSOECN
	}
	if f.USO {
		b |= tunFUSO4 | tunFUSO6
	}
	return b
}

// plain takes all offloads back. They belong to the device: one that is
// persistent keeps them for whoever attaches next, who may not know what to do
// with super-packets and partial checksums.
func plain(fd int) error { return unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, 0) }

// Persist makes the named device stay, or go, when no program has it open. It
// makes the device if there is none, at once with its owner, as Open does. With
// stay, uid and gid become the owner of a device that exists, too; −1 leaves one of
// them out. See Owner for what that means.
func Persist(name string, stay bool, uid, gid int) error {
	if err := checkName(name); err != nil {
		return err
	}
	own := Owner{uid, gid}
	const flags = unix.IFF_TUN | unix.IFF_NO_PI
	q, made, err := makeOrAttach(name, flags|unix.IFF_MULTI_QUEUE, own)
	if errors.Is(err, unix.EINVAL) {
		q, made, err = makeOrAttach(name, flags, own)
	}
	if err != nil {
		return explain(name, err)
	}
	defer unix.Close(q.fd)
	on := 0
	if stay {
		on = 1
		if !made {
			if err := give(q.fd, name, own); err != nil {
				return err
			}
		}
	}
	if err := unix.IoctlSetInt(q.fd, unix.TUNSETPERSIST, on); err != nil {
		return fmt.Errorf("tun: set persistence of %s: %w", name, err)
	}
	return nil
}

// Name returns the device's name.
func (d *Device) Name() string { return d.name }

// Index returns the device's interface index.
func (d *Device) Index() int { return d.index }

// Features returns what the kernel has granted.
func (d *Device) Features() Features { return d.features }

// Queues returns the device's queues, at least one.
func (d *Device) Queues() []*Queue { return d.queues }

// enter takes a mutex that keeps descriptors from being closed, and reused,
// under a call.
func (d *Device) enter(m *sync.Mutex) error {
	m.Lock()
	if d.closed.Load() {
		m.Unlock()
		return fmt.Errorf("tun: %s: %w", d.name, ErrClosed)
	}
	return nil
}

// Stop wakes all readers and watchers and waits until they are out. All that would
// use the device fails with ErrClosed from then on, but it stays ours until Close,
// and nobody else attaches to it: time to put away what the next one will look for.
func (d *Device) Stop() {
	d.ending.Lock()
	defer d.ending.Unlock()
	d.stop()
}

// Close stops and closes the device. Calls after the first do nothing.
func (d *Device) Close() error {
	d.ending.Lock()
	defer d.ending.Unlock()
	d.stop()
	if !d.released {
		d.released = true
		d.release()
	}
	return nil
}

func (d *Device) stop() {
	if d.closed.Swap(true) {
		return
	}
	var one [8]byte
	one[0], one[7] = 1, 1 // not zero in either byte order
	_, _ = unix.Write(d.wake, one[:])
	held := []*sync.Mutex{&d.watching} // Watch takes mu while it holds this
	for _, q := range d.queues {
		held = append(held, &q.rd, &q.wr)
	}
	held = append(held, &d.mu)
	for _, m := range held {
		m.Lock()
	}
	for _, m := range held {
		m.Unlock() // who comes now sees closed
	}
}

func (d *Device) release() {
	if d.features != (Features{}) {
		_ = plain(d.queues[0].fd)
	}
	for _, q := range d.queues {
		unix.Close(q.fd)
	}
	for _, fd := range []int{d.lock, d.ctl, d.route, d.query, d.wake} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// batchOctets ends a batch of Read. What has been copied from the kernel should
// still be in the core's own cache when it is copied back.
const batchOctets = 256 << 10

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
func (q *Queue) Read(ps []translate.Packet) (n int, err error) {
	if err := q.d.enter(&q.rd); err != nil {
		return 0, err
	}
	defer q.rd.Unlock()
	if q.early != nil && len(ps) > 0 {
		return q.takeEarly(ps), nil
	}
	for octets := 0; n < len(ps) && octets < batchOctets; {
		err := q.readOne(&ps[n])
		switch {
		case err == nil:
			octets += ps[n].Len
			n++
		case errors.Is(err, unix.EAGAIN):
			if n > 0 {
				return n, nil
			}
			if err := q.wait(); err != nil {
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

// wait blocks until there is something to read.
func (q *Queue) wait() error {
	for {
		_, err := unix.Poll(q.poll[:], -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return q.fatal("poll", err)
		}
		if q.d.closed.Load() {
			return fmt.Errorf("tun: %s: %w", q.d.name, ErrClosed)
		}
		if err == nil {
			return nil
		}
	}
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
// Write changes up to ten octets in front of each window, and headers.
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
	default: // no room in front of the packet
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
