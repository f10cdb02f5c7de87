package tun

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/translate"
)

const (
	single = unix.IFF_TUN | unix.IFF_NO_PI
	multi  = single | unix.IFF_MULTI_QUEUE
)

func TestOpenAndClose(t *testing.T) {
	lab(t)
	d, err := Open(Config{Name: "nat64"})
	require.NoError(t, err)
	require.Equal(t, "nat64", d.Name())
	require.Positive(t, d.Index())
	require.Len(t, d.Queues(), 1)
	l, err := d.Link()
	require.NoError(t, err)
	require.Equal(t, Link{MTU: 1500}, l)

	require.NoError(t, d.SetMTU(1400))
	require.NoError(t, d.SetUp(true))
	l, err = d.Link()
	require.NoError(t, err)
	require.Equal(t, Link{MTU: 1400, Up: true}, l)
	require.NoError(t, d.SetUp(false))
	l, err = d.Link()
	require.NoError(t, err)
	require.Equal(t, Link{MTU: 1400}, l)
	for _, mtu := range []int{math.MinInt, -1, 0, 10, 67, 65536, math.MaxInt, math.MinInt + 1500} { // the last was taken for 1500
		require.Error(t, d.SetMTU(mtu), mtu)
	}

	require.NoError(t, d.Close())
	require.NoError(t, d.Close(), "again")
	require.False(t, exists(t, "nat64"), "it is not persistent")
	_, err = d.Link()
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, d.SetMTU(1400), ErrClosed)
	require.ErrorIs(t, d.SetUp(true), ErrClosed)
	require.ErrorIs(t, d.Watch(func(Link) {}), ErrClosed)
}

// TestAttach opens what others have left behind.
func TestAttach(t *testing.T) {
	for _, tt := range []struct {
		name         string
		flags        uint16
		queues, want int
	}{
		{"single-queue", single, 1, 1},
		{"single-queue-asked-for-four", single, 4, 1},
		{"single-queue-with-packet-information", unix.IFF_TUN, 1, 1},
		{"multi-queue", multi, 1, 1},
		{"multi-queue-asked-for-four", multi, 4, 4},
		{"multi-queue-with-virtio-header", multi | unix.IFF_VNET_HDR, 2, 2},
	} {
		for _, plain := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/plain=%v", tt.name, plain), func(t *testing.T) {
				lab(t)
				leaveBehind(t, "nat64", tt.flags)
				d := open(t, Config{Name: "nat64", Queues: tt.queues, Plain: plain})
				require.Len(t, d.Queues(), tt.want)
				if plain {
					require.Equal(t, Features{}, d.Features())
				}
				d.Close()
				require.True(t, exists(t, "nat64"), "it was persistent before")
				open(t, Config{Name: "nat64", Queues: tt.queues, Plain: plain}) // and once more
			})
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    Config
		want string
	}{
		{"no-name", Config{}, `tun: device name "": want 1 to 15 bytes`},
		{"long-name", Config{Name: "abcdefghijklmnop"}, `tun: device name "abcdefghijklmnop": want 1 to 15 bytes`},
		{"pattern", Config{Name: "nat%d"}, `tun: device name "nat%d": want no % and no NUL`},
		{"cut-short", Config{Name: "nat64\x00x"}, `tun: device name "nat64\x00x": want no % and no NUL`},
		{"queues", Config{Name: "x", Queues: 65}, "tun: 65 queues: want 1 to 64"},
		{"fewer-queues-than-none", Config{Name: "x", Queues: -1}, "tun: -1 queues: want 1 to 64"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(tt.c)
			require.EqualError(t, err, tt.want)
		})
	}
	t.Run("tap", func(t *testing.T) {
		lab(t)
		leaveBehind(t, "nat64", unix.IFF_TAP|unix.IFF_NO_PI)
		_, err := Open(Config{Name: "nat64"})
		require.ErrorIs(t, err, unix.EINVAL)
		require.ErrorContains(t, err, "tun: attach nat64: invalid argument (")
	})
	t.Run("name-that-no-interface-can-have", func(t *testing.T) {
		lab(t)
		_, err := Open(Config{Name: "a/b"})
		require.ErrorContains(t, err, "tun: attach a/b: ")
	})
	t.Run("nothing-is-left-behind", func(t *testing.T) {
		lab(t)
		before := descriptors(t)
		leaveBehind(t, "nat64", unix.IFF_TAP|unix.IFF_NO_PI)
		for range 3 {
			_, err := Open(Config{Name: "nat64"})
			require.Error(t, err)
		}
		require.Equal(t, before, descriptors(t))
	})
}

// descriptors counts the files that the process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(list)
}

