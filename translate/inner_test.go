package translate_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/internal/test/refxlat"
	"github.com/steppe-nat64/steppe/translate"
)

// innerPackets calls f with a packet of each kind of tunnel, between the hosts of h,
// and the offset of the packet inside, which has n bytes of payload.
func innerPackets(h packettest.Header, n int, f func(name string, pkt []byte, inner int)) {
	outer := len(packettest.IP(h, packettest.Raw(59, nil)))
	for _, i := range []struct {
		name string
		h    packettest.Header
	}{
		{"ipv4", packettest.Header{Src: netip.MustParseAddr("10.1.0.1"), Dst: netip.MustParseAddr("10.1.0.2")}},
		{"ipv6", packettest.Header{Src: netip.MustParseAddr("fd00::1"), Dst: netip.MustParseAddr("fd00::2")}},
	} {
		for proto, l4 := range map[string]packettest.Payload{
			"tcp": packettest.TCP(1000, 2000, packettest.Bytes(n, 0)),
			"udp": packettest.UDP(1000, 2000, packettest.Bytes(n, 0)),
		} {
			for _, tunnel := range packettest.Tunnels(i.h.Src.Is4()) {
				pkt := packettest.IP(h, tunnel.Carry(packettest.IP(i.h, l4)))
				f(tunnel.Name+"/"+i.name+"/"+proto, pkt, outer+tunnel.Length)
			}
		}
	}
}

// TestInnerChecksum: a packet of a tunnel whose inner checksum is left to the device
// becomes what it becomes with that checksum, whatever the verdict. Since Linux 6.17
// a TUN device gets such packets: all TCP through tunnels was lost as bad-offload.
func TestInnerChecksum(t *testing.T) {
	verdicts := map[string]int{}
	for _, c := range []struct {
		name string
		n    int // bytes of payload
		h4   func(h *packettest.Header)
		h6   func(h *packettest.Header)
		edit func(*translate.Config, *translate.TableConfig)
	}{
		{name: "forwarded", n: 100},
		{name: "odd", n: 101},
		{name: "empty", n: 0},
		{name: "hop-limit", n: 100, h4: func(h *packettest.Header) { h.TTL = 1 }, h6: func(h *packettest.Header) { h.TTL = 1 }},
		{name: "hop-limit-cut-quote", n: 1300, h4: func(h *packettest.Header) { h.TTL = 1 }, h6: func(h *packettest.Header) { h.TTL = 1 }},
		{name: "own-address", n: 100, h4: func(h *packettest.Header) { h.Dst = packettest.X4 }, h6: func(h *packettest.Header) { h.Dst = packettest.X6 }},
		{name: "options", n: 100, h4: func(h *packettest.Header) { h.Options = []byte{1, 1, 1, 0} }},
		{name: "too-big", n: 1390, edit: func(c *translate.Config, _ *translate.TableConfig) { c.MTU4, c.MTU6 = 1300, 1300 }},
		{name: "cut", n: 1350, h4: func(h *packettest.Header) { h.DF = false }},
		{name: "cut-6to4", n: 900, edit: func(c *translate.Config, _ *translate.TableConfig) { c.MTU4 = 576 }},
		{name: "udp-calc", n: 100, edit: func(c *translate.Config, _ *translate.TableConfig) { c.UDPZero = translate.UDPZeroCompute }},
		{name: "udp-forward", n: 100, edit: func(c *translate.Config, _ *translate.TableConfig) { c.UDPZero = translate.UDPZeroForward }},
		{name: "hairpin", n: 100, h6: func(h *packettest.Header) { h.Dst = netip.MustParseAddr("2001:db8:64::192.0.2.6") }},
		{name: "dropped", n: 100, h4: func(h *packettest.Header) { h.Dst = netip.MustParseAddr("127.0.0.1") }, h6: func(h *packettest.Header) { h.Src = netip.MustParseAddr("ff02::1") }},
		{name: "error-withheld", n: 100, h4: func(h *packettest.Header) { h.TTL = 1 }, h6: func(h *packettest.Header) { h.TTL = 1 }, edit: func(c *translate.Config, _ *translate.TableConfig) { c.ErrorRate = -1 }},
	} {
		for _, h := range []packettest.Header{packettest.From4(), packettest.From6()} {
			if h.Src.Is4() && c.h4 != nil {
				c.h4(&h)
			} else if h.Src.Is6() && c.h6 != nil {
				c.h6(&h)
			}
			innerPackets(h, c.n, func(name string, pkt []byte, inner int) {
				name = fmt.Sprintf("%s/outer=%d/%s", c.name, pkt[0]>>4, name)
				want, wantRes := offloaded(t, newWorker(t, c.edit), pkt, translate.Offload{})
				given := bytes.Clone(pkt)
				o := packettest.PartialInner(given, inner)
				got, res := offloaded(t, newWorker(t, c.edit), given, o)
				if res != wantRes || len(got) != len(want) {
					t.Errorf("%s: %v (%v), %d packets, want %v (%v), %d", name, res.Verdict, res.Reason, len(got), wantRes.Verdict, wantRes.Reason, len(want))
					return
				}
				for i := range got {
					if !bytes.Equal(clearID(got[i]), clearID(want[i])) {
						t.Errorf("%s: packet %d\ngot  %x\nwant %x", name, i, got[i], want[i])
					}
				}
				if plain, ok := refxlat.Finish(given, o); !ok || !bytes.Equal(plain, pkt) {
					t.Errorf("%s: the reference makes %x of it", name, plain)
				}
				verdicts[fmt.Sprint(res.Verdict, pkt[0]>>4)]++
				verdicts[res.Reason.String()]++
			})
		}
	}
	for _, want := range []string{"forward 4", "forward 6", "reply 4", "reply 6", "split 4", "split 6", "drop 4", "drop 6", "hairpinned", "udp-zero-checksum"} {
		if verdicts[want] == 0 {
			t.Errorf("no packet came to %q: %v", want, verdicts)
		}
	}
}

