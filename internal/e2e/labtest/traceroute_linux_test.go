package labtest

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// route6 is the way from near6 to near4. Behind the translator the hops are IPv4
// routers (the gateway first, in its other role), under their addresses in the
// prefix.
var route6 = []netip.Addr{
	addr("2001:db8:7::1"),   // r6a
	addr("2001:db8:0:2::1"), // r6b
	addr("2001:db8:0:1::1"), // the gateway
	tayga6,
	embed("198.51.100.1"), // the gateway
	embed("198.51.100.2"), // r4a
	embed("198.51.100.6"), // r4b
	near4.v6,
}

// route4 is the way back, as far as it is IPv4, and nodes4 the IPv6 addresses of
// the routers behind the translator.
var (
	route4 = []netip.Addr{
		addr("203.0.113.17"), // r4b
		addr("198.51.100.5"), // r4a
		addr("198.51.100.1"), // the gateway
		tayga4,
	}
	nodes4 = []netip.Addr{
		addr("2001:db8:0:1::1"), // the gateway
		addr("2001:db8:0:1::2"), // r6b
		addr("2001:db8:0:2::2"), // r6a
	}
)

// testTraceroute looks at the hops from both sides, by UDP and by echo requests.
func (x *lab) testTraceroute(t *testing.T) {
	for name, tr := range map[string]netlab.Trace{
		"udp":  {UDP: true, Size: 32},
		"echo": {Size: 32},
	} {
		t.Run("ipv6-asks/"+name, func(t *testing.T) {
			x.watch(t, func() {
				hops, err := x.near6.Traceroute(near4.v6, tr)
				require.NoError(t, err)
				assert.Equal(t, route6, addrs(hops))
				assert.True(t, hops[len(hops)-1].Reached)
			})
		})
		t.Run("ipv4-asks/"+name, func(t *testing.T) {
			var hops []netlab.Hop
			w := x.watch(t, func() {
				var err error
				hops, err = x.near4.Traceroute(near6.v4, tr)
				require.NoError(t, err)
			})
			x.checkHops4(t, addrs(hops))
			assert.True(t, hops[len(hops)-1].Reached)
			x.checkNodes(t, icmp(w.from4, timeExceeded4))
		})
	}
}

func addrs(hops []netlab.Hop) (list []netip.Addr) {
	for _, h := range hops {
		list = append(list, h.From)
	}
	return list
}

// checkHops4 checks what an IPv4 host sees of the way to near6. IPv6 routers
// appear under addresses of the pool, neighbours under different ones; without a
// pool all of them look like the translator.
func (x *lab) checkHops4(t *testing.T, got []netip.Addr) {
	t.Helper()
	n := len(route4)
	require.Len(t, got, n+len(nodes4)+1, "%v", got)
	assert.Equal(t, route4, got[:n])
	assert.Equal(t, near6.v4, got[len(got)-1])
	for i := n; i < len(got)-1; i++ {
		if x.mode.plainErrors {
			assert.Equal(t, tayga4, got[i], "hop %d", i+1)
			continue
		}
		assert.Contains(t, icmpPool, got[i], "hop %d", i+1)
		if i > n {
			assert.NotEqual(t, got[i-1], got[i], "hops %d and %d look like one router", i, i+1)
		}
	}
}

// checkNodes checks that the Time Exceeded messages of IPv6 routers tell the
// routers' addresses if they are meant to, and those of others nothing.
func (x *lab) checkNodes(t *testing.T, messages []packet) {
	t.Helper()
	var nodes []netip.Addr
	for _, p := range messages {
		if node := nodeAddress(t, p); node.IsValid() {
			nodes = append(nodes, node)
			assert.Contains(t, icmpPool, p.src, "source of the message about %v", node)
		}
	}
	want := nodes4
	if x.mode.plainErrors {
		want = nil
	}
	assert.True(t, slices.Equal(want, nodes), fmt.Sprintf("want %v, got %v", want, nodes))
}