func TestDeviceIsNotShared(t *testing.T) {
	t.Run("with-us", func(t *testing.T) {
		lab(t)
		leaveBehind(t, "nat64", multi)
		d := open(t, Config{Name: "nat64"})
		_, err := Open(Config{Name: "nat64"})
		require.ErrorIs(t, err, ErrBusy)
		require.EqualError(t, err, "tun: attach nat64: device is in use (stop the other process first)")
		d.Close()
		open(t, Config{Name: "nat64"})
	})
	t.Run("with-the-user-of-a-single-queue", func(t *testing.T) {
		lab(t)
		otherProgram(t, "nat64", single)
		_, err := Open(Config{Name: "nat64"})
		require.ErrorIs(t, err, ErrBusy)
	})
	t.Run("with-the-user-of-one-queue-of-many", func(t *testing.T) {
		lab(t)
		otherProgram(t, "nat64", multi)
		_, err := Open(Config{Name: "nat64"})
		require.ErrorIs(t, err, ErrBusy)
	})
	t.Run("with-the-user-of-a-detached-queue", func(t *testing.T) {
		lab(t)
		fd := otherProgram(t, "nat64", multi)
		ifr, err := unix.NewIfreq("")
		require.NoError(t, err)
		ifr.SetUint16(unix.IFF_DETACH_QUEUE)
		require.NoError(t, unix.IoctlIfreq(fd, unix.TUNSETQUEUE, ifr))
		_, err = Open(Config{Name: "nat64"})
		require.ErrorIs(t, err, ErrBusy)
	})
	t.Run("devices-apart", func(t *testing.T) {
		lab(t)
		open(t, Config{Name: "nat64"})
		open(t, Config{Name: "clat"})
	})
}

// TestSquatter: a socket by the name of the lock kept us away, and it takes no
// privilege to bind one. It still does where the kernel reports that another program has the
// device.
func TestSquatter(t *testing.T) {
	for _, tt := range []struct {
		name  string
		flags uint16 // of a device that is left behind
		used  bool
	}{
		{name: "no-device"},
		{name: "single-queue", flags: single},
		{name: "multi-queue", flags: multi},
		{name: "single-queue-in-use", flags: single, used: true},
		{name: "multi-queue-in-use", flags: multi, used: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lab(t)
			squat, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			require.NoError(t, err)
			defer unix.Close(squat)
			require.NoError(t, unix.Bind(squat, &unix.SockaddrUnix{Name: "@steppe-tun/nat64"}))
			if tt.flags != 0 {
				leaveBehind(t, "nat64", tt.flags)
			}
			if tt.used {
				otherProgram(t, "nat64", tt.flags)
			}
			d, err := Open(Config{Name: "nat64"})
			if tt.used {
				require.ErrorIs(t, err, ErrBusy)
				return
			}
			require.NoError(t, err)
			d.Close()
		})
	}
}

// TestLockHolderIsWaitedFor: another Open that has the lock may not have attached
// yet. Who did not wait for it made both find that another program was attached.
func TestLockHolderIsWaitedFor(t *testing.T) {
	lab(t)
	leaveBehind(t, "nat64", multi)
	first := Device{name: "nat64"}
	require.NoError(t, first.claim())
	defer unix.Close(first.lock)
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("nat64")
	require.NoError(t, err)
	ifr.SetUint16(multi)
	attached := make(chan error)
	time.AfterFunc(50*time.Millisecond, func() { attached <- unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr) })
	_, err = Open(Config{Name: "nat64"})
	require.NoError(t, <-attached)
	require.ErrorIs(t, err, ErrBusy)
	n, ok := queuesInUse("nat64")
	require.True(t, ok)
	require.Equal(t, 1, n, "the first finds no other")
}

// TestOneOfTwoWins opens a device several times at once.
func TestOneOfTwoWins(t *testing.T) {
	for _, left := range []uint16{0, single, multi} {
		t.Run(fmt.Sprintf("left-behind=%#x", left), func(t *testing.T) {
			lab(t)
			if left != 0 {
				leaveBehind(t, "nat64", left)
			}
			netns, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			require.NoError(t, err)
			defer unix.Close(netns)
			for range 3 {
				var all sync.WaitGroup
				var devices [4]*Device
				for i := range devices {
					all.Go(func() {
						runtime.LockOSThread() // and never unlocked
						if err := unix.Setns(netns, unix.CLONE_NEWNET); err != nil {
							t.Error(err)
							return
						}
						d, err := Open(Config{Name: "nat64", Queues: 2})
						if err != nil && !errors.Is(err, ErrBusy) {
							t.Error(err)
						}
						devices[i] = d
					})
				}
				all.Wait()
				won := 0
				for _, d := range devices {
					if d != nil {
						won++
						d.Close()
					}
				}
				require.Equal(t, 1, won)
			}
		})
	}
}

// TestExplain looks at the sentences for what goes wrong most.
func TestExplain(t *testing.T) {
	file := func(err error) error { return &os.PathError{Op: "open", Path: "/dev/net/tun", Err: err} }
	for _, tt := range []struct {
		err  error
		is   error
		want string
	}{
		{file(unix.ENOENT), fs.ErrNotExist, "tun: open /dev/net/tun: no such file or directory (load the tun module, or give the container the device)"},
		{file(unix.ENODEV), unix.ENODEV, "tun: open /dev/net/tun: no such device (the kernel has no TUN driver: load the tun module)"},
		{file(unix.EPERM), fs.ErrPermission, "tun: open /dev/net/tun: operation not permitted (the container may not use the device: allow it)"},
		{file(unix.EACCES), fs.ErrPermission, "tun: attach nat64: open /dev/net/tun: permission denied (run as root or with CAP_NET_ADMIN)"},
		{unix.EPERM, fs.ErrPermission, "tun: attach nat64: operation not permitted (run as root or with CAP_NET_ADMIN)"},
		{unix.EBUSY, ErrBusy, "tun: attach nat64: device is in use (stop the other process first)"},
		{unix.EINVAL, unix.EINVAL, "tun: attach nat64: invalid argument (an interface of that name that is no TUN device?)"},
		{unix.ENOMEM, unix.ENOMEM, "tun: attach nat64: cannot allocate memory"},
	} {
		err := explain("nat64", tt.err)
		require.EqualError(t, err, tt.want)
		require.ErrorIs(t, err, tt.is)
	}
}

