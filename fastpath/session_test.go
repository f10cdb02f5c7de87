//go:build linux

package fastpath

import (
	"net/netip"
	"testing"
	"time"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// conversations are flows of hosts that share two addresses, of a real table of sessions,
// beside a host that has a map.
type conversations struct {
	*sampler
	hosts []netip.Addr
	flows []conversation
}

type conversation struct {
	proto          byte
	host, peer6    netip.Addr
	local, peer    netip.Addr // IPv4; local is not valid before the first packet has passed
	hostPort       uint16
	peerPort       uint16
	localPort      uint16
	opened, closed bool // TCP
}

// payload makes the transport header and data of a packet.
func (c *conversations) payload(f *conversation, out bool, flags uint8) packettest.Payload {
	src, dst := f.hostPort, f.peerPort
	if !out {
		src, dst = f.peerPort, f.localPort
	}
	data := c.bytes(c.rng.IntN(pick(c.sampler, 8, 80, 1400)))
	switch f.proto {
	case 6:
		return packettest.Segment(src, dst, flags, data)
	case 17:
		return packettest.UDP(src, dst, data)
	}
	if out {
		return packettest.EchoRequest(f.hostPort, uint16(c.rng.Uint32()), data)
	}
	return packettest.EchoReply(f.localPort, uint16(c.rng.Uint32()), data)
}

// next makes the next packet of a flow, and says which.
func (c *conversations) next(prefix netip.Prefix) (*conversation, []byte) {
	if len(c.flows) < 500 && c.one(4) || len(c.flows) == 0 {
		f := conversation{proto: pick(c.sampler, byte(6), 6, 17, 17, 58), host: pick(c.sampler, c.hosts...), peer: pick(c.sampler, c.peers...),
			hostPort: uint16(1024 + c.rng.IntN(60000)), peerPort: pick(c.sampler, uint16(443), 80, 53, 5000)}
		f.peer6, _ = translate.Embed(prefix, f.peer)
		c.flows = append(c.flows, f)
	}
	f := &c.flows[c.rng.IntN(len(c.flows))]
	if !f.local.IsValid() { // the first packet
		return f, packettest.IP(packettest.Header{Src: f.host, Dst: f.peer6}, c.payload(f, true, packettest.FlagSYN))
	}
	flags := uint8(packettest.FlagACK)
	if !f.opened {
		flags, f.opened = packettest.FlagSYN|packettest.FlagACK, true
		return f, packettest.IP(packettest.Header{Src: f.peer, Dst: f.local, DF: true}, c.payload(f, false, flags))
	}
	if c.one(50) {
		flags |= pick(c.sampler, uint8(packettest.FlagFIN), packettest.FlagRST, packettest.FlagSYN)
		f.closed = true
	}
	if c.one(2) {
		return f, packettest.IP(packettest.Header{Src: f.host, Dst: f.peer6, TOS: uint8(c.rng.Uint32())}, c.payload(f, true, flags))
	}
	peer := f.peer
	if c.one(20) {
		peer = pick(c.sampler, c.peers...) // perhaps not the one that has the session
	}
	return f, packettest.IP(packettest.Header{Src: peer, Dst: f.local, DF: c.one(2)}, c.payload(f, false, flags))
}

// TestCompareSessions compares flows of hosts that share addresses, which a session.Table maps
// and the program learns.
func TestCompareSessions(t *testing.T) {
	p := loadForTest(t, Sizes{Sessions: 1 << 20}, ethernet)
	prefix := netip.MustParsePrefix("64:ff9b::/96")
	shared := netip.MustParsePrefix("203.0.113.8/31")
	sessions, err := session.New(session.Config{Pools: []session.Pool{{Prefix: shared}}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := translate.Config{IPv4: netip.MustParseAddr("203.0.113.8"), IPv6: netip.MustParseAddr("2001:db8::1")}
	table := translate.TableConfig{
		Prefixes: []netip.Prefix{prefix}, Shared: []netip.Prefix{shared}, Sessions: sessions,
		Maps: []translate.Map{{IPv4: netip.MustParsePrefix("203.0.113.99/32"), IPv6: netip.MustParsePrefix("2001:db8::99/128")}},
	}
	tr, rules := buildForTest(t, cfg, table)
	p.SetRules(rules, 0)
	w := tr.NewWorker()
	c := newComparer(p, w)
	c.shared = func(a [4]byte) bool { return shared.Contains(netip.AddrFrom4(a)) }
	s := &conversations{sampler: newSampler(3, w, &cfg, nil)}
	for i := range byte(20) {
		s.hosts = append(s.hosts, netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0, 0, i / 4, 15: 16 + i}))
	}
	s.hosts = append(s.hosts, netip.MustParseAddr("2001:db8::99"))
	n := *generated / 4
	for i := range n {
		c.now += time.Millisecond / 10 // no session ends for want of packets
		f, pkt := s.next(prefix)
		if i%2 == 1 {
			c.flags = testFlags()
		} else {
			c.flags = 0
		}
		if err := c.compare(pkt, 0); err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
		if is := c.packets[0].Bytes(); !f.local.IsValid() && c.packets[0].Result.Verdict == translate.Forward {
			f.local = netip.AddrFrom4([4]byte(is[12:16]))
			f.localPort, _, _ = ports(is[9], is[20:])
			f.opened = f.proto != 6
		}
	}
	if least := n * 2 / 3; c.translated < least {
		t.Errorf("the program translates %d of %d packets, fewer than %d", c.translated, n, least)
	}
	counts, err := p.Counts()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range counts {
		t.Log(c)
	}
}
