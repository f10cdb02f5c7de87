package netlab

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// Check decodes packets as gopacket does, which knows nothing of this module,
// and returns a line for each one that is malformed: header fields that
// contradict each other, lengths that are not those of the packet, IP header
// checksums, and the checksums of TCP, UDP, ICMP and ICMPv6 wherever the whole
// message is in the packet. Later fragments have no transport header to look at.
// A packet quoted in an ICMP error is checked like any other, as far as it goes.
func Check(packets []Packet) []string {
	var bad []string
	for i, p := range packets {
		if err := CheckPacket(p.Data); err != nil {
			bad = append(bad, fmt.Sprintf("packet %d: %v: %x", i, err, p.Data[:min(len(p.Data), 128)]))
		}
	}
	return bad
}

// CheckPacket is Check for one packet, beginning with its IP header.
func CheckPacket(b []byte) error {
	if len(b) == 0 {
		return errors.New("empty")
	}
	first := layers.LayerTypeIPv4
	if b[0]>>4 == 6 {
		first = layers.LayerTypeIPv6
	}
	c := checker{whole: b}
	return c.decode(b, first)
}

// checker is what is known about a packet after looking at some of its layers.
type checker struct {
	whole    []byte
	overIPv4 bool
	pseudo   uint16 // the sum of the addresses for the pseudo-header
	payload  []byte // of the IP header
	fragment bool   // the message is not all here
	done     bool   // the rest is the business of applications
}

// decode checks what is in b, beginning with the given kind of layer.
func (c *checker) decode(b []byte, first gopacket.LayerType) error {
	pkt := gopacket.NewPacket(b, first, gopacket.NoCopy)
	for _, l := range pkt.Layers() {
		if len(l.LayerContents()) == 0 && pkt.ErrorLayer() != nil {
			break // it could not be decoded, and its fields mean nothing
		}
		if err := c.layer(l); err != nil || c.done {
			return err
		}
	}
	if e := pkt.ErrorLayer(); e != nil {
		return fmt.Errorf("does not decode: %w", e.Error())
	}
	return nil
}

// layer checks one layer.
func (c *checker) layer(l gopacket.Layer) error {
	switch l := l.(type) {
	case *layers.IPv4:
		return c.ipv4(l)
	case *layers.IPv6:
		return c.ipv6(l)
	case *layers.IPv6Fragment:
		return c.ipv6Fragment(l)
	case *layers.IPv6HopByHop:
		c.payload = l.Payload
	case *layers.IPv6Destination:
		c.payload = l.Payload
	case *layers.IPv6Routing:
		c.payload = l.Payload
	case *layers.TCP:
		return c.transport("TCP", layers.IPProtocolTCP)
	case *layers.UDP:
		return c.udp(l)
	case *layers.ICMPv4:
		return c.icmpv4(l)
	case *layers.ICMPv6:
		return c.icmpv6(l)
	}
	return nil
}

func (c *checker) ipv4(ip *layers.IPv4) error {
	whole := len(ip.Contents) + len(ip.Payload)
	switch {
	case ip.Version != 4:
		return fmt.Errorf("IP version %d", ip.Version)
	case int(ip.Length) != len(c.whole):
		return fmt.Errorf("IPv4 total length %d of %d bytes", ip.Length, len(c.whole))
	case int(ip.Length) != whole:
		return fmt.Errorf("IPv4 header and payload have %d bytes, not %d", whole, ip.Length)
	case sum16(0, ip.Contents) != 0xffff:
		return fmt.Errorf("IPv4 header checksum %04x", ip.Checksum)
	case ip.Flags&layers.IPv4DontFragment != 0 && ip.Flags&layers.IPv4MoreFragments != 0:
		return errors.New("IPv4 fragment with DF")
	case ip.Flags&layers.IPv4EvilBit != 0:
		return errors.New("IPv4 reserved flag is set")
	case ip.Flags&layers.IPv4MoreFragments != 0 && len(ip.Payload)%8 != 0:
		return fmt.Errorf("IPv4 fragment of %d bytes that is not the last", len(ip.Payload))
	}
	c.fragment = ip.FragOffset != 0 || ip.Flags&layers.IPv4MoreFragments != 0
	c.done = ip.FragOffset != 0
	c.overIPv4 = true
	c.pseudo = sum16(sum16(0, ip.SrcIP.To4()), ip.DstIP.To4())
	c.payload = ip.Payload
	return nil
}

func (c *checker) ipv6(ip *layers.IPv6) error {
	switch {
	case ip.Version != 6:
		return fmt.Errorf("IP version %d", ip.Version)
	case int(ip.Length) != len(c.whole)-40:
		return fmt.Errorf("IPv6 payload length %d of %d bytes", ip.Length, len(c.whole)-40)
	}
	c.pseudo = sum16(sum16(0, ip.SrcIP.To16()), ip.DstIP.To16())
	c.payload = ip.Payload
	return nil
}

