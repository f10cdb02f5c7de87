package translate_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// feed gives packets to a worker, one batch each, and returns what leaves after each, of
// the batch and of Emit. Buffers are no longer than an MTU, so that a packet that is
// reassembled has to leave in pieces. Packets that are not translated are left out.
func (x *sharing) feed(w *translate.Worker, in ...[]byte) (out [][]byte) {
	x.t.Helper()
	ps := translate.NewPackets(1, 1500)
	for _, b := range in {
		if !ps[0].Set(b) {
			x.t.Fatalf("a packet of %d bytes", len(b))
		}
		w.TranslateBatch(x.now, ps)
		out = append(out, x.sent(w, &ps[0])...)
		out = append(out, x.emits(w)...)
	}
	return out
}

// sent returns the bytes of a packet, and of its pieces.
func (x *sharing) sent(w *translate.Worker, p *translate.Packet) (out [][]byte) {
	more := translate.NewPackets(2, 1500)
	for p.Result.Verdict == translate.Split {
		for _, q := range more[:w.Fragment(p, more)] {
			out = append(out, bytes.Clone(q.Bytes()))
		}
	}
	if p.Result.Verdict != translate.Drop {
		out = append(out, bytes.Clone(p.Bytes()))
	}
	return out
}

// emits returns what a worker emits now.
func (x *sharing) emits(w *translate.Worker) (out [][]byte) {
	x.t.Helper()
	ps := translate.NewPackets(2, 1500)
	for range 1000 {
		n, next := w.Emit(x.now, ps)
		for i := range ps[:n] {
			out = append(out, x.sent(w, &ps[i])...)
		}
		if next > x.now {
			return out
		}
	}
	x.t.Fatal("Emit has no end")
	return nil
}

// offset is where the data of a fragment belongs.
func offset(b []byte) int {
	if b[0]>>4 == 4 {
		return int(binary.BigEndian.Uint16(b[6:])&0x1fff) * 8
	}
	if b[6] != 44 {
		return 0
	}
	return int(binary.BigEndian.Uint16(b[42:]) &^ 7)
}

// makes checks that packets are the fragments of one, which may have come in any order.
func (x *sharing) makes(got [][]byte, want []byte) {
	x.t.Helper()
	slices.SortStableFunc(got, func(a, b []byte) int { return offset(a) - offset(b) })
	whole, err := pt.Reassemble(got)
	if err != nil {
		x.t.Fatalf("%d packets: %v", len(got), err)
	}
	if d := pt.Equal(want, whole); d != "" {
		x.t.Error(d)
	}
	for _, b := range got {
		if len(b) > 1500 {
			x.t.Errorf("a packet of %d bytes", len(b))
		}
	}
}

// count returns how many packets of a direction had a verdict and reason.
func (x *sharing) count(d translate.Direction, v translate.Verdict, why translate.Reason) uint64 {
	return x.tr.Stats().Count(translate.Outcome{Direction: d, Result: translate.Result{Verdict: v, Reason: why}}).Packets
}

// total is how many packets have been counted.
func (x *sharing) total() (n uint64) {
	for _, c := range x.tr.Stats().All() {
		n += c.Packets
	}
	return n
}

func (x *sharing) counted(want uint64, d translate.Direction, v translate.Verdict, why translate.Reason) {
	x.t.Helper()
	if n := x.count(d, v, why); n != want {
		x.t.Errorf("%d packets are %v %v (%v), want %d", n, d, v, why, want)
	}
}

// A bigPacket is a packet in fragments, and what its receiver makes of them.
type bigPacket struct {
	name string
	in   [][]byte
	want []byte
}

