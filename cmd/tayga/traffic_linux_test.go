package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// Ordinary runs are short. make peers runs this test in full length.
var reloads = flag.Int("reloads", 100, "reloads under traffic")

// village is a gateway between a host that has only IPv6 and one that has only
// IPv4.
type village struct {
	*bench
	client, server *netlab.Host
}

const (
	clientAddr  = "2001:db8:c::2" // by map 198.51.99.7
	serverAddr  = "198.51.98.2"   // by prefix 64:ff9b::c633:6202
	serverIn6   = "64:ff9b::c633:6202"
	client4     = "198.51.99.7"
	villageConf = `tun-device nat64
ipv4-addr 198.51.99.1
ipv6-addr 2001:db8:1::64
prefix 64:ff9b::/96
dynamic-pool 198.51.99.128/25
map 198.51.99.7 2001:db8:c::2
data-dir DIR
tun-up yes
tun-route 198.51.99.0/24
tun-route 64:ff9b::/96
tun-route 2001:db8:1::/64
`
)

// program builds tayga as it is installed: without cgo, so that its sandbox is
// complete, and without the race detector, which these tests have no time for.
// Races are looked for by all others.
var program = sync.OnceValues(func() (path string, err error) {
	if path := os.Getenv("STEPPE_TAYGA"); path != "" { // where there is no compiler
		return path, nil
	}
	if programDir, err = os.MkdirTemp("", "tayga"); err != nil {
		return "", err
	}
	path = programDir + "/tayga"
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("go build: %w: %s", err, out)
	}
	return path, err
})

// programDir is removed at the end of all tests.
var programDir string

func newVillage(t *testing.T, conf string) *village {
	t.Helper()
	lab := netlab.New(t)
	v := &village{client: lab.Host("client"), server: lab.Host("server")}
	gateway := lab.Host("gateway")
	lab.Link(v.client, "eth0", gateway, "eth0", 1500)
	lab.Link(gateway, "eth1", v.server, "eth0", 1500)
	gateway.Forwarding()
	gateway.Addr("eth0", "2001:db8:c::1/64")
	gateway.Addr("eth1", "198.51.98.1/24")
	v.client.Addr("eth0", clientAddr+"/64")
	v.client.DefaultRoute("2001:db8:c::1", "")
	v.server.Addr("eth0", serverAddr+"/24")
	v.server.DefaultRoute("198.51.98.1", "")

	self, err := program()
	require.NoError(t, err)
	v.bench = &bench{T: t, host: gateway, self: self, dir: t.TempDir()}
	v.conf = filepath.Join(v.dir, "tayga.conf")
	v.configure(conf)
	return v
}

