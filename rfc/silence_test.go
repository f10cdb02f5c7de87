package rfc

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// An answer is what the table of README.md says about packets of one family that
// are refused for a reason.
type answer struct {
	reason, which, family string
	want                  string // "silent", or type and code
}

// answers reads the table.
func answers(t *testing.T) (all []answer) {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## Silent or answered\n")
	section, _, _ = strings.Cut(section, "\n## ")
	if !found {
		t.Fatal("README.md has no table of reasons")
	}
	rowForm := regexp.MustCompile(`(?m)^\| ([a-z-]+) \| ([^|]*) \| (silent|–|\d+/\d+) \| (silent|–|\d+/\d+) \| ([^|]+) \|$`)
	for _, m := range rowForm.FindAllStringSubmatch(section, -1) {
		why := strings.TrimSpace(m[5])
		for i, family := range []string{"IPv4", "IPv6"} {
			a := answer{m[1], strings.TrimSpace(m[2]), family, strings.TrimSpace(m[3+i])}
			if a.want == "–" {
				continue
			}
			if a.want == "silent" && !regexp.MustCompile(`RFC [0-9]+ §|kernel`).MatchString(why) {
				t.Errorf("%s: silent, and no RFC is named: %s", a.reason, why)
			}
			all = append(all, a)
		}
	}
	return all
}

// A refusal is a packet that is refused, the reason apart.
type refusal struct {
	pkt     []byte
	edit    func(s *settings) // nil: as usual
	offload translate.Offload
	before  []byte // what comes before it; nil: nothing
}

