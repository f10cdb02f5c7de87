package fastpath

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// TestPeers: which addresses are peers', beside a plain list of prefixes.
func TestPeers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	table := packettest.TableConfig()
	for range 300 { // more places than there are pages
		b := uint32(rng.Uint32())
		p := netip.PrefixFrom(netip.AddrFrom4(array4(b)), 17+rng.IntN(16)).Masked()
		table.Maps = append(table.Maps, translate.Map{IPv4: p, IPv6: netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(b), byte(b >> 8), 1}), 96)})
	}
	cfg := packettest.Config()
	r, err := NewRules(cfg, table)
	if err != nil {
		t.Fatal(err)
	}
	list := r.noPeers(&cfg, &table)
	var left int
	for range 40_000 {
		a := array4(rng.Uint32())
		if rng.IntN(2) == 0 {
			a = list[rng.IntN(len(list))].Addr().As4()
			a[3] += byte(rng.IntN(4))
		}
		listed := false
		for _, p := range list {
			listed = listed || p.Contains(netip.AddrFrom4(a))
		}
		switch peer := r.isPeer(a); {
		case peer && listed:
			t.Fatalf("%v is a peer's", a)
		case !peer && !listed:
			left++ // in a place without a page
		}
	}
	if left > 4_000 {
		t.Errorf("%d addresses are no peer's although they are not listed", left)
	}
	if len(r.pages) != maxPages {
		t.Errorf("%d pages, not %d", len(r.pages), maxPages)
	}
}

// TestInside: an address with a map or of the translator, inside a prefix, is that of no peer.
func TestInside(t *testing.T) {
	for _, x := range []struct{ prefix, p6, want string }{
		{"2001:db8:64::/96", "2001:db8:64::808:808/128", "8.8.8.8/32"},
		{"2001:db8:64::/96", "2001:db8:64::808:0/112", "8.8.0.0/16"},
		{"2001:db8:64::/96", "2001:db8::/32", "0.0.0.0/0"},
		{"2001:db8::/32", "2001:db8:808:808::/64", "8.8.8.8/32"},
		{"2001:db8::/32", "2001:db8:808::/48", "8.8.0.0/16"},
		{"2001:db8:122::/48", "2001:db8:122:808:8:800::/128", "8.8.8.8/32"},
		{"2001:db8:122::/48", "2001:db8:122:808::/68", "8.8.0.0/16"},
		{"2001:db8:122:344::/64", "2001:db8:122:344:8:808::/80", "8.0.0.0/8"},
	} {
		r := &Rules{prefixes: []rule{{prefix: netip.MustParsePrefix(x.prefix)}}}
		got := r.inside(netip.MustParsePrefix(x.p6))
		if len(got) != 1 || got[0].Masked() != netip.MustParsePrefix(x.want) {
			t.Errorf("%s inside %s: %v, not %s", x.p6, x.prefix, got, x.want)
		}
	}
}

// TestNewRules: what needs every packet in the translator is an error of one line.
func TestNewRules(t *testing.T) {
	cfg, table := packettest.Config(), packettest.TableConfig()
	if _, err := NewRules(cfg, table); err != nil {
		t.Fatal(err)
	}
	labels := cfg
	labels.FlowLabels = true
	none, many, invalid := table, table, table
	none.Prefixes = nil
	many.Prefixes = make([]netip.Prefix, maxPrefixes+1)
	invalid.Prefixes = []netip.Prefix{netip.MustParsePrefix("2001:db8::/33")}
	for name, err := range map[string]error{
		"flow labels": errorOf(NewRules(labels, table)), "no prefix": errorOf(NewRules(cfg, none)),
		"many prefixes": errorOf(NewRules(cfg, many)), "invalid prefix": errorOf(NewRules(cfg, invalid)),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func errorOf(_ *Rules, err error) error { return err }
