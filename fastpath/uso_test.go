//go:build linux

package fastpath

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// TestUSO sends super-packets of UDP (UDP_SEGMENT) through the program at a real device, both
// ways. Datagrams arrive as they were sent, and as whole super-packets if all devices offload.
func TestUSO(t *testing.T) {
	for _, shares := range []bool{false, true} {
		for _, offloads := range []string{"everywhere", "hosts", "nowhere"} {
			t.Run(fmt.Sprintf("shared=%v/offloads=%v", shares, offloads), func(t *testing.T) {
				l := newGatewayLab(t, shares)
				l.offload(offloads)
				client := openSegments(t, l.client, "udp6", "[2001:db8:a::2]:7003")
				server := openSegments(t, l.server, "udp4", "203.0.113.2:7002")
				whole := offloads == "everywhere"
				random := rand.NewChaCha8([32]byte{1})
				for range 40 {
					for _, s := range []struct{ size, n, last int }{
						{1000, 20, 77}, {1400, 40, 1400}, {1400, 3, 1}, {500, 63, 499}, {1, 9, 1}, {1232, 1, 8}, {1440, 10, 700},
					} {
						data := make([]byte, s.size*s.n+s.last)
						random.Read(data)
						client.send(t, data, s.size, netip.MustParseAddrPort("["+labServer+"]:7002"))
						from := server.receive(t, data, s.size, whole)
						server.send(t, data, s.size, from)
						client.receive(t, data, s.size, whole)
					}
				}
				l.share(t, offloads != "nowhere")
				for _, h := range []*netlab.Host{l.client, l.server} {
					if n := badChecksums(t, h); n != 0 {
						t.Errorf("%s received %d packets with a wrong checksum", h.Name(), n)
					}
				}
			})
		}
	}
}

// A segments socket sends and receives the datagrams of super-packets.
type segments struct{ *net.UDPConn }

// openSegments opens a socket that is given super-packets whole, and sends IPv4 with DF: Linux
// leaves DF clear where a super-packet is longer than the MTU, and without it segments of more
// than 1280 bytes are cut.
func openSegments(t *testing.T, h *netlab.Host, network, addr string) segments {
	t.Helper()
	p, err := h.ListenPacket(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	c := p.(*net.UDPConn)
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		if err = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_GRO, 1); err == nil && network == "udp4" {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return segments{c}
}

// send sends data in datagrams of a size, all by one call.
func (s segments) send(t *testing.T, data []byte, size int, to netip.AddrPort) {
	t.Helper()
	oob := make([]byte, unix.CmsgSpace(2))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
	h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	*(*uint16)(unsafe.Pointer(&oob[unix.CmsgLen(0)])) = uint16(size)
	if _, _, err := s.WriteMsgUDPAddrPort(data, oob, to); err != nil {
		t.Fatalf("send %d bytes in datagrams of %d: %v", len(data), size, err)
	}
}

// receive receives data that was sent in datagrams of a size, by one call if it has to come
// whole, and returns the sender.
func (s segments) receive(t *testing.T, data []byte, size int, whole bool) (from netip.AddrPort) {
	t.Helper()
	s.SetReadDeadline(time.Now().Add(10 * time.Second))
	var b [1 << 16]byte
	var oob [64]byte
	for at := 0; at < len(data); {
		n, noob, _, sender, err := s.ReadMsgUDPAddrPort(b[:], oob[:])
		if err != nil {
			t.Fatalf("after %d of %d bytes in datagrams of %d: %v", at, len(data), size, err)
		}
		from = netip.AddrPortFrom(sender.Addr().Unmap(), sender.Port())
		got := segmentSize(t, oob[:noob], n)
		if want := min(size, len(data)-at); got != want || n > len(data)-at || !bytes.Equal(b[:n], data[at:at+n]) {
			t.Fatalf("at %d of %d bytes: %d bytes in datagrams of %d, not the %d that were sent", at, len(data), n, got, want)
		}
		if whole && n < len(data) {
			t.Fatalf("at %d: %d of %d bytes in datagrams of %d, not all of them", at, n, len(data), size)
		}
		at += n
	}
	return from
}

// segmentSize is the size of the datagrams in the n bytes that a call has received.
func segmentSize(t *testing.T, oob []byte, n int) int {
	t.Helper()
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_UDP && m.Header.Type == unix.UDP_GRO {
			return int(*(*int32)(unsafe.Pointer(&m.Data[0])))
		}
	}
	return n
}
