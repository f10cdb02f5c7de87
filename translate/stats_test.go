package translate_test

import (
	"net/netip"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// TestNames: the directions and verdicts by name, as metrics have them.
func TestNames(t *testing.T) {
	for d, want := range []string{"4to6", "6to4", "none", "none", "4to6"} {
		if got := translate.Direction(d).String(); got != want {
			t.Errorf("direction %d is %q, want %q", d, got, want)
		}
	}
	for v, want := range []string{"drop", "forward", "reply", "split", "drop"} {
		if got := translate.Verdict(v).String(); got != want {
			t.Errorf("verdict %d is %q, want %q", v, got, want)
		}
	}
}

// TestCountsOfABatch: a batch whose packets come to more outcomes than a worker notes at
// once, in turns and in a row, is counted like its packets one by one.
func TestCountsOfABatch(t *testing.T) {
	low4, low6 := packettest.From4(), packettest.From6()
	low4.TTL, low6.TTL = 1, 1
	udp, echo := packettest.UDP(1, 2, nil), packettest.EchoRequest(1, 2, nil)
	to4 := func(a string) packettest.Header {
		return packettest.Header{Src: packettest.H4, Dst: netip.MustParseAddr(a)}
	}
	to6 := func(a string) packettest.Header {
		return packettest.Header{Src: packettest.M6, Dst: netip.MustParseAddr(a)}
	}
	kinds := [][]byte{
		packettest.IP(packettest.From4(), udp),
		packettest.IP(packettest.From6(), udp),
		packettest.IP(low4, udp),
		packettest.IP(low6, udp),
		packettest.IP(packettest.From6(), packettest.Routing(1, udp)),
		packettest.IP(to4(packettest.X4.String()), udp),
		packettest.IP(to6(packettest.X6.String()), udp),
		packettest.IP(to4(packettest.X4.String()), echo),
		packettest.IP(to6(packettest.X6.String()), echo),
		packettest.IP(packettest.From4(), packettest.UDPNoSum(1, 2, []byte{1})),
		packettest.IP(packettest.Header{Src: packettest.R6, Dst: packettest.H4in6}, udp),
		packettest.IP(packettest.From6(), packettest.Raw(1, make([]byte, 8))),
		packettest.IP(packettest.From4(), packettest.ICMP(13, 0, 0, nil)),
		packettest.IP(packettest.From6(), packettest.ICMP(200, 0, 0, nil)),
		packettest.IP(to4("127.0.0.1"), udp),
		packettest.IP(to6("ff02::1"), udp),
		packettest.Edit(packettest.IP(packettest.From4(), udp), func(b []byte) { b[10] ^= 1 }),
		{0x45}, {0x60, 0}, {0x10, 0, 0}, {},
	}
	_, one := newPair(t, packettest.Config())
	two, batch := newPair(t, packettest.Config())
	want := map[translate.Outcome]translate.Count{}
	var ps []translate.Packet
	add := func(pkt []byte) {
		p := packettest.Buffer(pkt)
		res := one.Translate(0, &p)
		o := translate.Outcome{Direction: translate.NoFamily, Result: res}
		if len(pkt) > 0 && pkt[0]>>4 == 4 {
			o.Direction = translate.V4ToV6
		} else if len(pkt) > 0 && pkt[0]>>4 == 6 {
			o.Direction = translate.V6ToV4
		}
		c := want[o]
		want[o] = translate.Count{Packets: c.Packets + 1, Bytes: c.Bytes + uint64(len(pkt))}
		ps = append(ps, packettest.Buffer(pkt))
	}
	for _, pkt := range kinds {
		for range 3 {
			add(pkt)
		}
	}
	for range 2 {
		for _, pkt := range kinds {
			add(pkt)
		}
	}
	if len(want) <= 16 {
		t.Fatalf("%d outcomes, too few", len(want))
	}
	batch.TranslateBatch(0, ps)
	n := 0
	for o, c := range two.Stats().All() {
		if n++; c != want[o] {
			t.Errorf("%v %v %v: %v, want %v", o.Direction, o.Verdict, o.Reason, c, want[o])
		}
	}
	if n != len(want) {
		t.Errorf("%d outcomes, want %d", n, len(want))
	}
}

// TestNoFamilyOfNothing: an empty packet has no family, whatever lies after it in its
// buffer, and a single byte has one.
func TestNoFamilyOfNothing(t *testing.T) {
	for _, first := range []byte{0x45, 0x60} {
		tr, w := newPair(t, packettest.Config())
		p := packettest.Buffer([]byte{first})
		p.Len = 0
		w.Translate(0, &p)
		p.Len = 1
		w.Translate(0, &p)
		s, family := tr.Stats(), translate.V4ToV6
		if first == 0x60 {
			family = translate.V6ToV4
		}
		if none, some := total(s, translate.NoFamily, translate.Drop), total(s, family, translate.Drop); none.Packets != 1 || some.Packets != 1 {
			t.Errorf("%#x: %d packets without family, %d with", first, none.Packets, some.Packets)
		}
	}
}

// total sums the counts of a direction and verdict over all reasons.
func total(s translate.Stats, d translate.Direction, v translate.Verdict) (sum translate.Count) {
	for o, c := range s.All() {
		if o.Direction == d && o.Verdict == v {
			sum.Packets += c.Packets
			sum.Bytes += c.Bytes
		}
	}
	return sum
}
