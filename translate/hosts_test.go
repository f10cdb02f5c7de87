package translate

import (
	"net/netip"
	"slices"
	"testing"
)

// TestHostsAreHalfFull: the tables of single addresses have the smallest power of two
// of slots that is twice the number of maps, as the comment promises; fewer made lookups
// slower and ended none.
func TestHostsAreHalfFull(t *testing.T) {
	for n := range 70 {
		h := newHosts(n)
		want := 0
		if n > 0 {
			for want = 1; want < 2*n; want *= 2 {
			}
		}
		if len(h.by4) != want || len(h.by6) != want {
			t.Errorf("%d maps have %d and %d slots, want %d", n, len(h.by4), len(h.by6), want)
		}
	}
}

// TestListedAddresses: the /16s in which a lookup may find something are those of maps
// and pools, to the address. If there were more, only time would tell.
func TestListedAddresses(t *testing.T) {
	p := netip.MustParsePrefix
	tab, err := NewTable(TableConfig{
		Maps: []Map{
			{p("10.1.2.3/32"), p("2001:db8::1/128")},
			{p("10.63.0.0/16"), p("2001:db8:1::/112")},
			{p("10.64.128.0/17"), p("2001:db8:2::/113")},
			{p("172.62.0.0/15"), p("2001:db8:4::/96")},
			{p("255.255.255.255/32"), p("2001:db8::2/128")},
		},
		Pools: []Pool{{Prefixes: []netip.Prefix{p("96.0.0.0/6"), p("0.0.0.0/32")}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var listed []int
	for i := range 1 << 16 {
		first, last := addr4(i)<<16, addr4(i)<<16|0xffff
		if tab.unlisted4(first) != tab.unlisted4(last) {
			t.Fatalf("%#x is in parts", i)
		}
		if !tab.unlisted4(first) {
			listed = append(listed, i)
		}
	}
	want := []int{0, 0x0a01, 0x0a3f, 0x0a40}
	for i := range 0x400 {
		want = append(want, 0x6000+i)
	}
	if want = append(want, 0xac3e, 0xac3f, 0xffff); !slices.Equal(listed, want) {
		t.Errorf("%d listed, want %d: %x", len(listed), len(want), listed)
	}
}

// TestPrefixesStops: an iterator ends when its loop does.
func TestPrefixesStops(t *testing.T) {
	p := netip.MustParsePrefix
	tab, err := NewTable(TableConfig{Prefixes: []netip.Prefix{p("2001:db8::/32"), p("2001:db8:1::/96")}})
	if err != nil {
		t.Fatal(err)
	}
	for pfx := range tab.Prefixes() {
		if pfx.Bits() != 96 {
			t.Errorf("first is %s, want the longest", pfx)
		}
		break
	}
	if all := slices.Collect(tab.Prefixes()); len(all) != 2 {
		t.Errorf("prefixes %v", all)
	}
}
