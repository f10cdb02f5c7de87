package clattest

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/ndp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/dnstest"
)

const (
	otherPrefix = "3fff:64::/96"
	renumbered  = "2001:db8:3::/64" // of the first link, later
)

// native4 has the addresses of the first link, where it has IPv4.
var native4 = netip.MustParsePrefix("198.18.0.0/24")

// advertised is a laboratory in which the CLAT runs by an advertised prefix.
func advertised(t *testing.T, args ...string) (*lab, *advertiser, *clat) {
	t.Helper()
	x := newLab(t, wellKnown, otherPrefix)
	ra := advertise(t, x.router, "lan0", "")
	ra.say(slaac(lan0), pref64(wellKnown))
	x.configured("eth0", lan0)
	c := x.run(args...)
	x.works("router advertisement", ra.since(c.begin), pool(1))
	return x, ra, c
}

// TestPrefixes changes the prefix, withdraws it, has several and one whose lifetime ends.
func TestPrefixes(t *testing.T) {
	t.Parallel()
	x, ra, c := advertised(t)
	x.works("another prefix", ra.say(slaac(lan0), pref64For(wellKnown, 0), pref64(otherPrefix)), pool(2))
	x.broken("prefix withdrawn", ra.say(slaac(lan0), pref64For(otherPrefix, 0)))
	x.works("prefix again", ra.say(slaac(lan0), pref64(wellKnown)), pool(1))
	// The second does not take the place of the first while that is there.
	ra.say(slaac(lan0), pref64(otherPrefix), pref64(wellKnown))
	x.noLoss(500 * time.Millisecond)
	seen, err := x.seenAs(x.host, 5*time.Second)
	require.NoError(t, err)
	assert.True(t, pool(1).Contains(seen), "%v", seen)
	x.works("the first of two withdrawn", ra.say(slaac(lan0), pref64For(wellKnown, 0)), pool(2))
	// A lifetime of 8 s is the shortest that there is.
	since := ra.say(slaac(lan0), pref64For(otherPrefix, 8*time.Second))
	ra.silence()
	x.broken("lifetime of 8 s", since)
	c.stop()
}

// TestFlapping withdraws the prefix and brings it again, many times.
func TestFlapping(t *testing.T) {
	t.Parallel()
	x, ra, c := advertised(t)
	before := c.cpu()
	for i := range 200 {
		ra.say(slaac(lan0), pref64For([]string{wellKnown, otherPrefix}[i%2], 0), pref64([]string{otherPrefix, wellKnown}[i%2]))
		time.Sleep(tick)
	}
	x.works("a prefix that flaps", time.Now(), shared4)
	x.quiet(c, before, 2*time.Second)
	c.stop()
}

// TestUplinks takes the uplink down and up, renumbers it and replaces it.
func TestUplinks(t *testing.T) {
	t.Parallel()
	x, ra, c := advertised(t)
	before := x.take(x.host)

	x.host.Down("eth0")
	x.broken("uplink down", time.Now())
	since := time.Now()
	x.host.Up("eth0")
	x.works("uplink up", since, pool(1))

	x.router.Addr("lan0", "2001:db8:3::1/64")
	since = ra.say(slaacFor(lan0, 0, 0), slaac(renumbered), pref64(wellKnown))
	x.works("renumbered", since, pool(1))
	c.livesIn(renumbered)
	x.works("address of the new prefix", since, pool(1))
	require.NotEmpty(t, before.diff(x.take(x.host)))

	x.link("eth1", "lan1", lan1)
	next := advertise(t, x.router, "lan1", "")
	ra.sayFor(0, pref64For(wellKnown, 0))
	x.works("another uplink", next.say(slaac(lan1), pref64(otherPrefix)), pool(2))
	x.host.Delete("eth0")
	x.works("the first uplink deleted", time.Now(), pool(2))
	c.stop()
}

// TestNative has the first link get IPv4 and lose it.
func TestNative(t *testing.T) {
	t.Parallel()
	x, _, c := advertised(t)
	before := x.take(x.host)
	s := x.open()
	s.alive("before")
	x.works("native IPv4", x.native(), native4)
	s.alive("beside native IPv4")
	x.works("native IPv4 gone", x.nativeGone(), pool(1))
	s.alive("after native IPv4")
	x.same(x.host, before)
	c.stop()
}

// native gives the host IPv4 as DHCP does.
func (x *lab) native() time.Time {
	x.t.Helper()
	x.router.Addr("lan0", "198.18.0.1/24")
	since := time.Now()
	x.ip(x.host, "address add 198.18.0.2/24 dev eth0")
	x.ip(x.host, "route add default via 198.18.0.1 dev eth0 metric 100")
	return since
}

// nativeGone takes it away again.
func (x *lab) nativeGone() time.Time {
	x.t.Helper()
	since := time.Now()
	x.ip(x.host, "route del default via 198.18.0.1 dev eth0")
	x.ip(x.host, "address del 198.18.0.2/24 dev eth0")
	return since
}

