package translate_test

import (
	"net/netip"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// TestHairpinOfPrivateHost: hosts with a global and with a private IPv4 address,
// inside the well-known prefix. What is dropped silently was answered: a UDP
// packet without checksum from the private host; and an error from the private
// host passed with another source, where RFC 6052 §3.1 wants it dropped. None of
// the setups that packets are generated for had such hosts.
func TestHairpinOfPrivateHost(t *testing.T) {
	a := netip.MustParseAddr
	global, private, seen := a("2001:db8:8::8"), a("2001:db8:a::1"), a("64:ff9b::8.8.8.8")
	quoted := packettest.IP(packettest.Header{Src: seen, Dst: private}, packettest.UDP(1, 2, nil))
	for _, c := range []struct {
		name   string
		src    netip.Addr
		p      packettest.Payload
		errors translate.ICMPErrors
		want   translate.Result
	}{
		{"udp", private, packettest.UDP(1, 2, nil), translate.ErrorsRFC7915, translate.Result{Verdict: translate.Reply, Reason: translate.NonGlobal}},
		{"udp-tayga", private, packettest.UDP(1, 2, nil), translate.ErrorsTAYGA, translate.Result{Verdict: translate.Reply, Reason: translate.NonGlobal}},
		{"udp-without-checksum", private, packettest.UDPNoSum(1, 2, nil), translate.ErrorsRFC7915, translate.Result{Verdict: translate.Reply, Reason: translate.UDPZeroChecksum}},
		{"udp-without-checksum-tayga", private, packettest.UDPNoSum(1, 2, nil), translate.ErrorsTAYGA, translate.Result{Verdict: translate.Reply, Reason: translate.UDPZeroChecksum}},
		{"error", private, packettest.ICMP(1, 4, 0, quoted), translate.ErrorsRFC7915, translate.Result{Verdict: translate.Drop, Reason: translate.NonGlobal}},
		{"error-tayga", private, packettest.ICMP(1, 4, 0, quoted), translate.ErrorsTAYGA, translate.Result{Verdict: translate.Drop, Reason: translate.ICMPQuote}},
		{"of-global-host", global, packettest.UDP(1, 2, nil), translate.ErrorsRFC7915, translate.Result{Verdict: translate.Forward, Reason: translate.Hairpinned}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorker(t, func(cfg *translate.Config, tc *translate.TableConfig) {
				p := netip.MustParsePrefix
				cfg.ICMPErrors = c.errors
				tc.Prefixes = []netip.Prefix{p("64:ff9b::/96")}
				tc.Maps = []translate.Map{
					{IPv4: p("8.8.8.8/32"), IPv6: netip.PrefixFrom(global, 128)},
					{IPv4: p("10.0.0.1/32"), IPv6: netip.PrefixFrom(private, 128)},
				}
			})
			p := packettest.Buffer(packettest.IP(packettest.Header{Src: c.src, Dst: seen}, c.p))
			if res := w.Translate(0, &p); res != c.want {
				t.Errorf("%v (%v), want %v (%v)", res.Verdict, res.Reason, c.want.Verdict, c.want.Reason)
			}
		})
	}
}
