package taygaconf

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/pool"
	"github.com/steppe-nat64/steppe/translate"
)

// TestBoundPools: the addresses of pools that are bound to the same prefix are leased
// together, and those that are bound to none; each pool serves its prefix in the table.
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
	pools, err := c.NewPools(nil, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if bound, rest := pools[0].Stats().Size, pools[1].Stats().Size; bound != 255-1+127 || rest != 255 {
		t.Errorf("pools of %d and %d addresses", bound, rest)
	}
	tc := c.Table(nil, pools)
	want := []translate.Pool{
		{Pref64: b, Prefixes: []netip.Prefix{p("10.1.0.0/24"), p("10.1.1.0/25")}, Dynamic: pools[0]},
		{Prefixes: []netip.Prefix{p("10.2.0.0/24")}, Dynamic: pools[1]},
	}
	if !reflect.DeepEqual(tc.Pools, want) {
		t.Errorf("pools %v", tc.Pools)
	}
	if _, err := translate.NewTable(tc); err != nil {
		t.Error(err)
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

// TestEventsOfAllPools: what onEvent is told comes from all pools.
func TestEventsOfAllPools(t *testing.T) {
	c := mustRead(t, minimal+"prefix 2001:db8:b::/96\ndynamic-pool 10.1.0.0/24 via 2001:db8:b::/96\ndynamic-pool 10.2.0.0/24\n")
	told := make(map[netip.Addr]bool)
	pools, err := c.NewPools(nil, func(e pool.Event) { told[e.Addr] = true }, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range pools {
		addr, _ := l.Assign(netip.MustParseAddr("2001:db8:77::1").As16())
		if !told[netip.AddrFrom4(addr)] {
			t.Errorf("nothing told about %v", addr)
		}
	}
	if len(told) != 2 {
		t.Errorf("told about %v", told)
	}
}