// larges are a packet of each direction and protocol, and a hairpin. The host has sent
// one before, so that answers reach it.
func (x *sharing) larges() []bigPacket {
	x.t.Helper()
	data := pt.Bytes(3400, 3)
	id := uint32(100)
	cut := func(b []byte) [][]byte { id++; return pt.Fragments(b, 1200, id) }
	no4 := func(src, dst netip.Addr, ttl uint8) pt.Header {
		return pt.Header{Src: src, Dst: dst, TTL: ttl, ID: uint16(id)}
	}
	p := port(x.becomes(pt.IP(h6(host1, pt.H4in6, 64), pt.UDP(1001, 53, nil)), translate.Translated))
	var all []bigPacket
	add := func(name string, in [][]byte, want []byte) { all = append(all, bigPacket{name, in, want}) }
	udp6 := cut(pt.IP(h6(host1, pt.H4in6, 64), pt.UDP(1001, 53, data)))
	add("udp-6to4", udp6, pt.IP(no4(pool, pt.H4, 63), pt.UDP(p, 53, data)))
	udp4 := cut(pt.IP(no4(pt.H4, pool, 64), pt.UDP(53, p, data)))
	add("udp-4to6", udp4, pt.IP(h6(pt.H4in6, host1, 63), pt.UDP(53, 1001, data)))
	tcp6 := cut(pt.IP(h6(host2, pt.H4in6, 64), segment(80, 999, flagSYN, data)))
	add("tcp-6to4", tcp6, pt.IP(no4(pool, pt.H4, 63), segment(8080, 999, flagSYN, data)))
	tcp4 := cut(pt.IP(no4(pt.H4, pool, 64), segment(999, 8080, flagSYN, data)))
	add("tcp-4to6", tcp4, pt.IP(h6(pt.H4in6, host2, 63), segment(999, 80, flagSYN, data)))
	hair := cut(pt.IP(h6(host1, poolIn6, 64), pt.UDP(1001, 8080, data)))
	add("hairpin", hair, pt.IP(h6(poolIn6, host2, 63), pt.UDP(p, 80, data)))
	return all
}

// TestFragmentsInAnyOrder: fragments go where the first one goes, in whatever order they
// come and by whichever worker: a fragment without ports was dropped.
func TestFragmentsInAnyOrder(t *testing.T) {
	orders := map[string]func(in [][]byte) [][]byte{
		"forward":  func(in [][]byte) [][]byte { return in },
		"reversed": func(in [][]byte) [][]byte { slices.Reverse(in); return in },
		"second-first": func(in [][]byte) [][]byte {
			in[0], in[1] = in[1], in[0]
			return in
		},
		"last-first": func(in [][]byte) [][]byte { return append(in[len(in)-1:], in[:len(in)-1]...) },
	}
	for order, arrange := range orders {
		for _, workers := range []int{1, 2} {
			x := newSharing(t, nil)
			for _, c := range x.larges() {
				t.Run(fmt.Sprintf("%s/%s/%d", order, c.name, workers), func(t *testing.T) {
					y := *x
					y.t = t
					ws := []*translate.Worker{x.w, x.tr.NewWorker()}
					var got [][]byte
					for j, b := range arrange(slices.Clone(c.in)) {
						got = append(got, y.feed(ws[j%workers], b)...)
					}
					y.makes(got, c.want)
				})
			}
			if n, want := x.total(), uint64(1+5*3); n != want {
				t.Errorf("%s: %d packets are counted, want %d", order, n, want)
			}
		}
	}
}

