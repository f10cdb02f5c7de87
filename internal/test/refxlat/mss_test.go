package refxlat_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// TestClampMSS: every MSS above the limit is lowered, and nothing else changes.
func TestClampMSS(t *testing.T) {
	for _, c := range []struct {
		clamp, mtu4, mtu6, want int
	}{
		{0, 1500, 1500, 1460},
		{translate.MSSAuto, 1500, 1500, 1440},
		{translate.MSSAuto, 1300, 1500, 1260},
		{translate.MSSAuto, 100, 1500, 536},
		{1220, 1500, 1500, 1220},
	} {
		x := fixture(t, mtus(c.mtu4, c.mtu6), with(func(cfg *translate.Config) { cfg.MSSClamp = c.clamp }))
		syn := func(n int) pt.Payload {
			options := append([]byte{1, 3, 3, 7}, pt.MSS(uint16(n))...)
			options = append(append(options, 1), pt.MSS(400)...)
			return pt.SYN(1, 2, append(options, pt.MSS(uint16(n))...))
		}
		in, out := syn(1460), syn(c.want)
		require.Equal(t, pt.IP(pt.Header{Src: pt.H4in6, Dst: pt.M6, TTL: 63}, out), forwarded(t, x, pt.IP(pt.From4(), in)))
		require.Empty(t, pt.Equal(pt.IP(pt.Header{Src: pt.M4, Dst: pt.H4, TTL: 63}, out), forwarded(t, x, pt.IP(pt.From6(), in))))
		ack := pt.TCP(1, 2, pt.MSS(1460))
		require.Equal(t, pt.IP(pt.Header{Src: pt.H4in6, Dst: pt.M6, TTL: 63}, ack), forwarded(t, x, pt.IP(pt.From4(), ack)))
	}
}
