package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// Rules that the pages of docs/deploy load began with "flush ruleset", which deleted
// those of Docker and of iptables-nft. Now they can be loaded any number of times, and
// what others have made stays.
func TestRulesOfPages(t *testing.T) {
	pages, err := filepath.Glob("../../docs/deploy/*.md")
	require.NoError(t, err)
	fenced := regexp.MustCompile("(?s)```conf [a-z]+:/etc/([a-z0-9]+\\.nft)\n(.*?)```\n")
	host := netlab.New(t).Host("host")
	host.Nft(`table ip filter {
	chain DOCKER { ip daddr 172.17.0.2 accept; }
	chain FORWARD { type filter hook forward priority filter; policy drop; jump DOCKER; }
}
table ip nat { chain POSTROUTING { type nat hook postrouting priority srcnat; ip saddr 172.17.0.0/16 masquerade; }; }
table inet firewall { set hosts { type ipv4_addr; elements = { 192.0.2.1 }; }; }`)
	list := func() string {
		out, err := host.Command("nft", "list", "ruleset").CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	others := list()
	loaded := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, f := range fenced.FindAllStringSubmatch(string(text), -1) {
			path := filepath.Join(t.TempDir(), f[1])
			require.NoError(t, os.WriteFile(path, []byte(f[2]), 0o644))
			load := func() string {
				out, err := host.Command("nft", "-f", path).CombinedOutput()
				require.NoError(t, err, "%s: %s", page, out)
				return list()
			}
			once := load()
			assert.True(t, strings.HasPrefix(once, others), "%s:\n%s", page, once)
			assert.Greater(t, len(once), len(others), page)
			assert.Equal(t, once, load(), page)
			words := strings.Fields(f[2])
			out, err := host.Command("nft", append([]string{"delete"}, words[:3]...)...).CombinedOutput()
			require.NoError(t, err, "%s: %s", page, out)
			assert.Equal(t, others, list(), page)
			loaded++
		}
	}
	assert.Equal(t, 7, loaded)
}

// The example of docs/deploy/shared.md with a map, leases and a shared address side by side:
// each host has the address that the page says.
func TestMixedExample(t *testing.T) {
	page, err := os.ReadFile("../../docs/deploy/shared.md")
	require.NoError(t, err)
	_, section, _ := strings.Cut(string(page), "\n## Some guests with addresses of their own\n")
	_, lines, found := strings.Cut(section, "\n```\n")
	require.True(t, found)
	lines, _, _ = strings.Cut(lines, "```\n")

	v := newVillage(t, "tun-device nat64\nipv4-addr 198.51.100.8\nipv6-addr 2001:db8:1::64\nprefix 64:ff9b::/96\ndata-dir DIR\ntun-up yes\ntun-route 64:ff9b::/96\ntun-route 2001:db8:1::64\n"+lines)
	v.host.Route("2001:db8:1::/64", clientAddr, "")
	v.host.Route("2001:db8:2::/64", clientAddr, "")
	p := v.launch()
	l, err := v.server.Listen("tcp4", ":80")
	require.NoError(t, err)
	defer l.Close()
	for _, test := range []struct{ host, seen string }{
		{"2001:db8:1::90", "198.51.100.9/32"}, {"2001:db8:2::5", "198.51.100.16/28"}, {"2001:db8:2::6", "198.51.100.16/28"},
		{"2001:db8:1::5", "198.51.100.8/32"}, {"2001:db8:1::6", "198.51.100.8/32"},
	} {
		v.client.Addr("eth0", test.host+"/128")
		c, s, seen := v.seenFrom(test.host, l)
		roundTrip(t, c, s)
		assert.True(t, netip.MustParsePrefix(test.seen).Contains(seen.Addr()), "%s is seen as %s", test.host, seen)
		c.Close()
		s.Close()
	}
	require.NoError(t, p.Stop(patience))
}
