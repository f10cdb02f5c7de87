package translate_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/internal/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// askedDynamic lends one address and counts how often it is asked.
type askedDynamic struct {
	addr  [4]byte
	host  [16]byte
	asked int
}

func (d *askedDynamic) Assign(h [16]byte) ([4]byte, bool) {
	d.asked++
	d.host = h
	return d.addr, true
}
func (d *askedDynamic) Addr(h [16]byte) ([4]byte, bool) { return d.addr, h == d.host }
func (d *askedDynamic) Host(a [4]byte) ([16]byte, bool) { d.asked++; return d.host, a == d.addr }

// TestFlowsAreForgotten: what a worker remembers about a pair of addresses does
// not outlive the table, nor the second for which leases may be remembered.
func TestFlowsAreForgotten(t *testing.T) {
	pool := netip.MustParsePrefix("198.18.0.0/24")
	tc := translate.TableConfig{Prefixes: []netip.Prefix{packettest.P}, Pools: []netip.Prefix{pool}}
	tab, err := translate.NewTable(tc)
	if err != nil {
		t.Fatal(err)
	}
	dyn := &askedDynamic{addr: [4]byte{198, 18, 0, 7}}
	tr, err := translate.New(packettest.Config(), tab, dyn)
	if err != nil {
		t.Fatal(err)
	}
	w := tr.NewWorker()
	pkt := packettest.IP(packettest.From6(), packettest.UDP(1, 2, nil))
	back := packettest.IP(packettest.Header{Src: packettest.H4, Dst: netip.MustParseAddr("198.18.0.7")}, packettest.UDP(2, 1, nil))
	send := func(raw []byte) []byte {
		p := packettest.Buffer(raw)
		if res := w.Translate(&p); res.Verdict != translate.Forward {
			t.Fatalf("%v (%v)", res.Verdict, res.Reason)
		}
		return p.Bytes()
	}

	for range 3 {
		send(pkt)
		send(back)
	}
	if dyn.asked != 6 {
		t.Errorf("without a clock, asked %d times for 6 packets", dyn.asked)
	}
	dyn.asked = 0
	for ms := range 3000 {
		w.Tick(time.Duration(ms) * time.Millisecond)
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
	tr.SetTable(tab)
	if b := send(pkt); [4]byte(b[12:16]) != [4]byte{192, 0, 2, 99} {
		t.Errorf("after SetTable the source is %v", b[12:16])
	}
	if err := tr.SetMTU(1400, 1400); err != nil {
		t.Fatal(err)
	}
	p := packettest.Buffer(packettest.IP(packettest.From6(), packettest.UDP(1, 2, make([]byte, 1400))))
	if res := w.Translate(&p); res.Reason != translate.TooBig {
		t.Errorf("after SetMTU: %v (%v)", res.Verdict, res.Reason)
	}
}
