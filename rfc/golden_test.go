package rfc

import (
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
)

// TestGoldenPackets translates the golden packets, each of which was computed
// and verified without this translator.
func TestGoldenPackets(t *testing.T) {
	all, err := pt.Goldens()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 18 {
		t.Fatalf("%d golden packets, want 18", len(all))
	}
	for _, g := range all {
		t.Run(g.ID+"-"+g.Name, func(t *testing.T) {
			if diff := g.Diff(goldenXlat(t, &g).forward(g.In)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
