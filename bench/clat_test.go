package bench

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

var (
	clatHost4 = netip.MustParseAddr("192.0.0.1")
	clatHost6 = netip.MustParseAddr("2001:db8:1::464")
)

// clatTable is that of a CLAT: one map, of the programs, and the prefix of the network.
func clatTable(pref64 netip.Prefix) translate.TableConfig {
	return translate.TableConfig{
		Prefixes: []netip.Prefix{pref64},
		Maps:     []translate.Map{{IPv4: netip.PrefixFrom(clatHost4, 32), IPv6: netip.PrefixFrom(clatHost6, 128)}},
		Pools:    []translate.Pool{{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.0.0/29")}}},
		Rules:    []translate.PrefixRule{{Prefix: pref64, CheckLoops: true}},
	}
}

// clatHeader is that of a packet from the programs to the i-th peer, or from it to them.
func clatHeader(tb testing.TB, dir string, pref64 netip.Prefix, i int) packettest.Header {
	tb.Helper()
	v4 := netip.AddrFrom4(peer(i))
	if dir == "4to6" {
		return packettest.Header{Src: clatHost4, Dst: v4, DF: true}
	}
	v6, err := translate.Embed(pref64, v4)
	if err != nil {
		tb.Fatal(err)
	}
	return packettest.Header{Src: v6, Dst: clatHost6}
}

// clatShapes calls f for the packets of BenchmarkCLAT: of one flow, whole and super-packets;
// and of as many peers as there are, which a worker remembers few of.
func clatShapes(tb testing.TB, f func(name string, pref64 netip.Prefix, tr *traffic)) {
	for _, pref64 := range []netip.Prefix{netip.MustParsePrefix("2001:db8:64::/96"), netip.MustParsePrefix("2001:db8:64:64::/64")} {
		for _, dir := range []string{"4to6", "6to4"} {
			h := clatHeader(tb, dir, pref64, 0)
			name := fmt.Sprintf("prefix=%d/dir=%s", pref64.Bits(), dir)
			for _, p := range protos[:2] {
				for _, size := range []int{64, 1400} {
					f(fmt.Sprintf("%s/proto=%s/size=%d", name, p.name, size), pref64, &traffic{pkt: padded(h, size, p.l4), restore: headers})
				}
			}
			super := padded(h, 65000, protos[0].l4)
			f(name+"/proto=tcp/size=64KiB/gso=1400", pref64, &traffic{pkt: super, offload: packettest.Partial(super, 1400), restore: headers})
			f(name+"/proto=tcp/size=64/peers=65536", pref64, clatPeers(tb, dir, pref64))
		}
	}
}

// clatPeers is traffic of TCP packets that each have a peer taken at random.
func clatPeers(tb testing.TB, dir string, pref64 netip.Prefix) *traffic {
	at, width := 10, 10 // checksum and addresses of IPv4
	if dir == "6to4" {
		at, width = 8, 32 // addresses of IPv6
	}
	tr := &traffic{pkt: padded(clatHeader(tb, dir, pref64, 0), 64, protos[0].l4), restore: headers, at: at, width: width}
	hdr := append([]byte(nil), tr.pkt[:at+width]...)
	for _, i := range order(1 << 16) {
		h := clatHeader(tb, dir, pref64, i)
		copy(hdr[at+width-2*h.Src.BitLen()/8:], append(h.Src.AsSlice(), h.Dst.AsSlice()...))
		if dir == "4to6" {
			packettest.FixHeader(hdr)
		}
		tr.flows = append(tr.flows, hdr[at:]...)
	}
	return tr
}

// BenchmarkCLAT is the cost of a packet of the programs on a machine with a CLAT, or to them.
func BenchmarkCLAT(b *testing.B) {
	clatShapes(b, func(name string, pref64 netip.Prefix, tr *traffic) {
		b.Run(name, func(b *testing.B) { measure(b, newTranslator(b, clatTable(pref64)), tr, translate.Forward, 1) })
	})
}

// TestCLATShapes holds every packet of BenchmarkCLAT to its verdict, and to not allocating.
func TestCLATShapes(t *testing.T) {
	clatShapes(t, func(name string, pref64 netip.Prefix, tr *traffic) {
		t.Run(name, func(t *testing.T) {
			p := newPump(newTranslator(t, clatTable(pref64)), tr)
			if n := testing.AllocsPerRun(5, func() { p.run(batch) }); n != 0 {
				t.Errorf("%v allocations a batch", n)
			}
			p.check(t, translate.Forward)
		})
	})
}
