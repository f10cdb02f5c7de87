package translate_test

import (
	"net/netip"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// ruleComparison have two prefixes, of which the rule is for the second, and a map inside
// that one.
func ruleComparison(t *testing.T, cfg translate.Config, rule translate.PrefixRule) *comparison {
	t.Helper()
	p := netip.MustParsePrefix
	rule.Prefix = p("2001:db8:b::/96")
	return newComparison(t, cfg, translate.TableConfig{
		Prefixes: []netip.Prefix{p("2001:db8:a::/96"), rule.Prefix},
		Maps: []translate.Map{
			{IPv4: p("192.0.2.7/32"), IPv6: p("2001:db8:b::7/128")},
			{IPv4: p("192.0.2.6/32"), IPv6: p("2001:db8:6::6/128")},
		},
		Rules: []translate.PrefixRule{rule},
	})
}

// becomes checks what the translator and its reference make of pkt, and returns the
// result.
func (x *comparison) becomes(t *testing.T, pkt []byte) translate.Result {
	t.Helper()
	if d := x.compare(t, pkt); d != "" {
		t.Error(d)
	}
	p := packettest.Buffer(pkt)
	return x.w.Translate(0, &p)
}

// TestEmbeddedSourcePerPrefix: the refusal of embedded sources was for all prefixes
// or for none, but hosts may be numbered from one of several. Each has its rule.
func TestEmbeddedSourcePerPrefix(t *testing.T) {
	udp := packettest.UDP(1, 2, packettest.Bytes(8, 0))
	const server = "2001:db8:a::c633:6404"
	about := func(src string) packettest.Payload {
		return packettest.ICMP(1, 4, 0, between(server, src, udp))
	}
	for _, c := range []struct {
		name, src     string
		all, one, off bool // dropped with Config.DropEmbeddedSource, with a rule, without
	}{
		{"prefix-with-rule", "2001:db8:b::808:808", true, true, false},
		{"prefix-without-rule", "2001:db8:a::808:808", true, false, false},
		{"mapped-inside", "2001:db8:b::7", false, false, false},
		{"mapped-outside", "2001:db8:6::6", false, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, s := range []struct {
				cfg  func(*translate.Config)
				rule translate.PrefixRule
				drop bool
			}{
				{func(c *translate.Config) { c.DropEmbeddedSource = true }, translate.PrefixRule{}, c.all},
				{func(*translate.Config) {}, translate.PrefixRule{DropSource: true}, c.one},
				{func(*translate.Config) {}, translate.PrefixRule{}, c.off},
			} {
				cfg := packettest.Config()
				s.cfg(&cfg)
				x := ruleComparison(t, cfg, s.rule)
				want := translate.Result{Verdict: translate.Forward, Reason: translate.Translated}
				if s.drop {
					want = translate.Result{Verdict: translate.Drop, Reason: translate.EmbeddedSource}
				}
				for _, payload := range []packettest.Payload{udp, packettest.EchoRequest(1, 2, nil), about(c.src)} {
					if res := x.becomes(t, between(c.src, server, payload)); res != want {
						t.Errorf("%+v: %v, want %v", s.rule, res, want)
					}
				}
			}
		})
	}
}
