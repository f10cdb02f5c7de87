package bench

import (
	"fmt"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// BenchmarkTable is the cost of a packet whose addresses have to be looked up
// among explicit maps, since it belongs to a flow of its own; hosts follow each
// other at random.
func BenchmarkTable(b *testing.B) {
	for _, n := range counts {
		var x *network
		for _, dir := range []string{"4to6", "6to4"} {
			var tr *traffic
			for _, workers := range []int{1, 2} {
				b.Run(fmt.Sprintf("dir=%s/maps=%d/workers=%d", dir, n, workers), func(b *testing.B) {
					if x == nil {
						x = mapNetwork(b, n)
					}
					if tr == nil {
						tr = x.traffic(dir, order(n), newFlows())
					}
					measure(b, x.t, tr, translate.Forward, workers)
				})
			}
		}
	}
}

// BenchmarkNewTable is the cost of building a table, as a reload does.
func BenchmarkNewTable(b *testing.B) {
	for _, n := range counts {
		var tc translate.TableConfig
		b.Run(fmt.Sprintf("maps=%d", n), func(b *testing.B) {
			if tc.Maps == nil {
				tc = packettest.TableConfig()
				tc.Maps = maps(n)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if _, err := translate.NewTable(tc); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
