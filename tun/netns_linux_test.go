package tun

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// lab puts the test into a fresh network namespace. The namespace belongs to the
// test's thread, which ends with the test: what a test opens must be opened by
// its own goroutine, and a subtest needs a lab of its own.
func lab(t *testing.T) {
	t.Helper()
	why := ""
	if f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err != nil {
		why = err.Error()
	} else {
		f.Close()
		runtime.LockOSThread() // and never unlocked
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			why = "new network namespace: " + err.Error()
		}
	}
	if why != "" {
		missing(t, "needs root and /dev/net/tun: "+why)
	}
	// Or the kernel sends router solicitations and listener reports in between.
	if err := disableIPv6("1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

// missing skips a test for want of something, or fails it where nothing may be
// skipped.
func missing(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("STEPPE_REQUIRE_NETNS") == "1" {
		t.Fatalf("STEPPE_REQUIRE_NETNS=1, but: %s", why)
	}
	t.Skip(why)
}

// disableIPv6 switches IPv6 off ("1") or on ("0") for the devices to come.
func disableIPv6(value string) error {
	var errs []error
	for _, x := range []string{"default", "all"} {
		errs = append(errs, os.WriteFile("/proc/sys/net/ipv6/conf/"+x+"/disable_ipv6", []byte(value), 0))
	}
	return errors.Join(errs...)
}

// needUSO wants the kernel to have granted USO.
func needUSO(t *testing.T, d *Device) {
	t.Helper()
	if !d.Features().USO {
		missing(t, "the kernel has no USO for TUN devices (6.2 has)")
	}
}

// open is Open for a device that ends with the test.
func open(t *testing.T, c Config) *Device {
	t.Helper()
	d, err := Open(c)
	require.NoError(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

// Addresses of the lab: ours is the kernel's end, peer is on the other side of the device.
var (
	ours = netip.MustParseAddr("10.9.0.1")
	peer = netip.MustParseAddr("10.9.0.2")
)

// setUp gives the device the address of ours, with peer on its other side, and sets it up.
func setUp(t *testing.T, d *Device) {
	t.Helper()
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(s)
	ifr, err := unix.NewIfreq(d.Name())
	require.NoError(t, err)
	require.NoError(t, ifr.SetInet4Addr(ours.AsSlice()))
	require.NoError(t, unix.IoctlIfreq(s, unix.SIOCSIFADDR, ifr))
	require.NoError(t, ifr.SetInet4Addr([]byte{255, 255, 255, 0}))
	require.NoError(t, unix.IoctlIfreq(s, unix.SIOCSIFNETMASK, ifr))
	require.NoError(t, d.SetUp(true))
}

// otherProgram attaches to a device as a program that does not know ours would,
// until the test ends.
func otherProgram(t *testing.T, name string, flags uint16) int {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	ifr, err := unix.NewIfreq(name)
	require.NoError(t, err)
	ifr.SetUint16(flags)
	require.NoError(t, unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr))
	return fd
}

// leaveBehind makes a persistent device and lets go of it, as `ip tuntap add`
// does, when all of setup has been done to it.
func leaveBehind(t *testing.T, name string, flags uint16, setup ...func(fd int)) {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq(name)
	require.NoError(t, err)
	ifr.SetUint16(flags)
	require.NoError(t, unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr))
	require.NoError(t, unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1))
	for _, f := range setup {
		f(fd)
	}
}

// exists reports whether the lab has an interface of that name.
func exists(t *testing.T, name string) bool {
	t.Helper()
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(s)
	ifr, err := unix.NewIfreq(name)
	require.NoError(t, err)
	err = unix.IoctlIfreq(s, unix.SIOCGIFINDEX, ifr)
	if err != nil {
		require.ErrorIs(t, err, unix.ENODEV)
	}
	return err == nil
}

// deleteLink is `ip link delete`.
func deleteLink(t *testing.T, index int) {
	t.Helper()
	s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	require.NoError(t, err)
	defer unix.Close(s)
	m := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	binary.NativeEndian.PutUint16(m[4:], unix.RTM_DELLINK)
	binary.NativeEndian.PutUint16(m[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	binary.NativeEndian.PutUint32(m[unix.SizeofNlMsghdr+4:], uint32(index))
	require.NoError(t, unix.Sendto(s, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(s, answer, 0)
	require.NoError(t, err)
	require.GreaterOrEqual(t, n, unix.SizeofNlMsghdr+4)
	require.Zero(t, int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])), "errno of RTM_DELLINK")
}

// socket opens a UDP socket on the kernel's end.
func socket(t *testing.T, port int) int {
	t.Helper()
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(s) })
	require.NoError(t, unix.Bind(s, &unix.SockaddrInet4{Port: port, Addr: ours.As4()}))
	wait := unix.Timeval{Sec: 10}
	require.NoError(t, unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait))
	return s
}

// sum adds up bytes as the Internet checksum does.
func sum(acc uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		acc += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		acc += uint32(b[0]) << 8
	}
	for acc > 0xffff {
		acc = acc&0xffff + acc>>16
	}
	return acc
}

// udp4 builds an IPv4 packet with a UDP datagram. Its UDP checksum is the
// pseudo-header's only if partial.
func udp4(src, dst netip.AddrPort, partial bool, payload []byte) []byte {
	b := make([]byte, 28, 28+len(payload))
	b = append(b, payload...)
	b[0], b[8], b[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	s, d := src.Addr().As4(), dst.Addr().As4()
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum(0, b[:20])))
	binary.BigEndian.PutUint16(b[20:], src.Port())
	binary.BigEndian.PutUint16(b[22:], dst.Port())
	binary.BigEndian.PutUint16(b[24:], uint16(len(b)-20))
	c := sum(uint32(17+len(b)-20), b[12:20])
	if !partial {
		c = ^sum(c, b[20:]) & 0xffff
	}
	binary.BigEndian.PutUint16(b[26:], uint16(c))
	return b
}
