package fuzz

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/steppe-nat64/steppe/translate"
)

// isPrefix6052 says by the words of RFC 6052 §2.2 whether addresses can be
// embedded in p: one of six lengths, bits 64 to 71 zero, nothing after the
// length, and for hosts that can be.
func isPrefix6052(p netip.Prefix) bool {
	if !p.IsValid() || !p.Addr().Is6() || p.Addr().Zone() != "" || p.Addr().Is4In6() {
		return false
	}
	a, b := p.Addr(), p.Addr().As16()
	return slices.Contains([]int{32, 40, 48, 56, 64, 96}, p.Bits()) && b[8] == 0 && p.Masked() == p &&
		!a.IsMulticast() && !a.IsLinkLocalUnicast() && !a.IsLoopback() && !a.IsUnspecified()
}

// embedText composes an address by hand: the hexadecimal digits of prefix, IPv4
// address and zeros in a row, and two zeros at bits 64 to 71.
func embedText(p netip.Prefix, v4 netip.Addr) netip.Addr {
	digits := strings.ReplaceAll(p.Addr().StringExpanded(), ":", "")[:p.Bits()/4]
	b := v4.As4()
	if p.Bits() == 96 {
		digits += fmt.Sprintf("%x", b[:])
	} else {
		for _, v := range b {
			if len(digits) == 16 {
				digits += "00"
			}
			digits += fmt.Sprintf("%02x", v)
		}
	}
	digits += strings.Repeat("0", 32-len(digits))
	var words []string
	for w := range slices.Chunk([]byte(digits), 4) {
		words = append(words, string(w))
	}
	return netip.MustParseAddr(strings.Join(words, ":"))
}

// FuzzRFC6052: a prefix and two addresses, as text. Embed and Extract take just
// the prefixes of RFC 6052 §2.2 and addresses of the right family; what Embed
// composes is what comes of writing the digits in a row, reads the same after
// going through text, plain and with dotted quad, and comes back from Extract,
// also with any u byte and suffix; Extract refuses what lies outside, and
// NewTable takes a prefix exactly if Embed does.
func FuzzRFC6052(f *testing.F) {
	// RFC 6052 §2.4, a row each.
	f.Add("2001:db8::/32", "192.0.2.33", "2001:db8:c000:221::", byte(0))
	f.Add("2001:db8:100::/40", "192.0.2.33", "2001:db8:1c0:2:21::", byte(1))
	f.Add("2001:db8:122::/48", "192.0.2.33", "2001:db8:122:c000:2:2100::", byte(255))
	f.Add("2001:db8:122:300::/56", "192.0.2.33", "2001:db8:122:3c0:0:221::", byte(2))
	f.Add("2001:db8:122:344::/64", "192.0.2.33", "2001:db8:122:344:c0:2:2100::", byte(3))
	f.Add("2001:db8:122:344::/96", "192.0.2.33", "2001:db8:122:344::192.0.2.33", byte(4))

	f.Add("64:ff9b::/96", "255.255.255.255", "64:ff9b::8.8.8.8", byte(5))     // the well-known prefix
	f.Add("2001:db8:0:0:100::/96", "0.0.0.0", "2001:db8:0:0:100::1", byte(6)) // u byte not zero
	f.Add("::/96", "1.2.3.4", "::1.2.3.4", byte(7))                           // IPv4-compatible: not unicast
	f.Add("fe80::/64", "1.2.3.4", "fe80::1", byte(8))                         // link-local
	f.Add("2001:db8::1/64", "1.2.3.4", "2001:db9::", byte(9))                 // bits after the length; outside
	f.Add("::ffff:0:0/96", "::ffff:1.2.3.4", "::ffff:1.2.3.4", byte(10))      // IPv4-mapped
	f.Add("2001:db8::%eth0/64", "01.2.3.4", "2001:db8::%1", byte(11))         // zones
	f.Fuzz(func(t *testing.T, prefix, v4, v6 string, junk byte) {
		p, _ := netip.ParsePrefix(prefix)
		a4, _ := netip.ParseAddr(v4)
		a6, _ := netip.ParseAddr(v6)

		got, err := translate.Embed(p, a4)
		if want := isPrefix6052(p) && a4.Is4(); (err == nil) != want {
			t.Fatalf("Embed(%s, %s) is %s (%v)", p, a4, got, err)
		}
		if _, terr := translate.NewTable(translate.TableConfig{Prefixes: []netip.Prefix{p}}); (terr == nil) != isPrefix6052(p) {
			t.Fatalf("NewTable of %s: %v", p, terr)
		}
		back, xerr := translate.Extract(p, a6)
		if inside := isPrefix6052(p) && p.Contains(a6); (xerr == nil) != inside {
			t.Fatalf("Extract(%s, %s) is %s (%v)", p, a6, back, xerr)
		}
		if xerr == nil {
			again, err := translate.Embed(p, back)
			if err != nil || !sameBut(p, again, a6) {
				t.Errorf("%s in %s holds %s, which embedded is %s (%v)", a6, p, back, again, err)
			}
		}
		if err != nil {
			return
		}
		if want := embedText(p, a4); got != want {
			t.Errorf("Embed(%s, %s) is %s, want %s", p, a4, got, want)
		}
		texts := []string{got.String(), got.StringExpanded()}
		if p.Bits() == 96 {
			texts = append(texts, strings.TrimSuffix(p.Addr().StringExpanded(), "0000:0000")+a4.String())
		}
		for _, text := range texts {
			if a, err := netip.ParseAddr(text); err != nil || a != got {
				t.Errorf("%s as text is %s, and read again %s", got, text, a)
			}
		}
		if p.Bits() < 96 {
			b := got.As16()
			if p.Bits() < 64 {
				b[8] = junk
			}
			b[13] |= junk & suffix(p, 13)
			b[15] = junk
			got = netip.AddrFrom16(b)
		}
		if a, err := translate.Extract(p, got); err != nil || a != a4 {
			t.Errorf("%s in %s comes back from %s as %s (%v)", a4, p, got, a, err)
		}
	})
}

// suffix is 0xff if byte i of an address lies after the IPv4 address that p
// embeds, 0 if not.
func suffix(p netip.Prefix, i int) byte {
	end := p.Bits()/8 + 4
	if p.Bits() < 96 {
		end++ // the u byte, in the middle or before it
	}
	if i >= end {
		return 0xff
	}
	return 0
}

// sameBut reports whether two addresses in p are equal but for u byte and
// suffix.
func sameBut(p netip.Prefix, a, b netip.Addr) bool {
	x, y := a.As16(), b.As16()
	for i := range x {
		if x[i] != y[i] && (i != 8 || p.Bits() == 96) && suffix(p, i) == 0 {
			return false
		}
	}
	return true
}
