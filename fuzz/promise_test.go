package fuzz

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// An upper is what a plain reader finds after the IP headers of a packet.
type upper struct {
	src, dst netip.Addr
	ttl      uint8
	proto    uint8
	off8     int
	more     bool
	fh       bool   // IPv6: there is a Fragment Header
	hdr      int    // bytes before data
	data     []byte // up to the end that the IP header names
}

func (u *upper) fragment() bool { return u.off8 != 0 || u.more }

// open reads a packet, hostile or not. ok is false where the headers make no
// sense or are not all there.
func open(pkt []byte) (u upper, ok bool) {
	switch {
	case len(pkt) >= 20 && pkt[0]>>4 == 4:
		n, total := int(pkt[0]&15)*4, int(binary.BigEndian.Uint16(pkt[2:]))
		if n < 20 || total < n || total > len(pkt) {
			return u, false
		}
		word := binary.BigEndian.Uint16(pkt[6:])
		return upper{
			src: netip.AddrFrom4([4]byte(pkt[12:])), dst: netip.AddrFrom4([4]byte(pkt[16:])),
			ttl: pkt[8], proto: pkt[9], off8: int(word & 0x1fff), more: word&0x2000 != 0,
			hdr: n, data: pkt[n:total],
		}, true
	case len(pkt) >= 40 && pkt[0]>>4 == 6:
		end := 40 + int(binary.BigEndian.Uint16(pkt[4:]))
		if end > len(pkt) {
			return u, false
		}
		u = upper{
			src: netip.AddrFrom16([16]byte(pkt[8:])), dst: netip.AddrFrom16([16]byte(pkt[24:])),
			ttl: pkt[7], proto: pkt[6], hdr: 40,
		}
		for {
			u.data = pkt[u.hdr:end]
			n := 8
			switch u.proto {
			case 0, 43, 60:
				if len(u.data) >= 2 {
					n = (int(u.data[1]) + 1) * 8
				}
			case 44:
			default:
				return u, true
			}
			if n > len(u.data) {
				return u, false
			}
			if u.proto == 44 {
				word := binary.BigEndian.Uint16(u.data[2:])
				u.fh, u.off8, u.more = true, int(word>>3), word&1 != 0
				u.proto, u.data, u.hdr = u.data[0], u.data[8:], u.hdr+8
				return u, true
			}
			u.proto, u.hdr = u.data[0], u.hdr+n
		}
	}
	return u, false
}

// sums reports whether the packet has a checksum over all of its data, as far as
// we can know, and whether it is right.
func (u *upper) sums() (known, right bool) {
	if u.fragment() {
		return false, false
	}
	pseudo := packettest.Pseudo(u.src, u.dst, u.proto, len(u.data))
	switch u.proto {
	case 6:
		known = len(u.data) >= 20
	case 17:
		known = len(u.data) >= 8 && (u.data[6] != 0 || u.data[7] != 0)
	case 33:
		known = len(u.data) >= 12 && u.data[5]&15 == 0
	case 136:
		known = len(u.data) >= 8 && u.data[4] == 0 && u.data[5] == 0
	case 1:
		// Of nothing but zeros the sum is 0, which no update by RFC 1624 can tell
		// from 0xffff: an Echo Reply of zeros passes with a right checksum.
		known, pseudo = len(u.data) >= 8 && packettest.Sum(u.data) != 0, nil
	case 58:
		known = len(u.data) >= 8
	}
	return known, known && packettest.Sum(pseudo, u.data) == 0xffff
}

// isError reports whether the packet is an ICMP error of its family, RFC 1812
// §4.3.2.7, RFC 4443 §2.1.
func (u *upper) isError() bool {
	switch {
	case u.off8 != 0 || len(u.data) == 0:
		return false
	case u.proto == 1 && u.src.Is4():
		return slices.Contains([]uint8{3, 4, 5, 11, 12}, u.data[0])
	}
	return u.proto == 58 && u.src.Is6() && u.data[0] < 128
}

// notOneHost reports whether a is the address of no single host.
func notOneHost(a netip.Addr) bool {
	switch {
	case a.IsMulticast(), a.IsUnspecified(), a.IsLoopback(), a.Is4In6(),
		a.Is6() && a.IsLinkLocalUnicast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}),
		a.Is4() && a.As4()[0] == 0:
		return true
	}
	return false
}

