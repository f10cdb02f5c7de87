package taygaconf

import (
	"net/netip"
	"reflect"
	"testing"
)

// TestBoundPools: pools that are bound to the same prefix are one, and those that are
// bound to none; internal/gateway leases their addresses together.
func TestBoundPools(t *testing.T) {
	c := mustRead(t, minimal+`prefix 2001:db8:b::/96
dynamic-pool 10.1.0.0/24 via 2001:db8:b::/96
dynamic-pool 10.2.0.0/24
dynamic-pool 10.1.1.0/25 via 2001:db8:b::/96
map 10.1.0.7 2001:db8:7::7
`)
	p := netip.MustParsePrefix
	b, none := p("2001:db8:b::/96"), netip.Prefix{}
	grouped := []Pool{
		{b, []netip.Prefix{p("10.1.0.0/24"), p("10.1.1.0/25")}, []int{5, 7}},
		{none, []netip.Prefix{p("10.2.0.0/24")}, []int{6}},
	}
	if !reflect.DeepEqual(c.Pools, grouped) {
		t.Errorf("pools %v", c.Pools)
	}
	if got := c.PoolPrefixes(); !reflect.DeepEqual(got, []netip.Prefix{p("10.1.0.0/24"), p("10.2.0.0/24"), p("10.1.1.0/25")}) {
		t.Errorf("in the order of the file: %v", got)
	}
}

// TestNoPools: without pools there is no Dynamic, not even one around a nil pool.
func TestNoPools(t *testing.T) {
	for _, text := range []string{minimal, minimal + "dynamic-pool 10.1.0.0/24 via 2001:db8:1:ffff::/96\n"} {
		c := mustRead(t, text)
		for _, v := range c.Table(nil, nil).Pools {
			if v.Dynamic != nil || !v.Pref64.IsValid() {
				t.Errorf("%s: pool %v", text, v)
			}
		}
	}
}
