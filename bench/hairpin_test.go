package bench

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// A second IPv6 host with an IPv4 address, for the first one to talk to.
var (
	other4    = netip.MustParseAddr("192.0.2.7")
	other4in6 = netip.MustParseAddr("2001:db8:64::c000:207")
	other6    = netip.MustParseAddr("2001:db8:7::7")
)

// hairpins lists packets from one IPv6 host to another, by the IPv4 addresses of
// both: RFC 7757 §4.
func hairpins() (all []shape) {
	h := packettest.Header{Src: packettest.M6, Dst: other4in6}
	add := func(proto, kind, size string, pkt []byte, o translate.Offload, restore int) {
		name := fmt.Sprintf("proto=%s/kind=%s/size=%s", proto, kind, size)
		all = append(all, shape{name, traffic{pkt: pkt, offload: o, restore: restore}, translate.Forward})
	}
	for _, p := range protos {
		for _, size := range []int{64, 1400} {
			add(p.name, "plain", fmt.Sprint(size), padded(h, size, p.l4), translate.Offload{}, min(size, headers))
		}
	}
	for _, p := range protos[:2] {
		super := padded(h, 65000, p.l4)
		add(p.name, "plain", "64KiB/gso=1400", super, packettest.Partial(super, 1400), headers)
	}
	// An error about a packet that the other host sent.
	e := icmpError(packettest.Header{Src: h.Src, Dst: h.Dst}, 100)
	add("icmp", "error", fmt.Sprint(len(e)), e, translate.Offload{}, len(e))
	return all
}

func newHairpin(t testing.TB) *translate.Translator {
	tc := packettest.TableConfig()
	tc.Maps = append(tc.Maps, translate.Map{IPv4: netip.PrefixFrom(other4, 32), IPv6: netip.PrefixFrom(other6, 128)})
	return newTranslator(t, tc)
}

// BenchmarkHairpin is the cost of a packet that goes back into IPv6.
func BenchmarkHairpin(b *testing.B) {
	t := newHairpin(b)
	for _, s := range hairpins() {
		b.Run(s.name, func(b *testing.B) { measure(b, t, &s.traffic, s.want, 1) })
	}
}

// TestHairpins holds every packet of BenchmarkHairpin to its way, and the loop that
// measures them to not allocating.
func TestHairpins(t *testing.T) {
	x := newHairpin(t)
	for _, s := range hairpins() {
		t.Run(s.name, func(t *testing.T) {
			p := newPump(x, &s.traffic)
			if n := testing.AllocsPerRun(5, func() { p.run(batch) }); n != 0 {
				t.Errorf("%v allocations a batch", n)
			}
			p.check(t, s.want)
			for i := range p.ps {
				if res := p.ps[i].Result; res.Reason != translate.Hairpinned {
					t.Fatalf("packet %d: %v", i, res.Reason)
				}
			}
		})
	}
}
