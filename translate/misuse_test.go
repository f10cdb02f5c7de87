package translate_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// panics calls f and returns what it panics with, nil if it does not.
func panics(f func()) (with any) {
	defer func() { with = recover() }()
	f()
	return nil
}

// wholes puts the fragments among packets together again, and fails the test if
// one of the packets is an atomic fragment, RFC 8021.
func wholes(t *testing.T, packets [][]byte) (all [][]byte) {
	t.Helper()
	var train [][]byte
	for _, b := range packets {
		word, isFragment := binary.BigEndian.Uint16(b[6:])&0x3fff, true
		more := word&0x2000 != 0
		if b[0]>>4 == 6 {
			isFragment = b[6] == 44
			word = binary.BigEndian.Uint16(b[42:])
			more = word&1 != 0
		}
		if b[0]>>4 == 6 && isFragment && word == 0 {
			t.Errorf("atomic fragment %x", b[:48])
		}
		if !isFragment || b[0]>>4 == 4 && word == 0 {
			all = append(all, b)
			continue
		}
		if train = append(train, b); !more {
			whole, err := packettest.Reassemble(train)
			if err != nil {
				t.Fatal(err)
			}
			all, train = append(all, whole), nil
		}
	}
	return all
}

// TestFragmentAfterUpdate: a walk through everything exported, with every argument
// that can be, found that Fragment panicked for an IPv4 packet with the verdict
// Split before the MTU grew, once the worker had taken the new MTU up with another
// packet. Fragment goes by the MTU that the worker knows when it is called.
func TestFragmentAfterUpdate(t *testing.T) {
	no := packettest.From4()
	no.DF = false
	data := packettest.Bytes(3000, 7)
	for _, c := range []struct {
		name      string
		pkt       []byte
		gso, data int
		mtu4      int // when the packet is translated
	}{
		{"4to6", packettest.IP(no, packettest.UDP(1, 2, data)), 0, 8, 1500},
		{"6to4", packettest.IP(packettest.From6(), packettest.UDP(1, 2, data[:1200])), 0, 8, 576},
		{"super-4to6", packettest.IP(no, packettest.TCP(1, 2, data)), 1400, 20, 1500},
		{"super-6to4", packettest.IP(packettest.From6(), packettest.TCP(1, 2, data)), 1000, 20, 576},
	} {
		for _, now := range [][2]int{{68, 1280}, {576, 1500}, {1000, 1280}, {1228, 1400}, {9000, 9000}, {65535, 65535}} {
			t.Run(fmt.Sprintf("%s/mtu4=%d/mtu6=%d", c.name, now[0], now[1]), func(t *testing.T) {
				cfg := packettest.Config()
				cfg.MTU4, cfg.MTU6, cfg.LowestIPv6MTU = c.mtu4, 1300, 65535
				tr, w := newPair(t, cfg)
				p := packettest.Buffer(c.pkt)
				if c.gso > 0 {
					p.Offload = packettest.Partial(p.Bytes(), c.gso)
				}
				if res := w.Translate(0, &p); res.Verdict != translate.Split {
					t.Fatal(res)
				}
				if err := setMTU(tr, now[0], now[1]); err != nil {
					t.Fatal(err)
				}
				other := packettest.Buffer(packettest.IP(packettest.From4(), packettest.UDP(1, 2, nil)))
				w.Translate(0, &other)

				more := make([]translate.Packet, translate.MaxPieces)
				for i := range more {
					more[i].Buf = make([]byte, translate.Headroom+max(now[0], now[1]))
				}
				var out [][]byte
				for p.Result.Verdict == translate.Split {
					n := w.Fragment(&p, more)
					if n == 0 && p.Result.Verdict == translate.Split {
						t.Fatal("nothing cut")
					}
					for _, q := range more[:n] {
						if q.Result.Verdict != translate.Forward {
							t.Errorf("verdict on a piece is %v", q.Result.Verdict)
						}
						out = append(out, slices.Clone(q.Bytes()))
					}
				}
				out = append(out, p.Bytes())
				limit := now[1]
				if out[0][0]>>4 == 4 {
					limit = now[0]
				}
				var got []byte
				for _, b := range wholes(t, out) {
					if err := packettest.Check(b); err != nil {
						t.Error(err)
					}
					hdr := 40
					if b[0]>>4 == 4 {
						hdr = 20
					}
					got = append(got, b[hdr+c.data:]...)
				}
				if want := data[:len(got)]; len(got) < 1200 || !slices.Equal(got, want) {
					t.Errorf("%d bytes of data came out, not those that went in", len(got))
				}
				for _, b := range out {
					if len(b) > limit {
						t.Errorf("%d bytes leave for an MTU of %d", len(b), limit)
					}
				}
			})
		}
	}
}

