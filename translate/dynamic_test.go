package translate_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// strayLease is a Dynamic that has leased one address to one host.
type strayLease struct{ host, addr netip.Addr }

func (l strayLease) Assign(host [16]byte) ([4]byte, bool) { return l.Addr(host) }

func (l strayLease) Addr(host [16]byte) ([4]byte, bool) {
	return l.addr.As4(), netip.AddrFrom16(host) == l.host
}

func (l strayLease) Host(addr [4]byte) ([16]byte, bool) {
	return l.host.As16(), netip.AddrFrom4(addr) == l.addr
}
func (strayLease) Generation() uint64 { return 0 }

// TestLeaseThatCannotBe: fuzzing sent an IPv4 packet from 224.0.0.1, which a pool
// around all of IPv4 had leased. Nothing goes from or to an address that no packet
// may have, even with a lease on it, and no error quotes one.
func TestLeaseThatCannotBe(t *testing.T) {
	host := netip.MustParseAddr("2001:db8:77::1")
	for _, c := range []struct {
		name    string
		dyn     strayLease
		pkt     []byte
		verdict translate.Verdict
		reason  translate.Reason
	}{
		{name: "source-is-multicast", dyn: strayLease{host, netip.MustParseAddr("224.0.0.1")},
			pkt:     packettest.IP(packettest.Header{Src: host, Dst: packettest.H4in6}, packettest.UDP(1, 2, nil)),
			verdict: translate.Drop, reason: translate.IllegalSource},
		{name: "error-source-in-0.0.0.0/8", dyn: strayLease{host, netip.MustParseAddr("0.0.0.7")},
			pkt: packettest.IP(packettest.Header{Src: host, Dst: packettest.H4in6}, packettest.ICMP(3, 0, 0,
				packettest.IP(packettest.Header{Src: packettest.H4in6, Dst: packettest.M6}, packettest.UDP(1, 2, nil)))),
			verdict: translate.Drop, reason: translate.IllegalSource},
		{name: "quoted-destination-is-loopback", dyn: strayLease{host, netip.MustParseAddr("127.0.0.1")},
			pkt: packettest.IP(packettest.Header{Src: packettest.M6, Dst: packettest.H4in6}, packettest.ICMP(3, 0, 0,
				packettest.IP(packettest.Header{Src: packettest.H4in6, Dst: host}, packettest.UDP(1, 2, nil)))),
			verdict: translate.Drop, reason: translate.ICMPQuote},
		{name: "host-is-multicast", dyn: strayLease{netip.MustParseAddr("ff02::1"), netip.MustParseAddr("203.0.113.66")},
			pkt: packettest.IP(packettest.Header{Src: packettest.H4, Dst: netip.MustParseAddr("203.0.113.66")},
				packettest.UDP(1, 2, nil)),
			verdict: translate.Reply, reason: translate.NoDestination},
	} {
		t.Run(c.name, func(t *testing.T) {
			tc := packettest.TableConfig()
			tc.Pools = packettest.Pools(c.dyn, "0.0.0.0/0")
			x := newComparison(t, packettest.Config(), tc)
			if d := x.compare(t, c.pkt); d != "" {
				t.Error(d)
			}
			p := packettest.Buffer(c.pkt)
			if res := x.w.Translate(0, &p); res != (translate.Result{Verdict: c.verdict, Reason: c.reason}) {
				t.Errorf("%v (%v), want %v (%v)", res.Verdict, res.Reason, c.verdict, c.reason)
			}
		})
	}
}

// TestDynamicWithoutPool: a Dynamic for addresses that the table does not have is reported,
// also when it is the next table that does not.
func TestDynamicWithoutPool(t *testing.T) {
	c := translate.TableConfig{Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:64::/96")}, Pools: packettest.Pools(strayLease{})}
	without, err := translate.NewTable(c)
	if err != nil {
		t.Fatal(err)
	}
	c.Pools = packettest.Pools(strayLease{}, "192.0.2.0/24")
	with, err := translate.NewTable(c)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := translate.New(translate.Config{}, with)
	if err != nil {
		t.Fatal(err)
	}
	if lines := tr.Warnings(); len(lines) != 0 {
		t.Errorf("with a pool: %q", lines)
	}
	setTable(t, tr, without)
	if lines := tr.Warnings(); len(lines) != 1 {
		t.Errorf("without one: %q", lines)
	}
}

// excluder notes what it must not lease.
type excluder struct {
	strayLease
	addrs []netip.Prefix
}

func (e *excluder) Exclude(addrs []netip.Prefix) (int, error) {
	e.addrs = addrs
	return 0, nil
}

// TestNoOwnAddressIsExcluded: without an own IPv4 address pools are told of none.
func TestNoOwnAddressIsExcluded(t *testing.T) {
	for _, own := range []netip.Addr{{}, netip.MustParseAddr("0.0.0.0")} {
		e := new(excluder)
		tab, err := translate.NewTable(translate.TableConfig{Pools: packettest.Pools(e, "192.0.2.0/24")})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := translate.New(translate.Config{IPv4: own}, tab); err != nil || len(e.addrs) != 0 {
			t.Errorf("own address %v: excluded %v (%v)", own, e.addrs, err)
		}
	}
}

// TestMapOntoLease: a table with a map onto a leased address made two hosts leave with
// one IPv4 source until the caller called pool.Reserve. New and Update tell pools.
func TestMapOntoLease(t *testing.T) {
	e := new(excluder)
	cfg := packettest.Config()
	tc := translate.TableConfig{Prefixes: []netip.Prefix{packettest.P}, Pools: packettest.Pools(e, "192.0.2.0/24")}
	table := func() *translate.Table {
		tab, err := translate.NewTable(tc)
		if err != nil {
			t.Fatal(err)
		}
		return tab
	}
	cfg.ICMPPool4 = []netip.Addr{netip.MustParseAddr("192.0.2.9")}
	tr, err := translate.New(cfg, table())
	if err != nil {
		t.Fatal(err)
	}
	own := []netip.Prefix{netip.PrefixFrom(cfg.IPv4, 32), netip.MustParsePrefix("192.0.2.9/32")}
	if !slices.Equal(e.addrs, own) {
		t.Errorf("New excludes %v, want %v", e.addrs, own)
	}
	tc.Maps = []translate.Map{{IPv4: netip.MustParsePrefix("192.0.2.77/31"), IPv6: netip.MustParsePrefix("2001:db8:7::/127")}}
	setTable(t, tr, table())
	if want := append(own, netip.MustParsePrefix("192.0.2.76/31")); !slices.Equal(e.addrs, want) {
		t.Errorf("Update excludes %v, want %v", e.addrs, want)
	}
	if err := tr.Update(func(s *translate.Settings) { s.MTU6 = 5; s.Table = nil }); err == nil || len(e.addrs) != 3 {
		t.Errorf("after an Update that fails: %v, excluded %v", err, e.addrs)
	}
}
