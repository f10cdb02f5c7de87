package testbed

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
	"github.com/steppe-nat64/steppe/internal/test/packettest"
)

// SinkPort is where the server takes datagrams without an answer.
const SinkPort = 9

// serveSink is what SinkPort is for.
func (b *Bed) serveSink() error {
	_, err := b.Server.ListenPacket("udp4", fmt.Sprintf(":%d", SinkPort))
	return err
}

// Senders opens Senders from client and server to the gateway.
func (b *Bed) Senders() (six, four *netlab.Sender, err error) {
	for _, side := range []struct {
		s       **netlab.Sender
		from    *netlab.Host
		gateway string
	}{{&six, b.Client, "eth0"}, {&four, b.Server, "eth1"}} {
		mac, err := b.Gateway.HardwareAddr(side.gateway)
		if err != nil {
			return nil, nil, err
		}
		if *side.s, err = side.from.OpenSender("eth0", mac); err != nil {
			return nil, nil, err
		}
	}
	return six, four, nil
}

// Plain6 is the i-th of a flow of small datagrams from the client to the server.
func Plain6(i int) []byte {
	return packettest.IP(packettest.Header{Src: Client6, Dst: ServerIn6},
		packettest.UDP(uint16(i), SinkPort, packettest.Bytes(64, byte(i))))
}

// A wrong changes a packet into one that asks for an ICMP error.
type wrong func(h packettest.Header, p packettest.Payload) (packettest.Header, packettest.Payload)

// The kernel of the gateway takes one from the hop limit before the packets come
// to the binary.
func lastHop(h packettest.Header, p packettest.Payload) (packettest.Header, packettest.Payload) {
	h.TTL = 2
	return h, p
}

func sentTo(dst netip.Addr) wrong {
	return func(h packettest.Header, p packettest.Payload) (packettest.Header, packettest.Payload) {
		h.Dst = dst
		return h, p
	}
}

var wrongs6 = []wrong{
	lastHop,
	sentTo(Tayga6),
	sentTo(netip.MustParseAddr("2001:db8:f::99")), // no such host
	func(h packettest.Header, p packettest.Payload) (packettest.Header, packettest.Payload) {
		return h, packettest.Routing(1, p)
	},
}

var wrongs4 = []wrong{
	lastHop,
	sentTo(Tayga4),
	sentTo(netip.MustParseAddr("192.0.2.200")), // no such host
	func(h packettest.Header, _ packettest.Payload) (packettest.Header, packettest.Payload) {
		h.DF = true
		return h, packettest.UDP(1, SinkPort, make([]byte, 1500-28))
	},
}

// RefusedKinds is how many reasons the packets of Refused6 and Refused4 give.
var RefusedKinds = len(wrongs6) + len(wrongs4)

// Refused6 is the i-th of packets from hosts of Hosts, 30 of them, that each ask for
// an ICMP error.
func Refused6(i int) []byte {
	h := packettest.Header{Src: Host(uint32(i / len(wrongs6) % 30)), Dst: ServerIn6}
	return packettest.IP(wrongs6[i%len(wrongs6)](h, packettest.UDP(uint16(i), SinkPort, packettest.Bytes(100, 0))))
}

// Refused4 is Refused6 from the side of the server. The device has to have an MTU
// of 1500 at most.
func Refused4(i int) []byte {
	src := foreign4.Addr().As4()
	src[3] = byte(1 + i/len(wrongs4)%100)
	h := packettest.Header{Src: netip.AddrFrom4(src), Dst: Service4}
	return packettest.IP(wrongs4[i%len(wrongs4)](h, packettest.UDP(uint16(i), SinkPort, packettest.Bytes(100, 0))))
}

// Fragment6 is the i-th of fragments from hosts of Hosts, 20 of them, that will never
// be whole: first ones, later ones, such that overlap, tiny ones and atomic ones.
// No host waits for the rest of them.
func Fragment6(i int) []byte {
	h := packettest.Header{Src: Host(uint32(i % 20)), Dst: VoidIn6}
	off8, more, p := piece()
	return packettest.IP(h, packettest.Fragment(uint32(i/3), off8, more, p))
}

// Fragment4 is Fragment6 from the server.
func Fragment4(i int) []byte {
	off8, more, p := piece()
	h := packettest.Header{
		Src: Server4, Dst: Void4, ID: uint16(i / 3), Off8: off8, MF: more,
	}
	return packettest.IP(h, p)
}

// piece is a part of a datagram, or says that it is.
func piece() (off8 uint16, more bool, p packettest.Payload) {
	n := 8 * rand.IntN(180)
	switch rand.IntN(4) {
	case 0:
		off8, more = 0, true
	case 1:
		off8, more = uint16(1+rand.IntN(200)), true
	case 2:
		off8, more = uint16(1+rand.IntN(8191)), false
	default: // all of it
		return 0, false, packettest.UDP(4000, SinkPort, make([]byte, n))
	}
	return off8, more, packettest.Part(packettest.UDP(4000, SinkPort, make([]byte, max(n, 8))), 0, n)
}
