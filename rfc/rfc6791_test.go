package rfc

import (
	"net/netip"
	"strings"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// fromR6 is an ICMPv6 message from R6, which no mapping covers, to H4.
func fromR6(p pt.Payload) []byte { return pt.IP(pt.Header{Src: pt.R6, Dst: pt.H4in6}, p) }

// fromX4 is the header under which such errors arrive.
var fromX4 = pt.Header{Src: pt.X4, Dst: pt.H4, TTL: 63}

// nodeObject is an RFC 5837 object of role 0 with an IPv6 address.
func nodeObject(a netip.Addr) []byte {
	return pt.Object(2, 0x04, append([]byte{0, 2, 0, 0}, a.AsSlice()...))
}

// nodeAddress switches the RFC 5837 object on.
func nodeAddress(s *settings) { s.NodeAddress = true }

// errors6 are ICMPv6 errors of all kinds with a counterpart, and what they become.
var errors6 = []struct {
	typ, code   uint8
	word        uint32
	typ4, code4 uint8
	word4       uint32
}{
	{1, 0, 0, 3, 1, 0},
	{1, 1, 0, 3, 10, 0},
	{1, 2, 0, 3, 1, 0},
	{1, 3, 0, 3, 1, 0},
	{1, 4, 0, 3, 3, 0},
	{2, 0, 1400, 3, 4, 1380}, // bytes 6 and 7
	{3, 0, 0, 11, 0, 0},
	{3, 1, 0, 11, 1, 0},
	{4, 0, 7, 12, 0, 8 << 24}, // byte 4
	{4, 1, 6, 3, 2, 0},
}

func TestRFC6791(t *testing.T) {
	row(t, "6791-3-01", func(t *testing.T) {
		goldens(t, "V12")
		x := newXlat(t, nil)
		for _, e := range errors6 {
			x.becomes(fromR6(pt.ICMP(e.typ, e.code, e.word, pt.IP(sent6, ping))),
				pt.IP(fromX4, pt.ICMP(e.typ4, e.code4, e.word4, pt.IP(sent6as4, ping))))
		}
		// Only errors get a source that is not theirs.
		if why := x.none(fromR6(pt.EchoRequest(1, 2, nil))); why != translate.NoSource {
			t.Error(why)
		}
		x.err6(fromR6(ping), 1, 1)
	})
	row(t, "6791-3.1-01", func(t *testing.T) {
		for a, private := range map[string]bool{
			"10.0.0.1": true, "172.16.0.1": true, "172.31.255.254": true, "192.168.0.1": true, "100.64.0.1": true, "100.127.255.254": true,
			"192.0.0.2": false, "192.0.0.8": false, "198.51.100.1": false, "172.32.0.1": false, "100.128.0.1": false,
		} {
			x := newXlat(t, func(s *settings) { s.ICMPPool4 = []netip.Addr{addr("198.51.100.1"), addr(a)} })
			w := x.Warnings()
			if (len(w) == 1 && strings.Contains(w[0], a)) != private || len(w) > 1 {
				t.Errorf("pool with %s: warnings %q", a, w)
			}
		}
	})
	row(t, "6791-3.2-01", func(t *testing.T) {
		in := fromR6(pt.ICMP(3, 0, 0, pt.IP(sent6, ping)))
		x := newXlat(t, func(s *settings) { s.ICMPPool4 = nil })
		wantEnds(t, x.forward(in), "192.0.2.254 > 198.51.100.4")
		x = newXlat(t, func(s *settings) { s.ICMPPool4 = []netip.Addr{addr("203.0.113.77")} })
		wantEnds(t, x.forward(in), "203.0.113.77 > 198.51.100.4")
		x = newXlat(t, func(s *settings) { s.ICMPPool4, s.IPv4 = nil, netip.Addr{} })
		x.drop(in, translate.ICMPSource)
	})
	row(t, "6791-4-01", func(t *testing.T) {
		goldens(t, "V16")
	})
	row(t, "6791-4-02", func(t *testing.T) {
		x := newXlat(t, nodeAddress)
		seen := map[uint8]bool{}
		for _, e := range errors6 {
			x.becomes(fromR6(pt.ICMP(e.typ, e.code, e.word, pt.IP(sent6, ping))),
				pt.IP(fromX4, pt.ExtendedError(e.typ4, e.code4, e.word4, pt.IP(sent6as4, ping), pt.Extension(nodeObject(pt.R6)))))
			seen[e.typ4] = true
		}
		is(t, "types", len(seen), 3)

		b := x.forward(fromR6(pt.ICMP(2, 0, 1400, pt.IP(sent6, ping))))
		wantBytes(t, "Fragmentation Needed", b[20:22], []byte{3, 4})
		wantBytes(t, "length and MTU", b[24:28], []byte{0, 32, 0x05, 0x64}) // 1380
		wantBytes(t, "object", b[20+8+128+4:], nodeObject(pt.R6))

		// A source that has a mapping is told as it is, without an object.
		x.becomes(error6(3, 0, 0, pt.IP(sent6, ping)), error6as4(11, 0, 0, pt.IP(sent6as4, ping)))
	})
	row(t, "6791-5-01", func(t *testing.T) {
		var pool []netip.Addr
		for i := range 8 {
			pool = append(pool, netip.AddrFrom4([4]byte{203, 0, 113, byte(10 + i)}))
		}
		x := newXlat(t, func(s *settings) { s.ICMPPool4 = pool })
		in := fromR6(pt.ICMP(3, 0, 0, pt.IP(sent6, ping)))
		after := map[byte]map[byte]bool{} // which address followed which
		last := byte(0)
		for range 1000 {
			b := x.forward(in)
			now := b[15]
			if string(b[12:15]) != "\xcb\x00\x71" || now < 10 || now > 17 {
				t.Fatalf("source %d is not in the pool", b[12:16])
			}
			if now == last {
				t.Error("two hops in a row look like one")
			}
			if after[last] == nil {
				after[last] = map[byte]bool{}
			}
			after[last][now] = true
			last = now
		}
		for i := range byte(8) {
			if n := len(after[10+i]); n < 4 {
				t.Errorf("address %d was followed by %d others only", 10+i, n)
			}
		}
	})
}