// TestFragmentsWait: for as long as they are to, whichever comes first, and no longer.
// What has waited too long is dropped by the worker that has stored it, and counted.
func TestFragmentsWait(t *testing.T) {
	for _, timeout := range []time.Duration{0, 5 * time.Second} {
		for _, reversed := range []bool{false, true} {
			for _, gap := range []time.Duration{time.Millisecond, 1900 * time.Millisecond, 2 * time.Second, 2100 * time.Millisecond, 4900 * time.Millisecond, 5100 * time.Millisecond} {
				x := newSharing(t, func(c *sharingConfig) { c.FragmentTimeout = timeout })
				c := x.larges()[0]
				if reversed {
					slices.Reverse(c.in)
				}
				limit := max(timeout, 2*time.Second)
				got := x.feed(x.w, c.in[:2]...)
				_, next := x.w.Emit(x.now, nil)
				if want := x.now + limit; reversed && (next < want || next > want+1) || !reversed && next != translate.Never {
					t.Errorf("reversed %v: next at %v", reversed, next)
				}
				start := x.now
				x.now += gap
				got = append(got, x.feed(x.w, c.in[2])...)
				if gap <= limit {
					x.makes(got, c.want)
				} else if want := 2; len(got) != want && !reversed || reversed && len(got) != 1 {
					t.Errorf("gap %v, reversed %v: %d fragments", gap, reversed, len(got))
				}
				x.now = start + gap + 2*limit
				x.emits(x.w)
				late := uint64(0)
				if gap > limit {
					late = 1
					if reversed {
						late = 2
					}
				}
				x.counted(late, translate.V6ToV4, translate.Drop, translate.FragmentTimeout)
				x.counted(4-late, translate.V6ToV4, translate.Forward, translate.Translated)
				if _, next := x.w.Emit(x.now, nil); next != translate.Never {
					t.Errorf("next at %v", next)
				}
			}
		}
	}
}

// TestFragmentTwice: a fragment that comes twice is translated twice, as it would be
// without ports, and the packet is whole all the same.
func TestFragmentTwice(t *testing.T) {
	for twice := range 3 {
		for _, reversed := range []bool{false, true} {
			x := newSharing(t, nil)
			c := x.larges()[0]
			in := slices.Insert(slices.Clone(c.in), twice, c.in[twice])
			if reversed {
				slices.Reverse(in)
			}
			got := x.feed(x.w, in...)
			slices.SortStableFunc(got, func(a, b []byte) int { return offset(a) - offset(b) })
			got = slices.CompactFunc(got, bytes.Equal)
			x.makes(got, c.want)
			if n := x.total(); n != 5 {
				t.Errorf("%d packets are counted, want 5", n)
			}
		}
	}
}

// TestFragmentsOfNoHost: what has waited for a first fragment that is refused goes with it,
// and so do those that come later.
func TestFragmentsOfNoHost(t *testing.T) {
	x := newSharing(t, nil)
	in := pt.Fragments(pt.IP(pt.Header{Src: pt.H4, Dst: pool}, pt.UDP(53, 8081, pt.Bytes(4000, 3))), 1400, 7)
	if got := x.feed(x.w, in[1], in[0], in[2]); len(got) != 1 || got[0][9] != 1 {
		t.Errorf("%d packets, want one ICMP error", len(got))
	}
	x.counted(1, translate.V4ToV6, translate.Reply, translate.NoBinding)
	x.counted(2, translate.V4ToV6, translate.Drop, translate.NoBinding)
	// A host that shares no address has no fragments stored.
	y := newSharing(t, func(c *sharingConfig) { c.session.Clients = []netip.Prefix{netip.PrefixFrom(host2, 128)} })
	out := pt.Fragments(pt.IP(h6(host1, pt.H4in6, 64), pt.UDP(1001, 53, pt.Bytes(4000, 3))), 1400, 7)
	y.is(out[1], translate.Drop, translate.NoSource)
}

// TestFragmentsOfTwoHosts: no host gets another host's fragments by a first fragment that
// says so. The packet has two then, and neither has more.
func TestFragmentsOfTwoHosts(t *testing.T) {
	x := newSharing(t, nil)
	c := x.larges()[1] // to the first host
	id := uint32(binary.BigEndian.Uint16(c.in[0][4:]))
	forge := func(port uint16) []byte {
		return pt.Fragments(pt.IP(pt.Header{Src: pt.H4, Dst: pool}, pt.UDP(53, port, pt.Bytes(3400, 9))), 1200, id)[0]
	}
	to := func(b []byte) netip.Addr { return netip.AddrFrom16([16]byte(b[24:40])) }
	if got := x.feed(x.w, c.in[0], forge(8080), c.in[1], c.in[2]); len(got) != 1 || to(got[0]) != host1 {
		t.Errorf("%d fragments", len(got))
	}
	x.counted(3, translate.V4ToV6, translate.Drop, translate.FragmentOverlap)
	// A first fragment that no host gets changes nothing.
	x = newSharing(t, nil)
	c = x.larges()[1]
	got := x.feed(x.w, c.in[0], forge(8081), c.in[1], c.in[2])
	x.makes(slices.DeleteFunc(got, func(b []byte) bool { return b[0]>>4 == 4 }), c.want)
}

