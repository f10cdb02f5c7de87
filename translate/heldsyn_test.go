package translate_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// syn is a SYN to the shared address from a port.
func syn(from uint16) []byte {
	return pt.IP(h4(pt.R4, pool, 64), segment(from, 1001, flagSYN, nil))
}

// TestHeldSYN: a SYN that no host expects is answered after 6 seconds, not before and
// once: RFC 5382 REQ-4. It was dropped, so that its sender waited for minutes.
func TestHeldSYN(t *testing.T) {
	x := newSharing(t, nil)
	start := x.now
	x.is(syn(7), translate.Drop, translate.UnsolicitedSYN)
	ps := translate.NewPackets(1, 1500)
	n, next := x.w.Emit(x.now, ps)
	if wait := next - x.now; n != 0 || wait < 6*time.Second || wait > 7*time.Second {
		t.Fatalf("%d packets, next in %v", n, wait)
	}
	x.now += time.Second
	x.is(syn(7), translate.Drop, translate.UnsolicitedSYN) // sent again: it is held already
	x.now = next - 1
	if got := x.emits(x.w); len(got) != 0 {
		t.Fatalf("an answer after %v", x.now-start)
	}
	x.now = next
	got := x.emits(x.w)
	if len(got) != 1 {
		t.Fatalf("%d answers", len(got))
	}
	samePacket(t, got[0], pt.IP(pt.Header{Src: pt.X4, Dst: pt.R4, TTL: 64, TOS: 0xc0}, pt.ICMP(3, 3, 0, syn(7))))
	x.counted(2, translate.V4ToV6, translate.Drop, translate.UnsolicitedSYN)
	x.counted(1, translate.NoFamily, translate.Reply, translate.UnsolicitedSYN)
	if _, next := x.w.Emit(x.now, ps); next != translate.Never {
		t.Errorf("next at %v", next)
	}
}

// TestHeldSYNCancelled: a host that opens the same connection itself gets it, and the SYN that
// was held is dropped silently.
func TestHeldSYNCancelled(t *testing.T) {
	x := newSharing(t, func(c *sharingConfig) { c.session.Filtering = session.AddressDependent })
	p := port(x.becomes(pt.IP(h6(host1, pt.H4in6, 64), segment(1001, 80, flagSYN, nil)), translate.Translated))
	in := pt.IP(h4(pt.R4, pool, 64), segment(7, p, flagSYN, nil))
	x.is(in, translate.Drop, translate.UnsolicitedSYN)
	x.golden(pt.IP(h6(host1, pt.R4in6, 64), segment(1001, 7, flagSYN, nil)), pt.IP(pt.Header{Src: pool, Dst: pt.R4, TTL: 63}, segment(p, 7, flagSYN, nil)))
	x.golden(in, pt.IP(h6(pt.R4in6, host1, 63), segment(7, 1001, flagSYN, nil)))
	for range 10 {
		x.now += time.Second
		if got := x.emits(x.w); len(got) != 0 {
			t.Fatalf("%x", got)
		}
	}
}

// TestHeldSYNBounds: those above the limit are dropped silently, and the limit can change.
// An answer needs an own address and the budget of errors, as all do.
func TestHeldSYNBounds(t *testing.T) {
	answers := func(x *sharing, n int) int {
		for i := range n {
			x.is(syn(uint16(i+1)), translate.Drop, translate.UnsolicitedSYN)
		}
		x.now += 7 * time.Second
		return len(x.emits(x.w))
	}
	x := newSharing(t, nil)
	if n := answers(x, 30); n != 10 {
		t.Errorf("%d answers, want 10", n)
	}
	if n := answers(x, 3); n != 3 {
		t.Errorf("%d answers, want 3", n)
	}
	for name, c := range map[string]struct {
		edit func(c *sharingConfig)
		want int
	}{
		"two":      {func(c *sharingConfig) { c.session.Limits.HeldSYN = 2 }, 2},
		"off":      {func(c *sharingConfig) { c.session.Limits.HeldSYN = -1 }, 0},
		"no-error": {func(c *sharingConfig) { c.ErrorRate = -1 }, 0},
		"no-own":   {func(c *sharingConfig) { c.IPv4 = netip.Addr{} }, 0},
	} {
		x := newSharing(t, c.edit)
		if c.want == 0 && name == "off" {
			x.is(syn(1), translate.Drop, translate.NoSession)
			continue
		}
		if n := answers(x, 5); n != c.want {
			t.Errorf("%s: %d answers, want %d", name, n, c.want)
		}
	}
}

