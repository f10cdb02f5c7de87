package gateway_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/gateway"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

const clatConf = "clat yes\nprefix 64:ff9b::/96\n"

// clatOf is a CLAT with the prefix, none if that is empty.
func clatOf(pref64 string) *gateway.CLAT {
	c := &gateway.CLAT{Host4: addr("192.0.0.1"), Host6: addr("2001:db8:1::464"), IPv6: addr("2001:db8:1::2")}
	if pref64 != "" {
		c.Prefix = prefix(pref64)
	}
	return c
}

func installCLAT(t *testing.T, c *gateway.CLAT) *gateway.Gateway {
	t.Helper()
	g, err := gateway.Install(gateway.Config{Conf: confOf(t, clatConf), Now: start, CLAT: c})
	require.NoError(t, err)
	return g
}

func udp(src, dst string) []byte {
	return packettest.IP(packettest.Header{Src: addr(src), Dst: addr(dst), DF: true}, packettest.UDP(1, 2, []byte("x")))
}

// ends says how a packet leaves the gateway.
func ends(t *testing.T, g *gateway.Gateway, packet []byte) (verdict translate.Verdict, src, dst netip.Addr) {
	t.Helper()
	p, result := g.Worker(0).Append(0, nil, packet)
	if result.Verdict == translate.Drop {
		return result.Verdict, src, dst
	}
	at, n := 8, 16
	if p[0]>>4 == 4 {
		at, n = 12, 4
	}
	src, _ = netip.AddrFromSlice(p[at : at+n])
	dst, _ = netip.AddrFromSlice(p[at+n : at+2*n])
	return result.Verdict, src, dst
}

// TestCLATFollowsPrefix: the prefix of tayga.conf and that of before are not used any more, in
// either direction, whatever the length of the next.
func TestCLATFollowsPrefix(t *testing.T) {
	g := installCLAT(t, nil)
	list := []string{"64:ff9b::/96", "2001:db8:64::/96", "2001:db8:64:65::/64", "2001:db8:64:6500::/56", "2001:db8:6400::/48", "2001:db8:6400::/40", "2001:db9::/32", ""}
	for i, p := range list {
		_, err := g.Update(gateway.Changes{CLAT: clatOf(p)})
		require.NoError(t, err)
		for j, other := range list[:i] {
			server, err := translate.Embed(prefix(other), addr("9.9.1.2"))
			require.NoError(t, err)
			v, _, _ := ends(t, g, udp(server.String(), "2001:db8:1::464"))
			if p != "" && prefix(p).Contains(server) {
				continue // of a longer one
			}
			assert.NotEqual(t, translate.Forward, v, "%s after %s, %d", other, p, j)
		}
		v, src, dst := ends(t, g, udp("192.0.0.1", "9.9.1.2"))
		if p == "" {
			assert.Equal(t, translate.Reply, v)
			assert.Equal(t, addr("192.0.0.2"), src)
			continue
		}
		server, err := translate.Embed(prefix(p), addr("9.9.1.2"))
		require.NoError(t, err)
		assert.Equal(t, translate.Forward, v)
		assert.Equal(t, []netip.Addr{addr("2001:db8:1::464"), server}, []netip.Addr{src, dst})
		v, src, dst = ends(t, g, udp(server.String(), "2001:db8:1::464"))
		assert.Equal(t, translate.Forward, v)
		assert.Equal(t, []netip.Addr{addr("9.9.1.2"), addr("192.0.0.1")}, []netip.Addr{src, dst})
		assert.Equal(t, gateway.Maps{Config: 1}, g.Stats().Maps)
	}
}

// TestCLATWithoutPrefix: programs learn at once that IPv4 goes nowhere, and nothing leaves into
// the network: neither from an address that the translator has made up, nor to it.
func TestCLATWithoutPrefix(t *testing.T) {
	for name, c := range map[string]*gateway.CLAT{"at start": nil, "with addresses": clatOf("")} {
		g := installCLAT(t, c)
		p, result := g.Worker(0).Append(0, nil, udp("192.0.0.1", "9.9.1.2"))
		require.Equal(t, translate.Reply, result.Verdict, name)
		assert.Equal(t, []byte{192, 0, 0, 2, 192, 0, 0, 1, 3}, p[12:21], "Destination Unreachable, from the translator to the program")
		for _, server := range []string{"64:ff9b::909:102", "2001:db8:9::9"} {
			v, src, _ := ends(t, g, udp(server, "2001:db8:1::464"))
			assert.NotEqual(t, translate.Forward, v, name)
			assert.False(t, prefix("64:ff9b::/96").Contains(src), name)
		}
		assert.Zero(t, g.Stats().Maps, name)
	}
}

