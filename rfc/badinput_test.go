package rfc

import (
	"encoding/binary"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// Whatever comes in: nothing panics, nothing outside of the packet's room is
// written, what is dropped stays as it was, and what goes out has an IP header
// that fits what follows it. All of that is what survive checks, by the slow
// and plain means of packettest.

// survive translates in with several translators.
func survive(t *testing.T, xs []*xlat, in []byte) {
	t.Helper()
	for _, x := range xs {
		out, res := x.send(in)
		for _, b := range out {
			if !sound(b) {
				t.Fatalf("%v (%v): IP header does not fit\nin  %x\nout %x", res.Verdict, res.Reason, in, b)
			}
		}
		switch res.Verdict {
		case translate.Drop, translate.Reply:
		default:
			if out[0][0]>>4 == in[0]>>4 && res.Reason != translate.Hairpinned {
				t.Fatalf("%v (%v) in the family it came from\nin  %x\nout %x", res.Verdict, res.Reason, in, out[0])
			}
		}
		// Whatever we say ourselves is right in every bit.
		if res.Verdict == translate.Reply {
			if err := pt.Check(out[0]); err != nil && pt.Check(in) == nil {
				t.Fatalf("%v: %v\nin  %x\nout %x", res.Reason, err, in, out[0])
			}
		}
	}
}

// sound reports whether the IP header of b is whole, names the length of b, and
// has a right checksum if it has one.
func sound(b []byte) bool {
	if len(b) >= 20 && b[0] == 0x45 {
		return ip4(b).totalLen() == len(b) && pt.Sum(b[:20]) == 0xffff && ip4(b).ttl() > 0
	}
	return len(b) >= 40 && b[0]>>4 == 6 && ip6(b).payloadLen() == len(b)-40 && ip6(b).hopLimit() > 0
}

// hostileXlats are translators that between them know every way.
func hostileXlats(t *testing.T) []*xlat {
	return []*xlat{
		newXlat(t, nil),
		newXlat(t, func(s *settings) {
			s.UDPZero, s.NodeAddress, s.FlowLabels, s.AllowClassE = translate.UDPZeroCompute, true, true, true
			s.MTU4, s.MTU6, s.ICMPErrors = 68, 1280, translate.ErrorsTAYGA
		}),
		newXlat(t, func(s *settings) {
			s.UDPZero, s.Hairpin = translate.UDPZeroForward, translate.HairpinSimple
			s.MTU4, s.MTU6, s.LowestIPv6MTU = 65535, 65535, 65535
			s.Maps = append(s.Maps, translate.Map{IPv4: mustPrefix("198.51.100.0/24"), IPv6: mustPrefix("2001:db8:a::/64")})
		}),
	}
}

// cut returns the first n bytes of a packet whose lengths are set right for
// that, as far as they are there.
func cut(pkt []byte, n int) []byte {
	return pt.Edit(pkt[:n], func(b []byte) {
		switch {
		case n >= 4 && b[0]>>4 == 4:
			binary.BigEndian.PutUint16(b[2:], uint16(n))
		case n >= 40 && b[0]>>4 == 6:
			binary.BigEndian.PutUint16(b[4:], uint16(n-40))
		}
	})
}

// A packet that ends too early is refused for it.
func TestBadInputTruncated(t *testing.T) {
	xs := hostileXlats(t)
	for _, s := range corpus(t) {
		for n := range len(s.pkt) {
			for _, x := range xs {
				x.drop(s.pkt[:n], translate.BadHeader)
			}
			survive(t, xs, cut(s.pkt, n))
		}
	}
}

// Total Length and Payload Length lie.
func TestBadInputLengths(t *testing.T) {
	xs := hostileXlats(t)
	for _, s := range corpus(t) {
		hdr, off := 20, 2
		if s.pkt[0]>>4 == 6 {
			hdr, off = 40, 4
		}
		for n := range 1 << 16 {
			if n > len(s.pkt)+64 && n < 1<<16-8 {
				continue
			}
			in := pt.Edit(s.pkt, func(b []byte) { binary.BigEndian.PutUint16(b[off:], uint16(n)) })
			named := n // bytes that the header says there are
			if hdr == 40 {
				named += 40
			}
			if named < int(in[0]&15)*4 && hdr == 20 || named > len(in) {
				for _, x := range xs {
					x.drop(in, translate.BadHeader)
				}
				continue
			}
			survive(t, xs, in)
		}
	}
}

// The version nibble and the header length lie.
func TestBadInputFirstByte(t *testing.T) {
	xs := hostileXlats(t)
	for _, s := range corpus(t) {
		for first := range 256 {
			in := pt.Edit(s.pkt, func(b []byte) { b[0] = byte(first) })
			version, ihl := first>>4, first&15
			if version != 4 && version != 6 || version == 4 && (ihl < 5 || ihl*4 > len(in)) {
				for _, x := range xs {
					x.drop(in, translate.BadHeader)
				}
				continue
			}
			survive(t, xs, in)
		}
	}
	short := pt.IP(pt.From4(), udp(0)) // 28 bytes
	for ihl := 8; ihl < 16; ihl++ {    // 32 bytes of header and more
		for _, x := range xs {
			x.drop(pt.Edit(short, func(b []byte) { b[0] = 0x40 | byte(ihl) }), translate.BadHeader)
		}
	}
}

// Fragments end beyond the largest packet, or are not filled.
func TestBadInputFragments(t *testing.T) {
	xs := hostileXlats(t)
	for _, n := range []int{0, 1, 7, 8, 9, 16, 1000, 1232, 65515} {
		for off8 := range 8192 {
			if off8 > 20 && off8 < 8100 && off8%97 != 0 {
				continue
			}
			if n == 65515 && off8 > 20 && off8 < 8190 {
				continue // beyond by far
			}
			for _, more := range []bool{false, true} {
				data := pt.Raw(132, make([]byte, n))
				in4 := pt.IP(with(noDF, func(h *pt.Header) { h.Off8, h.MF = uint16(off8), more }), data)
				in := [][]byte{in4}
				if n <= 65515-28 {
					in = append(in, pt.IP(pt.From6(), pt.Fragment(7, uint16(off8), more, data)))
				}
				bad := off8*8+n > 65535 || more && (n == 0 || n%8 != 0)
				for _, b := range in {
					if !bad {
						survive(t, xs, b)
						continue
					}
					for _, x := range xs {
						x.refused(b, translate.BadFragment)
					}
				}
			}
		}
	}
}

// Chains of extension headers without end, and with lengths that lie.
func TestBadInputExtensionHeaders(t *testing.T) {
	xs := hostileXlats(t)
	// 8190 headers of 8 bytes, each naming the next, the last one naming one
	// that is not there.
	for _, kind := range []byte{0, 43, 60} {
		chain := make([]byte, 65520)
		for i := 0; i < len(chain); i += 8 {
			chain[i] = kind
		}
		for _, x := range xs {
			x.refused(pt.IP(pt.From6(), pt.Raw(kind, chain)), translate.BadExtensionHeader)
		}
	}
	// Each header of a chain as long as its byte can say.
	whole := pt.IP(pt.From6(), pt.HopByHop(8, pt.DestOpts(16, pt.Routing(0, pt.Fragment(7, 0, false, udp(64))))))
	for _, at := range []int{41, 49, 65} {
		for n := range 256 {
			survive(t, xs, pt.Edit(whole, func(b []byte) { b[at] = byte(n) }))
		}
	}
	for _, x := range xs {
		x.refused(pt.Edit(whole, func(b []byte) { b[41] = 255 }), translate.BadExtensionHeader)
	}
	// Each next header byte as anything at all.
	for _, at := range []int{6, 40, 48, 64, 88} {
		for next := range 256 {
			survive(t, xs, pt.Edit(whole, func(b []byte) { b[at] = byte(next) }))
		}
	}
	// The payload ends anywhere in the chain.
	for n := 40; n < len(whole); n++ {
		in := cut(whole, n)
		survive(t, xs, in)
		if n < 96 {
			for _, x := range xs {
				x.refused(in, translate.BadExtensionHeader)
			}
		}
	}
}

// Quoted packets that are cut anywhere, with checksums that are right for what is
// left.
func TestBadInputQuotes(t *testing.T) {
	xs := hostileXlats(t)
	for _, s := range corpus(t) {
		icmp := s.pkt[0]>>4 == 4 && s.pkt[9] == 1 || s.pkt[0]>>4 == 6 && s.pkt[6] == 58
		if !icmp {
			continue
		}
		hdr := 20
		if s.pkt[0]>>4 == 6 {
			hdr = 40
		}
		for n := hdr + 8; n <= len(s.pkt); n++ {
			in := cut(s.pkt, n)
			survive(t, xs, fixICMP(in, hdr))
			// And with every byte of the message wrong, one at a time.
			if n != len(s.pkt) {
				continue
			}
			for i := hdr; i < n; i++ {
				for _, v := range []byte{0x00, 0xff, in[i] ^ 0xff, in[i] + 1, in[i] - 1, in[i] ^ 0x80} {
					survive(t, xs, fixICMP(pt.Edit(in, func(b []byte) { b[i] = v }), hdr))
				}
			}
		}
	}
}

// fixICMP returns pkt with a right ICMP checksum.
func fixICMP(pkt []byte, hdr int) []byte {
	return pt.Edit(pkt, func(b []byte) {
		b[hdr+2], b[hdr+3] = 0, 0
		var pseudo []byte
		if hdr == 40 {
			pseudo = append(append(pseudo, b[8:40]...), 0, 0, byte((len(b)-40)>>8), byte(len(b)-40), 0, 0, 0, 58)
		}
		binary.BigEndian.PutUint16(b[hdr+2:], ^pt.Sum(pseudo, b[hdr:]))
	})
}

// Every byte of every packet set to other values.
func TestBadInputBytes(t *testing.T) {
	xs := hostileXlats(t)
	for _, s := range corpus(t) {
		for i := range s.pkt {
			if i > 120 && i%16 != 0 {
				continue // data
			}
			for _, v := range []byte{0x00, 0xff, s.pkt[i] ^ 0xff, s.pkt[i] + 1, s.pkt[i] ^ 0x80} {
				survive(t, xs, pt.Edit(s.pkt, func(b []byte) { b[i] = v }))
			}
		}
	}
}

// Nothing but noise after a first byte that is none.
func TestBadInputNoise(t *testing.T) {
	xs := hostileXlats(t)
	for i := range 20_000 {
		in := random(i%200, uint64(i))
		if len(in) > 0 {
			in[0] = []byte{0x45, 0x60, 0x46, 0x4f}[i%4]
		}
		if len(in) >= 40 {
			// Let some of it come further than the length and the addresses.
			if in[0]>>4 == 6 {
				binary.BigEndian.PutUint16(in[4:], uint16(len(in)-40))
				copy(in[8:], pt.M6.AsSlice())
				copy(in[24:], pt.H4in6.AsSlice())
				in[6] = []byte{0, 6, 17, 43, 44, 58, 60, 136}[i/4%8]
			} else {
				binary.BigEndian.PutUint16(in[2:], uint16(len(in)))
				copy(in[12:], pt.H4.AsSlice())
				copy(in[16:], pt.M4.AsSlice())
				in[6], in[9] = in[6]&^0x80, []byte{1, 6, 17, 33}[i/4%4]
			}
		}
		survive(t, xs, pt.Edit(in, func([]byte) {}))
	}
}
