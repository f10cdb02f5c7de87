package rfc

import (
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

func TestRFC8215(t *testing.T) {
	row(t, "8215-5-01", func(t *testing.T) {
		for prefix, v6 := range map[string]string{ // 192.0.2.33 under each
			"64:ff9b:1::/48":              "64:ff9b:1:c000:2:2100::",
			"64:ff9b:1:300::/56":          "64:ff9b:1:3c0:0:221::",
			"64:ff9b:1:344::/64":          "64:ff9b:1:344:c0:2:2100:0",
			"64:ff9b:1::/96":              "64:ff9b:1::c000:221",
			"64:ff9b:1:ffff:ff:ffff::/96": "64:ff9b:1:ffff:ff:ffff:c000:221",
		} {
			x := withPrefix(t, prefix, nil)
			wantBytes(t, "composed", x.composed(addr("192.0.2.33")), addr(v6).AsSlice())
			wantBytes(t, "extracted", x.extracted(addr(v6)), []byte{192, 0, 2, 33})
		}
	})
	row(t, "8215-5-02", func(t *testing.T) {
		for _, prefix := range []string{"64:ff9b:1::/96", "64:ff9b:1:abcd:0:5431::/96", "64:ff9b:1::/64", "64:ff9b:1::/48"} {
			x := withPrefix(t, prefix, nil)
			for _, v4 := range nonGlobal {
				v6, err := translate.Embed(mustPrefix(prefix), addr(v4))
				if err != nil {
					t.Fatal(err)
				}
				wantBytes(t, "extracted", x.extracted(v6), addr(v4).AsSlice())
				wantBytes(t, "composed", x.composed(addr(v4)), v6.AsSlice())
			}
		}
		wantBytes(t, "10.0.0.1", withPrefix(t, "64:ff9b:1::/96", nil).extracted(addr("64:ff9b:1::a00:1")), []byte{10, 0, 0, 1})
	})
	row(t, "8215-5-03", func(t *testing.T) {
		in := pt.IP(between("2001:db8:6::6", "64:ff9b:1::a00:1"), ping)
		for _, prefix := range []string{"2001:db8:64::/96", "64:ff9b::/96", "64:ff9b:1:1::/96", "64:ff9b:1:1::/64"} {
			withPrefix(t, prefix, func(s *settings) { s.AllowPrivate = true }).err6(in, 1, 1)
		}
		// Under the /48 the IPv4 address stands elsewhere than under a /96.
		wantBytes(t, "under the /48", withPrefix(t, "64:ff9b:1::/48", nil).extracted(addr("64:ff9b:1:a00:0:100:a00:2")), []byte{10, 0, 0, 1})
	})
	row(t, "8215-6-01", func(t *testing.T) {
		for prefix, neutral := range map[string]bool{
			"64:ff9b:1:fffe::/96":        true,
			"64:ff9b:1:fffd:1::/96":      true,
			"64:ff9b:1:fffc:2::/96":      true,
			"64:ff9b:1:abcd:0:5431::/96": true,
			"64:ff9b:1::/96":             false,
		} {
			x := withPrefix(t, prefix, func(s *settings) { s.Maps = nil })
			for _, p := range []pt.Payload{ping, pt.TCP(1, 2, []byte("ping"))} {
				in := pt.IP(between("192.0.2.6", "198.51.100.4"), p)
				at := 6
				if in[9] == 6 {
					at = 16
				}
				out := x.forward(in)
				is(t, prefix+" keeps the checksum 4 to 6", be16(in, 20+at) == be16(out, 40+at), neutral)
				is(t, prefix+" keeps the checksum 6 to 4", be16(x.forward(out), 20+at) == be16(out, 40+at), neutral)
			}
		}
	})
}
