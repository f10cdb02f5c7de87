package fuzz

import (
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/internal/test/refxlat"
	"github.com/steppe-nat64/steppe/translate"
)

// FuzzInner: a packet of a tunnel, and a virtio-net header that leaves a checksum
// undone, inside the tunnel or wherever the fuzzer says. Verdict and bytes are what
// the reference implementation makes of the packet once it has finished the
// checksum, by the kernel's rule; what leaves is plain, and a dropped packet and its
// offload are as they came. An offload that the packet cannot have ends in a drop.
func FuzzInner(f *testing.F) {
	add := func(rig uint8, is4 bool, tunnel uint8, inner4, tcp, df bool, n uint16) {
		f.Add(rig, is4, uint8(0), uint8(0), uint8(64), df, tunnel, inner4, tcp, n, false, uint16(0), uint16(0))
	}
	for i := range packettest.Tunnels(true) {
		add(0, true, uint8(i), true, true, true, 100)
		add(0, false, uint8(i), false, true, true, 100)
	}
	add(0, true, 0, true, false, false, 2000) // to be cut
	add(0, false, 0, true, true, true, 2000)  // too large
	add(0, true, 1, true, true, true, 100)    // without outer checksum
	f.Add(uint8(0), true, uint8(0), uint8(0), uint8(1), true, uint8(0), true, true, uint16(1400), false, uint16(0), uint16(0))
	f.Add(uint8(0), true, uint8(0), uint8(0), uint8(64), true, uint8(0), true, true, uint16(10), true, uint16(27), uint16(6))
	f.Add(uint8(0), false, uint8(0), uint8(0), uint8(64), true, uint8(6), true, true, uint16(10), true, uint16(89), uint16(0))
	f.Fuzz(func(t *testing.T, rig uint8, is4 bool, src, dst, ttl uint8, df bool, tunnel uint8, inner4, tcp bool, n uint16,
		lie bool, start, offset uint16) {
		x := rigOf(t, rig)
		h := x.header(is4, src, dst)
		h.TTL, h.DF, h.ID = ttl, df, n
		inner := packettest.Header{Src: packettest.M6, Dst: packettest.R6}
		if inner4 {
			inner = packettest.Header{Src: packettest.M4, Dst: packettest.R4}
		}
		data := packettest.Bytes(int(n)%maxPacket, 1)
		l4 := packettest.UDP(1000, 2000, data)
		if tcp {
			l4 = packettest.TCP(1000, 2000, data)
		}
		all := packettest.Tunnels(inner4)
		with := all[int(tunnel)%len(all)]
		pkt := packettest.IP(h, with.Carry(packettest.IP(inner, l4)))
		u, _ := open(pkt)
		o := packettest.PartialInner(pkt, u.hdr+with.Length)
		if lie && int(start) != u.hdr { // the outer checksum is for FuzzOffload
			o.CsumStart, o.CsumOffset = start, offset
		}

		p := packettest.Buffer(pkt)
		p.Offload = o
		res := x.w.Translate(0, &p)
		packettest.CheckGuards(t, &p, pkt)
		if res.Verdict != translate.Drop {
			checkOffload(t, &p)
		} else if p.Offload != o {
			t.Errorf("offload of a packet that is dropped is now %+v, was %+v", p.Offload, o)
		}
		got := x.sent(t, &p)
		plain, ok := refxlat.Finish(pkt, o)
		if !ok {
			if res.Verdict != translate.Drop {
				t.Errorf("%v (%v) of a packet that cannot have %+v", res.Verdict, res.Reason, o)
			}
			return
		}
		want, wantRes := x.ref.Translate(plain)
		if res != wantRes {
			t.Fatalf("%v (%v), the reference says %v (%v)", res.Verdict, res.Reason, wantRes.Verdict, wantRes.Reason)
		}
		if d := packettest.EqualAll(want, got); d != "" {
			t.Fatalf("%v (%v): %s", res.Verdict, res.Reason, d)
		}
	})
}
