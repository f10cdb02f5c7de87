package refxlat_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/internal/test/refxlat"
	"github.com/steppe-nat64/steppe/translate"
)

// from4 and from6 are the usual headers with other addresses or fields.
func from4(f func(h *pt.Header)) pt.Header { h := pt.From4(); f(&h); return h }
func from6(f func(h *pt.Header)) pt.Header { h := pt.From6(); f(&h); return h }

func src(a string) func(h *pt.Header)   { return func(h *pt.Header) { h.Src = addr(a) } }
func dst(a string) func(h *pt.Header)   { return func(h *pt.Header) { h.Dst = addr(a) } }
func ttl(n uint8) func(h *pt.Header)    { return func(h *pt.Header) { h.TTL = n } }
func opts(b ...byte) func(h *pt.Header) { return func(h *pt.Header) { h.Options = b } }

var small = pt.UDP(1, 2, pt.Bytes(16, 0))

// answered are the cases of TestRefused whose source is told. RFCs have the others
// dropped silently.
var answered = []string{
	"fragment4-empty", "fragment4-odd", "fragment6-empty", "fragment6-odd", "fragment4-tcp-short", "fragment6-tcp-short",
	"fragment4-icmp-first", "fragment6-dest-opts", "fragment6-nested", "hop-by-hop-short", "hop-by-hop-long",
	"fragment-header-short", "hop-by-hop-in-ipv4", "icmpv6-in-ipv4", "icmpv4-in-ipv6", "tcp-19", "udp-7", "dccp-11",
	"udp-lite-7", "icmp-7", "jumbogram", "udp-no-checksum", "udp-lite-no-checksum4", "udp-lite-no-checksum6",
}