// Many reloads, each with other maps, during a TCP transfer and a stream of
// 10,000 datagrams a second. Both go by a map that is in the file every time, in
// another place: not a datagram is lost.
func TestReloadUnderTraffic(t *testing.T) {
	const kept = "map " + client4 + " " + clientAddr + "\n"
	v := newVillage(t, strings.Replace(villageConf, kept, "map-file DIR/maps\nlog drop reject\n", 1))
	writeMaps := func(n int) {
		var b strings.Builder
		for i := range 100 {
			if i == n%100 {
				b.WriteString(kept)
			}
			fmt.Fprintf(&b, "map 198.51.100.%d 2001:db8:ffff:%x::%x\n", i, n, i)
		}
		// The next reload must see the old file or the new, not half of one.
		require.NoError(t, os.WriteFile(v.dir+"/maps~", []byte(b.String()), 0o644))
		require.NoError(t, os.Rename(v.dir+"/maps~", v.dir+"/maps"))
	}
	writeMaps(0)
	p := v.launch()
	require.NoError(t, v.host.Do(func() error { // the kernel's queue to us, not ours, would overflow on a busy machine
		link, err := netlink.LinkByName("nat64")
		if err != nil {
			return err
		}
		return netlink.LinkSetTxQLen(link, 20000)
	}))

	_, err := v.server.ServeTransfers(":80")
	require.NoError(t, err)
	stop := make(chan struct{})
	transfers := make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				transfers <- nil
				return
			default:
			}
			if _, err := v.client.Download("["+serverIn6+"]:80", 8<<20, time.Minute); err != nil {
				transfers <- err
				return
			}
		}
	}()

	sink, err := v.server.ListenPacket("udp4", ":9")
	require.NoError(t, err)
	udp := sink.(*net.UDPConn)
	require.NoError(t, setReceiveBuffer(udp, 64<<20))
	received := make(chan map[uint32]bool, 1)
	var arrived atomic.Int64
	go func() {
		seen := make(map[uint32]bool)
		b := make([]byte, 100)
		for {
			n, from, err := udp.ReadFromUDPAddrPort(b)
			if err != nil {
				received <- seen
				return
			}
			if n == 100 && from.Addr() == netip.MustParseAddr(client4) { // not by a lease
				seen[binary.BigEndian.Uint32(b)] = true
				arrived.Store(int64(len(seen)))
			}
		}
	}()
	sent := make(chan uint32, 1)
	conn, err := v.client.Dial("udp6", "["+serverIn6+"]:9", patience)
	require.NoError(t, err)
	go func() {
		b := make([]byte, 100)
		start := time.Now()
		for i := uint32(0); ; i++ {
			select {
			case <-stop:
				sent <- i
				return
			default:
			}
			binary.BigEndian.PutUint32(b, i)
			if _, err := conn.Write(b); err != nil {
				i-- // the local queue was full: it was never sent
			}
			if i%10 == 9 {
				time.Sleep(time.Until(start.Add(time.Duration(i) * 100 * time.Microsecond)))
			}
		}
	}()

	begin := time.Now()
	for i := range *reloads {
		writeMaps(i + 1)
		require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGHUP))
		v.eventually(func() bool { return strings.Count(p.Output(), "Reloaded ") == i+1 }, p.Output)
	}
	took := time.Since(begin)
	close(stop)
	require.NoError(t, <-transfers)
	n := <-sent
	for end := time.Now().Add(patience); arrived.Load() < int64(n) && time.Now().Before(end); { // what is still on its way
		time.Sleep(time.Millisecond)
	}
	udp.Close()
	seen := <-received
	assert.Greater(t, int(n), 20**reloads, "the stream was too slow")
	assert.Equal(t, int(n), len(seen), "datagrams that arrived, of those that were sent")
	require.NoError(t, p.Stop(patience))
	t.Logf("%d reloads in %v, %d datagrams", *reloads, took, n)
}

// setReceiveBuffer makes room for what arrives while the test is not scheduled.
func setReceiveBuffer(conn *net.UDPConn, size int) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, 33 /* SO_RCVBUFFORCE */, size)
	})
	if err != nil {
		return err
	}
	return set
}

// hosts lets the client be any host of 2001:db8:c:1::/64.
func (v *village) hosts() {
	v.Helper()
	v.client.Sysctl("net.ipv6.ip_nonlocal_bind", "1")
	v.host.Route("2001:db8:c:1::/64", clientAddr, "")
}

// speak sends a datagram to the server from one of these hosts, by which it
// takes a lease.
func (v *village) speak(n int) error {
	return v.client.Do(func() error {
		source := &net.UDPAddr{IP: host6(n).AsSlice()}
		conn, err := net.DialUDP("udp6", source, &net.UDPAddr{IP: netip.MustParseAddr(serverIn6).AsSlice(), Port: 9})
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write([]byte("hello"))
		return err
	})
}

func host6(n int) netip.Addr {
	a := netip.MustParseAddr("2001:db8:c:1::").As16()
	binary.BigEndian.PutUint32(a[12:], uint32(n)+1)
	return netip.AddrFrom16(a)
}

// leaseLine is a whole line of dynamic.map.
var leaseLine = regexp.MustCompile(`^(\S+)\t(\S+)\t(\d+)$`)

