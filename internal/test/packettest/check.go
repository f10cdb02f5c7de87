package packettest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// ErrNoChecksum is what Check returns, wrapped, for an IPv6 UDP datagram without
// a checksum in which it finds nothing else to blame. RFC 6936 tunnels send
// such datagrams.
var ErrNoChecksum = errors.New("UDP over IPv6 without a checksum")

// Check returns nil if pkt is one well-formed IP packet, and otherwise what is
// wrong with it. It demands that the packet fills pkt exactly; that the IPv4
// header checksum is right; that fragments can be part of a packet; that TCP,
// UDP, UDP-Lite, DCCP and ICMP have whole headers and right checksums, unless
// they are fragmented; that ICMP errors quote a packet of their family, whose
// IPv4 header checksum is right; and that an RFC 4884 extension is well formed,
// checksum included. Headers are decoded by gopacket and sums are the plain
// loop.
func Check(pkt []byte) error {
	if len(pkt) == 0 {
		return errors.New("packettest: empty packet")
	}
	var err error
	switch pkt[0] >> 4 {
	case 4:
		err = check4(pkt)
	case 6:
		err = check6(pkt)
	default:
		err = fmt.Errorf("version %d", pkt[0]>>4)
	}
	if err != nil {
		return fmt.Errorf("packettest: %w", err)
	}
	return nil
}

// feedback remembers whether a decoder ran out of bytes.
type feedback struct{ truncated bool }

func (f *feedback) SetTruncated() { f.truncated = true }

func check4(pkt []byte) error {
	var ip layers.IPv4
	var f feedback
	if err := ip.DecodeFromBytes(pkt, &f); err != nil {
		return err
	}
	if f.truncated || int(ip.Length) != len(pkt) || binary.BigEndian.Uint16(pkt[2:]) != ip.Length {
		return fmt.Errorf("IPv4 total length %d in %d bytes", binary.BigEndian.Uint16(pkt[2:]), len(pkt))
	}
	if s := Sum(pkt[:int(ip.IHL)*4]); s != 0xffff {
		return fmt.Errorf("IPv4 header sums to %04x", s)
	}
	if ip.Flags&layers.IPv4EvilBit != 0 {
		return errors.New("IPv4 reserved flag set")
	}
	more := ip.Flags&layers.IPv4MoreFragments != 0
	if more || ip.FragOffset != 0 {
		return checkFragment(int(ip.FragOffset), more, len(ip.Payload))
	}
	src, _ := netip.AddrFromSlice(ip.SrcIP)
	dst, _ := netip.AddrFromSlice(ip.DstIP)
	return checkTransport(src, dst, uint8(ip.Protocol), ip.Payload)
}

func check6(pkt []byte) error {
	if len(pkt) < 40 || int(binary.BigEndian.Uint16(pkt[4:]))+40 != len(pkt) {
		return fmt.Errorf("IPv6 payload length does not fit %d bytes", len(pkt))
	}
	src, dst := netip.AddrFrom16([16]byte(pkt[8:])), netip.AddrFrom16([16]byte(pkt[24:]))
	if len(pkt) == 40 {
		return checkTransport(src, dst, pkt[6], nil) // gopacket takes length 0 for a jumbogram
	}
	var ip layers.IPv6
	var f feedback
	if err := ip.DecodeFromBytes(pkt, &f); err != nil {
		return err
	}
	proto, data := pkt[6], pkt[40:]
	for proto == 0 || proto == 43 || proto == 60 {
		if len(data) < 8 || len(data) < (int(data[1])+1)*8 {
			return fmt.Errorf("extension header %d cut short", proto)
		}
		proto, data = data[0], data[(int(data[1])+1)*8:]
	}
	if proto == 44 {
		l := gopacket.NewPacket(data, layers.LayerTypeIPv6Fragment, gopacket.NoCopy).Layer(layers.LayerTypeIPv6Fragment)
		fh, ok := l.(*layers.IPv6Fragment)
		if !ok {
			return errors.New("Fragment Header cut short")
		}
		if fh.MoreFragments || fh.FragmentOffset != 0 {
			return checkFragment(int(fh.FragmentOffset), fh.MoreFragments, len(fh.Payload))
		}
		proto, data = uint8(fh.NextHeader), fh.Payload
	}
	return checkTransport(src, dst, proto, data)
}

func checkFragment(off8 int, more bool, n int) error {
	if n == 0 || more && n%8 != 0 || off8*8+n > 65535 {
		return fmt.Errorf("fragment at %d with %d bytes, more=%t", off8*8, n, more)
	}
	return nil
}

