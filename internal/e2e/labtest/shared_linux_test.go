package labtest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// sharedAddr is the address that all IPv6 hosts of the laboratory share.
var sharedAddr = addr("192.0.2.8")

// sharedIn6 is what IPv6 hosts call it.
var sharedIn6 = embed(sharedAddr.String())

const (
	forwardPort  = 80  // of sharedAddr: transfers of far6
	forwardUDP   = 443 // echoes of near6
	quicPort     = 4433
	datagramSize = 1200 // of QUIC: RFC 9000 §14
)

// sharedConf has no maps: all hosts share an address, and have two ports of it forwarded.
func sharedConf() string {
	return fmt.Sprintf("stateful-pool %s\nstateful-map tcp %s [%s]:%d\nstateful-map udp %s [%s]:%d\n",
		sharedAddr, at(sharedAddr, forwardPort), far6.v6, transferPort, at(sharedAddr, forwardUDP), near6.v6, echoPort)
}

// TestShared does what users do with hosts that have one IPv4 address together.
func TestShared(t *testing.T) {
	tayga := buildTayga(t)
	for _, m := range []mode{
		{name: "offload=yes/workers=4", offload: true, workers: 4, shared: true},
		{name: "offload=no/workers=1", workers: 1, shared: true},
		{name: "offload=yes/workers=4/fast-path=off", offload: true, workers: 4, shared: true, daemonOnly: true},
	} {
		t.Run(m.name, func(t *testing.T) {
			x := newLab(t, tayga, m)
			t.Run("tcp", x.testSharedTCP)
			t.Run("udp", x.testSharedUDP)
			t.Run("fragments", x.testSharedFragments)
			t.Run("quic", x.testSharedQUIC)
			t.Run("ping", x.testSharedPing)
			t.Run("traceroute", x.testSharedTraceroute)
			t.Run("path-mtu", x.testSharedPathMTU)
			t.Run("forward", x.testSharedForward)
			t.Run("hairpin", x.testSharedHairpin)
			t.Run("programs", x.testSharedPrograms)
			x.stop(t)
		})
	}
}

// sharers are two of the hosts, in namespaces of their own.
func (x *lab) sharers() []*netlab.Host { return []*netlab.Host{x.near6, x.host6} }

// together runs f for both hosts at the same time.
func (x *lab) together(t *testing.T, f func(h *netlab.Host) error) {
	t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, 2)
	for i, h := range x.sharers() {
		wg.Go(func() { errs[i] = f(h) })
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
}

// testSharedTCP has both hosts transfer in both directions at once. The server sees the
// same address, and never the same port.
func (x *lab) testSharedTCP(t *testing.T) {
	var mu sync.Mutex
	seen := map[netip.AddrPort]bool{}
	transfers := 0
	transfer := func() {
		x.together(t, func(h *netlab.Host) error {
			for _, run := range []func(string, int64, time.Duration) (netlab.Transfer, error){h.Download, h.Upload, h.Download, h.Upload} {
				tr, err := run(at(near4.v6, transferPort), transferSize, patience)
				if err != nil {
					return err
				}
				mu.Lock()
				seen[tr.SeenAs] = true
				transfers++
				mu.Unlock()
			}
			return nil
		})
	}
	w := x.watch(t, func() { x.share(t, 8*transferSize, transfer) })
	assert.Len(t, seen, transfers, "%v", seen)
	for a := range seen {
		assert.Equal(t, sharedAddr, a.Addr())
		assert.GreaterOrEqual(t, a.Port(), uint16(1024))
	}
	assert.NotEmpty(t, w.from4)
}

// testSharedUDP has datagrams of many sizes sent back, at the same time to both hosts.
func (x *lab) testSharedUDP(t *testing.T) {
	x.together(t, func(h *netlab.Host) error {
		_, err := h.UDPEcho(at(near4.v6, echoPort), netlab.UDPEcho{
			Sizes: []int{0, 1, 2, 63, 64, 512, 1212, 1232, 1400, 1452}, Attempts: 20, Timeout: time.Second,
		})
		return err
	})
}

