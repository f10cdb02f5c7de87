package refxlat_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// figure1 is the table of RFC 7757 §3.1, with its prefix and ICMP pool.
func figure1(c *translate.Config, t *translate.TableConfig) {
	c.AllowPrivate, c.ICMPPool4 = true, []netip.Addr{addr("198.51.100.1")}
	t.Prefixes = []netip.Prefix{pt.WKP}
	t.Maps = nil
	for _, m := range [][2]string{
		{"192.0.2.1/32", "2001:db8:aaaa::/128"},
		{"192.0.2.2/32", "2001:db8:bbbb::b/128"},
		{"192.0.2.16/28", "2001:db8:cccc::/124"},
		{"192.0.2.128/26", "2001:db8:dddd::/64"},
		{"192.0.2.192/29", "2001:db8:eeee:8::/62"},
		{"192.0.2.224/31", "64:ff9b::/127"},
	} {
		t.Maps = append(t.Maps, translate.Map{IPv4: prefix(m[0]), IPv6: prefix(m[1])})
	}
}

func more(v4, v6 string) change {
	return func(_ *translate.Config, t *translate.TableConfig) {
		t.Maps = append(t.Maps, translate.Map{IPv4: prefix(v4), IPv6: prefix(v6)})
	}
}

// TestExplicitMaps: RFC 7757 §3.3, both ways.
func TestExplicitMaps(t *testing.T) {
	x := fixture(t, figure1, more("192.0.2.0/24", "2001:db8:f00::/120"), more("203.0.113.9/32", "2001:db8:dddd::1/128"))
	for _, c := range []struct{ v4, v6 string }{
		{"192.0.2.1", "2001:db8:aaaa::"},
		{"192.0.2.2", "2001:db8:bbbb::b"},
		{"192.0.2.24", "2001:db8:cccc::8"},
		{"192.0.2.152", "2001:db8:dddd:0:6000::"},
		{"192.0.2.183", "2001:db8:dddd:0:dc00::"},
		{"192.0.2.191", "2001:db8:dddd:0:fc00::"},
		{"192.0.2.195", "2001:db8:eeee:9:8000::"},
		{"192.0.2.225", "64:ff9b::1"},
		{"192.0.2.248", "2001:db8:f00::f8"},
		{"203.0.113.9", "2001:db8:dddd::1"},
		{"8.8.8.8", "64:ff9b::808:808"},
	} {
		out := forwarded(t, x, pt.IP(from4(func(h *pt.Header) { h.Dst = addr(c.v4) }), small))
		require.Equal(t, addr(c.v6).AsSlice(), out[24:40], c.v4)
		out = forwarded(t, x, pt.IP(pt.Header{Src: addr(c.v6), Dst: addr("64:ff9b::9.9.9.9")}, small))
		require.Equal(t, addr(c.v4).AsSlice(), out[12:16], c.v6)
	}
	// Bits after the IPv4 suffix may be anything on their way in.
	for _, c := range []struct{ v4, v6 string }{
		{"192.0.2.152", "2001:db8:dddd:0:6000:1:2:3"},
		{"192.0.2.199", "2001:db8:eeee:b:ffff::"},
	} {
		out := forwarded(t, x, pt.IP(pt.Header{Src: addr(c.v6), Dst: addr("64:ff9b::9.9.9.9")}, small))
		require.Equal(t, addr(c.v4).AsSlice(), out[12:16], c.v6)
	}
}

// TestRFC6052 is the table of RFC 6052 §2.4 and the example of RFC 7915
// appendix A.
func TestRFC6052(t *testing.T) {
	for _, c := range []struct{ prefix, v4, v6, odd string }{
		{"2001:db8::/32", "192.0.2.33", "2001:db8:c000:221::", "2001:db8:c000:221:ffff::1"},
		{"2001:db8:100::/40", "192.0.2.33", "2001:db8:1c0:2:21::", "2001:db8:1c0:2:ff21:1::"},
		{"2001:db8:100::/40", "198.51.100.2", "2001:db8:1c6:3364:2::", "2001:db8:1c6:3364:a502:ffff::"},
		{"2001:db8:122::/48", "192.0.2.33", "2001:db8:122:c000:2:2100::", "2001:db8:122:c000:8002:21ff::"},
		{"2001:db8:122:300::/56", "192.0.2.33", "2001:db8:122:3c0:0:221::", "2001:db8:122:3c0:100:221:1::"},
		{"2001:db8:122:344::/64", "192.0.2.33", "2001:db8:122:344:c0:2:2100::", "2001:db8:122:344:c0:2:2100:beef"},
		{"2001:db8:122:344::/96", "192.0.2.33", "2001:db8:122:344::192.0.2.33", "2001:db8:122:344::192.0.2.33"},
	} {
		x := fixture(t, func(_ *translate.Config, t *translate.TableConfig) { t.Prefixes = []netip.Prefix{prefix(c.prefix)} })
		out := forwarded(t, x, pt.IP(from4(src(c.v4)), small))
		require.Equal(t, addr(c.v6).AsSlice(), out[8:24], c.prefix)
		for _, dst6 := range []string{c.v6, c.odd} {
			out = forwarded(t, x, pt.IP(from6(dst(dst6)), small))
			require.Equal(t, addr(c.v4).AsSlice(), out[16:20], dst6)
		}
	}
	// The first prefix composes, the longest that matches extracts.
	x := fixture(t, func(_ *translate.Config, t *translate.TableConfig) {
		t.Prefixes = []netip.Prefix{prefix("2001:db8::/32"), pt.P, prefix("64:ff9b:1::/96")}
	})
	out := forwarded(t, x, pt.IP(pt.From4(), small))
	require.Equal(t, addr("2001:db8:c633:6404::").AsSlice(), out[8:24])
	require.Equal(t, pt.H4.AsSlice(), forwarded(t, x, pt.IP(pt.From6(), small))[16:20])
	require.Equal(t, []byte{10, 0, 0, 1}, forwarded(t, x, pt.IP(from6(dst("64:ff9b:1::a00:1")), small))[16:20])
}

