package rfc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// clamped is a translator that lets SYNs keep an MSS of n, for MTUs that matter if n is
// MSSAuto. A second host has a map, so that the first reaches it by a hairpin.
func clamped(t *testing.T, n, mtu4, mtu6 int) *xlat {
	t.Helper()
	return newXlat(t, func(s *settings) {
		s.MSSClamp, s.MTU4, s.MTU6 = n, mtu4, mtu6
		s.Maps = append(s.Maps, translate.Map{IPv4: mustPrefix("192.0.2.7/32"), IPv6: mustPrefix("2001:db8:7::7/128")})
	})
}

// tcpWays are the headers of a packet on its ways through a translator.
var tcpWays = []struct {
	name    string
	in, out pt.Header
}{
	{"4 to 6", pt.From4(), as6},
	{"6 to 4", pt.From6(), as4},
	{
		"hairpin",
		pt.Header{Src: pt.M6, Dst: addr("2001:db8:64::c000:207")},
		pt.Header{Src: addr("2001:db8:64::c000:206"), Dst: addr("2001:db8:7::7"), TTL: 63},
	},
}

// tcpBecomes sends in each way a packet with the payload in, and expects out.
func (x *xlat) tcpBecomes(in, out pt.Payload) {
	x.t.Helper()
	for _, way := range tcpWays {
		got, res := x.send(pt.IP(way.in, in)) // may be malformed, as in
		if res.Verdict != translate.Forward {
			x.t.Fatalf("%s: %v (%v)", way.name, res.Verdict, res.Reason)
		}
		if diff := pt.Equal(pt.IP(way.out, out), got[0]); diff != "" {
			x.t.Errorf("%s: %s", way.name, diff)
		}
	}
}

// options joins TCP options.
func options(list ...[]byte) []byte { return bytes.Join(list, nil) }

// Options that SYNs of today have.
var (
	nop      = []byte{1}
	sackOK   = []byte{4, 2}
	tcpStamp = []byte{8, 10, 1, 2, 3, 4, 0, 0, 0, 0}
	scale    = []byte{1, 3, 3, 7}
)

func TestRFC9293MSS(t *testing.T) {
	row(t, "9293-3.7.1-01", func(t *testing.T) {
		x := clamped(t, 0, 576, 1280)
		for _, mss := range []uint16{0, 1, 536, 1460, 8960, 65535} {
			syn := pt.SYN(1, 2, options(pt.MSS(mss), sackOK, tcpStamp, scale))
			x.tcpBecomes(syn, syn)
		}
	})
}

func TestRFC9293Clamp(t *testing.T) {
	syn := func(mss int) pt.Payload {
		return pt.SYN(1, 2, options(pt.MSS(uint16(mss)), sackOK, tcpStamp, scale))
	}
	row(t, "9293-3.7.1-02", func(t *testing.T) {
		for _, c := range []struct{ mtu4, mtu6, want int }{
			{1500, 1500, 1440}, {1480, 1500, 1440}, {1479, 1500, 1439}, {1500, 1492, 1432},
			{1500, 1280, 1220}, {9000, 1500, 1440}, {1500, 9000, 1460}, {9000, 9000, 8940},
			{65535, 65535, 65475},
		} {
			x := clamped(t, translate.MSSAuto, c.mtu4, c.mtu6)
			for _, mss := range []int{c.want + 1, 65535} {
				x.tcpBecomes(syn(mss), syn(c.want))
			}
			x.tcpBecomes(syn(c.want), syn(c.want))
			if got := x.Settings().LargestMSS(); got != c.want {
				t.Errorf("LargestMSS is %d, want %d", got, c.want)
			}
		}
		// The MTUs in force are those that count.
		x := clamped(t, translate.MSSAuto, 1500, 1500)
		x.tcpBecomes(syn(1460), syn(1440))
		if err := x.Update(func(s *translate.Settings) { s.MTU6 = 1400 }); err != nil {
			t.Fatal(err)
		}
		x.tcpBecomes(syn(1460), syn(1340))
		clampShared(t)
		// A segment of that size passes in either direction, one byte more does not.
		data := pt.Bytes(1341, 1)
		x.forward(pt.IP(pt.From4(), pt.TCP(1, 2, data[:1340])))
		x.refused(pt.IP(pt.From4(), pt.TCP(1, 2, data)), translate.TooBig)
	})
	row(t, "9293-3.7.1-03", func(t *testing.T) {
		for _, limit := range []int{536, 1220, 65535, translate.MSSAuto} {
			x := clamped(t, limit, 1500, 1500)
			for _, mss := range []int{0, 1, 88, 535, 536} {
				x.tcpBecomes(syn(mss), syn(mss))
			}
			for _, o := range [][]byte{nil, options(nop, nop, sackOK), tcpStamp} {
				x.tcpBecomes(pt.SYN(1, 2, o), pt.SYN(1, 2, o))
			}
		}
	})
	row(t, "9293-3.7.1-04", func(t *testing.T) {
		for _, mtu4 := range []int{68, 400, 575, 576} {
			clamped(t, translate.MSSAuto, mtu4, 1500).tcpBecomes(syn(1460), syn(536))
		}
		clamped(t, translate.MSSAuto, 577, 1500).tcpBecomes(syn(1460), syn(537))
		clamped(t, 536, 1500, 1500).tcpBecomes(syn(1460), syn(536))
		tab, err := translate.NewTable(pt.TableConfig())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{-2, 1, 535, 65536} {
			if _, err := translate.New(translate.Config{MSSClamp: n}, tab); err == nil {
				t.Errorf("New takes an MSS of %d", n)
			}
		}
	})
}