// newPair makes a translator and a worker.
func newPair(t *testing.T, cfg translate.Config) (*translate.Translator, *translate.Worker) {
	t.Helper()
	tab, err := translate.NewTable(packettest.TableConfig())
	if err != nil {
		t.Fatal(err)
	}
	tr, err := translate.New(cfg, tab)
	if err != nil {
		t.Fatal(err)
	}
	return tr, tr.NewWorker()
}

// setTable replaces the table.
func setTable(t testing.TB, tr *translate.Translator, tab *translate.Table) {
	t.Helper()
	if err := tr.Update(func(s *translate.Settings) { s.Table = tab }); err != nil {
		t.Fatal(err)
	}
}

// setMTU replaces the MTUs.
func setMTU(tr *translate.Translator, mtu4, mtu6 int) error {
	return tr.Update(func(s *translate.Settings) { s.MTU4, s.MTU6 = mtu4, mtu6 })
}

// TestPanics: what the comments say panics does, with words, and before anything
// is changed.
func TestPanics(t *testing.T) {
	tr, w := newPair(t, packettest.Config())
	windows := [][3]int{ // Off, Len, size of Buf
		{0, 0, 0}, {-1, 0, 1000}, {47, 0, 1000}, {48, -1, 1000}, {48, 0, 183}, {48, 1, 184}, {900, 0, 1000}, {2000, 0, 1000},
		{math.MaxInt, 0, 1000}, {math.MaxInt - 20, 0, 1000}, {48, math.MaxInt, 1000}, {48, math.MaxInt - 180, 1000},
		{math.MaxInt, math.MaxInt, 1000}, {math.MinInt, 0, 1000}, {48, math.MinInt, 1000}, {math.MaxInt - 10, math.MaxInt, 0},
	}
	for _, c := range windows {
		p := translate.Packet{Buf: make([]byte, c[2]), Off: c[0], Len: c[1]}
		for name, f := range map[string]func(){
			"Translate":      func() { w.Translate(0, &p) },
			"TranslateBatch": func() { w.TranslateBatch(0, []translate.Packet{p}) },
		} {
			if e, said := panics(f).(string); !said || !strings.Contains(e, "leaves too little room") {
				t.Errorf("%s with window %d+%d of %d bytes: %v", name, c[0], c[1], c[2], e)
			}
		}
	}
	p := translate.Packet{Buf: make([]byte, translate.Headroom+translate.Tailroom), Off: translate.Headroom}
	if e := panics(func() { w.Translate(0, &p) }); e != nil || p.Result.Verdict != translate.Drop {
		t.Errorf("a packet of 0 bytes with just enough room: %v, %v", p.Result, e)
	}
	if tr.Update(func(s *translate.Settings) { s.Table = nil }) == nil {
		t.Error("Update takes a nil table")
	}

	no := packettest.From4()
	no.DF = false
	for _, gso := range []int{0, 1400} {
		split := func() translate.Packet {
			p := packettest.Buffer(packettest.IP(no, packettest.TCP(1, 2, packettest.Bytes(3000, 0))))
			if gso > 0 {
				p.Offload = packettest.Partial(p.Bytes(), gso)
			}
			if w.Translate(0, &p).Verdict != translate.Split {
				t.Fatal(p.Result)
			}
			return p
		}
		p := split()
		for range 70 { // until there is too little room, each time
			if panics(func() { w.Fragment(&p, make([]translate.Packet, translate.MaxPieces)) }) == nil {
				t.Fatal("Fragment takes packets without Buf")
			}
		}
		p = split()
		if e := panics(func() { w.Fragment(&p, nil) }); (e != nil) != (gso > 0) {
			t.Errorf("Fragment with no packets, segments of %d: %v", gso, e)
		}
	}
}