// parse lets gopacket decode a packet of ours, and says what is wrong with its
// headers. Unlike packettest.Check it does not look into the payload, which may
// be anything if the packet that came was malformed.
func parse(pkt []byte) error {
	u, ok := open(pkt)
	if !ok {
		return errors.New("headers make no sense")
	}
	if notOneHost(u.src) || notOneHost(u.dst) {
		return fmt.Errorf("%s → %s", u.src, u.dst)
	}
	if u.src.Is4() {
		var ip layers.IPv4
		if err := ip.DecodeFromBytes(pkt, gopacket.NilDecodeFeedback); err != nil {
			return err
		}
		switch {
		case ip.IHL != 5 || int(ip.Length) != len(pkt):
			return fmt.Errorf("IHL %d, Total Length %d of %d bytes", ip.IHL, ip.Length, len(pkt))
		case packettest.Sum(pkt[:20]) != 0xffff:
			return errors.New("header checksum is wrong")
		case ip.Flags&layers.IPv4EvilBit != 0, ip.Flags&layers.IPv4DontFragment != 0 && u.fragment():
			return fmt.Errorf("flags are %s", ip.Flags)
		}
	} else {
		var ip layers.IPv6
		if err := ip.DecodeFromBytes(pkt, gopacket.NilDecodeFeedback); err != nil && len(pkt) > 40 {
			return err
		}
		switch {
		case int(ip.Length)+40 != len(pkt):
			return fmt.Errorf("Payload Length %d of %d bytes", ip.Length, len(pkt))
		case u.fh && (u.hdr != 48 || pkt[41] != 0 || pkt[43]&6 != 0):
			return fmt.Errorf("Fragment Header %x", pkt[40:48])
		case u.fh && !u.fragment():
			return errors.New("atomic fragment: RFC 8021")
		}
	}
	if u.more && (len(u.data) == 0 || len(u.data)%8 != 0) || u.fragment() && u.off8*8+len(u.data) > 65535 {
		return fmt.Errorf("fragment of %d bytes at %d, more=%t", len(u.data), u.off8*8, u.more)
	}
	return nil
}

// keeps fails the test if out, which pkt has become, breaks a promise that can be
// told without the reference.
func (x *rig) keeps(t *testing.T, pkt []byte, out [][]byte, res translate.Result) {
	t.Helper()
	in, opened := open(pkt)
	if res.Reason == translate.NotChecked {
		t.Error("not checked")
	}
	if (res.Verdict == translate.Drop) != (len(out) == 0) || res.Verdict != translate.Split && len(out) > 1 {
		t.Errorf("%v, and %d packets leave", res.Verdict, len(out))
	}
	if len(out) == 0 {
		return
	}
	if !opened && res.Reason != translate.BadExtensionHeader { // of which the headers are known up to that
		t.Fatalf("%v (%v) of a packet that cannot be read", res.Verdict, res.Reason)
	}
	for _, b := range out {
		if err := parse(b); err != nil {
			t.Errorf("%v (%v): %v\nout %x", res.Verdict, res.Reason, err, b)
			return
		}
		if err := x.wellFormed(pkt, b); err != nil {
			t.Errorf("%v (%v): well-formed in, out: %v\nout %x", res.Verdict, res.Reason, err, b)
		}
	}
	if res.Verdict != translate.Reply {
		x.keepsTranslated(t, &in, out, res)
		return
	}
	if res.Reason == translate.EchoReply {
		to, _ := open(out[0])
		if _, right := to.sums(); to.src != in.dst || to.dst != in.src || in.isError() || !right {
			t.Errorf("Echo Reply %s → %s to %s → %s, checksum right: %t", to.src, to.dst, in.src, in.dst, right)
		}
		return
	}
	if err := errors.Join(mayTell(&in), tells(&in, out[0]), quotes(pkt, out[0])); err != nil {
		t.Errorf("error about a packet (%v): %v", res.Reason, err)
	}
}

// wellFormed reports what is wrong with out if nothing is wrong with in.
func (x *rig) wellFormed(in, out []byte) error {
	if packettest.Check(in) != nil {
		return nil
	}
	err := packettest.Check(out)
	if errors.Is(err, packettest.ErrNoChecksum) && x.Config.UDPZero == translate.UDPZeroForward {
		return nil
	}
	return err
}

// keepsTranslated holds what is promised of packets that go on.
func (x *rig) keepsTranslated(t *testing.T, in *upper, out [][]byte, res translate.Result) {
	t.Helper()
	var to upper
	for _, b := range out {
		to, _ = open(b)
		if to.src.Is4() == in.src.Is4() && res.Reason != translate.Hairpinned {
			t.Errorf("%v (%v) from %s to %s", res.Verdict, res.Reason, in.src, to.src)
		}
		if to.ttl+1 != in.ttl {
			t.Errorf("hop limit %d became %d", in.ttl, to.ttl)
		}
		limit := x.Config.MTU6
		if to.src.Is4() {
			limit = x.Config.MTU4
			if to.isError() {
				limit = max(limit, 576) // what every host takes: RFC 1812 §4.3.2.3
			}
		}
		if len(b) > limit {
			t.Errorf("%d bytes leave for an MTU of %d", len(b), limit)
		}
	}
	if len(out) > 1 && !in.fragment() {
		whole, err := packettest.Reassemble(out)
		if err != nil {
			t.Fatal(err)
		}
		to, _ = open(whole)
	}
	if known, right := in.sums(); known && !to.fragment() {
		if _, still := to.sums(); still != right {
			t.Errorf("checksum right: %t, and out: %t", right, still)
		}
	}
}

