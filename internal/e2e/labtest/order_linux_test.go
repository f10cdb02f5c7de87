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

// testOrder sends numbered datagrams of several flows at once, in bursts. Some may
// get lost, as queues are short; those that arrive do so in the order in which they
// were sent, however many workers there are.
func (x *lab) testOrder(t *testing.T) {
	const flows, count, port = 8, 3000, 7007
	for _, way := range []struct {
		name     string
		from, to *netlab.Host
		dst      netip.Addr
	}{{"6to4", x.host6, x.host4, host4.v6}, {"4to6", x.host4, x.host6, host6.v4}} {
		t.Run(way.name, func(t *testing.T) {
			in, err := way.to.ListenPacket("udp", fmt.Sprintf(":%d", port))
			require.NoError(t, err)
			defer in.Close()
			var sending sync.WaitGroup
			for range flows {
				c, err := way.from.Dial("udp", at(way.dst, port), patience)
				require.NoError(t, err)
				defer c.Close()
				sending.Go(func() {
					var b [1200]byte
					for i := range uint32(count) {
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
			last, arrived := make(map[string]uint32), 0
			for b := make([]byte, 2048); ; arrived++ {
				require.NoError(t, in.SetReadDeadline(time.Now().Add(time.Second)))
				n, src, err := in.ReadFrom(b)
				if err != nil { // what has not arrived by now is lost
					break
				}
				require.GreaterOrEqual(t, n, 4)
				i, flow := binary.BigEndian.Uint32(b), src.String()
				require.Greater(t, i, last[flow], "flow from %s", flow)
				last[flow] = i
			}
			sending.Wait()
			assert.Len(t, last, flows)
			assert.Greater(t, arrived, flows*count/20)
			t.Logf("%d of %d arrived, in order", arrived, flows*count)
		})
	}
}
