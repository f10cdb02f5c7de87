package translate_test

import (
	"net/netip"
	"testing"

	"github.com/steppe-nat64/steppe/translate"
)

// TestConfigBounds: the last value that each number of a Config may have, and the first
// that it may not.
func TestConfigBounds(t *testing.T) {
	addrs := func(n int, a string) (all []netip.Addr) {
		for next := netip.MustParseAddr(a); len(all) < n; next = next.Next() {
			all = append(all, next)
		}
		return all
	}
	for name, c := range map[string]struct {
		good, bad translate.Config
	}{
		"MTU4-low":            {translate.Config{MTU4: 68}, translate.Config{MTU4: 67}},
		"MTU4-high":           {translate.Config{MTU4: 65535}, translate.Config{MTU4: 65536}},
		"MTU6-low":            {translate.Config{MTU6: 1280}, translate.Config{MTU6: 1279}},
		"MTU6-high":           {translate.Config{MTU6: 65535}, translate.Config{MTU6: 65536}},
		"LowestIPv6MTU-low":   {translate.Config{LowestIPv6MTU: 1280}, translate.Config{LowestIPv6MTU: 1279}},
		"LowestIPv6MTU-high":  {translate.Config{LowestIPv6MTU: 65535}, translate.Config{LowestIPv6MTU: 65536}},
		"UDPZero":             {translate.Config{UDPZero: translate.UDPZeroForward}, translate.Config{UDPZero: translate.UDPZeroForward + 1}},
		"Hairpin":             {translate.Config{Hairpin: translate.HairpinOff}, translate.Config{Hairpin: translate.HairpinOff + 1}},
		"ICMPErrors":          {translate.Config{ICMPErrors: translate.ErrorsTAYGA}, translate.Config{ICMPErrors: translate.ErrorsTAYGA + 1}},
		"ErrorRate":           {translate.Config{ErrorRate: translate.UnlimitedErrors}, translate.Config{ErrorRate: translate.UnlimitedErrors + 1}},
		"ErrorBurst-low":      {translate.Config{ErrorBurst: 1}, translate.Config{ErrorBurst: -1}},
		"ErrorBurst-high":     {translate.Config{ErrorBurst: translate.UnlimitedErrors}, translate.Config{ErrorBurst: translate.UnlimitedErrors + 1}},
		"MTUErrorRate":        {translate.Config{MTUErrorRate: translate.UnlimitedErrors}, translate.Config{MTUErrorRate: translate.UnlimitedErrors + 1}},
		"MTUErrorBurst-low":   {translate.Config{MTUErrorBurst: 1}, translate.Config{MTUErrorBurst: -1}},
		"MTUErrorBurst-high":  {translate.Config{MTUErrorBurst: translate.UnlimitedErrors}, translate.Config{MTUErrorBurst: translate.UnlimitedErrors + 1}},
		"ICMPPool4-size":      {translate.Config{ICMPPool4: addrs(256, "203.0.113.0")}, translate.Config{ICMPPool4: addrs(257, "203.0.113.0")}},
		"ICMPPool6-size":      {translate.Config{ICMPPool6: addrs(256, "2001:db8::")}, translate.Config{ICMPPool6: addrs(257, "2001:db8::")}},
		"ICMPPool6-multicast": {translate.Config{ICMPPool6: addrs(1, "fec0::")}, translate.Config{ICMPPool6: addrs(1, "ff02::1")}},
		"ICMPPool4-family":    {translate.Config{ICMPPool4: addrs(1, "203.0.113.1")}, translate.Config{ICMPPool4: addrs(1, "2001:db8::1")}},
		"ICMPPool6-family":    {translate.Config{ICMPPool6: addrs(1, "2001:db8::1")}, translate.Config{ICMPPool6: addrs(1, "203.0.113.1")}},
		"IPv4-class-E":        {translate.Config{IPv4: netip.MustParseAddr("223.255.255.255")}, translate.Config{IPv4: netip.MustParseAddr("240.0.0.0")}},
	} {
		if _, err := translate.New(c.good, new(translate.Table)); err != nil {
			t.Errorf("%s: the last good value: %v", name, err)
		}
		if _, err := translate.New(c.bad, new(translate.Table)); err == nil {
			t.Errorf("%s: the first bad value is taken", name)
		}
	}
}

// TestConfigDefaults: what zero fields mean. Settings has the values in force.
func TestConfigDefaults(t *testing.T) {
	tr, err := translate.New(translate.Config{}, new(translate.Table))
	if err != nil {
		t.Fatal(err)
	}
	c := tr.Settings().Config
	got := [...]int{c.MTU4, c.MTU6, c.LowestIPv6MTU, c.ErrorRate, c.ErrorBurst, c.MTUErrorRate, c.MTUErrorBurst}
	if want := [...]int{1500, 1500, 1280, 100, 50, 100, 50}; got != want {
		t.Errorf("MTUs, rates and bursts %v, want %v", got, want)
	}
}

// TestErrorsThatAreOff: errors that are turned off are not counted as held back.
func TestErrorsThatAreOff(t *testing.T) {
	for _, off := range []struct{ rate, mtuRate, heldBack, mtuHeldBack int }{{-1, 5, 9, 9}, {5, -1, 9, 0}, {-1, 0, 0, 0}} {
		f := newErrorFlood(t, func(c *translate.Config) {
			c.MTU4, c.MTU6 = 1280, 1280
			c.ErrorRate, c.ErrorBurst, c.MTUErrorRate, c.MTUErrorBurst = off.rate, 1, off.mtuRate, 1
		})
		f.answers(10, expired(from4(1)))
		f.answers(10, large(from4(2)))
		if s := f.tr.Stats(); s.ErrorsHeldBack != uint64(off.heldBack) || s.MTUErrorsHeldBack != uint64(off.mtuHeldBack) {
			t.Errorf("%+v: %d errors held back, %d of them about the MTU", off, s.ErrorsHeldBack, s.MTUErrorsHeldBack)
		}
	}
}
