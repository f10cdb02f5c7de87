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
