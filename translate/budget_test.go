package translate_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// An errorFlood makes one worker originate errors about packets of many hosts.
type errorFlood struct {
	t   *testing.T
	tr  *translate.Translator
	w   *translate.Worker
	now time.Duration
}

func newErrorFlood(t *testing.T, edit func(c *translate.Config)) *errorFlood {
	cfg := packettest.Config()
	cfg.ErrorRate, cfg.ErrorBurst = 0, 0
	if edit != nil {
		edit(&cfg)
	}
	tc := packettest.TableConfig()
	tc.Maps = append(tc.Maps, translate.Map{IPv4: netip.MustParsePrefix("198.18.0.0/24"), IPv6: netip.MustParsePrefix("2001:db8:c1::/120")})
	tr := build(t, cfg, tc)
	return &errorFlood{t, tr, tr.NewWorker(), time.Hour}
}

// hosts of either family, as many as one byte can count.
func host4(n int) netip.Addr { return netip.AddrFrom4([4]byte{45, 67, 89, byte(n)}) }
func host6(n int) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 1, 0x0d, 0xb8, 0, 0xc1, 15: byte(n)}) // they have a map
}

// expired is a packet whose hop limit runs out here, large one for which the next
// hop is too narrow.
func expired(h packettest.Header) []byte {
	h.TTL = 1
	return packettest.IP(h, packettest.UDP(1, 2, nil))
}

func large(h packettest.Header) []byte {
	h.DF = h.Src.Is4()
	return packettest.IP(h, packettest.UDP(1, 2, make([]byte, 1480)))
}

func from4(n int) packettest.Header {
	return packettest.Header{Src: host4(n), Dst: packettest.M4}
}

func from6(n int) packettest.Header {
	return packettest.Header{Src: host6(n), Dst: packettest.H4in6}
}

// answers sends pkt n times and counts the errors that come back.
func (f *errorFlood) answers(n int, pkt []byte) (errors int) {
	f.t.Helper()
	for range n {
		p := packettest.Buffer(pkt)
		switch res := f.w.Translate(f.now, &p); res.Verdict {
		case translate.Reply:
			errors++
		case translate.Drop:
		default:
			f.t.Fatalf("%v (%v), want an error or none", res.Verdict, res.Reason)
		}
	}
	return errors
}

// TestHopLimitsLeavePathMTU: all ICMP errors had one budget. A host that sent
// packets with a hop limit of 1 used it up, and large packets of others vanished
// without a word: their connections stalled.
func TestHopLimitsLeavePathMTU(t *testing.T) {
	for _, c := range []struct {
		name string
		from func(n int) packettest.Header
	}{{"4to6", from4}, {"6to4", from6}} {
		t.Run(c.name, func(t *testing.T) {
			f := newErrorFlood(t, func(c *translate.Config) { c.MTU4, c.MTU6 = 1280, 1280 })
			if n := f.answers(1000, expired(c.from(1))); n != 50 {
				t.Errorf("%d errors about hop limits, want 50", n)
			}
			if n := f.answers(1000, large(c.from(2))); n != 50 {
				t.Errorf("%d path MTU errors, want 50", n)
			}
			if s := f.tr.Stats(); s.ErrorsHeldBack != 1900 || s.MTUErrorsHeldBack != 950 {
				t.Errorf("%d errors held back, %d of them about the MTU, want 1900 and 950", s.ErrorsHeldBack, s.MTUErrorsHeldBack)
			}
		})
	}
}

