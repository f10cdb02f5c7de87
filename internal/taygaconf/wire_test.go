package taygaconf

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/pool"
	"github.com/steppe-nat64/steppe/translate"
)

// TestBindings: pools that are bound to the same prefix lend together, and those
// that are bound to none; each lender serves its prefix in the table.
func TestBindings(t *testing.T) {
	c := mustRead(t, minimal+`prefix 2001:db8:b::/96
dynamic-pool 10.1.0.0/24 via 2001:db8:b::/96
dynamic-pool 10.2.0.0/24
dynamic-pool 10.1.1.0/25 via 2001:db8:b::/96
map 10.1.0.7 2001:db8:7::7
`)
	p := netip.MustParsePrefix
	b, none := p("2001:db8:b::/96"), netip.Prefix{}
	if got := c.Bindings(); !reflect.DeepEqual(got, []netip.Prefix{b, none}) {
		t.Errorf("bindings %v", got)
	}
	lenders, err := c.NewPools(nil, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if bound, rest := lenders[b].Stats().Size, lenders[none].Stats().Size; bound != 255-1+127 || rest != 255 {
		t.Errorf("pools of %d and %d addresses", bound, rest)
	}
	tc := c.Table(nil)
	if !reflect.DeepEqual(tc.Pools, []netip.Prefix{p("10.2.0.0/24")}) {
		t.Errorf("pools bound to none: %v", tc.Pools)
	}
	lenders.Lend(&tc)
	want := []translate.Via{{Prefix: b, Pools: []netip.Prefix{p("10.1.0.0/24"), p("10.1.1.0/25")}, Dynamic: lenders[b]}}
	if !reflect.DeepEqual(tc.Via, want) {
		t.Errorf("via %v", tc.Via)
	}
	if lenders.Unbound() != translate.Dynamic(lenders[none]) {
		t.Error("another pool lends where there is no via")
	}
	if _, err := translate.NewTable(tc); err != nil {
		t.Error(err)
	}
}

// TestNoPools: without pools there is no Dynamic, not even one around a nil pool.
func TestNoPools(t *testing.T) {
	for _, text := range []string{minimal, minimal + "dynamic-pool 10.1.0.0/24 via 2001:db8:1:ffff::/96\n"} {
		c := mustRead(t, text)
		lenders, err := c.NewPools(nil, nil, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if lenders.Unbound() != nil {
			t.Errorf("%s: lends where there is no via", text)
		}
		tc := c.Table(nil)
		Pools{}.Lend(&tc)
		for _, v := range tc.Via {
			if v.Dynamic != nil {
				t.Errorf("%s: lent by %v", text, v.Dynamic)
			}
		}
	}
}

// TestEventsOfAllPools: what onEvent is told comes from all pools.
func TestEventsOfAllPools(t *testing.T) {
	c := mustRead(t, minimal+"prefix 2001:db8:b::/96\ndynamic-pool 10.1.0.0/24 via 2001:db8:b::/96\ndynamic-pool 10.2.0.0/24\n")
	told := make(map[netip.Addr]bool)
	lenders, err := c.NewPools(nil, func(e pool.Event) { told[e.Addr] = true }, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lenders {
		addr, _ := l.Assign(netip.MustParseAddr("2001:db8:77::1").As16())
		if !told[netip.AddrFrom4(addr)] {
			t.Errorf("nothing told about %v", addr)
		}
	}
	if len(told) != 2 {
		t.Errorf("told about %v", told)
	}
}