// refusals has packets for each line of the table: reason, which, family.
func refusals() map[string][]refusal {
	all := map[string][]refusal{}
	add := func(reason translate.Reason, which string, edit func(s *settings), pkts ...[]byte) {
		for _, pkt := range pkts {
			family := "IPv6"
			if len(pkt) == 0 || pkt[0]>>4 == 4 {
				family = "IPv4"
			}
			key := fmt.Sprintf("%v/%s/%s", reason, which, family)
			all[key] = append(all[key], refusal{pkt: pkt, edit: edit})
		}
	}
	h4, h6, data := pt.From4(), pt.From6(), pt.Bytes(64, 0)
	from4 := func(src string, p pt.Payload) []byte {
		return pt.IP(with(h4, func(h *pt.Header) { h.Src = addr(src) }), p)
	}
	from6 := func(src string, p pt.Payload) []byte {
		return pt.IP(with(h6, func(h *pt.Header) { h.Src = addr(src) }), p)
	}
	to4 := func(dst string, p pt.Payload) []byte {
		return pt.IP(with(h4, func(h *pt.Header) { h.Dst = addr(dst) }), p)
	}
	to6 := func(dst string, p pt.Payload) []byte {
		return pt.IP(with(h6, func(h *pt.Header) { h.Dst = addr(dst) }), p)
	}
	frag4 := func(off8 uint16, more bool, p pt.Payload) []byte {
		return pt.IP(with(noDF, func(h *pt.Header) { h.Off8, h.MF = off8, more }), p)
	}
	frag6 := func(off8 uint16, more bool, p pt.Payload) []byte { return pt.IP(h6, pt.Fragment(7, off8, more, p)) }
	echo, noSum := pt.EchoRequest(1, 2, data), pt.UDPNoSum(5000, 6001, data)
	quote4, quote6 := pt.IP(sent4, udp(64)), pt.IP(sent6, udp(64))
	gone4, gone6 := pt.ICMP(3, 3, 0, quote4), pt.ICMP(1, 4, 0, quote6) // Port Unreachable
	flip := func(b []byte, at int) []byte { return pt.Edit(b, func(b []byte) { b[at] ^= 1 }) }

	wellKnown := func(s *settings) { s.Prefixes = prefixes("64:ff9b::/96") }
	compute := func(s *settings) { s.UDPZero = translate.UDPZeroCompute }
	mapsOnly := func(s *settings) { s.Prefixes = nil }
	noSources := func(s *settings) { mapsOnly(s); s.IPv4, s.IPv6, s.ICMPPool4 = netip.Addr{}, netip.Addr{}, nil }
	noSources6 := func(s *settings) { s.IPv4, s.IPv6, s.ICMPPool4 = netip.Addr{}, netip.Addr{}, nil }
	twoHosts := func(s *settings) {
		s.Maps = append(s.Maps, translate.Map{IPv4: mustPrefix("192.0.2.7/32"), IPv6: mustPrefix("2001:db8:7::7/128")})
	}
	narrow := func(s *settings) { s.MTU4, s.MTU6 = 1300, 1280 }

	add(translate.BadHeader, "", nil, nil, pt.IP(h4, udp(4))[:19], pt.IP(h4, udp(4))[:31], pt.IP(h6, udp(4))[:39], pt.IP(h6, udp(4))[:51])
	damaged := pt.IP(h4, udp(4))
	damaged[11] ^= 1
	add(translate.BadHeaderChecksum, "", nil, damaged)
	add(translate.IllegalSource, "", nil, from4("127.0.0.1", udp(4)), from4("224.0.0.1", udp(4)), from4("0.0.0.0", udp(4)),
		from6("::1", udp(4)), from6("::", udp(4)), from6("fe80::1", udp(4)), from6("ff02::1", udp(4)), from6("2001:db8:64::7f00:1", udp(4)))
	add(translate.IllegalDestination, "", nil, to4("224.0.0.1", udp(4)), to4("255.255.255.255", udp(4)), to4("127.0.0.1", udp(4)), to4("0.0.0.0", udp(4)),
		to6("ff02::1", udp(4)), to6("::1", udp(4)), to6("fe80::1", udp(4)), to6("2001:db8:64::e000:1", udp(4)))
	add(translate.NonGlobal, "", wellKnown, from4("10.0.0.1", udp(4)), to6("64:ff9b::10.0.0.1", udp(4)),
		pt.IP(between("64:ff9b::10.0.0.1", "64:ff9b::8.8.8.8"), udp(4)))
	add(translate.NonGlobal, "Echo", wellKnown, from4("10.0.0.1", echo), to6("64:ff9b::10.0.0.1", echo))
	add(translate.NonGlobal, "ICMP errors", wellKnown, from4("10.0.0.1", gone4), to6("64:ff9b::10.0.0.1", gone6))
	add(translate.LinkLocal, "", nil, from4(metadata, udp(4)), to4(metadata, udp(4)), from6("2001:db8:64::"+metadata, udp(4)), to6("2001:db8:64::"+metadata, udp(4)))
	add(translate.LinkLocal, "", wellKnown, from4(metadata, echo), to6("64:ff9b::"+metadata, udp(4)))
	add(translate.EmbeddedSource, "", func(s *settings) { s.DropEmbeddedSource = true }, from6("2001:db8:64::101:101", udp(4)), from6("2001:db8:64::101:101", gone6))
	add(translate.BadFragment, "first", nil, frag4(0, true, udp(61)), frag4(0, true, pt.Raw(17, nil)), frag6(0, true, udp(61)), frag6(0, true, pt.Raw(17, nil)))
	add(translate.BadFragment, "later", nil, frag4(8191, false, udp(64)), frag4(3, true, udp(61)), frag6(8191, false, udp(64)), frag6(3, true, udp(61)))
	add(translate.BadFragment, "of ICMP errors", nil, frag4(0, true, pt.Part(gone4, 0, 61)), frag4(0, true, pt.Raw(1, nil)), frag6(0, true, pt.Part(gone6, 0, 61)))
	add(translate.TinyFragment, "first", nil, frag4(0, true, pt.Raw(6, data[:16])), frag6(0, true, pt.Raw(6, data[:16])))
	add(translate.TinyFragment, "later", nil, frag4(1, true, pt.Raw(6, data)), frag6(1, false, pt.Raw(6, data)))
	add(translate.FragmentedICMP, "first, Echo", nil, frag4(0, true, echo), frag6(0, true, echo))
	add(translate.FragmentedICMP, "others", nil, frag4(0, true, pt.Part(gone4, 0, 64)), frag4(3, false, echo), frag6(0, true, pt.Part(gone6, 0, 64)), frag6(3, false, echo))
	add(translate.FragmentChain, "first", nil, frag6(0, true, pt.DestOpts(8, udp(64))), frag6(0, false, pt.HopByHop(8, pt.TCP(1, 2, data))),
		frag6(0, false, pt.Fragment(8, 0, false, udp(64))), frag6(0, false, pt.Raw(51, append([]byte{17, 4}, make([]byte, 40)...))))
	add(translate.FragmentChain, "later, or perhaps ICMPv6", nil, frag6(3, true, pt.DestOpts(8, udp(64))), frag6(0, false, pt.DestOpts(8, gone6)), frag6(0, false, pt.DestOpts(8, echo)),
		frag6(0, true, pt.Part(pt.DestOpts(24, udp(64)), 0, 16)), frag6(0, false, pt.Raw(51, append([]byte{58, 4}, make([]byte, 40)...))))
	add(translate.BadExtensionHeader, "", nil, pt.IP(h6, pt.Part(pt.DestOpts(16, udp(0)), 0, 8)), pt.IP(h6, pt.Part(pt.Fragment(7, 0, true, udp(0)), 0, 7)))
	add(translate.NoProtocol, "IGMP", nil, pt.IP(h4, pt.Raw(2, data)))
	for _, proto := range []uint8{0, 43, 44, 58, 60} {
		add(translate.NoProtocol, "others", nil, pt.IP(h4, pt.Raw(proto, data)))
	}
	add(translate.NoProtocol, "others", nil, pt.IP(h6, pt.Raw(1, data)))
	add(translate.ShortTransport, "", nil, pt.IP(h4, pt.Raw(6, data[:19])), pt.IP(h4, pt.Raw(17, data[:7])), pt.IP(h4, pt.Raw(6, nil)), pt.IP(h6, pt.Raw(6, data[:19])), pt.IP(h6, pt.Raw(17, nil)))
	add(translate.ShortTransport, "", compute, pt.IP(h4, pt.Part(noSum, 0, 40)))
	add(translate.ShortTransport, "ICMP", nil, pt.IP(h4, pt.Raw(1, nil)), pt.IP(h4, pt.Raw(1, []byte{3, 3, 0})), pt.IP(h6, pt.Raw(58, data[:7])), pt.IP(h6, pt.Raw(58, nil)))
	add(translate.ShortTransport, "Echo", nil, pt.IP(h4, pt.Raw(1, []byte{8, 0, 0})), pt.IP(h6, pt.Raw(58, []byte{128, 0, 0})))
	add(translate.UDPZeroChecksum, "", nil, pt.IP(h4, noSum), frag4(0, true, noSum), pt.IP(h6, pt.Raw(136, make([]byte, 16))))
	add(translate.UDPZeroChecksum, "", compute, frag4(0, true, noSum))
	add(translate.UDPZeroChecksum, "", twoHosts, to6("2001:db8:64::c000:207", noSum))
	add(translate.ICMPType, "", nil, pt.IP(h4, pt.ICMP(13, 0, 0, data)), error4(3, 14, 0, quote4), error4(5, 0, 0, quote4), pt.IP(h6, pt.ICMP(135, 0, 0, data)), error6(1, 7, 0, quote6))
	add(translate.ICMPPointer, "", nil, error4(12, 0, 20<<24, quote4), error6(4, 0, 40, quote6))
	add(translate.ICMPMTU, "", nil, error6(2, 0, 87, quote6))
	add(translate.ICMPChecksum, "", nil, flip(error4(3, 3, 0, quote4), 22), flip(error6(1, 4, 0, quote6), 42))
	add(translate.ICMPChecksum, "Echo to the translator", nil, flip(to4("192.0.2.254", echo), 22), flip(to6("2001:db8:f::254", echo), 42))
	add(translate.ICMPQuote, "", nil, error4(3, 3, 0, quote4[:19]), error6(1, 4, 0, quote6[:39]))
	add(translate.ICMPQuotedError, "", nil, error4(3, 3, 0, error4(3, 3, 0, quote4)), error6(1, 4, 0, error6(1, 4, 0, quote6)))
	add(translate.ICMPExtension, "", nil, error4(3, 3, 255<<16, quote4), error6(1, 4, 255<<24, quote6))
	add(translate.ICMPSource, "", noSources, error4(3, 3, 0, quote4))
	add(translate.ICMPSource, "", noSources6, pt.IP(pt.Header{Src: pt.R6, Dst: pt.H4in6}, gone6))
	add(translate.SelfICMP, "", nil, to4("192.0.2.254", pt.EchoReply(1, 2, nil)), to4("192.0.2.254", pt.ICMP(13, 0, 0, data)), to6("2001:db8:f::254", pt.EchoReply(1, 2, nil)), to6("2001:db8:f::254", pt.ICMP(135, 0, 0, data)))
	add(translate.HairpinLoop, "", func(s *settings) {
		withPool(s)
		s.Pools[0].Dynamic = lease{host: addr("2001:db8:64::c612:1"), v4: addr("198.18.0.1")}
	}, pt.IP(between("2001:db8:64::101:101", "2001:db8:64::c612:1"), udp(4)))
	all["bad-offload//IPv4"] = []refusal{{pkt: pt.IP(h4, udp(64)), offload: translate.Offload{Flags: 1, GSOType: translate.GSOTCPv4, GSOSize: 1400, CsumStart: 20, CsumOffset: 16}}}
	all["bad-offload//IPv6"] = []refusal{{pkt: pt.IP(h6, udp(64)), offload: translate.Offload{Flags: 1, GSOType: translate.GSOTCPv6, GSOSize: 1400, CsumStart: 40, CsumOffset: 16}}}

	for name, rs := range fragments() {
		all[name] = rs
	}
	for name, pkts := range unshared() {
		why, which, _ := strings.Cut(name, "/")
		add(reasonOf(why), which, sharing(why), pkts...)
	}

	ttl1 := func(h pt.Header, p pt.Payload) []byte { h.TTL = 1; return pt.IP(h, p) }
	add(translate.HopLimit, "", nil, ttl1(h4, udp(4)), ttl1(h4, echo), ttl1(h6, udp(4)), ttl1(h6, echo))
	add(translate.HopLimit, "ICMP errors", nil, ttl1(h4, gone4), ttl1(h6, gone6))
	add(translate.TooBig, "", narrow, pt.IP(h4, udp(1452)), pt.IP(h6, udp(1440)))
	add(translate.SourceRoute, "", nil, pt.IP(with(h4, func(h *pt.Header) { h.Options = []byte{0x83, 3, 3, 0} }), udp(4)), pt.IP(h6, pt.Routing(1, udp(4))))
	add(translate.NoDestination, "", withPool, to4(unleased.String(), udp(4)), to6("2001:db8:1::1", udp(4)))
	add(translate.NoDestination, "Echo", withPool, to4(unleased.String(), echo), to6("2001:db8:1::1", echo))
	add(translate.NoDestination, "ICMP errors", withPool, to4(unleased.String(), gone4), to6("2001:db8:1::1", gone6))
	add(translate.NoSource, "", mapsOnly, pt.IP(h4, udp(4)))
	add(translate.NoSource, "", nil, pt.IP(pt.Header{Src: pt.R6, Dst: pt.H4in6}, udp(4)))
	add(translate.NoSource, "Echo", mapsOnly, pt.IP(h4, echo))
	add(translate.NoSource, "Echo", nil, pt.IP(pt.Header{Src: pt.R6, Dst: pt.H4in6}, echo))
	add(translate.SelfProtocol, "", nil, to4("192.0.2.254", udp(4)), to6("2001:db8:f::254", udp(4)))
	return all
}

