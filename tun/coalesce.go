package tun

import (
	"bytes"
	"encoding/binary"

	"github.com/steppe-nat64/steppe/internal/checksum"
	"github.com/steppe-nat64/steppe/translate"
)

// UDP segmentation: successive UDP datagrams of one flow and one size, as QUIC and video
// send them, are written as one super-packet, whose cost per datagram is a fraction of
// that of a packet. The kernel segments it into the same datagrams, as late as possible.
// Datagrams are coalesced only if the kernel restores each of them byte for byte: the
// checksums must have been correct, and identifications must be successive. Those of
// datagrams with DF have no meaning (RFC 6864 §4.1) and are random: afterwards they count
// up from the first.

// maxSegments is the largest number of datagrams in a super-packet: the least
// UDP_MAX_SEGMENTS of all kernels that have USO for TUN devices.
const maxSegments = 64

const (
	lenIPv4  = 20
	lenIPv6  = 40
	lenUDP   = 8
	protoUDP = 17

	udpChecksum  = 6    // where the field is in a UDP header
	dontFragment = 0x40 // bit of byte 6 of an IPv4 header
)

// coalesceLen returns how many packets at the beginning of ps can be one super-packet: 1
// if no other can be added to the first.
func coalesceLen(ps []translate.Packet) int {
	if len(ps) < 2 {
		return 1
	}
	head := ps[0].Bytes()
	ip := soleDatagram(head)
	if ip == 0 || ip != soleDatagram(ps[1].Bytes()) || !follows(head, ps[1].Bytes(), ip, 1) || !sound(&ps[0], ip) {
		return 1
	}
	total := len(head)
	for n := 1; n < min(len(ps), maxSegments); n++ {
		b := ps[n].Bytes()
		payload := len(b) - ip - lenUDP
		if soleDatagram(b) != ip || !follows(head, b, ip, n) || total+payload > maxPacket || !sound(&ps[n], ip) {
			return n
		}
		total += payload
		if len(b) < len(head) {
			return n + 1 // only the last one may be shorter
		}
	}
	return min(len(ps), maxSegments)
}

// soleDatagram returns the length of the IP header if b is a whole UDP datagram
// with payload and checksum and neither options, extension headers nor padding, or
// else 0.
func soleDatagram(b []byte) int {
	switch {
	case len(b) > lenIPv4+lenUDP && b[0] == 0x45:
		const moreOrOffset = 0x3fff
		if b[9] != protoUDP || word(b[2:]) != len(b) || word(b[6:])&moreOrOffset != 0 || checksum.Fold(checksum.Sum(b[:lenIPv4])) != 0xffff {
			return 0
		}
		return udpIn(b, lenIPv4)
	case len(b) > lenIPv6+lenUDP && b[0]>>4 == 6:
		if b[6] != protoUDP || word(b[4:]) != len(b)-lenIPv6 {
			return 0
		}
		return udpIn(b, lenIPv6)
	}
	return 0
}

// udpIn returns ip if the UDP header after an IP header of that length can be
// used.
func udpIn(b []byte, ip int) int {
	if udp := b[ip:]; word(udp[4:]) != len(udp) || word(udp[udpChecksum:]) == 0 {
		return 0
	}
	return ip
}

// follows reports whether the kernel's segmentation gives the n-th datagram after head the
// headers of b, except for checksums and an identification that has no meaning.
func follows(head, b []byte, ip, n int) bool {
	if len(b) > len(head) || !bytes.Equal(head[ip:ip+4], b[ip:ip+4]) { // ports
		return false
	}
	if ip == lenIPv4 {
		return head[1] == b[1] && // TOS
			(head[6]&dontFragment != 0 || uint16(word(head[4:])+n) == uint16(word(b[4:]))) && // Identification
			bytes.Equal(head[6:10], b[6:10]) && // flags, TTL
			bytes.Equal(head[12:20], b[12:20])
	}
	return bytes.Equal(head[:4], b[:4]) && // class, flow label
		bytes.Equal(head[6:40], b[6:40])
}

// sound reports whether p's UDP checksum is correct, or is partial and will be correct
// once completed.
func sound(p *translate.Packet, ip int) bool {
	b := p.Bytes()
	udp := b[ip:]
	pseudo := pseudoSum(b, ip, len(udp))
	switch p.Offload {
	case translate.Offload{}:
		return checksum.Fold(checksum.Sum(udp)+pseudo) == 0xffff
	case translate.Offload{Flags: translate.OffloadNeedsCsum, CsumStart: uint16(ip), CsumOffset: udpChecksum}:
		return word(udp[udpChecksum:]) == int(checksum.Fold(pseudo))
	}
	return false
}

// coalesce makes the headers of the first packet of ps those of the super-packet. The
// payloads of the others have to be sent after it.
func coalesce(ps []translate.Packet) {
	head := &ps[0]
	b := head.Bytes()
	ip := lenIPv4
	if b[0]>>4 == 6 {
		ip = lenIPv6
	}
	n := 0 // UDP length
	for i := range ps {
		n += ps[i].Len - ip - lenUDP
	}
	n += lenUDP
	if ip == lenIPv4 {
		binary.BigEndian.PutUint16(b[2:], uint16(ip+n))
		b[10], b[11] = 0, 0
		binary.BigEndian.PutUint16(b[10:], ^checksum.Fold(checksum.Sum(b[:ip])))
	} else {
		binary.BigEndian.PutUint16(b[4:], uint16(n))
	}
	binary.BigEndian.PutUint16(b[ip+4:], uint16(n))
	binary.BigEndian.PutUint16(b[ip+udpChecksum:], checksum.Fold(pseudoSum(b, ip, n)))
	head.Offload = translate.Offload{
		Flags:      translate.OffloadNeedsCsum,
		GSOType:    translate.GSOUDPL4,
		HdrLen:     uint16(ip + lenUDP),
		GSOSize:    uint16(head.Len - ip - lenUDP),
		CsumStart:  uint16(ip),
		CsumOffset: udpChecksum,
	}
}

func word(b []byte) int { return int(binary.BigEndian.Uint16(b)) }

// pseudoSum is the sum of the pseudo-header of n bytes of UDP after an IP header
// of length ip.
func pseudoSum(b []byte, ip, n int) uint64 {
	addrs := b[12:20]
	if ip == lenIPv6 {
		addrs = b[8:40]
	}
	return checksum.Sum(addrs) + protoUDP + uint64(n)
}
