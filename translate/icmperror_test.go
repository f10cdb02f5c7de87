package translate_test

import (
	"net/netip"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// TestReplacedSourcesDifferAcrossWorkers: every worker chose for itself from
// Config.ICMPPool4, and all began with the same address. The kernel gives the
// errors of different routers to different queues, so a traceroute showed three
// routers as one.
func TestReplacedSourcesDifferAcrossWorkers(t *testing.T) {
	cfg := packettest.Config()
	cfg.ICMPPool4 = []netip.Addr{netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("203.0.113.3"), netip.MustParseAddr("203.0.113.4")}
	tab, err := translate.NewTable(packettest.TableConfig())
	if err != nil {
		t.Fatal(err)
	}
	tr, err := translate.New(cfg, tab)
	if err != nil {
		t.Fatal(err)
	}
	workers := []*translate.Worker{tr.NewWorker(), tr.NewWorker(), tr.NewWorker(), tr.NewWorker()}
	quoted := packettest.IP(packettest.Header{Src: packettest.H4in6, Dst: packettest.M6, TTL: 1}, packettest.UDP(1, 2, nil))
	expired := packettest.IP(packettest.Header{Src: packettest.R6, Dst: packettest.H4in6}, packettest.ICMP(3, 0, 0, quoted))
	var last netip.Addr
	for i := range 100 {
		p := packettest.Buffer(expired)
		if res := workers[i%len(workers)].Translate(0, &p); res.Verdict != translate.Forward {
			t.Fatalf("%v (%v)", res.Verdict, res.Reason)
		}
		src := netip.AddrFrom4([4]byte(p.Bytes()[12:]))
		if src == last {
			t.Fatalf("message %d: %v again", i, src)
		}
		last = src
	}
}

// TestEveryPoolOfSources: of two addresses each error gets the other one, and of more
// any but the last. A pool of two was untested.
func TestEveryPoolOfSources(t *testing.T) {
	quoted := packettest.IP(packettest.Header{Src: packettest.H4in6, Dst: packettest.M6, TTL: 1}, packettest.UDP(1, 2, nil))
	expired := packettest.IP(packettest.Header{Src: packettest.R6, Dst: packettest.H4in6}, packettest.ICMP(3, 0, 0, quoted))
	for n := 1; n <= 5; n++ {
		w := newWorker(t, func(c *translate.Config, _ *translate.TableConfig) {
			c.ICMPPool4 = nil
			for i := range n {
				c.ICMPPool4 = append(c.ICMPPool4, netip.AddrFrom4([4]byte{203, 0, 113, byte(2 + i)}))
			}
		})
		last, steps := -1, map[int]bool{}
		for range 200 {
			p := packettest.Buffer(expired)
			if res := w.Translate(0, &p); res.Verdict != translate.Forward {
				t.Fatalf("%v (%v)", res.Verdict, res.Reason)
			}
			src := int(p.Bytes()[15]) - 2
			if last >= 0 {
				steps[(src-last+n)%n] = true
			}
			last = src
		}
		if steps[0] != (n == 1) || len(steps) != max(1, n-1) {
			t.Errorf("of %d addresses, the next after one is at the distances %v", n, steps)
		}
	}
}

// TestEveryPoolOfSources6: the same of IPv6, down to a pool of one.
func TestEveryPoolOfSources6(t *testing.T) {
	quoted := packettest.IP(packettest.Header{Src: packettest.M4, Dst: n4, TTL: 1}, packettest.UDP(1, 2, nil))
	expired := packettest.IP(packettest.Header{Src: packettest.R4, Dst: packettest.M4}, packettest.ICMP(11, 0, 0, quoted))
	for n := 0; n <= 4; n++ {
		w := newWorker(t, func(c *translate.Config, tc *translate.TableConfig) {
			tc.Prefixes = nil
			tc.Maps = append(tc.Maps, translate.Map{IPv4: netip.PrefixFrom(n4, 32), IPv6: netip.PrefixFrom(n6, 128)})
			for i := range n {
				c.ICMPPool6 = append(c.ICMPPool6, netip.AddrFrom16([16]byte{0x20, 1, 0x0d, 0xb8, 15: byte(1 + i)}))
			}
		})
		seen, last := map[netip.Addr]bool{}, netip.Addr{}
		for range 100 {
			p := packettest.Buffer(expired)
			if res := w.Translate(0, &p); res.Verdict != translate.Forward {
				t.Fatalf("%v (%v)", res.Verdict, res.Reason)
			}
			src := netip.AddrFrom16([16]byte(p.Bytes()[8:]))
			if n > 1 && src == last {
				t.Fatalf("of %d addresses %s comes twice in a row", n, src)
			}
			seen[src], last = true, src
		}
		if n > 0 && (len(seen) != n || seen[packettest.X6]) || n == 0 && !seen[packettest.X6] {
			t.Errorf("of %d addresses these were used: %v", n, seen)
		}
	}
}
