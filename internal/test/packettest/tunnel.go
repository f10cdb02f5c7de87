package packettest

import "github.com/steppe-nat64/steppe/translate"

// A Tunnel is a protocol that carries whole packets.
type Tunnel struct {
	Name string
	// Length is that of the headers between the outer IP header and the inner one.
	Length int
	// Carry makes the payload of the outer packet.
	Carry func(inner []byte) Payload
}

// Tunnels returns tunnels of every kind that carry inner packets of the family is4
// says.
func Tunnels(is4 bool) []Tunnel {
	proto, etherType := uint8(41), []byte{0x86, 0xdd}
	if is4 {
		proto, etherType = 4, []byte{0x08, 0x00}
	}
	ethernet := append(Bytes(12, 2), etherType...)
	join := func(parts ...[]byte) (all []byte) {
		for _, b := range parts {
			all = append(all, b...)
		}
		return all
	}
	vxlan := join([]byte{8, 0, 0, 0, 0, 0, 5, 0}, ethernet)        // RFC 7348 §5: VNI 5
	geneve := join([]byte{0, 0, 0x65, 0x58, 0, 0, 5, 0}, ethernet) // RFC 8926 §3.4
	gre := join([]byte{0, 0}, etherType)                           // RFC 2784 §2.1
	greKey := join([]byte{0x20, 0}, etherType, []byte{0, 0, 0, 9}) // RFC 2890 §2
	return []Tunnel{
		{"vxlan", 8 + len(vxlan), func(b []byte) Payload { return UDP(50000, 4789, join(vxlan, b)) }},
		{"vxlan-without-checksum", 8 + len(vxlan), func(b []byte) Payload { return UDPNoSum(50000, 4789, join(vxlan, b)) }},
		{"geneve", 8 + len(geneve), func(b []byte) Payload { return UDP(50000, 6081, join(geneve, b)) }},
		{"fou", 8, func(b []byte) Payload { return UDP(50000, 5555, b) }},
		{"gre", len(gre), func(b []byte) Payload { return Raw(47, join(gre, b)) }},
		{"gre-key", len(greKey), func(b []byte) Payload { return Raw(47, join(greKey, b)) }},
		{"ip-in-ip", 0, func(b []byte) Payload { return Raw(proto, b) }},
	}
}

// PartialInner is Partial for the TCP or UDP packet at pkt[at:], inside a tunnel.
// The outer checksum, if there is one, is that of the completed packet: the kernel
// knows it without the inner one (local checksum offload).
func PartialInner(pkt []byte, at int) translate.Offload {
	o := Partial(pkt[at:], 0)
	o.CsumStart += uint16(at)
	return o
}
