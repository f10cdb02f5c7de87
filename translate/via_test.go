package translate_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// fixedLeases is a Dynamic whose leases do not change.
type fixedLeases map[netip.Addr]netip.Addr

func (l fixedLeases) Assign(host [16]byte) ([4]byte, bool) { return l.Addr(host) }

func (l fixedLeases) Addr(host [16]byte) ([4]byte, bool) {
	a, found := l[netip.AddrFrom16(host)]
	if !found {
		return [4]byte{}, false
	}
	return a.As4(), true
}

func (l fixedLeases) Host(addr [4]byte) ([16]byte, bool) {
	for host, a := range l {
		if a == netip.AddrFrom4(addr) {
			return host.As16(), true
		}
	}
	return [16]byte{}, false
}
func (fixedLeases) Generation() uint64 { return 0 }

// Two hosts with two leases each: 203.0.113.65 and .66 for what they do inside all
// other prefixes, .129 and .130 for what they do inside one.
var (
	viaHost1, viaHost2 = netip.MustParseAddr("2001:db8:77::1"), netip.MustParseAddr("2001:db8:77::2")
	viaOthers          = fixedLeases{viaHost1: netip.MustParseAddr("203.0.113.65"), viaHost2: netip.MustParseAddr("203.0.113.66")}
	viaBound           = fixedLeases{viaHost1: netip.MustParseAddr("203.0.113.129"), viaHost2: netip.MustParseAddr("203.0.113.130")}
)

// viaComparison: pools bound to the prefix 2001:db8:b::/96, which is the second of two
// or, with boundFirst, the first.
func viaComparison(t *testing.T, cfg translate.Config, boundFirst bool) *comparison {
	t.Helper()
	bound, other := netip.MustParsePrefix("2001:db8:b::/96"), netip.MustParsePrefix("2001:db8:a::/96")
	tc := translate.TableConfig{
		Prefixes: []netip.Prefix{other, bound},
		Maps:     []translate.Map{{IPv4: netip.MustParsePrefix("203.0.113.7/32"), IPv6: netip.MustParsePrefix("2001:db8:7::7/128")}},
		Pools: []translate.Pool{
			{Prefixes: []netip.Prefix{netip.MustParsePrefix("203.0.113.64/26")}, Dynamic: viaOthers},
			{Pref64: bound, Prefixes: []netip.Prefix{netip.MustParsePrefix("203.0.113.128/26")}, Dynamic: viaBound},
		},
	}
	if boundFirst {
		tc.Prefixes = []netip.Prefix{bound, other}
	}
	return newComparison(t, cfg, tc)
}

func between(src, dst string, payload packettest.Payload) []byte {
	return packettest.IP(packettest.Header{Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst)}, payload)
}

// ends returns the addresses of an IP packet.
func ends(b []byte) string {
	at, n := 12, 4
	if b[0]>>4 == 6 {
		at, n = 8, 16
	}
	src, _ := netip.AddrFromSlice(b[at : at+n])
	dst, _ := netip.AddrFromSlice(b[at+n : at+2*n])
	return src.String() + " > " + dst.String()
}

// quotedBy returns the packet that an ICMP error without options quotes.
func quotedBy(b []byte) []byte {
	if b[0]>>4 == 6 {
		return b[40+8:]
	}
	return b[20+8:]
}

