package gateway_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/gateway"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/pool"
	"github.com/steppe-nat64/steppe/translate"
)

const minimal = "tun-device nat64\nipv4-addr 192.0.2.1\nipv6-addr 2001:db8::1\nprefix 2001:db8:64::/96\n"

// start is where the clock of the pools begins.
var start = time.Unix(1_800_000_000, 0)

func confOf(t *testing.T, text string) *taygaconf.Config {
	t.Helper()
	c, problems := taygaconf.Read(strings.NewReader(text), "tayga.conf", nil)
	require.False(t, problems.Failed(), problems)
	return c
}

// install makes a gateway of minimal and more lines.
func install(t *testing.T, text string, change ...func(*gateway.Config)) *gateway.Gateway {
	t.Helper()
	c := gateway.Config{Conf: confOf(t, minimal+text), Now: start}
	for _, f := range change {
		f(&c)
	}
	g, err := gateway.Install(c)
	require.NoError(t, err)
	return g
}

// mapsOf reads the lines of a map-file.
func mapsOf(t *testing.T, text string) *taygaconf.MapFile {
	t.Helper()
	maps, problems := confOf(t, minimal).ReadMaps(strings.NewReader(text), "maps")
	require.Empty(t, problems)
	return &maps
}

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// TestBoundPools: the addresses of pools that are bound to the same prefix are leased
// together, and those that are bound to none; each pool serves its prefix in the table.
func TestBoundPools(t *testing.T) {
	g := install(t, `prefix 2001:db8:b::/96
dynamic-pool 10.1.0.0/24 via 2001:db8:b::/96
dynamic-pool 10.2.0.0/24
dynamic-pool 10.1.1.0/25 via 2001:db8:b::/96
map 10.1.0.7 2001:db8:7::7
`)
	pools := g.Pools()
	require.Len(t, pools, 2)
	assert.Equal(t, 255-1+127, pools[0].Stats().Size)
	assert.Equal(t, 255, pools[1].Stats().Size)
	assert.Equal(t, 255-1+127+255, g.Stats().Leases.Size)
	assert.ElementsMatch(t, []translate.Pool{
		{Pref64: prefix("2001:db8:b::/96"), Prefixes: []netip.Prefix{prefix("10.1.0.0/24"), prefix("10.1.1.0/25")}, Dynamic: pools[0].Pool},
		{Prefixes: []netip.Prefix{prefix("10.2.0.0/24")}, Dynamic: pools[1].Pool},
	}, slices.Collect(g.Stats().Table.Pools()))
}

// TestEventsOfAllPools: OnEvent is called with what happens in all pools.
func TestEventsOfAllPools(t *testing.T) {
	seen := make(map[netip.Addr]bool)
	g := install(t, "prefix 2001:db8:b::/96\ndynamic-pool 10.1.0.0/24 via 2001:db8:b::/96\ndynamic-pool 10.2.0.0/24\n",
		func(c *gateway.Config) { c.OnEvent = func(e pool.Event) { seen[e.Addr] = true } })
	for _, p := range g.Pools() {
		a, ok := p.Assign(addr("2001:db8:77::1").As16())
		assert.True(t, ok)
		assert.True(t, seen[netip.AddrFrom4(a)])
	}
	assert.Len(t, seen, 2)
}

// TestReloadEndsLeases: no address has a map and a lease, and no host has a map and a
// lease, in any pool; an address whose map has gone is leased again.
func TestReloadEndsLeases(t *testing.T) {
	g := install(t, "prefix 2001:db8:b::/96\ndynamic-pool 10.1.0.0/24 via 2001:db8:b::/96\ndynamic-pool 10.2.0.0/24\n")
	lease := func(i int, host string) netip.Addr {
		a, ok := g.Pools()[i].Assign(addr(host).As16())
		require.True(t, ok, host)
		return netip.AddrFrom4(a)
	}
	first := lease(0, "2001:db8:77::1")
	lease(0, "2001:db8:77::2")
	lease(1, "2001:db8:77::2")
	lease(1, "2001:db8:77::3")

	ended, err := g.Update(gateway.Changes{MapFile: mapsOf(t, "map "+first.String()+" 2001:db8:9::9\nmap 10.9.9.9 2001:db8:77::2\n")})
	require.NoError(t, err)
	assert.Equal(t, []gateway.Ended{{ByAddress: 1, ByHost: 1}, {ByHost: 1}}, ended)
	s := g.Stats()
	assert.Equal(t, 1, s.Leases.Held)
	assert.Equal(t, 509, s.Leases.Size)
	assert.Equal(t, gateway.Maps{MapFile: 2}, s.Maps)
	assert.Len(t, slices.Collect(s.Table.Maps()), 2)
	assert.True(t, g.Fixed(addr("2001:db8:77::2")))

	// A new MTU leaves maps and leases as they are.
	ended, err = g.Update(gateway.Changes{MTU: 1400})
	require.NoError(t, err)
	assert.Equal(t, make([]gateway.Ended, 2), ended)
	assert.Equal(t, s.Maps, g.Stats().Maps)

	_, err = g.Update(gateway.Changes{MapFile: mapsOf(t, "")})
	require.NoError(t, err)
	assert.Equal(t, 510, g.Stats().Leases.Size)
	assert.Equal(t, first, lease(0, "2001:db8:77::1"))
}

