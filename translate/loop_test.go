package translate_test

import (
	"net/netip"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// loopComparison have a prefix 64:ff9b::/96 whose loops are checked or not, a second one
// from which hosts are numbered, maps and a pool.
func loopComparison(t *testing.T, check bool, edit func(*translate.Config)) *comparison {
	t.Helper()
	p := netip.MustParsePrefix
	cfg := packettest.Config()
	if edit != nil {
		edit(&cfg)
	}
	return newComparison(t, cfg, translate.TableConfig{
		Prefixes: []netip.Prefix{p("64:ff9b::/96"), p("2001:db8:b::/96")},
		Maps: []translate.Map{
			{IPv4: p("45.67.89.6/32"), IPv6: p("2001:db8:6::6/128")},
			{IPv4: p("45.67.89.16/28"), IPv6: p("2001:db8:16::/124")},
		},
		Pools: []translate.Pool{{
			Prefixes: []netip.Prefix{p("45.67.89.64/26")},
			Dynamic:  fixedLeases{netip.MustParseAddr("2001:db8:77::1"): netip.MustParseAddr("45.67.89.65")},
		}},
		Rules: []translate.PrefixRule{{Prefix: p("64:ff9b::/96"), CheckLoops: check}},
	})
}

// TestLoops: a packet to an address that was routed to the translator and had no
// mapping was translated into the prefix, came back, and so on: 100 packets became
// 12,700. What would come back is answered at once.
func TestLoops(t *testing.T) {
	udp, ping := packettest.UDP(1, 2, packettest.Bytes(8, 0)), packettest.EchoRequest(1, 2, nil)
	about := func(typ uint8, src, dst string) packettest.Payload {
		return packettest.ICMP(typ, 0, 0, between(src, dst, udp))
	}
	wkp := func(a string) string { return "64:ff9b::" + a }
	const host, free = "1.1.1.1", "45.67.89.99" // an IPv4 host; an address of the pool without a lease
	const unmapped = "45.67.89.2"               // routed, without a mapping
	forward, answer, silent := translate.Translated, translate.NoDestination, translate.NoDestination
	for _, c := range []struct {
		name    string
		pkt     []byte
		verdict translate.Verdict
		why     translate.Reason
	}{
		{"4to6", between(host, unmapped, udp), translate.Reply, answer},
		{"4to6-echo", between(host, unmapped, ping), translate.Reply, answer},
		{"4to6-from-lease", between("45.67.89.65", unmapped, udp), translate.Reply, answer},
		{"4to6-from-map", between("45.67.89.6", unmapped, udp), translate.Forward, forward}, // as the host of a CLAT
		{"4to6-to-map", between(host, "45.67.89.6", udp), translate.Forward, forward},
		{"4to6-to-subnet", between(host, "45.67.89.17", udp), translate.Forward, forward},
		{"4to6-to-lease", between(host, "45.67.89.65", udp), translate.Forward, forward},
		{"4to6-to-free", between(host, free, udp), translate.Reply, translate.NoDestination},
		{"4to6-error", between(host, unmapped, about(11, unmapped, host)), translate.Drop, silent},
		{"4to6-error-about-map", between(host, unmapped, about(11, unmapped, "45.67.89.6")), translate.Drop, silent},
		{"4to6-error-of-private-router", between("10.0.0.1", unmapped, about(11, unmapped, host)), translate.Drop, silent},
		{"4to6-error-from-map-about-loop", between("45.67.89.6", unmapped, about(11, unmapped, host)), translate.Drop, silent},
		{"4to6-error-of-edge-router", between("10.0.0.1", host, about(11, host, "45.67.89.6")), translate.Forward, forward},
		{"4to6-error-from-map", between("45.67.89.6", host, about(3, host, "45.67.89.6")), translate.Forward, forward},
		{"4to6-error-to-map", between(host, "45.67.89.6", about(11, "45.67.89.6", host)), translate.Forward, forward},
		{"4to6-own-error", between("10.0.0.254", unmapped, about(11, unmapped, "45.67.89.6")), translate.Drop, silent},
		{"4to6-own-error-of-icmp-pool", between("10.0.0.253", unmapped, about(11, unmapped, "45.67.89.6")), translate.Drop, silent},
		{"4to6-own-reply", between("45.67.89.1", unmapped, packettest.EchoReply(1, 2, nil)), translate.Reply, answer},

		{"6to4", between(wkp(host), wkp("2.2.2.2"), udp), translate.Reply, answer},
		{"6to4-echo", between(wkp(host), wkp("2.2.2.2"), ping), translate.Drop, translate.NoDestination}, // RFC 7915 §5.4
		{"6to4-to-own", between(wkp(host), wkp("45.67.89.1"), ping), translate.Forward, forward},
		{"6to4-from-map", between("2001:db8:6::6", wkp("2.2.2.2"), udp), translate.Forward, forward},
		{"6to4-from-lease", between("2001:db8:77::1", wkp("2.2.2.2"), udp), translate.Forward, forward},
		{"6to4-from-numbered-host", between("2001:db8:b::7.7.7.7", wkp("2.2.2.2"), udp), translate.Forward, forward},
		{"6to4-to-map", between(wkp(host), "2001:db8:6::6", udp), translate.Forward, forward}, // as a CLAT gets it
		{"6to4-hairpin", between("2001:db8:6::6", wkp("45.67.89.17"), udp), translate.Forward, translate.Hairpinned},
		{"6to4-error", between(wkp(host), wkp("2.2.2.2"), about(3, wkp("2.2.2.2"), wkp(host))), translate.Drop, silent},
		{"6to4-error-of-router", between("2001:db8:bad::1", wkp("2.2.2.2"), about(3, wkp("2.2.2.2"), "2001:db8:6::6")), translate.Forward, forward},
		{"6to4-hairpin-error-to-unmapped", between("2001:db8:6::6", wkp(unmapped), about(3, wkp("45.67.89.17"), "2001:db8:6::6")), translate.Drop, silent},
		{"6to4-hairpin-error", between("2001:db8:6::6", wkp("45.67.89.17"), about(3, wkp("45.67.89.17"), "2001:db8:6::6")), translate.Forward, translate.Hairpinned},
	} {
		t.Run(c.name, func(t *testing.T) {
			edit := func(cfg *translate.Config) {
				cfg.ICMPErrors = translate.ErrorsTAYGA
				cfg.IPv4 = netip.MustParseAddr("45.67.89.1")
				cfg.ICMPPool4 = []netip.Addr{netip.MustParseAddr("10.0.0.253")}
				if c.name == "4to6-own-error" {
					cfg.IPv4 = netip.MustParseAddr("10.0.0.254")
				}
			}
			if got, want := loopComparison(t, true, edit).becomes(t, c.pkt), (translate.Result{Verdict: c.verdict, Reason: c.why}); got != want {
				t.Errorf("%v (%v), want %v (%v)", got.Verdict, got.Reason, want.Verdict, want.Reason)
			}
			res := loopComparison(t, false, edit).becomes(t, c.pkt)
			if res.Verdict != translate.Forward && c.name != "4to6-to-free" {
				t.Errorf("%v (%v) without the check", res.Verdict, res.Reason)
			}
		})
	}
}

// TestLoopsWithoutOwnAddress: a translator without IPv4 address sends no errors from
// 0.0.0.0, so one that comes from there is none of its own that came back.
func TestLoopsWithoutOwnAddress(t *testing.T) {
	wkp := netip.MustParsePrefix("64:ff9b::/96")
	w := newWorker(t, func(c *translate.Config, tc *translate.TableConfig) {
		c.IPv4, c.ICMPPool4, c.ICMPErrors = netip.Addr{}, nil, translate.ErrorsTAYGA
		tc.Prefixes = []netip.Prefix{wkp}
		tc.Rules = []translate.PrefixRule{{Prefix: wkp, CheckLoops: true}}
	})
	quoted := between("1.1.1.1", packettest.M4.String(), packettest.UDP(1, 2, nil))
	p := packettest.Buffer(between("0.0.0.0", "1.1.1.1", packettest.ICMP(11, 0, 0, quoted)))
	if res := w.Translate(0, &p); res != (translate.Result{Verdict: translate.Forward, Reason: translate.Translated}) {
		t.Errorf("%v (%v)", res.Verdict, res.Reason)
	}
}