func TestPersist(t *testing.T) {
	for _, flags := range []uint16{0, single, multi} {
		t.Run(fmt.Sprintf("left-behind=%#x", flags), func(t *testing.T) {
			lab(t)
			if flags != 0 {
				leaveBehind(t, "nat64", flags)
			}
			require.NoError(t, Persist("nat64", Owner{0, 0}))
			require.True(t, exists(t, "nat64"))
			require.NoError(t, Persist("nat64", Owner{-1, -1}), "again")
			require.NoError(t, Unpersist("nat64"))
			require.False(t, exists(t, "nat64"))
			require.NoError(t, Unpersist("nat64"), "what is not there can be removed")
			require.False(t, exists(t, "nat64"))
		})
	}
	t.Run("in-use", func(t *testing.T) {
		lab(t)
		otherProgram(t, "nat64", single)
		require.ErrorIs(t, Persist("nat64", Owner{0, 0}), ErrBusy)
	})
	t.Run("stays-after-close", func(t *testing.T) {
		lab(t)
		require.NoError(t, Persist("nat64", Owner{-1, -1}))
		d := open(t, Config{Name: "nat64"})
		d.Close()
		require.True(t, exists(t, "nat64"))
	})
	require.ErrorContains(t, Persist("", Owner{0, 0}), `tun: device name ""`)
	require.ErrorContains(t, Persist("nat%d", Owner{-1, -1}), `tun: device name "nat%d"`)
}

// TestPersistOwner has the owner attach without privilege, and a stranger fail.
func TestPersistOwner(t *testing.T) {
	lab(t)
	const owner, stranger = 12345, 12346
	require.NoError(t, Persist("nat64", Owner{owner, -1}))
	attachAs := func(uid uintptr) error {
		// Only the test's thread changes its effective user, and loses its
		// capabilities with it; /dev/net/tun is opened before that.
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		defer unix.Close(fd)
		ifr, err := unix.NewIfreq("nat64")
		require.NoError(t, err)
		ifr.SetUint16(multi)
		same := ^uintptr(0)
		_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, same, uid, same)
		require.Zero(t, errno)
		defer unix.RawSyscall(unix.SYS_SETRESUID, same, 0, same)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	require.NoError(t, attachAs(owner))
	require.ErrorIs(t, attachAs(stranger), unix.EPERM)
}

// TestRead has the kernel send datagrams and reads them in order, in batches,
// with nothing written outside their windows.
func TestRead(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			lab(t)
			d := open(t, Config{Name: "nat64", Plain: plain})
			setUp(t, d)
			s, q := socket(t, 1000), d.Queues()[0]
			const count = 5
			for i := range count {
				require.NoError(t, unix.Sendto(s, []byte{'n', byte('0' + i)}, 0, &unix.SockaddrInet4{Port: 2000, Addr: peer.As4()}))
			}
			ps := NewPackets(3)
			seen := 0
			for _, want := range []int{3, 2} {
				for i := range ps {
					for k := range ps[i].Buf {
						ps[i].Buf[k] = 0xa5
					}
					ps[i].Result = translate.Result{Verdict: translate.Forward, Reason: 1}
				}
				n, err := q.Read(ps)
				require.NoError(t, err)
				require.Equal(t, want, n, "what is there and fits, without waiting")
				for _, p := range ps[:n] {
					b := finish(t, p)
					require.Equal(t, Headroom, p.Off)
					require.Zero(t, p.Result)
					require.Equal(t, plain, p.Offload == translate.Offload{}, "%+v", p.Offload)
					require.Equal(t, []byte{'n', byte('0' + seen)}, b[28:])
					require.Equal(t, peer, netip.AddrFrom4([4]byte(b[16:20])))
					seen++

					front := Headroom - virtioLen
					if plain {
						front = Headroom
					}
					rest := append(bytes.Clone(p.Buf[:front]), p.Buf[p.Off+p.Len:]...)
					require.Equal(t, len(rest), bytes.Count(rest, []byte{0xa5}), "bytes outside the window")
				}
			}
			n, err := q.Read(nil)
			require.NoError(t, err)
			require.Zero(t, n, "no room, no wait")
		})
	}
}

// finish returns the packet with its UDP checksum completed, and checks it.
func finish(t *testing.T, p translate.Packet) []byte {
	t.Helper()
	b := bytes.Clone(p.Bytes())
	if p.Offload.Flags&translate.OffloadNeedsCsum != 0 {
		start := int(p.Offload.CsumStart)
		at := start + int(p.Offload.CsumOffset)
		require.Equal(t, [2]int{20, 26}, [2]int{start, at})
		binary.BigEndian.PutUint16(b[at:], ^uint16(sum(0, b[start:])))
	}
	require.Equal(t, uint32(0xffff), sum(0, b[:20]), "IPv4 header checksum")
	require.Equal(t, uint32(0xffff), sum(sum(uint32(17+len(b)-20), b[12:20]), b[20:]), "UDP checksum")
	return b
}

