package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// Two IPv6-only hosts share one IPv4 address, which is the gateway's own.
const (
	sharedAddr = "198.51.99.1"
	sharedIn6  = "64:ff9b::c633:6301"
	secondAddr = "2001:db8:c::3" // of the client, too
	sharedConf = `tun-device nat64
ipv4-addr 198.51.99.1
ipv6-addr 2001:db8:1::64
prefix 64:ff9b::/96
stateful-pool 198.51.99.1
data-dir DIR
log drop reject
tun-up yes
tun-route 198.51.99.1
tun-route 64:ff9b::/96
tun-route 2001:db8:1::/64
`
)

// newShared is a village in which the client is two hosts.
func newShared(t *testing.T, more string) *village {
	t.Helper()
	v := newVillage(t, sharedConf+more)
	v.client.Addr("eth0", secondAddr+"/64")
	return v
}

// seenFrom connects from an address of the client to a port of the server by TCP, and
// returns the address and port that the server sees.
func (v *village) seenFrom(src string, listener net.Listener) (client, server net.Conn, seen netip.AddrPort) {
	v.Helper()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, _ := listener.Accept()
		accepted <- c
	}()
	port := listener.Addr().(*net.TCPAddr).Port
	require.NoError(v, v.client.Do(func() (err error) {
		d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(src)}}
		client, err = d.Dial("tcp6", fmt.Sprintf("[%s]:%d", serverIn6, port))
		return err
	}))
	server = <-accepted
	return client, server, netip.MustParseAddrPort(server.RemoteAddr().String())
}

// roundTrip sends a line through a connection, both ways.
func roundTrip(t *testing.T, a, b net.Conn) {
	t.Helper()
	for _, c := range [][2]net.Conn{{a, b}, {b, a}} {
		buf := make([]byte, 4)
		_, err := c[0].Write([]byte("ping"))
		require.NoError(t, err)
		require.NoError(t, c[1].SetReadDeadline(time.Now().Add(patience)))
		_, err = c[1].Read(buf)
		require.NoError(t, err)
		require.Equal(t, "ping", string(buf))
	}
}

// TestShared: two hosts have one IPv4 address, with TCP, UDP and ping, in both directions.
func TestShared(t *testing.T) {
	v := newShared(t, "")
	p := v.launch()
	assert.Contains(t, p.Output(), "Shared addresses: 198.51.99.1/32, ports 1024-65535")

	l, err := v.server.Listen("tcp4", ":80")
	require.NoError(t, err)
	defer l.Close()
	ports := map[netip.AddrPort]bool{}
	for _, src := range []string{clientAddr, secondAddr} {
		c, s, seen := v.seenFrom(src, l)
		defer c.Close()
		defer s.Close()
		roundTrip(t, c, s)
		assert.Equal(t, sharedAddr, seen.Addr().String())
		ports[seen] = true
	}
	assert.Len(t, ports, 2)

	_, err = v.server.ServeTransfers(":81")
	require.NoError(t, err)
	_, err = v.client.Download("["+serverIn6+"]:81", 1<<20, patience)
	require.NoError(t, err)
	_, err = v.client.Upload("["+serverIn6+"]:81", 1<<20, patience)
	require.NoError(t, err)

	echo, err := v.server.ServeUDPEcho(":7")
	require.NoError(t, err)
	defer echo.Close()
	_, err = v.client.UDPEcho("["+serverIn6+"]:7", netlab.UDPEcho{Sizes: []int{0, 100, 1400}, Timeout: patience})
	require.NoError(t, err)
	_, err = v.client.Ping(netip.MustParseAddr(serverIn6), netlab.Echo{Size: 56, Timeout: patience})
	require.NoError(t, err)
	_, err = v.server.Ping(netip.MustParseAddr(sharedAddr), netlab.Echo{Size: 56, Timeout: patience})
	require.NoError(t, err, "the gateway's own address, of which no binding is")
}

// TestSharedForward: a port of the shared address belongs to a host. A reload that adds
// and removes others breaks no connection.
func TestSharedForward(t *testing.T) {
	v := newShared(t, "stateful-map tcp 198.51.99.1:80 [2001:db8:c::2]:8080\nmap-file DIR/maps\n")
	maps := func(text string) { require.NoError(t, os.WriteFile(v.dir+"/maps", []byte(text), 0o644)) }
	maps("stateful-map tcp 198.51.99.1:25 [2001:db8:c::3]:2525\n")
	p := v.launch()
	connect := func(host, port6, port4 string) (a, b net.Conn) {
		l, err := v.client.Listen("tcp6", "["+host+"]:"+port6)
		require.NoError(t, err)
		defer l.Close()
		accepted := make(chan net.Conn, 1)
		go func() {
			c, _ := l.Accept()
			accepted <- c
		}()
		a, err = v.server.Dial("tcp4", sharedAddr+":"+port4, patience)
		require.NoError(t, err)
		return a, <-accepted
	}
	a80, b80 := connect(clientAddr, "8080", "80")
	a25, b25 := connect(secondAddr, "2525", "25")
	for _, c := range []net.Conn{a80, b80, a25, b25} {
		defer c.Close()
	}
	roundTrip(t, a80, b80)
	roundTrip(t, a25, b25)
	assert.True(t, strings.HasPrefix(b80.RemoteAddr().String(), "["+serverIn6+"]:"), b80.RemoteAddr())

	maps("stateful-map tcp 198.51.99.1:25 [2001:db8:c::3]:2525\nstateful-map tcp 198.51.99.1:443 [2001:db8:c::3]:4443\n")
	require.NoError(t, p.Signal(syscall.SIGHUP))
	v.await(p, "0 maps, 2 static bindings")
	roundTrip(t, a80, b80)
	roundTrip(t, a25, b25)
	a443, b443 := connect(secondAddr, "4443", "443")
	defer a443.Close()
	defer b443.Close()
	roundTrip(t, a443, b443)
}

