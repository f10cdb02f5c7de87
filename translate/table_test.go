package translate_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/steppe-nat64/steppe/translate"
)

// TestICMPPoolOfClassE: fuzzing tayga.conf found "icmp-pool 240.0.0.1" accepted
// there and refused here, although AllowClassE was set.
func TestICMPPoolOfClassE(t *testing.T) {
	tab, err := translate.NewTable(translate.TableConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for _, allow := range []bool{false, true} {
		c := translate.Config{AllowClassE: allow, ICMPPool4: []netip.Addr{netip.MustParseAddr("240.0.0.1")}}
		if _, err := translate.New(c, tab); (err == nil) != allow {
			t.Errorf("AllowClassE %t: %v", allow, err)
		}
		c.ICMPPool4[0] = netip.MustParseAddr("255.255.255.255")
		if _, err := translate.New(c, tab); err == nil {
			t.Errorf("AllowClassE %t: broadcast taken", allow)
		}
	}
}

// TestMapsToNoHost: fuzzing found packets to ff02:: and from ::, since a map was
// only asked whether its lengths fit. The IPv4 side needs no such rule: addresses
// that no host can have are refused packet by packet.
func TestMapsToNoHost(t *testing.T) {
	for v6, ok := range map[string]bool{
		"::/127":           false,
		"::/96":            false, // around :: and ::1
		"::1/128":          false,
		"::2/128":          true,
		"::ffff:0:0/96":    false,
		"::ffff:0:100/128": false,
		"fe80::/96":        false,
		"febf::/64":        false,
		"fe00::/8":         false, // around link-local addresses
		"fe00::/9":         true,
		"fec0::/10":        true,
		"ff02::/96":        false,
		"2001:db8::/96":    true,
	} {
		m := translate.Map{IPv4: netip.MustParsePrefix("198.51.100.1/32"), IPv6: netip.MustParsePrefix(v6)}
		_, err := translate.NewTable(translate.TableConfig{Maps: []translate.Map{m}})
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "no host has an address in") {
			t.Errorf("%s: %v", v6, err)
		}
	}
}