// testSharedPing has both hosts ping at once; netlab has the kernel choose identifiers, which
// may be the same. Large requests and replies are fragmented.
func (x *lab) testSharedPing(t *testing.T) {
	x.together(t, func(h *netlab.Host) error {
		for _, size := range []int{0, 1, 56, 1232, 1452, 1453, 4000, 8000} {
			r, err := h.Ping(near4.v6, netlab.Echo{Size: size, Timeout: patience})
			if err == nil && (r.From != near4.v6 || r.Size != size) {
				err = fmt.Errorf("%d bytes from %v", r.Size, r.From)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// testSharedTraceroute looks at the hops to an IPv4 host, by UDP and by Echo Requests.
func (x *lab) testSharedTraceroute(t *testing.T) {
	for name, tr := range map[string]netlab.Trace{"udp": {UDP: true, Size: 32}, "echo": {Size: 32}} {
		hops, err := x.near6.Traceroute(near4.v6, tr)
		require.NoError(t, err, name)
		assert.Equal(t, route6, addrs(hops), name)
		assert.True(t, hops[len(hops)-1].Reached, name)
	}
}

// testSharedPathMTU has senders of both families learn of a link that is too narrow in the
// other family, by an error that quotes what has the shared address.
func (x *lab) testSharedPathMTU(t *testing.T) {
	known, err := x.near6.PathMTU(far4.v6)
	require.NoError(t, err)
	require.Equal(t, nearMTU, known, "known before")
	_, err = x.near6.Upload(at(far4.v6, transferPort), transferSize, patience)
	require.NoError(t, err)
	known, err = x.near6.PathMTU(far4.v6)
	require.NoError(t, err)
	assert.Equal(t, pathMTU6, known, "near6 to far4")

	// An error is about a flow of far6, and so teaches the server about the shared
	// address, which all hosts have.
	_, err = x.far6.Download(at(near4.v6, transferPort), transferSize, patience)
	require.NoError(t, err)
	known, err = x.near4.PathMTU(sharedAddr)
	require.NoError(t, err)
	assert.Equal(t, pathMTU4, known, "near4 to far6")
}

// testSharedForward has an IPv4 host open connections to ports of the shared address.
func (x *lab) testSharedForward(t *testing.T) {
	x.share(t, 2*transferSize, func() {
		for _, run := range []func(string, int64, time.Duration) (netlab.Transfer, error){x.near4.Download, x.near4.Upload} {
			tr, err := run(at(sharedAddr, forwardPort), transferSize, patience)
			require.NoError(t, err)
			assert.Equal(t, near4.v6, tr.SeenAs.Addr(), "far6 sees the IPv4 host")
		}
	})
	_, err := x.near4.UDPEcho(at(sharedAddr, forwardUDP), netlab.UDPEcho{Sizes: []int{0, 100, 1200}, Attempts: 20, Timeout: time.Second})
	require.NoError(t, err)

	_, err = x.near4.Dial("tcp4", at(sharedAddr, 81), 300*time.Millisecond)
	assert.Error(t, err, "a port that is forwarded to no host")
}

// testSharedHairpin has two hosts after the same address talk to each other by it: by a
// port that is forwarded, and by one that a host has for what it sends.
func (x *lab) testSharedHairpin(t *testing.T) {
	for _, run := range []func(string, int64, time.Duration) (netlab.Transfer, error){x.near6.Download, x.near6.Upload} {
		tr, err := run(at(sharedIn6, forwardPort), transferSize, patience)
		require.NoError(t, err)
		assert.Equal(t, sharedIn6, tr.SeenAs.Addr(), "far6 sees the shared address")
	}

	// A host learns from a server how it is seen, and tells another host.
	server, err := x.near4.ListenPacket("udp4", ":5011")
	require.NoError(t, err)
	defer server.Close()
	a, err := x.near6.ListenPacket("udp6", ":5012")
	require.NoError(t, err)
	defer a.Close()
	b, err := x.host6.ListenPacket("udp6", ":5013")
	require.NoError(t, err)
	defer b.Close()
	_, err = a.WriteTo([]byte("who am I?"), udpAddr(near4.v6, 5011))
	require.NoError(t, err)
	seen, _ := receive(t, server)
	require.Equal(t, sharedAddr, seen.Addr())
	_, err = b.WriteTo([]byte("hello"), udpAddr(sharedIn6, seen.Port()))
	require.NoError(t, err)
	other, text := receive(t, a)
	assert.Equal(t, "hello", text)
	assert.Equal(t, sharedIn6, other.Addr(), "the source is the shared address, too")
	_, err = a.WriteTo([]byte("hello yourself"), udpAddr(other.Addr(), other.Port()))
	require.NoError(t, err)
	back, text := receive(t, b)
	assert.Equal(t, "hello yourself", text)
	assert.Equal(t, netip.AddrPortFrom(sharedIn6, seen.Port()), back)
}

func udpAddr(a netip.Addr, port uint16) net.Addr {
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, port))
}

// receive returns the next datagram and where it came from.
func receive(t *testing.T, c net.PacketConn) (from netip.AddrPort, text string) {
	t.Helper()
	b := make([]byte, 2048)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	n, a, err := c.ReadFrom(b)
	require.NoError(t, err)
	return netip.MustParseAddrPort(a.String()), string(b[:n])
}

// testSharedPrograms runs the programs that everybody uses, where they are installed.
func (x *lab) testSharedPrograms(t *testing.T) {
	t.Run("ping", func(t *testing.T) {
		ping := program(t, "ping", "-V", "iputils")
		for _, size := range []string{"56", "4000"} {
			out := output(t, x.near6, ping, "-n", "-c", "2", "-i", "0.2", "-W", "5", "-s", size, near4.v6.String())
			assert.Contains(t, out, "2 packets transmitted, 2 received, 0% packet loss")
		}
	})
	t.Run("traceroute", func(t *testing.T) {
		traceroute := program(t, "traceroute", "--version", "Modern traceroute")
		for _, how := range []string{"-U", "-I", "-T"} { // UDP, ICMP, TCP
			hops, _ := trace(t, x.near6, traceroute, near4.v6, how)
			assert.Equal(t, route6, hops, how)
		}
	})
	t.Run("dig", func(t *testing.T) {
		dig := program(t, "dig", "-v", "DiG")
		x.serveDNS(t)
		out := output(t, x.near6, dig, "+notcp", "+ignore", "+bufsize=4096", "@"+near4.v6.String(), "large.test", "TXT")
		assert.Contains(t, out, "ANSWER: 12,")
		assert.Contains(t, out, strings.Repeat("l", 240))
	})
	t.Run("mtr", func(t *testing.T) {
		mtr := program(t, "mtr", "--version", "mtr ")
		out := ""
		missing := func(hop netip.Addr) bool { return !strings.Contains(out, hop.String()) }
		for _, wait := range []string{"1", "5", "20"} { // it sends one probe, whose answer a machine under load may have late
			out = output(t, x.near6, mtr, "-n", "-r", "-c", "1", "-i", "0.1", "-G", wait, near4.v6.String())
			if !slices.ContainsFunc(route6, missing) {
				break
			}
		}
		for _, hop := range route6 {
			assert.Contains(t, out, hop.String())
		}
	})
}