// TestRefused: one packet per reason and per way to earn it.
func TestRefused(t *testing.T) {
	unsummed := func(pkt []byte) []byte { pkt = slices.Clone(pkt); pkt[10] ^= 1; return pkt }
	icmp4 := func(quote []byte) []byte { return pt.IP(pt.From4(), pt.ICMP(11, 0, 0, quote)) }
	icmp6 := func(quote []byte) []byte { return pt.IP(pt.From6(), pt.ICMP(3, 0, 0, quote)) }
	m4h4, h4m6 := pt.Header{Src: pt.M4, Dst: pt.H4}, pt.Header{Src: pt.H4in6, Dst: pt.M6}
	frag4 := func(off8 uint16, more bool, p pt.Payload) []byte {
		return pt.IP(from4(func(h *pt.Header) { h.Off8, h.MF, h.DF = off8, more, false }), p)
	}
	frag6 := func(off8 uint16, more bool, p pt.Payload) []byte {
		return pt.IP(pt.From6(), pt.Fragment(1, off8, more, p))
	}
	for _, c := range []struct {
		name string
		pkt  []byte
		why  translate.Reason
	}{
		{"empty", nil, translate.BadHeader},
		{"version-5", []byte{0x55, 0, 0, 20}, translate.BadHeader},
		{"19-bytes", pt.IP(pt.From4(), small)[:19], translate.BadHeader},
		{"ihl-4", pt.Edit(pt.IP(pt.From4(), small), func(b []byte) { b[0] = 0x44 }), translate.BadHeader},
		{"total-length-below-header", pt.Edit(pt.IP(pt.From4(), small), func(b []byte) { b[3] = 19 }), translate.BadHeader},
		{"total-length-beyond-packet", pt.IP(pt.From4(), small)[:43], translate.BadHeader},
		{"header-checksum", unsummed(pt.IP(pt.From4(), small)), translate.BadHeaderChecksum},
		{"39-bytes", pt.IP(pt.From6(), small)[:39], translate.BadHeader},
		{"payload-length-beyond-packet", pt.IP(pt.From6(), small)[:63], translate.BadHeader},

		{"dst-this-network", pt.IP(from4(dst("0.1.2.3")), small), translate.IllegalDestination},
		{"dst-loopback4", pt.IP(from4(dst("127.0.0.1")), small), translate.IllegalDestination},
		{"dst-multicast4", pt.IP(from4(dst("224.0.0.1")), small), translate.IllegalDestination},
		{"dst-broadcast", pt.IP(from4(dst("255.255.255.255")), small), translate.IllegalDestination},
		{"dst-class-e", pt.IP(from4(dst("240.0.0.1")), small), translate.IllegalDestination},
		{"dst-multicast6", pt.IP(from6(dst("ff0e::1")), small), translate.IllegalDestination},
		{"dst-link-local4", pt.IP(from4(dst("169.254.0.1")), small), translate.LinkLocal},
		{"src-link-local4", pt.IP(from4(src("169.254.0.1")), small), translate.LinkLocal},
		{"dst-embeds-link-local4", pt.IP(from6(dst("2001:db8:64::169.254.0.1")), small), translate.LinkLocal},
		{"src-embeds-link-local4", pt.IP(from6(src("2001:db8:64::169.254.0.1")), small), translate.LinkLocal},
		{"dst-link-local", pt.IP(from6(dst("fe80::1")), small), translate.IllegalDestination},
		{"dst-mapped-form", pt.IP(from6(dst("::ffff:198.51.100.4")), small), translate.IllegalDestination},
		{"dst-embeds-loopback", pt.IP(from6(dst("2001:db8:64::127.0.0.1")), small), translate.IllegalDestination},
		{"dst-embeds-multicast", pt.IP(from6(dst("2001:db8:64::224.0.0.1")), small), translate.IllegalDestination},
		{"src-unspecified4", pt.IP(from4(src("0.0.0.0")), small), translate.IllegalSource},
		{"src-loopback4", pt.IP(from4(src("127.0.0.1")), small), translate.IllegalSource},
		{"src-multicast4", pt.IP(from4(src("224.0.0.5")), small), translate.IllegalSource},
		{"src-multicast4-of-error", pt.IP(from4(src("224.0.0.5")), pt.ICMP(11, 0, 0, quote4)), translate.IllegalSource},
		{"src-broadcast-of-error", pt.IP(from4(src("255.255.255.255")), pt.ICMP(11, 0, 0, quote4)), translate.IllegalSource},
		{"src-unspecified6", pt.IP(from6(src("::")), small), translate.IllegalSource},
		{"src-loopback6", pt.IP(from6(src("::1")), small), translate.IllegalSource},
		{"src-multicast6", pt.IP(from6(src("ff02::1")), small), translate.IllegalSource},
		{"src-embeds-broadcast", pt.IP(from6(src("2001:db8:64::255.255.255.255")), small), translate.IllegalSource},

		{"fragment4-empty", frag4(0, true, pt.Raw(17, nil)), translate.BadFragment},
		{"fragment4-odd", frag4(0, true, pt.Raw(17, pt.Bytes(20, 0))), translate.BadFragment},
		{"fragment4-beyond-end", frag4(8191, false, pt.Raw(17, pt.Bytes(64, 0))), translate.BadFragment},
		{"fragment6-empty", frag6(0, true, pt.Raw(17, nil)), translate.BadFragment},
		{"fragment6-odd", frag6(0, true, pt.Raw(17, pt.Bytes(20, 0))), translate.BadFragment},
		{"fragment6-beyond-end", frag6(8191, false, pt.Raw(17, pt.Bytes(64, 0))), translate.BadFragment},
		{"fragment4-tcp-short", frag4(0, true, pt.Part(pt.TCP(1, 2, nil), 0, 16)), translate.TinyFragment},
		{"fragment4-tcp-offset-1", frag4(1, false, pt.Part(pt.TCP(1, 2, nil), 8, 20)), translate.TinyFragment},
		{"fragment6-tcp-short", frag6(0, true, pt.Part(pt.TCP(1, 2, nil), 0, 16)), translate.TinyFragment},
		{"fragment6-tcp-offset-1", frag6(1, false, pt.Part(pt.TCP(1, 2, nil), 8, 20)), translate.TinyFragment},
		{"fragment4-icmp-first", frag4(0, true, pt.EchoRequest(1, 2, pt.Bytes(8, 0))), translate.FragmentedICMP},
		{"fragment4-icmp-later", frag4(1, false, pt.EchoRequest(1, 2, pt.Bytes(8, 0))), translate.FragmentedICMP},
		{"fragment6-icmp-first", frag6(0, true, pt.EchoRequest(1, 2, pt.Bytes(8, 0))), translate.FragmentedICMP},
		{"fragment6-icmp-later", frag6(1, false, pt.EchoRequest(1, 2, pt.Bytes(8, 0))), translate.FragmentedICMP},
		{"fragment6-dest-opts", frag6(0, true, pt.DestOpts(8, small)), translate.FragmentChain},
		{"fragment6-ah", frag6(10, false, pt.Raw(51, pt.Bytes(24, 0))), translate.FragmentChain},
		{"fragment6-nested", frag6(0, false, pt.Fragment(1, 0, false, small)), translate.FragmentChain},
		{"fragment6-mobility", frag6(0, true, pt.Raw(135, pt.Bytes(24, 0))), translate.FragmentChain},
		{"hop-by-hop-short", pt.IP(pt.From6(), pt.Raw(0, []byte{17, 0, 1, 4, 0, 0, 0})), translate.BadExtensionHeader},
		{"hop-by-hop-long", pt.IP(pt.From6(), pt.Raw(0, []byte{17, 1, 1, 4, 0, 0, 0, 0})), translate.BadExtensionHeader},
		{"fragment-header-short", pt.IP(pt.From6(), pt.Raw(44, []byte{17, 0, 0, 0, 0, 0, 0})), translate.BadExtensionHeader},

		{"igmp", pt.IP(pt.From4(), pt.Raw(2, pt.Bytes(8, 0))), translate.NoProtocol},
		{"hop-by-hop-in-ipv4", pt.IP(pt.From4(), pt.Raw(0, pt.Bytes(8, 0))), translate.NoProtocol},
		{"icmpv6-in-ipv4", pt.IP(pt.From4(), pt.Raw(58, pt.Bytes(8, 0))), translate.NoProtocol},
		{"icmpv4-in-ipv6", pt.IP(pt.From6(), pt.Raw(1, pt.Bytes(8, 0))), translate.NoProtocol},
		{"tcp-19", pt.IP(pt.From4(), pt.Raw(6, pt.Bytes(19, 0))), translate.ShortTransport},
		{"udp-7", pt.IP(pt.From6(), pt.Raw(17, pt.Bytes(7, 0))), translate.ShortTransport},
		{"dccp-11", pt.IP(pt.From4(), pt.Raw(33, pt.Bytes(11, 0))), translate.ShortTransport},
		{"udp-lite-7", pt.IP(pt.From6(), pt.Raw(136, pt.Bytes(7, 0))), translate.ShortTransport},
		{"icmp-7", pt.IP(pt.From4(), pt.Raw(1, pt.Bytes(7, 8))), translate.ShortTransport},
		{"jumbogram", pt.IP(pt.From6(), pt.Raw(6, nil)), translate.ShortTransport},
		{"udp-no-checksum", pt.IP(pt.From4(), pt.UDPNoSum(1, 2, nil)), translate.UDPZeroChecksum},
		{"udp-lite-no-checksum4", pt.IP(pt.From4(), pt.Raw(136, []byte{0, 1, 0, 2, 0, 8, 0, 0})), translate.UDPZeroChecksum},
		{"udp-lite-no-checksum6", pt.IP(pt.From6(), pt.Raw(136, []byte{0, 1, 0, 2, 0, 8, 0, 0})), translate.UDPZeroChecksum},

		{"error4-checksum", pt.Edit(icmp4(quote4), func(b []byte) { b[23] ^= 1 }), translate.ICMPChecksum},
		{"error6-checksum", pt.Edit(icmp6(quote6), func(b []byte) { b[43] ^= 1 }), translate.ICMPChecksum},
		{"quote4-19-bytes", icmp4(quote4[:19]), translate.ICMPQuote},
		{"quote6-39-bytes", icmp6(quote6[:39]), translate.ICMPQuote},
		{"quote4-of-ipv6", icmp4(quote6), translate.ICMPQuote},
		{"quote6-of-ipv4", icmp6(quote4), translate.ICMPQuote},
		{"quote4-ihl-4", icmp4(pt.Edit(quote4, func(b []byte) { b[0] = 0x44 })), translate.ICMPQuote},
		{"quote4-total-length-19", icmp4(pt.Edit(quote4, func(b []byte) { b[2], b[3] = 0, 19 })), translate.ICMPQuote},
		{"quote4-options-cut", icmp4(pt.Edit(quote4[:28], func(b []byte) { b[0] = 0x48 })), translate.ICMPQuote},
		{"quote6-chain-cut", icmp6(pt.IP(h4m6, pt.HopByHop(16, small))[:48]), translate.ICMPQuote},
		{"quote6-chain-beyond-length", icmp6(pt.Edit(pt.IP(h4m6, pt.HopByHop(16, small)), func(b []byte) { b[5] = 8 })), translate.ICMPQuote},
		{"quote6-segments-left", icmp6(pt.IP(h4m6, pt.Routing(1, small))), translate.ICMPQuote},
		{"quote6-after-fragment-header", icmp6(pt.IP(h4m6, pt.Fragment(1, 0, true, pt.DestOpts(8, small)))), translate.ICMPQuote},
		{"quote4-igmp", icmp4(pt.IP(m4h4, pt.Raw(2, pt.Bytes(8, 0)))), translate.ICMPQuote},
		{"quote6-icmpv4", icmp6(pt.IP(h4m6, pt.Raw(1, pt.Bytes(8, 8)))), translate.ICMPQuote},
		{"quote4-unmapped", icmp4(pt.IP(pt.Header{Src: pt.M4, Dst: addr("127.0.0.1")}, small)), translate.ICMPQuote},
		{"quote6-unmapped", icmp6(pt.IP(pt.Header{Src: addr("2001:db8::1"), Dst: pt.M6}, small)), translate.ICMPQuote},
		{"quote4-no-icmp", icmp4(pt.IP(m4h4, pt.EchoRequest(1, 2, nil))[:20]), translate.ICMPQuote},
		{"quote4-fragmented-icmp", icmp4(pt.IP(pt.Header{Src: pt.M4, Dst: pt.H4, MF: true}, pt.EchoRequest(1, 2, nil))), translate.ICMPQuote},
		{"quote4-timestamp", icmp4(pt.IP(m4h4, pt.ICMP(13, 0, 0, nil))), translate.ICMPQuote},
		{"quote4-error", icmp4(pt.IP(m4h4, pt.ICMP(3, 3, 0, quote4))), translate.ICMPQuotedError},
		{"quote4-redirect", icmp4(pt.IP(m4h4, pt.ICMP(5, 0, 0, quote4))), translate.ICMPQuotedError},
		{"quote6-error", icmp6(pt.IP(h4m6, pt.ICMP(1, 4, 0, quote6))), translate.ICMPQuotedError},
		{"quote6-unknown-error", icmp6(pt.IP(h4m6, pt.ICMP(100, 0, 0, nil))), translate.ICMPQuotedError},
		{"quote6-neighbour-discovery", icmp6(pt.IP(h4m6, pt.ICMP(135, 0, 0, nil))), translate.ICMPQuote},
		{"extension4-beyond-end", pt.IP(pt.From4(), pt.ICMP(11, 0, 0x00ff0000, quote4)), translate.ICMPExtension},
		{"extension6-beyond-end", pt.IP(pt.From6(), pt.ICMP(1, 0, 0xff000000, quote6)), translate.ICMPExtension},

		{"self-icmp4", pt.IP(from4(dst("192.0.2.254")), pt.ICMP(13, 0, 0, nil)), translate.SelfICMP},
		{"self-icmp6", pt.IP(from6(dst("2001:db8:f::254")), pt.EchoReply(1, 2, nil)), translate.SelfICMP},
		{"self-checksum4", pt.Edit(pt.IP(from4(dst("192.0.2.254")), pt.EchoRequest(1, 2, nil)), func(b []byte) { b[23] ^= 1 }), translate.ICMPChecksum},
		{"self-checksum6", pt.Edit(pt.IP(from6(dst("2001:db8:f::254")), pt.EchoRequest(1, 2, nil)), func(b []byte) { b[43] ^= 1 }), translate.ICMPChecksum},
	} {
		t.Run(c.name, func(t *testing.T) {
			if slices.Contains(answered, c.name) {
				prohibited(t, fixture(t), c.pkt, c.why)
			} else {
				refused(t, fixture(t), c.pkt, c.why)
			}
		})
	}
}

