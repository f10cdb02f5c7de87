package fuzz

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
)

// maxPacket is the size of the largest packet that a target makes, so that one
// input does not take a second.
const maxPacket = 12_000

// A packetInput says where a packet comes from.
type packetInput struct {
	rig      uint8 // which of packettest.Setups
	src, dst uint8 // 0 leaves the address; others choose one that the rig knows
	fix      uint8 // what to fix
	pkt      []byte
}

// build puts the packet together.
func (in *packetInput) build(x *rig, is4 bool) []byte {
	b := slices.Clone(in.pkt)
	at, n := 8, 16
	if is4 {
		at, n = 12, 4
	}
	for i, choice := range []uint8{in.src, in.dst} {
		if at := at + i*n; choice != 0 && at+n <= len(b) {
			copy(b[at:at+n], x.addr(is4, choice-1).AsSlice())
		}
	}
	return fix(b, is4, in.fix)
}

// packetSeeds are nearly valid packets of one family: the golden ones, one for
// each kind of packet that is translated; some by hand, one for each rule that
// the fuzzer would be long in finding; and a few generated ones for each setup.
func packetSeeds(t testing.TB, is4 bool) (all []packetInput) {
	goldens, err := packettest.Goldens()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range goldens {
		for _, b := range [][]byte{g.In, g.Out} {
			if (b[0]>>4 == 4) == is4 {
				all = append(all, packetInput{pkt: b})
			}
		}
	}
	h, data := packettest.From6(), packettest.Bytes(64, 0)
	if is4 {
		h = packettest.From4()
	}
	hand := func(h packettest.Header, p packettest.Payload) {
		all = append(all, packetInput{rig: 1, fix: fixLength | fixICMP, pkt: packettest.IP(h, p)})
	}
	hand(h, packettest.UDPNoSum(1, 2, data))                                            // RFC 7915 §4.5
	hand(h, packettest.UDPLite(1, 2, 8, data))                                          // a checksum over the header alone
	hand(h, packettest.DCCP(1, 2, data))                                                // checksum at another place
	hand(h, packettest.Raw(50, data))                                                   // ESP: nothing inside is known
	hand(h, packettest.UDP(1, 2, packettest.Bytes(1500, 0)))                            // too large either way
	hand(packettest.Header{Src: h.Src, Dst: h.Dst, TTL: 1}, packettest.TCP(1, 2, data)) // hop limit
	if is4 {
		// An Echo Reply whose sum is 0, not 0xffff: see sums.
		all = append(all, packetInput{rig: 1, pkt: packettest.IP(h, packettest.Raw(1, make([]byte, 8)))})
		o := h
		o.Options = []byte{131, 7, 4, 198, 51, 100, 9, 0} // a source route that is not used up
		hand(o, packettest.TCP(1, 2, data))
		f := packettest.Header{Src: h.Src, Dst: h.Dst, Off8: 1, MF: true} // inside a TCP header
		hand(f, packettest.Raw(6, data))
		self := packettest.Header{Src: h.Src, Dst: packettest.Config().IPv4}
		hand(self, packettest.EchoRequest(0, 0, nil))                                                    // answered with zeros, too
		hand(packettest.Header{Src: h.Src, Dst: h.Dst}, packettest.UDP(1, 2, packettest.Bytes(3000, 0))) // to be cut
	} else {
		hand(h, packettest.HopByHop(16, packettest.DestOpts(264, packettest.TCP(1, 2, data)))) // a chain
		hand(h, packettest.EchoReply(0, 0, make([]byte, 6)))                                   // becomes zeros: translate.TestEchoReplyOfZeros
		hand(h, packettest.Routing(1, packettest.TCP(1, 2, data)))                             // not used up
		hand(h, packettest.Fragment(7, 0, false, packettest.UDP(1, 2, data)))                  // atomic
		hand(h, packettest.Fragment(7, 8191, false, packettest.Raw(17, data[:7])))             // the last that can be
	}
	for i := range packettest.Setups() {
		s := packettest.Setups()[i]
		g := packettest.NewGen(uint64(i), s)
		for n := 0; n < 3; {
			if pkt := g.Packet(); len(pkt) > 0 && (pkt[0]>>4 == 4) == is4 && len(pkt) < 600 {
				all = append(all, packetInput{rig: uint8(i), pkt: pkt})
				n++
			}
		}
	}
	return all
}

// FuzzPacket4to6: an IPv4 packet under any of packettest.Setups. It comes to a
// verdict without a panic; nothing outside of its room is written or looked at,
// and nothing at all is written if it is dropped; the outcome is that of the
// reference, verdict, reason and bytes, whether or not its pair of addresses is
// remembered, alone as well as in a batch; what leaves is read by gopacket, fits
// the MTU, has unicast addresses, one hop less to go, a right checksum exactly if
// that came right, and no fault if none came; flow labels are the only thing that
// the option for them changes; no error answers an error, a fragment that is not
// the first, or a multicast source or destination.
func FuzzPacket4to6(f *testing.F) { fuzzPacket(f, true) }

// FuzzPacket6to4: the same for an IPv6 packet.
func FuzzPacket6to4(f *testing.F) { fuzzPacket(f, false) }

