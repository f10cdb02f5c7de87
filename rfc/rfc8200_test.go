package rfc

import (
	"fmt"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

func TestRFC8200Header(t *testing.T) {
	row(t, "8200-3-01", func(t *testing.T) {
		x := newXlat(t, nil)
		good, want := pt.IP(pt.From6(), ping), pt.IP(as4, ping)
		x.becomes(good, want)
		x.becomes(append(good[:len(good):len(good)], pt.Bytes(20, 1)...), want) // padding of the link
		for n := range len(good) {                                              // Payload Length beyond the end, no header
			x.drop(good[:n], translate.BadHeader)
		}
		x.drop(pt.Edit(good, func(b []byte) { b[5]++ }), translate.BadHeader)
		x.drop(pt.Edit(good, func(b []byte) { b[4], b[5] = 0xff, 0xff }), translate.BadHeader)
		for v := range byte(16) {
			if v != 6 {
				x.drop(pt.Edit(good, func(b []byte) { b[0] = v<<4 | b[0]&15 }), translate.BadHeader)
			}
		}
		// Jumbograms: Payload Length 0, and data all the same.
		zero := func(b []byte) { b[4], b[5] = 0, 0 }
		x.prohibited(pt.Edit(good, zero), translate.ShortTransport)
		x.prohibited(pt.Edit(pt.IP(pt.From6(), pt.TCP(1, 2, pt.Bytes(100, 1))), zero), translate.ShortTransport)
		jumbo := pt.Edit(pt.IP(pt.From6(), pt.HopByHop(8, udp(100))), func(b []byte) {
			zero(b)
			copy(b[42:], []byte{0xc2, 4, 0, 1, 0, 0}) // Jumbo Payload of 65,536 bytes
		})
		x.prohibited(jumbo, translate.BadExtensionHeader)
	})
}

func TestRFC8200Fragment(t *testing.T) {
	// A fragment with n bytes of some protocol, in either family.
	frag6 := func(off8 uint16, more bool, p pt.Payload) []byte {
		return pt.IP(pt.From6(), pt.Fragment(7, off8, more, p))
	}
	frag4 := func(off8 uint16, more bool, p pt.Payload) []byte {
		return pt.IP(pt.Header{Src: pt.H4, Dst: pt.M4, Off8: off8, MF: more}, p)
	}
	both := map[string]func(uint16, bool, pt.Payload) []byte{"IPv4": frag4, "IPv6": frag6}

	row(t, "8200-4.5-01", func(t *testing.T) {
		for name, frag := range both {
			x := newXlat(t, nil)
			for _, n := range []int{20, 23, 25, 1, 0} {
				x.drop(frag(3, true, pt.Raw(17, pt.Bytes(n, 1))), translate.BadFragment)
			}
			x.prohibited(frag(0, true, udp(12)), translate.BadFragment)
			is(t, name, len(x.forward(frag(3, true, pt.Raw(17, pt.Bytes(24, 1))))) > 0, true)
			x.forward(frag(3, false, pt.Raw(17, pt.Bytes(20, 1)))) // the last one may be of any size
		}
	})
	row(t, "8200-4.5-02", func(t *testing.T) {
		for _, frag := range both {
			x := newXlat(t, nil)
			for _, c := range []struct {
				off8 uint16
				n    int
				fits bool
			}{
				{8191, 64, false},
				{8191, 8, false}, // 65,536
				{8191, 7, true},  // 65,535
				{8190, 16, false},
				{8190, 15, true},
				{8100, 736, false},
				{8100, 735, true},
			} {
				in := frag(c.off8, false, pt.Raw(17, pt.Bytes(c.n, 1)))
				if c.fits {
					x.forward(in)
				} else {
					x.drop(in, translate.BadFragment)
				}
			}
		}
	})
	row(t, "8200-4.5-03", func(t *testing.T) {
		x := newXlat(t, nil)
		for _, more := range []bool{true, false} {
			for _, off8 := range []uint16{0, 10} {
				for _, next := range []uint8{0, 43, 44, 51, 60, 135, 139, 140} {
					x.drop(frag6(off8, more, pt.Raw(next, pt.Bytes(24, 0))), translate.FragmentChain)
				}
			}
		}
		// A first fragment has the whole transport header.
		x.err6(frag6(0, true, pt.Part(udp(8), 0, 4)), 1, 1)
		for _, frag := range both {
			for _, c := range []struct {
				p    pt.Payload
				need int
			}{{pt.TCP(1, 2, pt.Bytes(64, 1)), 20}, {pt.DCCP(1, 2, pt.Bytes(64, 1)), 12}, {udp(64), 8}} {
				for n := 8; n <= 32; n += 8 {
					in := frag(0, true, pt.Part(c.p, 0, n))
					if n < c.need {
						x.prohibited(in, translate.TinyFragment)
					} else {
						x.forward(in)
					}
				}
			}
		}
	})
}

func TestRFC8200Checksum(t *testing.T) {
	row(t, "8200-8.1-01", func(t *testing.T) {
		goldens(t, "V04", "V07")
		noSum := pt.UDPNoSum(5000, 5001, []byte("zero"))
		for mode, field := range map[translate.UDPZero]string{
			translate.UDPZeroDrop:    "",
			translate.UDPZeroCompute: "right",
			translate.UDPZeroForward: "zero",
		} {
			x := newXlat(t, func(s *settings) {
				s.UDPZero = mode
				s.Maps = append(s.Maps, maps("192.0.2.7/32", "2001:db8:6::7/128")...)
			})
			for name, in := range map[string][]byte{
				"4 to 6":  pt.IP(pt.From4(), noSum),
				"hairpin": pt.IP(between("2001:db8:6::6", "2001:db8:64::c000:207"), noSum),
			} {
				out, res := x.send(in)
				what := fmt.Sprintf("%s, mode %d", name, mode)
				switch {
				case field == "":
					is(t, what, res.Reason, translate.UDPZeroChecksum)
					is(t, what, res.Verdict, translate.Reply)
				case res.Verdict != translate.Forward:
					t.Errorf("%s: %v", what, res)
				case field == "zero":
					is(t, what, be16(out[0], 46), 0)
				default:
					if err := pt.Check(out[0]); err != nil {
						t.Errorf("%s: %v", what, err)
					}
				}
			}
		}
		// Datagrams that have a checksum keep having one, whatever it is.
		x := newXlat(t, nil)
		for w := range 4096 {
			b := x.forward(pt.IP(pt.From4(), pt.UDP(1000, 2000, []byte{0x6e, 0x08, byte(w >> 4), byte(w << 4)})))
			if be16(b, 46) == 0 {
				t.Errorf("checksum 0 in %x", b)
			}
		}
	})
}