// TestOriginatedErrors: what the source is told, and in which cases nothing.
func TestOriginatedErrors(t *testing.T) {
	noPrefix := func(_ *translate.Config, t *translate.TableConfig) { t.Prefixes = nil }
	taygaCodes := with(func(c *translate.Config) { c.ICMPErrors = translate.ErrorsTAYGA })
	noErrors := with(func(c *translate.Config) { c.ErrorRate = -1 })
	noAddrs := with(func(c *translate.Config) { c.IPv4, c.IPv6 = netip.Addr{}, netip.Addr{} })
	global4 := from4(func(h *pt.Header) { h.Src = addr("8.8.8.8") })
	for _, c := range []struct {
		name    string
		changes []change
		pkt     []byte
		why     translate.Reason
		typ     uint8
		code    uint8
		word    uint32
		silent  bool
	}{
		{"ttl-1", nil, pt.IP(from4(ttl(1)), small), translate.HopLimit, 11, 0, 0, false},
		{"ttl-1-echo-reply", nil, pt.IP(from4(ttl(1)), pt.EchoReply(1, 2, nil)), translate.HopLimit, 11, 0, 0, false},
		{"ttl-1-error", nil, pt.IP(from4(ttl(1)), pt.ICMP(3, 3, 0, quote4)), translate.HopLimit, 0, 0, 0, true},
		{"ttl-1-first-fragment", nil, pt.IP(from4(func(h *pt.Header) { h.TTL, h.MF = 1, true }), pt.Part(small, 0, 16)), translate.HopLimit, 11, 0, 0, false},
		{"ttl-1-later-fragment", nil, pt.IP(from4(func(h *pt.Header) { h.TTL, h.Off8 = 1, 5 }), small), translate.HopLimit, 0, 0, 0, true},
		{"ttl-1-errors-off", []change{noErrors}, pt.IP(from4(ttl(1)), small), translate.HopLimit, 0, 0, 0, true},
		{"ttl-1-no-address", []change{noAddrs}, pt.IP(from4(ttl(1)), small), translate.HopLimit, 0, 0, 0, true},
		{"ttl-1-class-e-source", []change{with(func(c *translate.Config) { c.AllowClassE = true })}, pt.IP(from4(func(h *pt.Header) { h.TTL, h.Src = 1, addr("240.0.0.1") }), small), translate.HopLimit, 0, 0, 0, true},
		{"hop-limit-1", nil, pt.IP(from6(ttl(1)), small), translate.HopLimit, 3, 0, 0, false},
		{"hop-limit-1-echo", nil, pt.IP(from6(ttl(1)), pt.EchoRequest(1, 2, nil)), translate.HopLimit, 3, 0, 0, false},
		{"hop-limit-1-error", nil, pt.IP(from6(ttl(1)), pt.ICMP(1, 4, 0, quote6)), translate.HopLimit, 0, 0, 0, true},
		{"hop-limit-1-no-address", []change{noAddrs}, pt.IP(from6(ttl(1)), small), translate.HopLimit, 0, 0, 0, true},
		{"hop-limit-1-later-fragment", nil, pt.IP(from6(ttl(1)), pt.Fragment(1, 5, false, small)), translate.HopLimit, 0, 0, 0, true},

		{"too-big-4to6", nil, pt.IP(pt.From4(), pt.UDP(1, 2, make([]byte, 1453))), translate.TooBig, 3, 4, 1480, false},
		{"too-big-4to6-fragment", nil, pt.IP(from4(func(h *pt.Header) { h.MF = true }), pt.UDP(1, 2, make([]byte, 1448))), translate.TooBig, 3, 4, 1472, false},
		{"too-big-6to4", []change{mtus(1400, 1500)}, pt.IP(pt.From6(), pt.UDP(1, 2, make([]byte, 1452))), translate.TooBig, 2, 0, 1420, false},
		{"too-big-6to4-clamped", []change{mtus(1200, 1500)}, pt.IP(pt.From6(), pt.UDP(1, 2, make([]byte, 1352))), translate.TooBig, 2, 0, 1280, false},

		{"lsrr", nil, pt.IP(from4(opts(131, 7, 4, 10, 0, 0, 1, 0)), small), translate.SourceRoute, 3, 5, 0, false},
		{"ssrr", nil, pt.IP(from4(opts(1, 137, 7, 4, 10, 0, 0, 1)), small), translate.SourceRoute, 3, 5, 0, false},
		{"routing-header", nil, pt.IP(pt.From6(), pt.Routing(1, small)), translate.SourceRoute, 4, 0, 43, false},
		{"routing-header-after-hop-by-hop", nil, pt.IP(pt.From6(), pt.HopByHop(8, pt.Routing(1, pt.Routing(1, small)))), translate.SourceRoute, 4, 0, 51, false},

		{"dst4-unmapped", []change{noPrefix}, pt.IP(from4(dst("192.0.2.7")), small), translate.NoDestination, 3, 13, 0, false},
		{"dst4-not-leased", []change{pooled}, pt.IP(from4(dst("203.0.113.70")), small), translate.NoDestination, 3, 13, 0, false},
		{"dst4-not-leased-tayga", []change{pooled, taygaCodes}, pt.IP(from4(dst("203.0.113.70")), pt.EchoRequest(1, 2, nil)), translate.NoDestination, 3, 1, 0, false},
		{"src4-unmapped", []change{noPrefix}, pt.IP(pt.From4(), small), translate.NoSource, 3, 13, 0, false},
		{"src4-unmapped-tayga", []change{noPrefix, taygaCodes}, pt.IP(pt.From4(), small), translate.NoSource, 3, 10, 0, false},
		{"dst6-unmapped", nil, pt.IP(from6(dst("2001:db8::1")), small), translate.NoDestination, 1, 1, 0, false},
		{"dst6-unmapped-tayga", []change{taygaCodes}, pt.IP(from6(dst("2001:db8::1")), small), translate.NoDestination, 1, 0, 0, false},
		{"dst6-unmapped-echo", nil, pt.IP(from6(dst("2001:db8::1")), pt.EchoRequest(1, 2, nil)), translate.NoDestination, 0, 0, 0, true},
		{"src6-unmapped", nil, pt.IP(from6(src("2001:db8::1")), small), translate.NoSource, 1, 1, 0, false},
		{"src6-unmapped-tayga", []change{taygaCodes}, pt.IP(from6(src("2001:db8::1")), small), translate.NoSource, 1, 5, 0, false},

		{"wkp-dst4", []change{wkp}, pt.IP(pt.Header{Src: addr("8.8.8.8"), Dst: addr("10.0.0.1")}, small), translate.NonGlobal, 3, 13, 0, false},
		{"wkp-src4", []change{wkp}, pt.IP(pt.From4(), small), translate.NonGlobal, 3, 13, 0, false},
		{"wkp-dst4-tayga", []change{wkp, taygaCodes}, pt.IP(pt.Header{Src: addr("8.8.8.8"), Dst: addr("10.0.0.1")}, small), translate.NonGlobal, 3, 1, 0, false},
		{"wkp-src4-tayga", []change{wkp, taygaCodes}, pt.IP(pt.From4(), small), translate.NonGlobal, 3, 10, 0, false},
		{"wkp-dst6", []change{wkp}, pt.IP(from6(dst("64:ff9b::10.0.0.1")), small), translate.NonGlobal, 1, 1, 0, false},
		{"wkp-dst6-tayga", []change{wkp, taygaCodes}, pt.IP(from6(dst("64:ff9b::10.0.0.1")), small), translate.NonGlobal, 1, 0, 0, false},
		{"wkp-src6", []change{wkp}, pt.IP(pt.Header{Src: addr("64:ff9b::10.0.0.1"), Dst: addr("64:ff9b::8.8.8.8")}, small), translate.NonGlobal, 1, 1, 0, false},
		{"embedded-source", []change{with(func(c *translate.Config) { c.DropEmbeddedSource = true })}, pt.IP(from6(src("2001:db8:64::808:808")), small), translate.EmbeddedSource, 0, 0, 0, true},
		{"wkp-quoted", []change{wkp}, pt.IP(global4, pt.ICMP(11, 0, 0, pt.IP(pt.Header{Src: pt.M4, Dst: addr("10.0.0.1")}, small))), translate.ICMPQuote, 0, 0, 0, true},

		{"self4", nil, pt.IP(from4(dst("192.0.2.254")), small), translate.SelfProtocol, 3, 2, 0, false},
		{"self6", nil, pt.IP(from6(dst("2001:db8:f::254")), small), translate.SelfProtocol, 4, 1, 6, false},
		{"self6-after-headers", nil, pt.IP(from6(dst("2001:db8:f::254")), pt.HopByHop(8, pt.Fragment(1, 0, false, small))), translate.SelfProtocol, 4, 1, 48, false},
		{"self4-later-fragment", nil, pt.IP(from4(func(h *pt.Header) { h.Dst, h.Off8 = pt.X4, 3 }), small), translate.SelfProtocol, 0, 0, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := fixture(t, c.changes...)
			if c.silent {
				refused(t, x, c.pkt, c.why)
				return
			}
			out := replied(t, x, c.pkt, c.why)
			is4 := c.pkt[0]>>4 == 4
			header, limit := 40, 1280
			if is4 {
				header, limit = 20, 576
				require.Equal(t, []byte{0xc0 | c.pkt[1]&0x1e, 0, 0, 64, 1}, []byte{out[1], out[6], out[7], out[8], out[9]})
				require.Equal(t, pt.X4.AsSlice(), out[12:16])
				require.Equal(t, c.pkt[12:16], out[16:20])
			} else {
				require.Equal(t, []byte{0x60, 0, 0, 0}, out[:4])
				require.Equal(t, []byte{58, 64}, out[6:8])
				require.Equal(t, pt.X6.AsSlice(), out[8:24])
				require.Equal(t, c.pkt[8:24], out[24:40])
			}
			icmp := out[header:]
			require.Equal(t, []byte{c.typ, c.code}, icmp[:2])
			require.Equal(t, c.word, binary.BigEndian.Uint32(icmp[4:]))
			require.Equal(t, c.pkt[:min(len(c.pkt), limit-header-8)], icmp[8:])
		})
	}
}

