package translate_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// nodeAdded sends a Time Exceeded with the extension structure ext from a router
// without IPv4 address. It returns the structure that arrives in IPv4.
func nodeAdded(t *testing.T, ext []byte) []byte {
	t.Helper()
	w := newWorker(t, func(c *translate.Config, _ *translate.TableConfig) { c.NodeAddress = true })
	quote := packettest.IP(packettest.Header{Src: packettest.H4in6, Dst: packettest.M6, TTL: 1}, packettest.UDP(1, 2, nil))
	pkt := packettest.IP(packettest.Header{Src: packettest.R6, Dst: packettest.H4in6}, packettest.ExtendedError(3, 0, 0, quote, ext))
	p := packettest.Buffer(pkt)
	if res := w.Translate(0, &p); res.Verdict != translate.Forward {
		t.Fatalf("%x: %v (%v)", ext, res.Verdict, res.Reason)
	}
	packettest.CheckGuards(t, &p, pkt)
	return p.Bytes()[20+8+128:]
}

// TestNodeObjectBounds: which extension structures get an object with the address of
// the node that sent the error, RFC 6791 §4. Changes of the bounds, and of the two
// bytes whose zero means "no checksum", went unnoticed.
func TestNodeObjectBounds(t *testing.T) {
	node := packettest.R6.As16()
	object := append([]byte{0, 24, 2, 4, 0, 2, 0, 0}, node[:]...)
	empty := packettest.Object(1, 1, nil)
	// withSum replaces the last two bytes so that the checksum becomes sum.
	withSum := func(sum uint16, ext []byte) []byte {
		ext = bytes.Clone(ext)
		ext[2], ext[3] = byte(sum>>8), byte(sum)
		n := len(ext) - 2
		ext[n], ext[n+1] = 0, 0
		c := ^packettest.Sum(ext)
		ext[n], ext[n+1] = byte(c>>8), byte(c)
		return ext
	}
	plain := packettest.Extension(packettest.Object(1, 1, make([]byte, 4)))
	broken := func(sum uint16) []byte {
		ext := bytes.Clone(plain)
		ext[2], ext[3] = byte(sum>>8), byte(sum)
		return ext
	}
	sized := func(n int) []byte { return packettest.Extension(packettest.Object(1, 1, make([]byte, n-8))) }
	for _, c := range []struct {
		name  string
		ext   []byte
		added bool
	}{
		{"object-of-4-bytes", packettest.Extension(empty), true},
		{"object-of-4-bytes-last", packettest.Extension(packettest.Object(1, 1, make([]byte, 4)), empty), true},
		{"object-of-4-bytes-of-the-class", packettest.Extension(packettest.Object(2, 0x40, nil)), true},
		{"object-of-4-bytes-of-role-0", packettest.Extension(packettest.Object(2, 0, nil)), false},
		{"object-of-4-bytes-of-role-0-second", packettest.Extension(empty, packettest.Object(2, 0, nil)), false},
		{"object-of-0-bytes", packettest.Extension([]byte{0, 0, 1, 1}), false},
		{"object-of-2-bytes", packettest.Extension([]byte{0, 2, 1, 1}), false},
		{"objects-of-6-bytes", packettest.Extension([]byte{0, 6, 1, 1, 0, 0}, []byte{0, 6, 1, 1, 0, 0}), false},
		{"object-longer-by-4", packettest.Extension([]byte{0, 8, 1, 1}), false},
		{"left-over-1", packettest.Extension(empty, []byte{0}), false},
		{"left-over-2", packettest.Extension(empty, []byte{0, 4}), false},
		{"left-over-3", packettest.Extension(empty, []byte{0, 4, 1}), false},
		{"structure-of-1-byte", []byte{0x20}, false},
		{"structure-of-4-bytes", []byte{0x20, 0, 0, 0}, false},
		{"checksum-00xx", withSum(0x00fe, plain), true},
		{"checksum-xx00", withSum(0xfe00, plain), true},
		{"wrong-checksum-00xx", broken(0x0001), false},
		{"wrong-checksum-xx00", broken(0x0100), false},
		{"no-checksum", broken(0), true},
		{"most-that-leaves-room", sized(396), true}, // 576 - 20 - 8 - 128 - 24
		{"no-room", sized(400), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, want := nodeAdded(t, c.ext), bytes.Clone(c.ext)
			if c.added {
				want = append(want, object...)
				if want[2]|want[3] != 0 {
					want[2], want[3] = 0, 0
					sum := ^packettest.Sum(want)
					want[2], want[3] = byte(sum>>8), byte(sum)
				}
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got  %x\nwant %x", got, want)
			}
		})
	}
}