// TestNothingToCut: whatever is not Split is left alone by Fragment, an empty
// Packet, too.
func TestNothingToCut(t *testing.T) {
	_, w := newPair(t, packettest.Config())
	for _, v := range []translate.Verdict{translate.Drop, translate.Forward, translate.Reply, 7} {
		for _, o := range []translate.Offload{{}, {Flags: 1, GSOType: translate.GSOTCPv6, GSOSize: 1, CsumStart: 65535, CsumOffset: 65535}} {
			p := translate.Packet{Off: -3, Len: math.MaxInt, Offload: o, Result: translate.Result{Verdict: v}}
			if e := panics(func() {
				if n := w.Fragment(&p, make([]translate.Packet, 3)); n != 0 {
					t.Errorf("verdict %d: %d pieces", v, n)
				}
			}); e != nil || p.Off != -3 || p.Len != math.MaxInt || p.Offload != o || p.Result.Verdict != v {
				t.Errorf("verdict %d: %v, %+v", v, e, p)
			}
		}
	}
}

// TestOutOfRange: numbers that are none of the constants have a name, and count
// nothing.
func TestOutOfRange(t *testing.T) {
	tr, w := newPair(t, packettest.Config())
	p := packettest.Buffer(packettest.IP(packettest.From4(), packettest.UDP(1, 2, nil)))
	w.Translate(0, &p)
	none := packettest.Buffer([]byte{0xf0, 1, 2})
	w.Translate(0, &none)
	s := tr.Stats()
	names := map[string]int{}
	for i := range 256 {
		n := uint8(i)
		for j := range 256 {
			want := translate.Count{}
			switch {
			case i == int(translate.V4ToV6) && j == int(translate.Forward):
				want = translate.Count{Packets: 1, Bytes: 28}
			case i == int(translate.NoFamily) && j == int(translate.Drop):
				want = translate.Count{Packets: 1, Bytes: 3}
			}
			var sum translate.Count
			for r := range 256 {
				c := s.Count(translate.Outcome{Direction: translate.Direction(n), Result: translate.Result{Verdict: translate.Verdict(j), Reason: translate.Reason(r)}})
				sum.Packets += c.Packets
				sum.Bytes += c.Bytes
			}
			if sum != want {
				t.Fatalf("the counts of %d, %d add up to %v, want %v", i, j, sum, want)
			}
		}
		if translate.Direction(n).String() == "" || translate.Verdict(n).String() == "" || translate.Reason(n).String() == "" {
			t.Errorf("%d has no name", i)
		}
		names[translate.Reason(n).String()]++
	}
	if names["unknown"] != 256-translate.NumReasons || len(names) != translate.NumReasons+1 {
		t.Errorf("reasons have the names %v", names)
	}
}

// TestOwnAddresses: errors came from 224.0.0.1, 127.0.0.1 or fe80::1 if Config said
// so. An own address is unicast, or none; one in 0.0.0.0/8 is taken, since TAYGA's
// configurations have it, and is none.
func TestOwnAddresses(t *testing.T) {
	for _, c := range []struct {
		addr   string
		classE bool
		ok     bool
	}{
		{"192.0.2.1", false, true},
		{"0.0.0.0", false, true},
		{"0.1.2.3", false, true},
		{"127.0.0.1", false, false},
		{"224.0.0.1", false, false},
		{"240.0.0.1", false, false},
		{"240.0.0.1", true, true},
		{"255.255.255.255", true, false},
		{"2001:db8::1", false, true},
		{"::", false, false},
		{"::1", false, false},
		{"::ffff:192.0.2.1", false, false},
		{"fe80::1", false, false},
		{"2001:db8::1%eth0", false, false},
		{"ff02::1", false, false},
	} {
		a := netip.MustParseAddr(c.addr)
		cfg := packettest.Config()
		cfg.AllowClassE = c.classE
		if a.Is4() {
			cfg.IPv4 = a
		} else {
			cfg.IPv6 = a
		}
		tab, err := translate.NewTable(packettest.TableConfig())
		if err != nil {
			t.Fatal(err)
		}
		tr, err := translate.New(cfg, tab)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", a, err)
		}
		if err == nil && a.Is4() && a.As4()[0] == 0 {
			h := packettest.From4()
			h.TTL = 1
			p := packettest.Buffer(packettest.IP(h, packettest.UDP(1, 2, nil)))
			if res := tr.NewWorker().Translate(0, &p); res != (translate.Result{Verdict: translate.Drop, Reason: translate.HopLimit}) {
				t.Errorf("%s: %v", a, res)
			}
		}
	}
	if _, err := translate.New(translate.Config{ICMPPool6: []netip.Addr{netip.MustParseAddr("2001:db8::1%eth0")}}, new(translate.Table)); err == nil {
		t.Error("a zone in ICMPPool6 is taken")
	}
	if _, err := translate.New(translate.Config{}, nil); err == nil {
		t.Error("no table is taken")
	}
}

