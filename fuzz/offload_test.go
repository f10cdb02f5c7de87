package fuzz

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// Fields of a virtio-net header that are lies, in the number lie of FuzzOffload.
const (
	lieFlags = 1 << iota
	lieType
	lieHdrLen
	lieSize
	lieStart
	lieOffset
	lieChain // an extension header that the offload does not know of
)

// A virtio is a virtio-net header from the fuzzer.
type virtio struct {
	lie uint8
	translate.Offload
}

// tell puts the lies into an honest o.
func (v *virtio) tell(o translate.Offload) translate.Offload {
	if v.lie&lieFlags != 0 {
		o.Flags = v.Flags
	}
	if v.lie&lieType != 0 {
		o.GSOType = v.GSOType
	}
	if v.lie&lieHdrLen != 0 {
		o.HdrLen = v.HdrLen
	}
	if v.lie&lieSize != 0 {
		o.GSOSize = v.GSOSize
	}
	if v.lie&lieStart != 0 {
		o.CsumStart = v.CsumStart
	}
	if v.lie&lieOffset != 0 {
		o.CsumOffset = v.CsumOffset
	}
	return o
}

// super makes a TCP or UDP packet with n bytes of payload, and options and flags
// in a TCP header.
func super(h packettest.Header, tcp bool, n int, flags, options uint8) []byte {
	data := packettest.Bytes(n, 1)
	if !tcp {
		return packettest.IP(h, packettest.UDP(1000, 2000, data))
	}
	words := int(options) % 11
	for i := range data[:min(n, words*4)] {
		data[i] = 1 // no operation
	}
	pkt := packettest.IP(h, packettest.TCP(1000, 2000, data))
	at := len(pkt) - n - 20
	if n >= words*4 {
		pkt[at+12] = uint8(5+words) << 4
	}
	pkt[at+13] = flags
	return pkt
}

// sent is what leaves when p has been translated: cut, and with the work done
// that the kernel would do.
func (x *rig) sent(t *testing.T, p *translate.Packet) (out [][]byte) {
	t.Helper()
	x.emit(t)
	if p.Result.Verdict == translate.Drop {
		return nil
	}
	if p.Result.Verdict == translate.Split {
		return x.cut(t, p, translate.MaxPieces)
	}
	return packettest.Segments(p.Bytes(), p.Offload)
}

// checkOffload fails the test if the kernel would refuse the offload of a packet
// that leaves, or write a checksum to a place where none is.
func checkOffload(t *testing.T, p *translate.Packet) {
	t.Helper()
	o := p.Offload
	if p.Result.Verdict == translate.Reply && o != (translate.Offload{}) {
		t.Errorf("a reply with %+v", o)
	}
	if o == (translate.Offload{}) {
		return
	}
	u, ok := open(p.Bytes())
	offset := map[uint8]uint16{6: 16, 17: 6}[u.proto]
	if !ok || o.Flags != translate.OffloadNeedsCsum || int(o.CsumStart) != u.hdr || offset == 0 || o.CsumOffset != offset || len(u.data) < int(offset)+2 {
		t.Errorf("%v: %+v for protocol %d after %d bytes", p.Result.Verdict, o, u.proto, u.hdr)
		return
	}
	family := uint8(translate.GSOTCPv6)
	if u.src.Is4() {
		family = translate.GSOTCPv4
	}
	hdrLen := u.hdr + 8
	if u.proto == 6 {
		hdrLen = u.hdr + int(u.data[12]>>4)*4
	}
	gso := o.GSOType != translate.GSONone
	switch {
	case gso != (o.GSOSize != 0), !gso && o.HdrLen != 0,
		gso && u.proto == 6 && o.GSOType&^translate.GSOECN != family,
		gso && u.proto == 17 && o.GSOType != translate.GSOUDPL4,
		gso && (int(o.HdrLen) != hdrLen || hdrLen > p.Len),
		gso && u.proto == 17 && len(u.data)-8 > int(o.GSOSize)*128:
		t.Errorf("%v: %+v for protocol %d, header of %d, packet of %d bytes", p.Result.Verdict, o, u.proto, hdrLen, p.Len)
	}
}

