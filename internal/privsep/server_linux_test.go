package privsep

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/hostnet"
	"github.com/steppe-nat64/steppe/tun"
)

// A worker is a handler that takes down what it is asked for, and attaches to pipes.
type worker struct {
	queues int

	mu  sync.Mutex
	did []string
	err error
}

func (w *worker) do(what string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.did = append(w.did, what)
	return w.err
}

func (w *worker) done() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.did)
}

func (w *worker) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

func (w *worker) Attach() (a tun.Attached, err error) {
	if err := w.do("attach"); err != nil {
		return a, err
	}
	for range w.queues {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil {
			return a, err
		}
		a.FDs = append(a.FDs, fd)
	}
	a.Features = tun.Features{Checksum: true, TSO: true}
	return a, nil
}
func (w *worker) Up() error                           { return w.do("up") }
func (w *worker) AddIP(p netip.Prefix) error          { return w.do("ip " + p.String()) }
func (w *worker) AddRoute(p netip.Prefix) error       { return w.do("route " + p.String()) }
func (w *worker) Network(list []hostnet.Change) error { return w.do(fmt.Sprint("network ", len(list))) }

func (w *worker) Resolvers() []netip.Addr { return []netip.Addr{ip6.Addr(), ip4.Addr()} }

func (w *worker) FastPath(program int) (int, error) {
	if err := w.do(fmt.Sprint("program ", program)); err != nil {
		return -1, err
	}
	return unix.Eventfd(0, unix.EFD_CLOEXEC)
}

// serve serves w on one end of a pair of sockets and returns the other end, which has read
// that the helper is ready. served is what Serve returns in the end.
func serve(t *testing.T, w *worker) (fd int, served chan error) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	served = make(chan error, 1)
	go func() {
		s := &Server{Config: sample(), fd: pair[1]}
		err := s.Serve(w, "ready")
		unix.Close(pair[1])
		served <- err
	}()
	r, fds := receive(t, pair[0])
	assert.Equal(t, reply{text: "ready"}, r)
	assert.Empty(t, fds)
	return pair[0], served
}

func receive(t *testing.T, fd int) (reply, []int) {
	t.Helper()
	b, oob := make([]byte, maxReply+1), make([]byte, 1024)
	n, oobn, _, _, err := unix.Recvmsg(fd, b, oob, unix.MSG_CMSG_CLOEXEC)
	require.NoError(t, err)
	r, err := decodeReply(b[:n])
	require.NoError(t, err)
	fds, err := descriptors(oob[:oobn])
	require.NoError(t, err)
	return r, fds
}

// open counts the descriptors of this process.
func open(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(list)
}

// The helper does what is on its list and in its configuration. It refuses everything
// else, keeps no descriptor that it is sent, and goes on. It ends with the other end.
func TestServe(t *testing.T) {
	w := &worker{queues: 2}
	fd, served := serve(t, w)
	before := open(t)
	for _, r := range requests {
		require.NoError(t, unix.Send(fd, r.encode(), 0))
		got, fds := receive(t, fd)
		assert.NoError(t, got.err())
		assert.Equal(t, r.op == opAttach, len(fds) == 2)
		assert.Equal(t, r.op == opFastPath, len(fds) == 1)
		assert.Equal(t, r.op == opAttach, got.features == tun.Features{Checksum: true, TSO: true})
		closeAll(fds)
		require.NoError(t, unix.Send(fd, []byte{0}, 0)) // by its answer, the one before is all over
		receive(t, fd)
		assert.Equal(t, before, open(t))
	}
	want := []string{"attach", "up", "ip 192.0.2.1/24", "ip 2001:db8::1/64", "route 64:ff9b::/96", "program 4", "network 0"}
	assert.Equal(t, want, w.done())

	refused := func(name string, b []byte, fds ...int) {
		t.Helper()
		var rights []byte
		if fds != nil {
			rights = unix.UnixRights(fds...)
		}
		require.NoError(t, unix.Sendmsg(fd, b, rights, nil, 0))
		got, fds := receive(t, fd)
		assert.ErrorIs(t, got.err(), ErrRefused, name)
		assert.Empty(t, fds)
		assert.Equal(t, before, open(t))
	}
	for name, b := range malformedRequests {
		refused(name, b)
	}
	refused("too-long", append(requests[3].encode(), 0))
	refused("much-too-long", make([]byte, 1<<16))
	for _, r := range requests {
		refused("descriptor", r.encode(), fd)
	}
	refused("descriptors", requests[0].encode(), fd, 0, 1, 2)
	refused("not-configured", request{op: opAddRoute, prefix: netip.MustParsePrefix("0.0.0.0/0")}.encode())
	assert.Equal(t, want, w.done(), "nothing of that was done")

	w.fail(fmt.Errorf("add: %w", unix.ENETDOWN))
	for _, r := range requests {
		require.NoError(t, unix.Send(fd, r.encode(), 0))
		got, fds := receive(t, fd)
		assert.Equal(t, r.op != opResolvers, errors.Is(got.err(), unix.ENETDOWN), r) // which are read, or none are
		assert.Empty(t, fds)
	}
	unix.Close(fd)
	assert.NoError(t, <-served)
}

