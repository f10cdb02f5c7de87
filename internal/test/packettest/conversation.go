package packettest

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/steppe-nat64/steppe/session"
	"github.com/steppe-nat64/steppe/translate"
)

// Conversations generates what hosts that share addresses, their servers and strangers send
// to a translator, one packet after the other: connections that open and close, datagrams,
// pings, errors about any of these, packets again or late, hairpins, scans, and time that
// goes by. It does not know the state of a translator: answers are to packets that came out.
type Conversations struct {
	rng   *rand.Rand
	setup SharedSetup
	sent  [][]byte // the last ones
	parts [][]byte // fragments that are still to be sent
	ident uint32
	seen  [][]byte // the last ones that came out
}

// recent is how many packets are remembered.
const recent = 24

// NewConversations returns a generator of packets for a setup.
func NewConversations(seed uint64, s SharedSetup) *Conversations {
	return ConversationsFrom(rand.NewPCG(seed, 6146), s)
}

// ConversationsFrom is NewConversations with a source of random numbers.
func ConversationsFrom(source rand.Source, s SharedSetup) *Conversations {
	return &Conversations{rng: rand.New(source), setup: s}
}

// Choices is a source of random numbers that a fuzzer controls: small ranges use a byte
// each. It goes on with those of a seed.
type Choices struct {
	Bytes []byte
	Rest  rand.Source
}

// Uint64 implements rand.Source.
func (c *Choices) Uint64() uint64 {
	if len(c.Bytes) == 0 {
		return c.Rest.Uint64()
	}
	x := uint64(c.Bytes[0])
	c.Bytes = c.Bytes[1:]
	return x<<56 | x<<24 // small ranges use the upper bits of either half
}

// Saw tells the generator what became of its last packet.
func (c *Conversations) Saw(out [][]byte) {
	for _, b := range out {
		c.seen = keep(c.seen, b)
	}
}

func keep(list [][]byte, b []byte) [][]byte {
	if len(list) >= recent {
		list = list[1:]
	}
	return append(list, slices.Clone(b))
}

// Next returns a packet, and how much time goes by before it.
func (c *Conversations) Next() (wait time.Duration, pkt []byte) {
	switch k := c.rng.IntN(1000); {
	case k < 60:
		wait = time.Duration(c.rng.IntN(3000)) * time.Millisecond
	case k < 70:
		wait = time.Duration(c.rng.IntN(90)) * time.Second
	case k < 73:
		wait = time.Duration(c.rng.IntN(10)) * time.Minute
	case k < 74:
		wait = time.Duration(c.rng.IntN(130)) * time.Minute
	}
	pkt = c.packet()
	c.sent = keep(c.sent, pkt)
	return wait, pkt
}

func (c *Conversations) packet() []byte {
	switch k := c.rng.IntN(100); {
	case len(c.parts) > 0 && k < 60:
		return c.part()
	case k < 14 || len(c.seen) == 0:
		return c.opening()
	case k < 70:
		return c.answer(anyOf(c.rng, c.seen))
	case k < 80:
		return anyOf(c.rng, c.sent)
	case k < 88:
		return c.errorAbout(anyOf(c.rng, c.seen))
	case k < 94:
		return c.scan()
	}
	return c.damaged(anyOf(c.rng, c.sent))
}