func TestOriginatedErrorLeavesPaddingOut(t *testing.T) {
	pkt := append(pt.IP(from4(ttl(1)), small), 1, 2, 3)
	out := replied(t, fixture(t), pkt, translate.HopLimit)
	require.Len(t, out, 28+len(pkt)-3)
}

func TestEchoToTranslator(t *testing.T) {
	x := fixture(t)
	h := from4(func(h *pt.Header) { h.Dst, h.TTL, h.TOS, h.Options = pt.X4, 1, 0x88, []byte{7, 3, 4, 0} })
	out := replied(t, x, pt.IP(h, pt.EchoRequest(1, 2, pt.Bytes(9, 0))), translate.EchoReply)
	require.Empty(t, pt.Equal(pt.IP(pt.Header{Src: pt.X4, Dst: pt.H4, TOS: 0x88}, pt.EchoReply(1, 2, pt.Bytes(9, 0))), out))

	h = from6(func(h *pt.Header) { h.Dst, h.TTL, h.TOS, h.FlowLabel = pt.X6, 1, 0x88, 7 })
	out = replied(t, x, pt.IP(h, pt.HopByHop(8, pt.EchoRequest(1, 2, pt.Bytes(9, 0)))), translate.EchoReply)
	require.Equal(t, pt.IP(pt.Header{Src: pt.X6, Dst: pt.M6, TOS: 0x88}, pt.EchoReply(1, 2, pt.Bytes(9, 0))), out)
}

