package clattest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

const (
	// promised is how soon a CLAT has to work, or to follow a change. A machine under load
	// takes longer: tests log what they have measured, and fail only beyond bound.
	promised = 3 * time.Second
	bound    = 15 * time.Second

	oneTry = 250 * time.Millisecond
)

// at returns an address of the server.
func at(port int) string { return fmt.Sprintf("%s:%d", server4, port) }

// serveHTTP serves the address that a client comes from.
func (x *lab) serveHTTP() {
	x.t.Helper()
	l, err := x.server.Listen("tcp", fmt.Sprintf(":%d", httpPort))
	require.NoError(x.t, err)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		io.WriteString(w, host+"\n")
	}), ReadTimeout: patience}
	go s.Serve(l)
	x.t.Cleanup(func() { s.Close() })
}

// seenAs gets a page from the server over a new connection, and returns the address that the
// server says it came from.
func (x *lab) seenAs(h *netlab.Host, timeout time.Duration) (netip.Addr, error) {
	c, err := h.Dial("tcp", at(httpPort), timeout)
	if err != nil {
		return netip.Addr{}, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(timeout))
	if _, err := fmt.Fprintf(c, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return netip.Addr{}, err
	}
	page, err := io.ReadAll(c)
	if err != nil {
		return netip.Addr{}, err
	}
	_, body, _ := strings.Cut(string(page), "\r\n\r\n")
	return netip.ParseAddr(strings.TrimSpace(body))
}

// pool returns the addresses of a NAT64, by its number from 1 on.
func pool(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(4 * n)}), 30)
}

// works waits until a connection to the server comes from one of the addresses, and logs how
// long that took since an event.
func (x *lab) works(event string, since time.Time, from netip.Prefix) {
	x.t.Helper()
	x.worksFor(x.host, event, since, from)
}

func (x *lab) worksFor(h *netlab.Host, event string, since time.Time, from netip.Prefix) {
	x.t.Helper()
	for {
		seen, err := x.seenAs(h, oneTry)
		took := time.Since(since).Round(time.Millisecond)
		if err == nil && from.Contains(seen) {
			late := ""
			if took > promised {
				late = fmt.Sprintf(" (more than the promised %v)", promised)
			}
			x.t.Logf("%s: IPv4 works after %v%s", event, took, late)
			return
		}
		if x.clat != nil {
			select {
			case <-x.clat.proc.Done():
				x.t.Fatalf("%s: tayga has ended: %v", event, x.clat.proc.Wait())
			default:
			}
		}
		if took > bound {
			x.t.Fatalf("%s: no connection from %v after %v: from %v, %v", event, from, took, seen, err)
		}
		time.Sleep(tick)
	}
}

// broken waits until connections to the server fail at once: nothing is there that would
// have them wait.
func (x *lab) broken(event string, since time.Time) {
	x.t.Helper()
	for {
		begin := time.Now()
		_, err := x.seenAs(x.host, 2*time.Second)
		took := time.Since(since).Round(time.Millisecond)
		if err != nil && time.Since(begin) < time.Second {
			x.t.Logf("%s: IPv4 fails after %v: %v", event, took, err)
			return
		}
		if took > bound {
			x.t.Fatalf("%s: %v after %v", event, err, took)
		}
		time.Sleep(tick)
	}
}