// TestVia: a host has an address for each prefix that pools are bound to, and is
// answered from inside the prefix that it sent to, whatever the order of prefixes.
func TestVia(t *testing.T) {
	udp := packettest.UDP(1, 2, nil)
	about := func(src, dst string) packettest.Payload { return packettest.ICMP(3, 0, 0, between(src, dst, udp)) }
	about6 := func(src, dst string) packettest.Payload { return packettest.ICMP(1, 4, 0, between(src, dst, udp)) }
	for _, c := range []struct {
		name         string
		pkt          []byte
		want, quoted string
	}{
		{"other-6to4", between("2001:db8:77::1", "2001:db8:a::192.0.2.33", udp), "203.0.113.65 > 192.0.2.33", ""},
		{"bound-6to4", between("2001:db8:77::1", "2001:db8:b::192.0.2.33", udp), "203.0.113.129 > 192.0.2.33", ""},
		{"other-4to6", between("192.0.2.33", "203.0.113.65", udp), "2001:db8:a::c000:221 > 2001:db8:77::1", ""},
		{"bound-4to6", between("192.0.2.33", "203.0.113.129", udp), "2001:db8:b::c000:221 > 2001:db8:77::1", ""},
		{"to-a-map", between("2001:db8:77::1", "2001:db8:7::7", udp), "203.0.113.65 > 203.0.113.7", ""},

		// A router and the server itself about packets of the host.
		{"other-error-4to6", between("192.0.2.1", "203.0.113.65", about("203.0.113.65", "192.0.2.33")),
			"2001:db8:a::c000:201 > 2001:db8:77::1", "2001:db8:77::1 > 2001:db8:a::c000:221"},
		{"bound-error-4to6", between("192.0.2.1", "203.0.113.129", about("203.0.113.129", "192.0.2.33")),
			"2001:db8:b::c000:201 > 2001:db8:77::1", "2001:db8:77::1 > 2001:db8:b::c000:221"},
		{"bound-error-from-server", between("192.0.2.33", "203.0.113.129", about("203.0.113.129", "192.0.2.33")),
			"2001:db8:b::c000:221 > 2001:db8:77::1", "2001:db8:77::1 > 2001:db8:b::c000:221"},

		// The host, and a router on the path to it, about packets of the server.
		{"other-error-6to4", between("2001:db8:77::1", "2001:db8:a::192.0.2.33", about6("2001:db8:a::192.0.2.33", "2001:db8:77::1")),
			"203.0.113.65 > 192.0.2.33", "192.0.2.33 > 203.0.113.65"},
		{"bound-error-6to4", between("2001:db8:77::1", "2001:db8:b::192.0.2.33", about6("2001:db8:b::192.0.2.33", "2001:db8:77::1")),
			"203.0.113.129 > 192.0.2.33", "192.0.2.33 > 203.0.113.129"},
		{"bound-error-of-router", between("2001:db8:bad::1", "2001:db8:b::192.0.2.33", about6("2001:db8:b::192.0.2.33", "2001:db8:77::1")),
			"192.0.2.1 > 192.0.2.33", "192.0.2.33 > 203.0.113.129"},
		{"bound-quoted-source", between("2001:db8:77::1", "2001:db8:b::192.0.2.33", about6("2001:db8:77::1", "2001:db8:b::192.0.2.33")),
			"203.0.113.129 > 192.0.2.33", "203.0.113.129 > 192.0.2.33"},
	} {
		for _, boundFirst := range []bool{false, true} {
			name := c.name
			if boundFirst {
				name += "/bound-first"
			}
			t.Run(name, func(t *testing.T) {
				own := netip.MustParseAddr("192.0.2.1")
				if c.pkt[0]>>4 == 4 {
					own = netip.MustParseAddr("192.0.2.2")
				}
				x := viaComparison(t, translate.Config{IPv4: own, IPv6: netip.MustParseAddr("2001:db8::1")}, boundFirst)
				if d := x.compare(t, c.pkt); d != "" {
					t.Error(d)
				}
				p := packettest.Buffer(c.pkt)
				if res := x.w.Translate(0, &p); res != (translate.Result{Verdict: translate.Forward, Reason: translate.Translated}) {
					t.Fatalf("%v (%v)", res.Verdict, res.Reason)
				}
				if got := ends(p.Bytes()); got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
				if c.quoted == "" {
					return
				}
				if got := ends(quotedBy(p.Bytes())); got != c.quoted {
					t.Errorf("quoted %s, want %s", got, c.quoted)
				}
			})
		}
	}
}

