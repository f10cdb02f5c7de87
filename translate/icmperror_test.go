package translate_test

import (
	"net/netip"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// TestLentSourcesDifferAcrossWorkers: every worker chose for itself from
// Config.ICMPPool4, and all began with the same address. The kernel gives the
// errors of different routers to different queues, so a traceroute showed three
// routers as one.
func TestLentSourcesDifferAcrossWorkers(t *testing.T) {
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