// TestFragmentOverFirst: a fragment that overlaps the first one and came before it ends the
// packet: it could change what the host was chosen by.
func TestFragmentOverFirst(t *testing.T) {
	for off8, overlaps := range map[uint16]bool{146: true, 147: false} { // the first has 1,176 bytes
		x := newSharing(t, nil)
		c := x.larges()[1]
		h := pt.Header{Src: pt.H4, Dst: pool, ID: binary.BigEndian.Uint16(c.in[0][4:]), Off8: off8}
		got := x.feed(x.w, pt.IP(h, pt.Raw(17, pt.Bytes(64, 1))), c.in[0])
		if (len(got) == 0) != overlaps {
			t.Errorf("at %d: %d fragments", off8*8, len(got))
		}
		if overlaps {
			x.counted(2, translate.V4ToV6, translate.Drop, translate.FragmentOverlap)
		}
	}
}

// TestFragmentsOfTwoHairpins: packets of one host to two others are told apart by their
// identification.
func TestFragmentsOfTwoHairpins(t *testing.T) {
	x := newSharing(t, nil)
	q := port(x.becomes(pt.IP(h6(router6, pt.H4in6, 64), pt.UDP(1001, 53, nil)), translate.Translated))
	cut := func(port uint16, id uint32) [][]byte {
		return pt.Fragments(pt.IP(h6(host1, poolIn6, 64), pt.UDP(1001, port, pt.Bytes(2000, 3))), 1400, id)
	}
	a, b := cut(8080, 1), cut(q, 2)
	got := x.feed(x.w, a[0], b[0], a[1], b[1])
	if len(got) != 4 {
		t.Fatalf("%d fragments", len(got))
	}
	for i, b := range got {
		if to, want := netip.AddrFrom16([16]byte(b[24:])), []netip.Addr{host2, router6}[i%2]; to != want {
			t.Errorf("fragment %d goes to %v, want %v", i, to, want)
		}
	}
}

// TestFragmentedErrors: only Echo messages are reassembled, and their first fragment has
// their header.
func TestFragmentedErrors(t *testing.T) {
	x := newSharing(t, nil)
	x.pings()
	for _, p := range []pt.Payload{pt.ICMP(3, 3, 0, pt.Bytes(64, 0)), pt.ICMP(13, 0, 0, pt.Bytes(64, 0))} {
		x.is(pt.IP(pt.Header{Src: pt.H4, Dst: pool, MF: true}, p), translate.Drop, translate.FragmentedICMP)
	}
	x.is(pt.IP(h6(host1, pt.H4in6, 64), pt.Fragment(7, 0, true, pt.ICMP(1, 4, 0, pt.Bytes(64, 0)))), translate.Drop, translate.FragmentedICMP)
	x.is(pt.IP(h6(pt.M6, pt.H4in6, 64), pt.Fragment(7, 0, true, pt.EchoRequest(7, 1, pt.Bytes(64, 0)))), translate.Drop, translate.FragmentedICMP)
	x.is(pt.IP(pt.Header{Src: pt.H4, Dst: pt.M4, MF: true}, pt.EchoRequest(7, 1, pt.Bytes(64, 0))), translate.Reply, translate.FragmentedICMP)
	// With DF, the source is told the MTU that the fragments of a whole packet have.
	x.is(pt.IP(pt.Header{Src: pt.H4, Dst: pool, MF: true, DF: true}, pt.EchoReply(7, 1, pt.Bytes(1472, 0))), translate.Reply, translate.TooBig)
}

