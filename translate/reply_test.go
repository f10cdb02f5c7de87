package translate_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// TestOwnErrors: type, code and second word of each kind of error that is originated. A
// second word that is unused is zero: RFC 792, RFC 4443 §3. Tests looked at it in few.
func TestOwnErrors(t *testing.T) {
	low4, low6 := packettest.From4(), packettest.From6()
	low4.TTL, low6.TTL = 1, 1
	routed := packettest.From4()
	routed.Options = []byte{131, 7, 4, 1, 1, 1, 1, 0}
	udp := packettest.UDP(1, 2, nil)
	big := packettest.UDP(1, 2, make([]byte, 1460))
	stray6 := packettest.Header{Src: packettest.R6, Dst: packettest.H4in6}
	stray4 := packettest.Header{Src: packettest.H4, Dst: netip.MustParseAddr("192.0.2.99")}
	self4 := packettest.Header{Src: packettest.H4, Dst: packettest.X4}
	self6 := packettest.Header{Src: packettest.M6, Dst: packettest.X6}
	tayga := func(c *translate.Config, tc *translate.TableConfig) { c.ICMPErrors = translate.ErrorsTAYGA }
	noPrefix := func(_ *translate.Config, tc *translate.TableConfig) { tc.Prefixes = nil }
	narrow := func(c *translate.Config, _ *translate.TableConfig) { c.MTU4, c.MTU6 = 1400, 1400 }
	for _, c := range []struct {
		name      string
		pkt       []byte
		edit      func(*translate.Config, *translate.TableConfig)
		why       translate.Reason
		typ, code uint8
		word      uint32
	}{
		{"4-hop-limit", packettest.IP(low4, udp), nil, translate.HopLimit, 11, 0, 0},
		{"4-source-route", packettest.IP(routed, udp), nil, translate.SourceRoute, 3, 5, 0},
		{"4-too-big", packettest.IP(packettest.From4(), big), narrow, translate.TooBig, 3, 4, 1380},
		{"4-no-destination", packettest.IP(stray4, udp), noPrefix, translate.NoDestination, 3, 13, 0},
		{"4-own-protocol", packettest.IP(self4, udp), nil, translate.SelfProtocol, 3, 2, 0},
		{"4-no-checksum", packettest.IP(packettest.From4(), packettest.UDPNoSum(1, 2, make([]byte, 9))), nil, translate.UDPZeroChecksum, 3, 13, 0},
		{"6-hop-limit", packettest.IP(low6, udp), nil, translate.HopLimit, 3, 0, 0},
		{"6-source-route", packettest.IP(packettest.From6(), packettest.Routing(1, udp)), nil, translate.SourceRoute, 4, 0, 43},
		{"6-source-route-second", packettest.IP(packettest.From6(), packettest.HopByHop(16, packettest.Routing(2, udp))), nil, translate.SourceRoute, 4, 0, 59},
		{"6-too-big", packettest.IP(packettest.From6(), big), narrow, translate.TooBig, 2, 0, 1420},
		{"6-no-source", packettest.IP(stray6, udp), nil, translate.NoSource, 1, 1, 0},
		{"6-no-source-tayga", packettest.IP(stray6, udp), tayga, translate.NoSource, 1, 5, 0},
		{"6-no-destination", packettest.IP(packettest.From6(), udp), noPrefix, translate.NoDestination, 1, 1, 0},
		{"6-no-destination-tayga", packettest.IP(packettest.From6(), udp),
			func(c *translate.Config, tc *translate.TableConfig) { tayga(c, tc); noPrefix(c, tc) }, translate.NoDestination, 1, 0, 0},
		{"6-own-protocol", packettest.IP(self6, udp), nil, translate.SelfProtocol, 4, 1, 6},
		{"6-own-protocol-after-options", packettest.IP(self6, packettest.HopByHop(8, packettest.DestOpts(24, udp))), nil, translate.SelfProtocol, 4, 1, 48},
		{"6-protocol", packettest.IP(packettest.From6(), packettest.Raw(1, make([]byte, 8))), nil, translate.NoProtocol, 1, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := packettest.Buffer(c.pkt)
			if res := newWorker(t, c.edit).Translate(0, &p); res != (translate.Result{Verdict: translate.Reply, Reason: c.why}) {
				t.Fatalf("%v (%v)", res.Verdict, res.Reason)
			}
			b := p.Bytes()
			if err := packettest.Check(b); err != nil {
				t.Error(err)
			}
			at, src := 20, packettest.X4.AsSlice()
			if b[0]>>4 == 6 {
				at, src = 40, packettest.X6.AsSlice()
			}
			if typ, code, word := b[at], b[at+1], binary.BigEndian.Uint32(b[at+4:]); typ != c.typ || code != c.code || word != c.word {
				t.Errorf("type %d, code %d, word %#x, want %d, %d, %#x", typ, code, word, c.typ, c.code, c.word)
			}
			from, _ := netip.AddrFromSlice(b[at-2*len(src) : at-len(src)])
			if want, _ := netip.AddrFromSlice(src); from != want {
				t.Errorf("from %s, want %s", from, want)
			}
		})
	}
}

// TestErrorsAboutShortICMP: an ICMPv4 message that is too short for its header is
// answered if its type says that it is an Echo message, though nothing follows the type.
func TestErrorsAboutShortICMP(t *testing.T) {
	for n := range 8 {
		for typ, echo := range map[byte]bool{0: true, 8: true, 3: false, 11: false, 13: false} {
			data := make([]byte, 8)
			data[0] = typ
			p := packettest.Buffer(packettest.IP(packettest.From4(), packettest.Raw(1, data[:n])))
			want := translate.Result{Verdict: translate.Drop, Reason: translate.ShortTransport}
			if echo && n > 0 {
				want.Verdict = translate.Reply
			}
			if res := newWorker(t, nil).Translate(0, &p); res != want {
				t.Errorf("%d bytes of type %d: %v (%v), want %v", n, typ, res.Verdict, res.Reason, want.Verdict)
			}
		}
	}
}
