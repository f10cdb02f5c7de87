package rfc

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// emitted returns what is emitted now, into buffers of an MTU.
func (g *nat64) emitted() (out [][]byte) {
	g.t.Helper()
	ps := translate.NewPackets(4, 1500)
	for {
		n, next := g.w.Emit(g.now, ps)
		for i := range ps[:n] {
			if ps[i].Result.Verdict != translate.Drop {
				out = append(out, bytes.Clone(ps[i].Bytes()))
			}
		}
		if next > g.now {
			return out
		}
	}
}

// arrives sends fragments, with time before each but the first, and returns the packet
// that arrives, or nil if not all of it does.
func (g *nat64) arrives(gap time.Duration, in ...[]byte) []byte {
	g.t.Helper()
	var got [][]byte
	for i, b := range in {
		if i > 0 {
			g.now += gap
		}
		out, res := g.send(b)
		if res.Verdict != translate.Drop {
			got = append(got, out...)
		}
		got = append(got, g.emitted()...)
	}
	offset := func(b []byte) int {
		if b[0]>>4 == 4 {
			return int(be16(b, 6) & 0x1fff)
		}
		return int(be16(b, 42) >> 3)
	}
	slices.SortFunc(got, func(a, b []byte) int { return offset(a) - offset(b) })
	whole, err := pt.Reassemble(got)
	if err != nil {
		return nil
	}
	return whole
}

// large4 and large6 are a packet of the server, or the host, in two fragments, and what
// arrives.
func (f *flow) large4(p func(sport, dport uint16) pt.Payload) (in [][]byte, want []byte) {
	h := between(f.server, f.at.Addr().String())
	h.DF, h.ID = false, 7
	in = pt.Fragments(pt.IP(h, p(f.remotePort(), f.at.Port())), 1276, 7)
	h = between(f.serverPrefix+f.server, f.host)
	h.TTL = 63
	return in, pt.IP(h, p(f.remotePort(), f.port))
}

func (f *flow) large6(p func(sport, dport uint16) pt.Payload) (in [][]byte, want []byte) {
	in = pt.Fragments(pt.IP(between(f.host, f.serverPrefix+f.server), p(f.port, f.remotePort())), 1280, 7)
	h := between(f.at.Addr().String(), f.server)
	h.TTL, h.DF, h.ID = 63, false, 7
	return in, pt.IP(h, p(f.at.Port(), f.remotePort()))
}

