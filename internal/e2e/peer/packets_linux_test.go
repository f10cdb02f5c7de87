package peer

import (
	"net/netip"

	pt "github.com/steppe-nat64/steppe/internal/test/packettest"
)

var data = pt.Bytes(20, 'a')

func in(pkts ...[]byte) [][]byte { return pkts }

// ip4 is a packet H4 → M4, ip6 one M6 → H4in6.
func ip4(p pt.Payload) []byte { return pt.IP(pt.From4(), p) }
func ip6(p pt.Payload) []byte { return pt.IP(pt.From6(), p) }

func ip4from(h pt.Header, p pt.Payload) []byte {
	if !h.Src.IsValid() {
		h.Src = pt.H4
	}
	if !h.Dst.IsValid() {
		h.Dst = pt.M4
	}
	return pt.IP(h, p)
}

func ip6from(h pt.Header, p pt.Payload) []byte {
	if !h.Src.IsValid() {
		h.Src = pt.M6
	}
	if !h.Dst.IsValid() {
		h.Dst = pt.H4in6
	}
	return pt.IP(h, p)
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func udp() pt.Payload     { return pt.UDP(1111, 2222, data) }
func sized(n int) []byte  { return pt.Bytes(n, 0) }
func request() pt.Payload { return pt.EchoRequest(7, 1, data) }

// flip changes byte i of b.
func flip(b []byte, i int) []byte {
	b[i] ^= 0x55
	return b
}

// ip4back and ip6back are packets in the other direction, M4 → H4 and H4in6 → M6,
// as errors quote them.
func ip4back(p pt.Payload) []byte { return pt.IP(pt.Header{Src: pt.M4, Dst: pt.H4, DF: true}, p) }
func ip6back(p pt.Payload) []byte { return pt.IP(pt.Header{Src: pt.H4in6, Dst: pt.M6}, p) }

// vanishing is a datagram whose checksum becomes zero when its addresses become
// src2 and dst2.
func vanishing(src2, dst2 netip.Addr) pt.Payload {
	d := make([]byte, 20)
	_, b := pt.UDP(1111, 2222, d)(src2, dst2)
	copy(d, b[6:8]) // what the sum lacks to 0xffff
	return pt.UDP(1111, 2222, d)
}