// mayTell says why no ICMP error may be sent about a packet: RFC 1812 §4.3.2.7, RFC
// 4443 §2.4.
func mayTell(in *upper) error {
	switch {
	case in.isError():
		return errors.New("is an ICMP error itself")
	case in.off8 != 0:
		return errors.New("is not a first fragment")
	case notOneHost(in.src), in.src.Is4() && in.src.As4()[0]&0xf0 == 0xf0:
		return fmt.Errorf("comes from %s", in.src)
	case notOneHost(in.dst):
		return fmt.Errorf("goes to %s", in.dst)
	}
	return nil
}

// tells says why out is no ICMP error for the source of in.
func tells(in *upper, out []byte) error {
	to, _ := open(out)
	limit := 576
	if to.src.Is6() {
		limit = 1280
	}
	if !to.isError() || to.dst != in.src {
		return fmt.Errorf("the answer is no error for %s: %x", in.src, out)
	}
	if len(out) > limit {
		return fmt.Errorf("the answer has %d bytes", len(out))
	}
	if _, right := to.sums(); !right {
		return errors.New("the answer's checksum is wrong")
	}
	return nil
}

// quotes says why the ICMP error out does not quote pkt as it came.
func quotes(pkt, out []byte) error {
	quote := out[min(28, len(out)):]
	if out[0]>>4 == 6 {
		quote = out[min(48, len(out)):]
	}
	if !bytes.HasPrefix(pkt, quote) {
		return fmt.Errorf("the answer quotes something else: %x", quote)
	}
	return nil
}

// translate sends pkt through the translator and cuts it if need be. Bytes
// around the packet are set to around, which must not matter.
func (x *rig) translate(t *testing.T, pkt []byte, around byte) ([][]byte, translate.Result) {
	t.Helper()
	p := packettest.Buffer(pkt)
	for i := range p.Buf {
		if around != 0xa5 && (i < p.Off || i >= p.Off+p.Len) {
			p.Buf[i] = around
		}
	}
	res := x.w.Translate(x.now, &p)
	if res != p.Result {
		t.Errorf("result %v, and in the packet %v", res, p.Result)
	}
	if around == 0xa5 {
		packettest.CheckGuards(t, &p, pkt)
	}
	out := x.finish(t, &p)
	x.emit(t)
	return out, res
}

// emit compares the packets that come from no other with those of the reference.
func (x *rig) emit(t *testing.T) {
	t.Helper()
	want, wantNext := x.ref.Emit(x.now)
	n, next := x.w.Emit(x.now, x.more)
	var got [][]byte
	for i := range x.more[:n] {
		got = append(got, slices.Clone(x.more[i].Bytes()))
	}
	if d := packettest.EqualAll(want, got); d != "" || next != wantNext {
		t.Errorf("packets of none: %s, next at %v, want %v", d, next, wantNext)
	}
}

// finish fragments a packet with the verdict Split and returns the packets that leave.
func (x *rig) finish(t *testing.T, p *translate.Packet) (out [][]byte) {
	t.Helper()
	for p.Result.Verdict == translate.Split {
		if x.w.Fragment(p, x.more) != 1 {
			t.Fatal("nothing cut from a packet that is too large")
		}
		out = append(out, slices.Clone(x.more[0].Bytes()))
	}
	if p.Result.Verdict != translate.Drop {
		out = append(out, slices.Clone(p.Bytes()))
	}
	return out
}

// inBatch sends pkt through the translator in a batch, after another one like it,
// and cuts it if need be.
func (x *rig) inBatch(t *testing.T, pkt []byte) ([][]byte, translate.Result) {
	t.Helper()
	ps := []translate.Packet{packettest.Buffer(pkt), packettest.Buffer(pkt)}
	x.w.TranslateBatch(x.now, ps)
	if ps[0].Result != ps[1].Result || ps[0].Len != ps[1].Len {
		t.Errorf("two packets alike in a batch: %v of %d bytes, and %v of %d", ps[0].Result, ps[0].Len, ps[1].Result, ps[1].Len)
	}
	for i := range ps {
		packettest.CheckGuards(t, &ps[i], pkt)
	}
	res := ps[1].Result // finish changes it
	out := x.finish(t, &ps[1])
	x.emit(t)
	return out, res
}

