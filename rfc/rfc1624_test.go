package rfc

import (
	"encoding/binary"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

func TestRFC1624(t *testing.T) {
	row(t, "1624-3-01", func(t *testing.T) {
		t.Run("example", rfc1624Example)
		t.Run("every-checksum", everyChecksum)
	})
}

// rfc1624Example is the example of RFC 1624 §4: in a packet with the checksum
// 0xdd2f a word changes from 0x5555 to 0x3285, and the checksum has to become 0,
// not 0xffff. The word is the IPv4 address 85.85.0.0, which turns into 3285::;
// the well-known prefix of the source changes no sum.
func rfc1624Example(t *testing.T) {
	x := newXlat(t, func(s *settings) {
		s.Prefixes, s.Maps = prefixes("64:ff9b::/96"), maps("85.85.0.0/32", "3285::/128")
	})
	for name, c := range map[string]struct {
		p  func(data []byte) pt.Payload
		at int
	}{
		"tcp":  {func(data []byte) pt.Payload { return pt.TCP(1, 2, data) }, 16},
		"dccp": {func(data []byte) pt.Payload { return pt.DCCP(1, 2, data) }, 6},
	} {
		h := between("8.8.8.8", "85.85.0.0")
		// With data 0000 the checksum is c; data c-dd2f makes it dd2f.
		sum := be16(pt.IP(h, c.p([]byte{0, 0})), 20+c.at)
		d := uint32(sum) + 0xffff - 0xdd2f
		d = d&0xffff + d>>16
		in := pt.IP(h, c.p([]byte{byte(d >> 8), byte(d)}))
		is(t, name+" before", be16(in, 20+c.at), 0xdd2f)
		out := x.forward(in)
		wantEnds(t, out, "64:ff9b::808:808 > 3285::")
		is(t, name+" after", be16(out, 40+c.at), 0)
	}
}

// everyChecksum sends packets with each of the 65,536 values that two bytes of
// data can have, and so with every checksum, and compares the checksums that
// come out with those computed from scratch: 1,179,648 packets in all.
func everyChecksum(t *testing.T) {
	for _, c := range []struct {
		prefix   string
		src, dst string // as they come
	}{
		{"2001:db8:64::/96", "198.51.100.4", "192.0.2.6"},
		{"2001:db8:64::/96", "2001:db8:6::6", "2001:db8:64::c633:6404"},
		{"64:ff9b::/96", "8.8.8.8", "192.0.2.6"},
		{"64:ff9b::/96", "2001:db8:6::6", "64:ff9b::808:808"},
		{"64:ff9b::/96", "8.8.8.8", "1.1.1.1"}, // changes no sum
		{"2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100:0", "2001:db8:122:344:1:101:100:0"},
	} {
		x := withPrefix(t, c.prefix, nil)
		for _, p := range []struct {
			pt.Payload
			checksum int // where it stands
		}{
			{pt.UDP(1, 2, []byte{0, 0}), 6},
			{pt.TCP(1, 2, []byte{0, 0}), 16},
			{pt.EchoRequest(1, 2, []byte{0, 0}), 2},
		} {
			sweep(x, pt.IP(between(c.src, c.dst), p.Payload), p.checksum)
		}
	}
}

// sweep sends in with all values of its last two bytes, which are 0, and checks
// the checksum, at at in the transport header, of what comes out.
func sweep(x *xlat, in []byte, at int) {
	x.t.Helper()
	out := x.forward(in)
	isUDP := at == 6
	hdrIn, hdrOut := 20, 40
	if in[0]>>4 == 6 {
		hdrIn, hdrOut = 40, 20
	}
	// What the checksum is for data w if it is c for data 0: ~(~c + w).
	checksum := func(c, w uint16) uint16 {
		s := uint32(^c) + uint32(w)
		s = s&0xffff + s>>16
		if s == 0xffff && isUDP {
			return 0xffff
		}
		return ^uint16(s)
	}
	cIn, cOut := be16(in, hdrIn+at), be16(out, hdrOut+at)
	buf := pt.Buffer(in)
	off := buf.Off
	for w := range 1 << 16 {
		w := uint16(w)
		p := translate.Packet{Buf: buf.Buf, Off: off, Len: len(in)}
		b := p.Bytes()
		copy(b, in)
		binary.BigEndian.PutUint16(b[hdrIn+at:], checksum(cIn, w))
		binary.BigEndian.PutUint16(b[len(b)-2:], w)
		if res := x.w.Translate(0, &p); res.Verdict != translate.Forward {
			x.t.Fatalf("data %04x: %v", w, res)
		}
		b = p.Bytes()
		if got, want := be16(b, hdrOut+at), checksum(cOut, w); got != want || be16(b, len(b)-2) != w {
			x.t.Fatalf("data %04x: checksum %04x, want %04x\n%x", w, got, want, b)
		}
	}
}