// ipv6Fragment goes on with what a first fragment begins with, which gopacket
// leaves alone. An atomic fragment is a first one and whole (RFC 6946).
func (c *checker) ipv6Fragment(f *layers.IPv6Fragment) error {
	if f.MoreFragments && len(f.Payload)%8 != 0 {
		return fmt.Errorf("IPv6 fragment of %d bytes that is not the last", len(f.Payload))
	}
	c.fragment = f.FragmentOffset != 0 || f.MoreFragments
	c.payload = f.Payload
	var err error
	if f.FragmentOffset == 0 {
		err = c.decode(f.Payload, f.NextHeader.LayerType())
	}
	c.done = true
	return err
}

// transport checks a checksum that covers the pseudo-header. It ends the walk.
func (c *checker) transport(name string, proto layers.IPProtocol) error {
	c.done = true
	if c.fragment {
		return nil
	}
	n := len(c.payload)
	sum := sum16(c.pseudo, []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), 0, byte(proto)})
	if sum16(sum, c.payload) != 0xffff {
		return fmt.Errorf("%s checksum", name)
	}
	return nil
}

func (c *checker) udp(u *layers.UDP) error {
	c.done = true
	switch {
	case !c.fragment && int(u.Length) != len(c.payload):
		return fmt.Errorf("UDP length %d of %d bytes", u.Length, len(c.payload))
	case c.fragment && int(u.Length) <= len(c.payload):
		return fmt.Errorf("UDP length %d in a first fragment of %d bytes", u.Length, len(c.payload))
	case u.Checksum == 0 && c.overIPv4:
		return nil // none: RFC 768
	case u.Checksum == 0:
		return errors.New("UDP over IPv6 without checksum")
	}
	return c.transport("UDP", layers.IPProtocolUDP)
}

func (c *checker) icmpv4(m *layers.ICMPv4) error {
	c.done = true
	if c.fragment {
		return nil
	}
	if sum16(0, c.payload) != 0xffff {
		return fmt.Errorf("ICMP checksum %04x", m.Checksum)
	}
	if m.TypeCode == prohibited4 {
		_, err := checkQuotedHeader(m.Payload, 4)
		return err
	}
	switch m.TypeCode.Type() {
	case layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4TypeTimeExceeded,
		layers.ICMPv4TypeParameterProblem:
		return checkQuote(m.Payload, 4)
	}
	return nil
}

func (c *checker) icmpv6(m *layers.ICMPv6) error {
	if err := c.transport("ICMPv6", layers.IPProtocolICMPv6); err != nil || c.fragment {
		return err
	}
	if m.TypeCode.Type() >= 128 {
		return nil
	}
	if len(c.payload) < 8 {
		return fmt.Errorf("ICMPv6 error of %d bytes", len(c.payload))
	}
	if m.TypeCode == prohibited6 {
		_, err := checkQuotedHeader(c.payload[8:], 6)
		return err
	}
	return checkQuote(c.payload[8:], 6)
}

// Errors about packets that a translator cannot translate, perhaps for being
// malformed themselves: RFC 7915 §4.4, §5.4.
var (
	prohibited4 = layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeCommAdminProhibited)
	prohibited6 = layers.CreateICMPv6TypeCode(layers.ICMPv6TypeDestinationUnreachable, layers.ICMPv6CodeAdminProhibited)
)

// checkQuote checks the packet that an ICMP error is about: all of it if it was
// quoted whole, else its IP header. What follows a whole one is an extension or
// its padding: RFC 4884.
func checkQuote(b []byte, version byte) error {
	total, err := checkQuotedHeader(b, version)
	if err != nil || total < 20 || version == 6 && total < 40 || total > len(b) {
		return err
	}
	if err := CheckPacket(b[:total]); err != nil {
		return fmt.Errorf("ICMP error that quotes: %w", err)
	}
	return nil
}

// checkQuotedHeader checks the IP header of a quoted packet, and returns how long it
// says the packet was.
func checkQuotedHeader(b []byte, version byte) (total int, err error) {
	minLen := 20
	if version == 6 {
		minLen = 40
	}
	switch {
	case len(b) < minLen:
		return 0, fmt.Errorf("ICMP error that quotes %d bytes", len(b))
	case b[0]>>4 != version:
		return 0, fmt.Errorf("ICMP error that quotes IP version %d", b[0]>>4)
	case version == 6:
		return 40 + int(binary.BigEndian.Uint16(b[4:])), nil
	}
	if n := int(b[0]&15) * 4; n < 20 || n > len(b) {
		return 0, fmt.Errorf("ICMP error that quotes an IPv4 header of %d bytes", n)
	} else if sum16(0, b[:n]) != 0xffff {
		return 0, fmt.Errorf("ICMP error that quotes an IPv4 header of checksum %04x", binary.BigEndian.Uint16(b[10:]))
	}
	return int(binary.BigEndian.Uint16(b[2:])), nil
}