// FuzzOffload: a super-packet or a packet with a partial checksum, and a
// virtio-net header that is honest, or lies in any of its fields. Whatever it
// says: no panic, nothing written outside of the packet's room or to a packet
// that is dropped, and an offload that leaves describes the packet that leaves,
// so that the kernel neither refuses it nor writes where it must not. If it is
// honest, the segments of the translated packet are what its segments become
// when each is translated, checksums right, but for the fields that a
// super-packet shares: DF of a short last segment and IPv4 identifications.
func FuzzOffload(f *testing.F) {
	add := func(rig uint8, is4, tcp, df bool, n, gso uint16, flags uint8, v virtio) {
		f.Add(rig, is4, uint8(0), uint8(0), uint8(64), tcp, df, n, gso, flags, uint8(0),
			v.lie, v.Flags, v.GSOType, v.HdrLen, v.GSOSize, v.CsumStart, v.CsumOffset)
	}
	add(0, true, true, true, 20000, 1400, 0x89, virtio{})  // TCP with FIN, PSH and CWR
	add(0, false, true, true, 20000, 1440, 0x10, virtio{}) // and back
	add(0, true, false, true, 9000, 1200, 0, virtio{})     // UDP
	add(0, true, true, false, 9000, 1448, 0x10, virtio{})  // each segment to be cut
	add(0, false, false, true, 9000, 1600, 0, virtio{})    // too large: one error, about the first
	add(14, false, true, true, 3000, 600, 0x18, virtio{})  // segments cut to 68 bytes
	add(1, true, true, true, 700, 0, 0x10, virtio{})       // partial checksum alone
	add(0, true, true, true, 65000, 1400, 0x10, virtio{})  // as large as they come
	add(0, true, true, true, 3000, 1000, 0x10, virtio{lie: lieStart, Offload: translate.Offload{CsumStart: 60000}})
	add(0, true, true, true, 3000, 1000, 0x10, virtio{lie: lieType, Offload: translate.Offload{GSOType: translate.GSOTCPv6}})
	add(0, false, false, true, 3000, 1000, 0x10, virtio{lie: lieSize, Offload: translate.Offload{GSOSize: 1}})
	add(0, false, true, true, 3000, 1000, 0x10, virtio{lie: lieHdrLen | lieFlags, Offload: translate.Offload{HdrLen: 65535, Flags: 3}})
	// Segments of as much as two pieces hold: translate.TestFewestPieces.
	add(16, true, true, false, 6000, 1344+1349-20, 0x10, virtio{})
	add(13, false, true, true, 3000, 552+557-20, 0x10, virtio{})
	f.Fuzz(func(t *testing.T, rig uint8, is4 bool, src, dst, ttl uint8, tcp, df bool, n, gso uint16, flags, options uint8,
		lie, oFlags, oType uint8, hdrLen, size, start, offset uint16) {
		x := rigOf(t, rig)
		h := x.header(is4, src, dst)
		h.TTL, h.DF, h.ID = ttl, df, n^gso
		length := min(int(n), 65000)
		if gso > 0 {
			length = min(length, int(gso)*100) // not a thousand segments
		}
		pkt := super(h, tcp, length, flags, options)
		o := packettest.Partial(pkt, int(gso))
		if ip := int(o.CsumStart); tcp && len(pkt) < ip+int(pkt[ip+12]>>4)*4 {
			return
		}
		v := virtio{lie, translate.Offload{Flags: oFlags, GSOType: oType, HdrLen: hdrLen, GSOSize: size, CsumStart: start, CsumOffset: offset}}
		if lie != 0 {
			x.lying(t, pkt, v.tell(o), v.lie, h)
			return
		}
		if o.GSOType == translate.GSOTCPv4 || o.GSOType == translate.GSOTCPv6 {
			o.GSOType |= oType & translate.GSOECN
		}
		x.honest(t, pkt, o)
	})
}