// TestNonsense: values that no prefix, address or mapping can be come back as
// errors, and an empty Table is one that maps nothing.
func TestNonsense(t *testing.T) {
	addrs := []netip.Addr{{}, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("::ffff:192.0.2.1"),
		netip.MustParseAddr("2001:db8::1%eth0"), netip.MustParseAddr("2001:db8::1"), netip.IPv6Unspecified()}
	all := []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96")}
	for _, a := range addrs {
		for _, bits := range []int{math.MinInt, -1, 0, 1, 31, 32, 64, 95, 96, 97, 128, 129, 300, math.MaxInt} {
			all = append(all, netip.PrefixFrom(a, bits))
		}
	}
	for _, p := range all {
		for _, a := range addrs {
			if v6, err := translate.Embed(p, a); err == nil && (!a.Is4() || !p.Contains(v6)) {
				t.Errorf("Embed(%v, %v) is %v", p, a, v6)
			}
			if v4, err := translate.Extract(p, a); err == nil && (!p.Contains(a) || !v4.Is4()) {
				t.Errorf("Extract(%v, %v) is %v", p, a, v4)
			}
		}
		for _, q := range all {
			m := translate.Map{IPv4: p, IPv6: q}
			if m.String() == "" {
				t.Errorf("%#v has no text", m)
			}
			tab, err := translate.NewTable(translate.TableConfig{Maps: []translate.Map{m}})
			if err == nil && (!p.Addr().Is4() || !q.Addr().Is6()) {
				t.Errorf("%v is taken", m)
			}
			if err == nil {
				tab.Warnings()
			}
		}
		if _, err := translate.NewTable(translate.TableConfig{Pools: []translate.Pool{{Prefixes: []netip.Prefix{p}}}}); err == nil && !p.Addr().Is4() {
			t.Errorf("pool %v is taken", p)
		}
		via := translate.TableConfig{Prefixes: all[:1], Pools: []translate.Pool{{Pref64: p}}}
		if _, err := translate.NewTable(via); (err == nil) != (p == all[0] || p == netip.Prefix{}) {
			t.Errorf("pool for %v: %v", p, err)
		}
		via.Pools[0] = translate.Pool{Pref64: all[0], Prefixes: []netip.Prefix{p}}
		if _, err := translate.NewTable(via); err == nil && !p.Addr().Is4() {
			t.Errorf("pool %v is taken", p)
		}
	}
	if lines := new(translate.Table).Warnings(); len(lines) != 0 {
		t.Errorf("warnings about an empty table: %q", lines)
	}
	tr, err := translate.New(translate.Config{Hairpin: translate.HairpinSimple}, new(translate.Table))
	if err != nil {
		t.Fatal(err)
	}
	for _, mtu := range [][2]int{{67, 1500}, {1500, 1279}, {65536, 1500}, {1500, 65536}, {-1, -1}, {math.MaxInt, math.MinInt}} {
		if setMTU(tr, mtu[0], mtu[1]) == nil {
			t.Errorf("MTUs %v are taken", mtu)
		}
	}
	if s := tr.Stats(); s != (translate.Stats{}) || len(tr.Warnings()) != 0 {
		t.Errorf("a new translator: %v, %q", s, tr.Warnings())
	}
	w := tr.NewWorker()
	p := packettest.Buffer(packettest.IP(packettest.From4(), packettest.UDP(1, 2, nil)))
	if res := w.Translate(0, &p); res.Verdict != translate.Drop || res.Reason != translate.NoDestination {
		t.Errorf("with an empty table and no own address: %v", res)
	}
	w.TranslateBatch(0, nil)
}