// TestLeases: IPv6 sources without a map lease addresses, but not by ICMP
// errors.
func TestLeases(t *testing.T) {
	x := fixture(t, pooled)
	fromHost := func(a netip.Addr) pt.Header { return from6(func(h *pt.Header) { h.Src = a }) }
	require.Equal(t, lent4.AsSlice(), forwarded(t, x, pt.IP(fromHost(lent6), small))[12:16])
	require.Equal(t, held4.AsSlice(), forwarded(t, x, pt.IP(fromHost(held6), small))[12:16])
	require.Equal(t, pt.X4.AsSlice(), forwarded(t, x, pt.IP(fromHost(lent6), pt.ICMP(3, 0, 0, quote6)))[12:16])
	require.Equal(t, held4.AsSlice(), forwarded(t, x, pt.IP(fromHost(held6), pt.ICMP(3, 0, 0, quote6)))[12:16])
	require.Equal(t, held6.AsSlice(), forwarded(t, x, pt.IP(from4(func(h *pt.Header) { h.Dst = held4 }), small))[24:40])

	about := func(a netip.Addr) []byte { return pt.IP(pt.Header{Src: pt.H4in6, Dst: a}, small) }
	require.Equal(t, held4.AsSlice(), forwarded(t, x, pt.IP(pt.From6(), pt.ICMP(3, 0, 0, about(held6))))[28+16:28+20])
	refused(t, x, pt.IP(pt.From6(), pt.ICMP(3, 0, 0, about(lent6))), translate.ICMPQuote)

	// A map inside the pool takes its address out, one around it yields.
	x = fixture(t, pooled, more("203.0.113.70/32", "2001:db8:70::/128"), more("203.0.113.0/24", "2001:db8:71::/120"))
	require.Equal(t, addr("2001:db8:70::").AsSlice(), forwarded(t, x, pt.IP(from4(dst("203.0.113.70")), small))[24:40])
	require.Equal(t, addr("2001:db8:71::9").AsSlice(), forwarded(t, x, pt.IP(from4(dst("203.0.113.9")), small))[24:40])
	replied(t, x, pt.IP(from4(dst("203.0.113.71")), small), translate.NoDestination)
}

// TestWellKnownPrefix: RFC 6052 §3.1 and its exceptions.
func TestWellKnownPrefix(t *testing.T) {
	nonGlobal := []string{
		"10.0.0.1", "192.168.1.1", "172.16.0.1", "172.31.255.255", "100.64.0.1", "192.0.0.1", "192.0.2.1",
		"198.18.0.1", "198.51.100.1", "203.0.113.1",
	}
	for _, a := range nonGlobal {
		dst6 := addr("64:ff9b::" + a)
		pkt := pt.IP(from6(func(h *pt.Header) { h.Dst = dst6 }), small)
		replied(t, fixture(t, wkp), pkt, translate.NonGlobal)
		require.Equal(t, addr(a).AsSlice(), forwarded(t, fixture(t, wkp, with(func(c *translate.Config) { c.AllowPrivate = true })), pkt)[16:20])
	}
	for _, a := range []string{"8.8.8.8", "172.32.0.1", "100.128.0.1", "198.20.0.1", "9.255.255.255"} {
		forwarded(t, fixture(t, wkp), pt.IP(from6(func(h *pt.Header) { h.Dst = addr("64:ff9b::" + a) }), small))
	}
	// An explicit map may hold what the prefix must not.
	forwarded(t, fixture(t, wkp), pt.IP(from4(src("8.8.8.8")), small))
	// An error from a private router passes under TAYGA's rules.
	report := pt.IP(from4(src("10.0.0.1")), pt.ICMP(11, 0, 0, pt.IP(pt.Header{Src: pt.M4, Dst: addr("8.8.8.8")}, small)))
	refused(t, fixture(t, wkp), report, translate.NonGlobal)
	lenient := with(func(c *translate.Config) { c.ICMPErrors = translate.ErrorsTAYGA })
	require.Equal(t, pt.X6.AsSlice(), forwarded(t, fixture(t, wkp, lenient), report)[8:24])
	report = pt.IP(pt.Header{Src: addr("64:ff9b::10.0.0.1"), Dst: addr("64:ff9b::8.8.8.8")},
		pt.ICMP(3, 0, 0, pt.IP(pt.Header{Src: addr("64:ff9b::8.8.8.8"), Dst: pt.M6}, small)))
	refused(t, fixture(t, wkp), report, translate.NonGlobal)
	require.Equal(t, pt.X4.AsSlice(), forwarded(t, fixture(t, wkp, lenient), report)[12:16])
}

func TestClassE(t *testing.T) {
	x := fixture(t, with(func(c *translate.Config) { c.AllowClassE = true }))
	forwarded(t, x, pt.IP(from4(src("240.0.0.1")), small))
	forwarded(t, x, pt.IP(from6(dst("2001:db8:64::240.0.0.1")), small))
	refused(t, x, pt.IP(from4(src("255.255.255.255")), small), translate.IllegalSource)
}
