package netlab

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	src4, dst4 = net.IPv4(192, 0, 2, 1), net.IPv4(198, 51, 100, 2)
	src6, dst6 = net.ParseIP("2001:db8::1"), net.ParseIP("64:ff9b::c633:6402")
)

func ip4(proto layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 64, Protocol: proto, SrcIP: src4, DstIP: dst4}
}

func ip6(next layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: next, SrcIP: src6, DstIP: dst6}
}

// packet serialises layers with correct lengths and checksums.
func packet(t *testing.T, ls ...gopacket.SerializableLayer) []byte {
	t.Helper()
	for _, l := range ls {
		type overNetwork interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}
		if o, ok := l.(overNetwork); ok {
			require.NoError(t, o.SetNetworkLayerForChecksum(ls[0].(gopacket.NetworkLayer)))
		}
	}
	buf := gopacket.NewSerializeBuffer()
	require.NoError(t, gopacket.SerializeLayers(buf,
		gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls...))
	return bytes.Clone(buf.Bytes())
}

// samples returns one good packet of each kind.
func samples(t *testing.T) map[string][]byte {
	data := gopacket.Payload("seventeen bytes!!")
	udp4 := packet(t, ip4(layers.IPProtocolUDP), &layers.UDP{SrcPort: 1, DstPort: 2}, data)
	udp6 := packet(t, ip6(layers.IPProtocolUDP), &layers.UDP{SrcPort: 1, DstPort: 53}, data)
	unreachable4 := layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodePort)
	tooBig := layers.CreateICMPv6TypeCode(layers.ICMPv6TypePacketTooBig, 0)
	return map[string][]byte{
		"tcp4":  packet(t, ip4(layers.IPProtocolTCP), &layers.TCP{SrcPort: 1, DstPort: 2, SYN: true}, data),
		"tcp6":  packet(t, ip6(layers.IPProtocolTCP), &layers.TCP{SrcPort: 1, DstPort: 2, SYN: true}, data),
		"udp4":  udp4,
		"udp6":  udp6, // to a port whose protocol does not decode
		"icmp4": packet(t, ip4(layers.IPProtocolICMPv4), &layers.ICMPv4{TypeCode: 8 << 8, Id: 1, Seq: 2}, data),
		"icmp6": packet(t, ip6(layers.IPProtocolICMPv6),
			&layers.ICMPv6{TypeCode: 128 << 8}, gopacket.Payload("\x00\x01\x00\x02data")),
		"error4": packet(t, ip4(layers.IPProtocolICMPv4), &layers.ICMPv4{TypeCode: unreachable4}, gopacket.Payload(udp4[:28])),
		"error6": packet(t, ip6(layers.IPProtocolICMPv6), &layers.ICMPv6{TypeCode: tooBig},
			gopacket.Payload("\x00\x00\x05\x00"), gopacket.Payload(udp6)),
	}
}

func TestCheckGood(t *testing.T) {
	for name, b := range samples(t) {
		assert.NoError(t, CheckPacket(b), name)
	}
	assert.Empty(t, Check(nil))
}

// TestCheckEveryBit flips each bit of each packet in turn. All of them are
// covered by a checksum, a length or a rule, but for the few that change what
// the checksum is about.
func TestCheckEveryBit(t *testing.T) {
	for name, good := range samples(t) {
		for i := range len(good) * 8 {
			b := bytes.Clone(good)
			b[i/8] ^= 0x80 >> (i % 8)
			if uncovered(name, i/8) {
				continue
			}
			assert.Error(t, CheckPacket(b), "%s: bit %d of byte %d", name, i%8, i/8)
		}
	}
}

// uncovered names the bytes that no checksum covers.
func uncovered(name string, at int) bool {
	if name[len(name)-1] == '4' {
		return false // all of the header, and all of the payload
	}
	switch at {
	case 0, 1, 2, 3, 7: // traffic class, flow label, hop limit; a wrong version has a test of its own
		return true
	case 6: // another next header is another kind of payload
		return true
	}
	return false
}