// TestRFC6146Fragments is §3.4 for fragments.
func TestRFC6146Fragments(t *testing.T) {
	data := pt.Bytes(2000, 0)
	udp := func(sport, dport uint16) pt.Payload { return pt.UDP(sport, dport, data) }
	tcp := func(sport, dport uint16) pt.Payload { return pt.Segment(sport, dport, pt.FlagACK, data) }
	// flows has both directions of a protocol.
	each := func(t *testing.T, do func(t *testing.T, g *nat64, in [][]byte, want []byte), changes ...change) {
		t.Helper()
		for _, proto := range []uint8{protoUDP, protoTCP} {
			p, script := udp, "6"
			if proto == protoTCP {
				p, script = tcp, "6S 4SA"
			}
			for _, large := range []func(f *flow, p func(uint16, uint16) pt.Payload) ([][]byte, []byte){(*flow).large4, (*flow).large6} {
				g := newNAT64(t, changes...)
				in, want := large(g.flow(proto, hostA1, 5000, server, 80).play(script), p)
				do(t, g, in, want)
			}
		}
	}
	row(t, "6146-3.4-03", func(t *testing.T) {
		for _, c := range []struct {
			timeout, gap time.Duration
			arrives      bool
		}{{0, 0, true}, {0, 1900 * time.Millisecond, true}, {0, 2100 * time.Millisecond, false}, {5 * time.Second, 4900 * time.Millisecond, true}, {5 * time.Second, 5100 * time.Millisecond, false}} {
			configured := func(s *settings, _ *session.Config) { s.FragmentTimeout = c.timeout }
			each(t, func(t *testing.T, g *nat64, in [][]byte, want []byte) {
				reversed := slices.Clone(in)
				slices.Reverse(reversed)
				for _, order := range [][][]byte{in, reversed} {
					got := g.arrives(c.gap, order...)
					if (got != nil) != c.arrives {
						t.Errorf("%v, gap %v: arrives %v", c.timeout, c.gap, got != nil)
					} else if got != nil {
						wantPacket(t, got, want)
					}
					g.now += time.Minute
					g.emitted()
				}
			}, configured)
		}
		s := pt.Config()
		s.FragmentTimeout = 1999 * time.Millisecond
		if _, err := translate.New(s, new(translate.Table)); err == nil {
			t.Error("less than FRAGMENT_MIN is allowed")
		}
		// Memory is bounded: of many packets whose first fragment is missing some wait.
		g := newNAT64(t, func(s *settings, _ *session.Config) { s.FragmentBytes = 128 << 10 })
		for id := range uint32(1000) {
			g.send(pt.Fragments(pt.IP(between(hostA1, inside+server), udp(5000, 80)), 1280, id)[1])
		}
		is(t, "dropped for want of room", g.Stats().Count(translate.Outcome{Direction: translate.V6ToV4,
			Result: translate.Result{Verdict: translate.Drop, Reason: translate.FragmentRoom}}).Packets > 800, true)
	})
	row(t, "6146-3.4-04", func(t *testing.T) {
		for _, n := range []int{8, 16} {
			g := newNAT64(t)
			f := g.flow(protoTCP, hostA1, 5000, server, 80).play("6S 4SA")
			h := between(server, shared)
			h.MF, h.DF = true, false
			g.err4(pt.IP(h, pt.Part(tcp(80, f.at.Port()), 0, n)), 3, 13)
			g.err6(pt.IP(between(hostA1, inside+server), pt.Fragment(7, 0, true, pt.Part(tcp(5000, 80), 0, n))), 1, 1)
		}
	})
	row(t, "6146-3.4-05", func(t *testing.T) {
		// Fragments leave one by one, as they came.
		each(t, func(t *testing.T, g *nat64, in [][]byte, want []byte) {
			for _, b := range in {
				out, _ := g.send(b)
				is(t, "what leaves", len(out) > 0, true)
				is(t, "what is emitted", len(g.emitted()), 0)
			}
		})
		// Those of ICMP Echo are reassembled.
		g := newNAT64(t)
		f := g.flow(protoICMP, hostA1, 7, server, 0).play("6")
		request := func(id, none uint16) pt.Payload { return pt.EchoRequest(max(id, none), 1, data) }
		reply := func(none, id uint16) pt.Payload { return pt.EchoReply(max(id, none), 1, data) }
		in, want := f.large6(request)
		wantPacket(t, g.arrives(0, in...), want)
		in, want = f.large4(reply)
		wantPacket(t, g.arrives(0, in...), want)
	})
	row(t, "6146-3.4-06", func(t *testing.T) {
		g := newNAT64(t)
		f := g.flow(protoUDP, hostA1, 5000, server, 80).play("6")
		bare := func(sport, dport uint16) pt.Payload { return pt.UDPNoSum(sport, dport, data) }
		in, _ := f.large4(bare)
		_, want := f.large4(udp)
		wantPacket(t, g.arrives(0, in...), want)
		wantPacket(t, g.arrives(0, in[1], in[0]), want)
		h := between(server, shared)
		got := g.forward(pt.IP(h, pt.UDPNoSum(80, f.at.Port(), data[:64])))
		h = between(inside+server, hostA1)
		h.TTL = 63
		wantPacket(t, got, pt.IP(h, pt.UDP(80, 5000, data[:64])))
		// Without resources it is dropped silently.
		small := newNAT64(t, func(s *settings, _ *session.Config) { s.FragmentBytes = 128 << 10 })
		f = small.flow(protoUDP, hostA1, 5000, server, 80).play("6")
		h = between(server, shared)
		h.DF, h.MF = false, true
		h.Off8 = 1
		for id := range uint16(2) {
			h.ID = id
			small.send(pt.IP(h, pt.Raw(protoUDP, make([]byte, 49128))))
		}
		h.Off8, h.ID = 0, 9
		small.drop(pt.IP(h, pt.Part(bare(80, f.at.Port()), 0, 1200)), translate.FragmentRoom)
	})
}

