package refxlat_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/internal/test/refxlat"
	"github.com/steppe-nat64/steppe/translate"
)

func TestGolden(t *testing.T) {
	goldens, err := packettest.Goldens()
	require.NoError(t, err)
	require.Len(t, goldens, 18)
	for _, g := range goldens {
		t.Run(g.ID+"-"+g.Name, func(t *testing.T) {
			cfg, err := g.Apply(packettest.Config())
			require.NoError(t, err)
			x, err := refxlat.New(cfg, packettest.TableConfig())
			require.NoError(t, err)
			out, res := x.Translate(g.In)
			require.Equal(t, translate.Result{Verdict: translate.Forward, Reason: translate.Translated}, res)
			require.Len(t, out, 1)
			require.Empty(t, g.Diff(out[0]))
			require.NoError(t, packettest.Check(out[0]))
		})
	}
}