// TestWrite gives the kernel datagrams, with room for the virtio-net header in
// front of the packet and without.
func TestWrite(t *testing.T) {
	for _, plain := range []bool{false, true} {
		for _, off := range []int{Headroom, virtioLen, virtioLen - 1, 0} {
			t.Run(fmt.Sprintf("plain=%v/off=%d", plain, off), func(t *testing.T) {
				lab(t)
				d := open(t, Config{Name: "nat64", Plain: plain})
				setUp(t, d)
				s, q := socket(t, 1000), d.Queues()[0]
				ps := NewPackets(4)
				for i := range ps {
					raw := udp4(netip.AddrPortFrom(peer, 2000), netip.AddrPortFrom(ours, 1000), false, []byte{'n', byte('0' + i)})
					ps[i].Off, ps[i].Len = off, copy(ps[i].Buf[off:], raw)
				}
				n, err := q.Write(ps)
				require.NoError(t, err)
				require.Equal(t, len(ps), n)
				for i := range ps {
					require.Equal(t, string([]byte{'n', byte('0' + i)}), receive(t, s))
				}
				require.Zero(t, q.Failed())
			})
		}
	}
}

func receive(t *testing.T, s int) string {
	t.Helper()
	b := make([]byte, 1<<16)
	n, _, err := unix.Recvfrom(s, b, 0)
	require.NoError(t, err)
	return string(b[:n])
}

// TestOffloads moves super-packets of UDP both ways.
func TestOffloads(t *testing.T) {
	lab(t)
	d := open(t, Config{Name: "nat64"})
	setUp(t, d)
	t.Logf("granted: %s", d.Features())
	require.True(t, d.Features().Checksum)
	require.True(t, d.Features().TSO)
	needUSO(t, d)
	s, q := socket(t, 1000), d.Queues()[0]

	payload := bytes.Repeat([]byte("0123456789"), 300)
	require.NoError(t, unix.SetsockoptInt(s, unix.SOL_UDP, unix.UDP_SEGMENT, 1000))
	require.NoError(t, unix.Sendto(s, payload, 0, &unix.SockaddrInet4{Port: 2000, Addr: peer.As4()}))
	ps := NewPackets(4)
	n, err := q.Read(ps)
	require.NoError(t, err)
	require.Equal(t, 1, n, "whole")
	o := ps[0].Offload
	require.Equal(t, uint8(translate.GSOUDPL4), o.GSOType)
	require.Equal(t, uint16(1000), o.GSOSize)
	require.Equal(t, payload, ps[0].Bytes()[28:])

	raw := udp4(netip.AddrPortFrom(peer, 2000), netip.AddrPortFrom(ours, 1000), true, payload)
	ps[0].Len = copy(ps[0].Buf[ps[0].Off:], raw)
	ps[0].Offload = translate.Offload{Flags: translate.OffloadNeedsCsum, GSOType: translate.GSOUDPL4,
		HdrLen: 28, GSOSize: 1000, CsumStart: 20, CsumOffset: 6}
	n, err = q.Write(ps[:1])
	require.NoError(t, err)
	require.Equal(t, 1, n)
	for i := range 3 {
		require.Equal(t, string(payload[i*1000:][:1000]), receive(t, s))
	}
}

// TestPlainAfterOffloads: offloads stay with a persistent device. Who asks for
// plain packets must not get super-packets or partial checksums that another program
// before had asked for.
func TestPlainAfterOffloads(t *testing.T) {
	lab(t)
	require.NoError(t, Persist("nat64", Owner{-1, -1}))
	open(t, Config{Name: "nat64"}).Close()
	d := open(t, Config{Name: "nat64", Plain: true})
	setUp(t, d)
	s, q := socket(t, 1000), d.Queues()[0]
	require.NoError(t, unix.SetsockoptInt(s, unix.SOL_UDP, unix.UDP_SEGMENT, 1000))
	require.NoError(t, unix.Sendto(s, make([]byte, 3000), 0, &unix.SockaddrInet4{Port: 2000, Addr: peer.As4()}))
	ps := NewPackets(4)
	n, err := q.Read(ps)
	require.NoError(t, err)
	require.Equal(t, 3, n, "a packet for each segment")
	for _, p := range ps[:n] {
		require.Equal(t, 1028, p.Len)
		finish(t, p)
	}
}

// TestOffloadsDoNotOutliveUs: the next program that attaches to a persistent
// device may be one that does not know offloads.
func TestOffloadsDoNotOutliveUs(t *testing.T) {
	lab(t)
	require.NoError(t, Persist("nat64", Owner{-1, -1}))
	d := open(t, Config{Name: "nat64"})
	setUp(t, d)
	s := socket(t, 1000)
	d.Close()
	fd := otherProgram(t, "nat64", multi)
	require.NoError(t, unix.SetsockoptInt(s, unix.SOL_UDP, unix.UDP_SEGMENT, 1000))
	readable := func() bool { // soon
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
		return n == 1 && err == nil
	}
	require.Eventually(t, func() bool { // the kernel sees a moment later that a program listens again
		err := unix.Sendto(s, make([]byte, 3000), 0, &unix.SockaddrInet4{Port: 2000, Addr: peer.As4()})
		return err == nil && readable()
	}, 10*time.Second, time.Millisecond)
	b := make([]byte, 1<<16)
	for range 3 {
		require.Eventually(t, readable, 10*time.Second, time.Millisecond)
		n, err := unix.Read(fd, b)
		require.NoError(t, err)
		require.Equal(t, 1028, n)
		finish(t, translate.Packet{Buf: b, Len: n})
	}
}