// leases reads dynamic.map: addresses by host. It fails on anything that is not
// a whole line.
func (b *bench) leases() map[string]string {
	b.Helper()
	text, err := os.ReadFile(b.dir + "/dynamic.map")
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(b, err)
	require.True(b, strings.HasSuffix(string(text), "\n"), "cut short")
	m := make(map[string]string)
	for l := range strings.Lines(string(text)) {
		l = strings.TrimSuffix(l, "\n")
		if l == "" || l[0] == '#' {
			continue
		}
		f := leaseLine.FindStringSubmatch(l)
		require.NotNil(b, f, l)
		m[f[2]] = f[1]
	}
	return m
}

// A lease file of Debian's tayga is taken over, and the other way round.
func TestLeaseFileOfDebiansTayga(t *testing.T) {
	if _, err := os.Stat(debianTayga); err != nil {
		t.Skip("Debian's tayga is not installed")
	}
	v := newVillage(t, strings.SplitAfter(villageConf, "data-dir DIR\n")[0])
	v.hosts()
	connect := func() {
		v.host.Up("nat64")
		v.host.Route("198.51.99.0/24", "", "nat64")
		v.host.Route("64:ff9b::/96", "", "nat64")
		require.NoError(t, v.host.WaitRunning("nat64", patience))
	}
	run := func(program string, hosts int, ready func(*netlab.Process)) string {
		t.Helper()
		p, err := v.host.Launch(program, "-d", "-c", v.conf)
		require.NoError(t, err)
		v.eventually(func() bool { return len(v.devices()) == 3 }, p.Output)
		connect()
		ready(p)
		for n := range hosts {
			require.NoError(t, v.speak(n))
		}
		time.Sleep(200 * time.Millisecond) // until the last packet has been seen
		require.NoError(t, p.Stop(patience))
		return p.Output()
	}
	ignore := func(*netlab.Process) {}

	run(debianTayga, 20, ignore)
	theirs := v.leases()
	require.Len(t, theirs, 20)

	out := run(v.self, 30, func(p *netlab.Process) { v.await(p, "Workers: ") })
	assert.Contains(t, out, "Loaded 20 dynamic maps from "+v.dir+"/dynamic.map\n")
	ours := v.leases()
	require.Len(t, ours, 30)
	for host, addr := range theirs {
		assert.Equal(t, addr, ours[host], host)
	}

	out = run(debianTayga, 40, ignore)
	assert.Contains(t, out, "Loaded 30 dynamic maps from "+v.dir+"/dynamic.map\n")
	back := v.leases()
	require.Len(t, back, 40)
	for host, addr := range ours {
		assert.Equal(t, addr, back[host], host)
	}
	// Without a file, too, hosts get the addresses that the other would give.
	require.NoError(t, os.Remove(v.dir+"/dynamic.map"))
	run(v.self, 20, func(p *netlab.Process) { v.await(p, "Workers: ") })
	assert.Equal(t, theirs, v.leases())
	assert.NoFileExists(t, v.dir+"/dynamic.map.damaged")
}

// A hundred thousand maps are no reason to wait: it takes less than a second on a
// machine that is not busy. Times gate nothing here; the bound is for code that
// would go through all maps for each map, which takes minutes.
func TestManyMapsStart(t *testing.T) {
	b := newBench(t, gatewayConf+"map-file DIR/maps\n")
	self, err := program()
	require.NoError(t, err)
	b.self = self
	var text strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&text, "map 10.%d.%d.%d 2001:db8:1000::%x:%x\n", i>>16, i>>8&255, i&255, i>>16, i&0xffff)
	}
	require.NoError(t, os.WriteFile(b.dir+"/maps", []byte(text.String()), 0o644))
	start := time.Now()
	p := b.launch()
	t.Logf("started after %v", time.Since(start))
	require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGHUP))
	start = time.Now()
	b.await(p, "Reloaded "+b.dir+"/maps: 100000 maps\n")
	t.Logf("reloaded after %v", time.Since(start))
	require.NoError(t, p.Stop(patience))
}