// TestHeldSYNHairpin: a host of the same translator is answered, too.
func TestHeldSYNHairpin(t *testing.T) {
	x := newSharing(t, nil)
	out := pt.IP(h6(host1, poolIn6, 64), segment(1001, 9999, flagSYN, nil))
	x.is(out, translate.Drop, translate.UnsolicitedSYN)
	x.now += 7 * time.Second
	got := x.emits(x.w)
	if len(got) != 1 {
		t.Fatalf("%d answers", len(got))
	}
	samePacket(t, got[0], pt.IP(pt.Header{Src: pt.X6, Dst: host1, TTL: 64}, pt.ICMP(1, 4, 0, out)))
}

// TestHeldSYNOffload: a SYN whose checksum is incomplete is quoted with a complete one, and
// one with much data is quoted in part.
func TestHeldSYNOffload(t *testing.T) {
	for _, n := range []int{0, 100, 1400} {
		for _, gso := range []int{-1, 0, 40} {
			x := newSharing(t, nil)
			in := pt.IP(h4(pt.R4, pool, 64), segment(7, 1001, flagSYN, pt.Bytes(n, 1)))
			p := pt.Buffer(in)
			if gso >= 0 && n > 0 || gso == 0 {
				p.Offload = pt.Partial(p.Bytes(), gso)
			}
			x.w.Translate(x.now, &p)
			x.now += 7 * time.Second
			got := x.emits(x.w)
			if n == 1400 && gso >= 0 {
				if len(got) != 0 {
					t.Error("a checksum that cannot be completed is answered")
				}
				continue
			}
			if len(got) != 1 || pt.Check(got[0]) != nil {
				t.Fatalf("%d bytes, segments of %d: %x, %v", n, gso, got, pt.Check(got[0]))
			}
			if len(got[0]) > 576 {
				t.Errorf("an answer of %d bytes", len(got[0]))
			}
			if gso <= 0 && !bytes.HasPrefix(in, got[0][28:]) {
				t.Errorf("%d bytes: the quote is %x", n, got[0][28:])
			}
		}
	}
}

// TestHeldSYNAllocs: a SYN that is held, and its answer, cost no memory.
func TestHeldSYNAllocs(t *testing.T) {
	x := newSharing(t, func(c *sharingConfig) { c.ErrorRate = translate.UnlimitedErrors })
	in, ps := syn(7), translate.NewPackets(2, 1500)
	if n := testing.AllocsPerRun(50, func() {
		ps[0].Set(in)
		x.w.TranslateBatch(x.now, ps[:1])
		x.now += 7 * time.Second
		if n, _ := x.w.Emit(x.now, ps); n != 1 {
			t.Fatalf("%d answers", n)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestProbes: a connection that was not used for two hours is probed, and lives on if the
// host answers: RFC 6146 §3.5.2.2.
func TestProbes(t *testing.T) {
	for _, most := range []int{0, 10} {
		x := newSharing(t, func(c *sharingConfig) { c.session.MaxProbes = most })
		for i := range uint16(3) {
			p := port(x.becomes(pt.IP(h6(host1, pt.H4in6, 64), segment(1001+i, 80, flagSYN, nil)), translate.Translated))
			x.becomes(pt.IP(h4(pt.H4, pool, 64), segment(80, p, flagSYN|flagACK, nil)), translate.Translated)
		}
		ps := translate.NewPackets(2, 1500)
		if _, next := x.w.Emit(x.now, ps); (next == x.now+time.Second) != (most > 0) {
			t.Errorf("next at %v", next) // others find what is to be probed, so it is asked for
		}
		x.now += 2*time.Hour + 2*time.Second
		for x.table.Expire(x.now) {
		}
		got := x.emits(x.w)
		if len(got) != min(most, 3) {
			t.Fatalf("%d probes", len(got))
		}
		for i, b := range got {
			want := false
			for j := range uint16(3) {
				want = want || pt.Equal(pt.IP(h6(pt.H4in6, host1, 64), probeOf(80, 1001+j)), b) == ""
			}
			if !want {
				t.Errorf("probe %d: %x", i, b)
			}
		}
		x.counted(uint64(len(got)), translate.NoFamily, translate.Forward, translate.Translated)
		if most > 0 {
			x.becomes(pt.IP(h6(host1, pt.H4in6, 64), segment(1001, 80, flagACK, nil)), translate.Translated)
			if n := x.table.Stats().ByState["established"]; n != 1 {
				t.Errorf("%d connections are established", n)
			}
		}
	}
}

// probeOf is a TCP segment with ACK alone, and zeros as its numbers and window.
func probeOf(src, dst uint16) pt.Payload {
	return func(a, b netip.Addr) (uint8, []byte) {
		l4 := []byte{byte(src >> 8), byte(src), byte(dst >> 8), byte(dst), 0, 0, 0, 0, 0, 0, 0, 0, 5 << 4, flagACK, 0, 0, 0, 0, 0, 0}
		sum := ^pt.Sum(pt.Pseudo(a, b, 6, len(l4)), l4)
		l4[16], l4[17] = byte(sum>>8), byte(sum)
		return 6, l4
	}
}
