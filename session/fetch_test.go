package session_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/steppe-nat64/steppe/translate"
)

// TestFetch: what is read ahead changes nothing, whether it is there or not, in a table that
// has nothing, too, and for protocols that have no sessions.
func TestFetch(t *testing.T) {
	b := newBed(t)
	out := make([]translate.Tuple6, 150)
	in := make([]translate.Tuple4, 150)
	for i := range out {
		out[i] = from6([]uint8{udp, tcp, icmp, 132}[i%4], uint16(1000+i))
		out[i].Host = host6(uint64(i % 7))
		in[i] = translate.Tuple4{Local: pool, LocalPort: uint16(1024 + i), Remote: server, RemotePort: 80, Proto: out[i].Proto}
	}
	for range 2 {
		before := b.all()
		b.FetchOutbound(out)
		b.FetchInbound(in)
		b.FetchOutbound(nil)
		b.FetchInbound(nil)
		require.ElementsMatch(t, before, b.all())
		for _, f := range out {
			if f.Proto != 132 {
				in = append(in, b.open(f))
			}
		}
	}
	require.Zero(t, testing.AllocsPerRun(10, func() { b.FetchOutbound(out); b.FetchInbound(in) }))
}
