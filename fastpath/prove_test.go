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
		for _, kind := range kindsOfHosts {
			if err := prove(p, packettest.Config(), tab, kind, *generated/24, 7); err != nil {
				t.Errorf("%s, kind of hosts %d: %v", prefix, kind, err)
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

// TestProveCLAT: the program treats packets of a CLAT's host as a translator does under every
// option, or leaves them. So it does whatever the address of the host is. They were all left
// once: the program knew hosts with a map on the IPv6 side alone.
func TestProveCLAT(t *testing.T) {
	p := loadForTest(t, Sizes{}, ethernet)
	for i, s := range packettest.Setups() {
		if s.Table.Sessions != nil || len(s.Table.Prefixes) == 0 {
			continue
		}
		cfg := s.Config
		cfg.FlowLabels = false
		if err := prove(p, cfg, s.Table, ofCLAT, 600, uint64(i)); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
	}
	cfg := packettest.Config()
	prefix := netip.MustParsePrefix("64:ff9b::/96")
	for _, host := range []struct {
		v4, v6 string
		is     bool
	}{
		{"192.0.0.1", "2001:db8:1::464", true},
		{"127.0.0.1", "2001:db8:1::464", false},
		{"169.254.1.1", "2001:db8:1::464", false},
		{"240.0.0.1", "2001:db8:1::464", false},
		{"192.0.0.1", "64:ff9b::c000:1", false},
		{cfg.IPv4.String(), "2001:db8:1::464", false},
		{"192.0.0.1", cfg.IPv6.String(), false},
	} {
		v4, v6 := netip.MustParseAddr(host.v4), netip.MustParseAddr(host.v6)
		tab := translate.TableConfig{Prefixes: []netip.Prefix{prefix}, Maps: []translate.Map{{IPv4: netip.PrefixFrom(v4, 32), IPv6: netip.PrefixFrom(v6, 128)}}}
		for _, more := range []bool{false, true} {
			if more {
				tab.Maps = append(tab.Maps, translate.Map{IPv4: netip.MustParsePrefix("10.0.0.0/24"), IPv6: netip.MustParsePrefix("2001:db8:9::/120")})
			}
			r, err := NewRules(cfg, tab)
			if err != nil {
				t.Fatal(err)
			}
			if is := r.data.flags&hasCLAT != 0; is != (host.is && !more) {
				t.Errorf("%s and %s, others %v: %v", v4, v6, more, is)
			}
		}
	}
}
