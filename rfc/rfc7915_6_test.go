package rfc

import (
	"net/netip"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// RFC 7915 §6: address mapping. The rows of the RFCs that it names say more.
func TestRFC7915_6(t *testing.T) {
	row(t, "7915-6-01", func(t *testing.T) {
		// With a prefix and nothing else.
		x := newXlat(t, func(s *settings) { s.TableConfig = translate.TableConfig{Prefixes: []netip.Prefix{pt.P}} })
		wantEnds(t, x.forward(pt.IP(between("198.51.100.4", "203.0.113.1"), udp(4))), "2001:db8:64::c633:6404 > 2001:db8:64::cb00:7101")
		wantEnds(t, x.forward(pt.IP(between("2001:db8:64::cb00:7101", "2001:db8:64::c633:6404"), udp(4))), "203.0.113.1 > 198.51.100.4")
	})

	row(t, "7915-6-02", func(t *testing.T) {
		// With an explicit map on either side and nothing else.
		x := newXlat(t, func(s *settings) {
			s.TableConfig = translate.TableConfig{Maps: []translate.Map{
				{IPv4: mustPrefix("192.0.2.0/28"), IPv6: mustPrefix("2001:db8:1::/124")},
				{IPv4: mustPrefix("198.51.100.4/32"), IPv6: mustPrefix("2001:db8:2::1/128")},
			}}
		})
		wantEnds(t, x.forward(pt.IP(between("198.51.100.4", "192.0.2.9"), udp(4))), "2001:db8:2::1 > 2001:db8:1::9")
		wantEnds(t, x.forward(pt.IP(between("2001:db8:1::9", "2001:db8:2::1"), udp(4))), "192.0.2.9 > 198.51.100.4")
		x.err4(pt.IP(between("198.51.100.4", "192.0.2.16"), udp(4)), 3, 13)
	})

	row(t, "7915-6-03", func(t *testing.T) {
		// An error from a router that nothing maps.
		x := newXlat(t, func(s *settings) { s.ICMPPool4 = []netip.Addr{addr("192.0.2.250")} })
		in := pt.IP(pt.Header{Src: pt.R6, Dst: pt.H4in6}, pt.ICMP(3, 0, 0, pt.IP(sent6, udp(4))))
		wantEnds(t, x.forward(in), "192.0.2.250 > 198.51.100.4")
	})
}

// RFC 7915 §8: security.
func TestRFC7915_8(t *testing.T) {
	row(t, "7915-8-01", func(t *testing.T) {
		x := newXlat(t, nil)
		for _, a := range []string{
			"2001:db8:64::7f00:1",    // 127.0.0.1
			"2001:db8:64::",          // 0.0.0.0
			"2001:db8:64::1:203",     // 0.1.2.3
			"2001:db8:64::e000:1",    // 224.0.0.1
			"2001:db8:64::efff:fffa", // 239.255.255.250
			"2001:db8:64::ffff:ffff", // 255.255.255.255
			"2001:db8:64::f000:1",    // 240.0.0.1
		} {
			to := pt.IP(pt.Header{Src: pt.M6, Dst: addr(a)}, udp(4))
			from := pt.IP(pt.Header{Src: addr(a), Dst: pt.H4in6}, udp(4))
			x.drop(to, translate.IllegalDestination)
			x.drop(from, translate.IllegalSource)
		}
		x.forward(pt.IP(pt.Header{Src: pt.M6, Dst: addr("2001:db8:64::102:3")}, udp(4))) // 1.2.0.3
		// Maps are no way around it.
		x = newXlat(t, func(s *settings) {
			s.Maps = append(s.Maps, translate.Map{IPv4: mustPrefix("224.0.0.0/24"), IPv6: mustPrefix("2001:db8:e::/120")})
		})
		x.drop(pt.IP(pt.Header{Src: pt.M6, Dst: addr("2001:db8:e::5")}, udp(4)), translate.IllegalDestination)
		x.drop(pt.IP(pt.Header{Src: addr("2001:db8:e::5"), Dst: pt.H4in6}, udp(4)), translate.IllegalSource)
	})

	row(t, "7915-8-02", func(t *testing.T) {
		x := newXlat(t, nil)
		esp := pt.Raw(50, random(120, 11))
		x.becomes(pt.IP(pt.From4(), esp), pt.IP(as6, esp))
		x.becomes(pt.IP(pt.From6(), esp), pt.IP(as4, esp))

		// ESP in UDP, RFC 3948, has no checksum in IPv4.
		natt := pt.UDPNoSum(4500, 4500, random(120, 11))
		x.prohibited(pt.IP(pt.From4(), natt), translate.UDPZeroChecksum)
		compute := newXlat(t, func(s *settings) { s.UDPZero = translate.UDPZeroCompute })
		compute.becomes(pt.IP(pt.From4(), natt), pt.IP(as6, pt.UDP(4500, 4500, random(120, 11))))
		x.becomes(pt.IP(pt.From6(), natt), pt.IP(as4, natt))
	})
}
