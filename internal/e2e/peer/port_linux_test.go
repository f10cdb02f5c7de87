package peer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
)

// device is the TUN device of all configurations here.
const device = "nat64"

// A port is a program that runs on a device, seen from the other end of that
// device: what is sent there comes to the program byte by byte as it is, past
// the network stack and its opinions, and what the program writes is seen before
// the kernel has looked at it.
type port struct {
	t     *testing.T
	prog  *program
	host  *netlab.Host
	p     *netlab.Process
	fd    int
	index int // of the device
	seq   uint16
}

// newPort starts a program on a device that Debian's tayga has made, so that
// both have one queue and packets stay in order.
func newPort(t *testing.T, prog *program, host *netlab.Host, conf string) *port {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tayga.conf")
	require.NoError(t, os.WriteFile(path, []byte(conf), 0o644))
	out, err := host.Command(debian.path, "-c", path, "--mktun").CombinedOutput()
	require.NoError(t, err, string(out))
	host.Sysctl("net.ipv6.conf."+device+".disable_ipv6", "1") // the host itself keeps silent
	host.Up(device)
	x := &port{t: t, prog: prog, host: host, p: launch(t, prog, host, path)}
	require.NoError(t, host.Do(x.open))
	t.Cleanup(func() { unix.Close(x.fd) })
	require.NoError(t, host.WaitRunning(device, patience))
	return x
}

// open opens a packet socket on the device.
func (x *port) open() (err error) {
	dev, err := interfaceIndex(device)
	if err != nil {
		return err
	}
	x.index = dev
	x.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	wait := unix.NsecToTimeval(patience.Nanoseconds())
	return errors.Join(
		unix.SetsockoptInt(x.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptInt(x.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20),
		unix.SetsockoptTimeval(x.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
		unix.Bind(x.fd, &unix.SockaddrLinklayer{Protocol: network(unix.ETH_P_ALL), Ifindex: x.index}))
}

func interfaceIndex(name string) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req); err != nil {
		return 0, err
	}
	return int(req.Uint32()), nil
}

// network turns a 16-bit number into network order.
func network(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

func (x *port) send(pkt []byte) {
	x.t.Helper()
	proto := uint16(unix.ETH_P_IP)
	if pkt[0]>>4 == 6 {
		proto = unix.ETH_P_IPV6
	}
	to := &unix.SockaddrLinklayer{Protocol: network(proto), Ifindex: x.index}
	require.NoError(x.t, unix.Sendto(x.fd, pkt, 0, to), "send %d bytes", len(pkt))
}

// sentinel is who sends those Echo Requests.
var sentinel = netip.MustParseAddr("198.51.100.250")

// exchange sends packets and returns all that the program makes of them. It
// knows that this is all when an Echo Request to the program itself, sent after
// them, is answered.
func (x *port) exchange(pkts ...[]byte) (got [][]byte) {
	x.t.Helper()
	for _, pkt := range pkts {
		x.send(pkt)
	}
	x.seq++
	mark := pt.IP(pt.Header{Src: sentinel, Dst: pt.X4}, pt.EchoRequest(0x5e97, x.seq, nil))
	answer := pt.IP(pt.Header{Src: pt.X4, Dst: sentinel}, pt.EchoReply(0x5e97, x.seq, nil))
	x.send(mark)
	buf := make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(x.fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		require.NoError(x.t, err, "%s does not answer:\n%s", x.prog.name, x.p.Output())
		pkt := bytes.Clone(buf[:n])
		if n == len(answer) && bytes.Equal(pkt[12:], answer[12:]) {
			return got
		}
		got = append(got, pkt)
	}
}

// await waits until the program has said something.
func (x *port) await(text string) {
	x.t.Helper()
	for end := time.Now().Add(patience); !strings.Contains(x.p.Output(), text); time.Sleep(time.Millisecond) {
		require.True(x.t, time.Now().Before(end), "no %q in\n%s", text, x.p.Output())
	}
}