// TestHeaderSizeLeftBehind attaches to a device on which a program before, such
// as a hypervisor, has set up a longer virtio-net header.
func TestHeaderSizeLeftBehind(t *testing.T) {
	lab(t)
	leaveBehind(t, "nat64", multi|unix.IFF_VNET_HDR, func(fd int) {
		require.NoError(t, unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, 12))
	})
	d := open(t, Config{Name: "nat64"})
	setUp(t, d)
	s, q := socket(t, 1000), d.Queues()[0]
	require.NoError(t, unix.Sendto(s, []byte("x"), 0, &unix.SockaddrInet4{Port: 2000, Addr: peer.As4()}))
	ps := NewPackets(1)
	n, err := q.Read(ps)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	finish(t, ps[0])
}

// TestRefused counts what the kernel does not take; the queue goes on.
func TestRefused(t *testing.T) {
	lab(t)
	d := open(t, Config{Name: "nat64"})
	setUp(t, d)
	s, q := socket(t, 1000), d.Queues()[0]
	good := udp4(netip.AddrPortFrom(peer, 2000), netip.AddrPortFrom(ours, 1000), false, []byte("good"))
	ps := NewPackets(3)
	for i := range ps {
		ps[i].Off, ps[i].Len = Headroom, copy(ps[i].Buf[Headroom:], good)
	}
	ps[1].Bytes()[0] = 0x95 // no such version
	n, err := q.Write(ps)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Equal(t, uint64(1), q.Failed())
	require.Equal(t, "good", receive(t, s))
	require.Equal(t, "good", receive(t, s))

	require.NoError(t, d.SetUp(false))
	n, err = q.Write(ps[:1])
	require.NoError(t, err)
	require.Zero(t, n)
	require.Equal(t, uint64(2), q.Failed())

	require.NoError(t, d.SetUp(true))
	n, err = q.Write(ps[:1])
	require.NoError(t, err)
	require.Equal(t, 1, n, "the link is back, and so is the queue")
}

// TestReadErrors plays the kernel with descriptors of other kinds. An error of one
// packet ended the whole queue, or was not even counted after another packet.
func TestReadErrors(t *testing.T) {
	queue := func(fd int, err error) *Queue {
		require.NoError(t, err)
		t.Cleanup(func() { unix.Close(fd) })
		return &Queue{d: &Device{name: "nat64"}, fd: fd}
	}
	t.Run("of-one-packet", func(t *testing.T) {
		local := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
		q := queue(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0))
		peer, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		require.NoError(t, unix.Bind(q.fd, local))
		require.NoError(t, unix.Bind(peer, local))
		at, err := unix.Getsockname(q.fd)
		require.NoError(t, err)
		to, err := unix.Getsockname(peer)
		require.NoError(t, err)
		require.NoError(t, unix.Connect(q.fd, to))
		for range 2 {
			require.NoError(t, unix.Sendto(peer, []byte("packet"), 0, at))
		}
		require.NoError(t, unix.Close(peer))
		_, err = unix.Write(q.fd, []byte("refused, once"))
		require.NoError(t, err)
		n, err := q.Read(NewPackets(2))
		require.NoError(t, err)
		require.Equal(t, 2, n)
		require.Equal(t, uint64(1), q.Failed())
		require.Zero(t, q.failed)
	})
	t.Run("after-a-packet", func(t *testing.T) {
		q := queue(unix.Eventfd(3, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK|unix.EFD_SEMAPHORE))
		ps := NewPackets(2)
		ps[1].Buf = ps[1].Buf[:Headroom+4+translate.Tailroom] // an eventfd has eight bytes to give
		for i := range 2 {
			n, err := q.Read(ps)
			require.NoError(t, err)
			require.Equal(t, 1, n)
			require.Equal(t, uint64((i+1)*maxFailed), q.Failed())
		}
		_, err := q.Read(ps[1:])
		require.EqualError(t, err, "tun: read nat64: invalid argument")
	})
	t.Run("of-every-packet", func(t *testing.T) {
		q := queue(unix.Open("/", unix.O_RDONLY|unix.O_CLOEXEC, 0))
		n, err := q.Read(NewPackets(2))
		require.EqualError(t, err, "tun: read nat64: is a directory")
		require.Zero(t, n)
		require.Equal(t, uint64(maxFailed), q.Failed())
	})
	t.Run("of-the-queue", func(t *testing.T) {
		q := &Queue{d: &Device{name: "nat64"}, fd: -1}
		_, err := q.Read(NewPackets(2))
		require.ErrorIs(t, err, unix.EBADF)
		require.Zero(t, q.Failed())
	})
}

