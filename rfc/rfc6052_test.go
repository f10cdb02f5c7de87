package rfc

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// newTable makes a table of prefixes and nothing else.
func newTable(texts ...string) (*translate.Table, error) {
	return translate.NewTable(translate.TableConfig{Prefixes: prefixes(texts...)})
}

// withPrefix is the usual translator with another prefix.
func withPrefix(t *testing.T, prefix string, edit func(s *settings)) *xlat {
	t.Helper()
	return newXlat(t, func(s *settings) {
		s.Prefixes = prefixes(prefix)
		if edit != nil {
			edit(s)
		}
	})
}

var ping = pt.UDP(4000, 4001, []byte("ping"))

// sixWays are the examples of RFC 6052 §2.4: 192.0.2.33 under a prefix of each
// length, and where its four bytes lie (§2.2, figure 1).
var sixWays = []struct {
	prefix, addr string
	at           [4]int
}{
	{"2001:db8::/32", "2001:db8:c000:221::", [4]int{4, 5, 6, 7}},
	{"2001:db8:100::/40", "2001:db8:1c0:2:21::", [4]int{5, 6, 7, 9}},
	{"2001:db8:122::/48", "2001:db8:122:c000:2:2100::", [4]int{6, 7, 9, 10}},
	{"2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::", [4]int{7, 9, 10, 11}},
	{"2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::", [4]int{9, 10, 11, 12}},
	{"2001:db8:122:344::/96", "2001:db8:122:344::c000:221", [4]int{12, 13, 14, 15}},
}

func TestRFC6052Prefix(t *testing.T) {
	row(t, "6052-2.1-01", func(t *testing.T) {
		if _, err := newTable("64:ff9b::/96"); err != nil {
			t.Fatal(err)
		}
		// 10.0.0.1 shows where the restrictions end.
		for prefix, guarded := range map[string]bool{
			"64:ff9b::/96":          true,
			"64:ff9b::1:0:0/96":     false,
			"64:ff9b:0:1::/96":      false,
			"64:ff9b::/64":          false,
			"64:ff9b:1::/96":        false,
			"2001:db8:122:344::/96": false,
		} {
			x := withPrefix(t, prefix, nil)
			in := pt.IP(between("10.0.0.1", "192.0.2.6"), ping)
			if guarded {
				x.prohibited(in, translate.NonGlobal)
			} else {
				x.forward(in)
			}
		}
	})
	row(t, "6052-2.2-01", func(t *testing.T) {
		for bits := range 129 {
			allowed := bits == 32 || bits == 40 || bits == 48 || bits == 56 || bits == 64 || bits == 96
			p := netip.PrefixFrom(addr("2001:db8::"), bits).Masked()
			_, err := translate.NewTable(translate.TableConfig{Prefixes: []netip.Prefix{p}})
			if (err == nil) != allowed {
				t.Errorf("/%d: %v", bits, err)
			}
			_, err = translate.Embed(p, addr("8.8.8.8"))
			if (err == nil) != allowed {
				t.Errorf("Embed under /%d: %v", bits, err)
			}
		}
	})
	row(t, "6052-2.2-02", func(t *testing.T) {
		for _, prefix := range []string{"64:ff9b::/32", "64:ff9b::/40", "64:ff9b::/48", "64:ff9b::/56", "64:ff9b::/64"} {
			tab, err := newTable(prefix)
			if err != nil {
				t.Fatal(err)
			}
			if w := tab.Warnings(); len(w) != 1 || !strings.Contains(w[0], prefix) {
				t.Errorf("%s: warnings %q", prefix, w)
			}
		}
		tab, err := newTable("64:ff9b::/96", "64:ff9b:1::/48")
		if err != nil {
			t.Fatal(err)
		}
		if w := tab.Warnings(); len(w) != 0 {
			t.Errorf("warnings %q", w)
		}
		// Not treated as the well-known prefix: the address comes after byte 4.
		b := withPrefix(t, "64:ff9b::/32", nil).forward(pt.IP(pt.From4(), ping))
		wantEnds(t, b, "64:ff9b:c633:6404:: > 2001:db8:6::6")
	})
	row(t, "6052-2.2-04", func(t *testing.T) {
		if _, err := newTable("2001:db8:0:0:100::/96"); err == nil || !strings.Contains(err.Error(), "64 to 71") {
			t.Errorf("byte 8 is 1: %v", err)
		}
		if _, err := newTable("2001:db8:0:0:1::/96"); err != nil {
			t.Errorf("byte 8 is 0: %v", err)
		}
	})
	row(t, "6052-2.4-01", func(t *testing.T) {
		// Addresses are netip.Addr at the edges: read in any form, shown in one.
		is(t, "dotted form", addr("64:ff9b::192.0.2.33"), addr("64:ff9b::c000:221"))
		for prefix, text := range map[string]string{
			"64:ff9b::/96":          "64:ff9b::c000:221",
			"2001:db8:122:344::/64": "2001:db8:122:344:c0:2:2100:0",
		} {
			a, _ := translate.Embed(mustPrefix(prefix), addr("192.0.2.33"))
			is(t, "text", a.String(), text)
		}
		for _, w := range sixWays {
			a, err := translate.Embed(mustPrefix(w.prefix), addr("192.0.2.33"))
			if err != nil || a != addr(w.addr) {
				t.Errorf("Embed under %s: %v, %v", w.prefix, a, err)
			}
			v4, err := translate.Extract(mustPrefix(w.prefix), addr(w.addr))
			if err != nil || v4.String() != "192.0.2.33" {
				t.Errorf("Extract under %s: %v, %v", w.prefix, v4, err)
			}
		}
		v4, err := translate.Extract(mustPrefix("2001:db8:122:344::/96"), addr("2001:db8:122:344::192.0.2.33"))
		if err != nil || v4.String() != "192.0.2.33" {
			t.Errorf("Extract from dotted form: %v, %v", v4, err)
		}
	})
}

