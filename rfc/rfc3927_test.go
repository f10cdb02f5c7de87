package rfc

import (
	"net/netip"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// metadata is where a rented machine finds the credentials of its owner.
const metadata = "169.254.169.254"

// embedIn composes an address under the prefix.
func embedIn(t *testing.T, prefix, v4 string) string {
	t.Helper()
	v6, err := translate.Embed(mustPrefix(prefix), addr(v4))
	if err != nil {
		t.Fatal(err)
	}
	return v6.String()
}

// linkLocalNamed has a host with the map of a link-local address, and one with
// the lease of another.
func linkLocalNamed(s *settings) {
	s.Maps = append(s.Maps, translate.Map{IPv4: mustPrefix("169.254.9.9/32"), IPv6: mustPrefix("2001:db8:9::9/128")},
		translate.Map{IPv4: mustPrefix("168.0.0.0/6"), IPv6: mustPrefix("2001:db8:a8::/102")})
	s.Pools = pt.Pools(nil, "169.254.7.0/24")
	s.Pools[0].Dynamic = lease{host: addr("2001:db8:7::7"), v4: addr("169.254.7.7")}
}

// TestRFC3927: the first release forwarded 169.254.0.0/16 through every prefix but
// the well-known one, and answered there. On a rented machine every IPv6 client
// could fetch its credentials.
func TestRFC3927(t *testing.T) {
	tayga := func(s *settings) { s.ICMPErrors = translate.ErrorsTAYGA }
	private := func(s *settings) { s.AllowPrivate = true }
	edits := []func(s *settings){nil, tayga, private}
	prefixes := []string{"64:ff9b::/96", "64:ff9b:1::/48"}
	for _, w := range sixWays {
		prefixes = append(prefixes, w.prefix)
	}
	ends := []string{metadata, "169.254.0.0", "169.254.255.255"}

	row(t, "3927-2.7-01", func(t *testing.T) {
		for _, prefix := range prefixes {
			for _, edit := range edits {
				x := withPrefix(t, prefix, edit)
				for _, v4 := range ends {
					for _, ttl := range []uint8{1, 2, 255} {
						for _, h := range []pt.Header{between(v4, "192.0.2.6"), between("8.8.8.8", v4), between(v4, v4)} {
							h.TTL = ttl
							x.drop(pt.IP(h, ping), translate.LinkLocal)
							x.drop(pt.IP(h, pt.EchoRequest(1, 2, nil)), translate.LinkLocal)
						}
					}
					quote := pt.IP(between("192.0.2.6", v4), ping)
					x.drop(pt.IP(between("8.8.8.8", "192.0.2.6"), pt.ICMP(3, 1, 0, quote)), translate.ICMPQuote)
				}
				x.forward(pt.IP(between("169.253.255.255", "192.0.2.6"), ping))
				x.forward(pt.IP(between("169.255.0.0", "192.0.2.6"), ping))
			}
		}
	})
	row(t, "3927-7-01", func(t *testing.T) {
		for _, prefix := range prefixes {
			for _, edit := range edits {
				x := withPrefix(t, prefix, func(s *settings) {
					s.Maps = append(s.Maps, translate.Map{IPv4: mustPrefix("8.8.4.4/32"), IPv6: mustPrefix("fd00::8/128")})
					if edit != nil {
						edit(s)
					}
				})
				for _, v4 := range ends {
					v6, other := embedIn(t, prefix, v4), embedIn(t, prefix, "8.8.8.8")
					x.drop(pt.IP(between("2001:db8:6::6", v6), ping), translate.LinkLocal)
					x.drop(pt.IP(between("2001:db8:6::6", v6), pt.EchoRequest(1, 2, nil)), translate.LinkLocal)
					x.drop(pt.IP(pt.Header{Src: addr("2001:db8:6::6"), Dst: addr(v6), TTL: 1}, ping), translate.LinkLocal)
					x.drop(pt.IP(pt.Header{Src: addr(v6), Dst: addr(other), TTL: 1}, ping), translate.LinkLocal)
					x.drop(pt.IP(between(v6, other), ping), translate.LinkLocal)
					x.drop(pt.IP(between(v6, embedIn(t, prefix, "8.8.4.4")), ping), translate.LinkLocal) // a hairpin
					quote := pt.IP(between(v6, "2001:db8:6::6"), ping)
					x.drop(pt.IP(between("2001:db8:6::6", other), pt.ICMP(1, 4, 0, quote)), translate.ICMPQuote)
				}
				x.forward(pt.IP(between("2001:db8:6::6", embedIn(t, prefix, "169.253.255.255")), ping))
				x.forward(pt.IP(between("2001:db8:6::6", embedIn(t, prefix, "169.255.0.0")), ping))
			}
		}
	})
	row(t, "3927-7-02", func(t *testing.T) {
		x := newXlat(t, linkLocalNamed)
		under := func(v4 string) string { return embedIn(t, "2001:db8:64::/96", v4) }
		for _, c := range []struct{ src, dst, want string }{
			{"8.8.8.8", "169.254.9.9", under("8.8.8.8") + " > 2001:db8:9::9"},
			{"169.254.9.9", "192.0.2.6", "2001:db8:9::9 > 2001:db8:6::6"},
			{"2001:db8:9::9", under("8.8.8.8"), "169.254.9.9 > 8.8.8.8"},
			{"8.8.8.8", "169.254.7.7", under("8.8.8.8") + " > 2001:db8:7::7"},
			{"2001:db8:7::7", under("8.8.8.8"), "169.254.7.7 > 8.8.8.8"},
			{"2001:db8:6::6", under("169.254.9.9"), under("192.0.2.6") + " > 2001:db8:9::9"}, // hairpins
			{"2001:db8:9::9", under("192.0.2.6"), under("169.254.9.9") + " > 2001:db8:6::6"},
			{"2001:db8:6::6", under("169.254.7.7"), under("192.0.2.6") + " > 2001:db8:7::7"},
		} {
			wantEnds(t, x.forward(pt.IP(between(c.src, c.dst), ping)), c.want)
		}
		// A map of more than the link-local addresses is there for the others.
		x.drop(pt.IP(between("8.8.8.8", metadata), ping), translate.LinkLocal)
		wide := netip.AddrFrom16([16]byte{0x20, 1, 0x0d, 0xb8, 0, 0xa8, 12: 1, 0xfe, 169, 254}).String() // 169.254.169.254
		x.drop(pt.IP(between("2001:db8:6::6", wide), ping), translate.LinkLocal)

		own := newXlat(t, func(s *settings) { s.IPv4 = addr("169.254.1.1") })
		out, res := own.checked(pt.IP(between("169.254.1.2", "169.254.1.1"), pt.EchoRequest(1, 2, nil)))
		is(t, "verdict", res.Verdict, translate.Reply)
		wantEnds(t, out[0], "169.254.1.1 > 169.254.1.2")
		wantEnds(t, own.forward(pt.IP(between("2001:db8:6::6", under("169.254.1.1")), ping)), "192.0.2.6 > 169.254.1.1")
		wantEnds(t, own.forward(pt.IP(between("169.254.1.1", "192.0.2.6"), ping)), under("169.254.1.1")+" > 2001:db8:6::6")
		own.drop(pt.IP(between("169.254.1.2", "192.0.2.6"), ping), translate.LinkLocal)
	})
	row(t, "3927-7-03", func(t *testing.T) {
		x := newXlat(t, nil)
		hop := pt.IP(between("169.254.0.1", "192.0.2.6"), pt.ICMP(11, 0, 0, pt.IP(sent4, ping)))
		wantEnds(t, x.forward(hop), "2001:db8:64::a9fe:1 > 2001:db8:6::6")
		hop = pt.IP(between("2001:db8:64::a9fe:1", "2001:db8:64::c633:6404"), pt.ICMP(3, 0, 0, pt.IP(sent6, ping)))
		wantEnds(t, x.forward(hop), "169.254.0.1 > 198.51.100.4")
		// An answer to a ping is no error.
		x.drop(pt.IP(between("169.254.0.1", "192.0.2.6"), pt.EchoReply(1, 2, nil)), translate.LinkLocal)
	})
}