// TestQueuesInUse: the kernel's answer, whatever it is.
func TestQueuesInUse(t *testing.T) {
	lab(t)
	for name, want := range map[string]struct {
		flags uint16
		n     int
	}{
		"none":   {0, 0},
		"single": {single, 0}, // not the kernel's figure: no other program can share it
		"multi":  {multi, 1},
	} {
		if want.flags != 0 {
			otherProgram(t, name, want.flags)
		}
		n, ok := queuesInUse(name)
		require.True(t, ok, name)
		require.Equal(t, want.n, n, name)
	}
	_, ok := queuesInUse("lo")
	require.False(t, ok, "no TUN device")
	_, ok = queuesInUse(strings.Repeat("x", 300))
	require.False(t, ok, "an error, but not that there is none")
}

// within fails the test, saying where all goroutines are, if f does not return.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { f(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		panic(what + " did not return")
	}
}

func TestCloseWakes(t *testing.T) {
	lab(t)
	d := open(t, Config{Name: "nat64", Queues: 3})
	var wg sync.WaitGroup
	for i, q := range d.Queues() {
		wg.Go(func() {
			read := q.Read
			if i == 0 {
				read = func(ps []translate.Packet) (int, error) { return q.ReadTimeout(ps, time.Hour) }
			}
			if _, err := read(NewPackets(1)); !errors.Is(err, ErrClosed) || err.Error() != "tun: nat64: device is closed" {
				t.Errorf("reader %d: %v", i, err)
			}
		})
	}
	watching := make(chan Link, 8)
	wg.Go(func() {
		if err := d.Watch(func(l Link) { watching <- l }); !errors.Is(err, ErrClosed) {
			t.Errorf("watcher: %v", err)
		}
	})
	<-watching
	time.Sleep(10 * time.Millisecond) // until the readers are likely to wait, too
	within(t, "Close", func() { d.Close() })
	within(t, "a reader or watcher", wg.Wait)
	_, err := d.Queues()[0].Read(NewPackets(1))
	require.ErrorIs(t, err, ErrClosed)
	_, err = d.Queues()[0].Write(NewPackets(1))
	require.ErrorIs(t, err, ErrClosed)
}

// TestStop: a device that was stopped serves no reader, and no other daemon can attach
// until it is closed.
func TestStop(t *testing.T) {
	lab(t)
	d := open(t, Config{Name: "nat64", Queues: 2})
	var wg sync.WaitGroup
	for i, q := range d.Queues() {
		wg.Go(func() {
			if _, err := q.Read(NewPackets(1)); !errors.Is(err, ErrClosed) {
				t.Errorf("reader %d: %v", i, err)
			}
		})
	}
	time.Sleep(10 * time.Millisecond) // until the readers are likely to wait
	for range 2 {
		within(t, "Stop", d.Stop)
	}
	within(t, "a reader", wg.Wait)
	_, err := d.Queues()[0].Write(NewPackets(1))
	require.ErrorIs(t, err, ErrClosed)
	_, err = d.Link()
	require.ErrorIs(t, err, ErrClosed)
	_, err = net.InterfaceByName("nat64")
	require.NoError(t, err)
	_, err = Open(Config{Name: "nat64"})
	require.ErrorIs(t, err, ErrBusy)

	within(t, "Close", func() { d.Close() })
	within(t, "Stop", d.Stop)
	open(t, Config{Name: "nat64"})
}

// TestCloseDuringNews closes the device while a watcher is being told something
// and asks for more. Close once waited for the watcher with the lock that the
// watcher needed to answer.
func TestCloseDuringNews(t *testing.T) {
	lab(t)
	d := open(t, Config{Name: "nat64"})
	told := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := d.Watch(func(Link) {
			close(told)
			time.Sleep(20 * time.Millisecond) // until Close is likely to wait
			if _, err := d.Link(); !errors.Is(err, ErrClosed) {
				t.Errorf("link of a closed device: %v", err)
			}
		})
		if !errors.Is(err, ErrClosed) {
			t.Errorf("watcher: %v", err)
		}
	})
	<-told
	within(t, "Close", func() { d.Close() })
	within(t, "the watcher", wg.Wait)
}

// TestDeleted: every user of a device that is deleted gets an error, once a
// call, and does not spin.
func TestDeleted(t *testing.T) {
	for _, persistent := range []bool{false, true} {
		t.Run(fmt.Sprintf("persistent=%v", persistent), func(t *testing.T) {
			lab(t)
			if persistent {
				require.NoError(t, Persist("nat64", Owner{-1, -1}))
			}
			d := open(t, Config{Name: "nat64", Queues: 2})
			setUp(t, d)
			var wg sync.WaitGroup
			for i, q := range d.Queues() {
				wg.Go(func() {
					if _, err := q.Read(NewPackets(1)); !errors.Is(err, ErrGone) {
						t.Errorf("reader %d: %v", i, err)
					}
				})
			}
			var last Link
			watching := make(chan Link, 8)
			wg.Go(func() {
				if err := d.Watch(func(l Link) { last = l; watching <- l }); err != nil {
					t.Errorf("watcher: %v", err)
				}
			})
			<-watching
			time.Sleep(10 * time.Millisecond)
			deleteLink(t, d.Index())
			within(t, "a reader or watcher", wg.Wait)
			require.True(t, last.Gone)

			ps := NewPackets(1)
			_, err := d.Queues()[1].Read(ps)
			require.EqualError(t, err, "tun: read nat64: device is gone")
			_, err = d.Queues()[1].Write(ps)
			require.ErrorIs(t, err, ErrGone)
			_, err = d.Link()
			require.ErrorIs(t, err, ErrGone)
			require.ErrorIs(t, d.SetUp(true), ErrGone)
			require.ErrorIs(t, d.SetMTU(1400), ErrGone)

			// The name is free for a new device, which is not the old one.
			d.Close()
			again := open(t, Config{Name: "nat64"})
			require.NotEqual(t, d.Index(), again.Index())
		})
	}
}

