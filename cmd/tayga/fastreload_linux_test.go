package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
)

// make peers runs the test below with 1,000,000 maps.
var reloadMaps = flag.Int("reload-maps", 20_000, "maps of a reload under traffic")

// A counted stream is what a client sends and a server gets: numbered datagrams.
type counted struct {
	next atomic.Uint32 // number of the next one
	stop chan struct{}
	done chan error
	from chan map[uint32]netip.Addr // whom the server saw, by number
}

// startCounting sends 5,000 datagrams a second until end is called.
func (v *village) startCounting() *counted {
	v.Helper()
	s := &counted{stop: make(chan struct{}), done: make(chan error, 1), from: make(chan map[uint32]netip.Addr, 1)}
	sink, err := v.server.ListenPacket("udp4", ":9")
	require.NoError(v, err)
	udp := sink.(*net.UDPConn)
	require.NoError(v, setReceiveBuffer(udp, 64<<20))
	go func() {
		seen, b := make(map[uint32]netip.Addr), make([]byte, 100)
		for {
			n, from, err := udp.ReadFromUDPAddrPort(b)
			if err != nil {
				s.from <- seen
				return
			}
			if i := binary.BigEndian.Uint32(b[:max(n, 4)]); i == last { // all others came before
				udp.Close()
			} else {
				seen[i] = from.Addr()
			}
		}
	}()
	conn, err := v.client.Dial("udp6", net.JoinHostPort(serverIn6, "9"), patience)
	require.NoError(v, err)
	go func() {
		defer conn.Close()
		b, start := make([]byte, 100), time.Now()
		for sent := 0; ; sent++ {
			select {
			case <-s.stop:
				s.done <- s.finish(conn, b)
				return
			default:
			}
			binary.BigEndian.PutUint32(b, s.next.Add(1)-1)
			for { // or else the local queue is full, and it was never sent
				if _, err := conn.Write(b); err == nil {
					break
				}
			}
			if sent%10 == 9 {
				time.Sleep(time.Until(start.Add(time.Duration(sent) * 200 * time.Microsecond)))
			}
		}
	}()
	return s
}

// last is the number of the datagram that ends a stream.
const last = 1<<32 - 1

// finish has the server end. A datagram may pass others on its way, so this one is sent when
// they have had time to arrive.
func (s *counted) finish(conn net.Conn, b []byte) error {
	binary.BigEndian.PutUint32(b, last)
	time.Sleep(300 * time.Millisecond) // or else some may be missing
	_, err := conn.Write(b)
	return err
}

// end returns how many datagrams were sent, and whom the server saw send each.
func (s *counted) end(t *testing.T) (sent uint32, from map[uint32]netip.Addr) {
	t.Helper()
	close(s.stop)
	require.NoError(t, <-s.done)
	select {
	case from = <-s.from:
	case <-time.After(patience):
		t.Fatal("the stream does not end")
	}
	return s.next.Load(), from
}

// TestFastPathReload: a reload of many maps under load loses no packet, and after the line
// that says that it is done no packet has the address that its host had before, by the kernel
// neither. The kernel has the flow between any two reloads. Each makes the host another one of
// two, which 20,000 other maps have to find their place beside.
func TestFastPathReload(t *testing.T) {
	needFastPath(t)
	addrs := []string{client4, "198.51.99.8"}
	v := newFast(t, false, "")
	v.configure(strings.Replace(villageConf, "map "+client4+" "+clientAddr, "map-file DIR/maps\nstatus-socket DIR/sock", 1))
	for n, a := range addrs {
		var b strings.Builder
		for i := range *reloadMaps {
			if i == *reloadMaps*(n+1)/3 {
				fmt.Fprintf(&b, "map %s %s\n", a, clientAddr)
			}
			fmt.Fprintf(&b, "map 11.%d.%d.%d 2001:db8:ffff:%x::%x:%x\n", i>>16, i>>8&255, i&255, n, i>>16, i&0xffff)
		}
		require.NoError(t, os.WriteFile(fmt.Sprintf("%s/maps%d", v.dir, n), []byte(b.String()), 0o644))
	}
	use := func(n int) {
		t.Helper()
		os.Remove(v.dir + "/maps~")
		require.NoError(t, os.Link(fmt.Sprintf("%s/maps%d", v.dir, n%2), v.dir+"/maps~"))
		require.NoError(t, os.Rename(v.dir+"/maps~", v.dir+"/maps"))
		require.NoError(t, os.Chtimes(v.dir+"/maps", time.Now(), time.Now()))
	}
	use(0)
	p := v.launch()
	require.Contains(t, p.Output(), fastOn)
	require.NoError(t, v.host.Do(func() error { // the kernel's queue to us, not ours, would overflow on a busy machine
		link, err := netlink.LinkByName("nat64")
		if err != nil {
			return err
		}
		return netlink.LinkSetTxQLen(link, 20000)
	}))

	// Between asked and done either address is right, and what is still on its way when the
	// reload is asked for may be translated after it.
	type change struct{ asked, done uint32 }
	const onItsWay, each = 500, 1500
	var changes []change
	s := v.startCounting()
	byKernel := func() {
		t.Helper()
		before := v.fast().Kernel.Packets
		v.eventually(func() bool { return v.fast().Kernel.Packets > before+each }, p.Output)
	}
	byKernel()
	rounds := max(5, *reloads/20)
	for i := range rounds {
		use(i + 1)
		c := change{asked: s.next.Load()}
		require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGHUP))
		v.eventually(func() bool { return strings.Count(p.Output(), "Reloaded ") == i+1 }, p.Output)
		c.done = s.next.Load()
		changes = append(changes, c)
		byKernel()
	}
	f := v.fast()
	sent, from := s.end(t)
	assert.Len(t, from, int(sent), "datagrams that arrived, of those that were sent")
	checked, wrong := 0, 0
	for i := range sent {
		n := 0
		for n < len(changes) && changes[n].done <= i {
			n++
		}
		either := n < len(changes) && i+onItsWay >= changes[n].asked
		if a, arrived := from[i]; arrived && !either {
			checked++
			if a.String() != addrs[n%2] {
				wrong++
			}
		}
	}
	assert.Zero(t, wrong, "datagrams by another table, of %d", checked)
	assert.Greater(t, checked, rounds*(each-onItsWay))
	require.NoError(t, p.Stop(patience))
	t.Logf("%d reloads of %d maps, %d datagrams, %d of them by the kernel, %d of them checked", rounds, *reloadMaps, sent, f.Kernel.Packets, checked)
}