// translate3 translates pkt three times, the second time with its pair of addresses
// remembered and other bytes around it, the third time in a batch. It holds each
// outcome against the reference, and checks what is promised of any packet.
func (x *rig) translate3(t *testing.T, pkt []byte) ([][]byte, translate.Result) {
	t.Helper()
	want, wantRes := x.ref.Translate(pkt)
	var out [][]byte
	var res translate.Result
	for _, how := range []string{"at first", "once more", "in a batch"} {
		switch how {
		case "at first":
			out, res = x.translate(t, pkt, 0xa5)
		case "once more":
			out, res = x.translate(t, pkt, 0)
		default:
			out, res = x.inBatch(t, pkt)
		}
		if res != wantRes {
			t.Fatalf("%s, %s: %v (%v), the reference says %v (%v)\nin %x", x.Name, how, res.Verdict, res.Reason, wantRes.Verdict, wantRes.Reason, pkt)
		}
		if d := packettest.EqualAll(want, out); d != "" {
			t.Fatalf("%s, %s: %v (%v): %s\nin %x", x.Name, how, res.Verdict, res.Reason, d, pkt)
		}
	}
	x.keeps(t, pkt, out, res)
	return out, res
}

// label translates pkt once more, with flow labels, and holds the outcome against
// the one without: nothing else differs, all pieces of a packet have one label,
// and it is the same the next time.
func (x *rig) label(t *testing.T, pkt []byte, out [][]byte, res translate.Result) {
	t.Helper()
	if x.labels == nil {
		cfg := x.Config
		cfg.FlowLabels = true
		tr, err := translate.New(cfg, x.tab)
		if err != nil {
			t.Fatal(err)
		}
		x.labels = tr.NewWorker()
	}
	y := &rig{w: x.labels, more: x.more}
	first := uint32(0)
	for time := range 2 {
		got, gotRes := y.translate(t, pkt, 0xa5)
		if gotRes != res {
			t.Fatalf("with flow labels: %v (%v), without: %v (%v)", gotRes.Verdict, gotRes.Reason, res.Verdict, res.Reason)
		}
		for i, b := range got {
			if b[0]>>4 != 6 {
				continue
			}
			word := binary.BigEndian.Uint32(b)
			if i == 0 && time == 0 {
				first = word & 0xfffff
			}
			if word&0xfffff != first {
				t.Errorf("flow label %05x, time %d, packet %d; the first has %05x", word&0xfffff, time+1, i+1, first)
			}
			binary.BigEndian.PutUint32(b, word&^0xfffff)
		}
		for i := range got {
			want := out[i]
			if want[0]>>4 == 4 { // generated for each
				want, got[i] = shared(want, false), shared(got[i], false)
			}
			if !slices.Equal(got[i], want) {
				t.Fatalf("with flow labels:\n%x, without:\n%x", got[i], want)
			}
		}
	}
}

// What fix corrects in a packet from the fuzzer.
const (
	fixLength    = 1 << iota // length field of the IP header
	fixTransport             // checksum of TCP, UDP and their like
	fixICMP                  // checksum of ICMP
)

// fix makes b a packet of one family, and corrects what the bits of what say.
// The checksum of the IPv4 header always is: wrong ones have nothing after them
// to find. b is changed in place.
func fix(b []byte, is4 bool, what uint8) []byte {
	if len(b) == 0 {
		return b
	}
	b[0] = b[0]&15 | 0x60
	if is4 {
		b[0] = b[0]&15 | 0x40
	}
	if what&fixLength != 0 {
		switch {
		case is4 && len(b) >= 4:
			binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		case !is4 && len(b) >= 40:
			binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
		}
	}
	if u, ok := open(b); ok && u.off8 == 0 {
		fixSum(&u, what)
	}
	packettest.FixHeader(b)
	return b
}

// fixSum corrects a transport checksum.
func fixSum(u *upper, what uint8) {
	at, bit := map[uint8]int{6: 16, 17: 6, 33: 6, 136: 6, 1: 2, 58: 2}[u.proto], uint8(fixTransport)
	pseudo := packettest.Pseudo(u.src, u.dst, u.proto, len(u.data))
	if u.proto == 1 || u.proto == 58 {
		bit = fixICMP
	}
	if u.proto == 1 {
		pseudo = nil
	}
	if at == 0 || what&bit == 0 || len(u.data) < at+2 {
		return
	}
	c := u.data[at:][:2]
	if u.proto == 17 && c[0] == 0 && c[1] == 0 {
		return // means none
	}
	c[0], c[1] = 0, 0
	v := ^packettest.Sum(pseudo, u.data)
	if v == 0 && u.proto != 1 && u.proto != 58 {
		v = 0xffff
	}
	binary.BigEndian.PutUint16(c, v)
}