// TestCLATKeepsAddresses: no packet leaves with a source that is not the machine's, or with an
// address of 192.0.0.0/29: RFC 7335 §4. Those of containers without masquerading came from
// inside the prefix of the provider.
func TestCLATKeepsAddresses(t *testing.T) {
	for _, pref64 := range []string{"64:ff9b::/96", "2001:db8:64::/96"} {
		g := installCLAT(t, clatOf(pref64))
		for _, p := range [][2]string{
			{"172.17.0.2", "9.9.1.2"}, {"192.0.0.3", "9.9.1.2"}, {"9.9.9.9", "9.9.1.2"}, {"192.0.0.2", "9.9.1.2"},
			{"192.0.0.1", "192.0.0.3"}, {"192.0.0.1", "192.0.0.7"}, {"172.17.0.2", "192.0.0.5"},
		} {
			v, src, _ := ends(t, g, udp(p[0], p[1]))
			assert.NotEqual(t, translate.Forward, v, p)
			assert.False(t, src.Is6(), p)
		}
	}
}

// TestCLATErrors: what its own ICMPv6 errors come from is an address of the machine, or they
// are not sent. The address of tayga.conf is inside the prefix, where answers to it would go to
// another network.
func TestCLATErrors(t *testing.T) {
	tooFar := packettest.IP(packettest.Header{Src: addr("64:ff9b::909:102"), Dst: addr("2001:db8:1::464"), TTL: 1}, packettest.UDP(1, 2, nil))
	g := installCLAT(t, clatOf("64:ff9b::/96"))
	v, src, _ := ends(t, g, tooFar)
	assert.Equal(t, translate.Reply, v)
	assert.Equal(t, addr("2001:db8:1::2"), src)
	none := clatOf("64:ff9b::/96")
	none.IPv6 = netip.Addr{}
	_, err := g.Update(gateway.Changes{CLAT: none})
	require.NoError(t, err)
	v, _, _ = ends(t, g, tooFar)
	assert.Equal(t, translate.Drop, v)
}

// TestCLATRefused: what does not go together changes nothing.
func TestCLATRefused(t *testing.T) {
	good := clatOf("2001:db8:64::/96")
	for name, change := range map[string]func(c *gateway.CLAT){
		"length 95":             func(c *gateway.CLAT) { c.Prefix = prefix("2001:db8:64::/95") },
		"an IPv4 prefix":        func(c *gateway.CLAT) { c.Prefix = prefix("10.0.0.0/8") },
		"bits 64 to 71":         func(c *gateway.CLAT) { c.Prefix = prefix("2001:db8:64:0:100::/96") },
		"host inside":           func(c *gateway.CLAT) { c.Host6 = addr("2001:db8:64::464") },
		"own inside":            func(c *gateway.CLAT) { c.IPv6 = addr("2001:db8:64::1") },
		"one address for both":  func(c *gateway.CLAT) { c.IPv6 = c.Host6 },
		"one IPv4 for both":     func(c *gateway.CLAT) { c.Host4 = addr("192.0.0.2") },
		"another IPv4 for both": func(c *gateway.CLAT) { c.IPv4 = c.Host4 },
		"no host":               func(c *gateway.CLAT) { c.Host6 = netip.Addr{} },
		"no IPv4 host":          func(c *gateway.CLAT) { c.Host4 = netip.Addr{} },
		"families":              func(c *gateway.CLAT) { c.Host4, c.Host6 = c.Host6, c.Host4 },
		"own multicast":         func(c *gateway.CLAT) { c.IPv6 = addr("ff02::1") },
		"host multicast":        func(c *gateway.CLAT) { c.Host6 = addr("ff02::1") },
	} {
		bad := *good
		change(&bad)
		_, err := gateway.Install(gateway.Config{Conf: confOf(t, clatConf), Now: start, CLAT: &bad})
		assert.Error(t, err, name)
		g := installCLAT(t, good)
		_, err = g.Update(gateway.Changes{CLAT: &bad, MTU: 1400})
		assert.Error(t, err, name)
		v, src, _ := ends(t, g, udp("192.0.0.1", "9.9.1.2"))
		assert.Equal(t, translate.Forward, v, name)
		assert.Equal(t, good.Host6, src, name)
	}
	_, err := install(t, "").Update(gateway.Changes{CLAT: good})
	assert.Error(t, err, "no CLAT")
	_, err = installCLAT(t, good).Update(gateway.Changes{MapFile: &taygaconf.MapFile{}})
	assert.Error(t, err, "a map-file")
	for _, line := range []string{"map 10.0.0.1 2001:db8::9\n", "dynamic-pool 10.0.0.0/24\n", "stateful-pool 203.0.113.1\n", "hairpin simple\n"} {
		_, err := gateway.Install(gateway.Config{Conf: confOf(t, minimal+line), Now: start, CLAT: good})
		assert.Error(t, err, line)
	}
}

// TestCLATIsCopied: what the caller changes later has no effect.
func TestCLATIsCopied(t *testing.T) {
	c := clatOf("64:ff9b::/96")
	g := installCLAT(t, c)
	c.Prefix = prefix("2001:db8:64::/96")
	_, err := g.Update(gateway.Changes{CLAT: c})
	require.NoError(t, err)
	assert.Equal(t, []netip.Prefix{c.Prefix}, slices.Collect(g.Stats().Table.Prefixes()))
	was := c.Prefix
	c.Prefix = prefix("64:ff9b::/96")
	_, err = g.Update(gateway.Changes{CLAT: c})
	require.NoError(t, err)
	_, _, dst := ends(t, g, udp("192.0.0.1", "9.9.1.2"))
	assert.False(t, was.Contains(dst))
}
