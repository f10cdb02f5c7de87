package refxlat_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/internal/test/refxlat"
	"github.com/steppe-nat64/steppe/translate"
)

// The two hosts of RFC 7757 §4, by explicit map and by prefix, and the
// untranslatable router between them.
var (
	a6, a4, a4in6 = addr("2001:db8:aaaa::"), addr("192.0.2.1"), addr("64:ff9b::c000:201")
	b6, b4, b4in6 = addr("2001:db8:bbbb::b"), addr("192.0.2.2"), addr("64:ff9b::c000:202")
	router        = addr("2001:db8::1234")
)

func hairpin(mode translate.Hairpin) change {
	return with(func(c *translate.Config) { c.Hairpin = mode })
}

// hairpinned translates pkt, which has to come back as one IPv6 packet.
func hairpinned(t *testing.T, x *refxlat.Xlat, pkt []byte) []byte {
	t.Helper()
	out, res := x.Translate(pkt)
	require.Equal(t, translate.Result{Verdict: translate.Forward, Reason: translate.Hairpinned}, res, res.Reason.String())
	require.Len(t, out, 1)
	return out[0]
}

func TestHairpinIntrinsic(t *testing.T) {
	x := fixture(t, figure1)
	data := pt.Bytes(16, 0)
	for _, p := range []pt.Payload{pt.UDP(1, 2, data), pt.TCP(1, 2, data), pt.EchoRequest(1, 2, data), pt.EchoReply(1, 2, data), pt.Raw(132, data)} {
		// RFC 7757 figures 8 and 11.
		in := pt.IP(pt.Header{Src: a6, Dst: b4in6, TOS: 9, FlowLabel: 5}, pt.HopByHop(8, p))
		require.Equal(t, pt.IP(pt.Header{Src: a4in6, Dst: b6, TTL: 63, TOS: 9}, p), hairpinned(t, x, in))
	}
	p := pt.UDP(1, 2, pt.Bytes(40, 0))
	pieces := pt.Fragments(pt.IP(pt.Header{Src: a6, Dst: b4in6}, p), 80, 0x1234beef)
	require.Len(t, pieces, 2)
	for i := range pieces {
		pieces[i] = hairpinned(t, x, pieces[i])
		require.Equal(t, []byte{0, 0, 0xbe, 0xef}, pieces[i][44:48])
	}
	whole, err := pt.Reassemble(pieces)
	require.NoError(t, err)
	require.Equal(t, pt.IP(pt.Header{Src: a4in6, Dst: b6, TTL: 63}, p), whole)
	in := pt.IP(pt.Header{Src: a6, Dst: b4in6}, pt.Fragment(0x1234beef, 0, false, p)) // atomic
	require.Equal(t, pt.IP(pt.Header{Src: a4in6, Dst: b6, TTL: 63}, p), hairpinned(t, x, in))

	// An IPv6 address is no way to reach anybody here.
	replied(t, x, pt.IP(pt.Header{Src: a6, Dst: router}, small), translate.NoDestination)
}