// TestInnerChecksumIsPlain: what leaves has no offload any more, and a batch is no
// different.
func TestInnerChecksumIsPlain(t *testing.T) {
	for _, h := range []packettest.Header{packettest.From4(), packettest.From6()} {
		innerPackets(h, 200, func(name string, pkt []byte, inner int) {
			if h.Src.Is4() && strings.HasPrefix(name, "vxlan-without-checksum") {
				return // dropped by default, RFC 7915 §4.5
			}
			ps := []translate.Packet{packettest.Buffer(pkt), packettest.Buffer(pkt)}
			for i := range ps {
				ps[i].Offload = packettest.PartialInner(ps[i].Bytes(), inner)
			}
			newWorker(t, nil).TranslateBatch(0, ps)
			for i := range ps {
				if ps[i].Result.Verdict != translate.Forward || ps[i].Offload != (translate.Offload{}) {
					t.Errorf("%s: %v (%v), %+v", name, ps[i].Result.Verdict, ps[i].Result.Reason, ps[i].Offload)
				}
			}
		})
	}
}

func TestInnerChecksumNoAllocs(t *testing.T) {
	for _, h := range []packettest.Header{packettest.From4(), packettest.From6()} {
		w := newWorker(t, nil)
		innerPackets(h, 200, func(name string, pkt []byte, inner int) {
			o := packettest.PartialInner(pkt, inner)
			p := packettest.Buffer(pkt)
			at := p.Off
			if n := testing.AllocsPerRun(20, func() {
				p.Off, p.Len, p.Offload = at, copy(p.Buf[at:], pkt), o
				w.Translate(0, &p)
			}); n != 0 {
				t.Errorf("%s: %v allocations a packet", name, n)
			}
		})
	}
}

// TestInnerChecksumZero: a sum whose complement is 0 is written as 0xffff, as the
// kernel does for every protocol: to UDP 0 would mean that there is no checksum.
func TestInnerChecksumZero(t *testing.T) {
	h := packettest.From4()
	innerPackets(h, 40, func(name string, pkt []byte, inner int) {
		o := packettest.PartialInner(pkt, inner)
		// The last two bytes of payload make the sum 0xffff.
		pkt[len(pkt)-2], pkt[len(pkt)-1] = 0, 0
		s := packettest.Sum(pkt[o.CsumStart:])
		pkt[len(pkt)-2], pkt[len(pkt)-1] = byte(^s>>8), byte(^s)
		p := packettest.Buffer(pkt)
		p.Offload = o
		w := newWorker(t, func(c *translate.Config, _ *translate.TableConfig) { c.UDPZero = translate.UDPZeroForward })
		if res := w.Translate(0, &p); res.Verdict != translate.Forward {
			t.Fatalf("%s: %v (%v)", name, res.Verdict, res.Reason)
		}
		field := p.Bytes()[int(o.CsumStart)+20+int(o.CsumOffset):][:2]
		if field[0] != 0xff || field[1] != 0xff {
			t.Errorf("%s: checksum %x", name, field)
		}
	})
}

