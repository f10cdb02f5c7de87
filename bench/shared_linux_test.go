package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sharedLoads are what BenchmarkShared puts on a gateway: the host opens all flows.
var sharedLoads = []load{
	{name: "load=connections", unit: "connections/s", run: (*lab).connections},
	tcpLoad("6to4", 1), tcpLoad("4to6", 1),
	tcpLoad("6to4", 4), tcpLoad("4to6", 4),
	udpLoad("6to4", 64), udpLoad("6to4", 1400),
	{name: "load=request/size=1", unit: "p50-ns", lower: true, run: (*lab).requests},
}

// BenchmarkShared carries the traffic of a host that shares an IPv4 address by port, by
// gateways in turn: ours with a stateful-pool, the same beside a rule that has the
// kernel track connections, ours with a dynamic-pool that nftables masquerades, and Debian's
// tayga with the same. In these the daemon translates. By the fast path there are stateful/fast,
// and stateless/fast, whose host has an address of its own.
// Each is on a machine of its own, since rules for one would be asked
// for all. The line that ends in gateway=all has medians and
// ratios, as that of BenchmarkE2E.
//
// It needs root and /dev/net/tun.
func BenchmarkShared(b *testing.B) {
	own := build(b)
	var labs []*lab
	for _, name := range []string{"stateful", "tracked", "masquerade", "stateful/fast", "stateless/fast"} {
		if x := newShared(b, name, own); len(x.ways) > 0 {
			labs = append(labs, x)
		}
	}
	if _, err := os.Stat(*peerBinary); err == nil {
		labs = append(labs, newShared(b, "tayga", *peerBinary))
	} else {
		fmt.Printf("--- no tayga to compare with: %v\n", err)
	}
	all := &lab{} // of which report knows the ways
	for _, x := range labs {
		all.ways = append(all.ways, x.ways...)
	}
	for _, l := range sharedLoads {
		samples := make(map[*way][]sample)
		for round := range *rounds {
			for _, x := range labs {
				w := x.ways[0]
				if s := x.sample(b, fmt.Sprintf("%s/gateway=%s/round=%d", l.name, w.name, round+1), l, w); s != nil {
					samples[w] = append(samples[w], s)
				}
			}
		}
		if len(samples) > 0 {
			b.Run(l.name+"/gateway=all", func(b *testing.B) { all.report(b, l, samples) })
		}
	}
}

// newShared returns a laboratory whose gateway has one way, of that name, or none if there is no
// such path here.
func newShared(b *testing.B, name, program string) *lab {
	x := newLab(b)
	w := &way{name: name, server: netip.MustParseAddr("2001:db8:64::" + server4)}
	conf := []string{"ipv4-addr 192.0.2.1", "ipv6-addr 2001:db8:f::1", "prefix 2001:db8:64::/96"}
	switch name {
	case "tracked":
		x.gateway.Nft(`table inet filter {
	chain forward {
		type filter hook forward priority filter;
		ct state invalid drop
	}
}`)
		fallthrough
	case "stateful", "stateful/fast":
		w.client = netip.MustParseAddr("192.0.2.6")
		conf = append(conf, "stateful-pool 192.0.2.6")
	case "stateless/fast":
		w.client = netip.MustParseAddr("192.0.2.6")
		conf = append(conf, fmt.Sprintf("map %s %s", w.client, clientAddr))
	default:
		w.client = netip.MustParseAddr("198.51.100.1")
		conf = append(conf, "dynamic-pool 192.0.2.0/24")
		x.gateway.Nft(`table ip nat {
	chain post {
		type nat hook postrouting priority srcnat;
		oifname "eth1" ip saddr 192.0.2.0/24 masquerade
	}
}`)
	}
	ours := name != "tayga"
	if ours {
		w.fast, w.socket = strings.HasSuffix(name, "/fast"), filepath.Join(b.TempDir(), "status")
		conf = append(conf, w.pathLines()...)
	}
	w.process = x.launch(b, "nat64", program, conf)
	x.gateway.Route("192.0.2.0/24", "", "nat64")
	x.gateway.Route("2001:db8:64::/96", "", "nat64")
	if !ours || w.awaited(b) {
		x.ways = []*way{w}
	}
	return x
}

// connectors is how many connections are opened at a time.
const connectors = 8

// connections measures how many TCP connections a second the host opens. The host resets
// each, so that neither end keeps the ports: four packets a connection.
func (x *lab) connections(w *way, d time.Duration) (s sample, err error) {
	in, err := x.server.Listen("tcp", ":5003")
	if err != nil {
		return nil, err
	}
	listener, err := blocking(in)
	if err != nil {
		return nil, err
	}
	defer unix.Close(listener)
	var (
		fds    [connectors]int
		opened atomic.Uint64
		stop   atomic.Bool
		all    sync.WaitGroup
	)
	dst := netip.AddrPortFrom(w.server, 5003)
	for i := range fds {
		if fds[i], err = x.socket(); err != nil {
			return nil, err
		}
		defer unix.Close(fds[i])
	}
	for _, fd := range fds {
		all.Go(func() { acceptAll(listener, &stop) })
		all.Go(func() { reconnect(fd, dst, &opened, &stop) })
	}
	o, err := observe(w, d, &opened)
	stop.Store(true)
	unix.Shutdown(listener, unix.SHUT_RDWR)
	all.Wait()
	if err != nil {
		return nil, err
	}
	return sample{
		"connections/s":     o.counted[0] / o.seconds,
		"cpu-us/connection": float64(o.cpu.Microseconds()) / o.counted[0],
	}, nil
}

// socket makes a TCP socket of the client, which waits no longer than stuck.
func (x *lab) socket() (fd int, err error) {
	limit := unix.NsecToTimeval(stuck.Nanoseconds())
	err = x.client.Do(func() error {
		fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit)
	}
	return fd, err
}

// reconnect opens connections and resets them. Connecting to no family is how a socket
// is disconnected: connect(2).
func reconnect(fd int, dst netip.AddrPort, n *atomic.Uint64, stop *atomic.Bool) {
	to := unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: dst.Addr().As16()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&to.Port))[:], dst.Port())
	none := unix.RawSockaddrInet6{Family: unix.AF_UNSPEC}
	for !stop.Load() {
		if connect(fd, &to) == nil {
			n.Add(1)
		}
		connect(fd, &none)
	}
}

func connect(fd int, to *unix.RawSockaddrInet6) error {
	_, err := uninterrupted(func() (int, error) {
		_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(to)), unsafe.Sizeof(*to))
		if errno != 0 {
			return 0, errno
		}
		return 0, nil
	})
	return err
}

// acceptAll accepts connections and waits for their end.
func acceptAll(listener int, stop *atomic.Bool) {
	var buf [1]byte
	for !stop.Load() {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return // the listener was shut down
		}
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1})
		read(fd, buf[:])
		unix.Close(fd)
	}
}
