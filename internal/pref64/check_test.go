package pref64

import (
	"net/netip"
	"testing"
)

func TestCheck(t *testing.T) {
	for prefix, good := range map[string]bool{
		"64:ff9b::/96":              true,
		"64:ff9b:1::/48":            true,
		"64:ff9b:1:fffe::/96":       true,
		"2001:db8:64::/96":          true,
		"2001:db8::/32":             true,
		"2001:db8:100::/40":         true,
		"2001:db8:122::/48":         true,
		"2001:db8:122:300::/56":     true,
		"2001:db8:122:344::/64":     true,
		"fd00:64::/96":              true,
		"64:ff9b::/32":              false, // an encoder that takes code 0 for /32
		"64:ff9b::/64":              false,
		"64:ff9b:2::/48":            false,
		"64:ff9b:0:0:1::/96":        false,
		"::/96":                     false,
		"::ffff:0:0/96":             false, // IPv4-mapped
		"::/32":                     false,
		"100::/64":                  false,
		"100::1:0:0/96":             false,
		"fe80::/64":                 false,
		"fe80:0:0:1::/96":           false,
		"ff0e::/96":                 false,
		"2001:db8:0:0:100::/96":     false, // bits 64 to 71
		"2001:db8:0:0:ff00::/96":    false,
		"2001:db8:0:0:ff:ffff::/96": true,
		"2001:db8::/95":             false,
		"192.0.2.0/24":              false,
	} {
		if err := Check(netip.MustParsePrefix(prefix)); (err == nil) != good {
			t.Errorf("%s: %v", prefix, err)
		}
	}
	if Check(netip.Prefix{}) == nil || Check(netip.MustParsePrefix("2001:db8::1/96")) == nil {
		t.Error("no prefix, or host bits, are right")
	}
}

func TestCheckOwn(t *testing.T) {
	own := []netip.Prefix{netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("2001:db8:1::5/64"), netip.MustParsePrefix("::/0"), {}}
	for prefix, good := range map[string]bool{
		"2001:db8:2::/96":        true,
		"2001:db8:1:1::/96":      true,
		"2001:db8:1:0:0:64::/96": false, // inside
		"2001:db8:1::/48":        false, // around
		"2001:db8::/32":          false,
		"64:ff9b::/96":           true,
	} {
		if err := checkOwn(netip.MustParsePrefix(prefix), own); (err == nil) != good {
			t.Errorf("%s: %v", prefix, err)
		}
	}
}