// TestTransports: every protocol crosses both ways, and what was right before
// is directly after.
func TestTransports(t *testing.T) {
	x := fixture(t)
	for n := range 40 {
		for _, p := range []pt.Payload{
			pt.UDP(1, 2, pt.Bytes(n, 3)), pt.TCP(1, 2, pt.Bytes(n, 3)), pt.DCCP(1, 2, pt.Bytes(n, 3)),
			pt.UDPLite(1, 2, 8, pt.Bytes(n, 3)), pt.UDPLite(1, 2, 0, pt.Bytes(n, 3)),
			pt.EchoRequest(1, 2, pt.Bytes(n, 3)), pt.EchoReply(1, 2, pt.Bytes(n, 3)),
		} {
			there := forwarded(t, x, pt.IP(pt.From4(), p))
			require.Equal(t, pt.IP(pt.Header{Src: pt.H4in6, Dst: pt.M6, TTL: 63}, p), there)
			back := forwarded(t, x, pt.IP(pt.From6(), p))
			require.Empty(t, pt.Equal(pt.IP(pt.Header{Src: pt.M4, Dst: pt.H4, TTL: 63}, p), back))
		}
	}
	for _, proto := range []uint8{4, 41, 47, 50, 51, 59, 89, 132, 135, 139, 140, 253} {
		p := pt.Raw(proto, pt.Bytes(40, 7))
		require.Equal(t, pt.IP(pt.Header{Src: pt.H4in6, Dst: pt.M6, TTL: 63}, p), forwarded(t, x, pt.IP(pt.From4(), p)))
		require.Empty(t, pt.Equal(pt.IP(pt.Header{Src: pt.M4, Dst: pt.H4, TTL: 63}, p), forwarded(t, x, pt.IP(pt.From6(), p))))
	}
}

// TestWrongStaysWrong: RFC 7915 §5, no checksum is repaired on the way.
func TestWrongStaysWrong(t *testing.T) {
	x := fixture(t)
	for _, p := range []pt.Payload{pt.UDP(1, 2, nil), pt.TCP(1, 2, nil), pt.DCCP(1, 2, nil), pt.EchoRequest(1, 2, nil)} {
		for _, h := range []pt.Header{pt.From4(), pt.From6()} {
			bad := func(src, dst netip.Addr) (uint8, []byte) {
				proto, b := p(src, dst)
				b[0] ^= 0x20
				if proto == 1 || proto == 58 {
					b[0] ^= 0x20
					b[7] ^= 0x20
				}
				return proto, b
			}
			require.Error(t, pt.Check(pt.IP(h, bad)))
			out, res := x.Translate(pt.IP(h, bad))
			require.Equal(t, translate.Forward, res.Verdict)
			require.Error(t, pt.Check(out[0]))
		}
	}
}

func TestUDPWithoutChecksum(t *testing.T) {
	mode := func(m translate.UDPZero) *refxlat.Xlat {
		return fixture(t, with(func(c *translate.Config) { c.UDPZero = m }))
	}
	whole := pt.IP(pt.From4(), pt.UDPNoSum(5000, 5001, pt.Bytes(24, 0)))
	first := pt.IP(from4(func(h *pt.Header) { h.MF = true }), pt.UDPNoSum(5000, 5001, pt.Bytes(24, 0)))
	prohibited(t, mode(translate.UDPZeroDrop), whole, translate.UDPZeroChecksum)
	prohibited(t, mode(translate.UDPZeroDrop), first, translate.UDPZeroChecksum)
	prohibited(t, mode(translate.UDPZeroCompute), first, translate.UDPZeroChecksum)
	require.Equal(t, pt.IP(pt.Header{Src: pt.H4in6, Dst: pt.M6, TTL: 63}, pt.UDP(5000, 5001, pt.Bytes(24, 0))),
		forwarded(t, mode(translate.UDPZeroCompute), whole))
	for _, pkt := range [][]byte{whole, first} {
		out, res := mode(translate.UDPZeroForward).Translate(pkt)
		require.Equal(t, translate.Forward, res.Verdict)
		require.Equal(t, []byte{0, 0}, data(out[0])[6:8])
	}
	for _, n := range []byte{7, 33} {
		bad := pt.Edit(whole, func(b []byte) { b[25] = n })
		prohibited(t, mode(translate.UDPZeroCompute), bad, translate.ShortTransport)
	}
	// Bytes after the UDP length are carried, not summed.
	out := data(func() []byte {
		out, _ := mode(translate.UDPZeroCompute).Translate(pt.Edit(whole, func(b []byte) { b[25] = 20 }))
		return out[0]
	}())
	require.Equal(t, uint16(0xffff), pt.Sum(pt.Pseudo(pt.H4in6, pt.M6, 17, 20), out[:20]))
	require.Len(t, out, 32)
	// From IPv6 it stays as it is.
	require.Equal(t, []byte{0, 0}, forwarded(t, fixture(t), pt.IP(pt.From6(), pt.UDPNoSum(1, 2, nil)))[26:28])
}