func TestHairpinRefuses(t *testing.T) {
	in := func(p pt.Payload) []byte { return pt.IP(pt.Header{Src: a6, Dst: b4in6}, p) }
	prohibited(t, fixture(t, figure1), in(pt.UDPNoSum(1, 2, nil)), translate.UDPZeroChecksum)
	compute := fixture(t, figure1, with(func(c *translate.Config) { c.UDPZero = translate.UDPZeroCompute }))
	require.Equal(t, pt.IP(pt.Header{Src: a4in6, Dst: b6, TTL: 63}, pt.UDP(1, 2, pt.Bytes(9, 0))), hairpinned(t, compute, in(pt.UDPNoSum(1, 2, pt.Bytes(9, 0)))))
	prohibited(t, compute, in(pt.Fragment(1, 0, true, pt.UDPNoSum(1, 2, nil))), translate.UDPZeroChecksum)
	forward := fixture(t, figure1, with(func(c *translate.Config) { c.UDPZero = translate.UDPZeroForward }))
	require.Equal(t, []byte{0, 0}, hairpinned(t, forward, in(pt.UDPNoSum(1, 2, nil)))[46:48])

	strict := fixture(t, figure1, with(func(c *translate.Config) { c.AllowPrivate = false }))
	replied(t, strict, in(small), translate.NonGlobal)

	out := replied(t, fixture(t, figure1, mtus(9000, 1400)), in(pt.UDP(1, 2, make([]byte, 1353))), translate.TooBig)
	require.Equal(t, []byte{2, 0}, out[40:42])
	require.Equal(t, []byte{0, 0, 1400 >> 8, 1400 & 255}, out[44:48])
	hairpinned(t, fixture(t, figure1, mtus(9000, 1400)), in(pt.UDP(1, 2, make([]byte, 1352))))

	replied(t, fixture(t, figure1, pooled), pt.IP(pt.Header{Src: a6, Dst: addr("64:ff9b::203.0.113.70")}, small), translate.NoDestination)
	refused(t, fixture(t, figure1, pooled), pt.IP(pt.Header{Src: a6, Dst: addr("64:ff9b::203.0.113.70")}, pt.EchoRequest(1, 2, nil)), translate.NoDestination)
	require.Equal(t, held6.AsSlice(), hairpinned(t, fixture(t, figure1, pooled), pt.IP(pt.Header{Src: a6, Dst: addr("64:ff9b::203.0.113.64")}, small))[24:40])
}

// mirror holds for every IPv4 address the host that the prefix P makes of it.
type mirror struct{ leases }

func (mirror) Host(a [4]byte) ([16]byte, bool) {
	b := pt.P.Addr().As16()
	copy(b[12:], a[:])
	return b, true
}

// TestHairpinLoop: where a lease says nothing but what the prefix says, the
// packet would leave as it came.
func TestHairpinLoop(t *testing.T) {
	cfg, tab := pt.Config(), pt.TableConfig()
	pooled(&cfg, &tab)
	tab.Pools[0].Dynamic = mirror{}
	x, err := refxlat.New(cfg, tab)
	require.NoError(t, err)
	prohibited(t, x, pt.IP(pt.Header{Src: pt.H4in6, Dst: addr("2001:db8:64::203.0.113.70")}, small), translate.HairpinLoop)
	hairpinned(t, x, pt.IP(pt.Header{Src: pt.M6, Dst: addr("2001:db8:64::203.0.113.70")}, small))
}

func TestHairpinOff(t *testing.T) {
	pkt := pt.IP(pt.Header{Src: a6, Dst: b4in6}, small)
	for _, mode := range []translate.Hairpin{translate.HairpinOff, translate.HairpinSimple} {
		require.Empty(t, pt.Equal(pt.IP(pt.Header{Src: a4, Dst: b4, TTL: 63}, small), forwarded(t, fixture(t, figure1, hairpin(mode)), pkt)))
	}
	back := pt.IP(pt.Header{Src: a4, Dst: b4}, small)
	require.Equal(t, pt.IP(pt.Header{Src: a6, Dst: b6, TTL: 63}, small), forwarded(t, fixture(t, figure1, hairpin(translate.HairpinOff)), back))
	require.Equal(t, pt.IP(pt.Header{Src: a4in6, Dst: b6, TTL: 63}, small), forwarded(t, fixture(t, figure1, hairpin(translate.HairpinSimple)), back))
}

// TestHairpinSimpleErrors: RFC 7757 §4.2.1, figures 9 and 10.
func TestHairpinSimpleErrors(t *testing.T) {
	x := fixture(t, figure1, hairpin(translate.HairpinSimple))
	quote := pt.IP(pt.Header{Src: a4, Dst: b4}, small)
	want := pt.IP(pt.Header{Src: a6, Dst: b4in6}, small)
	for _, c := range []struct{ src, want string }{
		{"198.51.100.1", "64:ff9b::c633:6401"}, // figure 9
		{"192.0.2.2", "64:ff9b::c000:202"},     // figure 10: the quoted destination itself
		{"192.0.2.24", "2001:db8:cccc::8"},     // any other keeps its map
	} {
		out := forwarded(t, x, pt.IP(pt.Header{Src: addr(c.src), Dst: a4}, pt.ICMP(11, 0, 0, quote)))
		require.Equal(t, addr(c.want).AsSlice(), out[8:24])
		require.Equal(t, a6.AsSlice(), out[24:40])
		require.Equal(t, want, out[48:])
	}
}