func TestWatch(t *testing.T) {
	lab(t)
	d := open(t, Config{Name: "nat64"})
	other := open(t, Config{Name: "other"})
	links := make(chan Link, 64)
	go d.Watch(func(l Link) { links <- l })
	next := func() Link {
		t.Helper()
		select {
		case l := <-links:
			return l
		case <-time.After(20 * time.Second):
			t.Fatal("no news of the link")
			panic("unreachable")
		}
	}
	require.Equal(t, Link{MTU: 1500}, next(), "as it is, at once")
	require.NoError(t, d.SetMTU(1400))
	require.Equal(t, Link{MTU: 1400}, next())
	require.NoError(t, other.SetMTU(1300))
	require.NoError(t, other.SetUp(true))
	other.Close()
	require.NoError(t, d.SetUp(true))
	require.Equal(t, Link{MTU: 1400, Up: true}, next(), "and nothing of others")
	require.NoError(t, d.SetMTU(9000))
	require.Equal(t, Link{MTU: 9000, Up: true}, next())
	require.NoError(t, d.SetUp(false))
	require.Equal(t, Link{MTU: 9000}, next())
	deleteLink(t, d.Index())
	require.Equal(t, Link{Gone: true}, next())
}

// TestWatchDownAndUp: a device that was set down and up between two looks of Watch
// had lost its routes and its IPv6 addresses, and was reported as if nothing was.
func TestWatchDownAndUp(t *testing.T) {
	lab(t)
	d := open(t, Config{Name: "nat64"})
	require.NoError(t, d.SetUp(true))
	links := make(chan Link, 64)
	busy := make(chan struct{})
	go d.Watch(func(l Link) {
		links <- l
		<-busy
	})
	require.Equal(t, Link{MTU: 1500, Up: true}, <-links)
	require.NoError(t, d.SetUp(false)) // while Watch is busy
	require.NoError(t, d.SetUp(true))
	close(busy)
	within(t, "notice", func() { require.Equal(t, Link{MTU: 1500, Up: true}, <-links) })
	d.Close()
	require.Empty(t, links, "told once")
}

// TestWatchLostMessages overruns the watcher's socket: what it reports in the
// end is what holds.
func TestWatchLostMessages(t *testing.T) {
	lab(t)
	d := open(t, Config{Name: "nat64"})
	require.NoError(t, unix.SetsockoptInt(d.route, unix.SOL_SOCKET, unix.SO_RCVBUF, 1))
	for i := range 100 {
		require.NoError(t, d.SetMTU(1280+i))
	}
	links := make(chan Link, 64)
	busy := make(chan struct{})
	go d.Watch(func(l Link) {
		links <- l
		<-busy
	})
	require.Equal(t, Link{MTU: 1379}, <-links)
	for i := range 100 {
		require.NoError(t, d.SetMTU(1400+i))
	}
	close(busy)
	for deadline := time.After(20 * time.Second); ; {
		select {
		case l := <-links:
			if l.MTU == 1499 {
				return
			}
		case <-deadline:
			t.Fatal("the last MTU was never reported")
		}
	}
}

// TestMentions walks messages that are cut or lie about their length.
func TestMentions(t *testing.T) {
	message := func(typ uint16, index int32, size int) []byte {
		b := make([]byte, size)
		binary.NativeEndian.PutUint32(b, uint32(size))
		binary.NativeEndian.PutUint16(b[4:], typ)
		if size >= unix.SizeofNlMsghdr+8 {
			binary.NativeEndian.PutUint32(b[unix.SizeofNlMsghdr+4:], uint32(index))
		}
		return b
	}
	const full = unix.SizeofNlMsghdr + unix.SizeofIfInfomsg
	lies := message(unix.RTM_NEWLINK, 7, full)
	binary.NativeEndian.PutUint32(lies, 1<<31)
	none := message(unix.RTM_NEWLINK, 7, full)
	binary.NativeEndian.PutUint32(none, 0)
	for _, tt := range []struct {
		name string
		b    []byte
		want bool
	}{
		{"ours", message(unix.RTM_NEWLINK, 7, full), true},
		{"ours-deleted", message(unix.RTM_DELLINK, 7, full), true},
		{"another", message(unix.RTM_NEWLINK, 8, full), false},
		{"another-kind", message(unix.RTM_NEWADDR, 7, full), false},
		{"ours-second-after-padding", append(message(unix.RTM_NEWLINK, 8, full+5), append(make([]byte, 3), message(unix.RTM_NEWLINK, 7, full)...)...), true},
		{"empty", nil, false},
		{"cut", message(unix.RTM_NEWLINK, 7, full)[:full-1], false},
		{"short", append(message(unix.RTM_NEWLINK, 7, unix.SizeofNlMsghdr), make([]byte, 64)...), true},
		{"length-beyond-the-end", lies, true},
		{"length-zero", none, true},
	} {
		ours, came := (&sight{index: 7}).read(tt.b)
		require.False(t, came && !ours, tt.name)
		require.Equal(t, tt.want, ours, tt.name)
	}
}