// TestViaHairpin: a host talks to each lease of another by each prefix, and to a
// map. The other answers what it sees; the answer comes back from where the first
// had sent to, to where it had sent from. An error about the answer comes back
// likewise.
func TestViaHairpin(t *testing.T) {
	for _, boundFirst := range []bool{false, true} {
		for _, simple := range []bool{false, true} {
			cfg := translate.Config{IPv4: netip.MustParseAddr("192.0.2.1"), IPv6: netip.MustParseAddr("2001:db8::1")}
			if simple {
				cfg.Hairpin = translate.HairpinSimple
			}
			x := viaComparison(t, cfg, boundFirst)
			// through takes a packet from an IPv6 host to an IPv6 host, by way of the
			// IPv4 network, if that returns it.
			through := func(t *testing.T, pkt []byte) []byte {
				t.Helper()
				for {
					if d := x.compare(t, pkt); d != "" {
						t.Error(d)
					}
					p := packettest.Buffer(pkt)
					if res := x.w.Translate(0, &p); res.Verdict != translate.Forward {
						t.Fatalf("%s: %v (%v)", ends(pkt), res.Verdict, res.Reason)
					}
					if pkt = p.Bytes(); pkt[0]>>4 == 6 {
						return pkt
					}
				}
			}
			reverse := func(b []byte) (src, dst string) {
				at := strings.Split(ends(b), " > ")
				return at[1], at[0]
			}
			for _, sent := range []string{
				"2001:db8:a::203.0.113.66", "2001:db8:a::203.0.113.130",
				"2001:db8:b::203.0.113.66", "2001:db8:b::203.0.113.130",
			} {
				name := sent
				if simple {
					name += "/simple"
				}
				if boundFirst {
					name += "/bound-first"
				}
				t.Run(name, func(t *testing.T) {
					there := between("2001:db8:77::1", sent, packettest.UDP(1, 2, nil))
					arrived := through(t, there)
					src, dst := reverse(arrived)
					if src != "2001:db8:77::2" {
						t.Fatalf("arrived at %s", src)
					}
					back := through(t, between(src, dst, packettest.UDP(2, 1, nil)))
					if src, dst := reverse(back); src+" > "+dst != ends(there) {
						t.Errorf("sent %s, answered %s", ends(there), ends(back))
					}
					report := through(t, between(src, dst, packettest.ICMP(1, 4, 0, arrived)))
					if src, dst := reverse(report); src+" > "+dst != ends(there) {
						t.Errorf("sent %s, told of an error %s", ends(there), ends(report))
					}
					if got := ends(quotedBy(report)); got != ends(there) {
						t.Errorf("sent %s, told of an error about %s", ends(there), got)
					}
				})
			}
		}
	}
}

// TestViaMisuse: bindings that cannot be.
func TestViaMisuse(t *testing.T) {
	p := netip.MustParsePrefix
	a, pool := p("2001:db8:a::/96"), []netip.Prefix{p("10.1.0.0/24")}
	for _, c := range []struct {
		name string
		via  []translate.Pool
		want string
	}{
		{"unknown", []translate.Pool{{Pref64: p("2001:db8:b::/96")}}, "translate: pool for 2001:db8:b::/96: not one of the prefixes"},
		{"other-length", []translate.Pool{{Pref64: p("2001:db8:a::/64")}}, "translate: pool for 2001:db8:a::/64: not one of the prefixes"},
		{"none-twice", []translate.Pool{{}}, "translate: pool for no prefix: given twice"},
		{"twice", []translate.Pool{{Pref64: a}, {Pref64: a}}, "translate: pool for 2001:db8:a::/96: given twice"},
		{"pool-twice", []translate.Pool{{Pref64: a, Prefixes: pool}}, "translate: pool 10.1.0.0/24: given twice"},
		{"pool-not-ipv4", []translate.Pool{{Pref64: a, Prefixes: []netip.Prefix{a}}}, "translate: pool 2001:db8:a::/96: not an IPv4 prefix"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := translate.NewTable(translate.TableConfig{Prefixes: []netip.Prefix{a}, Pools: append([]translate.Pool{{Prefixes: pool}}, c.via...)})
			if err == nil || err.Error() != c.want {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

// TestPref64WithoutDynamic: a Pool without a Dynamic leases nothing, nor does another pool for
// its prefix.
func TestPref64WithoutDynamic(t *testing.T) {
	prefix := netip.MustParsePrefix("2001:db8:a::/96")
	x := newComparison(t, packettest.Config(), translate.TableConfig{
		Prefixes: []netip.Prefix{prefix},
		Pools: []translate.Pool{
			{Prefixes: []netip.Prefix{netip.MustParsePrefix("203.0.113.64/26")}, Dynamic: viaOthers},
			{Pref64: prefix, Prefixes: []netip.Prefix{netip.MustParsePrefix("203.0.113.128/26")}},
		},
	})
	for _, c := range []struct {
		pkt  []byte
		want translate.Reason
	}{
		{between("2001:db8:77::1", "2001:db8:a::192.0.2.33", packettest.UDP(1, 2, nil)), translate.NoSource},
		{between("192.0.2.33", "203.0.113.129", packettest.UDP(1, 2, nil)), translate.NoDestination},
	} {
		if d := x.compare(t, c.pkt); d != "" {
			t.Error(d)
		}
		p := packettest.Buffer(c.pkt)
		if res := x.w.Translate(0, &p); res.Reason != c.want {
			t.Errorf("%v (%v), want %v", res.Verdict, res.Reason, c.want)
		}
	}
}
