package gateway_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/gateway"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// sent translates a packet of UDP at some second and returns the new source and
// destination, or the reason why it was refused.
func sent(g *gateway.Gateway, second int, src, dst string, sport, dport uint16) (from, to string, why translate.Reason) {
	in := packettest.IP(packettest.Header{Src: addr(src), Dst: addr(dst)}, packettest.UDP(sport, dport, nil))
	out, r := g.Worker(0).Append(time.Duration(second)*time.Second, nil, in)
	if r.Verdict != translate.Forward {
		return "", "", r.Reason
	}
	at, ports := func(i, n int) netip.Addr { a, _ := netip.AddrFromSlice(out[i : i+n]); return a }, 20
	a, b := at(12, 4), at(16, 4)
	if out[0]>>4 == 6 {
		a, b, ports = at(8, 16), at(24, 16), 40
	}
	port := func(i int) uint16 { return uint16(out[ports+i])<<8 | uint16(out[ports+i+1]) }
	return netip.AddrPortFrom(a, port(0)).String(), netip.AddrPortFrom(b, port(2)).String(), r.Reason
}

// TestSharedBesideOthers: a host with a map keeps that, a client of the dynamic pool leases
// an address or none, and all others share one.
func TestSharedBesideOthers(t *testing.T) {
	g := install(t, `map 10.1.0.7 2001:db8:7::7
dynamic-pool 10.2.0.0/31
dynamic-pool-clients 2001:db8:77::/64
stateful-pool 203.0.113.1
`)
	const server = "2001:db8:64::198.51.100.1"
	from, _, _ := sent(g, 1, "2001:db8:7::7", server, 1000, 53)
	assert.Equal(t, "10.1.0.7:1000", from)
	from, _, _ = sent(g, 1, "2001:db8:77::1", server, 1000, 53)
	assert.Equal(t, "10.2.0.1:1000", from)
	_, _, why := sent(g, 1, "2001:db8:77::2", server, 1000, 53)
	assert.Equal(t, translate.NoSource, why, "a client never shares an address, which would be another one later")
	from, _, _ = sent(g, 1, "2001:db8:78::1", server, 1000, 53)
	shared := netip.MustParseAddrPort(from)
	assert.Equal(t, "203.0.113.1", shared.Addr().String())
	_, to, _ := sent(g, 1, "198.51.100.1", "203.0.113.1", 53, shared.Port())
	assert.Equal(t, "[2001:db8:78::1]:1000", to)
	assert.Equal(t, 1, g.Sessions().Stats().Sessions)
	assert.Nil(t, install(t, "").Sessions())
}

// TestSharedStaticPrefix: those who open a connection to a static binding are seen inside a
// prefix whose answers share the same address.
func TestSharedStaticPrefix(t *testing.T) {
	g := install(t, `prefix 2001:db8:b::/96
prefix 2001:db8:c::/96
stateful-pool 203.0.113.1 via 2001:db8:64::/96
stateful-pool 203.0.113.2
dynamic-pool 10.2.0.0/24 via 2001:db8:b::/96
stateful-map udp 203.0.113.1:53 [2001:db8:78::1]:5353
stateful-map udp 203.0.113.2:53 [2001:db8:78::2]:5353
`)
	for shared, want := range map[string]string{"203.0.113.1": "2001:db8:64::c633:6401", "203.0.113.2": "2001:db8:c::c633:6401"} {
		from, to, why := sent(g, 1, "198.51.100.1", shared, 4000, 53)
		require.Equal(t, translate.Translated, why)
		assert.Equal(t, "["+want+"]:4000", from)
		host := netip.MustParseAddrPort(to)
		from, _, _ = sent(g, 1, host.Addr().String(), want, host.Port(), 4000)
		assert.Equal(t, shared+":53", from)
	}
}

// TestSharedReload: a reload ends no session that the new map-file allows, and those that it
// does not. If the reload fails, nothing has changed.
func TestSharedReload(t *testing.T) {
	var events []string
	g := install(t, "stateful-pool 203.0.113.1\n", func(c *gateway.Config) {
		c.OnSession = func(e session.Event) { events = append(events, e.Kind.String()+" "+e.Addr.String()) }
	})
	const server = "2001:db8:64::198.51.100.1"
	first, _, _ := sent(g, 1, "2001:db8:78::1", server, 1000, 53)
	bindings := func(text string) *taygaconf.MapFile {
		f, problems := confOf(t, minimal+"stateful-pool 203.0.113.1\n").ReadMaps(strings.NewReader(text), "maps")
		require.Empty(t, problems)
		return &f
	}
	update := func(second int, f *taygaconf.MapFile) {
		_, err := g.Update(gateway.Changes{MapFile: f, Now: time.Duration(second) * time.Second})
		require.NoError(t, err)
	}
	one, two := "stateful-map udp 203.0.113.1:53 [2001:db8:78::2]:5353\n", "stateful-map udp 203.0.113.1:54 [2001:db8:78::2]:5454\n"
	update(2, bindings(one+two))
	assert.Equal(t, gateway.Bindings{MapFile: 2}, g.Stats().Static)
	_, to, _ := sent(g, 3, "198.51.100.1", "203.0.113.1", 4000, 54)
	assert.Equal(t, "[2001:db8:78::2]:5454", to)
	again, _, _ := sent(g, 3, "2001:db8:78::1", server, 1000, 53)
	assert.Equal(t, first, again)

	_, err := g.Update(gateway.Changes{MapFile: bindings(one), IPv4: addr("224.0.0.1"), Now: 4 * time.Second})
	require.Error(t, err)
	assert.Equal(t, gateway.Bindings{MapFile: 2}, g.Stats().Static)
	_, to, _ = sent(g, 4, "198.51.100.2", "203.0.113.1", 4000, 54)
	assert.Equal(t, "[2001:db8:78::2]:5454", to)

	update(5, bindings(one))
	_, _, why := sent(g, 5, "198.51.100.1", "203.0.113.1", 4000, 54)
	assert.Equal(t, translate.NoBinding, why)
	again, _, _ = sent(g, 5, "2001:db8:78::1", server, 1000, 53)
	assert.Equal(t, first, again)
	assert.Contains(t, events, "binding-made "+first)
	assert.Contains(t, events, "binding-ended 203.0.113.1:54")
	assert.NotContains(t, events, "binding-ended "+first)
}

// TestSharedExpire: sessions end by Expire, with the time of the workers.
func TestSharedExpire(t *testing.T) {
	g := install(t, "stateful-pool 203.0.113.1\n")
	for port := range uint16(500) {
		sent(g, 1, "2001:db8:78::1", "2001:db8:64::198.51.100.1", 2000+port, 53)
	}
	g.Expire(300 * time.Second)
	assert.Equal(t, 500, g.Sessions().Stats().Sessions)
	for second := range 4 {
		g.Expire(time.Duration(301+second) * time.Second)
	}
	assert.Zero(t, g.Sessions().Stats().Sessions)
	install(t, "").Expire(time.Second)
}