// TestFragmentBoundsOfSource: one source cannot keep others from using the store, and all
// together cannot make it grow. What is old makes room.
func TestFragmentBoundsOfSource(t *testing.T) {
	x := newSharing(t, func(c *sharingConfig) { c.FragmentBytes, c.Fragments = 256<<10, 256 })
	larges := x.larges()
	late := func(src netip.Addr, id uint32) []byte {
		return pt.Fragments(pt.IP(pt.Header{Src: src, Dst: pool}, pt.UDP(53, 8080, pt.Bytes(1400, 3))), 1000, id)[1]
	}
	for id := range uint32(1000) {
		x.feed(x.w, late(pt.R4, id))
	}
	x.counted(1000-256/8, translate.V4ToV6, translate.Drop, translate.FragmentRoom)
	for _, c := range larges[1:2] {
		in := slices.Clone(c.in)
		slices.Reverse(in)
		x.makes(x.feed(x.w, in...), c.want)
	}
	for id := range uint32(1000) { // from as many sources
		x.feed(x.w, late(netip.AddrFrom4([4]byte{9, 9, byte(id >> 8), byte(id)}), id))
	}
	c := larges[3]
	in := slices.Clone(c.in)
	slices.Reverse(in)
	x.makes(x.feed(x.w, in...), c.want)
	x.now += 3 * time.Second
	x.emits(x.w)
	if n, want := x.total(), uint64(1+2000+6); n != want {
		t.Errorf("%d packets are counted, want %d", n, want)
	}
	// A fragment that is larger than what a source may use.
	huge := pt.Part(pt.UDP(53, 8080, pt.Bytes(60000, 3)), 800, 50000)
	y := newSharing(t, func(c *sharingConfig) { c.FragmentBytes = 128 << 10 })
	for id, want := range []translate.Reason{translate.Waiting, translate.FragmentRoom} {
		y.is(pt.IP(pt.Header{Src: pt.H4, Dst: pool, Off8: 100, MF: true, ID: uint16(id)}, huge), translate.Drop, want)
	}
}

// TestFragmentsAtSpeed: a source with many packets in fragments, which come in order, is
// not held up by what a source may use: what has come whole does not count.
func TestFragmentsAtSpeed(t *testing.T) {
	x := newSharing(t, func(c *sharingConfig) { c.Fragments = 64 })
	x.larges()
	for id := range uint32(1000) {
		in := pt.Fragments(pt.IP(h6(host1, pt.H4in6, 64), pt.UDP(1001, 53, pt.Bytes(2000, 3))), 1400, id)
		if got := x.feed(x.w, in...); len(got) != 2 {
			t.Fatalf("packet %d: %d fragments", id, len(got))
		}
	}
}

// pings are Echo messages of 4,000 bytes each way.
func (x *sharing) pings() []bigPacket {
	x.t.Helper()
	data := pt.Bytes(4000, 5)
	q := port(x.becomes(pt.IP(h6(host1, pt.H4in6, 64), pt.EchoRequest(7, 1, nil)), translate.Translated))
	small := x.becomes(pt.IP(h6(host2, poolIn6, 64), pt.EchoRequest(q, 1, nil)), translate.Hairpinned) // to who has the new identifier
	back := netip.AddrFrom16([16]byte(small[24:]))
	no4 := func(src, dst netip.Addr, ttl uint8) pt.Header { return pt.Header{Src: src, Dst: dst, TTL: ttl, ID: 9} }
	return []bigPacket{
		{"request-6to4", pt.Fragments(pt.IP(h6(host1, pt.H4in6, 64), pt.EchoRequest(7, 1, data)), 1400, 9), pt.IP(no4(pool, pt.H4, 63), pt.EchoRequest(q, 1, data))},
		{"reply-4to6", pt.Fragments(pt.IP(no4(pt.H4, pool, 64), pt.EchoReply(q, 1, data)), 1500, 9), pt.IP(h6(pt.H4in6, host1, 63), pt.EchoReply(7, 1, data))},
		{"request-4to6", pt.Fragments(pt.IP(no4(pt.R4, pool, 64), pt.EchoRequest(q, 1, data)), 1500, 9), pt.IP(h6(pt.R4in6, host1, 63), pt.EchoRequest(7, 1, data))},
		{"hairpin", pt.Fragments(pt.IP(h6(host2, poolIn6, 64), pt.EchoRequest(q, 1, data)), 1400, 9), pt.IP(h6(poolIn6, back, 63), pt.EchoRequest(binary.BigEndian.Uint16(small[44:]), 1, data))},
	}
}