// composed sends a packet from v4 to M4 and returns the 16 bytes that v4
// became.
func (x *xlat) composed(v4 netip.Addr) []byte {
	x.t.Helper()
	h := pt.From4()
	h.Src = v4
	return x.forward(pt.IP(h, ping))[8:24]
}

// extracted sends a packet from M6 to v6 and returns the four bytes that v6
// became.
func (x *xlat) extracted(v6 netip.Addr) []byte {
	x.t.Helper()
	h := pt.From6()
	h.Dst = v6
	return x.forward(pt.IP(h, ping))[16:20]
}

func TestRFC6052Layout(t *testing.T) {
	for i, id := range []string{"6052-2.2-05", "6052-2.2-06", "6052-2.2-07", "6052-2.2-08", "6052-2.2-09", "6052-2.2-10"} {
		w := sixWays[i]
		row(t, id, func(t *testing.T) {
			x := withPrefix(t, w.prefix, nil)
			wantBytes(t, "composed", x.composed(addr("192.0.2.33")), addr(w.addr).AsSlice())
			wantBytes(t, "extracted", x.extracted(addr(w.addr)), []byte{192, 0, 2, 33})
			if id == "6052-2.2-06" { // RFC 7915 appendix A, which an erratum doubted in vain
				wantBytes(t, "composed", x.composed(addr("198.51.100.2")), addr("2001:db8:1c6:3364:2::").AsSlice())
				wantBytes(t, "extracted", x.extracted(addr("2001:db8:1c6:3364:2::")), []byte{198, 51, 100, 2})
			}
		})
	}
	row(t, "6052-2.2-03", func(t *testing.T) {
		for _, w := range sixWays {
			x := withPrefix(t, w.prefix, nil)
			for _, v4 := range []string{"223.255.255.255", "1.255.255.255", "192.0.2.33", "8.8.8.8"} {
				if b := x.composed(addr(v4)); b[8] != 0 {
					t.Errorf("%s under %s: %x", v4, w.prefix, b)
				}
			}
		}
	})
	row(t, "6052-2.2-11", func(t *testing.T) {
		for _, w := range sixWays {
			b := withPrefix(t, w.prefix, nil).composed(addr("223.255.255.255"))
			for i := w.at[3] + 1; i < 16; i++ {
				if b[i] != 0 {
					t.Errorf("under %s: %x", w.prefix, b)
				}
			}
		}
	})
	row(t, "6052-2.2-12", func(t *testing.T) {
		x := withPrefix(t, "2001:db8:122:344::/64", nil)
		wantBytes(t, "with a suffix", x.extracted(addr("2001:db8:122:344:c0:2:2100:beef")), []byte{192, 0, 2, 33})
		wantBytes(t, "the answer", x.composed(addr("192.0.2.33")), addr("2001:db8:122:344:c0:2:2100:0").AsSlice())
		for _, w := range sixWays { // every bit after the address, and byte 8, set
			a := addr(w.addr).As16()
			for i := range a {
				if i > w.at[3] || i == 8 && w.at[3] != 15 {
					a[i] = 0xff
				}
			}
			x := withPrefix(t, w.prefix, nil)
			wantBytes(t, "under "+w.prefix, x.extracted(netip.AddrFrom16(a)), []byte{192, 0, 2, 33})
		}
	})
	row(t, "6052-2.3-01", func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(6052, 23))
		for _, w := range sixWays {
			x := withPrefix(t, w.prefix, nil)
			for range 200 {
				v4 := [4]byte{byte(1 + rnd.IntN(126)), byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32())}
				want := mustPrefix(w.prefix).Addr().As16()
				for i, at := range w.at {
					want[at] = v4[i]
				}
				wantBytes(t, "composed", x.composed(netip.AddrFrom4(v4)), want[:])
				wantBytes(t, "extracted", x.extracted(netip.AddrFrom16(want)), v4[:])
			}
		}
	})
}

