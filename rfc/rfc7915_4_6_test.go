package rfc

import (
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
)

// RFC 7915 §4.6: when to translate.
func TestRFC7915_4_6(t *testing.T) {
	// The kernel routes; what it sends to the translator is to be translated.
	row(t, "7915-4.6-01", nativeRoute4)

	row(t, "7915-4.6-02", func(t *testing.T) {
		x := newXlat(t, nil)
		x.becomes(pt.IP(pt.From4(), udp(4)), pt.IP(as6, udp(4)))
		// An IPv6 host that is numbered from the prefix is one too.
		wantEnds(t, x.forward(pt.IP(between("198.51.100.4", "203.0.113.1"), udp(4))), "2001:db8:64::c633:6404 > 2001:db8:64::cb00:7101")
	})
}

// RFC 7915 §5.6: when to translate.
func TestRFC7915_5_6(t *testing.T) {
	row(t, "7915-5.6-01", nativeRoute6)

	row(t, "7915-5.6-02", func(t *testing.T) {
		x := newXlat(t, nil)
		x.becomes(pt.IP(pt.From6(), udp(4)), pt.IP(as4, udp(4)))
	})
}
