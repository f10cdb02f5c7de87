package main

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/internal/test/testbed"
)

// circle is what the gateway of a loop leads back into the device, in either
// family.
var circle = netip.MustParsePrefix("198.18.0.0/15")

// loop has the routes of the gateway lead packets round: what the binary made
// IPv4 comes back to be made IPv6, and so on. The hop limit ends it. No packet
// ever becomes two, but for those that are cut, which happens to each only once.
func (x *trial) loop() (string, error) {
	g, done, err := x.besiege("offload no")
	if err != nil {
		return "", err
	}
	defer done()
	g.Gateway.Route(circle.String(), "", testbed.Device)
	g.Gateway.QueueLength(testbed.Device, 20000) // for all to stay in it
	before, err := g.AddUp()
	if err := errors.Join(err, g.Err()); err != nil {
		return "", err
	}
	n := x.n(6000, 600)
	_, err6 := x.pour(g.six, n/2, round6)
	_, err4 := x.pour(g.four, n/2, round4)
	// This waits until it has ended. That the sum is right says that no packet
	// became two, but for the pieces.
	c, err := g.AddUp()
	if err := errors.Join(err6, err4, err); err != nil {
		return "", err
	}
	counted, cut := c.Sum()-before.Sum(), c.Sum("split")-before.Sum("split")
	figures := fmt.Sprintf("%s packets went round %s times, %.1f each, %s of them cut; %s ended for want of hops",
		thousands(int64(n)), thousands(int64(counted)), float64(counted)/float64(n), thousands(int64(cut)), thousands(int64(c.Sum("hop-limit"))))
	// The kernel takes from the hop limit, too, so it is 128 rounds at most, and
	// who was cut goes on in two pieces.
	switch most := uint64(2 * 128 * n); {
	case counted > most:
		return "", fmt.Errorf("faults: %d rounds are more than there are hops for: %s", counted, figures)
	case counted < 10*uint64(n):
		return "", fmt.Errorf("faults: that was no loop: %s", figures)
	case cut > uint64(n):
		return "", fmt.Errorf("faults: pieces are cut again: %s", figures)
	}
	_, err = g.lifted(x)
	return figures, errors.Join(err, g.Stop())
}

// round6 is a packet into the circle from the IPv6 side: datagrams small and
// large, echo requests and fragments.
func round6(i int) []byte {
	dst := testbed.Prefix.Addr().As16()
	at := circle.Addr().As4()
	copy(dst[12:], at[:])
	dst[15] = byte(i)
	h := packettest.Header{Src: testbed.Host(uint32(i % 20)), Dst: netip.AddrFrom16(dst), TTL: uint8(64 + i%192)}
	return packettest.IP(h, cargo(i))
}

// round4 is a packet into the circle from the IPv4 side. It looks as if it came
// from a host with a map, or else it could not come back.
func round4(i int) []byte {
	dst := circle.Addr().As4()
	dst[3] = byte(i)
	h := packettest.Header{Src: testbed.Service4, Dst: netip.AddrFrom4(dst), TTL: uint8(64 + i%192), ID: uint16(i)}
	return packettest.IP(h, cargo(i))
}

func cargo(i int) packettest.Payload {
	switch i % 4 {
	case 0:
		return packettest.UDP(uint16(i), testbed.SinkPort, packettest.Bytes(1400, 0))
	case 1:
		return packettest.EchoRequest(uint16(i), 1, packettest.Bytes(56, 0))
	case 2:
		return packettest.TCP(uint16(i), testbed.SinkPort, packettest.Bytes(500, 0))
	}
	return packettest.UDP(uint16(i), testbed.SinkPort, packettest.Bytes(64, 0))
}
