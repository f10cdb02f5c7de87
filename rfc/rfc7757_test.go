package rfc

import (
	"strings"
	"testing"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// maps is a list of explicit maps: IPv4 prefix, IPv6 prefix, and so on.
func maps(texts ...string) (list []translate.Map) {
	for i := 0; i < len(texts); i += 2 {
		list = append(list, translate.Map{IPv4: mustPrefix(texts[i]), IPv6: mustPrefix(texts[i+1])})
	}
	return list
}

// figure1 is the table of RFC 7757 §3.2.
func figure1() []translate.Map {
	return maps(
		"192.0.2.1/32", "2001:db8:aaaa::/128",
		"192.0.2.2/32", "2001:db8:bbbb::b/128",
		"192.0.2.16/28", "2001:db8:cccc::/124",
		"192.0.2.128/26", "2001:db8:dddd::/64",
		"192.0.2.192/29", "2001:db8:eeee:8::/62",
		"192.0.2.224/31", "64:ff9b::/127",
	)
}

// eamXlat is the translator of RFC 7757 appendix B: the maps of figure 1 and the
// well-known prefix, whose guard has to be off as the examples use addresses for
// documentation; errors from elsewhere come from 198.51.100.1.
func eamXlat(t *testing.T, edit func(s *settings)) *xlat {
	t.Helper()
	return newXlat(t, func(s *settings) {
		s.Prefixes, s.Maps = prefixes("64:ff9b::/96"), figure1()
		s.AllowPrivate = true
		s.ICMPPool4 = append(s.ICMPPool4[:0], addr("198.51.100.1"))
		if edit != nil {
			edit(s)
		}
	})
}

// h4wkp is H4 under the well-known prefix.
const h4wkp = "64:ff9b::c633:6404"

// to6 sends a packet to v4 and checks that it arrives at v6.
func (x *xlat) to6(v4, v6 string) {
	x.t.Helper()
	b := x.forward(pt.IP(between("198.51.100.4", v4), ping))
	if got := b[24:40]; string(got) != string(addr(v6).AsSlice()) {
		x.t.Errorf("%s becomes %x, want %s", v4, got, v6)
	}
}

// to4 sends a packet from v6 and checks that it seems to come from v4.
func (x *xlat) to4(v6, v4 string) {
	x.t.Helper()
	b := x.forward(pt.IP(between(v6, h4wkp), ping))
	if got := b[12:16]; string(got) != string(addr(v4).AsSlice()) {
		x.t.Errorf("%s becomes %d, want %s", v6, got, v4)
	}
}

func TestRFC7757Table(t *testing.T) {
	row(t, "7757-3.1-01", func(t *testing.T) {
		x := eamXlat(t, nil)
		for _, f := range [][2]string{ // figure 7
			{"192.0.2.1", "2001:db8:aaaa::"},
			{"192.0.2.2", "2001:db8:bbbb::b"},
			{"192.0.2.16", "2001:db8:cccc::"},
			{"192.0.2.24", "2001:db8:cccc::8"},
			{"192.0.2.31", "2001:db8:cccc::f"},
			{"192.0.2.128", "2001:db8:dddd::"},
			{"192.0.2.152", "2001:db8:dddd:0:6000::"},
			{"192.0.2.183", "2001:db8:dddd:0:dc00::"},
			{"192.0.2.191", "2001:db8:dddd:0:fc00::"},
			{"192.0.2.195", "2001:db8:eeee:9:8000::"},
			{"192.0.2.225", "64:ff9b::1"},
			{"192.0.2.248", "64:ff9b::c000:2f8"},
		} {
			x.to6(f[0], f[1])
			x.to4(f[1], f[0])
		}
	})
	row(t, "7757-3.2-01", func(t *testing.T) {
		read := func(line string) []translate.Map {
			c, problems := taygaconf.Read(strings.NewReader("tun-device nat64\nipv4-addr 192.0.2.254\nipv6-addr 2001:db8:f::254\n"+
				"prefix 2001:db8:64::/96\n"+line+"\n"), "tayga.conf", nil)
			if problems.Failed() {
				t.Fatal(line, problems)
			}
			var list []translate.Map
			for _, m := range c.Maps {
				list = append(list, m.Map)
			}
			return list
		}
		want := maps("192.0.2.1/32", "2001:db8:aaaa::/128")[0]
		for _, line := range []string{
			"map 192.0.2.1 2001:db8:aaaa::",
			"map 192.0.2.1/32 2001:db8:aaaa::",
			"map 192.0.2.1 2001:db8:aaaa::/128",
			"map 192.0.2.1/32 2001:db8:aaaa::/128",
		} {
			if got := read(line); len(got) != 1 || got[0] != want {
				t.Errorf("%s: %v", line, got)
			}
		}
	})
	row(t, "7757-3.2-02", func(t *testing.T) {
		for v6, legal := range map[string]bool{
			"2001:db8::/128": false, "2001:db8::/125": false, "2001:db8::/121": false,
			"2001:db8::/120": true, "2001:db8::/119": true, "2001:db8::/64": true, "2001:db8::/32": true,
		} {
			_, err := translate.NewTable(translate.TableConfig{Maps: maps("192.0.2.0/24", v6)})
			if (err == nil) != legal {
				t.Errorf("192.0.2.0/24 and %s: %v", v6, err)
			}
		}
	})
	row(t, "7757-3.2-03", func(t *testing.T) {
		x := eamXlat(t, nil)
		b := x.forward(pt.IP(between("2001:db8:bbbb::b", h4wkp), ping))
		wantEnds(t, b, "192.0.2.2 > 198.51.100.4")
		b = x.forward(pt.IP(between("2001:db8:bbbb::b", h4wkp),
			pt.ICMP(1, 4, 0, pt.IP(between(h4wkp, "2001:db8:bbbb::b"), ping))))
		wantEnds(t, b, "192.0.2.2 > 198.51.100.4")
		wantEnds(t, b[28:], "198.51.100.4 > 192.0.2.2")
		b = x.forward(pt.IP(between("198.51.100.4", "192.0.2.2"),
			pt.ICMP(3, 3, 0, pt.IP(between("192.0.2.2", "198.51.100.4"), ping))))
		wantEnds(t, b, h4wkp+" > 2001:db8:bbbb::b")
		wantEnds(t, b[48:], "2001:db8:bbbb::b > "+h4wkp)
	})
	row(t, "7757-3.3.1-01", func(t *testing.T) {
		for _, first := range []bool{false, true} { // the order of the rows does not matter
			x := eamXlat(t, func(s *settings) {
				wide := maps("192.0.2.0/24", "2001:db8:f00::/120")
				if first {
					s.Maps = append(wide, s.Maps...)
				} else {
					s.Maps = append(s.Maps, wide...)
				}
			})
			x.to6("192.0.2.24", "2001:db8:cccc::8")
			x.to6("192.0.2.1", "2001:db8:aaaa::")
			x.to6("192.0.2.3", "2001:db8:f00::3")
			x.to6("192.0.2.248", "2001:db8:f00::f8")
		}
	})
	row(t, "7757-3.3.1-02", func(t *testing.T) {
		eamXlat(t, nil).to6("192.0.2.248", "64:ff9b::c000:2f8")
	})
	row(t, "7757-3.3.1-03", func(t *testing.T) {
		x := eamXlat(t, func(s *settings) {
			s.Maps = append(s.Maps, maps("203.0.113.0/24", "2001:db8:a:ff00::/56", "9.0.0.0/8", "2001:db8:9::/50")...)
		})
		x.to6("192.0.2.152", "2001:db8:dddd:0:6000::")
		x.to6("192.0.2.183", "2001:db8:dddd:0:dc00::")
		x.to6("192.0.2.191", "2001:db8:dddd:0:fc00::")
		x.to6("192.0.2.195", "2001:db8:eeee:9:8000::")
		x.to6("203.0.113.77", "2001:db8:a:ff4d::")
		x.to6("9.255.255.255", "2001:db8:9:3fff:ffc0::") // the suffix straddles byte 8
		x.to6("9.0.0.1", "2001:db8:9:0:40::")
	})
	row(t, "7757-3.3.2-01", func(t *testing.T) {
		x := eamXlat(t, func(s *settings) {
			s.Maps = append(s.Maps, maps("203.0.113.9/32", "2001:db8:dddd::1/128")...)
		})
		x.to4("2001:db8:dddd::1", "203.0.113.9")
		x.to4("2001:db8:dddd:0:6000::", "192.0.2.152")
		x.to6("203.0.113.9", "2001:db8:dddd::1")
		x.to6("192.0.2.128", "2001:db8:dddd::")
	})
	row(t, "7757-3.3.2-02", func(t *testing.T) {
		eamXlat(t, nil).to4("64:ff9b::c000:2f8", "192.0.2.248")
	})
	row(t, "7757-3.3.2-03", func(t *testing.T) {
		x := eamXlat(t, func(s *settings) {
			s.Maps = append(s.Maps, maps("9.0.0.0/8", "2001:db8:9::/50")...)
		})
		x.to4("2001:db8:dddd:0:6000:1:2:3", "192.0.2.152")
		x.to4("2001:db8:dddd:0:63ff:ffff:ffff:ffff", "192.0.2.152")
		x.to4("2001:db8:dddd:0:6400::", "192.0.2.153")
		x.to4("2001:db8:eeee:b:ffff::", "192.0.2.199")
		x.to4("2001:db8:9:3fff:ffff:ffff:ffff:ffff", "9.255.255.255")
		x.to4("2001:db8:9:0:40::1", "9.0.0.1")
	})
	row(t, "7757-3.3-01", func(t *testing.T) {
		x := eamXlat(t, func(s *settings) { s.AllowPrivate = false })
		b := x.forward(pt.IP(between("64:ff9b::1", "64:ff9b::808:808"), ping))
		wantEnds(t, b, "192.0.2.225 > 8.8.8.8")
		b = x.forward(pt.IP(between("8.8.8.8", "192.0.2.225"), ping))
		wantEnds(t, b, "64:ff9b::808:808 > 64:ff9b::1")
		// Its neighbour outside of the map is 0.0.0.2 under the prefix.
		if why := x.none(pt.IP(between("64:ff9b::2", "64:ff9b::808:808"), ping)); why != translate.IllegalSource {
			t.Error(why)
		}
	})
	row(t, "7757-5-01", func(t *testing.T) {
		tab, err := translate.NewTable(translate.TableConfig{Maps: figure2()})
		if err != nil {
			t.Fatal(err)
		}
		w := tab.Warnings()
		if len(w) != 1 || !strings.Contains(w[0], "198.51.100.64/32") || !strings.Contains(w[0], "0.0.0.0/0") {
			t.Errorf("warnings %q", w)
		}
		tab, err = translate.NewTable(translate.TableConfig{Maps: maps("192.0.2.1/32", "2001:db8:1::/64", "192.0.2.2/32", "2001:db8:1::2/128")})
		if err != nil {
			t.Fatal(err)
		}
		if w := tab.Warnings(); len(w) != 1 || !strings.Contains(w[0], "2001:db8:1::2/128") {
			t.Errorf("warnings %q", w)
		}
		tab, err = translate.NewTable(translate.TableConfig{Maps: figure1()[:5]})
		if err != nil {
			t.Fatal(err)
		}
		if w := tab.Warnings(); len(w) != 0 {
			t.Errorf("warnings %q without overlap", w)
		}
	})
	row(t, "7757-5-02", func(t *testing.T) {
		for _, list := range [][]translate.Map{
			maps("198.51.100.8/32", "2001:db8::1/128", "198.51.100.9/32", "2001:db8::1/128"), // figure 3
			maps("198.51.100.8/32", "2001:db8::1/128", "198.51.100.8/32", "2001:db8::2/128"),
			maps("198.51.100.8/30", "2001:db8::/64", "198.51.100.12/30", "2001:db8::1:2/64"), // the same when masked
		} {
			_, err := translate.NewTable(translate.TableConfig{Maps: list})
			if err == nil || !strings.Contains(err.Error(), list[1].String()) {
				t.Errorf("%v: %v", list, err)
			}
		}
	})
	row(t, "7757-5-03", func(t *testing.T) {
		x := newXlat(t, func(s *settings) { s.Prefixes, s.Maps = nil, figure2() })
		// 8.8.8.8 lies in bits 40 to 71 of 2001:db8:ff08:808:800::.
		b := x.forward(pt.IP(between("2001:db8:ffc6:3364:4000::", "2001:db8:ff08:808:800::"), ping))
		wantEnds(t, b, "198.51.100.64 > 8.8.8.8")
		b = x.forward(pt.IP(between("8.8.8.8", "198.51.100.64"), ping))
		wantEnds(t, b, "2001:db8:ff08:808:800:: > 2001:db8::abcd")
	})
	row(t, "7757-6-01", func(t *testing.T) {
		x := newXlat(t, func(s *settings) { s.Prefixes = prefixes("64:ff9b::/96") })
		in := pt.IP(between("8.8.8.8", "192.0.2.6"), ping)
		out := x.forward(in)
		wantPacket(t, out, pt.IP(pt.Header{Src: addr("64:ff9b::808:808"), Dst: pt.M6, TTL: 63}, ping))
		if be16(in, 20+6) == be16(out, 40+6) {
			t.Error("checksum has not changed")
		}
	})
}

// figure2 is the table of RFC 7757 §5 with overlapping IPv4 prefixes.
func figure2() []translate.Map {
	return maps("0.0.0.0/0", "2001:db8:ff00::/40", "198.51.100.64/32", "2001:db8::abcd/128")
}

// A hairpin is a packet of RFC 7757 appendix B.1 in the three stages shown
// there: as it comes, as IPv4 would see it, and as it leaves again. Only the
// checksums are not in the figures.
type hairpin struct{ initial, intermediate, final string }

var (
	figure8 = hairpin{
		`6000 0000 000c 11 40                      # 12 bytes of UDP, hop limit 64
		 2001 0db8 aaaa 0000 0000 0000 0000 0000   # source 2001:db8:aaaa::
		 0064 ff9b 0000 0000 0000 0000 c000 0202   # destination 64:ff9b::192.0.2.2
		 03e9 07d2 000c 8c13                       # ports 1001 and 2002, length 12, checksum
		 6669 6738                                 # data`,
		`4500 0020 0000 0000 3f11 f7c9             # 32 bytes, generated identification, TTL 63, UDP
		 c000 0201 c000 0202                       # 192.0.2.1 to 192.0.2.2
		 03e9 07d2 000c a275                       # ports, length, checksum
		 6669 6738                                 # data`,
		`6000 0000 000c 11 3f                      # hop limit 63
		 0064 ff9b 0000 0000 0000 0000 c000 0201   # source 64:ff9b::192.0.2.1
		 2001 0db8 bbbb 0000 0000 0000 0000 000b   # destination 2001:db8:bbbb::b
		 03e9 07d2 000c 7af8                       # ports, length, checksum
		 6669 6738                                 # data`,
	}
	figure9 = hairpin{
		`6000 0000 003c 3a 40                      # 60 bytes of ICMPv6, hop limit 64
		 2001 0db8 0000 0000 0000 0000 0000 1234   # source 2001:db8::1234, a router
		 0064 ff9b 0000 0000 0000 0000 c000 0201   # destination 64:ff9b::192.0.2.1
		 01 00 8b6d 0000 0000                      # no route to destination, checksum
		  6000 0000 000c 11 3e                     # quoted: hop limit 62
		  0064 ff9b 0000 0000 0000 0000 c000 0201  # source 64:ff9b::192.0.2.1
		  2001 0db8 bbbb 0000 0000 0000 0000 000b  # destination 2001:db8:bbbb::b
		  03e9 07d2 000c 7af8 6669 6738            # UDP`,
		`4500 003c 0000 0000 3f01 8f8b             # 60 bytes, generated identification, TTL 63, ICMP
		 c633 6401 c000 0201                       # 198.51.100.1 to 192.0.2.1
		 03 01 8120 0000 0000                      # host unreachable, checksum
		  4500 0020 0000 0000 3e11 f8c9            # quoted: TTL 62
		  c000 0201 c000 0202                      # 192.0.2.1 to 192.0.2.2
		  03e9 07d2 000c a275 6669 6738            # UDP`,
		`6000 0000 003c 3a 3f                      # hop limit 63
		 0064 ff9b 0000 0000 0000 0000 c633 6401   # source 64:ff9b::198.51.100.1
		 2001 0db8 aaaa 0000 0000 0000 0000 0000   # destination 2001:db8:aaaa::
		 01 00 8ac3 0000 0000                      # no route to destination, checksum
		  6000 0000 000c 11 3e                     # quoted: hop limit 62
		  2001 0db8 aaaa 0000 0000 0000 0000 0000  # source 2001:db8:aaaa::
		  0064 ff9b 0000 0000 0000 0000 c000 0202  # destination 64:ff9b::192.0.2.2
		  03e9 07d2 000c 8c13 6669 6738            # UDP, as figure 8 began`,
	}
	figure10 = hairpin{
		`6000 0000 003c 3a 40                      # 60 bytes of ICMPv6, hop limit 64
		 2001 0db8 bbbb 0000 0000 0000 0000 000b   # source 2001:db8:bbbb::b, the host that was sought
		 0064 ff9b 0000 0000 0000 0000 c000 0201   # destination 64:ff9b::192.0.2.1
		 01 04 e1d6 0000 0000                      # port unreachable, checksum
		  6000 0000 000c 11 3e                     # quoted: hop limit 62
		  0064 ff9b 0000 0000 0000 0000 c000 0201  # source 64:ff9b::192.0.2.1
		  2001 0db8 bbbb 0000 0000 0000 0000 000b  # destination 2001:db8:bbbb::b
		  03e9 07d2 000c 7af8 6669 6738            # UDP`,
		`4500 003c 0000 0000 3f01 f7bd             # 60 bytes, generated identification, TTL 63, ICMP
		 c000 0202 c000 0201                       # 192.0.2.2 to 192.0.2.1
		 03 03 811e 0000 0000                      # port unreachable, checksum
		  4500 0020 0000 0000 3e11 f8c9            # quoted: TTL 62
		  c000 0201 c000 0202                      # 192.0.2.1 to 192.0.2.2
		  03e9 07d2 000c a275 6669 6738            # UDP`,
		`6000 0000 003c 3a 3f                      # hop limit 63
		 0064 ff9b 0000 0000 0000 0000 c000 0202   # source 64:ff9b::192.0.2.2
		 2001 0db8 aaaa 0000 0000 0000 0000 0000   # destination 2001:db8:aaaa::
		 01 04 f2f1 0000 0000                      # port unreachable, checksum
		  6000 0000 000c 11 3e                     # quoted: hop limit 62
		  2001 0db8 aaaa 0000 0000 0000 0000 0000  # source 2001:db8:aaaa::
		  0064 ff9b 0000 0000 0000 0000 c000 0202  # destination 64:ff9b::192.0.2.2
		  03e9 07d2 000c 8c13 6669 6738            # UDP, as figure 8 began`,
	}
	figure11 = hairpin{
		initial: `6000 0000 000e 11 40             # 14 bytes of UDP, hop limit 64
		 2001 0db8 bbbb 0000 0000 0000 0000 000b   # source 2001:db8:bbbb::b
		 0064 ff9b 0000 0000 0000 0000 c000 0201   # destination 64:ff9b::192.0.2.1
		 07d2 03e9 000e 49da                       # ports 2002 and 1001, length 14, checksum
		 6669 6731 3121                            # data`,
		final: `6000 0000 000e 11 3f               # hop limit 63
		 0064 ff9b 0000 0000 0000 0000 c000 0202   # source 64:ff9b::192.0.2.2
		 2001 0db8 aaaa 0000 0000 0000 0000 0000   # destination 2001:db8:aaaa::
		 07d2 03e9 000e 5af5                       # ports, length, checksum
		 6669 6731 3121                            # data`,
	}
)

// intrinsic expects f in the intrinsic mode: from the first stage to the last at
// once, so that IPv4 sees nothing of it.
func (f hairpin) intrinsic(t *testing.T) {
	t.Helper()
	x := eamXlat(t, nil) // the default
	out, res := x.checked(hexBytes(t, f.initial))
	if res != (translate.Result{Verdict: translate.Forward, Reason: translate.Hairpinned}) {
		t.Fatalf("%v", res)
	}
	wantPacket(t, out[0], hexBytes(t, f.final))
}

// simple expects f in the simple mode: the IPv4 network sees the second stage
// and returns it, and each pass takes one from the hop limit.
func (f hairpin) simple(t *testing.T) {
	t.Helper()
	x := eamXlat(t, func(s *settings) { s.Hairpin = translate.HairpinSimple })
	mid := x.forward(hexBytes(t, f.initial))
	wantPacket(t, mid, hexBytes(t, f.intermediate))
	final := hexBytes(t, f.final)
	final[7]--
	wantPacket(t, x.forward(mid), final)
}

func TestRFC7757Hairpin(t *testing.T) {
	row(t, "7757-4.2-01", func(t *testing.T) {
		var c translate.Config // the default
		if c.Hairpin != translate.HairpinIntrinsic {
			t.Error("hairpinning is off by default")
		}
		for _, f := range []hairpin{figure8, figure9, figure10, figure11} {
			f.intrinsic(t)
		}
	})
	row(t, "7757-4.2.1-01", func(t *testing.T) {
		figure8.simple(t)
		x := eamXlat(t, func(s *settings) { s.Hairpin = translate.HairpinSimple })
		for _, p := range []pt.Payload{ping, pt.EchoRequest(1, 2, nil), pt.TCP(1, 2, nil)} {
			b := x.forward(pt.IP(between("192.0.2.1", "192.0.2.2"), p))
			wantEnds(t, b, "64:ff9b::c000:201 > 2001:db8:bbbb::b")
		}
		x = eamXlat(t, func(s *settings) { s.Hairpin = translate.HairpinOff })
		b := x.forward(pt.IP(between("192.0.2.1", "192.0.2.2"), ping))
		wantEnds(t, b, "2001:db8:aaaa:: > 2001:db8:bbbb::b")
	})
	row(t, "7757-4.2.1-02", figure9.simple)
	row(t, "7757-4.2.1-03", func(t *testing.T) {
		figure10.simple(t)
		x := eamXlat(t, func(s *settings) { s.Hairpin = translate.HairpinSimple })
		b := x.forward(pt.IP(between("192.0.2.24", "192.0.2.1"),
			pt.ICMP(3, 1, 0, pt.IP(between("192.0.2.1", "192.0.2.2"), ping))))
		wantEnds(t, b, "2001:db8:cccc::8 > 2001:db8:aaaa::")
		wantEnds(t, b[48:], "2001:db8:aaaa:: > 64:ff9b::c000:202")
	})
	row(t, "7757-4.2.2-01", func(t *testing.T) {
		figure8.intrinsic(t)
		figure11.intrinsic(t)
		x := eamXlat(t, nil)
		for in, out := range map[string]string{
			"64:ff9b::c000:2f8": "192.0.2.1 > 192.0.2.248", // by prefix, but not in a map
			"2001:db8:bbbb::b":  "192.0.2.1 > 192.0.2.2",   // in a map, but not by prefix
		} {
			wantEnds(t, x.forward(pt.IP(between("2001:db8:aaaa::", in), ping)), out)
		}
	})
	row(t, "7757-4.2.2-02", func(t *testing.T) {
		figure9.intrinsic(t)
		// An error about a packet whose source was in a map is no hairpin.
		b := eamXlat(t, nil).forward(pt.IP(between("2001:db8::1234", "64:ff9b::c000:201"),
			pt.ICMP(1, 0, 0, pt.IP(between("2001:db8:aaaa::", "2001:db8:bbbb::b"), ping))))
		wantEnds(t, b, "198.51.100.1 > 192.0.2.1")
		wantEnds(t, b[28:], "192.0.2.1 > 192.0.2.2")
	})
	row(t, "7757-4.2.2-03", figure10.intrinsic)
	row(t, "7757-4.2.2-04", func(t *testing.T) {
		x := eamXlat(t, nil)
		in := hexBytes(t, figure8.initial)
		is(t, "hop limit", x.forward(in)[7], 63)
		in[7] = 2
		is(t, "hop limit", x.forward(in)[7], 1)
		in[7] = 1
		x.err6(in, 3, 0)
		is(t, "hop limit of an error", x.forward(hexBytes(t, figure9.initial))[7], 63)
	})
}