func TestCheckBad(t *testing.T) {
	// header4 changes the IPv4 header of a packet and makes its checksum right.
	header4 := func(b []byte, change func(h []byte)) []byte {
		change(b[:20])
		binary.BigEndian.PutUint16(b[10:], 0)
		binary.BigEndian.PutUint16(b[10:], ^sum16(0, b[:20]))
		return b
	}
	for name, c := range map[string]struct {
		from   string
		change func(b []byte) []byte
		want   string
	}{
		"empty":           {"udp4", func(b []byte) []byte { return nil }, "empty"},
		"short-ip4":       {"udp4", func(b []byte) []byte { return b[:19] }, "does not decode"},
		"short-ip6":       {"udp6", func(b []byte) []byte { return b[:39] }, "does not decode"},
		"version":         {"udp6", func(b []byte) []byte { b[0] = 0x50; return b }, "IP version 5"},
		"cut-ip4":         {"udp4", func(b []byte) []byte { return b[:len(b)-1] }, "IPv4 total length 45 of 44 bytes"},
		"cut-ip6":         {"udp6", func(b []byte) []byte { return b[:len(b)-1] }, "IPv6 payload length 25 of 24 bytes"},
		"padded-ip4":      {"udp4", func(b []byte) []byte { return append(b, 0) }, "IPv4 total length 45 of 46 bytes"},
		"padded-ip6":      {"udp6", func(b []byte) []byte { return append(b, 0) }, "IPv6 payload length 25 of 26 bytes"},
		"header-checksum": {"udp4", func(b []byte) []byte { b[10] ^= 1; return b }, "IPv4 header checksum"},
		"reserved-flag": {"udp4", func(b []byte) []byte {
			return header4(b, func(h []byte) { h[6] |= 0x80 })
		}, "reserved flag"},
		"df-and-mf": {"udp4", func(b []byte) []byte {
			return header4(b, func(h []byte) { h[6] |= 0x60 })
		}, "fragment with DF"},
		"odd-fragment": {"udp4", func(b []byte) []byte {
			return header4(b, func(h []byte) { h[6] |= 0x20 })
		}, "IPv4 fragment of 25 bytes that is not the last"},
		"udp-length": {"udp4", func(b []byte) []byte { b[25]--; return b }, "UDP length 24 of 25 bytes"},
		"udp-no-checksum": {"udp6", func(b []byte) []byte {
			b[46], b[47] = 0, 0
			return b
		}, "UDP over IPv6 without checksum"},
		"tcp-checksum":   {"tcp6", func(b []byte) []byte { b[56] ^= 1; return b }, "TCP checksum"},
		"icmp4-checksum": {"icmp4", func(b []byte) []byte { b[22] ^= 1; return b }, "ICMP checksum"},
		"icmp6-checksum": {"icmp6", func(b []byte) []byte { b[42] ^= 1; return b }, "ICMPv6 checksum"},
	} {
		t.Run(name, func(t *testing.T) {
			b := c.change(samples(t)[c.from])
			assert.ErrorContains(t, CheckPacket(b), c.want)
			assert.Len(t, Check([]Packet{{Data: b}}), 1)
		})
	}
	noChecksum := samples(t)["udp4"]
	noChecksum[26], noChecksum[27] = 0, 0
	assert.NoError(t, CheckPacket(noChecksum), "RFC 768 allows UDP over IPv4 without a checksum")
}

// TestCheckQuote builds ICMP errors with right checksums around wrong quotes.
func TestCheckQuote(t *testing.T) {
	udp4, udp6 := samples(t)["udp4"], samples(t)["udp6"]
	badSum := bytes.Clone(udp4)
	badSum[10] ^= 1
	badIHL := bytes.Clone(udp4)
	badIHL[0] = 0x4f
	badData := bytes.Clone(udp6)
	badData[50] ^= 1
	exceeded4 := layers.CreateICMPv4TypeCode(layers.ICMPv4TypeTimeExceeded, 0)
	exceeded6 := layers.CreateICMPv6TypeCode(layers.ICMPv6TypeTimeExceeded, 0)
	for name, c := range map[string]struct {
		v6    bool
		quote []byte
		want  string
	}{
		"short-4":    {false, udp4[:19], "quotes 19 bytes"},
		"short-6":    {true, udp6[:39], "quotes 39 bytes"},
		"family-4":   {false, udp6, "quotes IP version 6"},
		"family-6":   {true, udp4, "quotes IP version 4"},
		"checksum":   {false, badSum, "quotes an IPv4 header of checksum"},
		"inner":      {true, badData, "ICMP error that quotes: UDP checksum"},
		"header-cut": {false, badIHL[:28], "quotes an IPv4 header of 60 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			b := packet(t, ip4(layers.IPProtocolICMPv4), &layers.ICMPv4{TypeCode: exceeded4}, gopacket.Payload(c.quote))
			if c.v6 {
				b = packet(t, ip6(layers.IPProtocolICMPv6), &layers.ICMPv6{TypeCode: exceeded6},
					gopacket.Payload(make([]byte, 4)), gopacket.Payload(c.quote))
			}
			assert.ErrorContains(t, CheckPacket(b), c.want)
		})
	}
	// What a translator cannot translate may be malformed.
	b := packet(t, ip6(layers.IPProtocolICMPv6), &layers.ICMPv6{TypeCode: prohibited6},
		gopacket.Payload(make([]byte, 4)), gopacket.Payload(badData))
	assert.NoError(t, CheckPacket(b))
}

// TestCheckFragments cuts packets by hand: a first fragment has a transport
// header whose checksum can't be checked, a later one has none.
func TestCheckFragments(t *testing.T) {
	good := samples(t)["udp6"]
	fragment := func(offset, more byte, data []byte) []byte {
		b := bytes.Clone(good[:40])
		b[6] = byte(layers.IPProtocolIPv6Fragment)
		binary.BigEndian.PutUint16(b[4:], uint16(8+len(data)))
		b = append(b, byte(layers.IPProtocolUDP), 0, 0, offset<<3|more, 0, 0, 0, 1)
		return append(b, data...)
	}
	assert.NoError(t, CheckPacket(fragment(0, 1, good[40:56])))
	assert.NoError(t, CheckPacket(fragment(2, 0, good[56:])))
	assert.NoError(t, CheckPacket(fragment(0, 0, good[40:])), "atomic")
	bad := fragment(0, 0, good[40:])
	bad[len(bad)-1] ^= 1
	assert.ErrorContains(t, CheckPacket(bad), "UDP checksum", "an atomic fragment is whole")
	assert.ErrorContains(t, CheckPacket(fragment(0, 1, good[40:57])), "IPv6 fragment of 17 bytes")
	short := fragment(0, 1, good[40:56])
	short[40+8+5] = 16
	assert.ErrorContains(t, CheckPacket(short), "UDP length 16 in a first fragment of 16 bytes")
}

func TestSum16(t *testing.T) {
	// The example of RFC 1071 §3.
	assert.Equal(t, uint16(0xddf2), sum16(0, []byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}))
	assert.Equal(t, uint16(0x0100), sum16(0, []byte{1}))
	assert.Equal(t, uint16(0xffff), sum16(0xffff, []byte{0, 0}))
	assert.Equal(t, uint16(1), sum16(0xffff, []byte{0, 1}))
}
