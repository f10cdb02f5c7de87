package rfc

import (
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// is compares one value of a packet with the expected one.
func is[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// goldens translates the golden packets with the given names ("V01") and
// compares what comes out with what is written down.
func goldens(t *testing.T, ids ...string) {
	t.Helper()
	for _, id := range ids {
		g, x := golden(t, id)
		if diff := g.Diff(x.forward(g.In)); diff != "" {
			t.Errorf("%s: %s", g.Name, diff)
		}
	}
}

// drop expects in to be dropped silently, for the given reason.
func (x *xlat) drop(in []byte, why translate.Reason) {
	x.t.Helper()
	if got := x.none(in); got != why {
		x.t.Errorf("dropped for %v, want %v\nin %x", got, why, in)
	}
}

// prohibited expects in, which cannot be translated for the given reason, to be
// answered with 3/13 or 1/1: RFC 7915 §4.4, §5.4.
func (x *xlat) prohibited(in []byte, why translate.Reason) {
	x.t.Helper()
	out, res := x.checked(in)
	if res != (translate.Result{Verdict: translate.Reply, Reason: why}) {
		x.t.Fatalf("%v (%v), want an answer about %v\nin %x", res.Verdict, res.Reason, why, in)
	}
	want := []byte{3, 13}
	b := out[0][20:]
	if in[0]>>4 == 6 {
		want, b = []byte{1, 1}, out[0][40:]
	}
	wantBytes(x.t, "ICMP type and code", b[:2], want)
}

// refused expects in not to be translated, for the given reason, answered or not.
func (x *xlat) refused(in []byte, why translate.Reason) {
	x.t.Helper()
	out, res := x.checked(in)
	if res.Verdict != translate.Drop && res.Verdict != translate.Reply || res.Reason != why {
		x.t.Fatalf("%v (%v), want it refused for %v\nin  %x\nout %x", res.Verdict, res.Reason, why, in, out)
	}
}

// becomes expects in to be translated to want.
func (x *xlat) becomes(in, want []byte) {
	x.t.Helper()
	wantPacket(x.t, x.forward(in), want)
}

// with returns h as edit leaves it.
func with(h pt.Header, edit func(h *pt.Header)) pt.Header {
	edit(&h)
	return h
}

// The headers that pt.From4 and pt.From6 become. Identification 0 stands for one
// that the translator generates.
var (
	as6 = pt.Header{Src: pt.H4in6, Dst: pt.M6, TTL: 63}
	as4 = pt.Header{Src: pt.M4, Dst: pt.H4, TTL: 63}
)

// udp is a datagram with n bytes of data.
func udp(n int) pt.Payload { return pt.UDP(5000, 6001, pt.Bytes(n, 1)) }

// The packets that ICMP errors are about, as the router sees them that sends
// the error. The header of each has 60 hops left.
var (
	// What M6 sent to H4, on the IPv4 side and on the IPv6 side.
	sent4    = pt.Header{Src: pt.M4, Dst: pt.H4, TTL: 60}
	sent4as6 = pt.Header{Src: pt.M6, Dst: pt.H4in6, TTL: 60}
	// What H4 sent to M6, on the IPv6 side and on the IPv4 side.
	sent6    = pt.Header{Src: pt.H4in6, Dst: pt.M6, TTL: 60}
	sent6as4 = pt.Header{Src: pt.H4, Dst: pt.M4, TTL: 60}
)

// error4 is an ICMPv4 error that R4 sends to M4, error4as6 what M6 gets to see.
func error4(typ, code uint8, word uint32, quote []byte) []byte {
	return pt.IP(pt.Header{Src: pt.R4, Dst: pt.M4}, pt.ICMP(typ, code, word, quote))
}

func error4as6(typ, code uint8, word uint32, quote []byte) []byte {
	return pt.IP(pt.Header{Src: pt.R4in6, Dst: pt.M6, TTL: 63}, pt.ICMP(typ, code, word, quote))
}

// error6 is an ICMPv6 error that M6 sends to H4, error6as4 what H4 gets to see.
func error6(typ, code uint8, word uint32, quote []byte) []byte {
	return pt.IP(pt.From6(), pt.ICMP(typ, code, word, quote))
}

func error6as4(typ, code uint8, word uint32, quote []byte) []byte {
	return pt.IP(as4, pt.ICMP(typ, code, word, quote))
}

// ip4 views an IPv4 packet.
type ip4 []byte

func (b ip4) totalLen() int    { return int(be16(b, 2)) }
func (b ip4) id() uint16       { return be16(b, 4) }
func (b ip4) fragWord() uint16 { return be16(b, 6) } // 0, DF, MF, 13 bits of offset
func (b ip4) df() bool         { return b[6]&0x40 != 0 }
func (b ip4) ttl() uint8       { return b[8] }
func (b ip4) proto() uint8     { return b[9] }

// ip6 views an IPv6 packet.
type ip6 []byte

func (b ip6) tc() uint8       { return uint8(be16(b, 0) >> 4) }
func (b ip6) label() uint32   { return be32(b, 0) & 0xfffff }
func (b ip6) payloadLen() int { return int(be16(b, 4)) }
func (b ip6) next() uint8     { return b[6] }
func (b ip6) hopLimit() uint8 { return b[7] }
func (b ip6) frag() fragHdr   { return fragHdr(b[40:48]) }

// fragHdr views a Fragment Header.
type fragHdr []byte

func (f fragHdr) next() uint8  { return f[0] }
func (f fragHdr) word() uint16 { return be16(f, 2) } // 13 bits of offset, 2 reserved, M
func (f fragHdr) off8() int    { return int(f.word() >> 3) }
func (f fragHdr) more() bool   { return f.word()&1 != 0 }
func (f fragHdr) id() uint32   { return be32(f, 4) }
