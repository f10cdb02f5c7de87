package translate_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// askedDynamic leases one address, to the host that asked last, and counts how
// often it is asked.
type askedDynamic struct {
	addr       [4]byte
	host       [16]byte
	asked      int
	generation uint64
}

func (d *askedDynamic) Assign(h [16]byte) ([4]byte, bool) {
	d.asked++
	d.host = h
	return d.addr, true
}
func (d *askedDynamic) Addr(h [16]byte) ([4]byte, bool) { return d.addr, h == d.host }
func (d *askedDynamic) Host(a [4]byte) ([16]byte, bool) { d.asked++; return d.host, a == d.addr }
func (d *askedDynamic) Generation() uint64              { return d.generation }

// TestFlowsAreForgotten: what a worker remembers about a pair of addresses does
// not outlive the table, nor the second for which leases may be remembered.
func TestFlowsAreForgotten(t *testing.T) {
	pool := netip.MustParsePrefix("198.18.0.0/24")
	dyn := &askedDynamic{addr: [4]byte{198, 18, 0, 7}}
	tc := translate.TableConfig{Prefixes: []netip.Prefix{packettest.P}, Pools: []translate.Pool{{Prefixes: []netip.Prefix{pool}, Dynamic: dyn}}}
	tab, err := translate.NewTable(tc)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := translate.New(packettest.Config(), tab)
	if err != nil {
		t.Fatal(err)
	}
	w, now := tr.NewWorker(), time.Duration(0)
	pkt := packettest.IP(packettest.From6(), packettest.UDP(1, 2, nil))
	back := packettest.IP(packettest.Header{Src: packettest.H4, Dst: netip.MustParseAddr("198.18.0.7")}, packettest.UDP(2, 1, nil))
	send := func(raw []byte) []byte {
		p := packettest.Buffer(raw)
		if res := w.Translate(now, &p); res.Verdict != translate.Forward {
			t.Fatalf("%v (%v)", res.Verdict, res.Reason)
		}
		return p.Bytes()
	}

	for range 3 {
		send(pkt)
		send(back)
	}
	if dyn.asked != 2 {
		t.Errorf("at one time, asked %d times for 6 packets of 2 flows", dyn.asked)
	}
	dyn.asked = 0
	for ms := range 3000 {
		now = time.Second + time.Duration(ms)*time.Millisecond
		send(pkt)
		send(back)
	}
	if dyn.asked < 6 || dyn.asked > 8 {
		t.Errorf("asked %d times in three seconds, want once a second and direction", dyn.asked)
	}

	tc.Maps = []translate.Map{{IPv4: netip.MustParsePrefix("192.0.2.99/32"), IPv6: netip.PrefixFrom(packettest.M6, 128)}}
	if tab, err = translate.NewTable(tc); err != nil {
		t.Fatal(err)
	}
	setTable(t, tr, tab)
	if b := send(pkt); [4]byte(b[12:16]) != [4]byte{192, 0, 2, 99} {
		t.Errorf("after the table changed, the source is %v", b[12:16])
	}
	if err := setMTU(tr, 1400, 1400); err != nil {
		t.Fatal(err)
	}
	p := packettest.Buffer(packettest.IP(packettest.From6(), packettest.UDP(1, 2, make([]byte, 1400))))
	if res := w.Translate(now, &p); res.Reason != translate.TooBig {
		t.Errorf("after the MTUs changed: %v (%v)", res.Verdict, res.Reason)
	}
}

// TestMovedLease: a worker was told 1 s and translated; it was told 3,600 s while
// the lease moved from host A to host B, and then 1 s again. What it remembered from
// the first second was believed to be of this second, and a packet reached A.
func TestMovedLease(t *testing.T) {
	pool := netip.MustParsePrefix("198.18.0.0/24")
	a, b := netip.MustParseAddr("2001:db8::a").As16(), netip.MustParseAddr("2001:db8::b").As16()
	back := packettest.IP(packettest.Header{Src: packettest.H4, Dst: netip.MustParseAddr("198.18.0.7")}, packettest.UDP(2, 1, nil))
	for _, c := range []struct {
		name   string
		during []time.Duration // times that the worker is told while the lease moves
	}{
		{"time-goes-back", []time.Duration{time.Hour}},
		{"time-stands-still", nil},
		{"time-before-the-first", []time.Duration{-time.Hour}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dyn := &askedDynamic{addr: [4]byte{198, 18, 0, 7}, host: a}
			tab, err := translate.NewTable(translate.TableConfig{
				Prefixes: []netip.Prefix{packettest.P},
				Pools:    []translate.Pool{{Prefixes: []netip.Prefix{pool}, Dynamic: dyn}},
			})
			if err != nil {
				t.Fatal(err)
			}
			tr, err := translate.New(packettest.Config(), tab)
			if err != nil {
				t.Fatal(err)
			}
			w := tr.NewWorker()
			receiver := func() [16]byte {
				p := packettest.Buffer(back)
				if res := w.Translate(time.Second, &p); res.Verdict != translate.Forward {
					t.Fatalf("%v (%v)", res.Verdict, res.Reason)
				}
				return [16]byte(p.Bytes()[24:40])
			}
			if receiver() != a {
				t.Fatal("the first packet does not reach A")
			}
			for _, now := range c.during {
				w.TranslateBatch(now, nil)
			}
			dyn.generation++
			dyn.host = b
			if got := receiver(); got != b {
				t.Errorf("after the lease has moved, a packet reaches %v", netip.AddrFrom16(got))
			}
		})
	}
}
