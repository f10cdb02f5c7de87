package labtest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
	"github.com/steppe-nat64/steppe/internal/test/testbed"
)

// The ends of a tunnel, on the IPv4 host and on the IPv6 host. The MTU is such that
// packets with and without DF fit the device, and those without DF have to be cut.
var (
	tunnel4 = []netip.Addr{addr("10.5.0.4"), addr("10.5.0.6")}
	tunnel6 = []netip.Addr{addr("fd00:5::4"), addr("fd00:5::6")}
)

const (
	tunnelMTU  = 1300
	tunnelPort = 5001
)

// TestTunnels: TCP passes whole, in both directions, through tunnels whose outer
// packets the binary translates. Since Linux 6.17 the kernel leaves the inner
// checksum to a TUN device: ping passed, and all TCP was dropped as bad-offload. The fast
// path has to leave such packets to the daemon.
func TestTunnels(t *testing.T) {
	tayga := buildTayga(t)
	for _, c := range []struct {
		name      string
		four, six string // what ip link add needs, on the IPv4 host and on the IPv6 host
		ends      [][]netip.Addr
	}{
		{"vxlan", "vxlan id 5 dstport 4789 udpcsum", "vxlan id 5 dstport 4789", [][]netip.Addr{tunnel4, tunnel6}},
		{"vxlan-without-checksum", "vxlan id 5 dstport 4789 noudpcsum", "vxlan id 5 dstport 4789", [][]netip.Addr{tunnel4, tunnel6}},
		{"vxlan-df", "vxlan id 5 dstport 4789 udpcsum df set", "vxlan id 5 dstport 4789", [][]netip.Addr{tunnel4, tunnel6}},
		{"geneve", "geneve id 5 udpcsum", "geneve id 5", [][]netip.Addr{tunnel4, tunnel6}},
		{"ipip", "ipip", "ip6tnl mode ipip6", [][]netip.Addr{tunnel4}},
		{"6in4", "sit", "ip6tnl mode ip6ip6", [][]netip.Addr{tunnel6}},
		{"gre", "gre", "ip6gre", [][]netip.Addr{tunnel4, tunnel6}},
	} {
		for name, lines := range map[string][]string{
			"offload=yes":               {"offload yes"},
			"offload=no":                {"offload no"},
			"offload=yes/fast-path=off": {"offload yes", testbed.FastOff},
		} {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				b, err := testbed.Open(tayga, "203.0.113.0/24", append(lines, "udp-cksum-mode calc")...)
				require.NoError(t, err)
				defer b.Close()
				addTunnel(t, b.Server, c.four, testbed.Server4, testbed.Service4)
				addTunnel(t, b.Client, c.six, testbed.Service6, testbed.ServerIn6)
				require.NoError(t, b.Start())
				for _, ends := range c.ends {
					through(t, b, ends[0], ends[1])
				}
				counts, err := b.Counts()
				require.NoError(t, err)
				assert.Zero(t, counts.Sum("bad-offload"), "%v", counts.By)
				on := !slices.Contains(lines, testbed.FastOff)
				assert.Equal(t, on, counts.Fast.On)
				assert.Equal(t, on, counts.LeftByKernel > 0)
				if name != "offload=no" && strings.HasPrefix(c.name, "vxlan") && c.name != "vxlan-df" {
					assert.NotZero(t, counts.Sum("4to6", "split"), "packets without DF are cut: %v", counts.By)
				}
				require.NoError(t, b.Stop())
			})
		}
	}
}

// addTunnel makes one end of a tunnel. It skips the test if the kernel has no such
// tunnel.
func addTunnel(t *testing.T, h *netlab.Host, kind string, local, remote netip.Addr) {
	t.Helper()
	args := "link add tunnel mtu " + fmt.Sprint(tunnelMTU) + " type " + kind + " remote " + remote.String()
	if !strings.HasPrefix(kind, "geneve") {
		args += " local " + local.String()
	} else if local.Is6() { // its source is that of the route
		h.AddRoute(netlab.Route{Dst: remote.String(), Via: "2001:db8:c::1", Src: local.String()})
	}
	if out, err := h.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		if strings.Contains(string(out), "Unknown device type") {
			t.Skipf("this kernel has no tunnels of type %s", strings.Fields(kind)[0])
		}
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}

// through transfers data over connections opened from either end of the tunnel.
func through(t *testing.T, b *testbed.Bed, four, six netip.Addr) {
	t.Helper()
	bits := 24
	if four.Is6() {
		bits = 64
	}
	b.Server.Addr("tunnel", netip.PrefixFrom(four, bits).String())
	b.Client.Addr("tunnel", netip.PrefixFrom(six, bits).String())
	b.Server.Up("tunnel")
	b.Client.Up("tunnel")
	require.NoError(t, b.Err())
	for _, c := range []struct {
		server, client *netlab.Host
		to, from       netip.Addr
	}{{b.Server, b.Client, four, six}, {b.Client, b.Server, six, four}} {
		_, err := c.server.ServeTransfers(at(c.to, tunnelPort))
		require.NoError(t, err)
		_, err = c.client.Ping(c.to, netlab.Echo{Size: 1000, Timeout: patience})
		require.NoError(t, err)
		up, err := c.client.Upload(at(c.to, tunnelPort), transferSize, patience)
		require.NoError(t, err)
		assert.Equal(t, c.from, up.SeenAs.Addr())
		_, err = c.client.Download(at(c.to, tunnelPort), transferSize, patience)
		require.NoError(t, err)
	}
}
