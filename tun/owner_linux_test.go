package tun

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/translate"
)

// nobody has no privilege.
const nobody = 65534

// asNobody runs f in the lab on a thread that has no privilege, on a goroutine of
// its own, and returns when f has begun. /dev/net/tun is 0600 on some machines, and
// 0666 where udev runs: descriptors are opened before, as if it were 0666.
func asNobody(t *testing.T, f func()) *sync.WaitGroup {
	t.Helper()
	netns, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(netns)
	begun := make(chan error)
	var done sync.WaitGroup
	done.Go(func() {
		runtime.LockOSThread() // and never unlocked
		err := unix.Setns(netns, unix.CLONE_NEWNET)
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 && err == nil {
			err = errno
		}
		begun <- err
		if err == nil {
			f()
		}
	})
	require.NoError(t, <-begun)
	return &done
}

// tunFiles opens /dev/net/tun n times.
func tunFiles(t *testing.T, n int) (files []*os.File) {
	t.Helper()
	for range n {
		f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
		require.NoError(t, err)
		t.Cleanup(func() { f.Close() })
		files = append(files, f)
	}
	return files
}

// attachFile is TUNSETIFF.
func attachFile(f *os.File, name string, flags uint16) error {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	ifr.SetUint16(flags)
	return unix.IoctlIfreq(int(f.Fd()), unix.TUNSETIFF, ifr)
}

// setQueue detaches the queue, with which it gets no packets, or attaches it again.
func setQueue(f *os.File, flag uint16) error {
	ifr, err := unix.NewIfreq("")
	if err != nil {
		return err
	}
	ifr.SetUint16(flag)
	return unix.IoctlIfreq(int(f.Fd()), unix.TUNSETQUEUE, ifr)
}

// TestMadeDeviceHasAnOwner: a device that Open or Persist made was ownerless, and so
// any local user could attach to it, read its packets and change its settings.
func TestMadeDeviceHasAnOwner(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(t *testing.T) error
		want Owner
	}{
		{"open", func(t *testing.T) error { open(t, Config{Name: "nat64", Queues: 2}); return nil }, Owner{0, 0}},
		{"open-plain", func(t *testing.T) error { open(t, Config{Name: "nat64", Plain: true}); return nil }, Owner{0, 0}},
		{"open-for-another-user", func(t *testing.T) error {
			open(t, Config{Name: "nat64", Queues: 2, Owner: &Owner{1234, 5678}})
			return nil
		}, Owner{1234, 5678}},
		{"open-for-a-group", func(t *testing.T) error {
			open(t, Config{Name: "nat64", Owner: &Owner{-1, 5678}})
			return nil
		}, Owner{-1, 5678}},
		{"persist", func(t *testing.T) error { return Persist("nat64", Owner{0, 0}) }, Owner{0, 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lab(t)
			require.NoError(t, tt.make(t))
			i, err := Inspect("nat64")
			require.NoError(t, err)
			require.Equal(t, tt.want, Owner{i.UID, i.GID})
			require.True(t, i.MultiQueue)
			require.False(t, i.Ownerless())
			f := tunFiles(t, 1)[0]
			asNobody(t, func() { err = attachFile(f, "nat64", multi) }).Wait()
			require.ErrorIs(t, err, unix.EPERM)
		})
	}
	t.Run("found-without-an-owner", func(t *testing.T) {
		lab(t)
		leaveBehind(t, "nat64", multi)
		i, err := Inspect("nat64")
		require.NoError(t, err)
		require.True(t, i.Ownerless())
		require.True(t, i.Persistent)
		open(t, Config{Name: "nat64"}) // units with a dynamic user need such a device
		i, err = Inspect("nat64")
		require.NoError(t, err)
		require.True(t, i.Ownerless(), "left as it was")
		require.NoError(t, Persist("nat64", Owner{0, 0}))
		i, err = Inspect("nat64")
		require.NoError(t, err)
		require.False(t, i.Ownerless(), "how it gets one")
	})
}

// TestThiefRacesForTheDevice: between the call that makes a device and the one that
// gives it an owner, anybody may attach, and stay with a detached queue that comes
// back unchecked. What Open and Persist leave has no queue but ours.
func TestThiefRacesForTheDevice(t *testing.T) {
	for _, tt := range []struct {
		name  string
		open  func() (end func() error, err error)
		ours  int
		after func(*os.File) error // what the thief does once attached
	}{
		{"open/attached", openTwo, 2, func(*os.File) error { return nil }},
		{"open/detached", openTwo, 2, func(f *os.File) error { return setQueue(f, unix.IFF_DETACH_QUEUE) }},
		{"open/made-persistent-and-left", openTwo, 2, func(f *os.File) error {
			err := unix.IoctlSetInt(int(f.Fd()), unix.TUNSETPERSIST, 1)
			return errors.Join(err, f.Close())
		}},
		{"persist/detached", persistOne, 0, func(f *os.File) error { return setQueue(f, unix.IFF_DETACH_QUEUE) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lab(t)
			const rounds = 20
			files := tunFiles(t, 200)
			var stop atomic.Bool
			stolen := 0
			thief := asNobody(t, func() {
				for _, f := range files {
					for attachFile(f, "nat64", multi|unix.IFF_VNET_HDR) != nil {
						if stop.Load() {
							return
						}
					}
					stolen++
					_ = tt.after(f)
				}
			})
			for range rounds {
				end, err := tt.open()
				if err != nil {
					stop.Store(true)
					thief.Wait()
					require.NoError(t, err)
				}
				i, err := Inspect("nat64")
				require.NoError(t, err)
				require.Equal(t, Owner{0, 0}, Owner{i.UID, i.GID})
				require.Equal(t, tt.ours, i.Queues)
				require.NoError(t, end())
				require.False(t, exists(t, "nat64"))
			}
			stop.Store(true)
			thief.Wait()
			t.Logf("the thief was attached %d times in %d rounds", stolen, rounds)
		})
	}
}