func anyOf[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// part is a fragment that is still to be sent: one after the other, or not.
func (c *Conversations) part() []byte {
	i := 0
	if c.rng.IntN(3) == 0 {
		i = c.rng.IntN(len(c.parts))
	}
	b := c.parts[i]
	c.parts = slices.Delete(c.parts, i, i+1)
	return b
}

// whole builds a packet, now and then in fragments, of which it returns one; some get lost.
func (c *Conversations) whole(h Header, p Payload) []byte {
	proto, data := p(h.Src, h.Dst)
	if c.rng.IntN(6) > 0 || len(c.parts) > 8 || proto != 6 && proto != 17 || proto == 17 && data[6]|data[7] == 0 {
		return IP(h, p)
	}
	c.ident++
	h.ID, h.DF = uint16(c.ident), false
	n := 8 * (3 + c.rng.IntN(8))
	for at := 0; at < len(data); at += n {
		end := min(at+n, len(data))
		part := Part(p, at, end)
		h.Off8, h.MF = uint16(at/8), end < len(data)
		if h.Src.Is6() {
			part = Fragment(c.ident, uint16(at/8), end < len(data), part)
		}
		if c.rng.IntN(10) > 0 || len(c.parts) == 0 {
			c.parts = append(c.parts, IP(h, part))
		}
	}
	return c.part()
}

func (c *Conversations) host() netip.Addr { return c.setup.Hosts[c.rng.IntN(len(c.setup.Hosts))] }

func (c *Conversations) hostPort() uint16 {
	return anyOf(c.rng, []uint16{53, 80, 1000, 1001, 1024, 2000, 2001, 5000, 5001, 40000})
}

func (c *Conversations) serverPort() uint16 { return anyOf(c.rng, []uint16{53, 80, 443, 2000}) }

// inside is an IPv4 address inside one of the prefixes.
func (c *Conversations) inside(a netip.Addr) netip.Addr {
	v6, err := translate.Embed(anyOf(c.rng, c.setup.Table.Prefixes), a)
	if err != nil {
		panic(err) // the prefixes of a SharedSetup are those of RFC 6052
	}
	return v6
}

func (c *Conversations) shared() netip.Addr {
	p := anyOf(c.rng, c.setup.Table.Shared)
	b := p.Addr().As4()
	b[3] += byte(c.rng.IntN(1 << (32 - p.Bits())))
	return netip.AddrFrom4(b)
}

func (c *Conversations) data() []byte {
	n := c.rng.IntN(24)
	if c.rng.IntN(40) == 0 {
		n = 1200 + c.rng.IntN(300)
	}
	return Bytes(n, byte(c.rng.Uint32()))
}

var flagsOften = []uint8{FlagSYN, FlagSYN | FlagACK, FlagACK, FlagACK, FlagFIN | FlagACK, FlagRST, FlagRST | FlagACK}

func (c *Conversations) flags() uint8 {
	if c.rng.IntN(8) == 0 {
		return uint8(c.rng.Uint32()) & 0x3f
	}
	return anyOf(c.rng, flagsOften)
}

// opening is what a host begins with: to a server, or to another host by its shared
// address.
func (c *Conversations) opening() []byte {
	to := anyOf(c.rng, c.setup.Servers)
	if c.rng.IntN(6) == 0 {
		to = c.shared()
	}
	h := Header{Src: c.host(), Dst: c.inside(to)}
	sport, dport := c.hostPort(), c.serverPort()
	switch c.rng.IntN(8) {
	case 0, 1:
		return c.whole(h, UDP(sport, dport, c.data()))
	case 2:
		return IP(h, EchoRequest(sport, 1, c.data()))
	case 3:
		return IP(h, anyOf(c.rng, []Payload{Raw(132, c.data()), UDPLite(sport, dport, 0, c.data()), Segment(sport, dport, c.flags(), c.data())}))
	}
	return IP(h, Segment(sport, dport, FlagSYN, nil))
}

// turn returns the header of an answer to b, and b's protocol and data. ok is false for
// packets that are not answered: errors, and those with extension headers.
func turn(b []byte) (h Header, proto uint8, data []byte, ok bool) {
	switch {
	case b[0] == 0x45 && len(b) >= 28 && b[6]&0x1f|b[7] == 0:
		proto, data = b[9], b[20:]
		h = Header{Src: netip.AddrFrom4([4]byte(b[16:])), Dst: netip.AddrFrom4([4]byte(b[12:])), DF: true}
	case b[0]>>4 == 6 && len(b) >= 48:
		proto, data = b[6], b[40:]
		h = Header{Src: netip.AddrFrom16([16]byte(b[24:])), Dst: netip.AddrFrom16([16]byte(b[8:]))}
	}
	switch proto {
	case 6:
		return h, proto, data, len(data) >= 20
	case 17:
		return h, proto, data, true
	case 1:
		return h, proto, data, data[0] == 0 || data[0] == 8
	case 58:
		return h, proto, data, data[0] >= 128
	}
	return h, proto, data, false
}

// answer is what the destination of b sends back, or a third one to the same port.
func (c *Conversations) answer(b []byte) []byte {
	h, proto, data, ok := turn(b)
	if !ok {
		return c.opening()
	}
	h.DF = c.rng.IntN(4) > 0
	if c.rng.IntN(12) == 0 && h.Src.Is4() {
		h.Src = anyOf(c.rng, c.setup.Servers)
	}
	sport, dport := binary.BigEndian.Uint16(data[2:]), binary.BigEndian.Uint16(data)
	if c.rng.IntN(12) == 0 && proto != 6 {
		sport = c.serverPort()
	}
	switch proto {
	case 6:
		return c.whole(h, Segment(sport, dport, c.next(data[13]), c.data()))
	case 17:
		if c.rng.IntN(20) == 0 {
			return IP(h, UDPNoSum(sport, dport, c.data()))
		}
		return c.whole(h, UDP(sport, dport, c.data()))
	}
	id := binary.BigEndian.Uint16(data[4:])
	if c.rng.IntN(4) == 0 {
		return IP(h, EchoRequest(id, 1, c.data()))
	}
	return IP(h, EchoReply(id, 1, c.data()))
}

// next are the flags of an answer to a segment, most of the time.
func (c *Conversations) next(flags uint8) uint8 {
	if c.rng.IntN(4) == 0 {
		return c.flags()
	}
	switch {
	case flags&FlagRST != 0:
		return anyOf(c.rng, []uint8{FlagACK, FlagRST})
	case flags&FlagSYN != 0 && flags&FlagACK == 0:
		return FlagSYN | FlagACK
	case flags&FlagFIN != 0:
		return FlagFIN | FlagACK
	}
	return anyOf(c.rng, []uint8{FlagACK, FlagACK, FlagACK | FlagPSH, FlagFIN | FlagACK})
}

// errorAbout is an ICMP error about b, a packet that has come out, from its destination, a
// router, or another host.
func (c *Conversations) errorAbout(b []byte) []byte {
	h, proto, _, _ := turn(b)
	if !h.Src.IsValid() {
		return c.opening()
	}
	quote := slices.Clone(b[:min(len(b), 20+c.rng.IntN(120))])
	if c.rng.IntN(16) == 0 {
		quote[c.rng.IntN(len(quote))] ^= 1 << c.rng.IntN(8)
	}
	if h.Src.Is4() {
		switch c.rng.IntN(4) {
		case 0:
			h.Src = R4
		case 1:
			h.Src = anyOf(c.rng, c.setup.Servers)
		}
		if c.rng.IntN(16) == 0 {
			h.Dst = c.shared()
		}
		e := anyOf(c.rng, [][2]uint8{{3, 1}, {3, 3}, {3, 4}, {11, 0}, {12, 0}, {3, 2}})
		return IP(h, ICMP(e[0], e[1], 1400, quote))
	}
	if proto == 58 || c.rng.IntN(3) == 0 {
		h.Src = anyOf(c.rng, []netip.Addr{R6, c.host(), h.Src})
	}
	e := anyOf(c.rng, [][2]uint8{{1, 0}, {1, 4}, {2, 0}, {3, 0}, {4, 1}})
	word := uint32(0)
	if e[0] == 2 {
		word = 1400
	}
	return IP(h, ICMP(e[0], e[1], word, quote))
}

// scan is what a stranger in IPv4 sends to a shared address, or to the own one.
func (c *Conversations) scan() []byte {
	h := Header{Src: anyOf(c.rng, c.setup.Servers), Dst: c.shared(), DF: true}
	if c.rng.IntN(10) == 0 {
		h.Src = c.shared() // forged
	}
	port := uint16(int(c.setup.Session.Pools[0].Low) + c.rng.IntN(64))
	if c.rng.IntN(3) == 0 {
		port = anyOf(c.rng, []uint16{80, 443, 22, 7})
	}
	switch c.rng.IntN(6) {
	case 0, 1:
		return IP(h, UDP(c.serverPort(), port, nil))
	case 2:
		return IP(h, EchoRequest(port, 1, nil))
	case 3:
		return IP(h, Raw(132, Bytes(16, 1)))
	}
	return IP(h, Segment(c.serverPort(), port, c.flags(), nil))
}

// damaged is b with something wrong, or strange, in its header; its checksums do not know.
func (c *Conversations) damaged(b []byte) []byte {
	return Edit(b, func(b []byte) {
		switch {
		case len(b) < 28 || c.rng.IntN(3) == 0 || b[0]>>4 == 4 && b[6]&0x3f|b[7] != 0 || b[0]>>4 == 6 && b[6] == 44: // the TTL or hop limit
			if b[0]>>4 == 4 {
				b[8] = uint8(c.rng.IntN(2))
			} else {
				b[7] = uint8(c.rng.IntN(2))
			}
		case b[0]>>4 == 6 && c.rng.IntN(3) == 0: // a forged source
			copy(b[8:24], c.inside(c.shared()).AsSlice())
		default:
			at := c.rng.IntN(min(len(b), 60))
			if b[0]>>4 == 4 && at >= 6 && at < 8 || b[0]>>4 == 6 && at == 6 {
				return // no fragments, no extension headers
			}
			b[at] ^= 1 << c.rng.IntN(8)
		}
	})
}

// A SharedSetup is a translator whose hosts share addresses.
type SharedSetup struct {
	Setup
	Session        session.Config // but OnEvent; all limits are given
	Hosts, Servers []netip.Addr
}

// SharedSetups returns setups that together use the options that matter to sessions.
func SharedSetups() []SharedSetup {
	var all []SharedSetup
	add := func(name string, f func(s *SharedSetup)) {
		s := SharedSetup{Setup: Setup{name, Config(), TableConfig()}}
		s.Table.Shared = []netip.Prefix{netip.MustParsePrefix("203.0.113.70/32")}
		s.Session = session.Config{
			Pools: []session.Pool{{Low: 1000, High: 1063}},
			Timeouts: session.Timeouts{
				UDP: 5 * time.Minute, DNS: 5 * time.Second, ICMP: time.Minute, TCP: 124 * time.Minute,
				TCPTransitory: 4 * time.Minute, TCPOpening: 20 * time.Second,
			},
			Limits: session.Limits{
				Sessions: 120, HalfOpen: 60, Inbound: 60, PrefixLen: 64, PerPrefix: 60, HalfOpenPerPrefix: 30, HeldSYN: -1,
			},
			Quarantine: 10 * time.Second, MaxQuarantine: 65536,
		}
		for i := range 8 {
			a := NthHost(i / 2).As16()
			a[15] = byte(i)
			s.Hosts = append(s.Hosts, netip.AddrFrom16(a))
		}
		s.Servers = []netip.Addr{H4, netip.MustParseAddr("198.51.100.5"), netip.MustParseAddr("198.51.100.6")}
		if f != nil {
			f(&s)
		}
		base := s.Session.Pools[0]
		s.Session.Pools = nil
		for _, p := range s.Table.Shared {
			base.Prefix = p
			s.Session.Pools = append(s.Session.Pools, base)
		}
		all = append(all, s)
	}
	static := func(s *SharedSetup) {
		at := func(p uint16) netip.AddrPort { return netip.AddrPortFrom(s.Table.Shared[0].Addr(), p) }
		s.Session.Static = []session.Static{
			{Proto: 6, Addr: at(80), Host: netip.AddrPortFrom(s.Hosts[0], 80)},
			{Proto: 6, Addr: at(1001), Host: netip.AddrPortFrom(s.Hosts[1], 5000)},
			{Proto: 17, Addr: at(443), Host: netip.AddrPortFrom(s.Hosts[0], 2000)},
			{Proto: 1, Addr: at(7), Host: netip.AddrPortFrom(s.Hosts[2], 1000)},
		}
	}
	filter := func(s *SharedSetup) { s.Session.Filtering = session.AddressDependent }
	add("one-address", nil)
	held := func(s *SharedSetup) {
		s.Session.Timeouts.TCPIncomingSYN = 6 * time.Second
		s.Session.Limits.HeldSYN = 4
	}
	add("held-syns", held)
	add("held-syns-filtered", func(s *SharedSetup) { filter(s); held(s) })
	add("filtered", filter)
	add("static", static)
	add("static-filtered", func(s *SharedSetup) { static(s); filter(s) })
	add("several-addresses", func(s *SharedSetup) {
		s.Table.Shared = []netip.Prefix{netip.MustParsePrefix("203.0.113.70/31"), netip.MustParsePrefix("203.0.113.80/32")}
		s.Session.Pools[0].Low, s.Session.Pools[0].High = 1010, 1029
	})
	add("all-ports", func(s *SharedSetup) { s.Session.Pools[0].Low, s.Session.Pools[0].High = 1, 65535 })
	add("few-ports", func(s *SharedSetup) {
		s.Session.Pools[0].Low, s.Session.Pools[0].High = 1020, 1029
		static(s)
	})
	add("tight-limits", func(s *SharedSetup) {
		s.Session.Limits = session.Limits{Sessions: 20, HalfOpen: 6, Inbound: 5, PrefixLen: 64, PerPrefix: 8, HalfOpenPerPrefix: 3, HeldSYN: -1}
	})
	add("prefixes", func(s *SharedSetup) {
		s.Table.Prefixes = append(s.Table.Prefixes, netip.MustParsePrefix("2001:db8:122:300::/56"), WKP)
		static(s)
	})
	add("own-address", func(s *SharedSetup) {
		s.Table.Shared = []netip.Prefix{netip.PrefixFrom(X4, 32)}
		static(s)
	})
	add("hairpin-simple", func(s *SharedSetup) { s.Config.Hairpin = translate.HairpinSimple; static(s) })
	add("hairpin-off", func(s *SharedSetup) { s.Config.Hairpin = translate.HairpinOff })
	add("tayga-codes", func(s *SharedSetup) { s.Config.ICMPErrors = translate.ErrorsTAYGA })
	add("udp-zero-compute", func(s *SharedSetup) { s.Config.UDPZero = translate.UDPZeroCompute })
	add("no-own-addresses", func(s *SharedSetup) {
		s.Config.IPv4, s.Config.IPv6, s.Config.ICMPPool4 = netip.Addr{}, netip.Addr{}, nil
	})
	// A host and a server that have maps, beside those that share.
	add("maps", func(s *SharedSetup) {
		static(s)
		s.Table.Maps = append(s.Table.Maps, mapOf("198.51.100.6/32", "2001:db8:70::7/128"))
		s.Hosts = append(s.Hosts, M6, netip.MustParseAddr("2001:db8:70::7"))
		s.Servers = append(s.Servers, M4)
	})
	add("small-mtus", func(s *SharedSetup) { s.Config.MTU4, s.Config.MTU6 = 1280, 1280 })
	return all
}
