package labtest

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
	"github.com/steppe-nat64/steppe/internal/test/testbed"
	"github.com/steppe-nat64/steppe/translate"
)

// TestVia: a host reaches the same IPv4 server under two prefixes at the same time
// by everything that it has, by an address of its own for each, which it has again
// when the binary has been restarted.
func TestVia(t *testing.T) {
	const second = "2001:db8:65::/96"
	b, err := testbed.Open(buildTayga(t), "203.0.113.0/24",
		"prefix "+second, "tun-route "+second,
		"dynamic-pool 192.0.2.128/26 via "+second,
		"log dyn")
	require.NoError(t, err)
	defer b.Close()
	require.NoError(t, b.Start())

	ways := []struct {
		name           string
		prefix, leased netip.Prefix
		file           string
	}{
		{"first", testbed.Prefix, netip.MustParsePrefix("203.0.113.0/24"), "dynamic.map"},
		{"second", netip.MustParsePrefix(second), netip.MustParsePrefix("192.0.2.128/26"), "dynamic-192.0.2.128_26.map"},
	}
	in := func(p netip.Prefix, v4 string) netip.Addr {
		a, err := translate.Embed(p, addr(v4))
		require.NoError(t, err)
		return a
	}
	// seen asks the server, at a port of its own, who speaks to it.
	server, err := b.Server.ListenPacket("udp4", ":5010")
	require.NoError(t, err)
	defer server.Close()
	seen := func(t *testing.T, p netip.Prefix) netip.Addr {
		t.Helper()
		var c *net.UDPConn
		require.NoError(t, b.Client.Do(func() (err error) {
			c, err = net.DialUDP("udp6", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(in(p, "198.51.100.2"), 5010)))
			return err
		}))
		defer c.Close()
		_, err := c.Write([]byte("who?"))
		require.NoError(t, err)
		server.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, from, err := server.ReadFrom(make([]byte, 64))
		require.NoError(t, err)
		return netip.MustParseAddrPort(from.String()).Addr()
	}

	begin := fastOf(t, b.Process)
	t.Run("at-once", func(t *testing.T) {
		for _, w := range ways {
			dst := in(w.prefix, "198.51.100.2")
			for name, run := range map[string]func(t *testing.T){
				"tcp": func(t *testing.T) {
					_, err := b.Client.Download(at(dst, 5000), 8<<20, time.Minute)
					require.NoError(t, err)
					_, err = b.Client.Upload(at(dst, 5000), 8<<20, time.Minute)
					require.NoError(t, err)
				},
				"udp": func(t *testing.T) {
					_, err := b.Client.UDPEcho(at(dst, 7), netlab.UDPEcho{Sizes: []int{0, 1, 100, 1400, 8000}, Attempts: 3})
					require.NoError(t, err)
				},
				"ping": func(t *testing.T) {
					for _, size := range []int{0, 56, 1400} {
						_, err := b.Client.Ping(dst, netlab.Echo{Size: size, Timeout: 10 * time.Second})
						require.NoError(t, err)
					}
				},
				"traceroute": func(t *testing.T) {
					for _, udp := range []bool{false, true} {
						hops, err := b.Client.Traceroute(dst, netlab.Trace{UDP: udp, Timeout: 10 * time.Second})
						require.NoError(t, err)
						assert.Equal(t, []netip.Addr{
							addr("2001:db8:c::1"), testbed.Tayga6, in(w.prefix, "198.51.100.1"), dst,
						}, addrs(hops), "hops inside the prefix that was asked about")
						assert.True(t, hops[len(hops)-1].Reached)
					}
				},
			} {
				t.Run(w.name+"/"+name, func(t *testing.T) {
					t.Parallel()
					run(t)
				})
			}
		}
	})

	assert.NoError(t, fastOf(t, b.Process).Since(begin).Awake(2*2*8<<20))

	before := make(map[string]netip.Addr)
	for _, w := range ways {
		before[w.name] = seen(t, w.prefix)
		assert.True(t, w.leased.Contains(before[w.name]), "%s: seen as %v", w.name, before[w.name])
	}
	require.NoError(t, b.Stop())
	for _, w := range ways {
		text, err := os.ReadFile(filepath.Join(b.DataDir, w.file))
		require.NoError(t, err)
		assert.Equal(t, 1, strings.Count(string(text), before[w.name].String()+"\t"+testbed.Client6.String()+"\t"), "%s holds %s", w.file, text)
	}

	require.NoError(t, b.Start())
	for _, w := range ways {
		assert.Equal(t, before[w.name], seen(t, w.prefix), w.name)
	}
	// The server speaks first, to an address of either pool.
	for _, w := range ways {
		_, err := b.Server.Ping(before[w.name], netlab.Echo{Size: 56, Timeout: 10 * time.Second})
		assert.NoError(t, err, w.name)
	}
	require.NoError(t, b.Stop())
}