// TestNothingChangesOnError: tables, MTUs and leases are those of before.
func TestNothingChangesOnError(t *testing.T) {
	g := install(t, "dynamic-pool 10.2.0.0/24\n")
	a, ok := g.Pools()[0].Assign(addr("2001:db8:77::1").As16())
	require.True(t, ok)
	before := g.Stats()
	maps := mapsOf(t, "map "+netip.AddrFrom4(a).String()+" 2001:db8:9::9\n")
	for name, c := range map[string]gateway.Changes{
		"map":  {MapFile: &taygaconf.MapFile{Maps: []taygaconf.Map{maps.Maps[0], {Map: translate.Map{IPv4: prefix("2001:db8::/32"), IPv6: prefix("2001:db8::/32")}}}}},
		"mtu":  {MapFile: maps, MTU: 1279},
		"own4": {MapFile: maps, IPv4: addr("224.0.0.1")},
	} {
		_, err := g.Update(c)
		assert.Error(t, err, name)
		assert.Equal(t, before, g.Stats(), name)
	}
}

// TestOwnAddresses: a gateway that gets other addresses answers there, and no host has a
// lease on them.
func TestOwnAddresses(t *testing.T) {
	g := install(t, "dynamic-pool 10.2.0.0/24\n")
	host := addr("2001:db8:77::1")
	a, ok := g.Pools()[0].Assign(host.As16())
	require.True(t, ok)
	other, ok := g.Pools()[0].Assign(addr("2001:db8:77::2").As16())
	require.True(t, ok)
	ended, err := g.Update(gateway.Changes{IPv4: netip.AddrFrom4(a), IPv6: addr("2001:db8:77::2")})
	require.NoError(t, err)
	assert.Equal(t, []gateway.Ended{{ByAddress: 1, ByHost: 1}}, ended)
	_, ok = g.Pools()[0].Host(other)
	assert.False(t, ok)
	assert.True(t, g.Fixed(addr("2001:db8:77::2")))
	echo := packettest.IP(packettest.Header{Src: addr("198.51.100.1"), Dst: netip.AddrFrom4(a)}, packettest.EchoRequest(1, 2, nil))
	_, result := g.Worker(0).Append(0, nil, echo)
	assert.Equal(t, translate.Reply, result.Verdict)
}

// TestWorkers: a number names the same worker, and what it has counted stays.
func TestWorkers(t *testing.T) {
	g := install(t, "")
	w := g.Worker(1)
	assert.Same(t, w, g.Worker(1))
	assert.NotSame(t, w, g.Worker(0))
	w.Append(0, nil, []byte{0})
	g.Close()
	g.Close()
	assert.Equal(t, uint64(1), g.Stats().Packets.Count(translate.Outcome{
		Direction: translate.NoFamily, Result: translate.Result{Verdict: translate.Drop, Reason: translate.BadHeader}}).Packets)
}

// TestUpkeep: the first pass ends old leases, the others every 45 seconds.
func TestUpkeep(t *testing.T) {
	g := install(t, "dynamic-pool 10.2.0.0/24\ndynamic-pool-hold 60\n")
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	g.Upkeep(at(1))
	_, ok := g.Pools()[0].Assign(addr("2001:db8:77::1").As16())
	require.True(t, ok)
	g.Upkeep(at(46))
	g.Upkeep(at(90))
	assert.Equal(t, 1, g.Stats().Leases.Held)
	g.Upkeep(at(91))
	assert.Equal(t, 0, g.Stats().Leases.Held)
}

// TestUpdateWhileWorkersRun: what is not the worker's own may change at any time.
func TestUpdateWhileWorkersRun(t *testing.T) {
	g := install(t, "dynamic-pool 10.2.0.0/24\n")
	packet := packettest.IP(packettest.Header{Src: addr("2001:db8:77::1"), Dst: addr("2001:db8:64::198.51.100.1")}, packettest.UDP(1, 2, nil))
	stop, ended := make(chan struct{}), make(chan uint64)
	for i := range 2 {
		go func() {
			w, n := g.Worker(i), uint64(0)
			for {
				select {
				case <-stop:
					ended <- n
					return
				default:
					w.Append(0, nil, packet)
					n++
				}
			}
		}()
	}
	maps := []*taygaconf.MapFile{mapsOf(t, ""), mapsOf(t, "map 10.9.9.9 2001:db8:77::1\n")}
	for i := range 100 {
		_, err := g.Update(gateway.Changes{MapFile: maps[i%2], MTU: 1400 + i})
		require.NoError(t, err)
		g.Upkeep(start.Add(time.Duration(i) * time.Second))
		g.Stats()
	}
	close(stop)
	n := <-ended + <-ended
	_, err := g.Update(gateway.Changes{MapFile: maps[1]})
	require.NoError(t, err)
	g.Close()
	assert.Equal(t, n, g.Stats().Packets.Count(translate.Outcome{
		Direction: translate.V6ToV4, Result: translate.Result{Verdict: translate.Forward, Reason: translate.Translated},
	}).Packets)
	assert.Zero(t, g.Stats().Leases.Held, "the last maps have the host")
}
