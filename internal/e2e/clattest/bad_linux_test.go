package clattest

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// TestNoPrefix has networks that name no prefix, or none that is one: the log has a sentence,
// the processor is at rest, and the host's own network is as it was.
func TestNoPrefix(t *testing.T) {
	for name, addrs := range map[string][]string{
		"no-dns64":      {},
		"one-missing":   {"64:ff9b::c000:aa"},
		"twice":         {"3fff:c000:aa::c000:aa", "3fff:c000:ab::c000:ab"},
		"no-well-known": {"64:ff9b::c000:2"},
		"length":        {"3fff:1:2:3:4:c000:aa:0", "3fff:1:2:3:4:c000:ab:0"},
		"multicast":     {"ff0e::c000:aa", "ff0e::c000:ab"},
		"own-network":   {"2001:db8:1::c000:aa", "2001:db8:1::c000:ab"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newLab(t)
			l := x.liar(60, addrs...)
			advertise(t, x.router, "lan0", "").say(slaac(lan0), rdnss(resolver6))
			x.configured("eth0", lan0)
			before := x.take(x.host)
			c := x.run()
			require.True(t, eventually(t, c.proc, func() bool { return len(l.Queries()) > 0 }))
			c.awaitStart()
			used := c.cpu()
			x.ownNetwork(time.Second)
			x.quiet(c, used, time.Second)
			_, err := x.seenAs(x.host, oneTry)
			assert.Error(t, err)
			t.Logf("%s", c.proc.Output())
			assert.Contains(t, strings.ToLower(c.proc.Output()), "prefix")
			c.stop()
			x.same(x.host, before)
		})
	}
}

// TestNoIPv6 has a host without any uplink, and one whose uplink comes later.
func TestNoIPv6(t *testing.T) {
	t.Parallel()
	x := newLab(t, wellKnown)
	x.host.Down("eth0")
	before := x.take(x.host)
	c := x.run()
	c.awaitStart()
	used := c.cpu()
	time.Sleep(time.Second) // what the processor does meanwhile is what the test is about
	x.quiet(c, used, time.Second)
	t.Logf("%s", c.proc.Output())
	ra := advertise(t, x.router, "lan0", "")
	ra.say(slaac(lan0), pref64(wellKnown))
	since := time.Now()
	x.host.Up("eth0")
	x.works("the first uplink", since, pool(1))
	since = time.Now()
	x.host.Down("eth0")
	x.broken("no uplink", since)
	c.stop()
	x.same(x.host, before)
}

// TestNoRights starts the CLAT as a user without rights: a sentence, at once.
func TestNoRights(t *testing.T) {
	t.Parallel()
	x := newLab(t)
	before := x.take(x.host)
	out, err := x.host.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", tayga(t), "--clat").CombinedOutput()
	require.Error(t, err)
	t.Logf("%s", out)
	assert.NotContains(t, string(out), "panic")
	assert.LessOrEqual(t, strings.Count(string(out), "\n"), 3, "%s", out)
	x.same(x.host, before)
}

// ownNetwork has the host use its own IPv6 all the time.
func (x *lab) ownNetwork(long time.Duration) {
	x.t.Helper()
	for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		_, err := x.host.Ping(netip.MustParseAddr(resolver6), netlab.Echo{Timeout: 5 * time.Second})
		require.NoError(x.t, err, "the host's own network")
	}
}

// quiet requires that the binary has used no more processor time than this since it had used
// some.
func (x *lab) quiet(c *clat, before, most time.Duration) {
	x.t.Helper()
	used := c.cpu() - before
	x.t.Logf("processor time: %v", used)
	assert.LessOrEqual(x.t, used, most, "processor time")
}
