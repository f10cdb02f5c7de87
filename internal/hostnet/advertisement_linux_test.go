package hostnet

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/ndp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// A host keeps the default route that a router advertises when it begins to forward, goes on
// to listen to the router, and is as before in the end. With accept_ra=1 the kernel removes
// the route, and a laptop would be without a network.
func TestDefaultRouteOfRouter(t *testing.T) {
	lab := netlab.New(t)
	m := &machine{lab.Host("host"), t}
	gateway := lab.Host("gateway")
	lab.Link(m.Host, "eth0", gateway, "eth0", 1500)
	m.sh("ip tuntap add clat mode tun")
	m.ra0()
	updates, stop := make(chan netlink.RouteUpdate, 64), make(chan struct{})
	defer close(stop)
	require.NoError(t, m.Do(func() error { return netlink.RouteSubscribe(updates, stop) }))
	var conn *ndp.Conn
	require.NoError(t, gateway.Do(func() error {
		ifi, err := net.InterfaceByName("eth0")
		if err == nil {
			conn, _, err = ndp.Listen(ifi, ndp.LinkLocal)
		}
		return err
	}))
	defer conn.Close()
	advertise := func(lifetime time.Duration, event uint16) {
		t.Helper()
		require.NoError(t, gateway.Do(func() error { // where eth0 is the interface
			return conn.WriteTo(&ndp.RouterAdvertisement{CurrentHopLimit: 64, RouterLifetime: lifetime}, nil, netip.MustParseAddr("ff02::1"))
		}))
		for timeout := time.After(20 * time.Second); ; {
			select {
			case u := <-updates:
				if u.Type == event && fromNet(u.Dst, true).Bits() == 0 && u.Gw != nil {
					return
				}
			case <-timeout:
				t.Fatal("the advertisement had no effect")
			}
		}
	}
	route := func() string { return m.sh("ip -6 route show default") }

	advertise(time.Hour, unix.RTM_NEWROUTE)
	before := m.state()
	require.NotEmpty(t, route())
	manager := m.mustOpen(t.TempDir())
	for _, want := range []Sysctl{
		{"net/ipv6/conf/all/forwarding", "1"},
		{"net/ipv6/conf/eth0/forwarding", "1"},
		{"net/ipv6/conf/clat/forwarding", "1"}, // removes routes of all interfaces, too
	} {
		require.NoError(t, m.apply(manager, Change{Sysctl: &want}))
		assert.NotEmpty(t, route(), want.Name)
		advertise(0, unix.RTM_DELROUTE)
		advertise(time.Hour, unix.RTM_NEWROUTE)
		require.NoError(t, m.apply(manager))
		m.same(before)
		assert.NotEmpty(t, route())
	}
}

// ra0 has the one interface listen to router advertisements.
func (m *machine) ra0() {
	m.Sysctl("net/ipv6/conf/eth0/accept_ra", "1")
	m.Sysctl("net/ipv6/conf/default/accept_ra", "1")
}