// nonGlobal has an address of each block that the well-known prefix must not
// hold, and is a legal source and destination otherwise. Link-local addresses are
// in no packet, whatever the prefix: TestRFC3927.
var nonGlobal = []string{
	"10.0.0.1", "192.168.1.1", "172.16.0.1", "172.31.255.254", "100.64.0.1", "100.127.255.254", "192.0.0.1", "192.0.2.1",
	"198.18.0.1", "198.19.255.254", "198.51.100.1", "203.0.113.1",
}

// global has neighbours of those blocks.
var global = []string{
	"8.8.8.8", "9.255.255.255", "11.0.0.1", "192.167.255.255", "192.169.0.1", "172.15.255.255", "172.32.0.1",
	"100.63.255.255", "100.128.0.1", "192.0.1.1", "192.0.3.1", "198.17.255.255", "198.20.0.1",
	"198.51.99.1", "198.51.101.1", "203.0.112.1", "203.0.114.1", "169.253.0.1", "169.255.0.1", "223.255.255.1",
}

// wkp composes an address under the well-known prefix.
func wkp(v4 string) string {
	a := pt.WKP.Addr().As16()
	b := addr(v4).As4()
	copy(a[12:], b[:])
	return netip.AddrFrom16(a).String()
}

func TestRFC6052WellKnownPrefix(t *testing.T) {
	row(t, "6052-3.1-01", func(t *testing.T) {
		x := withPrefix(t, "64:ff9b::/96", nil)
		for _, v4 := range nonGlobal {
			x.err6(pt.IP(between("2001:db8:6::6", wkp(v4)), ping), 1, 1)
			x.err6(pt.IP(between(wkp(v4), wkp("8.8.8.8")), ping), 1, 1)
		}
		for _, v4 := range []string{"240.0.0.1", "127.0.0.1", "0.0.0.1", "224.0.0.1", "255.255.255.255", "169.254.0.1"} {
			x.none(pt.IP(between("2001:db8:6::6", wkp(v4)), ping))
			x.none(pt.IP(between(wkp(v4), wkp("8.8.8.8")), ping))
		}
		classE := withPrefix(t, "64:ff9b::/96", func(s *settings) { s.AllowClassE = true })
		classE.err6(pt.IP(between("2001:db8:6::6", wkp("240.0.0.1")), ping), 1, 1)
		for _, v4 := range global {
			b := x.forward(pt.IP(between("2001:db8:6::6", wkp(v4)), ping))
			wantEnds(t, b, "192.0.2.6 > "+v4)
			b = x.forward(pt.IP(between(wkp(v4), wkp("8.8.8.8")), ping))
			wantEnds(t, b, v4+" > 8.8.8.8")
		}
	})
	row(t, "6052-3.1-02", func(t *testing.T) {
		x := withPrefix(t, "64:ff9b::/96", nil)
		for _, v4 := range nonGlobal {
			x.prohibited(pt.IP(between(v4, "192.0.2.6"), ping), translate.NonGlobal)
			x.prohibited(pt.IP(between("8.8.8.8", v4), ping), translate.NonGlobal)
		}
		for _, v4 := range global {
			b := x.forward(pt.IP(between(v4, "192.0.2.6"), ping))
			wantEnds(t, b, wkp(v4)+" > 2001:db8:6::6")
		}
		// Mapped addresses are not composed: neither documentation nor private
		// ones are held back.
		mapped := withPrefix(t, "64:ff9b::/96", func(s *settings) {
			s.Maps = append(s.Maps, translate.Map{IPv4: mustPrefix("10.9.9.9/32"), IPv6: mustPrefix("2001:db8:9::9/128")})
			s.Pools = pt.Pools(nil, "192.168.7.0/24")
			s.Pools[0].Dynamic = lease{host: addr("2001:db8:7::7"), v4: addr("192.168.7.7")}
		})
		wantEnds(t, mapped.forward(pt.IP(between("10.9.9.9", "192.0.2.6"), ping)), "2001:db8:9::9 > 2001:db8:6::6")
		wantEnds(t, mapped.forward(pt.IP(between("8.8.8.8", "192.168.7.7"), ping)), "64:ff9b::808:808 > 2001:db8:7::7")
		wantEnds(t, mapped.forward(pt.IP(between("2001:db8:7::7", wkp("8.8.8.8")), ping)), "192.168.7.7 > 8.8.8.8")
	})
	row(t, "6052-3.1-03", func(t *testing.T) {
		x := withPrefix(t, "64:ff9b::/96", nil)
		quote := func(src, dst string) []byte { return pt.IP(between(src, dst), ping) }
		err4 := func(dst string) []byte {
			return pt.IP(between("8.8.8.8", "192.0.2.6"), pt.ICMP(3, 1, 0, quote("192.0.2.6", dst)))
		}
		x.none(err4("10.0.0.1"))
		wantEnds(t, x.forward(err4("8.8.4.4"))[48:], "2001:db8:6::6 > 64:ff9b::808:404")
		err6 := func(src string) []byte {
			return pt.IP(between("2001:db8:6::6", wkp("8.8.8.8")), pt.ICMP(1, 4, 0, quote(src, "2001:db8:6::6")))
		}
		x.none(err6(wkp("10.0.0.1")))
		wantEnds(t, x.forward(err6(wkp("8.8.4.4")))[28:], "8.8.4.4 > 192.0.2.6")
	})
	row(t, "6052-3.1-04", func(t *testing.T) {
		for v6, warned := range map[string]bool{"64:ff9b::c633:6401/128": true, "2001:db8:64::c633:6401/128": false} {
			tab, err := translate.NewTable(translate.TableConfig{
				Prefixes: prefixes("64:ff9b::/96"),
				Maps:     []translate.Map{{IPv4: mustPrefix("198.51.100.1/32"), IPv6: mustPrefix(v6)}},
			})
			if err != nil {
				t.Fatal(err)
			}
			w := tab.Warnings()
			if (len(w) == 1 && strings.Contains(w[0], v6)) != warned {
				t.Errorf("%s: warnings %q", v6, w)
			}
		}
	})
	row(t, "6052-3.1-05", func(t *testing.T) {
		private := pt.IP(between("10.0.0.1", "192.0.2.6"), ping)
		for _, allow := range []bool{false, true} {
			x := withPrefix(t, "64:ff9b::/96", func(s *settings) { s.Config = translate.Config{AllowPrivate: allow} })
			if !allow { // the zero Config
				x.none(private)
				continue
			}
			wantEnds(t, x.forward(private), "64:ff9b::a00:1 > 2001:db8:6::6")
			wantEnds(t, x.forward(pt.IP(between("2001:db8:6::6", wkp("10.0.0.1")), ping)), "192.0.2.6 > 10.0.0.1")
		}
	})
}