// A daemon that is gone before it has its answer is no error.
func TestServeEnds(t *testing.T) {
	fd, served := serve(t, &worker{})
	require.NoError(t, unix.Send(fd, requests[0].encode(), 0))
	unix.Close(fd)
	assert.NoError(t, <-served)
}

// client returns the daemon's side, and the helper's end of the sockets.
func client(t *testing.T) (*Helper, int) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	f := os.NewFile(uintptr(pair[0]), "")
	conn, err := net.FileConn(f)
	require.NoError(t, err)
	f.Close()
	h := &Helper{queues: 2, conn: conn.(*net.UnixConn), replies: make(chan answer, 1), ended: make(chan struct{})}
	go h.listen()
	t.Cleanup(h.Close)
	return h, pair[1]
}

// Both sides together.
func TestHelper(t *testing.T) {
	w := &worker{queues: 2}
	h, fd := client(t)
	go func() {
		(&Server{Config: sample(), fd: fd}).Serve(w, "ready")
		unix.Close(fd)
	}()
	text, err := h.Ready()
	require.NoError(t, err)
	assert.Equal(t, "ready", text)
	before := open(t)
	a, err := h.Attach()
	require.NoError(t, err)
	assert.Len(t, a.FDs, 2)
	for _, fd := range a.FDs {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		require.NoError(t, err)
		assert.Equal(t, unix.FD_CLOEXEC, flags)
	}
	a.Close()
	assert.NoError(t, h.Up())
	assert.NoError(t, h.AddIP(ip6))
	assert.NoError(t, h.AddRoute(route))
	assert.NoError(t, h.Network([]hostnet.Change{{Link: &hostnet.Link{Device: "nat64", MTU: 1500}}}))
	resolvers, err := h.Resolvers()
	assert.NoError(t, err)
	assert.Equal(t, []netip.Addr{ip6.Addr(), ip4.Addr()}, resolvers)
	at, err := h.FastPath()
	require.NoError(t, err)
	assert.NoError(t, unix.Close(at))
	assert.ErrorIs(t, h.AddRoute(ip4), ErrRefused)
	w.fail(fmt.Errorf("busy: %w", tun.ErrBusy))
	_, err = h.Attach()
	assert.ErrorIs(t, err, tun.ErrBusy)
	assert.EqualError(t, err, "busy: device is in use")
	assert.Equal(t, before, open(t))
	assert.True(t, h.Alive())
	h.Close()
	assert.False(t, h.Alive())
	assert.ErrorIs(t, h.Up(), ErrEnded)
}

// A helper that does not keep to the protocol is none: the daemon believes no reply of it
// any more, and keeps none of the descriptors.
func TestHelperViolates(t *testing.T) {
	done := reply{}.encode()
	for _, test := range []struct {
		name string
		ask  func(*Helper) error
		text []byte
		fds  int
	}{
		{"attach-without-queue", attach, done, 0},
		{"attach-with-too-many", attach, done, 3},
		{"attach-fails-with-queue", attach, replyTo(errors.New("no")).encode(), 1},
		{"up-with-queue", (*Helper).Up, done, 1},
		{"program-without-attachment", fastPath, done, 0},
		{"program-with-two", fastPath, done, 2},
		{"program-fails-with-attachment", fastPath, replyTo(errors.New("no")).encode(), 1},
		{"malformed", (*Helper).Up, []byte{byte(codes), 0}, 0},
		{"malformed-with-queue", attach, []byte{0}, 2},
		{"too-long", (*Helper).Up, append(replyTo(errors.New("no")).encode(), make([]byte, maxReply)...), 0},
		{"far-too-many", attach, done, 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, fd := client(t)
			before := open(t)
			asked := make(chan struct{})
			go func() {
				defer close(asked)
				unix.Recvmsg(fd, make([]byte, maxRequest), nil, 0)
				var rights []byte
				if test.fds > 0 {
					rights = unix.UnixRights(make([]int, test.fds)...)
				}
				unix.Sendmsg(fd, test.text, rights, nil, 0)
			}()
			assert.ErrorIs(t, test.ask(h), ErrEnded)
			<-asked
			assert.False(t, h.Alive())
			assert.ErrorIs(t, h.Up(), ErrEnded)
			assert.Equal(t, before-1, open(t), "without the connection")
			unix.Close(fd)
		})
	}
}

func attach(h *Helper) error   { _, err := h.Attach(); return err }
func fastPath(h *Helper) error { _, err := h.FastPath(); return err }

// A reply that comes before the request is not that to it.
func TestHelperAnswersUnasked(t *testing.T) {
	h, fd := client(t)
	defer unix.Close(fd)
	require.NoError(t, unix.Send(fd, reply{}.encode(), 0))
	for len(h.replies) == 0 {
		select {
		case <-h.ended:
			t.Fatal("ended")
		default:
		}
	}
	assert.ErrorIs(t, h.Up(), ErrEnded)
}