// TestCutting4to6: RFC 7915 §4.1, packets without DF are cut to the lowest IPv6
// MTU.
func TestCutting4to6(t *testing.T) {
	x := fixture(t)
	h := from4(func(h *pt.Header) { h.DF, h.ID = false, 0xbeef })
	for _, c := range []struct {
		name string
		h    pt.Header
		p    pt.Payload
		lens []int
	}{
		{"1260", h, pt.UDP(1, 2, make([]byte, 1232)), []int{1280}},
		{"1261", h, pt.UDP(1, 2, make([]byte, 1233)), []int{1280, 57}},
		{"1500", h, pt.UDP(1, 2, pt.Bytes(1472, 0)), []int{1280, 296}},
		{"1500-echo", h, pt.EchoRequest(1, 2, pt.Bytes(1472, 0)), []int{1280, 296}},
		{"1300-options", from4(func(h *pt.Header) { h.DF, h.Options = false, make([]byte, 40) }), pt.UDP(1, 2, make([]byte, 1232)), []int{1280}},
	} {
		t.Run(c.name, func(t *testing.T) {
			pieces, res := x.Translate(pt.IP(c.h, c.p))
			require.Equal(t, translate.Translated, res.Reason)
			for i, p := range pieces {
				require.Len(t, p, c.lens[i])
				require.NoError(t, pt.Check(p))
			}
			if len(pieces) == 1 {
				require.Equal(t, translate.Forward, res.Verdict)
				return
			}
			require.Equal(t, translate.Split, res.Verdict)
			require.Equal(t, []byte{0, 0, 0xbe, 0xef}, pieces[0][44:48])
			whole, err := pt.Reassemble(pieces)
			require.NoError(t, err)
			require.Equal(t, pt.IP(pt.Header{Src: pt.H4in6, Dst: pt.M6, TTL: 63}, c.p), whole)
		})
	}
	for _, more := range []bool{true, false} {
		h := from4(func(h *pt.Header) { h.DF, h.MF, h.Off8 = false, more, 185 })
		pieces, res := x.Translate(pt.IP(h, pt.Raw(17, make([]byte, 1480))))
		require.Equal(t, translate.Split, res.Verdict)
		require.Len(t, pieces, 2)
		last := uint16(339 << 3)
		if more {
			last |= 1
		}
		require.Equal(t, uint16(185<<3|1), binary.BigEndian.Uint16(pieces[0][42:]))
		require.Equal(t, last, binary.BigEndian.Uint16(pieces[1][42:]))
	}
	x = fixture(t, with(func(c *translate.Config) { c.LowestIPv6MTU = 1480 }))
	require.Len(t, forwarded(t, x, pt.IP(h, pt.UDP(1, 2, make([]byte, 1432)))), 1480)
	x = fixture(t, with(func(c *translate.Config) { c.LowestIPv6MTU, c.MTU6 = 1480, 1300 }))
	pieces, _ := x.Translate(pt.IP(h, pt.UDP(1, 2, make([]byte, 1432))))
	require.Len(t, pieces[0], 1296)
	pieces, _ = x.Translate(pt.IP(h, pt.UDP(1, 2, make([]byte, 1248+1250-8))))
	require.Len(t, pieces, 2, "the last piece need not be a multiple of 8")
	pieces, _ = x.Translate(pt.IP(h, pt.UDP(1, 2, make([]byte, 1248+1253-8))))
	require.Len(t, pieces, 3)
	require.Len(t, forwarded(t, fixture(t), pt.IP(pt.From4(), pt.UDP(1, 2, make([]byte, 1452)))), 1500)
}

// TestCutting6to4: RFC 7915 §5.1.1, what an IPv6 host cannot make smaller is
// fragmented in IPv4.
func TestCutting6to4(t *testing.T) {
	x := fixture(t, mtus(576, 1500))
	p := pt.UDP(1, 2, pt.Bytes(1232, 0))
	pieces, res := x.Translate(pt.IP(pt.From6(), p))
	require.Equal(t, translate.Split, res.Verdict)
	for _, b := range pieces {
		require.LessOrEqual(t, len(b), 576)
		require.NoError(t, pt.Check(b))
	}
	require.Len(t, pieces, 3)
	whole, err := pt.Reassemble(pieces)
	require.NoError(t, err)
	require.Equal(t, pt.IP(pt.Header{Src: pt.M4, Dst: pt.H4, TTL: 63}, p), whole)

	pieces, _ = x.Translate(pt.IP(pt.From6(), pt.UDP(1, 2, make([]byte, 552+556-8))))
	require.Len(t, pieces, 2, "the last piece fills the MTU")

	pieces, res = x.Translate(pt.IP(pt.From6(), pt.Fragment(0x1234beef, 10, true, pt.Raw(17, make([]byte, 1440)))))
	require.Equal(t, translate.Split, res.Verdict)
	require.Len(t, pieces, 3)
	for i, b := range pieces {
		require.Equal(t, []byte{0xbe, 0xef, 0x20, byte(10 + i*69)}, b[4:8])
	}
}

