package tun

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A device whose queues were opened elsewhere is like any other.
func TestOpenAttached(t *testing.T) {
	for _, c := range []Config{{Name: "nat64", Queues: 3}, {Name: "nat64"}, {Name: "nat64", Plain: true}, {Name: "nat64", NoUSO: true}} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			lab(t)
			before := descriptors(t)
			want, err := Open(c)
			require.NoError(t, err)
			require.NoError(t, want.Close())
			d, err := OpenAttached(c, func() (Attached, error) { return Attach(c) })
			require.NoError(t, err)
			require.Len(t, d.Queues(), max(c.Queues, 1))
			require.Equal(t, want.Features(), d.Features())
			l, err := d.Link()
			require.NoError(t, err)
			require.Equal(t, 1500, l.MTU)
			require.Zero(t, l.Foreign)

			_, err = OpenAttached(c, func() (Attached, error) { panic("not asked while it is in use") })
			require.ErrorIs(t, err, ErrBusy)
			setUp(t, d)
			require.NoError(t, unix.Sendto(socket(t, 1000), []byte("n0"), 0, &unix.SockaddrInet4{Port: 2000, Addr: peer.As4()}))
			require.Equal(t, "n0", string(firstOf(t, d)[28:]))
			require.NoError(t, d.Close())
			require.False(t, exists(t, "nat64"))
			require.Equal(t, before+1, descriptors(t)) // the socket
		})
	}
}

// firstOf returns the first packet that comes to any queue.
func firstOf(t *testing.T, d *Device) []byte {
	t.Helper()
	got := make(chan []byte, len(d.Queues()))
	for _, q := range d.Queues() {
		go func() {
			ps := NewPackets(1)
			if n, _ := q.Read(ps); n == 1 {
				got <- ps[0].Bytes()
			}
		}()
	}
	return <-got
}

// Descriptors from another process are taken for queues of the device only if the
// kernel says so, and are closed if not.
func TestOpenAttachedRejects(t *testing.T) {
	c := Config{Name: "nat64", Queues: 2}
	queue := func(name string, flags uint16) func() int {
		return func() int {
			fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
			require.NoError(t, err)
			ifr, err := unix.NewIfreq(name)
			require.NoError(t, err)
			ifr.SetUint16(flags)
			require.NoError(t, unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr))
			return fd
		}
	}
	file := func(name string) func() int {
		return func() int {
			fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC, 0)
			require.NoError(t, err)
			return fd
		}
	}
	for _, test := range []struct {
		name     string
		open     []func() int
		features Features
		want     string
	}{
		{"none", nil, Features{}, "got 0 queues: want 1 to 2"},
		{"too-many", []func() int{queue("nat64", multi), queue("nat64", multi), queue("nat64", multi)}, Features{}, "got 3 queues: want 1 to 2"},
		{"no-queue", []func() int{file("/dev/null")}, Features{}, "got no queue: "},
		{"unattached", []func() int{file("/dev/net/tun")}, Features{}, "got no queue: "},
		{"of-another-device", []func() int{queue("nat64", multi), queue("other", multi)}, Features{}, `of device "other"`},
		{"tap", []func() int{queue("nat64", unix.IFF_TAP|unix.IFF_NO_PI)}, Features{}, "got a queue of another kind"},
		{"detached", []func() int{func() int {
			fd := queue("nat64", multi)()
			ifr, err := unix.NewIfreq("nat64")
			require.NoError(t, err)
			ifr.SetUint16(unix.IFF_DETACH_QUEUE)
			require.NoError(t, unix.IoctlIfreq(fd, unix.TUNSETQUEUE, ifr))
			return fd
		}}, Features{}, "got a queue of another kind"},
		{"offloads-without-header", []func() int{queue("nat64", multi)}, Features{Checksum: true}, "got a queue of another kind"},
	} {
		t.Run(test.name, func(t *testing.T) {
			lab(t)
			before := descriptors(t)
			_, err := OpenAttached(c, func() (Attached, error) {
				a := Attached{Features: test.features}
				for _, open := range test.open {
					a.FDs = append(a.FDs, open())
				}
				return a, nil
			})
			require.ErrorContains(t, err, test.want)
			require.Equal(t, before, descriptors(t))
		})
	}
}

// An error of Attach leaves no descriptor and no device, and reaches the caller of
// OpenAttached.
func TestAttachFails(t *testing.T) {
	lab(t)
	before := descriptors(t)
	for _, c := range []Config{{Name: ""}, {Name: "nat%d"}, {Name: "nat64", Queues: 65}, {Name: "nat64", Queues: -1}, {Name: "lo"}} {
		a, err := Attach(c)
		require.Error(t, err, c)
		require.Empty(t, a.FDs)
	}
	_, err := OpenAttached(Config{Name: "nat64"}, func() (Attached, error) { return Attached{}, unix.EPERM })
	require.ErrorIs(t, err, unix.EPERM)
	require.Equal(t, before, descriptors(t))
	require.False(t, exists(t, "nat64"))
}
