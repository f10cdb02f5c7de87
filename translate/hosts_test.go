package translate

import (
	"math/bits"
	"math/rand/v2"
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
	for p := range tab.Prefixes() {
		if p.Bits() != 96 {
			t.Errorf("first is %s, want the longest", p)
		}
		break
	}
	if all := slices.Collect(tab.Prefixes()); len(all) != 2 {
		t.Errorf("prefixes %v", all)
	}
}

// TestHostHashes: each bit of an address changes its hash, whatever the keys, and the
// halves of an IPv6 address are not exchangeable.
func TestHostHashes(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	for range 50 {
		h := newHosts(1)
		a4, a6 := addr4(r.Uint32()), addr6{r.Uint64(), r.Uint64()}
		for i := range 32 {
			if h.hash4(a4) == h.hash4(a4^1<<i) {
				t.Fatalf("IPv4 bit %d has no part in the hash", i)
			}
		}
		for i := range 64 {
			if h.hash6(a6) == h.hash6(addr6{a6.hi ^ 1<<i, a6.lo}) || h.hash6(a6) == h.hash6(addr6{a6.hi, a6.lo ^ 1<<i}) {
				t.Fatalf("IPv6 bit %d of a half has no part in the hash", i)
			}
		}
		if h.hash6(a6) == h.hash6(addr6{a6.lo, a6.hi}) {
			t.Fatal("the halves of an IPv6 address can be exchanged")
		}
		ones := 0
		for range 1000 {
			ones += bits.OnesCount64(h.hash4(addr4(r.Uint32()))) + bits.OnesCount64(h.hash6(addr6{r.Uint64(), r.Uint64()}))
		}
		if ones < 61_000 || ones > 67_000 {
			t.Fatalf("%d of 128,000 bits of hashes are set", ones)
		}
	}
}

// TestFlowsSpread: flows that differ in one address by a little have slots of their own,
// as have those of which one part grows as another shrinks: with one key for two parts
// they would share a slot.
func TestFlowsSpread(t *testing.T) {
	parts := func(i uint64, up, down int) (p [4]uint64) {
		p = [4]uint64{0x20010db8 << 32, 1, 0x64ff9b << 32, 0x08080000}
		p[up] += i
		if down >= 0 {
			p[down] += 1000 - i
		}
		return p
	}
	for up := range 4 {
		for down := -1; down < 4; down++ {
			if up == down {
				continue
			}
			most4, most6 := 0, 0
			for range 5 { // a key may be a bad one
				tr, err := New(Config{}, new(Table))
				if err != nil {
					t.Fatal(err)
				}
				w, slots4, slots6 := tr.NewWorker(), map[*flow]bool{}, map[*flow]bool{}
				for i := range uint64(1000) {
					p := parts(i, up, down)
					slots6[w.flow6(addr6{p[0], p[1]}, addr6{p[2], p[3]})] = true
					slots4[w.flow4(addr4(p[0]>>32+p[0]+p[1]), addr4(p[2]>>32+p[2]+p[3]))] = true
				}
				most4, most6 = max(most4, len(slots4)), max(most6, len(slots6))
			}
			sameAddress := down >= 0 && up/2 == down/2 // then the IPv4 addresses are all the same
			if most6 < 50 || most4 < 50 && !sameAddress {
				t.Errorf("1000 flows whose part %d grows while %d shrinks have %d and %d slots", up, down, most4, most6)
			}
		}
	}
}
