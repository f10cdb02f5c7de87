package translate_test

import (
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// TestOffloadBounds: descriptions that are right or wrong by one byte. Several of these
// comparisons could be changed without a test that noticed.
func TestOffloadBounds(t *testing.T) {
	data := packettest.Bytes(2000, 0)
	udp := func(n int) []byte { return packettest.IP(packettest.From6(), packettest.UDP(1, 2, data[:n])) }
	// tcp has n bytes after the IP header, and a header that says it has 4*words.
	tcp := func(n int, words byte) []byte {
		pkt := packettest.IP(packettest.From6(), packettest.TCP(1, 2, data[:n-20]))
		pkt[40+12] = words << 4
		return pkt
	}
	dccp := packettest.IP(packettest.From6(), packettest.DCCP(1, 2, data[:100]))
	lite := packettest.IP(packettest.From6(), packettest.UDPLite(1, 2, 0, data[:100]))
	super := func(pkt []byte, gso int) translate.Offload { return packettest.Partial(pkt, gso) }
	// plain is a checksum at field bytes after start, which counts from the transport header.
	plain := func(start, field int) translate.Offload {
		return translate.Offload{Flags: translate.OffloadNeedsCsum, CsumStart: uint16(40 + start), CsumOffset: uint16(field)}
	}
	for _, c := range []struct {
		name string
		pkt  []byte
		o    translate.Offload
		good bool
	}{
		{"udp-128-segments", udp(1280), super(udp(1280), 10), true},
		{"udp-129-segments", udp(1281), super(udp(1281), 10), false},
		{"udp-one-segment", udp(10), super(udp(10), 10), true},
		{"udp-no-data", udp(0), super(udp(0), 10), true},
		{"tcp-no-data", tcp(20, 5), super(tcp(20, 5), 10), true},
		{"tcp-header-is-all", tcp(24, 6), super(tcp(24, 6), 10), true},
		{"tcp-header-one-beyond", tcp(23, 6), super(tcp(23, 6), 10), false},
		{"tcp-header-of-16", tcp(24, 4), super(tcp(24, 4), 10), false},
		{"tcp-header-of-60", tcp(60, 15), super(tcp(60, 15), 10), true},
		{"tcp-header-of-60-one-beyond", tcp(59, 15), super(tcp(59, 15), 10), false},
		{"inner-after-udp", udp(100), plain(8, 16), true},
		{"inner-in-udp", udp(100), plain(7, 16), false},
		{"inner-after-tcp", tcp(120, 5), plain(20, 16), true},
		{"inner-in-tcp", tcp(120, 5), plain(19, 16), false},
		{"inner-at-the-end", udp(100), plain(8, 98), true},
		{"inner-one-beyond", udp(100), plain(8, 99), false},
		{"dccp", dccp, plain(0, 6), true},
		{"dccp-at-another-field", dccp, plain(0, 4), false},
		{"dccp-from-within", dccp, plain(4, 6), false},
		{"udplite", lite, plain(0, 6), true},
		{"udplite-from-within", lite, plain(4, 6), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, res := offloaded(t, newWorker(t, nil), c.pkt, c.o)
			want := translate.Result{Verdict: translate.Drop, Reason: translate.BadOffload}
			if c.good {
				want = translate.Result{Verdict: translate.Forward, Reason: translate.Translated}
			}
			if res != want {
				t.Errorf("%v (%v), want %v", res.Verdict, res.Reason, want.Verdict)
			}
		})
	}
}
