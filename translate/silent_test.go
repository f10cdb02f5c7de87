package translate_test

import (
	"net/netip"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// TestNoAnswerForTheAddresses: a packet whose addresses have it dropped silently is
// not answered for anything else. A hop limit of 1, or an Echo Request to the own
// address, from inside a prefix that drops sources had an answer sent to any IPv4 host.
func TestNoAnswerForTheAddresses(t *testing.T) {
	const (
		host    = "2001:db8:6::6"
		server  = "2001:db8:b::c633:6404"
		own     = "2001:db8:b::a9fe:701" // 169.254.7.1, so inside the prefix
		outside = "2001:db8:bad::1"
	)
	cfg := packettest.Config()
	cfg.IPv6 = netip.MustParseAddr(own)
	udp := packettest.UDP(1, 2, packettest.Bytes(8, 0))
	cut := packettest.Fragment(1, 0, true, packettest.Raw(17, packettest.Bytes(61, 0)))
	for _, c := range []struct {
		name, src, dst string
		want           translate.Reason
	}{
		{"embedded-source", "2001:db8:b::808:808", server, translate.EmbeddedSource},
		{"embedded-source-to-nowhere", "2001:db8:b::808:808", outside, translate.EmbeddedSource},
		{"embedded-source-to-own-address", "2001:db8:b::808:808", own, translate.EmbeddedSource},
		{"link-local-destination", host, "2001:db8:b::a9fe:a9fe", translate.LinkLocal},
		{"link-local-source", "2001:db8:a::a9fe:a9fe", server, translate.LinkLocal},
		{"link-local-source-to-own-address", "2001:db8:a::a9fe:a9fe", own, translate.LinkLocal},
		{"loopback-destination", host, "2001:db8:b::7f00:1", translate.IllegalDestination},
		{"loopback-source", "2001:db8:a::7f00:1", server, translate.IllegalSource},
		{"multicast-source-to-own-address", "2001:db8:a::e000:1", own, translate.IllegalSource},
		{"nothing-wrong", host, server, translate.Translated},
		{"nothing-wrong-to-own-address", host, own, translate.Translated},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := ruleComparison(t, cfg, translate.PrefixRule{DropSource: true})
			src, dst := netip.MustParseAddr(c.src), netip.MustParseAddr(c.dst)
			for what, pkt := range map[string][]byte{
				"hop limit 1":      packettest.IP(packettest.Header{Src: src, Dst: dst, TTL: 1}, udp),
				"echo, 1":          packettest.IP(packettest.Header{Src: src, Dst: dst, TTL: 1}, packettest.EchoRequest(1, 2, nil)),
				"source route":     packettest.IP(packettest.Header{Src: src, Dst: dst}, packettest.Routing(1, udp)),
				"bad fragment":     packettest.IP(packettest.Header{Src: src, Dst: dst}, cut),
				"ICMPv4":           packettest.IP(packettest.Header{Src: src, Dst: dst}, packettest.Raw(1, packettest.Bytes(8, 0))),
				"short transport":  packettest.IP(packettest.Header{Src: src, Dst: dst}, packettest.Raw(6, packettest.Bytes(8, 0))),
				"too big":          packettest.IP(packettest.Header{Src: src, Dst: dst}, packettest.UDP(1, 2, packettest.Bytes(1500, 0))),
				"bad option chain": packettest.IP(packettest.Header{Src: src, Dst: dst}, packettest.Raw(60, []byte{17, 9, 0, 0, 0, 0, 0, 0})),
			} {
				res := x.becomes(t, pkt)
				if c.want == translate.Translated {
					if res.Verdict != translate.Reply {
						t.Errorf("%s: %v, want an answer", what, res)
					}
				} else if res != (translate.Result{Verdict: translate.Drop, Reason: c.want}) {
					t.Errorf("%s: %v, want %v", what, res, c.want)
				}
			}
		})
	}
}

// TestNoAnswerForMappedSources is the same for sources outside all prefixes, whose
// maps lead to addresses that no packet may have.
func TestNoAnswerForMappedSources(t *testing.T) {
	for _, c := range []struct {
		ipv4, source string
		want         translate.Reason
	}{
		{"0.0.0.0/1", "0.0.0.5", translate.IllegalSource},
		{"0.0.0.0/1", "10.0.0.5", translate.Translated},
		{"0.0.0.0/8", "0.0.0.5", translate.IllegalSource},
		{"127.0.0.5/32", "127.0.0.5", translate.IllegalSource},
		{"126.0.0.0/7", "127.255.255.255", translate.IllegalSource},
		{"169.0.0.0/8", "169.254.7.7", translate.LinkLocal},
		{"169.0.0.0/8", "169.253.255.255", translate.Translated},
		{"169.254.7.7/32", "169.254.7.7", translate.Translated}, // meant so
		{"128.0.0.0/1", "224.0.0.1", translate.IllegalSource},
		{"223.0.0.0/8", "223.255.255.255", translate.Translated},
		{"224.0.0.0/4", "239.0.0.1", translate.IllegalSource},
		{"240.0.0.0/4", "240.0.0.1", translate.IllegalSource},
		{"255.255.255.255/32", "255.255.255.255", translate.IllegalSource},
	} {
		t.Run(c.ipv4+"/"+c.source, func(t *testing.T) {
			ipv4, source := netip.MustParsePrefix(c.ipv4), netip.MustParseAddr(c.source)
			host := netip.MustParseAddr("2001:db8:e::").As16()
			copy(host[12:], source.AsSlice())
			ipv6 := netip.PrefixFrom(netip.AddrFrom16(host), 96+ipv4.Bits()).Masked()
			x := newComparison(t, packettest.Config(), translate.TableConfig{
				Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:b::/96")},
				Maps:     []translate.Map{{IPv4: ipv4, IPv6: ipv6}},
			})
			res := x.becomes(t, packettest.IP(packettest.Header{
				Src: netip.AddrFrom16(host), Dst: netip.MustParseAddr("2001:db8:b::c633:6404"), TTL: 1,
			}, packettest.UDP(1, 2, packettest.Bytes(8, 0))))
			want := translate.Result{Verdict: translate.Drop, Reason: c.want}
			if c.want == translate.Translated {
				want = translate.Result{Verdict: translate.Reply, Reason: translate.HopLimit}
			}
			if res != want {
				t.Errorf("%v, want %v", res, want)
			}
		})
	}
}