// clampShared has SYNs get another port and another MSS at once, at even and odd places.
func clampShared(t *testing.T) {
	t.Helper()
	x := newXlat(t, func(s *settings) {
		sharing("")(s)
		s.Sessions, s.MSSClamp = sharer{translate.FlowMapped, translate.FlowMapped}, 1000
	})
	const host, server, shared = "2001:db8:a::1", "2001:db8:64::198.51.100.4", "203.0.113.70"
	forwarded := func(h pt.Header) pt.Header {
		h.TTL = 63
		h.DF = false // of a small packet
		return h
	}
	for _, pad := range [][]byte{nil, nop} {
		syn := func(src, dst, mss uint16) pt.Payload { return pt.SYN(src, dst, options(pad, pt.MSS(mss), sackOK)) }
		x.becomes(pt.IP(between(host, server), syn(1000, 80, 1460)), pt.IP(forwarded(between(shared, "198.51.100.4")), syn(4000, 80, 1000)))
		x.becomes(pt.IP(between("198.51.100.4", shared), syn(80, 4000, 1460)), pt.IP(forwarded(between(server, host)), syn(80, 1000, 1000)))
		x.becomes(pt.IP(between(host, "2001:db8:64::"+shared), syn(1000, 4000, 1460)),
			pt.IP(forwarded(between("2001:db8:64::"+shared, host)), syn(4000, 1000, 1000)))
	}
}

func TestRFC9293Others(t *testing.T) {
	row(t, "9293-3.2-01", func(t *testing.T) {
		x := clamped(t, 1000, 1500, 1500)
		// flagged is a segment with an MSS of 1460 and the given flags.
		flagged := func(flags byte, mss uint16) pt.Payload {
			return func(src, dst netip.Addr) (uint8, []byte) {
				_, b := pt.SYN(1, 2, pt.MSS(mss))(src, dst)
				b[13] = flags
				b[16], b[17] = 0, 0
				binary.BigEndian.PutUint16(b[16:], ^pt.Sum(pt.Pseudo(src, dst, 6, len(b)), b))
				return 6, b
			}
		}
		for flags := range 256 {
			want := uint16(1460)
			if flags&2 != 0 {
				want = 1000
			}
			x.tcpBecomes(flagged(byte(flags), 1460), flagged(byte(flags), want))
		}
		// Another protocol whose data look like a SYN.
		_, b := pt.SYN(1, 2, pt.MSS(1460))(pt.H4, pt.M4)
		x.tcpBecomes(pt.UDP(1, 2, b), pt.UDP(1, 2, b))
		x.tcpBecomes(pt.Raw(132, b), pt.Raw(132, b))

		syn := pt.SYN(1, 2, pt.MSS(1460))
		x.becomes(error4(11, 0, 0, pt.IP(sent4, syn)), error4as6(3, 0, 0, pt.IP(sent4as6, syn)))
		x.becomes(error6(3, 0, 0, pt.IP(sent6, syn)), error6as4(11, 0, 0, pt.IP(sent6as4, syn)))
	})
}

