package rfc

import (
	"strings"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// clat is the translator of a host without IPv4 of its own: one address towards
// the host, one claimed IPv6 address, and the prefix of the provider.
func clat(t *testing.T, edit func(s *settings)) *xlat {
	t.Helper()
	return newXlat(t, func(s *settings) {
		s.Prefixes, s.Maps = prefixes("64:ff9b::/96"), maps("192.0.0.1/32", "2001:db8:c::464/128")
		s.IPv4, s.ICMPPool4 = addr("192.0.0.2"), nil
		if edit != nil {
			edit(s)
		}
	})
}

func TestRFC6877(t *testing.T) {
	row(t, "6877-6.3-01", func(t *testing.T) {
		x := clat(t, nil)
		x.becomes(
			pt.IP(between("192.0.0.1", "8.8.8.8"), ping),
			pt.IP(with(between("2001:db8:c::464", "64:ff9b::808:808"), func(h *pt.Header) { h.TTL = 63 }), ping))
		x.becomes(
			pt.IP(between("64:ff9b::808:808", "2001:db8:c::464"), ping),
			pt.IP(with(between("8.8.8.8", "192.0.0.1"), func(h *pt.Header) { h.TTL, h.DF = 63, false }), ping))
		// A hop inside the provider's IPv6 network shows under the CLAT's address.
		b := x.forward(pt.IP(between("2001:db8:bad::1", "2001:db8:c::464"),
			pt.ICMP(3, 0, 0, pt.IP(between("2001:db8:c::464", "64:ff9b::808:808"), ping))))
		wantEnds(t, b, "192.0.0.2 > 192.0.0.1")
		wantEnds(t, b[28:], "192.0.0.1 > 8.8.8.8")
		is(t, "warnings", strings.Join(x.Warnings(), "\n"), "")
	})
	row(t, "6877-6.3-02", func(t *testing.T) {
		for prefix, v6 := range map[string]string{
			"64:ff9b::/96":       "64:ff9b::808:808",
			"2001:db8:1::/96":    "2001:db8:1::808:808",
			"2001:db8:1:ff::/64": "2001:db8:1:ff:8:808:800:0",
		} {
			x := clat(t, func(s *settings) { s.Prefixes = prefixes(prefix) })
			b := x.forward(pt.IP(between("192.0.0.1", "8.8.8.8"), ping))
			wantBytes(t, "destination", b[24:40], addr(v6).AsSlice())
		}
		x := clat(t, func(s *settings) { s.Prefixes = prefixes("2001:db8:64::/96") })
		b := x.forward(pt.IP(between("192.0.0.1", "198.51.100.4"), ping))
		wantEnds(t, b, "2001:db8:c::464 > 2001:db8:64::c633:6404")
	})
	row(t, "6877-6.3-03", func(t *testing.T) {
		in := pt.IP(between("192.0.0.1", "8.8.8.8"), ping)
		for _, mode := range []translate.Hairpin{translate.HairpinIntrinsic, translate.HairpinOff} {
			x := clat(t, func(s *settings) { s.Hairpin = mode })
			wantEnds(t, x.forward(in), "2001:db8:c::464 > 64:ff9b::808:808")
			is(t, "warnings", len(x.Warnings()), 0)
		}
		// The simple mode would hide the host, which the operator is told.
		x := clat(t, func(s *settings) { s.Hairpin, s.AllowPrivate = translate.HairpinSimple, true })
		wantEnds(t, x.forward(in), "64:ff9b::c000:1 > 64:ff9b::808:808")
		if w := x.Warnings(); len(w) != 1 || !strings.Contains(w[0], "CLAT") {
			t.Errorf("warnings %q", w)
		}
	})
	row(t, "6877-6.3-04", claimedAddress)
}
