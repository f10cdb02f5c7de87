package rfc

import (
	"fmt"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// An icmpOutcome is what a message becomes in the other family. The zero value
// means that it is dropped.
type icmpOutcome struct {
	passes    bool
	typ, code uint8
	second    uint32 // second word, but for the length of the quote
	query     bool   // the body is data, not a quoted packet
	extension bool   // an extension survives
}

// An icmpTable is the outcome by type and code.
type icmpTable [256][256]icmpOutcome

// set writes the outcome of some codes of a type.
func (t *icmpTable) set(typ uint8, codes []int, out icmpOutcome) {
	out.passes = true
	for _, c := range codes {
		t[typ][c] = out
	}
}

// each writes the outcomes of all codes of a type, of which the code is kept.
func (t *icmpTable) each(typ uint8, out icmpOutcome) {
	out.passes = true
	for c := range 256 {
		out.code = uint8(c)
		t[typ][c] = out
	}
}

// What the messages of the tests below carry in their second word where the type
// gives it a meaning.
const (
	echoWord = 0x1234fffe
	mtuWord  = 1400
	pointer4 = 8 // TTL
	pointer6 = 7 // hop limit
)

// icmp4Table is RFC 7915 §4.2, typed in from the text once more.
func icmp4Table() *icmpTable {
	t := new(icmpTable)
	t.each(0, icmpOutcome{typ: 129, second: echoWord, query: true})
	t.each(8, icmpOutcome{typ: 128, second: echoWord, query: true})
	t.set(3, []int{0, 1, 5, 6, 7, 8, 11, 12}, icmpOutcome{typ: 1, code: 0, extension: true})
	t.set(3, []int{9, 10, 13, 15}, icmpOutcome{typ: 1, code: 1, extension: true})
	t.set(3, []int{3}, icmpOutcome{typ: 1, code: 4, extension: true})
	t.set(3, []int{2}, icmpOutcome{typ: 4, code: 1, second: 6})
	t.set(3, []int{4}, icmpOutcome{typ: 2, code: 0, second: mtuWord + 20})
	t.each(11, icmpOutcome{typ: 3, extension: true})
	t.set(12, []int{0, 2}, icmpOutcome{typ: 4, code: 0, second: pointer6})
	return t
}

// icmp6Table is RFC 7915 §5.2.
func icmp6Table() *icmpTable {
	t := new(icmpTable)
	t.each(128, icmpOutcome{typ: 8, second: echoWord, query: true})
	t.each(129, icmpOutcome{typ: 0, second: echoWord, query: true})
	t.set(1, []int{0, 2, 3}, icmpOutcome{typ: 3, code: 1, extension: true})
	t.set(1, []int{1}, icmpOutcome{typ: 3, code: 10, extension: true})
	t.set(1, []int{4}, icmpOutcome{typ: 3, code: 3, extension: true})
	for c := range 256 {
		t.set(2, []int{c}, icmpOutcome{typ: 3, code: 4, second: mtuWord - 20})
	}
	t.each(3, icmpOutcome{typ: 11, extension: true})
	t.set(4, []int{0}, icmpOutcome{typ: 12, code: 0, second: pointer4 << 24})
	t.set(4, []int{1}, icmpOutcome{typ: 3, code: 2})
	return t
}

// TestICMPTypesAndCodes4to6 translates every ICMPv4 type and code, without and
// with an RFC 4884 extension, and compares each outcome with the table.
func TestICMPTypesAndCodes4to6(t *testing.T) {
	x := newXlat(t, nil)
	table := icmp4Table()
	from := pt.Header{Src: pt.R4, Dst: pt.M4}
	to := pt.Header{Src: pt.R4in6, Dst: pt.M6, TTL: 63}
	quote, quote6 := pt.IP(sent4, udp(64)), pt.IP(sent4as6, udp(64))

	for typ := range 256 {
		for code := range 256 {
			typ, code := uint8(typ), uint8(code)
			word := uint32(0)
			switch {
			case typ == 0 || typ == 8:
				word = echoWord
			case typ == 3 && code == 4:
				word = mtuWord
			case typ == 12:
				word = pointer4 << 24
			}
			want := table[typ][code]
			name := fmt.Sprintf("ICMPv4 %d/%d", typ, code)

			body := quote6
			if want.query {
				body = quote
			}
			compareICMP(t, x, name, pt.IP(from, pt.ICMP(typ, code, word, quote)), want,
				pt.IP(to, pt.ICMP(want.typ, want.code, want.second, body)))

			// An Echo message has no extension; there its bytes are data, and
			// the byte of the length is the identifier.
			ext := pt.ICMP(typ, code, word, extended(quote))
			if !want.query {
				ext = pt.ExtendedError(typ, code, word, quote, pt.MPLS())
			}
			out := pt.ICMP(want.typ, want.code, want.second, quote6)
			switch {
			case want.query:
				out = pt.ICMP(want.typ, want.code, want.second, extended(quote))
			case want.extension:
				out = pt.ExtendedError(want.typ, want.code, want.second, quote6, pt.MPLS())
			}
			compareICMP(t, x, name+" with extension", pt.IP(from, ext), want, pt.IP(to, out))
		}
	}
}

// TestICMPTypesAndCodes6to4 is the same for ICMPv6. Byte 4, where types 1 and 3
// have the length of the quote, belongs to the MTU of type 2 and the pointer of
// type 4: what would name an extension there makes them other numbers.
func TestICMPTypesAndCodes6to4(t *testing.T) {
	x := newXlat(t, nil)
	table := icmp6Table()
	quote, quote4 := pt.IP(sent6, udp(64)), pt.IP(sent6as4, udp(64))

	for typ := range 256 {
		for code := range 256 {
			typ, code := uint8(typ), uint8(code)
			word := uint32(0)
			switch typ {
			case 128, 129:
				word = echoWord
			case 2:
				word = mtuWord
			case 4:
				word = pointer6
			}
			want := table[typ][code]
			name := fmt.Sprintf("ICMPv6 %d/%d", typ, code)

			body := quote4
			if want.query {
				body = quote
			}
			compareICMP(t, x, name, pt.IP(pt.From6(), pt.ICMP(typ, code, word, quote)), want,
				pt.IP(as4, pt.ICMP(want.typ, want.code, want.second, body)))

			ext := pt.ExtendedError(typ, code, word, quote, pt.MPLS())
			out := pt.ICMP(want.typ, want.code, want.second, quote4)
			switch {
			case want.query:
				ext = pt.ICMP(typ, code, word, extended(quote))
				out = pt.ICMP(want.typ, want.code, want.second, extended(quote))
			case want.extension:
				out = pt.ExtendedError(want.typ, want.code, want.second, quote4, pt.MPLS())
			case typ == 2: // an MTU of 16<<24 + 1400: the next hops decide
				out = pt.ICMP(want.typ, want.code, 1480, quote4)
			case typ == 4 && code == 0: // a pointer far after the header
				want = icmpOutcome{}
			}
			compareICMP(t, x, name+" with extension", pt.IP(pt.From6(), ext), want, pt.IP(as4, out))
		}
	}
}

// extended is a quote with an extension after it, without header.
func extended(quote []byte) []byte {
	body := make([]byte, 128)
	copy(body, quote)
	return append(body, pt.MPLS()...)
}

// compareICMP expects in to become out if it passes.
func compareICMP(t *testing.T, x *xlat, name string, in []byte, want icmpOutcome, out []byte) {
	t.Helper()
	got, res := x.send(in)
	switch {
	case !want.passes && (res.Verdict != translate.Drop || res.Reason != translate.ICMPType && res.Reason != translate.ICMPPointer):
		t.Errorf("%s: %v (%v), want it dropped", name, res.Verdict, res.Reason)
	case want.passes && res.Verdict != translate.Forward:
		t.Errorf("%s: %v (%v), want %d/%d", name, res.Verdict, res.Reason, want.typ, want.code)
	case want.passes:
		if diff := pt.Equal(out, got[0]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestICMPPointers4to6 translates Parameter Problems with all 256 pointers. The
// answer is worked out from the layout of the two headers: where in the IPv6
// header the field begins that took the place of the one at the pointer.
func TestICMPPointers4to6(t *testing.T) {
	x := newXlat(t, nil)
	const none = -1
	field := func(at int) int {
		switch {
		case at == 0: // version and IHL: version and traffic class
			return 0
		case at == 1: // TOS: traffic class and flow label
			return 1
		case at == 2 || at == 3: // total length: payload length
			return 4
		case at == 8: // TTL: hop limit
			return 7
		case at == 9: // protocol: next header
			return 6
		case at >= 12 && at < 16: // source
			return 8
		case at >= 16 && at < 20: // destination
			return 24
		}
		return none // identification, fragments, checksum, options, data
	}
	quote := pt.IP(sent4, udp(64))
	for at := range 256 {
		for _, code := range []uint8{0, 2} {
			for _, unused := range []uint32{0, 0xffff} {
				in := error4(12, code, uint32(at)<<24|unused, quote)
				want := field(at)
				if want == none {
					x.drop(in, translate.ICMPPointer)
					continue
				}
				out := x.forward(in)
				wantBytes(t, "type and code", out[40:42], []byte{4, 0})
				is(t, fmt.Sprintf("pointer %d", at), int(be32(out, 44)), want)
			}
		}
	}
}

// TestICMPPointers6to4 translates Parameter Problems with all pointers of 16 bits
// and with every one of the upper bits set.
func TestICMPPointers6to4(t *testing.T) {
	x := newXlat(t, nil)
	const none = -1
	field := func(at uint32) int {
		switch {
		case at == 0: // version and traffic class: version and IHL
			return 0
		case at == 1: // traffic class and flow label: TOS
			return 1
		case at == 4 || at == 5: // payload length: total length
			return 2
		case at == 6: // next header: protocol
			return 9
		case at == 7: // hop limit: TTL
			return 8
		case at >= 8 && at < 24: // source
			return 12
		case at >= 24 && at < 40: // destination
			return 16
		}
		return none // flow label, extension headers, data
	}
	quote := pt.IP(sent6, udp(8))
	check := func(at uint32) {
		t.Helper()
		in := error6(4, 0, at, quote)
		want := field(at)
		if want == none {
			x.drop(in, translate.ICMPPointer)
			return
		}
		out := x.forward(in)
		wantBytes(t, "type and code", out[20:22], []byte{12, 0})
		wantBytes(t, fmt.Sprintf("second word for pointer %d", at), out[24:28], []byte{byte(want), 0, 0, 0})
	}
	for at := range uint32(1 << 16) {
		check(at)
	}
	for bit := 16; bit < 32; bit++ {
		for low := range uint32(64) {
			check(1<<bit | low)
		}
	}
}

// TestICMPMTUs4to6 translates Fragmentation Needed with all MTUs.
func TestICMPMTUs4to6(t *testing.T) {
	quote := pt.IP(sent4, udp(8))
	for _, c := range []struct{ mtu4, mtu6 int }{{1500, 1500}, {9000, 9000}, {1400, 9000}, {65535, 65535}, {68, 1280}} {
		x := newXlat(t, func(s *settings) { s.MTU4, s.MTU6 = c.mtu4, c.mtu6 })
		step := 1
		if c.mtu4 != 1500 {
			step = 31
		}
		for mtu := 1; mtu < 1<<16; mtu += step {
			out, res := x.send(error4(3, 4, uint32(mtu), quote))
			if res.Verdict != translate.Forward {
				t.Fatalf("MTU %d: %v (%v)", mtu, res.Verdict, res.Reason)
			}
			want := max(1280, min(mtu+20, c.mtu6, c.mtu4+20))
			if got := int(be32(out[0], 44)); got != want {
				t.Fatalf("MTU %d between %d and %d: %d, want %d", mtu, c.mtu4, c.mtu6, got, want)
			}
		}
	}
}

// TestICMPMTUs6to4 translates Packet Too Big with all MTUs up to 70 000, and
// with every one of the upper bits set, about a packet without and one with
// Fragment Header.
func TestICMPMTUs6to4(t *testing.T) {
	whole := pt.IP(sent6, udp(8))
	fragment := pt.IP(sent6, pt.Fragment(7, 9, false, pt.Raw(17, pt.Bytes(8, 0))))
	for _, c := range []struct{ mtu4, mtu6 int }{{1500, 1500}, {9000, 9000}, {1400, 9000}, {65535, 65535}, {68, 1280}} {
		x := newXlat(t, func(s *settings) { s.MTU4, s.MTU6 = c.mtu4, c.mtu6 })
		check := func(mtu int64) {
			for shrink, quote := range map[int64][]byte{20: whole, 28: fragment} {
				out, res := x.send(error6(2, 0, uint32(mtu), quote))
				if mtu < 88 {
					is(t, "result", res, translate.Result{Verdict: translate.Drop, Reason: translate.ICMPMTU})
					continue
				}
				if res.Verdict != translate.Forward {
					t.Fatalf("MTU %d: %v (%v)", mtu, res.Verdict, res.Reason)
				}
				want := uint32(max(68, min(mtu-shrink, int64(c.mtu4), int64(c.mtu6)-shrink)))
				if got := be32(out[0], 24); got != want { // the upper half of the word is 0
					t.Fatalf("MTU %d between %d and %d: %d, want %d", mtu, c.mtu4, c.mtu6, got, want)
				}
			}
		}
		step := int64(1)
		if c.mtu4 != 1500 {
			step = 31
		}
		for mtu := int64(0); mtu < 70_000; mtu += step {
			check(mtu)
		}
		for bit := 17; bit < 32; bit++ {
			for _, low := range []int64{0, 1280, 1500, 65535} {
				check(1<<bit | low)
			}
		}
	}
}
