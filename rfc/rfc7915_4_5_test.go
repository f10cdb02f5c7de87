package rfc

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// RFC 7915 §4.5: transport checksums.
func TestRFC7915_4_5(t *testing.T) {
	row(t, "7915-4.5-01", func(t *testing.T) {
		x := newXlat(t, nil)
		// The mirror of golden packet V06: a SYN with a maximum segment size.
		in := hexBytes(t, `
			45 02 002c 0000 4000 40 06 4e8c c6336404 c0000206 # from 198.51.100.4 to 192.0.2.6, DF, ECT(0)
			c000 01bb 00000001 00000000                       # ports 49152 and 443, numbers
			60 02 faf0 ef4e 0000                              # SYN, window, checksum
			02 04 05a0                                        # maximum segment size 1440`)
		wantPacket(t, x.forward(in), hexBytes(t, `
			60200000 0018 06 3f                        # traffic class 02, payload length 24, TCP, hop limit 63
			20010db8 00640000 00000000 c6336404        # source
			20010db8 00060000 00000000 00000006        # destination
			c000 01bb 00000001 00000000                # unchanged
			60 02 faf0 5573 0000                       # checksum over the IPv6 addresses
			02 04 05a0                                 # unchanged`))
		for n := range 100 {
			p := pt.TCP(5000, 6001, random(n, 3))
			x.becomes(pt.IP(pt.From4(), p), pt.IP(as6, p))
		}
	})

	row(t, "7915-4.5-02", func(t *testing.T) {
		goldens(t, "V03", "V04")
		x := newXlat(t, nil)
		// Two bytes that take all values take the checksum through all values.
		ffff := 0
		for v := range 1 << 16 {
			p := pt.UDP(5000, 6001, []byte{byte(v >> 8), byte(v)})
			out, res := x.send(pt.IP(pt.From4(), p))
			if res.Verdict != translate.Forward {
				t.Fatalf("%v (%v)", res.Verdict, res.Reason)
			}
			sum := be16(out[0], 46)
			if sum == 0 {
				t.Fatalf("data %04x: no checksum", v)
			}
			if sum == 0xffff {
				ffff++
			}
			if v%97 == 0 || sum == 0xffff {
				wantPacket(t, out[0], pt.IP(as6, p))
			}
		}
		is(t, "checksums that fold to zero", ffff, 1)
	})

	row(t, "7915-4.5-03", func(t *testing.T) {
		goldens(t, "V01")
		x := newXlat(t, nil)
		for n := range 100 {
			p := pt.EchoRequest(1, 2, random(n, 4))
			x.becomes(pt.IP(pt.From4(), p), pt.IP(as6, p))
		}
	})

	noSum := pt.IP(pt.From4(), pt.UDPNoSum(5000, 6001, pt.Bytes(4, 1)))

	// The event is the counter, the reason, and the packet as it came: there the
	// caller finds addresses and ports.
	row(t, "7915-4.5-04", func(t *testing.T) {
		x := newXlat(t, func(s *settings) { s.UDPZero, s.ErrorRate = translate.UDPZeroDrop, -1 })
		p := pt.Buffer(noSum)
		is(t, "result", x.w.Translate(0, &p), translate.Result{Verdict: translate.Drop, Reason: translate.UDPZeroChecksum})
		wantEnds(t, p.Bytes(), "198.51.100.4 > 192.0.2.6")
		wantBytes(t, "ports", p.Bytes()[20:24], []byte{0x13, 0x88, 0x17, 0x71})
		wantBytes(t, "packet", p.Bytes(), noSum)
		s := x.Stats()
		is(t, "events", s.Count(outcome(translate.V4ToV6, translate.Drop, translate.UDPZeroChecksum)).Packets, 1)
		newXlat(t, nil).prohibited(noSum, translate.UDPZeroChecksum)
	})

	row(t, "7915-4.5-05", func(t *testing.T) {
		goldens(t, "V07")
		x := newXlat(t, func(s *settings) { s.UDPZero = translate.UDPZeroCompute })
		for n := range 100 {
			data := random(n, 5)
			x.becomes(pt.IP(pt.From4(), pt.UDPNoSum(5000, 6001, data)), pt.IP(as6, pt.UDP(5000, 6001, data)))
		}
		// What UDP Length leaves out is no part of the datagram, and of the sum.
		in := pt.IP(pt.From4(), func() pt.Payload {
			_, b := pt.UDPNoSum(5000, 6001, pt.Bytes(4, 1))(pt.H4, pt.M4)
			return pt.Raw(17, append(b, 0xee, 0xee, 0xee))
		}())
		out, res := x.send(in)
		is(t, "verdict", res.Verdict, translate.Forward)
		_, want := pt.UDP(5000, 6001, pt.Bytes(4, 1))(pt.H4in6, pt.M6)
		wantBytes(t, "datagram", out[0][40:], append(want, 0xee, 0xee, 0xee))
		// A length that lies leaves nothing to compute.
		for _, length := range []uint16{0, 7, 13, 0xffff} {
			lie := pt.Edit(noSum, func(b []byte) { binary.BigEndian.PutUint16(b[24:], length) })
			x.prohibited(lie, translate.ShortTransport)
		}
		// The sum may come to zero here too: data that makes it so.
		_, b := pt.UDP(5000, 6001, []byte{0, 0})(pt.H4in6, pt.M6)
		in = pt.IP(pt.From4(), pt.UDPNoSum(5000, 6001, b[6:8])) // the checksum as data
		is(t, "checksum", be16(x.forward(in), 46), 0xffff)
	})

	row(t, "7915-4.5-06", func(t *testing.T) {
		first := with(noDF, func(h *pt.Header) { h.MF = true })
		in := pt.IP(first, pt.UDPNoSum(5000, 6001, pt.Bytes(8, 1)))
		for _, mode := range []translate.UDPZero{translate.UDPZeroDrop, translate.UDPZeroCompute} {
			x := newXlat(t, func(s *settings) { s.UDPZero = mode })
			x.prohibited(in, translate.UDPZeroChecksum)
			s := x.Stats()
			is(t, "events", s.Count(outcome(translate.V4ToV6, translate.Reply, translate.UDPZeroChecksum)).Packets, 1)
			// The rest of the datagram has no checksum to check.
			x.forward(pt.IP(with(noDF, func(h *pt.Header) { h.Off8 = 2 }), pt.Raw(17, make([]byte, 24))))
		}
	})

	row(t, "7915-4.5-07", func(t *testing.T) {
		x := newXlat(t, nil)
		for _, proto := range []uint8{6, 17, 33, 136} {
			for _, data := range [][]byte{make([]byte, 24), random(24, 6), pt.Bytes(3, 0), {0}} {
				in := pt.IP(with(noDF, func(h *pt.Header) { h.Off8 = 3 }), pt.Raw(proto, data))
				wantPacket(t, x.forward(in), pt.IP(as6, pt.Fragment(0xbeef, 3, false, pt.Raw(proto, data))))
			}
		}
	})

	row(t, "7915-4.5-08", func(t *testing.T) {
		x := newXlat(t, nil)
		// A DCCP-Request with 48-bit sequence number, RFC 4340 §5.1.
		request := func(src, dst string) pt.Payload {
			b := hexBytes(t, `
				1388 1771 05 00 0000   # ports, header of 5 words, coverage of all, checksum
				01 00 000000000001     # Request with X, sequence number
				00000001               # service code`)
			binary.BigEndian.PutUint16(b[6:], ^pt.Sum(pt.Pseudo(addr(src), addr(dst), 33, 20), b))
			return pt.Raw(33, b)
		}
		x.becomes(pt.IP(pt.From4(), request("198.51.100.4", "192.0.2.6")),
			pt.IP(as6, request("2001:db8:64::c633:6404", "2001:db8:6::6")))

		for n := range 40 {
			data := random(n, 7)
			for _, p := range []pt.Payload{
				pt.DCCP(5000, 6001, data),
				pt.UDPLite(5000, 6001, 0, data), // all
				pt.UDPLite(5000, 6001, 8, data), // the header alone
				pt.UDPLite(5000, 6001, uint16(8+n/2), data),
			} {
				x.becomes(pt.IP(pt.From4(), p), pt.IP(as6, p))
			}
		}
		// 0 is no checksum of UDP-Lite, and none that it ever gets.
		x.prohibited(pt.IP(pt.From4(), func() pt.Payload {
			_, b := pt.UDPLite(1, 2, 8, nil)(pt.H4, pt.M4)
			b[6], b[7] = 0, 0
			return pt.Raw(136, b)
		}()), translate.UDPZeroChecksum)
		_, b := pt.UDPLite(5000, 6001, 0, []byte{0, 0})(pt.H4in6, pt.M6)
		in := pt.IP(pt.From4(), pt.UDPLite(5000, 6001, 0, b[6:8]))
		is(t, "checksum", be16(x.forward(in), 46), 0xffff)
	})

	row(t, "7915-4.5-09", func(t *testing.T) {
		x := newXlat(t, nil)
		out := x.forward(pt.IP(pt.From4(), pt.Raw(132, sctpInit(t))))
		is(t, "next header", ip6(out).next(), 132)
		wantBytes(t, "SCTP", out[40:], sctpInit(t))
		for _, proto := range []uint8{4, 41, 47, 50, 115} { // IPv4 and IPv6 in IP, GRE, ESP, L2TP
			data := random(77, uint64(proto))
			x.becomes(pt.IP(pt.From4(), pt.Raw(proto, data)), pt.IP(as6, pt.Raw(proto, data)))
			x.becomes(pt.IP(pt.From4(), pt.Raw(proto, nil)), pt.IP(as6, pt.Raw(proto, nil)))
		}
	})

	row(t, "7915-4.5-10", func(t *testing.T) {
		x := wkp46(t)
		for _, p := range []pt.Payload{udp(33), pt.TCP(1, 2, pt.Bytes(33, 0))} {
			in := pt.IP(between("8.8.8.8", "1.1.1.1"), p)
			out := x.forward(in)
			// 0064 + ff9b = ffff: nothing changes.
			wantBytes(t, "transport", out[40:], in[20:])
		}
		in := pt.IP(pt.From4(), udp(33))
		out := newXlat(t, nil).forward(in)
		if be16(in, 26) == be16(out, 46) {
			t.Error("an explicit map leaves the checksum unchanged")
		}
		wantPacket(t, out, pt.IP(as6, udp(33)))
	})
}

// sctpInit is an SCTP packet with an INIT chunk, RFC 9260 §3.3.2, and its CRC32c
// in little-endian order, which is checked here.
func sctpInit(t *testing.T) []byte {
	t.Helper()
	b := hexBytes(t, `
		1388 1771 00000000 00000000 # ports, verification tag, checksum
		01 00 0014 12345678         # INIT, length 20, initiate tag
		0000ffff 000a 000a 00000001 # window, streams, first number`)
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return b
}