// TestOneHostLeavesErrorsToOthers: with a common budget, one host without end took
// all of it, whatever the kind of errors. Now there is a reserve for hosts that had
// no error lately, and what the bucket gains goes there first.
func TestOneHostLeavesErrorsToOthers(t *testing.T) {
	for name, packet := range map[string]func(n int) []byte{
		"hop-limit-4": func(n int) []byte { return expired(from4(n)) },
		"hop-limit-6": func(n int) []byte { return expired(from6(n)) },
		"too-big-4":   func(n int) []byte { return large(from4(n)) },
		"too-big-6":   func(n int) []byte { return large(from6(n)) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newErrorFlood(t, func(c *translate.Config) { c.MTU4, c.MTU6 = 1280, 1280 })
			all := f.answers(1000, packet(0)) - 50
			others := 0
			for second := range 20 {
				others += f.answers(1, packet(1+second*5)) // a new host, beside the one
				for ms := range 1000 {
					f.now = time.Hour + time.Duration(second)*time.Second + time.Duration(ms)*time.Millisecond
					all += f.answers(3, packet(0))
				}
			}
			// Two hosts may share a slot, one of a thousand.
			if others < 19 {
				t.Errorf("%d of 20 hosts were answered beside a flood", others)
			}
			if all += others; all > 100*20 || all < 99*20-10 {
				t.Errorf("%d errors in 20 seconds at 100 a second", all)
			}
		})
	}
}

// TestReserveIsLimited: the reserve is a fifth of the burst and no more.
func TestReserveIsLimited(t *testing.T) {
	f := newErrorFlood(t, func(c *translate.Config) { c.ErrorRate, c.ErrorBurst = 1, 10 })
	if n := f.answers(1000, expired(from4(0))); n != 10 {
		t.Errorf("one host got %d errors at once, want 10", n)
	}
	n := 0
	for i := range 200 {
		n += f.answers(1, expired(from4(1+i)))
	}
	if n != 2 {
		t.Errorf("other hosts got %d errors at once, want 2", n)
	}
}

// TestErrorRates: each class is limited, unlimited or off by itself; without
// numbers of its own the path MTU takes those of the others.
func TestErrorRates(t *testing.T) {
	for _, c := range []struct {
		name                           string
		rate, burst, mtuRate, mtuBurst int
		wantHopLimit, wantMTU          int
	}{
		{"defaults", 0, 0, 0, 0, 50, 50},
		{"both", 10, 7, 0, 0, 7, 7},
		{"mtu", 10, 7, 5, 3, 7, 3},
		{"off", -1, 0, 0, 0, 0, 0},
		{"mtu-only", -1, 0, 20, 5, 0, 5},
		{"mtu-off", 20, 5, -1, 0, 5, 0},
		{"unlimited", translate.UnlimitedErrors, 0, 0, 0, 100, 100},
		{"mtu-unlimited", 20, 5, translate.UnlimitedErrors, 0, 5, 100},
		{"mtu-limited", translate.UnlimitedErrors, 1, 20, 5, 100, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newErrorFlood(t, func(cfg *translate.Config) {
				cfg.MTU4, cfg.MTU6 = 1280, 1280
				cfg.ErrorRate, cfg.ErrorBurst, cfg.MTUErrorRate, cfg.MTUErrorBurst = c.rate, c.burst, c.mtuRate, c.mtuBurst
			})
			if n := f.answers(100, expired(from6(1))); n != c.wantHopLimit {
				t.Errorf("%d errors about hop limits, want %d", n, c.wantHopLimit)
			}
			if n := f.answers(100, large(from6(1))); n != c.wantMTU {
				t.Errorf("%d path MTU errors, want %d", n, c.wantMTU)
			}
		})
	}
	for _, cfg := range []translate.Config{{MTUErrorBurst: -1}, {MTUErrorRate: translate.UnlimitedErrors + 1}, {MTUErrorBurst: translate.UnlimitedErrors + 1}} {
		if _, err := translate.New(cfg, new(translate.Table)); err == nil || err.Error() != "translate: MTUErrorRate or MTUErrorBurst out of range" {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

// TestErrorRatesAreUpdated: a lower rate holds at once, also where no time passes.
func TestErrorRatesAreUpdated(t *testing.T) {
	f := newErrorFlood(t, func(c *translate.Config) { c.ErrorRate, c.ErrorBurst = 1, 50 })
	if n := f.answers(10, expired(from4(1))); n != 10 {
		t.Errorf("%d errors, want 10", n)
	}
	if err := f.tr.Update(func(s *translate.Settings) { s.ErrorRate, s.ErrorBurst = 1000, 5 }); err != nil {
		t.Fatal(err)
	}
	if n := f.answers(100, expired(from4(1))); n != 5 {
		t.Errorf("%d errors after a change to 5 at once", n)
	}
}
