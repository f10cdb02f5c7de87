package testbed

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Speak sends a datagram to the server in the name of a host of Hosts, which
// takes a lease by that. It does not wait for an answer.
func (b *Bed) Speak(host netip.Addr) error {
	c, err := b.dialFrom(host, echoPort)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte("hello"))
	return err
}

// SeenAs returns the address under which the server sees a host of Hosts: that
// of its lease. It asks again until there is an answer.
func (b *Bed) SeenAs(host netip.Addr) (netip.Addr, error) {
	c, err := b.dialFrom(host, seenPort)
	if err != nil {
		return netip.Addr{}, err
	}
	defer c.Close()
	buf := make([]byte, 64)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		c.SetDeadline(time.Now().Add(200 * time.Millisecond))
		c.Write([]byte("who?")) // an error is that of an earlier one, or there is no room
		var n int
		if n, err = c.Read(buf); err == nil {
			seen, err := netip.ParseAddrPort(string(buf[:n]))
			return seen.Addr().Unmap(), err
		}
		if err := b.Alive(); err != nil {
			return netip.Addr{}, err
		}
	}
	return netip.Addr{}, fmt.Errorf("testbed: the server does not see %v: %w", host, err)
}

// dialFrom opens a socket from a host of Hosts to the server.
func (b *Bed) dialFrom(host netip.Addr, port uint16) (c *net.UDPConn, err error) {
	err = b.Client.Do(func() error {
		from := net.UDPAddrFromAddrPort(netip.AddrPortFrom(host, 0))
		c, err = net.DialUDP("udp6", from, net.UDPAddrFromAddrPort(netip.AddrPortFrom(ServerIn6, port)))
		return err
	})
	return c, err
}

// serveSeen tells everybody who asks how the server sees them.
func (b *Bed) serveSeen() error {
	c, err := b.Server.ListenPacket("udp4", fmt.Sprintf(":%d", seenPort))
	if err != nil {
		return err
	}
	go func() {
		buf := make([]byte, 64)
		for {
			_, from, err := c.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				c.WriteTo([]byte(from.String()), from)
			}
		}
	}()
	return nil
}

// Leases are addresses by host.
type Leases map[netip.Addr]netip.Addr

// leaseLine is a whole line of dynamic.map.
var leaseLine = regexp.MustCompile(`^(\S+)\t(\S+)\t[1-9]\d*$`)

// Saved returns what dynamic.map holds. It fails if the file is not whole.
func (b *Bed) Saved() (Leases, error) {
	text, err := os.ReadFile(filepath.Join(b.DataDir, "dynamic.map"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseLeases(string(text))
}

func parseLeases(text string) (Leases, error) {
	if !strings.HasSuffix(text, "\n") {
		return nil, fmt.Errorf("testbed: dynamic.map of %d bytes is cut short", len(text))
	}
	leases := make(Leases)
	taken := make(map[netip.Addr]bool)
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		f := leaseLine.FindStringSubmatch(line)
		if f == nil {
			return nil, fmt.Errorf("testbed: dynamic.map holds %q", line)
		}
		addr, err4 := netip.ParseAddr(f[1])
		host, err6 := netip.ParseAddr(f[2])
		if err := errors.Join(err4, err6); err != nil {
			return nil, err
		}
		if _, again := leases[host]; again || taken[addr] {
			return nil, fmt.Errorf("testbed: dynamic.map holds %q after another lease of host or address", line)
		}
		leases[host], taken[addr] = addr, true
	}
	return leases, nil
}

// Lost returns how many leases of l are not in now, or with another address.
func (l Leases) Lost(now Leases) (n int) {
	for host, addr := range l {
		if now[host] != addr {
			n++
		}
	}
	return n
}