func openTwo() (end func() error, err error) {
	d, err := Open(Config{Name: "nat64", Queues: 2})
	if err != nil {
		return nil, err
	}
	return d.Close, nil
}

func persistOne() (end func() error, err error) {
	return func() error { return Unpersist("nat64") }, Persist("nat64", Owner{0, 0})
}

// TestThiefIsNoticed: on an ownerless device that was found, any local user could
// take packets and change the header's size under the reader, who went on without a
// word and with every packet lost.
func TestThiefIsNoticed(t *testing.T) {
	lab(t)
	leaveBehind(t, "nat64", multi)
	d := open(t, Config{Name: "nat64"})
	setUp(t, d)
	links := make(chan Link)
	watched := make(chan error)
	go func() { watched <- d.Watch(func(l Link) { links <- l }) }()
	next := func(ok func(Link) bool) (l Link) {
		t.Helper()
		within(t, "notice", func() {
			for l = <-links; !ok(l); l = <-links {
			}
		})
		return l
	}
	require.Equal(t, Link{MTU: 1500, Up: true, Ownerless: true}, next(func(Link) bool { return true }))

	f := tunFiles(t, 1)[0]
	var err error
	thief := func(acts ...func() error) {
		t.Helper()
		asNobody(t, func() {
			for _, act := range acts {
				err = errors.Join(err, act())
			}
		}).Wait()
		require.NoError(t, err)
	}
	thief(func() error { return attachFile(f, "nat64", multi|unix.IFF_VNET_HDR) })
	require.Equal(t, 1, next(func(l Link) bool { return l.Foreign > 0 }).Foreign)
	thief(func() error { return setQueue(f, unix.IFF_DETACH_QUEUE) })
	l, err := d.Link()
	require.NoError(t, err)
	require.Equal(t, 1, l.Foreign, "it can come back unchecked")
	thief(func() error { return setQueue(f, unix.IFF_ATTACH_QUEUE) })

	// It leaves everything in disorder, and has gone before anybody looks.
	pointer := func(req uint, value int) func() error {
		return func() error { return unix.IoctlSetPointerInt(int(f.Fd()), req, value) }
	}
	thief(pointer(unix.TUNSETVNETHDRSZ, 12), pointer(unix.TUNSETSNDBUF, 1), pointer(unix.TUNSETCARRIER, 0),
		func() error { return unix.IoctlSetInt(int(f.Fd()), unix.TUNSETOFFLOAD, 0) }, f.Close)
	l = next(func(l Link) bool { return l.Repaired > 0 && l.Foreign == 0 })
	require.Equal(t, Link{MTU: 1500, Up: true, Ownerless: true, Repaired: 1}, l)

	s, q, ps := socket(t, 1000), d.Queues()[0], NewPackets(1)
	require.NoError(t, unix.Sendto(s, []byte("n0"), 0, &unix.SockaddrInet4{Port: 2000, Addr: peer.As4()}))
	within(t, "read", func() {
		_, err = q.Read(ps)
	})
	require.NoError(t, err)
	require.Equal(t, "n0", string(finish(t, ps[0])[28:]))
	require.NotZero(t, ps[0].Offload.Flags, "the offloads are back")
	ps[0].Offload = translate.Offload{}
	ps[0].Len = copy(ps[0].Bytes(), udp4(netip.AddrPortFrom(peer, 2000), netip.AddrPortFrom(ours, 1000), false, []byte("n1")))
	_, err = q.Write(ps)
	require.NoError(t, err)
	require.Zero(t, q.Failed())
	require.Equal(t, "n1", receive(t, s))

	d.Close()
	require.ErrorIs(t, <-watched, ErrClosed)
}

// TestSettingsLeftBehind: what a program has changed on a persistent device before
// us is set back, too. A send buffer of one byte had every write fail.
func TestSettingsLeftBehind(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			lab(t)
			leaveBehind(t, "nat64", multi|unix.IFF_VNET_HDR, func(fd int) {
				for req, value := range map[uint]int{unix.TUNSETVNETHDRSZ: 12, unix.TUNSETSNDBUF: 1, unix.TUNSETCARRIER: 0} {
					require.NoError(t, unix.IoctlSetPointerInt(fd, req, value))
				}
			})
			d := open(t, Config{Name: "nat64", Plain: plain})
			setUp(t, d)
			s, q, ps := socket(t, 1000), d.Queues()[0], NewPackets(1)
			require.NoError(t, unix.Sendto(s, []byte("n0"), 0, &unix.SockaddrInet4{Port: 2000, Addr: peer.As4()}))
			_, err := q.Read(ps)
			require.NoError(t, err)
			require.Equal(t, "n0", string(finish(t, ps[0])[28:]))
			ps[0].Offload = translate.Offload{}
			ps[0].Len = copy(ps[0].Bytes(), udp4(netip.AddrPortFrom(peer, 2000), netip.AddrPortFrom(ours, 1000), false, []byte("n1")))
			_, err = q.Write(ps)
			require.NoError(t, err)
			require.Zero(t, q.Failed())
			require.Equal(t, "n1", receive(t, s))
		})
	}
}

// TestInspectWhatIsNoTUN: the two errors that callers tell apart.
func TestInspectWhatIsNoTUN(t *testing.T) {
	lab(t)
	_, err := Inspect("nat64")
	require.ErrorIs(t, err, unix.ENODEV)
	_, err = Inspect("lo")
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.EqualError(t, err, "tun: inspect lo: unsupported operation")
	_, err = Inspect("")
	require.ErrorContains(t, err, `tun: device name ""`)
}
