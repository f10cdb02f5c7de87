package translate_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// N4 is the IPv4 address of a second IPv6 host; N4in6 is what M6 sends to for it.
var (
	n4    = netip.MustParseAddr("192.0.2.7")
	n6    = netip.MustParseAddr("2001:db8:7::7")
	n4in6 = netip.MustParseAddr("2001:db8:64::c000:207")
	m4in6 = netip.MustParseAddr("2001:db8:64::c000:206")
)

func hairpinWorker(t *testing.T, edit func(*translate.Config)) *translate.Worker {
	return newWorker(t, func(c *translate.Config, tc *translate.TableConfig) {
		tc.Maps = append(tc.Maps, translate.Map{IPv4: netip.PrefixFrom(n4, 32), IPv6: netip.PrefixFrom(n6, 128)})
		if edit != nil {
			edit(c)
		}
	})
}

// TestHairpinBounds: the size of a hairpinned packet to the byte, with and without
// Fragment Header, and what the error about a larger one says.
func TestHairpinBounds(t *testing.T) {
	h := packettest.Header{Src: packettest.M6, Dst: n4in6}
	whole := func(n int) []byte { return packettest.IP(h, packettest.UDP(1, 2, make([]byte, n-48))) }
	first := func(n int) []byte {
		return packettest.IP(h, packettest.Fragment(7, 0, true, packettest.Part(packettest.UDP(1, 2, make([]byte, 2000)), 0, n-48)))
	}
	for _, c := range []struct {
		name string
		pkt  []byte
		mtu  int
		fits bool
	}{
		{"whole", whole(1280), 1280, true},
		{"whole-one-over", whole(1281), 1280, false},
		{"whole-of-larger-mtu", whole(1300), 1300, true},
		{"fragment", first(1280), 1280, true},
		{"fragment-8-over", first(1288), 1280, false},
		{"fragment-one-over", first(1288), 1287, false},
		{"fragment-of-larger-mtu", first(1288), 1288, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := hairpinWorker(t, func(cfg *translate.Config) { cfg.MTU6 = c.mtu })
			p := packettest.Buffer(c.pkt)
			res := w.Translate(0, &p)
			if c.fits {
				if res != (translate.Result{Verdict: translate.Forward, Reason: translate.Hairpinned}) {
					t.Errorf("%v (%v)", res.Verdict, res.Reason)
				}
				return
			}
			if res != (translate.Result{Verdict: translate.Reply, Reason: translate.TooBig}) {
				t.Fatalf("%v (%v)", res.Verdict, res.Reason)
			}
			b := p.Bytes()
			if b[40] != 2 || b[41] != 0 || int(binary.BigEndian.Uint32(b[44:])) != c.mtu {
				t.Errorf("error %x, want type 2, code 0, MTU %d", b[40:48], c.mtu)
			}
		})
	}
}

// TestHairpinKeepsLowIdentification: two translations keep the low 16 bits of an
// identification, all of them, and no others.
func TestHairpinKeepsLowIdentification(t *testing.T) {
	w := hairpinWorker(t, nil)
	for _, id := range []uint32{0x12345678, 0xffffffff, 0x00010001, 0xabcd0000, 0x8000} {
		p := packettest.Buffer(packettest.IP(packettest.Header{Src: packettest.M6, Dst: n4in6},
			packettest.Fragment(id, 0, true, packettest.Part(packettest.UDP(1, 2, make([]byte, 64)), 0, 32))))
		if res := w.Translate(0, &p); res.Reason != translate.Hairpinned {
			t.Fatal(res)
		}
		if got := binary.BigEndian.Uint32(p.Bytes()[44:]); got != id&0xffff {
			t.Errorf("identification %#x becomes %#x", id, got)
		}
	}
}

// TestHairpinLoopNeedsBoth: a packet loops if neither address changes. One address may
// stay as it is.
func TestHairpinLoopNeedsBoth(t *testing.T) {
	inside := netip.MustParseAddr("2001:db8:64::c000:209")
	w := newWorker(t, func(_ *translate.Config, tc *translate.TableConfig) {
		tc.Maps = append(tc.Maps, translate.Map{IPv4: netip.PrefixFrom(n4, 32), IPv6: netip.PrefixFrom(n6, 128)})
		tc.Pools = []translate.Pool{{ // a host whose address says what its lease says
			Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.9/32")},
			Dynamic:  fixedLeases{inside: netip.MustParseAddr("192.0.2.9")},
		}}
	})
	forward := translate.Result{Verdict: translate.Forward, Reason: translate.Hairpinned}
	for _, c := range []struct {
		name                     string
		src, dst, newSrc, newDst netip.Addr
		want                     translate.Result
	}{
		{"source-stays", packettest.H4in6, n4in6, packettest.H4in6, n6, forward},
		{"destination-stays", packettest.M6, inside, m4in6, inside, forward},
		{"both-change", packettest.M6, n4in6, m4in6, n6, forward},
		{"both-stay", packettest.H4in6, inside, packettest.H4in6, inside, translate.Result{Verdict: translate.Reply, Reason: translate.HairpinLoop}},
	} {
		p := packettest.Buffer(packettest.IP(packettest.Header{Src: c.src, Dst: c.dst}, packettest.UDP(1, 2, nil)))
		res := w.Translate(0, &p)
		if res != c.want {
			t.Errorf("%s: %v (%v), want %v", c.name, res.Verdict, res.Reason, c.want.Verdict)
		}
		want := c.newSrc.String() + " > " + c.newDst.String()
		if got := ends(p.Bytes()); res.Verdict == translate.Forward && got != want {
			t.Errorf("%s: %s, want %s", c.name, got, want)
		}
	}
}

