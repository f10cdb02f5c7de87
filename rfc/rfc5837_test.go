package rfc

import (
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

func TestRFC5837(t *testing.T) {
	// Where the extension structure of the answer to a short quote begins.
	const structure = 20 + 8 + 128
	timeExceeded := func(ext []byte) []byte {
		if ext == nil {
			return fromR6(pt.ICMP(3, 0, 0, pt.IP(sent6, ping)))
		}
		return fromR6(pt.ExtendedError(3, 0, 0, pt.IP(sent6, ping), ext))
	}
	timeExceeded4 := func(ext []byte) []byte {
		return pt.IP(fromX4, pt.ExtendedError(11, 0, 0, pt.IP(sent6as4, ping), ext))
	}
	// An object with all that there can be: ifIndex 7, address, name "eth0", MTU.
	full := func(role uint8) []byte {
		return pt.Object(2, role<<6|0x0f, hexBytes(t, `
			0000 0007
			0002 0000 2001 0db8 0bad 0000 0000 0000 0000 0001
			08 6574 6830 00 0000
			0000 05dc`))
	}
	row(t, "5837-4-01", func(t *testing.T) {
		b := newXlat(t, nodeAddress).forward(timeExceeded(nil))
		wantBytes(t, "class and c-type", b[structure+4+2:structure+4+4], []byte{2, 0x04})
	})
	row(t, "5837-4.1-01", func(t *testing.T) {
		// What the translator writes has one part, so no order; what others write
		// keeps its own.
		x := newXlat(t, nodeAddress)
		is(t, "length", len(x.forward(timeExceeded(nil))), structure+4+24)
		x.becomes(timeExceeded(pt.Extension(full(0))), timeExceeded4(pt.Extension(full(0))))
	})
	row(t, "5837-4.2-01", func(t *testing.T) {
		b := newXlat(t, nodeAddress).forward(timeExceeded(nil))
		wantBytes(t, "extension", b[structure:], hexBytes(t, `
			2000 a47a                                 # version 2, checksum
			0018 02 04                                # 24 bytes, class, c-type
			0002 0000                                 # IPv6, reserved
			2001 0db8 0bad 0000 0000 0000 0000 0001   # R6`))
	})
	row(t, "5837-4.2-02", func(t *testing.T) {
		goldens(t, "V16")
		b := newXlat(t, nodeAddress).forward(timeExceeded(nil))
		is(t, "version", b[0]>>4, 4)
		wantBytes(t, "address family", b[structure+8:structure+10], []byte{0, 2})
	})
	row(t, "5837-4.5-01", func(t *testing.T) {
		x := newXlat(t, nodeAddress)
		for _, ext := range [][]byte{ // role 0 is there already
			pt.Extension(nodeObject(pt.M6)),
			pt.Extension(pt.Object(1, 1, []byte{0, 1, 1, 1}), full(0)),
			pt.Extension(full(1), full(2), full(3), full(0)),
			pt.Extension(full(0), full(0)), // illegal before it came here
		} {
			x.becomes(timeExceeded(ext), timeExceeded4(ext))
		}
		for _, objects := range [][][]byte{ // room for role 0
			{pt.Object(1, 1, []byte{0, 1, 1, 1})},
			{full(1)},
			{full(1), full(2), full(3)},
		} {
			with := pt.Extension(append(objects, nodeObject(pt.R6))...)
			x.becomes(timeExceeded(pt.Extension(objects...)), timeExceeded4(with))

			unsummed := pt.Extension(objects...) // without a checksum
			unsummed[2], unsummed[3] = 0, 0
			with[2], with[3] = 0, 0
			x.becomes(timeExceeded(unsummed), timeExceeded4(with))
		}
		// Nothing is added to what can't be read.
		for _, ext := range [][]byte{
			{0x30, 0, 0, 0, 0, 4, 1, 1},       // version 3
			{0x20, 0, 0, 0, 0, 9, 1, 1},       // object longer than the structure
			{0x20, 0, 0, 0, 0, 3, 1, 1},       // object shorter than its header
			{0x20, 0, 0, 0, 0, 4, 1, 1, 0, 0}, // bytes left over
			{0x20, 0},                         // structure header cut short
			{0x20, 0, 0xdf, 0xff},             // no object
			{0x20, 0, 1, 2, 0, 4, 1, 1},       // wrong checksum, which must not become right
		} {
			out, res := x.send(timeExceeded(ext))
			is(t, "verdict", res.Verdict, translate.Forward)
			wantPacket(t, out[0], timeExceeded4(ext))
		}
	})
	row(t, "5837-5-01", func(t *testing.T) {
		object4 := pt.Object(2, 0x04, hexBytes(t, "0001 0000 cb00 7101")) // R4
		for _, on := range []bool{false, true} {
			x := newXlat(t, func(s *settings) { s.NodeAddress = on })
			for _, o := range [][]byte{nodeObject(pt.R6), nodeObject(pt.M6), object4, full(0), full(3)} {
				ext := pt.Extension(o)
				x.becomes(
					pt.IP(pt.From6(), pt.ExtendedError(3, 0, 0, pt.IP(sent6, ping), ext)),
					pt.IP(as4, pt.ExtendedError(11, 0, 0, pt.IP(sent6as4, ping), ext)))
				x.becomes(
					pt.IP(pt.Header{Src: pt.R4, Dst: pt.M4}, pt.ExtendedError(11, 0, 0, pt.IP(sent4, ping), ext)),
					pt.IP(pt.Header{Src: pt.R4in6, Dst: pt.M6, TTL: 63}, pt.ExtendedError(3, 0, 0, pt.IP(sent4as6, ping), ext)))
			}
		}
	})
	row(t, "5837-6-01", func(t *testing.T) {
		goldens(t, "V12") // the switch is off
		newXlat(t, nil).becomes(timeExceeded(nil), pt.IP(fromX4, pt.ICMP(11, 0, 0, pt.IP(sent6as4, ping))))
		var c translate.Config
		is(t, "default", c.NodeAddress, false)
	})
}