// TestSharedHairpin: two hosts that share an address reach each other by it, also if the
// translator has no IPv6 address but that inside the prefix: the packets were its own then.
func TestSharedHairpin(t *testing.T) {
	for name, own6 := range map[string]string{"ipv6-addr": "ipv6-addr 2001:db8:1::64\n", "inside-the-prefix": ""} {
		t.Run(name, func(t *testing.T) {
			v := newShared(t, "")
			v.configure(strings.Replace(sharedConf, "ipv6-addr 2001:db8:1::64\n", own6, 1) + "stateful-map tcp 198.51.99.1:80 [2001:db8:c::2]:8080\n")
			v.launch()
			l, err := v.client.Listen("tcp6", "["+clientAddr+"]:8080")
			require.NoError(t, err)
			defer l.Close()
			accepted := make(chan net.Conn, 1)
			go func() {
				c, _ := l.Accept()
				accepted <- c
			}()
			var a net.Conn
			require.NoError(t, v.client.Do(func() (err error) {
				d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(secondAddr)}}
				a, err = d.Dial("tcp6", "["+sharedIn6+"]:80")
				return err
			}))
			defer a.Close()
			b := <-accepted
			defer b.Close()
			roundTrip(t, a, b)
			seen := netip.MustParseAddrPort(b.RemoteAddr().String())
			assert.Equal(t, netip.MustParseAddr(sharedIn6), seen.Addr(), "the host has an address of IPv4, RFC 4787 REQ-9")
			_, err = v.client.Ping(netip.MustParseAddr(sharedIn6), netlab.Echo{Size: 56, Timeout: patience})
			require.NoError(t, err)
		})
	}
}

// TestSharedLog: the log says who had an address and port, and until when. What the server
// sees is found in it.
func TestSharedLog(t *testing.T) {
	v := newShared(t, "stateful-log bindings\nstateful-timeout dns 1\nstateful-map tcp 198.51.99.1:80 [2001:db8:c::2]:8080\n")
	p := v.launch()
	assert.Contains(t, p.Output(), "BINDING: [begin static] tcp 198.51.99.1:80 [2001:db8:c::2]:8080 ")
	server, err := v.server.ListenPacket("udp4", serverAddr+":53")
	require.NoError(t, err)
	defer server.Close()
	host, err := v.client.Dial("udp6", "["+serverIn6+"]:53", patience)
	require.NoError(t, err)
	defer host.Close()
	_, err = host.Write([]byte("query"))
	require.NoError(t, err)
	require.NoError(t, server.SetReadDeadline(time.Now().Add(patience)))
	_, seen, err := server.ReadFrom(make([]byte, 100))
	require.NoError(t, err)
	who := fmt.Sprintf("] udp %s %s ", seen, host.LocalAddr())
	v.await(p, "BINDING: [begin"+who)
	v.await(p, "BINDING: [end"+who)
	assert.NotContains(t, p.Output(), serverAddr+":53", "no destinations")

	file := v.dir + "/log"
	require.NoError(t, os.WriteFile(file, []byte(p.Output()), 0o600))
	times := regexp.MustCompile(`BINDING: .*`+regexp.QuoteMeta(who)+`(\S+)`).FindAllStringSubmatch(p.Output(), -1)
	require.Len(t, times, 2)
	for i, want := range []string{"BINDING: [begin", "BINDING: [end"} {
		out := askLog(t, file, "tcp 203.0.113.1:40123", "udp "+seen.String(), "2026-11-30T21:52:00.000Z", times[i][1])
		assert.Equal(t, want+who+times[i][1]+"\n", out)
	}
	assert.Equal(t, "\n", askLog(t, file, "tcp 203.0.113.1:40123", "udp "+seen.String(), "2026-11-30T21:52:00.000Z", "2000"))

	// A stop ends what is left.
	require.NoError(t, p.Stop(patience))
	assert.Contains(t, p.Output(), "BINDING: [end] tcp 198.51.99.1:80 [2001:db8:c::2]:8080 ")
	assert.Equal(t, 1, strings.Count(p.Output(), "BINDING: [end"+who))
}

// askLog runs the first question of docs/logs-of-bindings.md about a file, with other words.
func askLog(t *testing.T, file string, oldnew ...string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/logs-of-bindings.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(page), "```\njournalctl -u tayga -o cat |")
	require.True(t, found)
	question, _, _ := strings.Cut(rest, "```")
	cmd := exec.Command("sh", "-c", strings.NewReplacer(oldnew...).Replace(question))
	cmd.Stdin, err = os.Open(file)
	require.NoError(t, err)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}