// TestOuterChecksumOfOthers: DCCP and UDP-Lite have their checksum over the
// pseudo-header, too, and no offload of their own: it is completed.
func TestOuterChecksumOfOthers(t *testing.T) {
	for _, h := range []packettest.Header{packettest.From4(), packettest.From6()} {
		for _, l4 := range []packettest.Payload{packettest.DCCP(1, 2, packettest.Bytes(99, 0)), packettest.UDPLite(1, 2, 0, packettest.Bytes(99, 0))} {
			pkt := packettest.IP(h, l4)
			want, _ := offloaded(t, newWorker(t, nil), pkt, translate.Offload{})
			hdrLen := len(pkt) - len(packettest.Bytes(99, 0)) - 8
			proto := pkt[6]
			if h.Src.Is4() {
				proto = pkt[9]
			}
			if proto == 33 {
				hdrLen -= 4
			}
			copy(pkt[hdrLen+6:], []byte{0, 0})
			s := packettest.Sum(packettest.Pseudo(h.Src, h.Dst, proto, len(pkt)-hdrLen))
			pkt[hdrLen+6], pkt[hdrLen+7] = byte(s>>8), byte(s)
			got, res := offloaded(t, newWorker(t, nil), pkt, translate.Offload{Flags: translate.OffloadNeedsCsum, CsumStart: uint16(hdrLen), CsumOffset: 6})
			if res.Verdict != translate.Forward {
				t.Fatalf("protocol %d: %v (%v)", proto, res.Verdict, res.Reason)
			}
			if !bytes.Equal(clearID(got[0]), clearID(want[0])) {
				t.Errorf("protocol %d\ngot  %x\nwant %x", proto, got[0], want[0])
			}
		}
	}
}

// TestInnerChecksumThatLies: bounds that contradict the packet, and what no caller asks
// the kernel for.
func TestInnerChecksumThatLies(t *testing.T) {
	for _, h := range []packettest.Header{packettest.From4(), packettest.From6()} {
		innerPackets(h, 100, func(name string, pkt []byte, inner int) {
			honest := packettest.PartialInner(pkt, inner)
			first, end := 20, len(pkt) // between which a checksum may lie
			if h.Src.Is6() {
				first = 40
			}
			if !strings.HasPrefix(name, "gre") && !strings.HasPrefix(name, "ip-in-ip") {
				first += 8 // after the UDP header
			}
			for lie, edit := range map[string]func(o *translate.Offload){
				"in the outer header":    func(o *translate.Offload) { o.CsumStart = uint16(first - 1) },
				"at 0":                   func(o *translate.Offload) { o.CsumStart = 0 },
				"field across the end":   func(o *translate.Offload) { o.CsumStart, o.CsumOffset = uint16(end-8), 7 },
				"field at the end":       func(o *translate.Offload) { o.CsumOffset = uint16(end) - o.CsumStart },
				"starts after the end":   func(o *translate.Offload) { o.CsumStart = uint16(end + 1) },
				"offset of 65535":        func(o *translate.Offload) { o.CsumOffset = 65535 },
				"start and offset 65535": func(o *translate.Offload) { o.CsumStart, o.CsumOffset = 65535, 65535 },
				"super-packet":           func(o *translate.Offload) { o.GSOType, o.GSOSize = translate.GSOTCPv4, 50 },
				"udp tunnel":             func(o *translate.Offload) { o.GSOType, o.GSOSize = 0x20|translate.GSOTCPv4, 50 },
				"udp tunnel alone":       func(o *translate.Offload) { o.GSOType = 0x40 },
			} {
				o := honest
				edit(&o)
				if _, res := offloaded(t, newWorker(t, nil), bytes.Clone(pkt), o); res != (translate.Result{Verdict: translate.Drop, Reason: translate.BadOffload}) {
					t.Errorf("%s, %s: %v (%v)", name, lie, res.Verdict, res.Reason)
				}
				if plain, ok := refxlat.Finish(pkt, o); ok {
					t.Errorf("%s, %s: the reference makes %x of it", name, lie, plain)
				}
			}
			o := honest
			o.CsumStart, o.CsumOffset = uint16(end-8), 6 // the last that fits
			if _, res := offloaded(t, newWorker(t, nil), bytes.Clone(pkt), o); res.Reason == translate.BadOffload {
				t.Errorf("%s: a field at the end is %v", name, res.Reason)
			}
		})
	}
	// A fragment has not got all that the checksum covers.
	part := packettest.Edit(packettest.IP(packettest.From4(), packettest.Raw(4, packettest.Bytes(80, 0))), func(b []byte) { b[6] = 0x20 })
	if _, res := offloaded(t, newWorker(t, nil), part, translate.Offload{Flags: translate.OffloadNeedsCsum, CsumStart: 40, CsumOffset: 16}); res.Reason != translate.BadOffload {
		t.Errorf("fragment: %v", res.Reason)
	}
}
