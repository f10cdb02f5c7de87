package labtest

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

const (
	orderFlows, orderCount = 8, 3000
	orderPort              = 7007
)

// TestOrder: workers keep the order of each flow.
func TestOrder(t *testing.T) {
	tayga := buildTayga(t)
	for _, m := range modes {
		if m.daemonOnly {
			continue // added below, as all of them
		}
		m.daemonOnly = true
		t.Run(m.name, func(t *testing.T) {
			x := newLab(t, tayga, m)
			x.testOrder(t)
			x.stop(t)
		})
	}
}

// testOrder sends numbered datagrams of several flows at once, in bursts. Some may
// get lost, as queues are short; those that arrive do so in the order in which they
// were sent, however many workers there are.
//
// With the fast path on, order is the kernel's own. Where a packet moves from one interface
// to the next it waits in a queue of the processor that it is on (softnet_data), and two
// processors may pass each other: in this laboratory routers that only forward IPv6 to IPv6
// reorder flows now and then. So a few datagrams may then arrive late, but none twice.
func (x *lab) testOrder(t *testing.T) {
	for _, way := range []struct {
		name     string
		from, to *netlab.Host
		dst      netip.Addr
	}{{"6to4", x.host6, x.host4, host4.v6}, {"4to6", x.host4, x.host6, host6.v4}} {
		t.Run(way.name, func(t *testing.T) {
			got := numbered(t, way.from, way.to, way.dst)
			assert.Len(t, got, orderFlows)
			arrived, late := 0, 0
			for flow, list := range got {
				seen, last := map[uint32]bool{}, uint32(0)
				for _, i := range list {
					require.False(t, seen[i], "flow from %s: %d arrived twice", flow, i)
					seen[i] = true
					if x.mode.daemonOnly {
						require.Greater(t, i, last, "flow from %s", flow)
					}
					if i < last {
						late++
					}
					last = max(last, i)
				}
				arrived += len(list)
			}
			assert.Greater(t, arrived, orderFlows*orderCount/20)
			assert.LessOrEqual(t, late, arrived/10, "of %d arrived after one that was sent later", arrived)
			t.Logf("%d of %d arrived, %d of them late", arrived, orderFlows*orderCount, late)
		})
	}
}

// numbered has several flows of datagrams sent at once, in bursts, and returns the numbers
// of those that arrive, by flow.
func numbered(t *testing.T, from, to *netlab.Host, dst netip.Addr) map[string][]uint32 {
	t.Helper()
	in, err := to.ListenPacket("udp", fmt.Sprintf(":%d", orderPort))
	require.NoError(t, err)
	defer in.Close()
	var sending sync.WaitGroup
	defer sending.Wait()
	for range orderFlows {
		c, err := from.Dial("udp", at(dst, orderPort), patience)
		require.NoError(t, err)
		sending.Go(func() {
			defer c.Close()
			var b [1200]byte
			for i := range uint32(orderCount) {
				binary.BigEndian.PutUint32(b[:], i+1)
				size := 100
				if i%16 == 15 { // so that not all of them are alike, nor most of them lost
					size = len(b)
					time.Sleep(2 * time.Millisecond)
				}
				if _, err := c.Write(b[:size]); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	got := make(map[string][]uint32)
	for b := make([]byte, 2048); ; {
		require.NoError(t, in.SetReadDeadline(time.Now().Add(time.Second)))
		n, src, err := in.ReadFrom(b)
		if err != nil { // what has not arrived by now is lost
			return got
		}
		require.GreaterOrEqual(t, n, 4)
		got[src.String()] = append(got[src.String()], binary.BigEndian.Uint32(b))
	}
}
