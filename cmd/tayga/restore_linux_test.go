package main

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What tun-ip and tun-route had added was there again after the device was deleted
// and made again, but not after it was set down and up, which takes routes and IPv6
// addresses with it; nor after IPv6 was off on it.
func TestSetUpIsRestored(t *testing.T) {
	sysctl := func(b *bench, value string) {
		require.NoError(b, b.host.Do(func() error {
			return os.WriteFile("/proc/sys/net/ipv6/conf/nat64/disable_ipv6", []byte(value), 0)
		}))
	}
	for _, test := range []struct {
		name   string
		change func(*bench, func(text string))
	}{
		{"down-and-up", func(b *bench, await func(string)) {
			b.setUp(false)
			await("Tun device nat64 is down: nothing arrives until it is up again\n")
			b.setUp(true)
		}},
		{"down-and-up-at-once", func(b *bench, await func(string)) {
			b.setUp(false, true)
		}},
		{"ipv6-off-and-on", func(b *bench, await func(string)) {
			sysctl(b, "1")
			sysctl(b, "0")
		}},
		{"mtu-too-small-for-ipv6", func(b *bench, await func(string)) {
			b.host.MTU("nat64", 1279)
			await("Tun device nat64 has an MTU of 1279 now")
			b.host.MTU("nat64", 1500)
		}},
		{"deleted-and-made-again", func(b *bench, await func(string)) {
			b.delete("nat64")
			await("is gone: waiting for it to come back\n")
			b.addTun("nat64", 2)
		}},
	} {
		for _, sandbox := range []string{"auto", "no"} {
			t.Run(test.name+"/sandbox="+sandbox, func(t *testing.T) {
				b := newBench(t, gatewayConf+"sandbox "+sandbox+`
tun-up yes
tun-ip 192.168.255.0/24
tun-ip 2001:db8:1::1/64
tun-route 64:ff9b::/96
tun-route 2001:db8:99::99/48
tun-route 10.0.0.0/8
`).installed()
				b.addTun("nat64", 2)
				p := b.launch()
				require.Empty(t, b.missing())
				b.await(p, "Tun device nat64 is up\n") // what comes before the watch begins is not reported
				for range 2 {
					n := len(p.Output())
					test.change(b, func(text string) {
						b.eventually(func() bool { return strings.Contains(p.OutputFrom(n), text) }, p.Output)
					})
					b.eventually(func() bool { return len(b.missing()) == 0 }, func() string {
						return fmt.Sprintf("missing: %v\n%s", b.missing(), p.Output())
					})
				}
				require.NoError(t, b.host.WaitRunning("nat64", patience))
				for _, addr := range []string{"192.168.255.1", "2001:db8:1::64"} {
					b.eventually(func() bool { return b.ping(addr) == nil }, p.Output)
				}
				require.NoError(t, p.Stop(patience))
				assert.NotContains(t, p.Output(), "not permitted")
			})
		}
	}
}

// missing returns which addresses and routes of that test are not there.
func (b *bench) missing() (names []string) {
	b.Helper()
	want := map[string]bool{"192.168.255.0/24": true, "2001:db8:1::1/64": true,
		"route 64:ff9b::/96": true, "route 2001:db8:99::/48": true, "route 10.0.0.0/8": true}
	require.NoError(b, b.host.Do(func() error {
		link, err := netlink.LinkByName("nat64")
		if err != nil {
			return nil
		}
		addrs, routes, err := present(link)
		for _, p := range addrs {
			delete(want, p.String())
		}
		for _, p := range routes {
			delete(want, "route "+p.String())
		}
		return err
	}))
	for name := range want {
		names = append(names, name)
	}
	return names
}

// setUp sets the device up or down, several times if wanted, with nothing between.
func (b *bench) setUp(ups ...bool) {
	b.Helper()
	require.NoError(b, b.host.Do(func() error {
		link, err := netlink.LinkByName("nat64")
		for _, up := range ups {
			switch {
			case err != nil:
			case up:
				err = netlink.LinkSetUp(link)
			default:
				err = netlink.LinkSetDown(link)
			}
		}
		return err
	}))
}

// The operator decides: a device that is set down stays down, and routes that were
// deleted or that others have taken are left so.
func TestRestoreKeepsOut(t *testing.T) {
	b := newBench(t, gatewayConf+"tun-up yes\ntun-ip 2001:db8:1::1/64\ntun-route 10.0.0.0/8\ntun-route 64:ff9b::/96\n")
	b.addTun("nat64", 2)
	b.addTun("other", 1)
	p := b.launch()
	require.NoError(t, p.Signal(unix.SIGUSR1)) // it watches the device once it handles signals
	b.await(p, "no packets yet\n")
	b.setUp(false)
	b.await(p, "Tun device nat64 is down: nothing arrives until it is up again\n")
	b.host.Up("other")
	b.host.Route("10.0.0.0/8", "", "other")
	from := len(p.Output())
	require.NoError(t, p.Signal(unix.SIGUSR1)) // and it has time to do anything
	b.eventually(func() bool { return strings.Contains(p.Output()[from:], "no packets yet\n") }, p.Output)
	require.NoError(t, b.host.Do(func() error {
		link, err := netlink.LinkByName("nat64")
		assert.Zero(t, link.Attrs().RawFlags&unix.IFF_UP)
		return err
	}))

	b.setUp(true)
	b.await(p, "tun-route: add 10.0.0.0/8 over device nat64: there is a route over device other already: remove it, or name a more specific destination: not there since the device was down\n")
	b.eventually(func() bool { return strings.Count(p.Output(), "Added IPv6 route 64:ff9b::/96") == 2 }, p.Output)
	require.NoError(t, p.Stop(patience))
}

// A daemon that gave up root, and that can start no helper, cannot set the device up
// again, and says so instead of leaving that to be found out.
func TestRestoreWithoutPrivilege(t *testing.T) {
	b := newBench(t, strings.Replace(gatewayConf, "data-dir DIR\n", "tun-up yes\ntun-route 10.0.0.0/8\n", 1))
	b.openDir()
	b.addTun("nat64", 2)
	p := b.launchFiltered(unix.SECCOMP_RET_KILL_PROCESS, []uintptr{unix.SYS_SOCKETPAIR}, "-u", "nobody")
	assert.Contains(t, p.Output(), ": a device that is deleted cannot be set up again\n")
	b.setUp(false, true)
	b.await(p, "tun-route: add 10.0.0.0/8 over device nat64: operation not permitted: not there since the device was down\n")
	assert.Equal(t, 1, strings.Count(p.Output(), "not permitted"), p.Output())
	require.NoError(t, p.Stop(patience))
}

func TestPrefixOf(t *testing.T) {
	for _, s := range []string{"10.0.0.0/8", "10.1.2.3/8", "2001:db8::1/64", "0.0.0.0/0", "::/0"} {
		p := netip.MustParsePrefix(s)
		assert.Equal(t, p, prefixOf(ipNet(p)))
	}
	assert.False(t, prefixOf(nil).IsValid())
}