// TestLargePing: a ping of 4,000 bytes works, in whatever order its fragments come: its
// checksum covers the length of all of it in IPv6. It was dropped.
func TestLargePing(t *testing.T) {
	for _, reversed := range []bool{false, true} {
		for _, workers := range []int{1, 2} {
			x := newSharing(t, nil)
			ws := []*translate.Worker{x.w, x.tr.NewWorker()}
			n := uint64(2)
			for _, c := range x.pings() {
				if reversed {
					slices.Reverse(c.in)
				}
				var got [][]byte
				for i, b := range c.in {
					got = append(got, x.feed(ws[i%workers], b)...)
				}
				n += uint64(len(c.in))
				x.makes(got, c.want)
			}
			if x.total() != n {
				t.Errorf("%d packets are counted, want %d", x.total(), n)
			}
		}
	}
}

// TestLargePingOfSelf: a large ping of the translator's own address, which hosts share,
// is answered.
func TestLargePingOfSelf(t *testing.T) {
	x := newSharing(t, func(c *sharingConfig) { c.IPv4, c.ICMPPool4 = pool, nil })
	data := pt.Bytes(4000, 5)
	got := x.feed(x.w, pt.Fragments(pt.IP(pt.Header{Src: pt.H4, Dst: pool, ID: 9}, pt.EchoRequest(7, 1, data)), 1500, 9)...)
	if len(got) == 0 {
		t.Fatal("no answer")
	}
	x.makes(got, pt.IP(pt.Header{Src: pool, Dst: pt.H4, TTL: 64, ID: binary.BigEndian.Uint16(got[0][4:])}, pt.EchoReply(7, 1, data)))
	x.counted(3, translate.V4ToV6, translate.Reply, translate.EchoReply)
}

// TestReassemblyOverlap: a fragment that overlaps another ends its packet, and one that
// comes twice does not.
func TestReassemblyOverlap(t *testing.T) {
	x := newSharing(t, nil)
	c := x.pings()[0]
	twice := []([]byte){c.in[1], c.in[1], c.in[0], c.in[0], c.in[2]}
	x.makes(x.feed(x.w, twice...), c.want)
	x.counted(2, translate.V6ToV4, translate.Drop, translate.FragmentOverlap)

	move := func(b []byte, by uint16, more bool) []byte {
		b = bytes.Clone(b)
		word := binary.BigEndian.Uint16(b[42:]) + by
		if word &^= 1; more {
			word |= 1
		}
		binary.BigEndian.PutUint16(b[42:], word)
		return b
	}
	for name, bad := range map[string][]byte{
		"end-in-next":      move(c.in[1], 8, true),
		"begins-in-last":   move(c.in[1], 0xfff8, true),
		"another-end":      move(c.in[1], 0, false),
		"after-the-end":    move(c.in[2], 1400, false),
		"after-the-end-mf": move(c.in[1], 4096, true),
	} {
		x := newSharing(t, nil)
		c := x.pings()[0]
		if got := x.feed(x.w, c.in[0], c.in[2], bad, c.in[1]); len(got) != 0 {
			t.Errorf("%s: %d packets", name, len(got))
		}
		x.counted(4, translate.V6ToV4, translate.Drop, translate.FragmentOverlap)
	}
}