// TestQuotes: RFC 7915 §4.3 and §5.3.
func TestQuotes(t *testing.T) {
	x := fixture(t)
	m4h4, h4m6 := pt.Header{Src: pt.M4, Dst: pt.H4}, pt.Header{Src: pt.H4in6, Dst: pt.M6}
	m6h4, h4m4 := pt.Header{Src: pt.M6, Dst: pt.H4in6}, pt.Header{Src: pt.H4, Dst: pt.M4}
	for _, p := range []pt.Payload{
		small, pt.UDPNoSum(1, 2, nil), pt.TCP(1, 2, pt.Bytes(5, 0)), pt.EchoRequest(1, 2, pt.Bytes(5, 0)),
		pt.EchoReply(1, 2, nil), pt.DCCP(1, 2, nil), pt.UDPLite(1, 2, 8, nil), pt.Raw(132, pt.Bytes(20, 0)),
	} {
		in4, want6 := pt.IP(m4h4, p), pt.IP(m6h4, p)
		in6, want4 := pt.IP(h4m6, p), pt.IP(h4m4, p)
		for _, hops := range []byte{0, 1, 255} {
			in4, want6 = pt.Edit(in4, func(b []byte) { b[8] = hops }), pt.Edit(want6, func(b []byte) { b[7] = hops })
			in6, want4 = pt.Edit(in6, func(b []byte) { b[7] = hops }), pt.Edit(want4, func(b []byte) { b[8] = hops })
			require.Equal(t, want6, data(forwarded(t, x, pt.IP(pt.From4(), pt.ICMP(11, 0, 0, in4))))[8:])
			require.Equal(t, want4, data(forwarded(t, x, pt.IP(pt.From6(), pt.ICMP(3, 0, 0, in6))))[8:])
		}
		// Cut anywhere after the header: what is left is translated alike as
		// long as the checksum is there to be updated.
		for n := 28; n < len(in4); n++ {
			out := data(forwarded(t, x, pt.IP(pt.From4(), pt.ICMP(11, 0, 0, in4[:n]))))[8:]
			require.Len(t, out, n+20)
			require.Equal(t, want6[:40], out[:40], "the length is that of the whole packet")
			if n >= 20+18 {
				require.Equal(t, want6[:n+20], out)
			}
		}
		for n := 48; n < len(in6); n++ {
			out := data(forwarded(t, x, pt.IP(pt.From6(), pt.ICMP(3, 0, 0, in6[:n]))))[8:]
			require.Len(t, out, n-20)
			require.Equal(t, want4[:20], out[:20])
		}
	}

	// A quoted TCP header without its checksum does not change.
	tcp := pt.IP(m4h4, pt.TCP(1, 2, nil))
	require.Equal(t, tcp[20:28], data(forwarded(t, x, pt.IP(pt.From4(), pt.ICMP(11, 0, 0, tcp[:28]))))[48:])

	// Quoted fragments, options and extension headers.
	frag := from4(func(h *pt.Header) { h.Src, h.Dst, h.DF, h.ID, h.Off8 = pt.M4, pt.H4, false, 0xbeef, 185 })
	out := data(forwarded(t, x, pt.IP(pt.From4(), pt.ICMP(11, 0, 0, pt.IP(frag, small)))))[8:]
	require.Equal(t, pt.IP(m6h4, pt.Fragment(0xbeef, 185, false, pt.Raw(17, pt.IP(frag, small)[20:]))), out)
	out = data(forwarded(t, x, pt.IP(pt.From6(), pt.ICMP(3, 0, 0, pt.IP(h4m6, pt.Fragment(0x1234beef, 185, true, pt.Raw(17, pt.Bytes(24, 0))))))))[8:]
	require.Equal(t, pt.IP(from4(func(h *pt.Header) { h.DF, h.ID, h.Off8, h.MF = false, 0xbeef, 185, true }), pt.Raw(17, pt.Bytes(24, 0))), out)
	options := pt.Header{Src: pt.M4, Dst: pt.H4, Options: make([]byte, 40)}
	require.Equal(t, pt.IP(m6h4, small), data(forwarded(t, x, pt.IP(pt.From4(), pt.ICMP(11, 0, 0, pt.IP(options, small)))))[8:])
	require.Equal(t, pt.IP(h4m4, small), data(forwarded(t, x, pt.IP(pt.From6(), pt.ICMP(3, 0, 0, pt.IP(h4m6, pt.HopByHop(8, pt.DestOpts(16, small)))))))[8:])

	// An error does not outgrow what its family allows.
	long4 := pt.IP(m4h4, pt.UDP(1, 2, make([]byte, 1400)))
	require.Len(t, forwarded(t, x, pt.IP(pt.From4(), pt.ICMP(11, 0, 0, long4))), 1280)
	long6 := pt.IP(h4m6, pt.UDP(1, 2, make([]byte, 1100)))
	require.Len(t, forwarded(t, x, pt.IP(pt.From6(), pt.ICMP(3, 0, 0, long6))), 576)
}

func TestExtensionsThatHardlyFit(t *testing.T) {
	x := fixture(t)
	long4 := pt.IP(pt.Header{Src: pt.M4, Dst: pt.H4}, pt.UDP(1, 2, make([]byte, 900)))
	long6 := pt.IP(pt.Header{Src: pt.H4in6, Dst: pt.M6}, pt.UDP(1, 2, make([]byte, 1100)))
	for _, c := range []struct{ object, quote, total int }{
		{400, 512, 992},   // fits
		{404, 900, 1276},  // quote shortened to a multiple of 8
		{1096, 128, 1280}, // 128 bytes left for the quote
		{1100, 128, 196},  // not even that: no extension
	} {
		ext := pt.Extension(pt.Object(247, 1, make([]byte, c.object)))
		out := forwarded(t, x, pt.IP(pt.From4(), pt.ExtendedError(11, 0, 0, long4[:c.quote], ext)))
		require.Len(t, out, c.total)
		require.Equal(t, c.object < 1100, out[44] != 0)
	}
	for _, c := range []struct{ object, quote, total int }{
		{12, 1000, 576}, {13 * 4, 1000, 576}, {412, 144, 576}, {416, 144, 152},
	} {
		ext := pt.Extension(pt.Object(247, 1, make([]byte, c.object)))
		out := forwarded(t, x, pt.IP(pt.From6(), pt.ExtendedError(3, 0, 0, long6[:c.quote], ext)))
		require.Len(t, out, c.total)
		require.Equal(t, c.object < 416, out[25] != 0)
	}
	// A length that covers the whole message promises an extension that is not
	// there.
	out := data(forwarded(t, x, pt.IP(pt.From4(), pt.ICMP(11, 0, 32<<16, long4[:128]))))
	require.Zero(t, out[4])
	require.Len(t, out, 8+148)
}

