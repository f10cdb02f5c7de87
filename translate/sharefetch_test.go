package translate_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// A watched is a session.Table that takes note of what is fetched and what is asked.
type watched struct {
	*session.Table
	fetched6, asked6 []translate.Tuple6
	fetched4, asked4 []translate.Tuple4
}

func (w *watched) Outbound(now time.Duration, f *translate.Tuple6, flags uint8, to *translate.Tuple4) translate.FlowResult {
	w.asked6 = append(w.asked6, *f)
	return w.Table.Outbound(now, f, flags, to)
}

func (w *watched) Inbound(now time.Duration, f *translate.Tuple4, flags uint8, to *translate.Tuple6) translate.FlowResult {
	w.asked4 = append(w.asked4, *f)
	return w.Table.Inbound(now, f, flags, to)
}

func (w *watched) FetchOutbound(fs []translate.Tuple6) {
	w.fetched6 = append(w.fetched6, fs...)
	w.Table.FetchOutbound(fs)
}

func (w *watched) FetchInbound(fs []translate.Tuple4) {
	w.fetched4 = append(w.fetched4, fs...)
	w.Table.FetchInbound(fs)
}

// TestSessionsAreFetched: in a batch of many flows, exactly those are fetched that are asked
// for then; a worker that remembers the addresses fetches none.
func TestSessionsAreFetched(t *testing.T) {
	shared := netip.MustParsePrefix("198.51.101.1/32")
	table, err := session.New(session.Config{Pools: []session.Pool{{Prefix: shared}}})
	require.NoError(t, err)
	s := &watched{Table: table}
	tc := pt.TableConfig()
	tc.Shared, tc.Sessions = []netip.Prefix{shared}, s
	w := build(t, pt.Config(), tc).NewWorker()

	host := func(i int) netip.Addr {
		a := netip.MustParseAddr("2001:db8:a::").As16()
		a[14], a[15] = byte(i>>8), byte(i)
		return netip.AddrFrom16(a)
	}
	batch := func(n int, pkt func(i int) []byte) []translate.Packet {
		ps := make([]translate.Packet, n)
		for i := range ps {
			ps[i] = pt.Buffer(pkt(i))
		}
		*s = watched{Table: table}
		w.TranslateBatch(0, ps)
		return ps
	}
	from6 := func(first int) func(i int) []byte {
		return func(i int) []byte {
			return pt.IP(pt.Header{Src: host(first + i), Dst: pt.H4in6}, pt.UDP(uint16(5000+i), 53, nil))
		}
	}
	batch(64, from6(0))
	assert.Empty(t, s.fetched6, "the worker knows nothing of these before")
	ps := batch(64, from6(1000))
	require.Len(t, s.asked6, 64)
	assert.Equal(t, s.asked6, s.fetched6)
	assert.Empty(t, s.fetched4)

	// Answers, of which some are no whole packets with ports: these have no flow yet.
	var replies [][]byte
	for i, p := range ps {
		b := p.Bytes()
		src, dst := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		port := uint16(b[20])<<8 | uint16(b[21])
		pkt := pt.IP(pt.Header{Src: dst, Dst: src, DF: true}, pt.UDP(53, port, nil))
		switch i {
		case 0:
			pkt = pkt[:22]
		case 1:
			pkt = pt.IP(pt.Header{Src: dst, Dst: src}, pt.EchoRequest(1, 1, nil))
		}
		replies = append(replies, pkt)
	}
	batch(64, func(i int) []byte { return replies[i] })
	require.Len(t, s.asked4, 63)
	assert.Equal(t, s.asked4[1:], s.fetched4)

	// Of the same addresses again and again, nothing.
	again := func(i int) []byte { return from6(1000)(0) }
	for range 8 {
		batch(64, again)
	}
	assert.Empty(t, s.fetched6)
	assert.Len(t, s.asked6, 64)
	batch(3, from6(2000))
	assert.Empty(t, s.fetched6)
	batch(200, from6(3000))
	batch(200, from6(4000))
	assert.Len(t, s.fetched6, 64)
	batch(64, from6(4000))
	batch(64, from6(4000))
	batch(64, from6(5000))
	assert.Len(t, s.fetched6, 64)
}