// TestHairpinIntrinsicErrors: RFC 7757 §4.2.2, condition B.
func TestHairpinIntrinsicErrors(t *testing.T) {
	x := fixture(t, figure1)
	quote := pt.IP(pt.Header{Src: a4in6, Dst: b6}, small)
	want := pt.IP(pt.Header{Src: a6, Dst: b4in6}, small)
	report := func(src netip.Addr, p pt.Payload) []byte { return pt.IP(pt.Header{Src: src, Dst: a4in6}, p) }

	require.Equal(t, pt.IP(pt.Header{Src: addr("64:ff9b::c633:6401"), Dst: a6, TTL: 63}, pt.ICMP(3, 0, 0, want)),
		hairpinned(t, x, report(router, pt.ICMP(3, 0, 0, quote))))
	require.Equal(t, pt.IP(pt.Header{Src: b4in6, Dst: a6, TTL: 63}, pt.ICMP(1, 4, 0, want)),
		hairpinned(t, x, report(b6, pt.ICMP(1, 4, 0, quote))))
	require.Equal(t, pt.IP(pt.Header{Src: addr("2001:db8:cccc::8"), Dst: a6, TTL: 63}, pt.ICMP(4, 1, 6, want)),
		hairpinned(t, x, report(addr("2001:db8:cccc::8"), pt.ICMP(4, 1, 40, quote))))
	require.Equal(t, pt.IP(pt.Header{Src: b4in6, Dst: a6, TTL: 63}, pt.ICMP(2, 0, 1400, want)),
		hairpinned(t, x, report(b6, pt.ICMP(2, 0, 1400, quote))))

	// Not cut to what ICMPv4 may be, but to what ICMPv6 may be, and without an
	// object of ours.
	x = fixture(t, figure1, with(func(c *translate.Config) { c.NodeAddress = true }))
	long := pt.UDP(1, 2, pt.Bytes(1400, 0))
	quote = pt.IP(pt.Header{Src: a4in6, Dst: b6}, long)
	want = pt.IP(pt.Header{Src: a6, Dst: b4in6}, long)
	require.Equal(t, pt.IP(pt.Header{Src: addr("64:ff9b::c633:6401"), Dst: a6, TTL: 63}, pt.ICMP(3, 0, 0, want[:1232])),
		hairpinned(t, x, report(router, pt.ICMP(3, 0, 0, quote[:1440]))))
	require.Equal(t, pt.IP(pt.Header{Src: addr("64:ff9b::c633:6401"), Dst: a6, TTL: 63}, pt.ExtendedError(3, 0, 0, want[:1200], pt.MPLS())),
		hairpinned(t, x, report(router, pt.ExtendedError(3, 0, 0, quote[:1200], pt.MPLS()))))

	// Quotes whose source is mapped, or is not mapped here, go to IPv4.
	forwarded(t, fixture(t, figure1), pt.IP(pt.Header{Src: b6, Dst: addr("64:ff9b::8.8.8.8")},
		pt.ICMP(3, 0, 0, pt.IP(pt.Header{Src: addr("64:ff9b::8.8.8.8"), Dst: b6}, small))))
	refused(t, fixture(t, figure1, pooled), pt.IP(pt.Header{Src: b6, Dst: addr("64:ff9b::203.0.113.70")},
		pt.ICMP(3, 0, 0, pt.IP(pt.Header{Src: addr("64:ff9b::203.0.113.70"), Dst: b6}, small))), translate.NoDestination)
}