// lease is a Dynamic that knows one host.
type lease struct{ host, v4 netip.Addr }

func (l lease) Assign(host [16]byte) ([4]byte, bool) { return l.Addr(host) }
func (l lease) Addr(host [16]byte) ([4]byte, bool)   { return l.v4.As4(), host == l.host.As16() }
func (l lease) Host(v4 [4]byte) ([16]byte, bool)     { return l.host.As16(), v4 == l.v4.As4() }
func (lease) Generation() uint64                     { return 0 }

func TestRFC6052Hosts(t *testing.T) {
	row(t, "6052-3.3-01", func(t *testing.T) {
		x := newXlat(t, func(s *settings) { s.Maps = nil })
		b := x.forward(pt.IP(between("2001:db8:64::c000:206", "2001:db8:64::c633:6404"), ping))
		wantEnds(t, b, "192.0.2.6 > 198.51.100.4")
		b = x.forward(pt.IP(between("198.51.100.4", "192.0.2.6"), ping))
		wantEnds(t, b, "2001:db8:64::c633:6404 > 2001:db8:64::c000:206")
		// The address that 192.0.2.6 knows its neighbour by is the neighbour's own:
		// it lies under the same prefix and needs no translator.
		b = x.forward(pt.IP(between("192.0.2.7", "192.0.2.6"), ping))
		wantEnds(t, b, "2001:db8:64::c000:207 > 2001:db8:64::c000:206")
	})
	row(t, "6052-4.1-01", func(t *testing.T) {
		if pt.Sum(pt.WKP.Addr().AsSlice()) != 0xffff {
			t.Error("the words of 64:ff9b:: do not sum to 0xffff")
		}
		for prefix, neutral := range map[string]bool{"64:ff9b::/96": true, "2001:db8:64::/96": false} {
			x := withPrefix(t, prefix, func(s *settings) { s.Maps = nil })
			in := pt.IP(between("8.8.4.4", "8.8.8.8"), ping)
			out := x.forward(in)
			if same := be16(in, 20+6) == be16(out, 40+6); same != neutral {
				t.Errorf("%s: UDP checksum %04x becomes %04x", prefix, be16(in, 20+6), be16(out, 40+6))
			}
			back := x.forward(out)
			if be16(back, 20+6) != be16(in, 20+6) {
				t.Errorf("%s: UDP checksum %04x there and back %04x", prefix, be16(in, 20+6), be16(back, 20+6))
			}
		}
	})
	row(t, "6052-5.1-01", func(t *testing.T) {
		spoofed := pt.IP(between("2001:db8:64::808:808", "2001:db8:64::c633:6404"), ping)
		wantEnds(t, newXlat(t, nil).forward(spoofed), "8.8.8.8 > 198.51.100.4")
		x := newXlat(t, func(s *settings) {
			s.DropEmbeddedSource = true
			s.Maps = append(s.Maps, translate.Map{IPv4: mustPrefix("192.0.2.7/32"), IPv6: mustPrefix("2001:db8:64::7/128")})
		})
		if why := x.none(spoofed); why != translate.EmbeddedSource {
			t.Error(why)
		}
		spoofedError := pt.IP(between("2001:db8:64::808:808", "2001:db8:64::c633:6404"),
			pt.ICMP(1, 4, 0, pt.IP(between("2001:db8:64::c633:6404", "2001:db8:64::808:808"), ping)))
		if why := x.none(spoofedError); why != translate.EmbeddedSource {
			t.Error(why)
		}
		wantEnds(t, x.forward(pt.IP(pt.From6(), ping)), "192.0.2.6 > 198.51.100.4")
		wantEnds(t, x.forward(pt.IP(between("2001:db8:64::7", "2001:db8:64::c633:6404"), ping)), "192.0.2.7 > 198.51.100.4")
		// An answer to such a packet would go to an IPv4 host that has sent nothing.
		for _, pkt := range [][]byte{
			pt.IP(pt.Header{Src: addr("2001:db8:64::808:808"), Dst: addr("2001:db8:64::c633:6404"), TTL: 1}, ping),
			pt.IP(between("2001:db8:64::808:808", "2001:db8:bad::1"), ping),
			pt.IP(between("2001:db8:64::808:808", x.Settings().IPv6.String()), ping),
			pt.IP(between("2001:db8:64::808:808", x.Settings().IPv6.String()), pt.EchoRequest(1, 2, nil)),
		} {
			x.drop(pkt, translate.EmbeddedSource)
		}
		x = newXlat(t, func(s *settings) {
			s.Prefixes = prefixes("2001:db8:64::/96", "2001:db8:65::/96")
			s.Rules = []translate.PrefixRule{{Prefix: s.Prefixes[0], DropSource: true}}
		})
		if why := x.none(spoofed); why != translate.EmbeddedSource {
			t.Error(why)
		}
		wantEnds(t, x.forward(pt.IP(between("2001:db8:65::808:808", "2001:db8:64::c633:6404"), ping)), "8.8.8.8 > 198.51.100.4")
	})
}

// The examples have to be what the table of layouts says.
func TestRFC6052Examples(t *testing.T) {
	for _, w := range sixWays {
		want := mustPrefix(w.prefix).Addr().As16()
		for i, at := range w.at {
			want[at] = []byte{192, 0, 2, 33}[i]
		}
		if got := addr(w.addr).As16(); got != want {
			t.Error(fmt.Sprint(w.prefix, ": ", netip.AddrFrom16(want)))
		}
	}
}
