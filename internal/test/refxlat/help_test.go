package refxlat_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/internal/test/refxlat"
	"github.com/steppe-nat64/steppe/translate"
)

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// change edits the fixture's configuration and tables.
type change func(c *translate.Config, t *translate.TableConfig)

// fixture makes a reference translator of the fixture and the changes.
func fixture(t testing.TB, changes ...change) *refxlat.Xlat {
	t.Helper()
	cfg, tab := pt.Config(), pt.TableConfig()
	tab.Pools = pt.Pools(leases{})
	for _, f := range changes {
		f(&cfg, &tab)
	}
	x, err := refxlat.New(cfg, tab)
	require.NoError(t, err)
	return x
}

// leases assigns 203.0.113.65 to 2001:db8:77::1, keeps 203.0.113.64 for
// 2001:db8:77::, and nothing else.
type leases struct{}

var (
	held4, held6 = addr("203.0.113.64"), addr("2001:db8:77::")
	lent4, lent6 = addr("203.0.113.65"), addr("2001:db8:77::1")
)

func (l leases) Assign(host [16]byte) ([4]byte, bool) {
	if host == lent6.As16() {
		return lent4.As4(), true
	}
	return l.Addr(host)
}

func (leases) Addr(host [16]byte) ([4]byte, bool) { return held4.As4(), host == held6.As16() }
func (leases) Host(a [4]byte) ([16]byte, bool)    { return held6.As16(), a == held4.As4() }
func (leases) Generation() uint64                 { return 0 }

func pooled(_ *translate.Config, t *translate.TableConfig) {
	t.Pools = pt.Pools(leases{}, "203.0.113.64/26")
}

func mtus(mtu4, mtu6 int) change {
	return func(c *translate.Config, _ *translate.TableConfig) { c.MTU4, c.MTU6 = mtu4, mtu6 }
}

func wkp(_ *translate.Config, t *translate.TableConfig) { t.Prefixes = []netip.Prefix{pt.WKP} }

func with(f func(c *translate.Config)) change {
	return func(c *translate.Config, _ *translate.TableConfig) { f(c) }
}

// forwarded translates pkt, which has to be forwarded as one well-formed packet.
func forwarded(t testing.TB, x *refxlat.Xlat, pkt []byte) []byte {
	t.Helper()
	out, res := x.Translate(pkt)
	require.Equal(t, translate.Forward, res.Verdict, "reason %s", res.Reason)
	require.Len(t, out, 1)
	require.NoError(t, pt.Check(out[0]))
	return out[0]
}

// refused translates pkt, which has to be dropped for the given reason.
func refused(t testing.TB, x *refxlat.Xlat, pkt []byte, why translate.Reason) {
	t.Helper()
	out, res := x.Translate(pkt)
	require.Equal(t, translate.Result{Verdict: translate.Drop, Reason: why}.Reason.String(), res.Reason.String())
	require.Equal(t, translate.Drop, res.Verdict)
	require.Empty(t, out)
}

// replied translates pkt, whose source has to be told.
func replied(t testing.TB, x *refxlat.Xlat, pkt []byte, why translate.Reason) []byte {
	t.Helper()
	out, res := x.Translate(pkt)
	require.Equal(t, why.String(), res.Reason.String())
	require.Equal(t, translate.Reply, res.Verdict)
	require.Len(t, out, 1)
	require.NoError(t, pt.Check(out[0]))
	return out[0]
}

// prohibited translates pkt, which has to be answered with 3/13 or 1/1: RFC 7915
// §4.4, §5.4.
func prohibited(t testing.TB, x *refxlat.Xlat, pkt []byte, why translate.Reason) {
	t.Helper()
	out := replied(t, x, pkt, why)
	if out[0]>>4 == 4 {
		require.Equal(t, []byte{3, 13}, out[20:22])
	} else {
		require.Equal(t, []byte{1, 1}, out[40:42])
	}
}

// data is what follows the headers of a packet without options and with at most
// a Fragment Header.
func data(pkt []byte) []byte {
	switch {
	case pkt[0]>>4 == 4:
		return pkt[20:]
	case pkt[6] == 44:
		return pkt[48:]
	}
	return pkt[40:]
}

// Quotes of packets that h4 and m4 sent each other.
var (
	quote4 = pt.IP(pt.Header{Src: pt.M4, Dst: pt.H4, DF: true, TTL: 3}, pt.UDP(7000, 7001, pt.Bytes(100, 0)))
	quote6 = pt.IP(pt.Header{Src: pt.H4in6, Dst: pt.M6, TTL: 3}, pt.UDP(7001, 7000, pt.Bytes(100, 0)))
)