func TestErrorsFromUnmappedRouters(t *testing.T) {
	node := with(func(c *translate.Config) { c.NodeAddress = true })
	router := from6(func(h *pt.Header) { h.Src = pt.R6 })
	object := pt.Object(2, 4, append([]byte{0, 2, 0, 0}, pt.R6.AsSlice()...))

	out := forwarded(t, fixture(t), pt.IP(router, pt.ICMP(3, 0, 0, quote6)))
	require.Equal(t, pt.X4.AsSlice(), out[12:16])
	require.Zero(t, out[25])

	out = forwarded(t, fixture(t, node), pt.IP(router, pt.ICMP(3, 0, 0, quote6)))
	require.Equal(t, pt.Extension(object), out[28+128:])

	// Not for a router that has an IPv4 address.
	out = forwarded(t, fixture(t, node), pt.IP(pt.From6(), pt.ICMP(3, 0, 0, quote6)))
	require.Zero(t, out[25])

	// Packet Too Big can carry it in IPv4.
	out = forwarded(t, fixture(t, node), pt.IP(router, pt.ICMP(2, 0, 1400, quote6)))
	require.Equal(t, []byte{3, 4}, out[20:22])
	require.Equal(t, []byte{0, 32, 1380 >> 8, 1380 & 255}, out[24:28])

	for _, c := range []struct {
		name      string
		ext, want []byte
	}{
		{"appended", pt.MPLS(), pt.Extension(pt.MPLS()[4:], object)},
		{"other-role", pt.Extension(pt.Object(2, 0x40, nil)), pt.Extension(pt.Object(2, 0x40, nil), object)},
		{"role-0-already", pt.Extension(pt.Object(2, 0x08, nil)), nil},
		{"unsummed", append([]byte{0x20, 0, 0, 0}, pt.MPLS()[4:]...), append(append([]byte{0x20, 0, 0, 0}, pt.MPLS()[4:]...), object...)},
		{"wrong-sum", append([]byte{0x20, 0, 1, 0}, pt.MPLS()[4:]...), nil},
		{"version-1", append([]byte{0x10, 0, 0, 0}, pt.MPLS()[4:]...), nil},
		{"header-only", []byte{0x20, 0, 0, 0}, nil},
		{"three-bytes", []byte{0x20, 0, 0}, nil},
		{"object-short", []byte{0x20, 0, 0, 0, 0, 3, 1, 1}, nil},
		{"object-long", []byte{0x20, 0, 0, 0, 0, 12, 1, 1, 0, 0, 0, 0}, nil},
		{"object-cut", []byte{0x20, 0, 0, 0, 0, 4, 1, 1, 0, 4}, nil},
		{"no-room", pt.Extension(pt.Object(247, 1, make([]byte, 400))), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.want == nil {
				c.want = c.ext
			}
			out, res := fixture(t, node).Translate(pt.IP(router, pt.ExtendedError(3, 0, 0, quote6, c.ext)))
			require.Equal(t, translate.Forward, res.Verdict)
			require.Equal(t, c.want, out[0][28+128:])
			require.EqualValues(t, 32, out[0][25])
		})
	}

	noPool := with(func(c *translate.Config) { c.ICMPPool4 = nil })
	noAddr := with(func(c *translate.Config) { c.IPv4, c.ICMPPool4 = netip.Addr{}, nil })
	require.Equal(t, pt.X4.AsSlice(), forwarded(t, fixture(t, noPool), pt.IP(router, pt.ICMP(3, 0, 0, quote6)))[12:16])
	refused(t, fixture(t, noAddr), pt.IP(router, pt.ICMP(3, 0, 0, quote6)), translate.ICMPSource)

	// The other way: no prefix for the source of an ICMPv4 error.
	maps := func(_ *translate.Config, t *translate.TableConfig) {
		t.Prefixes = nil
		t.Maps = append(t.Maps, translate.Map{IPv4: prefix("198.51.100.0/24"), IPv6: prefix("2001:db8:5::/120")})
	}
	report := pt.IP(from4(func(h *pt.Header) { h.Src = pt.R4 }), pt.ICMP(11, 0, 0, quote4))
	require.Equal(t, pt.X6.AsSlice(), forwarded(t, fixture(t, maps), report)[8:24])
	pool := with(func(c *translate.Config) { c.ICMPPool6 = []netip.Addr{pt.R6} })
	require.Equal(t, pt.R6.AsSlice(), forwarded(t, fixture(t, maps, pool), report)[8:24])
	refused(t, fixture(t, maps, with(func(c *translate.Config) { c.IPv6 = netip.Addr{} })), report, translate.ICMPSource)
	// A source that no packet may have is good enough for an error.
	report = pt.IP(from4(func(h *pt.Header) { h.Src = addr("127.0.0.1") }), pt.ICMP(11, 0, 0, quote4))
	require.Equal(t, addr("2001:db8:64::127.0.0.1").AsSlice(), forwarded(t, fixture(t), report)[8:24])
}

func TestOptionsThatAreIgnored(t *testing.T) {
	for name, o := range map[string][]byte{
		"expired-lsrr":       {131, 7, 8, 10, 0, 0, 1, 0},
		"record-route":       {7, 7, 4, 0, 0, 0, 0, 0},
		"end-in-front":       {0, 131, 7, 4, 10, 0, 0, 1},
		"length-0":           {7, 0, 131, 7, 4, 10, 0, 1},
		"length-beyond":      {7, 9, 131, 7, 4, 10, 0, 1},
		"length-missing":     {1, 1, 1, 131},
		"route-without-body": {131, 2, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, pt.IP(pt.Header{Src: pt.H4in6, Dst: pt.M6, TTL: 63}, small),
				forwarded(t, fixture(t), pt.IP(from4(opts(o...)), small)))
		})
	}
}

func TestTrafficClass(t *testing.T) {
	x := fixture(t, with(func(c *translate.Config) {
		c.TOS4to6, c.TOS6to4 = translate.TOS{Override: true}, translate.TOS{Override: true, Value: 0x28}
	}))
	tos := func(h *pt.Header) { h.TOS = 0xb9 }
	require.Equal(t, []byte{0x60, 0}, forwarded(t, x, pt.IP(from4(tos), small))[:2])
	require.EqualValues(t, 0x28, forwarded(t, x, pt.IP(from6(tos), small))[1])
}

func TestNewRefuses(t *testing.T) {
	for name, f := range map[string]change{
		"flow-labels":   with(func(c *translate.Config) { c.FlowLabels = true }),
		"prefix-length": func(_ *translate.Config, t *translate.TableConfig) { t.Prefixes[0] = prefix("2001:db8::/95") },
		"prefix-family": func(_ *translate.Config, t *translate.TableConfig) { t.Prefixes[0] = prefix("10.0.0.0/32") },
		"map-suffix": func(_ *translate.Config, t *translate.TableConfig) {
			t.Maps[0] = translate.Map{IPv4: prefix("192.0.2.0/24"), IPv6: prefix("2001:db8::/125")}
		},
		"pool-family": func(_ *translate.Config, t *translate.TableConfig) { t.Pools = pt.Pools(nil, "::/96") },
	} {
		cfg, tab := pt.Config(), pt.TableConfig()
		f(&cfg, &tab)
		_, err := refxlat.New(cfg, tab)
		require.Error(t, err, name)
	}
	x, err := refxlat.New(translate.Config{}, translate.TableConfig{})
	require.NoError(t, err)
	refused(t, x, pt.IP(pt.From4(), small), translate.NoDestination)
}