// lying checks what holds whatever an offload says.
func (x *rig) lying(t *testing.T, pkt []byte, o translate.Offload, lie uint8, h packettest.Header) {
	t.Helper()
	if lie&lieChain != 0 {
		u, _ := open(pkt)
		pkt = packettest.IP(h, packettest.DestOpts(8, packettest.Raw(u.proto, u.data)))
		if h.Src.Is4() {
			return // has no such thing
		}
	}
	p := packettest.Buffer(pkt)
	p.Offload = o
	res := x.w.Translate(0, &p)
	packettest.CheckGuards(t, &p, pkt)
	if res.Verdict == translate.Drop {
		if p.Offload != o {
			t.Errorf("offload of a packet that is dropped is now %+v, was %+v", p.Offload, o)
		}
		return
	}
	checkOffload(t, &p)
	if res.Verdict == translate.Reply && res.Reason != translate.EchoReply {
		in, _ := open(pkt)
		if err := errors.Join(mayTell(&in), tells(&in, p.Bytes())); err != nil {
			t.Errorf("error about a packet (%v): %v", res.Reason, err)
		}
	}
	if res.Verdict == translate.Split {
		x.cut(t, &p, translate.MaxPieces)
		packettest.CheckGuards(t, &p, pkt)
	}
}

// honest compares the segments of the translated packet with the translated
// segments of the packet.
func (x *rig) honest(t *testing.T, pkt []byte, o translate.Offload) {
	t.Helper()
	segments := packettest.Segments(pkt, o)
	p := packettest.Buffer(pkt)
	p.Offload = o
	res := x.w.Translate(0, &p)
	packettest.CheckGuards(t, &p, pkt)
	checkOffload(t, &p)
	batch := []translate.Packet{packettest.Buffer(pkt)}
	batch[0].Offload = o
	x.w.TranslateBatch(0, batch)
	if b := &batch[0]; b.Result != res || b.Offload != p.Offload || !slices.Equal(shared(b.Bytes(), false), shared(p.Bytes(), false)) {
		t.Errorf("in a batch: %v, %+v, alone: %v, %+v", b.Result, b.Offload, res, p.Offload)
	}
	got := x.sent(t, &p)
	packettest.CheckGuards(t, &p, pkt)

	var want [][]byte
	for i, s := range segments {
		out, alone := x.translate3(t, s)
		refused := alone.Verdict == translate.Drop || alone.Verdict == translate.Reply
		if i == 0 && alone != res && (refused || res.Verdict != translate.Forward && res.Verdict != translate.Split) {
			t.Fatalf("%v (%v), its first segment is %v (%v)", res.Verdict, res.Reason, alone.Verdict, alone.Reason)
		}
		want = append(want, out...)
		if refused {
			break // a super-packet is refused once, and as a whole
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%v (%v): %d packets leave, want %d", res.Verdict, res.Reason, len(got), len(want))
	}
	for i := range got {
		if err := packettest.Check(got[i]); err != nil {
			t.Fatal(err)
		}
		df := i == len(got)-1 // for the last one the header of the full ones speaks
		if a, b := shared(got[i], df), shared(want[i], df); !slices.Equal(a, b) {
			t.Fatalf("%v (%v): packet %d of %d\ngot  %x\nwant %x", res.Verdict, res.Reason, i, len(got), a[:min(len(a), 80)], b[:min(len(b), 80)])
		}
	}
}

// shared clears in an IPv4 packet the identification, and DF if asked to.
func shared(pkt []byte, df bool) []byte {
	if pkt[0]>>4 != 4 {
		return pkt
	}
	return packettest.Edit(pkt, func(b []byte) {
		binary.BigEndian.PutUint16(b[4:], 0)
		if df {
			b[6] &^= 0x40
		}
	})
}