// TestNoAllocations has the kernel answer an echo request.
func TestNoAllocations(t *testing.T) {
	lab(t)
	d := open(t, Config{Name: "nat64"})
	setUp(t, d)
	q := d.Queues()[0]
	echo := udp4(netip.AddrPortFrom(peer, 0), netip.AddrPortFrom(ours, 0), false, make([]byte, 56))
	echo[9], echo[20], echo[22], echo[23] = 1, 8, 0, 0
	for i := range 4 {
		echo[24+i] = 0
	}
	binary.BigEndian.PutUint16(echo[10:], 0)
	binary.BigEndian.PutUint16(echo[10:], ^uint16(sum(0, echo[:20])))
	binary.BigEndian.PutUint16(echo[22:], ^uint16(sum(0, echo[20:])))
	out, in := NewPackets(1), NewPackets(4)
	got := 0
	allocs := testing.AllocsPerRun(200, func() {
		out[0].Off, out[0].Len, out[0].Offload = Headroom, copy(out[0].Buf[Headroom:], echo), translate.Offload{}
		if n, err := q.Write(out); n != 1 || err != nil {
			t.Error(n, err)
		}
		n, err := q.Read(in)
		if err != nil {
			t.Error(err)
		}
		got += n
	})
	require.Zero(t, allocs)
	require.Equal(t, 201, got, "one answer each, warm-up included")
	require.Equal(t, byte(0), in[0].Bytes()[20], "echo reply")
}

// TestUseAndClose reads, writes, asks and closes at once, for the race detector
// and for descriptors that are closed under a call.
func TestUseAndClose(t *testing.T) {
	for i := range 10 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			lab(t)
			d := open(t, Config{Name: "nat64", Queues: 2})
			setUp(t, d)
			var wg sync.WaitGroup
			var sent atomic.Int64
			ended := func(err error) bool {
				if err != nil && !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
				return err != nil
			}
			for _, q := range d.Queues() {
				wg.Go(func() {
					for ps := NewPackets(8); ; {
						if _, err := q.Read(ps); ended(err) {
							return
						}
					}
				})
				wg.Go(func() {
					ps := NewPackets(1)
					for {
						raw := udp4(netip.AddrPortFrom(peer, 2000), netip.AddrPortFrom(ours, 9), false, []byte(strings.Repeat("x", 100)))
						ps[0].Off, ps[0].Len = Headroom, copy(ps[0].Buf[Headroom:], raw)
						if _, err := q.Write(ps); ended(err) {
							return
						}
						sent.Add(1)
					}
				})
			}
			wg.Go(func() { ended(d.Watch(func(Link) {})) })
			wg.Go(func() {
				for {
					if _, err := d.Link(); ended(err) {
						return
					}
				}
			})
			for sent.Load() < 50 {
				time.Sleep(time.Millisecond)
			}
			within(t, "Close", func() { d.Close() })
			within(t, "a user of the device", wg.Wait)
		})
	}
}

// TestCoalesce gives the kernel datagrams of which many are alike, and looks at what
// a program gets.
func TestCoalesce(t *testing.T) {
	for _, uso := range []bool{true, false} {
		t.Run(fmt.Sprintf("uso=%v", uso), func(t *testing.T) {
			lab(t)
			d := open(t, Config{Name: "nat64", NoUSO: !uso})
			if uso {
				needUSO(t, d)
			}
			setUp(t, d)
			s, q := socket(t, 1000), d.Queues()[0]
			ps := NewPackets(130)
			var want []string
			for i := range ps {
				text := strings.Repeat(string(rune('a'+i%26)), 1+i/70*500+i/127*500)
				b := udp4(netip.AddrPortFrom(peer, 2000), netip.AddrPortFrom(ours, 1000), i%2 == 0, []byte(text))
				binary.BigEndian.PutUint16(b[4:], uint16(i))
				binary.BigEndian.PutUint16(b[10:], 0)
				binary.BigEndian.PutUint16(b[10:], ^uint16(sum(0, b[:20])))
				ps[i].Off, ps[i].Len = Headroom, copy(ps[i].Buf[Headroom:], b)
				if i%2 == 0 {
					ps[i].Offload = translate.Offload{Flags: translate.OffloadNeedsCsum, CsumStart: 20, CsumOffset: 6}
				}
				want = append(want, text)
			}
			n, err := q.Write(ps)
			require.NoError(t, err)
			require.Equal(t, len(ps), n)
			require.Zero(t, q.Failed())
			if uso {
				require.Equal(t, uint8(translate.GSOUDPL4), ps[0].Offload.GSOType, "the datagrams were coalesced")
			}
			for i := range want {
				require.Equal(t, want[i], receive(t, s), "datagram %d", i)
			}

			first, plain := udp4(netip.AddrPortFrom(peer, 2000), netip.AddrPortFrom(ours, 1000), false, []byte("a")), translate.Offload{}
			require.Zero(t, testing.AllocsPerRun(100, func() {
				ps[0].Len, ps[0].Offload = copy(ps[0].Bytes(), first), plain
				if n, err := q.Write(ps[:4]); n != 4 || err != nil {
					t.Error(n, err)
				}
			}))
		})
	}
}
