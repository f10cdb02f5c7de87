package clattest

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// address returns the IPv6 address of the IPv4 programs. It is zero while there is none.
func (c *clat) address() netip.Addr {
	c.x.t.Helper()
	a, _ := netip.ParseAddr(c.report().IPv6)
	return a
}

// livesIn waits until that address is in a network.
func (c *clat) livesIn(net string) {
	c.x.t.Helper()
	p := netip.MustParsePrefix(net)
	require.True(c.x.t, eventually(c.x.t, c.proc, func() bool { return p.Contains(c.address()) }), "no address of %s: %+v", net, c.report())
}

// TestShared has links on which there is no second address: that of the host is shared, and
// connections of the host's own with the same ports are not disturbed.
func TestShared(t *testing.T) {
	t.Parallel()
	x := newLab(t, wellKnown)
	ra := advertise(t, x.router, "lan0", "")
	ra.say(pref64(wellKnown)) // a default route, and no address
	x.host.Addr("eth0", "2001:db8:1::abcd/128")
	before := x.take(x.host)
	c := x.run()
	x.works("router advertisement", ra.since(c.begin), pool(1))
	x.programs(t, x.host)
	t.Logf("%s", c.status())

	own, err := x.host.Dial("tcp", netip.AddrPortFrom(embed(wellKnown), transferPort).String(), 5*time.Second)
	require.NoError(t, err)
	defer own.Close()
	x.samePorts(own)
	c.stop()
	x.same(x.host, before)
}

// TestConflict has another node with the address that the CLAT would take, before it starts and
// while it runs.
func TestConflict(t *testing.T) {
	t.Parallel()
	x, ra, c := advertised(t)
	first := c.address()
	require.True(t, first.IsValid(), "%s", c.status())

	// The CLAT defends it: the kernel of the other node finds out by a solicitation.
	x.router.Sysctl("net.ipv6.conf.all.accept_dad", "1")
	x.router.Sysctl("net.ipv6.conf.lan0.accept_dad", "1")
	x.router.Sysctl("net.ipv6.conf.lan0.dad_transmits", "1")
	x.ip(x.router, "address add "+first.String()+"/64 dev lan0")
	require.True(t, eventually(t, c.proc, func() bool {
		out, _ := x.router.Command(program(t, "ip"), "-6", "address", "show", "dev", "lan0", "dadfailed").Output()
		return strings.Contains(string(out), first.String())
	}), "the other node has taken %v", first)
	x.ip(x.router, "address del "+first.String()+"/64 dev lan0")
	x.works("address defended", time.Now(), pool(1))
	c.stop()

	x.ip(x.router, "address add "+first.String()+"/64 dev lan0 nodad")
	c = x.run()
	x.works("address of another node", ra.since(c.begin), pool(1))
	second := c.address()
	assert.NotEqual(t, first, second)
	assert.True(t, netip.MustParsePrefix(lan0).Contains(second), "%v", second)
	c.stop()
}

// TestFixed has an address by the file, which another node has at first.
func TestFixed(t *testing.T) {
	t.Parallel()
	x := newLab(t, wellKnown)
	ra := advertise(t, x.router, "lan0", "")
	ra.say(slaac(lan0), pref64(wellKnown))
	x.configured("eth0", lan0)
	x.router.Addr("lan0", "2001:db8:1::c1a7/64")
	c := x.run(x.conf("clat yes\nclat-address 2001:db8:1::c1a7\n")...)
	c.says("2001:db8:1::c1a7", 0)
	_, err := x.seenAs(x.host, oneTry)
	assert.Error(t, err)
	since := time.Now()
	x.ip(x.router, "address del 2001:db8:1::c1a7/64 dev lan0")
	x.works("address free", since, pool(1))
	assert.Equal(t, "2001:db8:1::c1a7", c.address().String())
	c.stop()
}

// samePorts connects over the CLAT from the port that a connection of the host's own to the
// same server has, and uses both.
func (x *lab) samePorts(own net.Conn) {
	x.t.Helper()
	port := own.LocalAddr().(*net.TCPAddr).Port
	var c net.Conn
	require.NoError(x.t, x.host.Do(func() (err error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 0, 1), Port: port}, Timeout: 5 * time.Second}
		c, err = d.Dial("tcp4", at(transferPort))
		return err
	}))
	defer c.Close()
	for _, c := range []net.Conn{c, own} {
		// A request of 1,000 bytes: see package netlab. The answer ends with 50 bytes more.
		c.SetDeadline(time.Now().Add(patience))
		_, err := c.Write([]byte{'D', 0, 0, 0, 0, 0, 0, 3, 232, 0, 0, 0, 0, 0, 0, 0, 1})
		require.NoError(x.t, err)
		_, err = io.ReadFull(c, make([]byte, 1000+32+18))
		require.NoError(x.t, err)
	}
}