func TestRFC9293Options(t *testing.T) {
	high, low := pt.MSS(1460), pt.MSS(1000)
	row(t, "9293-3.2-02", func(t *testing.T) {
		x := clamped(t, 1000, 1500, 1500)
		for _, c := range []struct {
			name    string
			in, out []byte
		}{
			{"first", options(high, sackOK), options(low, sackOK)},
			{"last of forty bytes", options(bytes.Repeat(nop, 36), high), options(bytes.Repeat(nop, 36), low)},
			{"several", options(high, nop, high, high), options(low, nop, low, low)},
			{"smaller ones among them", options(pt.MSS(900), high), options(pt.MSS(900), low)},
			{"after an unknown option", options([]byte{254, 6, 2, 4, 5, 180}, high), options([]byte{254, 6, 2, 4, 5, 180}, low)},
			{"after the end", options(high, []byte{0}, high), options(low, []byte{0}, high)},
			{"of other lengths", options([]byte{2, 3, 9, 2, 5, 9, 9, 9, 2, 2}, high), options([]byte{2, 3, 9, 2, 5, 9, 9, 9, 2, 2}, low)},
			{"length 0", options(high, []byte{2, 0, 9, 9}, high), options(low, []byte{2, 0, 9, 9}, high)},
			{"length 1", options(high, []byte{8, 1}, high), options(low, []byte{8, 1}, high)},
			{"length beyond the end", options(high, []byte{8, 200, 1, 1}, high), options(low, []byte{8, 200, 1, 1}, high)},
			{"cut by the end", []byte{1, 1, 2, 4}, []byte{1, 1, 2, 4}},
			{"cut before its length", []byte{1, 1, 1, 2}, []byte{1, 1, 1, 2}},
			{"cut in its value", []byte{1, 2, 4, 255}, []byte{1, 2, 4, 255}},
		} {
			t.Run(c.name, func(t *testing.T) {
				y := *x
				y.t = t
				y.tcpBecomes(pt.SYN(1, 2, c.in), pt.SYN(1, 2, c.out))
			})
		}
		// A Data Offset below the fixed header, or beyond the packet.
		for doff := range byte(16) {
			if doff == 6 {
				continue
			}
			odd := func(src, dst netip.Addr) (uint8, []byte) {
				_, b := pt.SYN(1, 2, high)(src, dst)
				b[12] = doff << 4
				b[16], b[17] = 0, 0
				binary.BigEndian.PutUint16(b[16:], ^pt.Sum(pt.Pseudo(src, dst, 6, len(b)), b))
				return 6, b
			}
			x.tcpBecomes(odd, odd)
		}
		// The first fragment has the whole header, and loses its MSS; or it has not.
		first := with(pt.From4(), func(h *pt.Header) { h.DF, h.MF, h.ID = false, true, 7 })
		for _, c := range []struct {
			n    int
			want uint16
		}{{32, 1000}, {24, 1460}} {
			syn := pt.SYN(1, 2, options(nop, nop, nop, nop, high, nop, nop, nop, nop))
			got := x.forward(pt.IP(first, pt.Part(syn, 0, c.n)))
			if c.n == 32 {
				is(t, "MSS in a first fragment", be16(got, 48+26), c.want)
			}
			back := x.forward(pt.IP(pt.From6(), pt.Fragment(7, 0, true, pt.Part(syn, 0, c.n))))
			if c.n == 32 {
				is(t, "MSS in a first fragment", be16(back, 20+26), c.want)
				continue
			}
			_, was := syn(pt.H4, pt.M4)
			wantBytes(t, "options of a header in two fragments", got[48+20:], was[20:c.n])
			wantBytes(t, "options of a header in two fragments", back[20+20:], was[20:c.n])
		}
	})
	row(t, "9293-3.1-01", func(t *testing.T) {
		x := clamped(t, 1000, 1500, 1500)
		for at := range 8 { // even and odd places, with every byte of the value in a carry
			for _, mss := range []uint16{1001, 0x04e7, 0x0400, 0xff00, 0xffff, 1460} {
				pad := bytes.Repeat(nop, at)
				x.tcpBecomes(pt.SYN(1, 2, options(pad, pt.MSS(mss))), pt.SYN(1, 2, options(pad, low)))
			}
		}
		// A checksum that was wrong stays wrong by the same amount.
		in := pt.Edit(pt.IP(pt.From4(), pt.SYN(1, 2, options(nop, high))), func(b []byte) { b[36] ^= 0x55 })
		out, res := x.send(in)
		is(t, "verdict", res.Verdict, translate.Forward)
		want := pt.IP(as6, pt.SYN(1, 2, options(nop, low)))
		is(t, "error of the checksum", pt.Sum(out[0][56:58], []byte{^want[56], ^want[57]}),
			pt.Sum(in[36:38], []byte{^(in[36] ^ 0x55), ^in[37]}))
		partialSYN(t, x)
	})
}

// partialSYN sends SYNs whose checksum covers the pseudo-header alone, with data, and as a
// super-packet, which a SYN is not in practice.
func partialSYN(t *testing.T, x *xlat) {
	high, low := pt.MSS(1460), pt.MSS(1000)
	for _, way := range tcpWays {
		for _, gso := range []bool{false, true} {
			name := fmt.Sprintf("%s, super-packet %t", way.name, gso)
			in := pt.IP(way.in, pt.SYN(1, 2, options(high, nop, high, sackOK)))
			want := pt.IP(way.out, pt.SYN(1, 2, options(low, nop, low, sackOK)))
			hdr, hdrOut := 20, 20
			typ := uint8(translate.GSOTCPv4)
			if in[0]>>4 == 6 {
				hdr, typ = 40, translate.GSOTCPv6
			}
			if want[0]>>4 == 6 {
				hdrOut = 40
			}
			o := translate.Offload{Flags: translate.OffloadNeedsCsum, CsumStart: uint16(hdr), CsumOffset: 16}
			if gso {
				o.GSOType, o.GSOSize, o.HdrLen = typ, 1000, uint16(hdr+32)
			}
			partial := func(b []byte, hdr int, h pt.Header) {
				sum := pt.Sum(pt.Pseudo(h.Src, h.Dst, 6, len(b)-hdr))
				binary.BigEndian.PutUint16(b[hdr+16:], sum)
			}
			partial(in, hdr, way.in)
			partial(want, hdrOut, way.out)
			p := pt.Buffer(in)
			p.Offload = o
			if res := x.w.Translate(0, &p); res.Verdict != translate.Forward {
				t.Fatalf("%s: %v (%v)", name, res.Verdict, res.Reason)
			}
			got := slices.Clone(p.Bytes())
			if diff := pt.Equal(want, got); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	}
}