// TestSilentOrAnswered walks the table of README.md. Packets that no RFC says are
// to be dropped silently vanished without a word: UDP without checksum, extension
// headers after a Fragment Header, and a dozen others. RFC 7915 §4.4 and §5.4 want
// their senders told.
func TestSilentOrAnswered(t *testing.T) {
	packets, lines := refusals(), answers(t)
	seen := map[string]bool{}
	for _, a := range lines {
		seen[a.reason] = true
		key := a.reason + "/" + a.which + "/" + a.family
		t.Run(key, func(t *testing.T) {
			rs := packets[key]
			delete(packets, key)
			if len(rs) == 0 {
				t.Fatal("there is no packet for this line")
			}
			for _, r := range rs {
				is(t, a.reason+fmt.Sprintf(" of %x", r.pkt), r.send(t, a.reason, nil), a.want)
				// Nothing is answered where errors are switched off, and all of it is limited.
				is(t, "errors are off", r.send(t, a.reason, func(s *settings) { s.ErrorRate = -1 }), "silent")
			}
		})
	}
	for key := range packets {
		t.Errorf("%s has no line in the table", key)
	}
	for r := range translate.NumReasons {
		switch why := translate.Reason(r); why {
		case translate.NotChecked, translate.Translated, translate.Hairpinned, translate.EchoReply: // no refusals
		case translate.Waiting, translate.FragmentTimeout: // not what becomes of a packet that is given to Translate
		default:
			if !seen[why.String()] {
				t.Errorf("%v has no line in the table", why)
			}
		}
	}
}

// send translates the packet and describes what its sender gets.
func (r *refusal) send(t *testing.T, reason string, more func(s *settings)) string {
	t.Helper()
	x := newXlat(t, func(s *settings) {
		for _, edit := range []func(s *settings){r.edit, more} {
			if edit != nil {
				edit(s)
			}
		}
	})
	if r.before != nil {
		p := pt.Buffer(r.before)
		x.w.Translate(0, &p)
	}
	p := pt.Buffer(r.pkt)
	p.Offload = r.offload
	res := x.w.Translate(0, &p)
	pt.CheckGuards(t, &p, r.pkt)
	is(t, "reason", res.Reason.String(), reason)
	if res.Verdict == translate.Drop {
		return "silent"
	}
	is(t, "verdict", res.Verdict, translate.Reply)
	if err := pt.Check(p.Bytes()); err != nil {
		t.Error(err)
	}
	b := p.Bytes()
	if b[0]>>4 == 4 {
		wantBytes(t, "destination", b[16:20], r.pkt[12:16])
		return fmt.Sprintf("%d/%d", b[20], b[21])
	}
	wantBytes(t, "destination", b[24:40], r.pkt[8:24])
	return fmt.Sprintf("%d/%d", b[40], b[41])
}
