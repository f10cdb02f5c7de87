package rfc

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// A kind is a packet that takes a way of its own through the translator.
type kind struct {
	name    string
	pkt     []byte
	verdict translate.Verdict
	reason  translate.Reason
	edit    func(s *settings)
	offload translate.Offload
}

// kinds returns a packet for every way to be forwarded, cut, answered or
// dropped, for every reason and from both sides.
func kinds() []kind {
	const (
		drop    = translate.Drop
		forward = translate.Forward
		reply   = translate.Reply
		split   = translate.Split
	)
	h4, h6 := pt.From4(), pt.From6()
	to4 := func(dst string) pt.Header { return pt.Header{Src: pt.H4, Dst: addr(dst), DF: true} }
	to6 := func(dst string) pt.Header { return pt.Header{Src: pt.M6, Dst: addr(dst)} }
	first := with(noDF, func(h *pt.Header) { h.MF = true })
	last := with(noDF, func(h *pt.Header) { h.Off8 = 3 })
	one4, one6 := h4, h6
	one4.TTL, one6.TTL = 1, 1
	routed := with(h4, func(h *pt.Header) { h.Options = []byte{0x83, 3, 3, 0} })
	data := pt.Bytes(64, 0)
	quote4, quote6 := pt.IP(sent4, udp(64)), pt.IP(sent6, udp(64))
	fromR6 := pt.Header{Src: pt.R6, Dst: pt.H4in6}
	noSum := pt.UDPNoSum(5000, 6001, data)
	zeroLite := pt.Raw(136, make([]byte, 16))
	seven := translate.Map{IPv4: mustPrefix("192.0.2.7/32"), IPv6: mustPrefix("2001:db8:7::7/128")}

	// Ways to set a translator up.
	compute := func(s *settings) { s.UDPZero = translate.UDPZeroCompute }
	passZero := func(s *settings) { s.UDPZero = translate.UDPZeroForward }
	tayga := func(s *settings) { s.ICMPErrors = translate.ErrorsTAYGA }
	silent := func(s *settings) { s.ErrorRate = -1 }
	mapsOnly := func(s *settings) { s.Prefixes = nil }
	wellKnown := func(s *settings) { s.Prefixes = prefixes("64:ff9b::/96") }
	strangers := func(s *settings) { wellKnown(s); tayga(s) }
	noSources := func(s *settings) { s.IPv4, s.IPv6, s.ICMPPool4 = netip.Addr{}, netip.Addr{}, nil }
	mapsAndNoSources := func(s *settings) { mapsOnly(s); noSources(s) }
	node := func(s *settings) { s.NodeAddress = true }
	pool := func(s *settings) {
		withPool(s)
		s.Pools[0].Dynamic = lease{host: addr("2001:db8:1::1"), v4: addr("198.18.0.1")}
	}
	emptyPool := withPool
	twoHosts := func(s *settings) { s.Maps = append(s.Maps, seven) }
	simple := func(s *settings) { twoHosts(s); s.Hairpin = translate.HairpinSimple }
	// The host is numbered as if RFC 6052 had mapped it.
	loop := func(s *settings) {
		withPool(s)
		s.Pools[0].Dynamic = lease{host: addr("2001:db8:64::c612:1"), v4: addr("198.18.0.1")}
	}
	labels := func(s *settings) { s.FlowLabels = true }
	refuse := func(s *settings) { s.DropEmbeddedSource = true }
	clamp := func(s *settings) { s.MSSClamp = 1000 }
	narrow4 := func(s *settings) { s.MTU4 = 576 }
	wide := func(s *settings) { s.MTU4, s.MTU6 = 9000, 9000 }

	tcp4 := translate.Offload{Flags: translate.OffloadNeedsCsum, GSOType: translate.GSOTCPv4, HdrLen: 40, GSOSize: 1400, CsumStart: 20, CsumOffset: 16}
	tcp6 := translate.Offload{Flags: translate.OffloadNeedsCsum, GSOType: translate.GSOTCPv6, HdrLen: 60, GSOSize: 1400, CsumStart: 40, CsumOffset: 16}
	udp4 := translate.Offload{Flags: translate.OffloadNeedsCsum, GSOType: translate.GSOUDPL4, HdrLen: 28, GSOSize: 1200, CsumStart: 20, CsumOffset: 6}
	udp6 := translate.Offload{Flags: translate.OffloadNeedsCsum, GSOType: translate.GSOUDPL4, HdrLen: 48, GSOSize: 1200, CsumStart: 40, CsumOffset: 6}
	sum4 := translate.Offload{Flags: translate.OffloadNeedsCsum, CsumStart: 20, CsumOffset: 16}
	none := translate.Offload{}

	var all []kind
	add := func(name string, pkt []byte, v translate.Verdict, why translate.Reason, edit func(s *settings)) {
		all = append(all, kind{name, pkt, v, why, edit, none})
	}
	super := func(name string, pkt []byte, v translate.Verdict, why translate.Reason, edit func(s *settings), o translate.Offload) {
		all = append(all, kind{name, pkt, v, why, edit, o})
	}

	for _, p := range []struct {
		name string
		pt.Payload
	}{
		{"udp", udp(64)}, {"tcp", pt.TCP(1, 2, data)}, {"dccp", pt.DCCP(1, 2, data)}, {"udp-lite", pt.UDPLite(1, 2, 8, data)},
		{"sctp", pt.Raw(132, data)}, {"request", pt.EchoRequest(1, 2, data)}, {"reply", pt.EchoReply(1, 2, data)},
	} {
		add(p.name+"-4to6", pt.IP(h4, p.Payload), forward, translate.Translated, nil)
		add(p.name+"-6to4", pt.IP(h6, p.Payload), forward, translate.Translated, nil)
		add(p.name+"-4to6-labelled", pt.IP(h4, p.Payload), forward, translate.Translated, labels)
		add(p.name+"-6to4-chain", pt.IP(h6, pt.HopByHop(8, pt.Routing(0, p.Payload))), forward, translate.Translated, nil)
		add(p.name+"-6to4-atomic", pt.IP(h6, pt.Fragment(7, 0, false, p.Payload)), forward, translate.Translated, nil)
		add(p.name+"-hairpin", pt.IP(to6("2001:db8:64::c000:207"), p.Payload), forward, translate.Hairpinned, twoHosts)
	}
	syn := pt.SYN(1, 2, append(pt.MSS(1460), pt.MSS(1440)...))
	add("syn-4to6", pt.IP(h4, syn), forward, translate.Translated, clamp)
	add("syn-6to4", pt.IP(h6, syn), forward, translate.Translated, clamp)
	add("options-4to6", pt.IP(with(h4, func(h *pt.Header) { h.Options = make([]byte, 40) }), udp(64)), forward, translate.Translated, nil)
	add("first-fragment-4to6", pt.IP(first, udp(64)), forward, translate.Translated, nil)
	add("last-fragment-4to6", pt.IP(last, udp(64)), forward, translate.Translated, nil)
	add("first-fragment-6to4", pt.IP(h6, pt.Fragment(7, 0, true, udp(64))), forward, translate.Translated, nil)
	add("last-fragment-6to4", pt.IP(h6, pt.Fragment(7, 3, false, udp(64))), forward, translate.Translated, nil)
	add("hairpin-fragment", pt.IP(to6("2001:db8:64::c000:207"), pt.Fragment(7, 3, false, udp(64))), forward, translate.Hairpinned, twoHosts)
	add("simple-hairpin-4to6", pt.IP(pt.Header{Src: pt.M4, Dst: addr("192.0.2.7")}, udp(4)), forward, translate.Translated, simple)
	add("no-checksum-computed", pt.IP(h4, noSum), forward, translate.Translated, compute)
	add("no-checksum-forwarded", pt.IP(h4, noSum), forward, translate.Translated, passZero)
	add("no-checksum-6to4", pt.IP(h6, noSum), forward, translate.Translated, nil)
	add("no-checksum-hairpin", pt.IP(to6("2001:db8:64::c000:207"), noSum), forward, translate.Hairpinned, func(s *settings) { twoHosts(s); compute(s) })
	add("lease-4to6", pt.IP(to4("198.18.0.1"), udp(4)), forward, translate.Translated, pool)
	add("lease-6to4", pt.IP(pt.Header{Src: addr("2001:db8:1::1"), Dst: pt.H4in6}, udp(4)), forward, translate.Translated, pool)
	add("largest-4to6", pt.IP(h4, udp(8900)), forward, translate.Translated, wide)
	add("largest-6to4", pt.IP(h6, udp(8900)), forward, translate.Translated, wide)

	add("cut-4to6", pt.IP(noDF, udp(4000)), split, translate.Translated, nil)
	add("cut-fragment-4to6", pt.IP(first, udp(1472)), split, translate.Translated, nil)
	add("cut-6to4", pt.IP(h6, udp(1200)), split, translate.Translated, narrow4)
	add("cut-fragment-6to4", pt.IP(h6, pt.Fragment(7, 9, true, pt.Raw(17, make([]byte, 1232)))), split, translate.Translated, narrow4)

	super("super-tcp-4to6", pt.IP(h4, pt.TCP(1, 2, make([]byte, 8000))), forward, translate.Translated, nil, tcp4)
	super("super-tcp-6to4", pt.IP(h6, pt.TCP(1, 2, make([]byte, 8000))), forward, translate.Translated, nil, tcp6)
	super("super-udp-4to6", pt.IP(h4, udp(8000)), forward, translate.Translated, nil, udp4)
	super("super-udp-6to4", pt.IP(h6, udp(8000)), forward, translate.Translated, nil, udp6)
	super("super-tcp-cut-4to6", pt.IP(noDF, pt.TCP(1, 2, make([]byte, 8000))), split, translate.Translated, nil, tcp4)
	super("partial-checksum-4to6", pt.IP(h4, pt.TCP(1, 2, data)), forward, translate.Translated, nil, sum4)
	super("bad-offload-4to6", pt.IP(h4, udp(64)), drop, translate.BadOffload, nil, tcp4)
	super("bad-offload-6to4", pt.IP(h6, udp(64)), drop, translate.BadOffload, nil, tcp4)

	for name, pkts := range unshared() {
		by, _, _ := strings.Cut(name, "/")
		for _, pkt := range pkts {
			verdict := reply
			switch {
			case by == "no-session", by == "unsolicited-syn",
				name == "session-limit/" && pkt[0]>>4 == 4, name == "filtered/Echo" && pkt[0]>>4 == 6:
				verdict = drop
			}
			add(name, pkt, verdict, reasonOf(by), sharing(by))
		}
	}

	for _, e := range []struct{ typ, code uint8 }{{3, 0}, {3, 2}, {3, 4}, {11, 0}, {12, 0}} {
		for _, q := range []pt.Payload{udp(64), pt.TCP(1, 2, data), pt.EchoRequest(1, 2, data)} {
			quote := pt.IP(sent4, q)
			add(fmt.Sprintf("error-4to6-%d-%d", e.typ, e.code), error4(e.typ, e.code, 0, quote), forward, translate.Translated, nil)
			ext := pt.IP(pt.Header{Src: pt.R4, Dst: pt.M4}, pt.ExtendedError(e.typ, e.code, 0, quote, pt.MPLS()))
			add(fmt.Sprintf("error-4to6-%d-%d-extended", e.typ, e.code), ext, forward, translate.Translated, nil)
		}
	}
	for _, e := range []struct {
		typ, code uint8
		word      uint32
	}{{1, 4, 0}, {2, 0, 1400}, {3, 0, 0}, {4, 0, 6}, {4, 1, 6}} {
		for _, q := range []pt.Payload{udp(64), pt.TCP(1, 2, data), pt.EchoRequest(1, 2, data), pt.Fragment(7, 9, true, udp(64))} {
			quote := pt.IP(sent6, q)
			name := fmt.Sprintf("error-6to4-%d-%d", e.typ, e.code)
			add(name, error6(e.typ, e.code, e.word, quote), forward, translate.Translated, nil)
			add(name+"-from-nowhere", pt.IP(fromR6, pt.ICMP(e.typ, e.code, e.word, quote)), forward, translate.Translated, nil)
			add(name+"-from-nowhere-named", pt.IP(fromR6, pt.ICMP(e.typ, e.code, e.word, quote)), forward, translate.Translated, node)
		}
	}
	add("error-6to4-extended", pt.IP(h6, pt.ExtendedError(1, 4, 0, quote6, pt.MPLS())), forward, translate.Translated, nil)
	add("error-6to4-extended-named", pt.IP(fromR6, pt.ExtendedError(3, 0, 0, quote6, pt.MPLS())), forward, translate.Translated, node)
	add("error-4to6-cut", error4(3, 3, 0, pt.IP(sent4, udp(1400))), forward, translate.Translated, nil)
	add("error-6to4-cut", error6(1, 4, 0, pt.IP(sent6, udp(1100))), forward, translate.Translated, nil)
	add("error-4to6-from-nowhere", error4(3, 3, 0, pt.IP(pt.Header{Src: pt.M4, Dst: addr("192.0.2.7")}, udp(4))), forward, translate.Translated,
		func(s *settings) { mapsOnly(s); twoHosts(s) })
	hairpinned := pt.IP(pt.Header{Src: addr("2001:db8:64::c000:206"), Dst: addr("2001:db8:7::7")}, udp(4))
	add("error-hairpin", pt.IP(pt.Header{Src: addr("2001:db8:7::7"), Dst: addr("2001:db8:64::c000:206")}, pt.ICMP(1, 4, 0, hairpinned)),
		forward, translate.Hairpinned, twoHosts)

	add("echo-to-itself-4", pt.IP(to4("192.0.2.254"), pt.EchoRequest(1, 2, data)), reply, translate.EchoReply, nil)
	add("echo-to-itself-6", pt.IP(to6("2001:db8:f::254"), pt.EchoRequest(1, 2, data)), reply, translate.EchoReply, nil)
	for _, c := range []struct {
		name string
		pkt  []byte
		why  translate.Reason
		edit func(s *settings)
	}{
		{"hop-limit-4", pt.IP(one4, udp(64)), translate.HopLimit, nil},
		{"hop-limit-6", pt.IP(one6, udp(64)), translate.HopLimit, nil},
		{"too-big-4", pt.IP(h4, udp(1472)), translate.TooBig, nil},
		{"too-big-6", pt.IP(h6, udp(1452)), translate.TooBig, narrow4},
		{"too-big-hairpin", pt.IP(to6("2001:db8:64::c000:207"), udp(1500)), translate.TooBig, twoHosts},
		{"source-route-4", pt.IP(routed, udp(64)), translate.SourceRoute, nil},
		{"source-route-6", pt.IP(h6, pt.Routing(1, udp(64))), translate.SourceRoute, nil},
		{"no-destination-4", pt.IP(to4("198.18.0.7"), udp(4)), translate.NoDestination, emptyPool},
		{"no-destination-6", pt.IP(to6("2001:db8:bad::1"), udp(4)), translate.NoDestination, nil},
		{"no-destination-hairpin", pt.IP(to6("2001:db8:64::c612:7"), udp(4)), translate.NoDestination, emptyPool},
		{"no-source-4", pt.IP(h4, udp(4)), translate.NoSource, mapsOnly},
		{"no-source-6", pt.IP(fromR6, udp(4)), translate.NoSource, nil},
		{"self-protocol-4", pt.IP(to4("192.0.2.254"), udp(4)), translate.SelfProtocol, nil},
		{"self-protocol-6", pt.IP(to6("2001:db8:f::254"), udp(4)), translate.SelfProtocol, nil},
	} {
		add(c.name+"-told", c.pkt, reply, c.why, c.edit)
		add(c.name, c.pkt, drop, c.why, func(s *settings) {
			if c.edit != nil {
				c.edit(s)
			}
			silent(s)
		})
	}
	// Those below that are dropped only where no errors are sent.
	told := map[string]bool{}
	for _, name := range []string{"non-global-4", "bad-fragment-4", "bad-fragment-6", "tiny-fragment-4", "tiny-fragment-6",
		"fragmented-icmp-4", "fragment-chain", "bad-extension-header", "bad-extension-header-fragment", "no-protocol-6",
		"short-transport-4", "short-transport-6", "short-transport-computed", "short-icmp-4", "udp-zero-checksum",
		"udp-zero-checksum-fragment", "udp-lite-zero-checksum", "udp-zero-checksum-hairpin", "hairpin-loop"} {
		told[name] = true
	}
	add("non-global-told-4", pt.IP(with(h4, func(h *pt.Header) { h.Src = addr("10.0.0.1") }), udp(4)), reply, translate.NonGlobal, strangers)
	add("non-global-told-6", pt.IP(to6("64:ff9b::10.0.0.1"), udp(4)), reply, translate.NonGlobal, wellKnown)

	for _, c := range []struct {
		name string
		pkt  []byte
		why  translate.Reason
		edit func(s *settings)
	}{
		{"bad-header-4", pt.IP(h4, udp(4))[:19], translate.BadHeader, nil},
		{"bad-header-6", pt.IP(h6, udp(4))[:39], translate.BadHeader, nil},
		{"bad-header-empty", nil, translate.BadHeader, nil},
		{"bad-header-version", []byte{0x70}, translate.BadHeader, nil},
		{"bad-header-checksum", append([]byte{0x45, 1}, pt.IP(h4, udp(4))[2:]...), translate.BadHeaderChecksum, nil},
		{"illegal-source-4", pt.IP(with(h4, func(h *pt.Header) { h.Src = addr("127.0.0.1") }), udp(4)), translate.IllegalSource, nil},
		{"illegal-source-6", pt.IP(with(h6, func(h *pt.Header) { h.Src = addr("::1") }), udp(4)), translate.IllegalSource, nil},
		{"illegal-source-embedded", pt.IP(with(h6, func(h *pt.Header) { h.Src = addr("2001:db8:64::") }), udp(4)), translate.IllegalSource, nil},
		{"illegal-destination-4", pt.IP(to4("224.0.0.1"), udp(4)), translate.IllegalDestination, nil},
		{"illegal-destination-6", pt.IP(to6("ff02::1"), udp(4)), translate.IllegalDestination, nil},
		{"illegal-destination-embedded", pt.IP(to6("2001:db8:64::7f00:1"), udp(4)), translate.IllegalDestination, nil},
		{"non-global-4", pt.IP(with(h4, func(h *pt.Header) { h.Src = addr("10.0.0.1") }), udp(4)), translate.NonGlobal, wellKnown},
		{"non-global-error-4", error4(3, 3, 0, quote4), translate.NonGlobal, wellKnown},
		{"link-local-4", pt.IP(to4("169.254.0.1"), udp(4)), translate.LinkLocal, nil},
		{"link-local-6", pt.IP(to6("2001:db8:64::a9fe:1"), udp(4)), translate.LinkLocal, nil},
		{"embedded-source", pt.IP(with(h6, func(h *pt.Header) { h.Src = addr("2001:db8:64::101:101") }), udp(4)), translate.EmbeddedSource, refuse},
		{"embedded-source-error", pt.IP(with(h6, func(h *pt.Header) { h.Src = addr("2001:db8:64::101:101") }), pt.ICMP(1, 4, 0, quote6)), translate.EmbeddedSource, refuse},
		{"bad-fragment-4", pt.IP(first, udp(61)), translate.BadFragment, nil},
		{"bad-fragment-6", pt.IP(h6, pt.Fragment(7, 0, true, udp(61))), translate.BadFragment, nil},
		{"bad-fragment-beyond-4", pt.IP(with(noDF, func(h *pt.Header) { h.Off8 = 8191 }), udp(64)), translate.BadFragment, nil},
		{"bad-fragment-beyond-6", pt.IP(h6, pt.Fragment(7, 8191, false, udp(64))), translate.BadFragment, nil},
		{"tiny-fragment-4", pt.IP(first, pt.Raw(6, data[:16])), translate.TinyFragment, nil},
		{"tiny-fragment-6", pt.IP(h6, pt.Fragment(7, 0, true, pt.Raw(6, data[:16]))), translate.TinyFragment, nil},
		{"tiny-fragment-second-4", pt.IP(with(noDF, func(h *pt.Header) { h.Off8 = 1 }), pt.Raw(6, data)), translate.TinyFragment, nil},
		{"tiny-fragment-second-6", pt.IP(h6, pt.Fragment(7, 1, false, pt.Raw(6, data))), translate.TinyFragment, nil},
		{"fragmented-icmp-4", pt.IP(first, pt.EchoRequest(1, 2, data)), translate.FragmentedICMP, nil},
		{"fragmented-icmp-6", pt.IP(h6, pt.Fragment(7, 0, true, pt.EchoRequest(1, 2, data))), translate.FragmentedICMP, nil},
		{"fragment-chain", pt.IP(h6, pt.Fragment(7, 0, true, pt.DestOpts(8, udp(64)))), translate.FragmentChain, nil},
		{"bad-extension-header", pt.IP(h6, pt.Part(pt.DestOpts(16, udp(0)), 0, 8)), translate.BadExtensionHeader, nil},
		{"bad-extension-header-fragment", pt.IP(h6, pt.Part(pt.Fragment(7, 0, true, udp(0)), 0, 7)), translate.BadExtensionHeader, nil},
		{"no-protocol-4", pt.IP(h4, pt.Raw(2, data)), translate.NoProtocol, nil},
		{"no-protocol-6", pt.IP(h6, pt.Raw(1, data)), translate.NoProtocol, nil},
		{"short-transport-4", pt.IP(h4, pt.Raw(6, data[:19])), translate.ShortTransport, nil},
		{"short-transport-6", pt.IP(h6, pt.Raw(6, data[:19])), translate.ShortTransport, nil},
		{"short-transport-computed", pt.IP(h4, pt.Part(noSum, 0, 40)), translate.ShortTransport, compute},
		{"short-icmp-4", pt.IP(h4, pt.Raw(1, data[:7])), translate.ShortTransport, nil},
		{"short-icmp-6", pt.IP(h6, pt.Raw(58, data[:7])), translate.ShortTransport, nil},
		{"udp-zero-checksum", pt.IP(h4, noSum), translate.UDPZeroChecksum, nil},
		{"udp-zero-checksum-fragment", pt.IP(first, noSum), translate.UDPZeroChecksum, compute},
		{"udp-lite-zero-checksum", pt.IP(h6, zeroLite), translate.UDPZeroChecksum, nil},
		{"udp-zero-checksum-hairpin", pt.IP(to6("2001:db8:64::c000:207"), noSum), translate.UDPZeroChecksum, twoHosts},
		{"icmp-type-4", pt.IP(h4, pt.ICMP(13, 0, 0, data)), translate.ICMPType, nil},
		{"icmp-type-6", pt.IP(h6, pt.ICMP(135, 0, 0, data)), translate.ICMPType, nil},
		{"icmp-pointer-4", error4(12, 0, 20<<24, quote4), translate.ICMPPointer, nil},
		{"icmp-pointer-6", error6(4, 0, 40, quote6), translate.ICMPPointer, nil},
		{"icmp-mtu", error6(2, 0, 87, quote6), translate.ICMPMTU, nil},
		{"icmp-checksum-4", pt.Edit(error4(3, 3, 0, quote4), func(b []byte) { b[22] ^= 1 }), translate.ICMPChecksum, nil},
		{"icmp-checksum-6", pt.Edit(error6(1, 4, 0, quote6), func(b []byte) { b[42] ^= 1 }), translate.ICMPChecksum, nil},
		{"icmp-checksum-own-4", pt.Edit(pt.IP(to4("192.0.2.254"), pt.EchoRequest(1, 2, nil)), func(b []byte) { b[22] ^= 1 }), translate.ICMPChecksum, nil},
		{"icmp-checksum-own-6", pt.Edit(pt.IP(to6("2001:db8:f::254"), pt.EchoRequest(1, 2, nil)), func(b []byte) { b[42] ^= 1 }), translate.ICMPChecksum, nil},
		{"icmp-quote-4", error4(3, 3, 0, quote4[:19]), translate.ICMPQuote, nil},
		{"icmp-quote-6", error6(1, 4, 0, quote6[:39]), translate.ICMPQuote, nil},
		{"icmp-quote-unmapped-4", error4(3, 3, 0, pt.IP(pt.Header{Src: pt.M4, Dst: addr("198.18.0.7")}, udp(4))), translate.ICMPQuote, emptyPool},
		{"icmp-quote-unmapped-6", error6(1, 4, 0, pt.IP(pt.Header{Src: pt.R6, Dst: pt.M6}, udp(4))), translate.ICMPQuote, nil},
		{"icmp-quoted-error-4", error4(3, 3, 0, error4(3, 3, 0, quote4)), translate.ICMPQuotedError, nil},
		{"icmp-quoted-error-6", error6(1, 4, 0, error6(1, 4, 0, quote6)), translate.ICMPQuotedError, nil},
		{"icmp-extension-4", error4(3, 3, 255<<16, quote4), translate.ICMPExtension, nil},
		{"icmp-extension-6", error6(1, 4, 255<<24, quote6), translate.ICMPExtension, nil},
		{"icmp-source-4", error4(3, 3, 0, quote4), translate.ICMPSource, mapsAndNoSources},
		{"icmp-source-6", pt.IP(fromR6, pt.ICMP(1, 4, 0, quote6)), translate.ICMPSource, noSources},
		{"self-icmp-4", pt.IP(to4("192.0.2.254"), pt.EchoReply(1, 2, nil)), translate.SelfICMP, nil},
		{"self-icmp-6", pt.IP(to6("2001:db8:f::254"), pt.EchoReply(1, 2, nil)), translate.SelfICMP, nil},
		{"hairpin-loop", pt.IP(pt.Header{Src: addr("2001:db8:64::101:101"), Dst: addr("2001:db8:64::c612:1")}, udp(4)), translate.HairpinLoop, loop},
	} {
		edit := c.edit
		if told[c.name] {
			add(c.name+"-told", c.pkt, reply, c.why, edit)
			edit = func(s *settings) {
				if c.edit != nil {
					c.edit(s)
				}
				silent(s)
			}
		}
		add(c.name, c.pkt, drop, c.why, edit)
	}
	return all
}