// TestLongestPing: what the fields of a header cannot hold is no packet, and what they can
// is one.
func TestLongestPing(t *testing.T) {
	for n, fits := range map[int]bool{65507: true, 65515: false} {
		x := newSharing(t, nil)
		q := port(x.becomes(pt.IP(h6(host1, pt.H4in6, 64), pt.EchoRequest(7, 1, nil)), translate.Translated))
		data := pt.Bytes(n, 5)
		h := pt.Header{Src: pt.H4, Dst: pool}
		_, msg := pt.EchoReply(q, 1, data)(h.Src, h.Dst)
		var got [][]byte
		for at := 0; at < len(msg); at += 1480 {
			h.Off8, h.MF, h.ID = uint16(at/8), at+1480 < len(msg), 9
			got = append(got, x.feed(x.w, pt.IP(h, pt.Raw(1, msg[at:min(at+1480, len(msg))])))...)
		}
		if !fits {
			if len(got) != 0 {
				t.Errorf("%d bytes: %d packets", n, len(got))
			}
			x.counted(45, translate.V4ToV6, translate.Drop, translate.BadFragment)
			continue
		}
		x.makes(got, pt.IP(h6(pt.H4in6, host1, 63), pt.EchoReply(7, 1, data)))
	}
}

// TestSharedZeroChecksum: UDP without checksum gets one on its way to a host that shares an
// address, whole or in fragments, unless it is to be forwarded as it is: RFC 6146 §3.4.
// Other hosts have what the configuration says.
func TestSharedZeroChecksum(t *testing.T) {
	for _, mode := range []translate.UDPZero{translate.UDPZeroDrop, translate.UDPZeroCompute, translate.UDPZeroForward} {
		for _, reversed := range []bool{false, true} {
			x := newSharing(t, func(c *sharingConfig) { c.UDPZero = mode })
			for n, size := range map[int]int{100: 1500, 1200: 1500, 4000: 1500, 8000: 1280} {
				data := pt.Bytes(n, 5)
				in := pt.Fragments(pt.IP(pt.Header{Src: pt.H4, Dst: pool, ID: 9}, pt.UDPNoSum(53, 8080, data)), size, uint32(n))
				if reversed {
					slices.Reverse(in)
				}
				want := pt.IP(h6(pt.H4in6, host2, 63), pt.UDP(53, 80, data))
				if mode == translate.UDPZeroForward {
					want[46], want[47] = 0, 0
				}
				got := x.feed(x.w, in...)
				if len(in) == 1 {
					if len(got) != 1 || pt.Equal(want, got[0]) != "" {
						t.Errorf("mode %d, %d bytes: %x", mode, n, got)
					}
					continue
				}
				x.makes(got, want)
			}
			if mode == translate.UDPZeroDrop {
				x.is(pt.IP(pt.From4(), pt.UDPNoSum(53, 8080, nil)), translate.Reply, translate.UDPZeroChecksum)
			}
		}
	}
}

