//go:build linux

package fastpath

import (
	"net/netip"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

func TestProve(t *testing.T) {
	p := loadForTest(t, Sizes{Sessions: 1 << 20}, ethernet)
	for _, prefix := range []string{"2001:db8::/32", "2001:db8:100::/40", "2001:db8:122::/48", "2001:db8:122:300::/56", "2001:db8:122:344::/64", "2001:db8:64::/96"} {
		tab := translate.TableConfig{Prefixes: []netip.Prefix{netip.MustParsePrefix(prefix)}}
		for _, stateful := range []bool{false, true} {
			if err := prove(p, packettest.Config(), tab, stateful, *generated/24, 7); err != nil {
				t.Errorf("%s, stateful %v: %v", prefix, stateful, err)
			}
		}
	}
	list, err := p.Counts()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		t.Log(c)
	}
}