func fuzzPacket(f *testing.F, is4 bool) {
	for _, in := range packetSeeds(f, is4) {
		f.Add(in.rig, in.src, in.dst, in.fix, in.pkt)
	}
	f.Fuzz(func(t *testing.T, rig, src, dst, fix uint8, pkt []byte) {
		if len(pkt) > maxPacket {
			return
		}
		x := rigOf(t, rig)
		in := packetInput{rig, src, dst, fix, pkt}
		b := in.build(x, is4)
		out, res := x.translate3(t, b)
		x.label(t, b, out, res)
	})
}

// FuzzICMPError: an ICMP error whose quoted packet, extension, type, code and
// second word are the fuzzer's, around which everything is right. It keeps what
// FuzzPacket4to6 promises, and whatever leaves is an ICMP error with a right
// checksum that quotes a packet of its family, and no error.
func FuzzICMPError(f *testing.F) {
	add := func(rig uint8, is4 bool, typ, code uint8, word uint32, qproto packettest.Payload, ext []byte) {
		q := packettest.Header{Src: packettest.H4in6, Dst: packettest.M6}
		if is4 {
			q = packettest.Header{Src: packettest.M4, Dst: packettest.H4}
		}
		f.Add(rig, is4, typ, code, word, uint8(0), uint8(0), uint8(0), uint8(0), uint8(fixLength), packettest.IP(q, qproto), ext)
	}
	data := packettest.Bytes(40, 0)
	add(0, true, 3, 4, 1400, packettest.TCP(1, 2, data), nil)                                   // Fragmentation Needed
	add(0, true, 3, 4, 0, packettest.UDP(1, 2, packettest.Bytes(2100, 0)), nil)                 // of an old router: plateaus
	add(0, true, 12, 0, 16<<24, packettest.UDP(1, 2, data), nil)                                // pointer to a source address
	add(0, true, 11, 0, 0, packettest.EchoRequest(1, 2, data), packettest.MPLS())               // traceroute through MPLS
	add(0, true, 3, 3, 0, packettest.ICMP(3, 3, 0, data), nil)                                  // an error about an error
	add(0, false, 2, 0, 1400, packettest.TCP(1, 2, data), nil)                                  // Packet Too Big
	add(0, false, 2, 0, 1280, packettest.Fragment(7, 0, true, packettest.UDP(1, 2, data)), nil) // about a fragment
	add(0, false, 4, 0, 40, packettest.UDP(1, 2, data), nil)                                    // pointer after the header
	add(6, false, 3, 0, 0, packettest.UDP(1, 2, data), packettest.MPLS())                       // node address joins an extension
	add(7, false, 1, 4, 0, packettest.HopByHop(8, packettest.UDP(1, 2, data)), nil)             // a quoted chain
	f.Fuzz(func(t *testing.T, rig uint8, is4 bool, typ, code uint8, word uint32, src, dst, qsrc, qdst, fix uint8, quote, ext []byte) {
		if len(quote) > maxPacket || len(ext) > 1500 {
			return
		}
		x := rigOf(t, rig)
		q := packetInput{rig, qsrc, qdst, fix, quote}
		body := q.build(x, is4)
		p := packettest.ICMP(typ, code, word, body)
		if len(ext) > 0 {
			p = packettest.ExtendedError(typ, code, word, body[:min(len(body), 1000)], ext)
		}
		h := packettest.Header{Src: x.addr(is4, src), Dst: x.addr(is4, dst)}
		if src == 0 && dst == 0 { // the way that the seeds take: from a router to the quoted source
			h = packettest.Header{Src: packettest.R6, Dst: packettest.H4in6}
			if is4 {
				h = packettest.Header{Src: packettest.R4, Dst: packettest.M4}
			}
		}
		pkt := packettest.IP(h, p)
		if len(pkt) > 65535 {
			return
		}
		out, _ := x.translate3(t, pkt)
		in, _ := open(pkt)
		for _, b := range out {
			if in.isError() {
				checkError(t, b)
			}
		}
	})
}

// checkError fails the test if an ICMP error does not look as it should to a
// host that gets it.
func checkError(t *testing.T, pkt []byte) {
	t.Helper()
	u, _ := open(pkt)
	if _, right := u.sums(); !right || !u.isError() {
		t.Errorf("no ICMP error, or one with a wrong checksum: %x", pkt)
		return
	}
	quote, limit := u.data[8:], 1280
	if u.src.Is4() {
		limit = 576
	}
	if len(pkt) > limit {
		t.Errorf("ICMP error of %d bytes", len(pkt))
	}
	if len(quote) < 20 || (quote[0]>>4 == 4) != u.src.Is4() || !u.src.Is4() && len(quote) < 40 {
		t.Errorf("quotes no packet of its family: %x", quote)
		return
	}
	var proto uint8
	at := 20
	if u.src.Is4() {
		proto = quote[9]
		if packettest.Sum(quote[:20]) != 0xffff {
			t.Errorf("quoted header checksum is wrong: %x", quote[:20])
		}
	} else if proto, at = quote[6], 40; proto == 44 {
		if len(quote) < 48 {
			t.Errorf("quoted Fragment Header is cut: %x", quote)
			return
		}
		proto, at = quote[40], 48
	}
	q := upper{src: netip.IPv6Unspecified(), proto: proto, data: quote[at:]}
	if u.src.Is4() {
		q.src = netip.IPv4Unspecified()
	}
	if q.isError() {
		t.Errorf("quotes an ICMP error: %x", quote)
	}
}