// TestFragmentAllocs: fragments cost no memory, whether they are translated, wait, are
// reassembled or are dropped.
func TestFragmentAllocs(t *testing.T) {
	x := newSharing(t, nil)
	all := append(x.larges(), x.pings()...)
	for _, c := range all {
		slices.Reverse(c.in)
		ps, out := translate.NewPackets(3, 1500), translate.NewPackets(8, 1500)
		id := uint16(0)
		if n := testing.AllocsPerRun(100, func() {
			id++
			for i, b := range c.in {
				if b[0]>>4 == 4 {
					binary.BigEndian.PutUint16(b[4:], id)
					binary.BigEndian.PutUint16(b[10:], 0)
					binary.BigEndian.PutUint16(b[10:], ^onesSum(b[:20]))
				} else {
					binary.BigEndian.PutUint16(b[46:], id)
				}
				ps[i].Set(b)
			}
			x.w.TranslateBatch(x.now, ps)
			n, next := x.w.Emit(x.now, out)
			if n < 2 || next <= x.now {
				t.Fatalf("%s: %d packets", c.name, n)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}

// TestFragmentsOfClosedWorker: what a worker had no time to emit is counted, and its
// memory is free again.
func TestFragmentsOfClosedWorker(t *testing.T) {
	x := newSharing(t, func(c *sharingConfig) { c.FragmentBytes = 128 << 10 })
	c := x.larges()[0]
	for i := range 200 {
		w := x.tr.NewWorker()
		for _, b := range []int{1, 2, 0} {
			binary.BigEndian.PutUint32(c.in[b][44:], uint32(i))
			p := pt.Buffer(c.in[b])
			w.Translate(x.now, &p)
		}
		w.Close()
	}
	x.counted(200+1, translate.V6ToV4, translate.Forward, translate.Translated)
	x.counted(400, translate.V6ToV4, translate.Drop, translate.FragmentTimeout)
}

// TestFragmentConfig: what New and Update refuse.
func TestFragmentConfig(t *testing.T) {
	for name, edit := range map[string]func(c *translate.Config){
		"timeout-short": func(c *translate.Config) { c.FragmentTimeout = 2*time.Second - 1 },
		"timeout-long":  func(c *translate.Config) { c.FragmentTimeout = 365*24*time.Hour + 1 },
		"bytes-few":     func(c *translate.Config) { c.FragmentBytes = 128<<10 - 1 },
		"bytes-many":    func(c *translate.Config) { c.FragmentBytes = 1<<30 + 1 },
		"number-small":  func(c *translate.Config) { c.Fragments = 63 },
		"number-large":  func(c *translate.Config) { c.Fragments = 1<<24 + 1 },
	} {
		cfg := pt.Config()
		edit(&cfg)
		if _, err := translate.New(cfg, new(translate.Table)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	x := newSharing(t, nil)
	if err := x.tr.Update(func(s *translate.Settings) { s.FragmentTimeout = time.Minute }); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := x.tr.Update(func(s *translate.Settings) { s.Fragments = 100 }); err == nil {
			t.Error("the number of fragments has changed")
		}
	}
	if err := x.tr.Update(func(s *translate.Settings) { s.FragmentBytes = 1 << 20 }); err == nil {
		t.Error("the memory has changed")
	}
	if c := x.tr.Settings(); c.FragmentTimeout != time.Minute || c.Fragments != 8192 || c.FragmentBytes != 4<<20 {
		t.Errorf("%+v", c.Config)
	}
}

// TestFragmentsManyWorkers: fragments of one packet come to several workers at the same
// time. Each is counted once, and what was stored leaves. For the race detector.
func TestFragmentsManyWorkers(t *testing.T) {
	x := newSharing(t, nil)
	all := append(x.larges(), x.pings()...)
	const workers, packets = 3, 60
	before := x.total()
	queues, given := [workers][][]byte{}, uint64(0)
	for id := range uint16(packets) {
		c := all[int(id)%len(all)]
		for i := range c.in {
			b := bytes.Clone(c.in[len(c.in)-1-i])
			if b[0]>>4 == 4 {
				binary.BigEndian.PutUint16(b[4:], 1000+id)
				b[10], b[11] = 0, 0
				binary.BigEndian.PutUint16(b[10:], ^pt.Sum(b[:20]))
			} else {
				binary.BigEndian.PutUint16(b[46:], 1000+id)
			}
			q := &queues[(int(id)+i)%workers]
			*q = append(*q, b)
			given++
		}
	}
	var done sync.WaitGroup
	for i := range queues {
		w := x.tr.NewWorker()
		done.Go(func() {
			ps, out := translate.NewPackets(1, 1500), translate.NewPackets(4, 1500)
			for _, b := range queues[i] {
				ps[0].Set(b)
				w.TranslateBatch(x.now, ps)
				for next := time.Duration(0); next <= x.now; {
					_, next = w.Emit(x.now, out)
				}
			}
		})
	}
	done.Wait()
	if n := x.total() - before; n != given {
		t.Errorf("%d packets are counted, want %d", n, given)
	}
	lost := uint64(0)
	for o, c := range x.tr.Stats().All() {
		if o.Verdict == translate.Drop {
			lost += c.Packets
		}
	}
	if lost != 0 {
		t.Errorf("%d fragments are lost", lost)
	}
}
