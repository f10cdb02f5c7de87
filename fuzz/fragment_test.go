package fuzz

import (
	"bytes"
	"slices"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// transport makes an upper-layer packet with a checksum over all of it, but for
// ESP, and n bytes after its header.
func transport(kind uint8, n int) packettest.Payload {
	data := packettest.Bytes(n, kind)
	switch kind % 6 {
	case 0:
		return packettest.UDP(1000, 2000, data)
	case 1:
		return packettest.TCP(1000, 2000, data)
	case 2:
		return packettest.DCCP(1000, 2000, data)
	case 3:
		return packettest.UDPLite(1000, 2000, 0, data)
	case 4:
		return packettest.Raw(50, data)
	}
	return packettest.EchoRequest(1, 2, data)
}

// header makes a header between two known addresses: the usual ones if both
// numbers are 0.
func (x *rig) header(is4 bool, src, dst uint8) packettest.Header {
	if src|dst != 0 {
		return packettest.Header{Src: x.addr(is4, src), Dst: x.addr(is4, dst)}
	}
	if is4 {
		return packettest.Header{Src: packettest.H4, Dst: packettest.M4}
	}
	h := packettest.From6()
	if p := x.Table.Prefixes; len(p) > 0 {
		if v6, err := translate.Embed(p[0], packettest.H4); err == nil {
			h.Dst = v6
		}
	}
	return h
}

// tricks makes a hostile train out of a good one: three bytes a trick, which
// are what to do, to which piece, and a number.
func tricks(train [][]byte, todo []byte) [][]byte {
	for trick := range slices.Chunk(todo[:min(len(todo), 24)], 3) {
		if len(trick) < 3 || len(train) == 0 {
			break
		}
		i, v := int(trick[1])%len(train), trick[2]
		b := slices.Clone(train[i])
		word, least := 6, 20 // where offset and flags are; bytes of headers
		if b[0]>>4 == 6 {
			word, least = 42, 48
		}
		switch trick[0] % 8 {
		case 0: // comes twice, perhaps far from the first time
			train = slices.Insert(train, int(v)%(len(train)+1), b)
			continue
		case 1: // is lost
			train = slices.Delete(train, i, i+1)
			continue
		case 2: // comes in another place
			train = slices.Insert(slices.Delete(train, i, i+1), int(v)%len(train), b)
			continue
		case 3: // lies somewhere else, and perhaps over another
			b[word] ^= v & 0x1f
		case 4:
			b[word+1] ^= v & 0xf8
		case 5: // is the last, or is not
			if b[0]>>4 == 4 {
				b[word] ^= 0x20
			} else {
				b[word+1] ^= 1
			}
		case 6: // is shorter
			b = b[:max(len(b)-int(v), least)]
			fix(b, b[0]>>4 == 4, fixLength)
		case 7: // is another protocol's
			if b[0]>>4 == 4 {
				b[9] = v
			} else {
				b[40] = v
			}
		}
		packettest.FixHeader(b)
		train[i] = b
	}
	return train
}

// FuzzTrain: the fragments of a packet, in order and whole, or with tricks: some
// lost, twice, in another order, overlapping, misshapen. Each keeps what
// FuzzPacket4to6 promises, above all that the outcome is the reference's and that no
// error answers a fragment that is not the first. If the train is whole and all
// of it passes, what comes out can be reassembled, and is the packet that went
// in, checksum right.
func FuzzTrain(f *testing.F) {
	f.Add(uint8(0), true, uint8(0), uint8(0), uint8(64), uint8(0), uint16(3000), uint16(1500), uint32(7), []byte{})        // UDP 4to6
	f.Add(uint8(0), false, uint8(0), uint8(0), uint8(64), uint8(1), uint16(3000), uint16(1280), uint32(70000), []byte{})   // TCP 6to4
	f.Add(uint8(0), true, uint8(0), uint8(0), uint8(64), uint8(1), uint16(100), uint16(28), uint32(7), []byte{})           // tiny fragments
	f.Add(uint8(14), false, uint8(0), uint8(0), uint8(64), uint8(2), uint16(900), uint16(576), uint32(7), []byte{})        // DCCP, cut again for an MTU of 68
	f.Add(uint8(15), true, uint8(0), uint8(0), uint8(64), uint8(3), uint16(9000), uint16(2000), uint32(7), []byte{})       // cut again for the IPv6 network
	f.Add(uint8(0), true, uint8(0), uint8(0), uint8(1), uint8(4), uint16(3000), uint16(600), uint32(7), []byte{})          // hop limit: one error, about the first
	f.Add(uint8(0), true, uint8(0), uint8(0), uint8(64), uint8(5), uint16(3000), uint16(600), uint32(7), []byte{})         // ICMP never passes
	f.Add(uint8(0), true, uint8(0), uint8(0), uint8(64), uint8(0), uint16(3000), uint16(600), uint32(7), []byte{4, 1, 8})  // overlaps: RFC 5722
	f.Add(uint8(0), false, uint8(0), uint8(0), uint8(64), uint8(0), uint16(3000), uint16(600), uint32(7), []byte{6, 0, 3}) // not a multiple of 8
	f.Fuzz(func(t *testing.T, rig uint8, is4 bool, src, dst, ttl, kind uint8, n, size uint16, id uint32, todo []byte) {
		x := rigOf(t, rig)
		h := x.header(is4, src, dst)
		h.TTL = ttl
		whole := packettest.IP(h, transport(kind, int(n)%maxPacket))
		least := 56
		if is4 {
			least = 28
		}
		train := packettest.Fragments(whole, max(least, int(size)%3000), id)
		if len(train) < 2 || len(train) > 200 {
			return
		}
		good := len(todo) < 3
		var out [][]byte
		for _, piece := range tricks(train, todo) {
			got, res := x.translate3(t, piece)
			good = good && (res.Verdict == translate.Forward || res.Verdict == translate.Split)
			out = append(out, got...)
		}
		if !good {
			return
		}
		back, err := packettest.Reassemble(out)
		if err != nil {
			t.Fatal(err)
		}
		u, ok := open(back)
		in, _ := open(whole)
		if known, right := u.sums(); !ok || known && !right || len(u.data) != len(in.data) ||
			!bytes.Equal(u.data[min(18, len(u.data)):], in.data[min(18, len(in.data)):]) {
			t.Errorf("%x\nbecame %x", whole, back)
		}
	})
}

// pieces makes n buffers that are as small as they may be for packets of size
// bytes, each followed by bytes that must not be touched.
func pieces(n, size int) (more []translate.Packet, guards [][]byte) {
	const guard = 16
	for range n {
		b := bytes.Repeat([]byte{0xa5}, translate.Headroom+size+guard)
		more = append(more, translate.Packet{Buf: b[: translate.Headroom+size : translate.Headroom+size]})
		guards = append(guards, b[translate.Headroom+size:])
	}
	return more, guards
}

// cut calls Fragment until p fits, with n buffers at a time, and checks what it
// says of every piece. It returns the packets that leave.
func (x *rig) cut(t *testing.T, p *translate.Packet, n int) (out [][]byte) {
	t.Helper()
	limit := min(max(x.Config.LowestIPv6MTU, 1280), x.Config.MTU6)
	if p.Bytes()[0]>>4 == 4 {
		limit = x.Config.MTU4
	}
	for p.Result.Verdict == translate.Split {
		more, guards := pieces(n, limit)
		k := x.w.Fragment(p, more)
		if k > n || k < 1 && p.Result.Verdict == translate.Split {
			t.Fatalf("%d pieces in %d buffers", k, n)
		}
		for i := range more {
			if !bytes.Equal(guards[i], bytes.Repeat([]byte{0xa5}, len(guards[i]))) {
				t.Fatal("byte written after a buffer")
			}
			if i >= k && more[i].Len != 0 {
				t.Error("a buffer that does not count holds something")
			}
		}
		for _, q := range more[:k] {
			if q.Off < 0 || q.Len > limit || q.Offload != (translate.Offload{}) || q.Result != (translate.Result{Verdict: translate.Forward, Reason: translate.Translated}) {
				t.Errorf("piece at %d of %d bytes for %d, %+v, %v", q.Off, q.Len, limit, q.Offload, q.Result)
			}
			out = append(out, slices.Clone(q.Bytes()))
		}
	}
	if p.Len > limit {
		t.Errorf("the last piece has %d bytes for %d", p.Len, limit)
	}
	return append(out, slices.Clone(p.Bytes()))
}

// change has the worker take up other MTUs, which it forgets with the next packet.
// It returns a rig that knows of them; the reference does not.
func (x *rig) change(t *testing.T, mtu4, mtu6 int) *rig {
	t.Helper()
	y := *x
	y.Config.MTU4, y.Config.MTU6 = mtu4, mtu6
	x.update(t, mtu4, mtu6, x.tab)
	x.translate(t, nil, 0xa5)
	x.update(t, x.Config.MTU4, x.Config.MTU6, x.tab)
	return &y
}

// FuzzFragment: a packet that may have to be cut, or a fragment of one, and as
// many buffers at a time as the fuzzer gives, none larger than it must be. The
// pieces are those of the reference, whatever the buffers; each fits; nothing is
// written outside of them; together they are the packet again, also if the MTUs
// change before it is cut. A packet with another verdict than Split is not cut
// and nothing is changed, nor is it with no buffer at all.
func FuzzFragment(f *testing.F) {
	f.Add(uint8(0), true, uint8(0), uint8(0), uint8(0), uint16(3000), uint16(0), false, uint8(1))    // one buffer at a time
	f.Add(uint8(0), true, uint8(0), uint8(0), uint8(0), uint16(3000), uint16(0), false, uint8(9))    // more than needed
	f.Add(uint8(0), true, uint8(0), uint8(0), uint8(4), uint16(2400), uint16(185), true, uint8(2))   // a fragment is cut again
	f.Add(uint8(0), true, uint8(0), uint8(0), uint8(4), uint16(2400), uint16(7800), false, uint8(2)) // close to the end of offsets
	f.Add(uint8(14), false, uint8(0), uint8(0), uint8(1), uint16(1200), uint16(0), false, uint8(3))  // 6to4, for an MTU of 68
	f.Add(uint8(13), false, uint8(0), uint8(0), uint8(4), uint16(1400), uint16(5), true, uint8(1))   // with a Fragment Header
	f.Add(uint8(16), true, uint8(0), uint8(0), uint8(0), uint16(1500), uint16(0), false, uint8(1))   // next hop below the lowest MTU
	f.Add(uint8(0), true, uint8(0), uint8(0), uint8(0), uint16(100), uint16(0), false, uint8(1))     // fits
	// What was found: a last piece that holds no multiple of 8, translate.TestFewestPieces.
	f.Add(uint8(16), true, uint8(0), uint8(0), uint8(0), uint16(2684), uint16(0), false, uint8(1))
	// An MTU that grows, translate.TestFragmentAfterUpdate: to 9000 and to 1300.
	f.Add(uint8(14), false, uint8(0), uint8(0), uint8(1), uint16(1200), uint16(0), false, uint8(3<<4))
	f.Add(uint8(14), false, uint8(0), uint8(0), uint8(1), uint16(1200), uint16(0), false, uint8(2<<4))
	f.Add(uint8(16), true, uint8(0), uint8(0), uint8(0), uint16(1500), uint16(0), false, uint8(1<<4))
	f.Fuzz(func(t *testing.T, rig uint8, is4 bool, src, dst, kind uint8, n, off8 uint16, more bool, buffers uint8) {
		x := rigOf(t, rig)
		h := x.header(is4, src, dst)
		p := transport(kind, int(n)%maxPacket)
		off8 &= 0x1fff
		switch {
		case is4:
			h.Off8, h.MF = off8, more
		case off8 != 0 || more || kind >= 128:
			p = packettest.Fragment(uint32(n)<<8, off8, more, p)
		}
		pkt := packettest.IP(h, p)
		want, wantRes := x.ref.Translate(pkt)
		q := packettest.Buffer(pkt)
		if res := x.w.Translate(0, &q); res != wantRes {
			t.Fatalf("%v (%v), the reference says %v (%v)\nin %x", res.Verdict, res.Reason, wantRes.Verdict, wantRes.Reason, pkt)
		}
		before, was := slices.Clone(q.Buf), q
		none := buffers
		if q.Result.Verdict == translate.Split {
			none = 0
		}
		some, _ := pieces(int(none)%16, 1500)
		if k := x.w.Fragment(&q, some); k != 0 || !bytes.Equal(q.Buf, before) ||
			q.Off != was.Off || q.Len != was.Len || q.Offload != was.Offload || q.Result != was.Result {
			t.Errorf("%v (%v) with %d buffers: Fragment says %d and leaves %v", was.Result.Verdict, was.Result.Reason, len(some), k, q.Result)
		}
		if q.Result.Verdict != translate.Split {
			x.translate3(t, pkt)
			return
		}
		n4, n6 := []int{68, 577, 1300, 9000, 65535}, []int{1280, 1401, 9000, 65535}
		if change := int(buffers >> 4); change > 0 {
			x = x.change(t, n4[change%len(n4)], n6[change%len(n6)])
		}
		got := x.cut(t, &q, 1+int(buffers)%16)
		packettest.CheckGuards(t, &q, pkt)
		if buffers>>4 > 0 {
			x.keeps(t, pkt, got, wantRes)
			return
		}
		if d := packettest.EqualAll(want, got); d != "" {
			t.Fatalf("%s\nin %x", d, pkt)
		}
		x.keeps(t, pkt, got, wantRes)
	})
}
