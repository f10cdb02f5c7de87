package rfc

import (
	"encoding/binary"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// TestChoices shows what is done where the RFCs say nothing, contradict each
// other, or say something that can't be done. README.md lists the choices with
// their reasons; each name there is a subtest here and the other way round.
func TestChoices(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\|").FindAllSubmatch(text, -1) {
		listed[string(m[1])] = true
	}
	for name, f := range choices {
		t.Run(name, f)
		if !listed[name] {
			t.Errorf("%s: not in README.md", name)
		}
		delete(listed, name)
	}
	for name := range listed {
		t.Errorf("%s: in README.md, but not shown", name)
	}
}

var choices = map[string]func(t *testing.T){
	// Sizes.

	"mtu-about-fragments": func(t *testing.T) {
		x := newXlat(t, nil)
		for _, off8 := range []uint16{0, 100} { // atomic or not
			q := pt.IP(sent6, pt.Fragment(7, off8, off8 != 0, pt.Raw(17, make([]byte, 1200))))
			is(t, "MTU", be32(x.forward(error6(2, 0, 1280, q[:200])), 24), 1252)
			is(t, "MTU", be32(x.forward(error6(2, 0, 9000, q[:200])), 24), 1472)
		}
		is(t, "MTU", be32(x.forward(error6(2, 0, 1280, quoted(sent6, 1200, 200))), 24), 1260)
	},
	"too-big-fragments": func(t *testing.T) {
		x := newXlat(t, nil)
		h := with(pt.From4(), func(h *pt.Header) { h.MF = true })
		x.forward(pt.IP(h, pt.Part(udp(3000), 0, 1448))) // 20 + 1448 + 28 = 1496
		b := x.err4(pt.IP(h, pt.Part(udp(3000), 0, 1456)), 3, 4)
		is(t, "MTU", be32(b, 4), 1472)
	},
	"options-count": func(t *testing.T) {
		x := newXlat(t, nil)
		h := with(pt.From4(), func(h *pt.Header) { h.Options = make([]byte, 8) })
		x.forward(pt.IP(h, udp(1444))) // 20 + 8 + 8 + 1444 + 20 = 1500
		b := x.err4(pt.IP(h, udp(1445)), 3, 4)
		is(t, "MTU", be32(b, 4), 1480)
	},
	"plateau-plus-20": func(t *testing.T) {
		x := newXlat(t, func(s *settings) { s.MTU4, s.MTU6 = 9000, 9000 })
		q := pt.Edit(pt.IP(sent4, udp(0)), func(b []byte) { binary.BigEndian.PutUint16(b[2:], 1500) })
		is(t, "MTU", be32(x.forward(error4(3, 4, 0, q)), 44), 1512)
	},
	"small-packet-too-big": func(t *testing.T) {
		x := newXlat(t, nil)
		q := pt.IP(sent6, ping)
		for mtu, want := range map[uint32]uint32{88: 68, 100: 80, 1279: 1259} {
			is(t, "MTU", be32(x.forward(error6(2, 0, mtu, q)), 24), want)
		}
		for _, mtu := range []uint32{0, 19, 20, 68, 87} {
			x.drop(error6(2, 0, mtu, q), translate.ICMPMTU)
		}
		// About a fragment even 88 less 28 is no MTU.
		frag := pt.IP(sent6, pt.Fragment(7, 0, false, ping))
		is(t, "MTU", be32(x.forward(error6(2, 0, 88, frag)), 24), 68)
	},
	"lowest-mtu-beyond-next-hop": func(t *testing.T) {
		x := newXlat(t, func(s *settings) { s.LowestIPv6MTU, s.MTU6 = 9000, 1400 })
		for _, b := range x.pieces(pt.IP(noDF, udp(3000))) {
			if len(b) > 1400 {
				t.Errorf("piece of %d bytes", len(b))
			}
		}
		is(t, "bytes", len(x.forward(pt.IP(noDF, udp(1400-48)))), 1400)
	},
	"fragments-beyond-mtu4": func(t *testing.T) {
		x := newXlat(t, func(s *settings) { s.MTU4 = 1400 })
		for _, b := range x.pieces(pt.IP(pt.From6(), pt.Fragment(0xbeef, 0, false, udp(1440)))) {
			if len(b) > 1400 || ip4(b).df() {
				t.Errorf("piece of %d bytes, DF %t", len(b), ip4(b).df())
			}
		}
		x.err6(pt.IP(pt.From6(), udp(1440)), 2, 0) // without Fragment Header
	},
	"beyond-65535": func(t *testing.T) {
		x := newXlat(t, func(s *settings) { s.MTU4 = 65535 })
		b := x.err6(pt.IP(pt.From6(), udp(65535-8)), 2, 0)
		is(t, "MTU", be32(b, 4), 65555)
		x.err6(pt.IP(pt.From6(), pt.Fragment(7, 0, false, udp(65535-16))), 2, 0)
		is(t, "bytes", len(x.forward(pt.IP(pt.From6(), udp(65535-28)))), 65535)
	},
	"translated-errors-576": func(t *testing.T) {
		x := newXlat(t, nil)
		b := x.forward(error6(1, 4, 0, quoted(sent6, 2000, 1232)))
		is(t, "bytes", len(b), 576)
	},
	"short-last-segment": func(t *testing.T) {
		x := newXlat(t, nil)
		for size, df := range map[uint16]bool{1400: true, 1200: false} { // of a segment
			p := pt.Buffer(pt.IP(pt.From6(), pt.TCP(1, 2, make([]byte, 2*int(size)+1))))
			p.Offload = translate.Offload{
				Flags: translate.OffloadNeedsCsum, GSOType: translate.GSOTCPv6,
				HdrLen: 60, GSOSize: size, CsumStart: 40, CsumOffset: 16,
			}
			is(t, "verdict", x.w.Translate(0, &p).Verdict, translate.Forward)
			is(t, "DF", ip4(p.Bytes()).df(), df)
		}
	},

	// Addresses.

	"octet-8": func(t *testing.T) {
		x := withPrefix(t, "2001:db8:122:344::/64", nil)
		wantBytes(t, "extracted", x.extracted(addr("2001:db8:122:344:ffc0:2:2100::")), []byte{192, 0, 2, 33})
		wantBytes(t, "composed", x.composed(addr("192.0.2.33")), addr("2001:db8:122:344:c0:2:2100::").AsSlice())
	},
	"non-global-list": func(t *testing.T) {
		x := withPrefix(t, "64:ff9b::/96", nil)
		for _, v4 := range []string{"192.0.0.9", "192.0.0.10"} {
			x.err6(pt.IP(between("2001:db8:6::6", wkp(v4)), ping), 1, 1)
		}
		x.forward(pt.IP(between("2001:db8:6::6", wkp("192.88.99.1")), ping))
	},
	"non-global-rejected": func(t *testing.T) {
		x := withPrefix(t, "64:ff9b::/96", nil)
		x.err6(pt.IP(between("2001:db8:6::6", wkp("10.0.0.1")), ping), 1, 1)
		x.prohibited(pt.IP(between("10.0.0.1", "192.0.2.6"), ping), translate.NonGlobal)
	},
	"non-global-hops": func(t *testing.T) {
		hop := pt.IP(between("10.1.1.1", "192.0.2.6"), pt.ICMP(11, 0, 0, pt.IP(between("192.0.2.6", "8.8.8.8"), ping)))
		withPrefix(t, "64:ff9b::/96", nil).drop(hop, translate.NonGlobal)
		x := withPrefix(t, "64:ff9b::/96", func(s *settings) { s.AllowPrivate = true })
		wantEnds(t, x.forward(hop), "64:ff9b::a01:101 > 2001:db8:6::6")
		x = withPrefix(t, "64:ff9b::/96", func(s *settings) { s.ICMPErrors = translate.ErrorsTAYGA })
		wantEnds(t, x.forward(hop), "2001:db8:f::254 > 2001:db8:6::6")
	},
	"strange-hops": func(t *testing.T) {
		x := newXlat(t, nil)
		for src, v6 := range map[string]string{
			"10.1.1.1": "2001:db8:64::a01:101", "127.0.0.1": "2001:db8:64::7f00:1", "0.1.2.3": "2001:db8:64::1:203", "240.0.0.1": "2001:db8:64::f000:1",
		} {
			h := between(src, "192.0.2.6")
			wantEnds(t, x.forward(pt.IP(h, pt.ICMP(11, 0, 0, pt.IP(sent4, ping)))), v6+" > 2001:db8:6::6")
			if src != "10.1.1.1" {
				x.drop(pt.IP(h, ping), translate.IllegalSource)
			}
		}
		for _, src := range []string{"224.0.0.1", "255.255.255.255"} {
			x.drop(pt.IP(between(src, "192.0.2.6"), pt.ICMP(11, 0, 0, pt.IP(sent4, ping))), translate.IllegalSource)
		}
	},
	"unmapped-echo": func(t *testing.T) {
		x := newXlat(t, nil)
		x.drop(fromR6(pt.EchoRequest(1, 2, nil)), translate.NoSource)
		x.drop(fromR6(pt.EchoReply(1, 2, nil)), translate.NoSource)
		x.forward(fromR6(pt.ICMP(1, 4, 0, pt.IP(sent6, ping))))
	},
	"hairpin-by-default": func(t *testing.T) {
		is(t, "mode", translate.Config{}.Hairpin, translate.HairpinIntrinsic)
		figure8.intrinsic(t)
		figure8.simple(t)
	},
	"hairpin-of-leases": func(t *testing.T) {
		host, v4 := addr("2001:db8:7::7"), addr("192.0.2.200")
		x := newXlat(t, func(s *settings) {
			s.Pools = pt.Pools(lease{host, v4}, "192.0.2.192/28")
		})
		b := x.forward(pt.IP(between("2001:db8:6::6", "2001:db8:64::c000:2c8"), ping))
		wantEnds(t, b, "2001:db8:64::c000:206 > 2001:db8:7::7")
		b = x.forward(pt.IP(between("2001:db8:7::7", "2001:db8:64::c000:206"), ping))
		wantEnds(t, b, "2001:db8:64::c000:2c8 > 2001:db8:6::6")
		x.err6(pt.IP(between("2001:db8:6::6", "2001:db8:64::c000:2c9"), ping), 1, 1) // not leased

		// A lease that leads back to where the packet came from.
		x = newXlat(t, func(s *settings) {
			s.Pools = pt.Pools(lease{addr("2001:db8:64::c000:2c8"), v4}, "192.0.2.192/28")
		})
		x.prohibited(pt.IP(between("2001:db8:64::c000:208", "2001:db8:64::c000:2c8"), ping), translate.HairpinLoop)
	},

	// Protocols.

	"protocols-of-the-other-family": func(t *testing.T) {
		x := newXlat(t, nil)
		data := make([]byte, 16)
		for _, p := range []uint8{0, 43, 44, 58, 60} {
			x.prohibited(pt.IP(pt.From4(), pt.Raw(p, data)), translate.NoProtocol)
		}
		x.prohibited(pt.IP(pt.From6(), pt.Raw(1, data)), translate.NoProtocol)
		for _, p := range []uint8{51, 59, 135, 139, 140} {
			is(t, "next header", x.forward(pt.IP(pt.From4(), pt.Raw(p, data)))[6], p)
			is(t, "protocol", x.forward(pt.IP(pt.From6(), pt.Raw(p, data)))[9], p)
		}
		is(t, "IGMP into IPv4", x.forward(pt.IP(pt.From6(), pt.Raw(2, data)))[9], 2)
	},
	"udp-zero-from-ipv6": func(t *testing.T) {
		x := newXlat(t, nil)
		out, _ := x.send(pt.IP(pt.From6(), pt.UDPNoSum(1, 2, []byte("tunnel"))))
		is(t, "checksum", be16(out[0], 26), 0)
		out, _ = x.send(pt.IP(pt.From6(), pt.Fragment(7, 0, true, pt.Part(pt.UDPNoSum(1, 2, make([]byte, 100)), 0, 64))))
		is(t, "checksum in a fragment", be16(out[0], 26), 0)
	},
	"udp-zero-quoted": func(t *testing.T) {
		x := newXlat(t, nil)
		noSum := pt.UDPNoSum(1, 2, []byte("zero"))
		x.becomes(error4(3, 3, 0, pt.IP(sent4, noSum)), error4as6(1, 4, 0, pt.IP(sent4as6, noSum)))
		x.becomes(error6(1, 4, 0, pt.IP(sent6, noSum)), error6as4(3, 3, 0, pt.IP(sent6as4, noSum)))
	},
	"tiny-fragments": func(t *testing.T) {
		x := newXlat(t, nil)
		h := with(pt.From4(), func(h *pt.Header) { h.MF, h.DF = true, false })
		x.prohibited(pt.IP(h, pt.Part(pt.TCP(1, 2, make([]byte, 80)), 0, 16)), translate.TinyFragment)
		x.prohibited(pt.IP(pt.From6(), pt.Fragment(7, 0, true, pt.Part(pt.TCP(1, 2, make([]byte, 80)), 0, 16))), translate.TinyFragment)
		h.Off8 = 1
		x.drop(pt.IP(h, pt.Raw(6, make([]byte, 16))), translate.TinyFragment)
		x.drop(pt.IP(pt.From6(), pt.Fragment(7, 1, true, pt.Raw(6, make([]byte, 16)))), translate.TinyFragment)
		x.forward(pt.IP(h, pt.Raw(17, make([]byte, 16))))
	},

	// ICMP messages that are translated.

	"whole-extensions": func(t *testing.T) {
		x := newXlat(t, nil)
		ext := pt.Extension(pt.Object(0xf7, 1, pt.Bytes(392, 3)))
		b := x.forward(pt.IP(fromR4, pt.ExtendedError(11, 0, 0, quoted(sent4, 2000, 1020), ext)))
		wantBytes(t, "extension", b[48+int(b[44])*8:], ext)
		ext = pt.Extension(pt.Object(0xf7, 1, make([]byte, 1200)))
		b = x.forward(pt.IP(fromR4, pt.ExtendedError(11, 0, 0, quoted(sent4, 2000, 1020), ext)))
		is(t, "length", b[44], 0)
	},
	"end-of-the-quoted-packet": func(t *testing.T) {
		x := newXlat(t, nil)
		x.becomes(error4(11, 0, 0, append(pt.IP(sent4, ping), make([]byte, 100)...)), error4as6(3, 0, 0, pt.IP(sent4as6, ping)))
		x.becomes(error6(3, 0, 0, append(pt.IP(sent6, ping), make([]byte, 100)...)), error6as4(11, 0, 0, pt.IP(sent6as4, ping)))
	},
	"errors-with-wrong-checksums": func(t *testing.T) {
		x := newXlat(t, nil)
		x.drop(pt.Edit(error4(3, 3, 0, pt.IP(sent4, ping)), func(b []byte) { b[23] ^= 1 }), translate.ICMPChecksum)
		x.drop(pt.Edit(error6(1, 4, 0, pt.IP(sent6, ping)), func(b []byte) { b[43] ^= 1 }), translate.ICMPChecksum)
	},
	"pointers-after-the-header": func(t *testing.T) {
		x := newXlat(t, nil)
		for _, at := range []uint32{40, 41, 48, 255, 256 + 6, 1 << 31} {
			x.drop(error6(4, 0, at, pt.IP(sent6, pt.HopByHop(8, ping))), translate.ICMPPointer)
		}
		x.drop(error4(12, 0, 20<<24, pt.IP(sent4, ping)), translate.ICMPPointer)
	},
	"pointer-to-next-header": func(t *testing.T) {
		x := newXlat(t, nil)
		for _, more := range []bool{false, true} {
			q := pt.IP(with(sent4, func(h *pt.Header) { h.MF = more }), udp(8))
			b := x.forward(error4(3, 2, 0, q))
			wantBytes(t, "type, code", b[40:42], []byte{4, 1})
			is(t, "pointer", be32(b, 44), 6)
		}
	},
	"time-exceeded-codes": func(t *testing.T) {
		x := newXlat(t, nil)
		for code := range 256 {
			c := uint8(code)
			x.becomes(error4(11, c, 0, pt.IP(sent4, ping)), error4as6(3, c, 0, pt.IP(sent4as6, ping)))
			x.becomes(error6(3, c, 0, pt.IP(sent6, ping)), error6as4(11, c, 0, pt.IP(sent6as4, ping)))
		}
	},
	"echo-codes": func(t *testing.T) {
		x := newXlat(t, nil)
		for _, c := range []uint8{0, 1, 77, 255} {
			x.becomes(pt.IP(pt.From4(), pt.ICMP(8, c, 9, nil)), pt.IP(as6, pt.ICMP(128, c, 9, nil)))
			x.becomes(pt.IP(pt.From6(), pt.ICMP(129, c, 9, nil)), pt.IP(as4, pt.ICMP(0, c, 9, nil)))
		}
	},

	// ICMP errors that the translator originates.

	"errors-about-echo": func(t *testing.T) {
		x := newXlat(t, func(s *settings) { s.MTU4 = 1400 })
		echo := pt.EchoRequest(1, 2, make([]byte, 1400))
		x.err6(pt.IP(with(pt.From6(), func(h *pt.Header) { h.TTL = 1 }), echo), 3, 0)
		x.err6(pt.IP(pt.From6(), echo), 2, 0)
		x.err6(pt.IP(pt.From6(), pt.Routing(1, echo)), 4, 0)
		x.drop(pt.IP(between("2001:db8:6::6", "2001:db8:1::1"), echo), translate.NoDestination)
		x.drop(fromR6(echo), translate.NoSource)
	},
	"error-codes": func(t *testing.T) {
		for _, c := range []struct {
			codes                     translate.ICMPErrors
			dst4, src4, dst6, src6    uint8
			nonGlobalSrc4, nonGlobal6 uint8
		}{
			{codes: translate.ErrorsRFC7915, dst4: 13, src4: 13, dst6: 1, src6: 1, nonGlobalSrc4: 13, nonGlobal6: 1},
			{codes: translate.ErrorsTAYGA, dst4: 1, src4: 10, dst6: 0, src6: 5, nonGlobalSrc4: 10, nonGlobal6: 0},
		} {
			x := strict(t, func(s *settings) { s.ICMPErrors = c.codes })
			x.err4(pt.IP(between("198.51.100.4", "192.0.2.200"), ping), 3, c.dst4)
			x.err4(pt.IP(between("192.0.2.200", "192.0.2.6"), ping), 3, c.src4)
			x.err6(pt.IP(between("2001:db8:6::6", "2001:db8:1::1"), ping), 1, c.dst6)
			x.err6(fromR6(ping), 1, c.src6)
			x = withPrefix(t, "64:ff9b::/96", func(s *settings) { s.ICMPErrors = c.codes })
			x.err6(pt.IP(between("2001:db8:6::6", wkp("10.0.0.1")), ping), 1, c.nonGlobal6)
			x.err4(pt.IP(between("10.0.0.1", "192.0.2.6"), ping), 3, c.nonGlobalSrc4)
		}
	},
	"two-budgets": func(t *testing.T) {
		x := newXlat(t, func(s *settings) { s.ErrorRate, s.ErrorBurst = 10, 10 })
		expired := pt.IP(with(pt.From4(), func(h *pt.Header) { h.TTL = 1 }), ping)
		for range 10 {
			x.err4(expired, 11, 0)
		}
		x.drop(expired, translate.HopLimit)
		x.err4(pt.IP(pt.From4(), udp(1460)), 3, 4)
		other := pt.IP(with(between("8.8.8.8", "192.0.2.6"), func(h *pt.Header) { h.TTL = 1 }), ping)
		x.err4(other, 11, 0)
		x.drop(other, translate.HopLimit)
	},
	"own-address": func(t *testing.T) {
		x := newXlat(t, nil)
		to4, to6 := with(pt.From4(), func(h *pt.Header) { h.Dst = pt.X4 }), with(pt.From6(), func(h *pt.Header) { h.Dst = pt.X6 })
		for _, p := range []pt.Payload{ping, pt.TCP(1, 2, nil), pt.Raw(132, make([]byte, 12))} {
			x.err4(pt.IP(to4, p), 3, 2)
			is(t, "pointer", be32(x.err6(pt.IP(to6, p), 4, 1), 4), 6)
		}
		x.reply(pt.IP(to4, pt.EchoRequest(1, 2, nil)))
		x.reply(pt.IP(to6, pt.EchoRequest(1, 2, nil)))
		// Without an own address there is no host to answer.
		x = newXlat(t, func(s *settings) { s.IPv4, s.IPv6, s.ICMPPool4 = netip.Addr{}, netip.Addr{}, nil })
		x.none(pt.IP(to6, ping))
	},
}

// A reader of the README should find every row that is not proven.
func TestReadmeNamesDeviations(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := Matrix()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if named := strings.Contains(string(text), "**"+r.ID); named != (r.Status != Proven) {
			t.Errorf("%s: %s, in README.md: %t", r.ID, r.Status, named)
		}
	}
}