// TestAnyTime: the clock of a worker may jump either way; the budget for
// errors is never more than ErrorBurst.
func TestAnyTime(t *testing.T) {
	cfg := packettest.Config()
	cfg.ErrorRate, cfg.ErrorBurst = 1, 3
	_, w := newPair(t, cfg)
	h := packettest.From4()
	h.TTL = 1
	for _, now := range []int64{0, math.MaxInt64, math.MinInt64, -1, 1, math.MaxInt64, math.MaxInt64 - 1, 0} {
		errors := 0
		for range 10 {
			p := packettest.Buffer(packettest.IP(h, packettest.UDP(1, 2, nil)))
			if w.Translate(time.Duration(now), &p).Verdict == translate.Reply {
				errors++
			}
		}
		if errors > 3 {
			t.Errorf("%d errors at once at the time %d", errors, now)
		}
	}
}

// TestConfigRefuses: New names what makes no sense.
func TestConfigRefuses(t *testing.T) {
	a := netip.MustParseAddr
	for want, c := range map[string]translate.Config{
		"IPv4: 2001:db8::1 is not an IPv4 address":               {IPv4: a("2001:db8::1")},
		"IPv4: ::ffff:192.0.2.1 is not an IPv4 address":          {IPv4: a("::ffff:192.0.2.1")},
		"IPv6: 192.0.2.1 is not a plain IPv6 address":            {IPv6: a("192.0.2.1")},
		"MTU4: 67 is not in 68 to 65535":                         {MTU4: 67},
		"MTU4: -1 is not in 68 to 65535":                         {MTU4: -1},
		"MTU6: 65536 is not in 1280 to 65535":                    {MTU6: 65536},
		"LowestIPv6MTU: 1279 is not in 1280 to 65535":            {LowestIPv6MTU: 1279},
		"LowestIPv6MTU: 65536 is not in 1280 to 65535":           {LowestIPv6MTU: 65536},
		"UDPZero, Hairpin or ICMPErrors out of range":            {UDPZero: 3},
		"ErrorRate or ErrorBurst out of range":                   {ErrorBurst: -1},
		"ICMP pool of 257 addresses, more than 256":              {ICMPPool6: make([]netip.Addr, 257)},
		"ICMPPool4: invalid IP is not a unicast IPv4 address":    {ICMPPool4: make([]netip.Addr, 1)},
		"ICMPPool4: 224.0.0.1 is not a unicast IPv4 address":     {ICMPPool4: []netip.Addr{a("224.0.0.1")}},
		"ICMPPool6: fe80::1 is not a unicast IPv6 address":       {ICMPPool6: []netip.Addr{a("fe80::1")}},
		"ICMPPool6: 2001:db8::1%x is not a unicast IPv6 address": {ICMPPool6: []netip.Addr{a("2001:db8::1%x")}},
	} {
		if _, err := translate.New(c, new(translate.Table)); err == nil || err.Error() != "translate: "+want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	for _, c := range []translate.Config{{Hairpin: 3}, {ICMPErrors: 2}, {ErrorRate: translate.UnlimitedErrors + 1}, {ErrorBurst: translate.UnlimitedErrors + 1}} {
		if _, err := translate.New(c, new(translate.Table)); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
	if _, err := translate.New(translate.Config{ErrorRate: -1, ICMPPool4: make([]netip.Addr, 0)}, new(translate.Table)); err != nil {
		t.Error(err)
	}
}

// TestTableRefuses: NewTable names the mapping that is given twice.
func TestTableRefuses(t *testing.T) {
	p := netip.MustParsePrefix
	m := translate.Map{IPv4: p("198.51.100.0/24"), IPv6: p("2001:db8:7::/120")}
	for want, c := range map[string]translate.TableConfig{
		"prefix 2001:db8::/32: given twice":                         {Prefixes: []netip.Prefix{p("2001:db8::/32"), p("64:ff9b::/96"), p("2001:db8::/32")}},
		"prefix 10.0.0.0/8: not an IPv6 prefix":                     {Prefixes: []netip.Prefix{p("10.0.0.0/8")}},
		"map " + m.String() + ": 198.51.100.0/24 is mapped already": {Maps: []translate.Map{m, m}},
		"pool 198.51.100.0/24: given twice":                         {Pools: []translate.Pool{{Prefixes: []netip.Prefix{p("198.51.100.0/24"), p("198.51.100.7/24")}}}},
		"rule for 2001:db8::/32: not one of the prefixes":           {Rules: []translate.PrefixRule{{Prefix: p("2001:db8::/32")}}},
		"rule for 64:ff9b::/96: given twice": {
			Prefixes: []netip.Prefix{p("64:ff9b::/96")},
			Rules:    []translate.PrefixRule{{Prefix: p("64:ff9b::/96"), DropSource: true}, {Prefix: p("64:ff9b::/96")}},
		},
		"pool 198.51.100.0/24: a map has the same prefix": {Maps: []translate.Map{m}, Pools: []translate.Pool{{Prefixes: []netip.Prefix{m.IPv4}}}},
	} {
		if _, err := translate.NewTable(c); err == nil || err.Error() != "translate: "+want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestBatchWithManyMaps: a batch looks ahead where there are many maps of single
// addresses; its outcome is that of one packet after the other, whatever the
// packets.
func TestBatchWithManyMaps(t *testing.T) {
	edit := func(_ *translate.Config, c *translate.TableConfig) {
		for i := range 20_000 {
			v4, v6 := netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), packettest.M6.As16()
			v6[2], v6[14], v6[15] = 0xee, byte(i>>8), byte(i)
			c.Maps = append(c.Maps, translate.Map{IPv4: netip.PrefixFrom(v4, 32), IPv6: netip.PrefixFrom(netip.AddrFrom16(v6), 128)})
		}
	}
	one, batch := newWorker(t, edit), newWorker(t, edit)
	var singles, all []translate.Packet
	for i := range 300 {
		h := packettest.From4()
		if h.Dst = netip.AddrFrom4([4]byte{198, 51, byte(i * 7), byte(i)}); i%3 == 0 {
			h = packettest.From6()
			v6 := packettest.M6.As16()
			v6[2], v6[14], v6[15] = 0xee, byte(i*7), byte(i)
			h.Src = netip.AddrFrom16(v6)
		}
		pkt := packettest.IP(h, packettest.UDP(1, 2, nil))
		if i%10 == 0 {
			pkt = pkt[:i%len(pkt)]
		}
		singles, all = append(singles, packettest.Buffer(pkt)), append(all, packettest.Buffer(pkt))
	}
	batch.TranslateBatch(0, all)
	verdicts := map[translate.Verdict]int{}
	for i := range singles {
		res := one.Translate(0, &singles[i])
		verdicts[res.Verdict]++
		if res != all[i].Result {
			t.Errorf("packet %d: %v alone, %v in a batch", i, res, all[i].Result)
		}
		if res.Verdict == translate.Drop {
			continue
		}
		if d := packettest.Equal(clearID(singles[i].Bytes()), all[i].Bytes()); d != "" {
			t.Errorf("packet %d: %s", i, d)
		}
	}
	if verdicts[translate.Forward] < 200 || verdicts[translate.Drop] == 0 {
		t.Errorf("verdicts %v", verdicts)
	}
}

// TestFixed: an address has a mapping of its own by prefix, by a map of a network
// or by one of its own; what is no IPv6 address has none.
func TestFixed(t *testing.T) {
	p := netip.MustParsePrefix
	maps := []translate.Map{
		{IPv4: p("198.51.100.0/24"), IPv6: p("2001:db8:7::/120")},
		{IPv4: p("198.51.100.7/32"), IPv6: p("2001:db8:8::7/128")},
	}
	tab, err := translate.NewTable(translate.TableConfig{Prefixes: []netip.Prefix{p("64:ff9b::/96")}, Maps: maps, Pools: []translate.Pool{{Prefixes: []netip.Prefix{p("10.0.0.0/8")}}}})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		"64:ff9b::1": true, "64:ff9b:0:0:1::": false, "2001:db8:7::ff": true, "2001:db8:7::100": false,
		"2001:db8:8::7": true, "2001:db8:8::8": false, "2001:db8:8::7%eth0": true, "::": false,
		"198.51.100.7": false, "::ffff:198.51.100.7": false,
	} {
		if got := tab.Fixed(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %t, want %t", text, got, want)
		}
	}
	if tab.Fixed(netip.Addr{}) || new(translate.Table).Fixed(netip.MustParseAddr("2001:db8::1")) {
		t.Error("something is fixed where nothing is")
	}
	if got := slices.Collect(tab.Maps()); !slices.Equal(got, maps) {
		t.Errorf("maps %v", got)
	}
}
