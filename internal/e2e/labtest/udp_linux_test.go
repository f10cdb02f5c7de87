package labtest

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

const maxUDP = 8000 // bytes of payload

// boundaries are the sizes of payload at which something begins to be different,
// with their neighbours: packets that just fit a limit, and datagrams that just
// fit a number of fragments.
func boundaries() (sizes []int) {
	at := []int{0, maxUDP}
	for _, limit := range []int{maxClearDF, 1280, 1300, 1480, 1500} {
		at = append(at, limit-28, limit-48, limit-56) // IPv4, IPv6, IPv6 with Fragment Header
	}
	// What a fragment holds: IPv6 of 1280 and of 1500 bytes, IPv4 of 1500.
	for _, room := range []int{1232, 1448, 1480} {
		for n := room; n < maxUDP; n += room {
			at = append(at, n-8)
		}
	}
	for _, n := range at {
		for d := -1; d <= 1; d++ {
			if n+d >= 0 && n+d <= maxUDP {
				sizes = append(sizes, n+d)
			}
		}
	}
	slices.Sort(sizes)
	return slices.Compact(sizes)
}

// testUDP sends datagrams there and back, from both sides: of every size of
// which this is the turn (part of parts), and of those around every boundary.
func (x *lab) testUDP(t *testing.T, part, parts int) {
	sizes := boundaries()
	every := slices.Clone(sizes)
	for n := part; n <= maxUDP; n += parts {
		every = append(every, n)
	}
	t.Run("fragmented-by-hosts", func(t *testing.T) {
		w := x.watch(t, func() {
			x.echo(t, x.near6, near4.v6, every)
			x.echo(t, x.near4, near6.v4, every)
		})
		for name, ps := range map[string][]packet{
			"IPv6 to": w.to6, "IPv4 from": w.from4, "IPv4 to": w.to4, "IPv6 from": w.from6,
		} {
			assert.Greater(t, fragments(ps), len(sizes), "%s the gateway", name)
		}
	})
	t.Run("whole", func(t *testing.T) {
		w := x.watch(t, func() {
			x.echo(t, x.host6, host4.v6, sizes)
			x.echo(t, x.host4, host6.v4, sizes)
		})
		assert.Zero(t, fragments(w.to6)+fragments(w.from4)+fragments(w.to4)+fragments(w.from6))
	})
	t.Run("fragmented-by-the-translator", func(t *testing.T) { // what leaves old4, which has DF clear
		w := x.watch(t, func() {
			x.echo(t, x.host6, old4.v6, sizes)
			x.echo(t, x.old4, host6.v4, sizes)
		})
		assert.Zero(t, fragments(w.to6)+fragments(w.from4)+fragments(w.to4))
		assert.Greater(t, fragments(w.from6), len(sizes))
	})
}

// echo has datagrams sent to a host and back. The first ones teach both hosts the
// path MTU, and may get lost; of the others none may.
func (x *lab) echo(t *testing.T, from *netlab.Host, to netip.Addr, sizes []int) {
	t.Helper()
	_, err := from.UDPEcho(at(to, echoPort), netlab.UDPEcho{
		Sizes: []int{1453, 1472, maxUDP}, Attempts: 20, Timeout: 250 * time.Millisecond,
	})
	require.NoError(t, err)
	res, err := from.UDPEcho(at(to, echoPort), netlab.UDPEcho{Sizes: sizes, Timeout: 10 * time.Second})
	require.NoError(t, err)
	require.Equal(t, len(sizes), res.Datagrams)
}
