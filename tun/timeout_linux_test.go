package tun

import (
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// socketQueue is a queue whose kernel is a socket: what is written to the socket is read
// from the queue.
func socketQueue(t *testing.T) (q *Queue, kernel int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	require.NoError(t, err)
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	require.NoError(t, err)
	t.Cleanup(func() {
		for _, fd := range []int{fds[0], fds[1], wake} {
			unix.Close(fd)
		}
	})
	q = &Queue{d: &Device{name: "nat64", wake: wake}, fd: fds[0]}
	q.poll = [2]unix.PollFd{{Fd: int32(q.fd), Events: unix.POLLIN}, {Fd: int32(wake), Events: unix.POLLIN}}
	return q, fds[1]
}

// TestReadTimeout: a reader that has to do something by a certain time is back by then,
// not before, and no later for a packet that comes.
func TestReadTimeout(t *testing.T) {
	q, kernel := socketQueue(t)
	ps := NewPackets(2)
	nothing := func(timeout, atLeast time.Duration) {
		t.Helper()
		begin := time.Now()
		within(t, "ReadTimeout", func() {
			n, err := q.ReadTimeout(ps, timeout)
			require.NoError(t, err)
			require.Zero(t, n)
		})
		require.GreaterOrEqual(t, time.Since(begin), atLeast)
	}
	nothing(0, 0)
	nothing(-time.Hour, 0)
	nothing(1, 1)
	nothing(20*time.Millisecond, 20*time.Millisecond)

	for _, timeout := range []time.Duration{-1, 0, time.Hour, math.MaxInt64} {
		for range 3 {
			_, err := unix.Write(kernel, []byte("packet"))
			require.NoError(t, err)
		}
		for _, want := range []int{2, 1} {
			n, err := q.ReadTimeout(ps, timeout)
			require.NoError(t, err)
			require.Equal(t, want, n, timeout)
			require.Equal(t, "packet", string(ps[0].Bytes()))
		}
	}

	// One that comes while the reader waits.
	go func() { _, _ = unix.Write(kernel, []byte("packet")) }()
	within(t, "ReadTimeout", func() {
		n, err := q.ReadTimeout(ps, time.Hour)
		require.NoError(t, err)
		require.Equal(t, 1, n)
	})
	require.Zero(t, testing.AllocsPerRun(10, func() { _, _ = q.ReadTimeout(ps, 1) }))
}

// TestReadTimeoutSignals: signals, of which the runtime sends many, neither end a wait
// nor begin it again.
func TestReadTimeoutSignals(t *testing.T) {
	q, _ := socketQueue(t)
	tid := make(chan int)
	var waited time.Duration
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		tid <- unix.Gettid()
		begin := time.Now()
		n, err := q.ReadTimeout(NewPackets(1), 50*time.Millisecond)
		waited = time.Since(begin)
		if n != 0 || err != nil {
			t.Error(n, err)
		}
	}()
	thread := <-tid
	within(t, "ReadTimeout", func() {
		for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
			select {
			case <-ended:
				return
			default:
				_ = unix.Tgkill(unix.Getpid(), thread, unix.SIGURG)
			}
		}
	})
	require.GreaterOrEqual(t, waited, 50*time.Millisecond)
}

// TestMilliseconds: a timeout is rounded up, or a worker would poll until its time has
// come; and none is taken for "forever".
func TestMilliseconds(t *testing.T) {
	for d, want := range map[time.Duration]int{
		math.MinInt64:                    0,
		-1:                               0,
		0:                                0,
		1:                                1,
		time.Millisecond:                 1,
		time.Millisecond + 1:             2,
		1500 * time.Microsecond:          2,
		time.Minute:                      60000,
		math.MaxInt32 * time.Millisecond: math.MaxInt32 - 1,
		math.MaxInt64 - time.Millisecond: math.MaxInt32 - 1,
		math.MaxInt64:                    math.MaxInt32 - 1,
	} {
		require.Equal(t, want, milliseconds(d), d)
	}
}