// TestRFC6146Held is §3.5.2.2 for SYNs that are stored, and for probes.
func TestRFC6146Held(t *testing.T) {
	// answered expects that a SYN of the server is answered with 3/3 after 6 seconds.
	answered := func(f *flow) {
		f.g.t.Helper()
		in := f.packet4(pt.FlagSYN)
		f.g.drop(in, translate.UnsolicitedSYN)
		f.g.wait(5900 * time.Millisecond)
		is(f.g.t, "answers before the time", len(f.g.emitted()), 0)
		f.g.wait(1200 * time.Millisecond)
		got := f.g.emitted()
		if len(got) != 1 {
			f.g.t.Fatalf("%d answers", len(got))
		}
		wantPacket(f.g.t, got[0], pt.IP(pt.Header{Src: pt.X4, Dst: addr(f.server), TTL: 64, TOS: 0xc0}, pt.ICMP(3, 3, 0, in)))
		f.g.drop(f.packet4(pt.FlagACK), translate.NoSession)
	}
	at := func(f *flow, port uint16) *flow {
		f.at = netip.AddrPortFrom(addr(shared), port)
		return f
	}
	row(t, "6146-3.5.2.2-02", func(t *testing.T) {
		g := newNAT64(t)
		answered(at(g.flow(protoTCP, hostA1, 5000, server, 80), 4444))
		is(t, "sessions", g.table.Stats().Sessions, 0)
		off := newNAT64(t, limits(session.Limits{HeldSYN: -1}))
		at(off.flow(protoTCP, hostA1, 5000, server, 80), 4444).inDropped(pt.FlagSYN, translate.NoSession)
	})
	row(t, "6146-3.5.2.2-03", func(t *testing.T) {
		g := newNAT64(t, filtering)
		f := g.flow(protoTCP, hostA1, 5000, server, 80).withBinding()
		f.inDropped(pt.FlagSYN, translate.UnsolicitedSYN)
		f.out(pt.FlagSYN) // the host opens the same connection
		is(t, "established", g.table.Stats().ByState["established"], 2)
		f.in(pt.FlagSYN)
		g.wait(10 * time.Second)
		is(t, "answers", len(g.emitted()), 0)
	})
	row(t, "6146-3.5.2.2-07", func(t *testing.T) {
		g := newNAT64(t, filtering)
		f := g.flow(protoTCP, hostA1, 5000, server, 80).withBinding()
		in := f.packet4(pt.FlagSYN)
		g.drop(in, translate.UnsolicitedSYN)
		g.wait(7 * time.Second)
		got := g.emitted()
		if len(got) != 1 {
			t.Fatalf("%d answers", len(got))
		}
		wantPacket(t, got[0], pt.IP(pt.Header{Src: pt.X4, Dst: addr(server), TTL: 64, TOS: 0xc0}, pt.ICMP(3, 3, 0, in)))
	})
	row(t, "6146-3.5.2.2-15", func(t *testing.T) {
		probing := func(_ *settings, c *session.Config) { c.MaxProbes = 10 }
		g := newNAT64(t, probing)
		g.waits = true
		f := g.flow(protoTCP, hostA1, 5000, server, 80).play("6S 4SA 6A")
		g.wait(2*time.Hour + 2*time.Second)
		got := g.emitted()
		if len(got) != 1 {
			t.Fatalf("%d probes", len(got))
		}
		b := got[0]
		wantBytes(t, "source", b[8:24], pt.IP(between(inside+server, hostA1), nil6)[8:24])
		wantBytes(t, "TCP but for its checksum", append(slices.Clone(b[40:56]), b[58:]...),
			[]byte{0, 80, 5000 >> 8, 5000 & 255, 0, 0, 0, 0, 0, 0, 0, 0, 5 << 4, pt.FlagACK, 0, 0, 0, 0})
		if err := pt.Check(b); err != nil {
			t.Error(err)
		}
		g.wait(3 * time.Minute)
		f.play("6A +2h").in(pt.FlagACK) // the answer keeps it
	})
	t.Run("flood", func(t *testing.T) {
		g := newNAT64(t)
		for port := range uint16(50) {
			at(g.flow(protoTCP, hostA1, 5000, server, 1000+port), 4444).inDropped(pt.FlagSYN, translate.UnsolicitedSYN)
		}
		is(t, "stored", g.table.Stats().HeldSYN, 10)
		g.wait(7 * time.Second)
		is(t, "answers", len(g.emitted()), 10)
	})
}

// nil6 is an empty payload.
var nil6 = pt.Raw(59, nil)