func checkTransport(src, dst netip.Addr, proto uint8, data []byte) error {
	var f feedback
	var err error
	covered := data
	switch proto {
	case 6:
		err = new(layers.TCP).DecodeFromBytes(data, &f)
	case 17:
		var udp layers.UDP
		err = udp.DecodeFromBytes(data, &f)
		if err == nil && int(udp.Length) != len(data) {
			err = fmt.Errorf("UDP length %d of %d bytes", udp.Length, len(data))
		}
		if err == nil && udp.Checksum == 0 {
			if src.Is6() {
				return ErrNoChecksum
			}
			return nil
		}
	case 33:
		if len(data) < 12 {
			return fmt.Errorf("DCCP of %d bytes", len(data))
		}
		if cov := int(data[5] & 15); cov > 0 {
			covered = data[:min(len(data), int(data[4])*4+(cov-1)*4)]
		}
	case 136:
		if len(data) < 8 || data[6] == 0 && data[7] == 0 {
			return fmt.Errorf("UDP-Lite of %d bytes or without checksum", len(data))
		}
		if cov := int(binary.BigEndian.Uint16(data[4:])); cov != 0 {
			if cov < 8 || cov > len(data) {
				return fmt.Errorf("UDP-Lite coverage %d of %d bytes", cov, len(data))
			}
			covered = data[:cov]
		}
	case 1, 58:
		if (proto == 1) != src.Is4() {
			return fmt.Errorf("ICMP of the other family: protocol %d", proto)
		}
		return checkICMP(src, dst, data)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	if f.truncated {
		return fmt.Errorf("protocol %d cut short", proto)
	}
	if s := Sum(Pseudo(src, dst, proto, len(data)), covered); s != 0xffff {
		return fmt.Errorf("protocol %d sums to %04x", proto, s)
	}
	return nil
}

func checkICMP(src, dst netip.Addr, data []byte) error {
	if len(data) < 8 {
		return fmt.Errorf("ICMP of %d bytes", len(data))
	}
	var pseudo []byte
	unit, length, isError, extensible := 4, int(data[5]), false, false
	if src.Is6() {
		pseudo = Pseudo(src, dst, 58, len(data))
		unit, length = 8, int(data[4])
		isError, extensible = data[0] < 128, data[0] == 1 || data[0] == 3
	} else {
		isError = data[0] >= 3 && data[0] <= 5 || data[0] == 11 || data[0] == 12
		extensible = data[0] == 3 || data[0] == 11 || data[0] == 12
	}
	if s := Sum(pseudo, data); s != 0xffff {
		return fmt.Errorf("ICMP sums to %04x", s)
	}
	if !isError {
		return nil
	}
	quote := data[8:]
	if extensible && length != 0 {
		n := length * unit
		if n < 128 || n > len(quote) {
			return fmt.Errorf("ICMP extension after %d of %d bytes", n, len(quote))
		}
		if err := checkExtension(quote[n:]); err != nil {
			return err
		}
		quote = quote[:n]
	}
	return checkQuote(src.Is4(), quote)
}

// checkExtension demands a structure of RFC 4884 §7, with objects of whole
// 32-bit words.
func checkExtension(b []byte) error {
	if len(b) < 8 || b[0] != 0x20 || b[1] != 0 {
		return fmt.Errorf("ICMP extension structure begins with %x", b[:min(len(b), 8)])
	}
	if s := Sum(b); s != 0xffff && (b[2] != 0 || b[3] != 0) {
		return fmt.Errorf("ICMP extension structure sums to %04x", s)
	}
	for b = b[4:]; len(b) > 0; {
		if len(b) < 4 {
			return fmt.Errorf("ICMP extension object of %d bytes", len(b))
		}
		n := int(binary.BigEndian.Uint16(b))
		if n < 4 || n%4 != 0 || n > len(b) {
			return fmt.Errorf("ICMP extension object of %d bytes, says %d", len(b), n)
		}
		b = b[n:]
	}
	return nil
}

func checkQuote(is4 bool, quote []byte) error {
	if !is4 {
		if len(quote) < 40 || quote[0]>>4 != 6 {
			return fmt.Errorf("quote of %d bytes is not an IPv6 packet", len(quote))
		}
		return nil
	}
	var n int
	if len(quote) >= 20 {
		n = int(quote[0]&15) * 4
	}
	if n < 20 || n > len(quote) || quote[0]>>4 != 4 {
		return fmt.Errorf("quote of %d bytes is not an IPv4 packet", len(quote))
	}
	if s := Sum(quote[:n]); s != 0xffff {
		return fmt.Errorf("quoted IPv4 header sums to %04x", s)
	}
	return nil
}