// TestExtensionOfOneByte: what follows a quote is carried, however short.
func TestExtensionOfOneByte(t *testing.T) {
	quote4 := packettest.IP(packettest.Header{Src: packettest.M4, Dst: packettest.H4}, packettest.UDP(1, 2, nil))
	quote6 := packettest.IP(packettest.Header{Src: packettest.H4in6, Dst: packettest.M6}, packettest.UDP(1, 2, nil))
	for name, c := range map[string]struct {
		pkt []byte
		hdr int // of the packet that arrives, with its ICMP header
	}{
		"4to6": {packettest.IP(packettest.From4(), packettest.ExtendedError(3, 3, 0, quote4, []byte{0xee})), 48},
		"6to4": {packettest.IP(packettest.From6(), packettest.ExtendedError(1, 4, 0, quote6, []byte{0xee})), 28},
	} {
		p := packettest.Buffer(c.pkt)
		newWorker(t, nil).Translate(0, &p)
		if b := p.Bytes(); len(b) != c.hdr+129 || b[c.hdr+128] != 0xee {
			t.Errorf("%s: %v, %x", name, p.Result, b)
		}
	}
}

// TestQuotedProtocols: an error that quotes a packet whose protocol is not
// translated is dropped, like that packet. One of the two conditions of this rule went
// unnoticed.
func TestQuotedProtocols(t *testing.T) {
	for proto := range 256 {
		quote := packettest.IP(packettest.Header{Src: packettest.M4, Dst: packettest.H4}, packettest.Raw(uint8(proto), make([]byte, 8)))
		p := packettest.Buffer(packettest.IP(packettest.From4(), packettest.ICMP(3, 1, 0, quote)))
		want := translate.Result{Verdict: translate.Forward, Reason: translate.Translated}
		switch proto {
		case 0, 2, 43, 44, 58, 60:
			want = translate.Result{Verdict: translate.Drop, Reason: translate.ICMPQuote}
		}
		if res := newWorker(t, nil).Translate(0, &p); res != want {
			t.Errorf("protocol %d: %v (%v), want %v", proto, res.Verdict, res.Reason, want.Verdict)
		}
	}
}

// TestIdentificationOfErrors: a translated ICMPv6 error gets an identification of its
// own, as any packet without Fragment Header does; one in an atomic fragment keeps the
// low half of what the Fragment Header says.
func TestIdentificationOfErrors(t *testing.T) {
	w := newWorker(t, nil)
	quote := packettest.IP(packettest.Header{Src: packettest.H4in6, Dst: packettest.M6}, packettest.UDP(1, 2, nil))
	body := packettest.ICMP(1, 4, 0, quote)
	ident := func(p packettest.Payload) string {
		b := packettest.Buffer(packettest.IP(packettest.From6(), p))
		if res := w.Translate(0, &b); res.Verdict != translate.Forward {
			t.Fatal(res)
		}
		return fmt.Sprintf("%x", b.Bytes()[4:6])
	}
	if a, b := ident(body), ident(body); a == b {
		t.Errorf("two errors have the identification %s", a)
	}
	for range 2 {
		if id := ident(packettest.Fragment(0x12345678, 0, false, body)); id != "5678" {
			t.Errorf("in an atomic fragment of 12345678: %s", id)
		}
	}
}
