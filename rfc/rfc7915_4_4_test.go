package rfc

import (
	"net/netip"
	"testing"
	"time"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// unleased is an address of a pool without leases.
var unleased = netip.MustParseAddr("198.18.0.7")

func withPool(s *settings) { s.Pools = pt.Pools(nil, "198.18.0.0/24") }

// flood sends in 1000 times within a second and returns how many errors came
// back. All of them are counted, and so are those that were held back.
func flood(t *testing.T, rate, burst int, in []byte) int {
	t.Helper()
	x := newXlat(t, func(s *settings) { withPool(s); s.ErrorRate, s.ErrorBurst = rate, burst })
	replies := 0
	for i := range 1000 {
		x.now = time.Duration(i) * time.Millisecond
		_, res := x.checked(in)
		switch res.Verdict {
		case translate.Reply:
			replies++
		case translate.Drop:
		default:
			t.Fatalf("%v (%v)", res.Verdict, res.Reason)
		}
	}
	s := x.Stats()
	var all uint64
	for o, c := range s.All() {
		if o.Verdict == translate.Reply {
			all += c.Packets
		}
	}
	is(t, "errors counted", int(all), replies)
	if rate > 0 {
		is(t, "errors held back", int(s.ErrorsHeldBack), 1000-replies)
	}
	return replies
}

// threeModes shows that the operator chooses whether errors about in are sent.
func threeModes(t *testing.T, in []byte) {
	t.Helper()
	is(t, "errors without limit", flood(t, translate.UnlimitedErrors, 0, in), 1000)
	is(t, "errors, switched off", flood(t, -1, 0, in), 0)
	for _, c := range []struct{ rate, burst, low, high int }{
		{0, 0, 149, 150}, // the default: 50 at once, 100 a second
		{10, 10, 19, 20},
		{500, 1, 499, 501},
		{1, 3, 3, 4},
	} {
		if n := flood(t, c.rate, c.burst, in); n < c.low || n > c.high {
			t.Errorf("%d errors with a rate of %d and a burst of %d, want %d to %d", n, c.rate, c.burst, c.low, c.high)
		}
	}
}

// RFC 7915 §4.4: errors that the translator sends to IPv4.
func TestRFC7915_4_4(t *testing.T) {
	to := func(dst netip.Addr, p pt.Payload) []byte { return pt.IP(pt.Header{Src: pt.H4, Dst: dst, DF: true}, p) }

	row(t, "7915-4.4-01", func(t *testing.T) {
		in := to(unleased, udp(4))
		x := newXlat(t, withPool)
		msg := x.err4(in, 3, 13)
		is(t, "second word", be32(msg, 4), 0)
		wantBytes(t, "quote", msg[8:], in)

		// A source without mapping is as good a reason.
		mapsOnly := newXlat(t, func(s *settings) { s.Prefixes = nil })
		mapsOnly.err4(pt.IP(pt.From4(), udp(4)), 3, 13)

		// TAYGA tells the two apart.
		tayga := newXlat(t, func(s *settings) { withPool(s); s.ICMPErrors = translate.ErrorsTAYGA })
		tayga.err4(in, 3, 1)
		tayga = newXlat(t, func(s *settings) { s.Prefixes, s.ICMPErrors = nil, translate.ErrorsTAYGA })
		tayga.err4(pt.IP(pt.From4(), udp(4)), 3, 10)
	})

	row(t, "7915-4.4-02", func(t *testing.T) {
		x := newXlat(t, withPool)
		x.err4(to(unleased, pt.EchoRequest(1, 2, nil)), 3, 13)
		x.err4(to(unleased, pt.EchoReply(1, 2, nil)), 3, 13)
		quote := pt.IP(pt.Header{Src: unleased, Dst: pt.H4}, udp(4))
		x.drop(to(unleased, pt.ICMP(3, 3, 0, quote)), translate.NoDestination)
		x.drop(to(unleased, pt.ICMP(11, 0, 0, quote)), translate.NoDestination)
		x.drop(to(unleased, pt.ICMP(12, 0, 0, quote)), translate.NoDestination)
	})

	row(t, "7915-4.4-03", func(t *testing.T) { threeModes(t, to(unleased, udp(4))) })

	row(t, "7915-4.4-04", func(t *testing.T) {
		x := newXlat(t, func(s *settings) { withPool(s); s.MTU4, s.MTU6 = 1300, 1400 })
		from4, from6 := pt.From4(), pt.From6()
		hop4, hop6 := from4, from6
		hop4.TTL, hop6.TTL = 1, 1
		for _, in := range [][]byte{
			pt.IP(hop4, udp(4)), pt.IP(from4, udp(1472)), to(unleased, udp(4)),
			pt.IP(with(from4, func(h *pt.Header) { h.Options = []byte{0x83, 3, 3, 0} }), udp(4)),
			pt.IP(hop6, udp(4)), pt.IP(from6, udp(1452)), pt.IP(from6, pt.Routing(1, udp(4))),
			pt.IP(pt.Header{Src: pt.R6, Dst: pt.H4in6}, udp(4)),
		} {
			// There is one packet, and no way to send another.
			b := x.reply(in)
			is(t, "version", b[0]>>4, in[0]>>4)
			if in[0]>>4 == 4 {
				wantBytes(t, "destination", b[16:20], in[12:16])
				wantBytes(t, "quote", b[28:], in[:min(len(in), 548)])
			} else {
				wantBytes(t, "destination", b[24:40], in[8:24])
				wantBytes(t, "quote", b[48:], in[:min(len(in), 1232)])
			}
		}
	})
}