// TestAllocations translates a packet of every kind and expects no allocation. It
// fails too if a kind misses its verdict or reason, or if a reason is left that
// no packet was refused or passed for.
func TestAllocations(t *testing.T) {
	more := make([]translate.Packet, 3)
	for i := range more {
		more[i] = pt.Buffer(make([]byte, 9000))
	}
	reached := map[translate.Reason]bool{
		// What one packet after the other reaches: TestFragmentAllocs of translate.
		translate.Waiting: true, translate.FragmentRoom: true, translate.FragmentOverlap: true, translate.FragmentTimeout: true,
	}
	for _, k := range kinds() {
		x := newXlat(t, k.edit)
		p := pt.Buffer(k.pkt)
		buf, at := p.Buf, p.Off
		var res, first translate.Result
		runs := 0
		n := testing.AllocsPerRun(20, func() {
			copy(buf[at:], k.pkt)
			p = translate.Packet{Buf: buf, Off: at, Len: len(k.pkt), Offload: k.offload}
			res = x.w.Translate(0, &p)
			for p.Result.Verdict == translate.Split {
				if x.w.Fragment(&p, more) == 0 {
					break
				}
			}
			if runs == 0 {
				first = res
			}
			if res != first {
				t.Errorf("%s: %v (%v) after %v (%v)", k.name, res.Verdict, res.Reason, first.Verdict, first.Reason)
			}
			runs++
		})
		if n != 0 {
			t.Errorf("%s: %v allocations per packet", k.name, n)
		}
		if res != (translate.Result{Verdict: k.verdict, Reason: k.reason}) {
			t.Errorf("%s: %v (%v), want %v (%v)", k.name, res.Verdict, res.Reason, k.verdict, k.reason)
		}
		reached[res.Reason] = true
	}
	for r := range translate.NumReasons {
		if why := translate.Reason(r); why != translate.NotChecked && !reached[why] {
			t.Errorf("no packet reaches %v", why)
		}
	}
}

// TestAllocationsOfBatch translates packets of all kinds in one batch.
func TestAllocationsOfBatch(t *testing.T) {
	x := newXlat(t, nil)
	all := kinds()
	batch, fresh := make([]translate.Packet, len(all)), make([]translate.Packet, len(all))
	for i, k := range all {
		fresh[i] = pt.Buffer(k.pkt)
		fresh[i].Offload = k.offload
	}
	n := testing.AllocsPerRun(20, func() {
		for i := range batch {
			batch[i] = fresh[i]
			copy(batch[i].Buf[batch[i].Off:], all[i].pkt)
		}
		x.w.TranslateBatch(0, batch)
	})
	if n != 0 {
		t.Errorf("%v allocations for %d packets", n, len(batch))
	}
}