// programs does what users do: curl, ping, traceroute, and the same by clients of ours that
// compare what comes back.
func (x *lab) programs(t *testing.T, h *netlab.Host) {
	t.Helper()
	out, err := h.Command(program(t, "curl"), "-s", "-S", "--max-time", "20", fmt.Sprintf("http://%s/", server4)).CombinedOutput()
	require.NoError(t, err, "%s", out)
	seen, err := netip.ParseAddr(strings.TrimSpace(string(out)))
	require.NoError(t, err)
	assert.True(t, shared4.Contains(seen), "the server sees %v", seen)

	out, err = h.Command(program(t, "ping"), "-n", "-c", "1", "-W", "5", server4.String()).CombinedOutput()
	require.NoError(t, err, "%s", out)
	// Larger requests leave in fragments, since they have DF clear, and an ICMP message in fragments
	// is not translated: RFC 7915 §5.2.
	for _, size := range []int{0, 56, 1200} {
		_, err := h.Ping(server4, netlab.Echo{Size: size, Timeout: 5 * time.Second})
		require.NoError(t, err, "ping of %d bytes", size)
	}
	udp, err := h.UDPEcho(at(echoPort), netlab.UDPEcho{Sizes: []int{0, 1, 500, 1400, 4000}, Attempts: 3})
	require.NoError(t, err)
	t.Log("UDP:", udp)
	for _, transfer := range []func(string, int64, time.Duration) (netlab.Transfer, error){h.Download, h.Upload} {
		tr, err := transfer(at(transferPort), 4<<20, patience)
		require.NoError(t, err)
		t.Log("TCP:", tr)
		assert.True(t, shared4.Contains(tr.SeenAs.Addr()), "the server sees %v", tr.SeenAs)
	}
	for _, tr := range []netlab.Trace{{}, {UDP: true}} {
		hops, err := h.Traceroute(server4, tr)
		require.NoError(t, err)
		require.NotEmpty(t, hops)
		assert.True(t, hops[len(hops)-1].Reached, "%+v", hops)
	}
	out, err = h.Command(program(t, "traceroute"), "-n", "-w", "2", "-q", "1", "-N", "1", server4.String()).CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out[strings.IndexByte(string(out), '\n'):]), server4.String())
	// Routers on the way answer as well: firewalls have to let their errors pass.
	assert.NotContains(t, string(out), "*")
	t.Logf("%s", out)
}

// program finds a program that make test installs.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name) // not in everybody's PATH
	}
	if err != nil {
		missing(t, "install "+name)
	}
	return path
}

// A stream is a TCP connection that echoes, to be looked at again and again.
type stream struct {
	t *testing.T
	c net.Conn
}

const streamPort = 50010

// open opens a connection to the server.
func (x *lab) open() *stream {
	x.t.Helper()
	if x.streams == nil {
		s, err := x.server.ServeTCPEcho(fmt.Sprintf(":%d", streamPort))
		require.NoError(x.t, err)
		x.streams = s
	}
	c, err := x.host.Dial("tcp", at(streamPort), 5*time.Second)
	require.NoError(x.t, err)
	x.t.Cleanup(func() { c.Close() })
	return &stream{x.t, c}
}

// alive sends a line through the connection and has it come back.
func (s *stream) alive(when string) {
	s.t.Helper()
	s.c.SetDeadline(time.Now().Add(patience))
	_, err := s.c.Write([]byte(when))
	require.NoError(s.t, err, when)
	b := make([]byte, len(when))
	_, err = io.ReadFull(s.c, b)
	require.NoError(s.t, err, when)
	require.Equal(s.t, when, string(b))
}

// noLoss pings the server for a time, and every ping is answered.
func (x *lab) noLoss(long time.Duration) {
	x.t.Helper()
	n := 0
	for end := time.Now().Add(long); time.Now().Before(end); n++ {
		_, err := x.host.Ping(server4, netlab.Echo{Timeout: 5 * time.Second})
		require.NoError(x.t, err, "after %d pings", n)
	}
	x.t.Logf("%d pings answered", n)
}

// noChecksum sends UDP over IPv4 without a checksum, which IPv6 has to have.
func (x *lab) noChecksum() {
	x.t.Helper()
	c, err := x.host.Dial("udp", at(echoPort), time.Second)
	require.NoError(x.t, err)
	defer c.Close()
	raw, err := c.(*net.UDPConn).SyscallConn()
	require.NoError(x.t, err)
	require.NoError(x.t, raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NO_CHECK, 1)
	}))
	require.NoError(x.t, err)
	b := make([]byte, 100)
	for range 20 { // a machine under load may drop one
		_, err = c.Write([]byte("no checksum"))
		require.NoError(x.t, err)
		c.SetReadDeadline(time.Now().Add(time.Second))
		var n int
		if n, err = c.Read(b); err == nil {
			assert.Equal(x.t, "no checksum", string(b[:n]))
			return
		}
	}
	require.NoError(x.t, err, "UDP without a checksum")
}
