package clattest

import (
	"fmt"
	"testing"
	"time"
)

// TestAdvertised has the prefix by a router advertisement, and does what programs do, with the
// kernel translating plain packets and with the daemon translating all.
func TestAdvertised(t *testing.T) {
	for _, fast := range []string{"auto", "off"} {
		t.Run("fast-path="+fast, func(t *testing.T) {
			t.Parallel()
			x := newLab(t, wellKnown)
			ra := advertise(t, x.router, "lan0", "")
			ra.say(slaac(lan0), pref64(wellKnown))
			x.configured("eth0", lan0)
			before := x.take(x.host)
			var args []string
			if fast == "off" {
				args = x.conf("fast-path off\n")
			}
			c := x.run(args...)
			x.works("router advertisement", ra.since(c.begin), pool(1))
			x.programs(t, x.host)
			x.noChecksum()
			t.Logf("%s", c.status())
			c.stop()
			x.same(x.host, before)
		})
	}
}

// TestBoot starts the CLAT on a link that has no router yet, with the kernel's own duplicate
// address detection: its second overlaps with that of the CLAT.
func TestBoot(t *testing.T) {
	t.Parallel()
	x := newLab(t, wellKnown)
	for _, conf := range []string{"all", "eth0"} {
		x.host.Sysctl("net.ipv6.conf."+conf+".accept_dad", "1")
	}
	x.host.Sysctl("net.ipv6.conf.eth0.dad_transmits", "1")
	c := x.run()
	c.awaitStart()
	ra := advertise(t, x.router, "lan0", "")
	x.works("first router advertisement", ra.say(slaac(lan0), pref64(wellKnown)), pool(1))
	c.stop()
}

// TestLengths has prefixes of all lengths.
func TestLengths(t *testing.T) {
	t.Parallel()
	prefixes := []string{"3fff:32::/32", "3fff:40:4000::/40", "3fff:48:48::/48", "3fff:56:56:5600::/56", "3fff:64:64:64::/64", wellKnown}
	x := newLab(t, prefixes...)
	ra := advertise(t, x.router, "lan0", "")
	for i, p := range prefixes {
		ra.say(slaac(lan0), pref64(p))
		x.configured("eth0", lan0)
		c := x.run()
		x.works(p, ra.since(c.begin), pool(i+1))
		c.stop()
		ra.say(slaac(lan0), pref64For(p, 0))
	}
}

// TestNames has the prefix by DNS: from the resolver that radvd advertises, and from the one of
// resolv.conf.
func TestNames(t *testing.T) {
	t.Run("bind-radvd", func(t *testing.T) {
		t.Parallel()
		x := newLab(t, wellKnown)
		x.bind(wellKnown)
		x.radvd()
		x.configured("eth0", lan0)
		before := x.take(x.host)
		c := x.run()
		x.works("start", c.begin, pool(1))
		x.programs(t, x.host)
		c.stop()
		x.same(x.host, before)
	})
	t.Run("unbound-resolv.conf", func(t *testing.T) {
		t.Parallel()
		x := newLab(t, wellKnown)
		x.unbound(wellKnown)
		x.resolver(x.host, resolver6)
		advertise(t, x.router, "lan0", "").say(slaac(lan0))
		x.configured("eth0", lan0)
		c := x.run()
		x.works("start", c.begin, pool(1))
		c.stop()
	})
	for bits, addrs := range map[int][]string{
		32: {"3fff:32:c000:aa::", "3fff:32:c000:ab::"},
		40: {"3fff:40:40c0:0:aa::", "3fff:40:40c0:0:ab::"},
		48: {"3fff:48:48:c000:0:aa00::", "3fff:48:48:c000:0:ab00::"},
		56: {"3fff:56:56:56c0:0:aa::", "3fff:56:56:56c0:0:ab::"},
		64: {"3fff:64:64:64:c0:0:aa00:0", "3fff:64:64:64:c0:0:ab00:0"},
		96: {"64:ff9b::c000:aa", "64:ff9b::c000:ab"},
	} {
		t.Run(fmt.Sprintf("length-%d", bits), func(t *testing.T) {
			t.Parallel()
			prefix := map[int]string{32: "3fff:32::/32", 40: "3fff:40:4000::/40", 48: "3fff:48:48::/48",
				56: "3fff:56:56:5600::/56", 64: "3fff:64:64:64::/64", 96: wellKnown}[bits]
			x := newLab(t, prefix)
			l := x.liar(300, addrs...)
			advertise(t, x.router, "lan0", "").say(slaac(lan0), rdnss(resolver6))
			x.configured("eth0", lan0)
			c := x.run()
			x.works("DNS answer", l.answered(t), pool(1))
			c.stop()
		})
	}
}

// TestFile has the prefix by a file, where neither router nor resolver knows one.
func TestFile(t *testing.T) {
	t.Parallel()
	x := newLab(t, wellKnown)
	advertise(t, x.router, "lan0", "").say(slaac(lan0))
	x.configured("eth0", lan0)
	before := x.take(x.host)
	c := x.run(x.conf("clat yes\nprefix 64:ff9b::/96\n")...)
	x.works("start", c.begin, pool(1))
	c.stop()
	x.same(x.host, before)
}

// awaitStart waits until the binary has started, and begins to look for a prefix.
func (c *clat) awaitStart() {
	c.x.t.Helper()
	c.says("Workers: ", 0)
}

// TestReachability has the router ask again and again whether the CLAT's address is still
// there: neighbour unreachability detection, RFC 4861 §7.3.
func TestReachability(t *testing.T) {
	t.Parallel()
	x := newLab(t, wellKnown)
	for _, s := range []struct{ key, value string }{{"base_reachable_time_ms", "200"}, {"delay_first_probe_time", "0"}, {"retrans_time_ms", "100"}} {
		x.router.Sysctl("net/ipv6/neigh/lan0/"+s.key, s.value)
	}
	ra := advertise(t, x.router, "lan0", "")
	ra.say(slaac(lan0), pref64(wellKnown))
	x.configured("eth0", lan0)
	c := x.run()
	x.works("router advertisement", ra.since(c.begin), pool(1))
	x.noLoss(3 * time.Second)
	c.stop()
}
