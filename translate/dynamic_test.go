package translate_test

import (
	"net/netip"
	"testing"

	"github.com/steppe-nat64/steppe/internal/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// strayLease is a Dynamic that has lent one address to one host.
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
// around all of IPv4 had lent. Nothing goes from or to an address that no packet
// may have, whoever holds a lease on it, and no error quotes one.
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
			tc.Pools = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
			x := newTwins(t, packettest.Config(), tc, c.dyn)
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

// TestDynamicWithoutPool: who lends addresses that the table does not name is told,
// also when it is the next table that does not.
func TestDynamicWithoutPool(t *testing.T) {
	c := translate.TableConfig{Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:64::/96")}}
	without, err := translate.NewTable(c)
	if err != nil {
		t.Fatal(err)
	}
	c.Pools = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	with, err := translate.NewTable(c)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := translate.New(translate.Config{}, with, strayLease{})
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
