package clattest

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/dnstest"
	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// embed puts the server's address into a prefix of 96 bits.
func embed(prefix string) netip.Addr {
	a := netip.MustParsePrefix(prefix).Addr().As16()
	b := server4.As4()
	copy(a[12:], b[:])
	return netip.AddrFrom16(a)
}

// TestLaboratory checks the test network itself: the host has IPv6 by the kernel's own
// configuration and reaches the server through the NAT64, and has no IPv4.
func TestLaboratory(t *testing.T) {
	t.Parallel()
	x := newLab(t, wellKnown)
	before := x.take(x.host)
	ra := advertise(t, x.router, "lan0", "")
	since := ra.say(slaac(lan0), pref64(wellKnown), rdnss(resolver6))
	x.configured("eth0", lan0)
	assert.Equal(t, since, ra.since(since))
	ra.silence()
	t.Logf("the host has an address after %v", time.Since(since).Round(time.Millisecond))

	_, err := x.host.Ping(embed(wellKnown), netlab.Echo{Timeout: 5 * time.Second})
	require.NoError(t, err)
	_, err = x.seenAs(x.host, oneTry)
	assert.Error(t, err, "the host must not have IPv4")

	x.bind(wellKnown)
	dig := program(t, "dig")
	out, err := x.host.Command(dig, "@"+resolver6, "+short", "ipv4only.arpa", "AAAA").CombinedOutput()
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"64:ff9b::c000:aa", "64:ff9b::c000:ab"}, strings.Fields(string(out)))

	now := x.take(x.host)
	x.host.Addr("eth0", "2001:db8:99::1/128")
	x.ip(x.host, "address del 2001:db8:99::1/128 dev eth0")
	x.same(x.host, now)
	diff := before.diff(now)
	assert.Contains(t, strings.Join(diff, "\n"), "+ route6: default via fe80:")
}

// TestResolvers checks the other resolvers and radvd.
func TestResolvers(t *testing.T) {
	t.Parallel()
	x := newLab(t)
	x.radvd()
	x.configured("eth0", lan0)
	ask := func(want ...string) {
		t.Helper()
		out, err := x.host.Command(program(t, "dig"), "@"+resolver6, "+short", "ipv4only.arpa", "AAAA").CombinedOutput()
		require.NoError(t, err)
		assert.ElementsMatch(t, want, strings.Fields(string(out)))
	}
	unbound := x.unbound(wellKnown)
	ask("64:ff9b::c000:aa", "64:ff9b::c000:ab")
	require.NoError(t, unbound.Stop(patience))

	l := x.liar(60, "2001:db8::1")
	begin := time.Now()
	ask("2001:db8::1")
	assert.True(t, l.answered(t).After(begin))
	l.says(dnstest.Always(60, "2001:db8::2"))
	ask("2001:db8::2")
}

// configured waits until the kernel has made an address of the prefix, and has a default
// route.
func (x *lab) configured(ifname, prefix string) {
	x.t.Helper()
	p := netip.MustParsePrefix(prefix)
	var out []byte
	ok := eventually(x.t, nil, func() bool {
		out, _ = x.host.Command(program(x.t, "ip"), "-6", "-o", "address", "show", "dev", ifname, "scope", "global").Output()
		for line := range strings.Lines(string(out)) {
			words := strings.Fields(line)
			if len(words) < 4 || strings.Contains(line, "tentative") {
				continue
			}
			if a, err := netip.ParsePrefix(words[3]); err == nil && p.Contains(a.Addr()) {
				routes, _ := x.host.Command(program(x.t, "ip"), "-6", "route", "show", "default", "dev", ifname).Output()
				return len(routes) > 0
			}
		}
		return false
	})
	require.True(x.t, ok, "%s has no address of %s, or no default route: %s", ifname, prefix, out)
}

// TestByHand does by hand, with a tayga.conf, what the CLAT does by itself: what does not work
// here is a fault of the laboratory or of the translator.
func TestByHand(t *testing.T) {
	t.Parallel()
	x := newLab(t, wellKnown)
	advertise(t, x.router, "lan0", "").say(slaac(lan0))
	x.configured("eth0", lan0)
	x.host.Sysctl("net.ipv6.conf.eth0.accept_ra", "2")
	x.host.Sysctl("net.ipv6.conf.all.forwarding", "1")
	x.host.Sysctl("net.ipv6.conf.eth0.proxy_ndp", "1")
	x.ip(x.host, "neighbour add proxy 2001:db8:1::c1a7 dev eth0")
	args := x.conf(`status-socket no
tun-device clat
tun-up yes
ipv4-addr 192.0.0.2
prefix 64:ff9b::/96
map 192.0.0.1 2001:db8:1::c1a7
tun-ip 192.0.0.1
tun-route 2001:db8:1::c1a7
udp-cksum-mode calc
`)
	p, err := x.host.Launch(tayga(t), append(args, "-d")...)
	require.NoError(t, err)
	x.logAtFailure("tayga", p)
	awaitLine(t, p, "Workers: ", 0)
	require.NoError(t, x.host.WaitRunning("clat", patience))
	x.ip(x.host, "route add default dev clat src 192.0.0.1 mtu 1472")
	x.works("route", time.Now(), pool(1))
	x.programs(t, x.host)
	x.noChecksum()
	x.noLoss(100 * time.Millisecond)
	x.open().alive("a connection")
	require.NoError(t, p.Stop(patience))
	x.broken("end", time.Now())
}