// TestHairpinErrors: the second word of a hairpinned error is what two translations make
// of it: a pointer goes through both tables.
func TestHairpinErrors(t *testing.T) {
	w := hairpinWorker(t, nil)
	quote := packettest.IP(packettest.Header{Src: m4in6, Dst: n6}, packettest.UDP(1, 2, nil))
	type message struct {
		typ, code uint8
		word      uint32
	}
	check := func(in, want message) {
		t.Helper()
		p := packettest.Buffer(packettest.IP(packettest.Header{Src: n6, Dst: m4in6}, packettest.ICMP(in.typ, in.code, in.word, quote)))
		if res := w.Translate(0, &p); res != (translate.Result{Verdict: translate.Forward, Reason: translate.Hairpinned}) {
			t.Errorf("%v: %v (%v)", in, res.Verdict, res.Reason)
			return
		}
		b := p.Bytes()
		if err := packettest.Check(b); err != nil {
			t.Errorf("%v: %v", in, err)
		}
		if got := (message{b[40], b[41], binary.BigEndian.Uint32(b[44:])}); got != want {
			t.Errorf("%v becomes %v, want %v", in, got, want)
		}
	}
	there := map[uint32]uint32{0: 0, 1: 1, 4: 2, 5: 2, 6: 9, 7: 8}
	back := map[uint32]uint32{0: 0, 1: 1, 2: 4, 8: 7, 9: 6, 12: 8, 16: 24}
	for at := range uint32(40) {
		to, found := there[at]
		if at >= 8 {
			to, found = 12+(at-8)/16*4, true
		}
		if found {
			check(message{4, 0, at}, message{4, 0, back[to]})
		}
	}
	check(message{4, 1, 40}, message{4, 1, 6})
	check(message{1, 0, 0}, message{1, 0, 0})
	check(message{1, 1, 0}, message{1, 1, 0})
	check(message{1, 3, 0}, message{1, 0, 0})
	check(message{1, 4, 0}, message{1, 4, 0})
	check(message{3, 0, 0}, message{3, 0, 0})
	check(message{3, 1, 0}, message{3, 1, 0})
	for _, mtu := range [][2]uint32{{1279, 1280}, {1280, 1280}, {1281, 1281}, {1499, 1499}, {1500, 1500}, {1501, 1500}, {1 << 31, 1500}} {
		check(message{2, 0, mtu[0]}, message{2, 0, mtu[1]})
	}
}

// TestHairpinnedEcho: an Echo message that is hairpinned keeps its type.
func TestHairpinnedEcho(t *testing.T) {
	w := hairpinWorker(t, nil)
	for _, p := range []packettest.Payload{packettest.EchoRequest(7, 8, []byte("ping")), packettest.EchoReply(7, 8, []byte("pong"))} {
		in := packettest.Buffer(packettest.IP(packettest.Header{Src: packettest.M6, Dst: n4in6}, p))
		if res := w.Translate(0, &in); res.Reason != translate.Hairpinned {
			t.Fatal(res)
		}
		if d := packettest.Equal(packettest.IP(packettest.Header{Src: m4in6, Dst: n6, TTL: 63}, p), in.Bytes()); d != "" {
			t.Error(d)
		}
	}
}

// TestSimpleHairpinQuotes: with simple hairpinning, the error of the host that was sought
// comes from inside the prefix, also if it quotes no more than an IPv4 header.
func TestSimpleHairpinQuotes(t *testing.T) {
	w := hairpinWorker(t, func(c *translate.Config) { c.Hairpin = translate.HairpinSimple })
	quote := packettest.IP(packettest.Header{Src: packettest.M4, Dst: n4}, packettest.UDP(1, 2, nil))
	for n := range len(quote) + 1 {
		p := packettest.Buffer(packettest.IP(packettest.Header{Src: n4, Dst: packettest.M4}, packettest.ICMP(3, 3, 0, quote[:n])))
		res := w.Translate(0, &p)
		if n < 20 {
			if res != (translate.Result{Verdict: translate.Drop, Reason: translate.ICMPQuote}) {
				t.Errorf("%d bytes: %v (%v)", n, res.Verdict, res.Reason)
			}
			continue
		}
		want := n4in6.String() + " > " + packettest.M6.String()
		if got := ends(p.Bytes()); res.Verdict != translate.Forward || got != want {
			t.Errorf("%d bytes: %v (%v), %s, want %s", n, res.Verdict, res.Reason, got, want)
		}
	}
}