// TestResolverChange has another resolver, which knows another prefix.
func TestResolverChange(t *testing.T) {
	t.Parallel()
	x := newLab(t, wellKnown, otherPrefix)
	l := x.liar(3600, "64:ff9b::c000:aa", "64:ff9b::c000:ab")
	x.resolver(x.host, resolver6)
	advertise(t, x.router, "lan0", "").say(slaac(lan0))
	x.configured("eth0", lan0)
	c := x.run()
	x.works("DNS answer", l.answered(t), pool(1))

	x.router.Addr("lan0", "2001:db8:1::53/64")
	l.says(dnstest.Always(3600, "3fff:64::c000:aa", "3fff:64::c000:ab"))
	second, err := x.router.ListenPacket("udp", "[2001:db8:1::53]:53")
	require.NoError(t, err)
	go l.ServePacket(second)
	since := time.Now()
	x.resolver(x.host, "2001:db8:1::53")
	x.works("another resolver", since, pool(2))
	c.stop()
}

// TestSuspended changes the network while the machine sleeps: the daemon does not run.
func TestSuspended(t *testing.T) {
	t.Parallel()
	x, ra, c := advertised(t)
	c.signal(syscall.SIGSTOP)
	ra.say(slaac(lan0), pref64For(wellKnown, 0), pref64(otherPrefix))
	since := time.Now()
	c.signal(syscall.SIGCONT)
	x.works("awake, another prefix", since, pool(2))
	c.stop()
}

// A change of the network, and what is true once it was followed.
type networkChange struct {
	name string
	do   func(x *lab, ra *advertiser) time.Time
	from netip.Prefix
	home string // where the address of the CLAT is then
}

// networkChanges follow each other.
var networkChanges = []networkChange{
	{"prefix", func(x *lab, ra *advertiser) time.Time {
		return ra.say(slaac(lan0), pref64For(wellKnown, 0), pref64(otherPrefix))
	}, pool(2), lan0},
	{"address", func(x *lab, ra *advertiser) time.Time {
		x.router.Addr("lan0", "2001:db8:3::1/64")
		return ra.say(slaacFor(lan0, 0, 0), slaac(renumbered), pref64(otherPrefix))
	}, pool(2), renumbered},
	{"native-up", func(x *lab, _ *advertiser) time.Time { return x.native() }, native4, renumbered},
	{"native-gone", func(x *lab, _ *advertiser) time.Time { return x.nativeGone() }, pool(2), renumbered},
	{"uplink", func(x *lab, ra *advertiser) time.Time {
		x.link("eth1", "lan1", lan1)
		next := advertise(x.t, x.router, "lan1", "")
		ra.sayFor(0, pref64For(otherPrefix, 0))
		return next.say(slaac(lan1), pref64(wellKnown))
	}, pool(1), lan1},
}

// TestWalk makes every change in every state, and after each compares the whole host with what
// a fresh start gives.
func TestWalk(t *testing.T) {
	for _, state := range []string{"idle", "open", "suspended"} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			x, ra, c := advertised(t)
			for _, change := range networkChanges {
				if state == "open" {
					x.open().alive(change.name)
				}
				if state == "suspended" {
					c.signal(syscall.SIGSTOP)
				}
				since := change.do(x, ra)
				if state == "suspended" {
					since = time.Now()
					c.signal(syscall.SIGCONT)
				}
				x.works(change.name, since, change.from)
				c.livesIn(change.home)
				c.settled()
				followed := x.take(x.host)
				c.stop()
				c = x.run()
				x.works("fresh start", c.begin, change.from)
				c.settled()
				var diff []string
				ok := eventually(t, c.proc, func() bool {
					diff = followed.diff(x.take(x.host))
					return len(diff) == 0
				})
				require.True(t, ok, "after %s the host is not as after a fresh start:\n%s", change.name, strings.Join(diff, "\n"))
			}
			c.stop()
		})
	}
}

// TestLifetimes has the router's own lifetime end, which withdraws what it has advertised.
func TestLifetimes(t *testing.T) {
	t.Parallel()
	x, ra, c := advertised(t)
	x.broken("the router is none any more", ra.sayFor(0, slaac(lan0), pref64For(wellKnown, 0)))
	x.works("the router is back", ra.say(slaac(lan0), pref64(wellKnown)), pool(1))
	c.stop()
}

// TestRogue has a neighbour that advertises prefixes of its own, again and again, beside the
// router: the router's stays.
func TestRogue(t *testing.T) {
	t.Parallel()
	x, _, c := advertised(t)
	x.router.Addr("lan0", "fe80::bad/64")
	rogue := advertise(t, x.router, "lan0", ndp.Addr("fe80::bad"))
	before := c.cpu()
	for i := range 300 {
		rogue.sayFor(0, pref64(fmt.Sprintf("3fff:%x::/96", 0x100+i)))
	}
	x.noLoss(time.Second)
	seen, err := x.seenAs(x.host, 5*time.Second)
	require.NoError(t, err)
	assert.True(t, pool(1).Contains(seen), "%v", seen)
	x.quiet(c, before, 2*time.Second)
	c.stop()
}
