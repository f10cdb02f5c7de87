package fastpath

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/steppe-nat64/steppe/translate"
)

// A sampler makes packets of hosts that a table knows and of their peers. Most can be
// translated by the program. The others are aimed at what it has to leave alone, and at the
// values at which a rule begins to hold.
type sampler struct {
	rng    *rand.Rand
	worker *translate.Worker
	sizes  []int // of packets, at which a rule begins to hold
	hosts  []sampleHost
	peers  []netip.Addr
	others []netip.Addr // IPv4, that are neither: own, reserved, unknown
	own6   netip.Addr
	spare  []translate.Packet

	swapped bool // the hosts are on the IPv4 side
}

type sampleHost struct {
	v6, v4 netip.Addr
	pref64 netip.Prefix // that its peers are inside
}

func newSampler(seed uint64, w *translate.Worker, cfg *translate.Config, hosts []sampleHost) *sampler {
	s := &sampler{rng: rand.New(rand.NewPCG(seed, 0xfa57)), worker: w, hosts: hosts, own6: cfg.IPv6, spare: translate.NewPackets(1, 1<<16)}
	for _, n := range []int{1260, 1280, 1300, int(or(cfg.MTU4, 1500)), int(or(cfg.MTU6, 1500)), int(or(cfg.LowestIPv6MTU, 1280))} {
		s.sizes = append(s.sizes, n, n-20, n+20)
	}
	for _, a := range []string{"8.8.8.8", "1.1.1.1", "45.67.89.10", "199.7.91.13", "193.0.0.1"} {
		s.peers = append(s.peers, netip.MustParseAddr(a))
	}
	for _, a := range []string{"0.0.0.0", "127.0.0.1", "169.254.169.254", "224.0.0.1", "240.0.0.1", "255.255.255.255",
		"10.0.0.1", "192.168.1.1", "100.64.0.9", "198.51.100.77", "8.8.8.9"} {
		s.others = append(s.others, netip.MustParseAddr(a))
	}
	if cfg.IPv4.IsValid() {
		s.others = append(s.others, cfg.IPv4)
	}
	return s
}

func (s *sampler) one(n int) bool { return s.rng.IntN(n) == 0 }

func pick[T any](s *sampler, from ...T) T { return from[s.rng.IntN(len(from))] }

// packet makes a packet, and the size of its segments if it is a super-packet.
func (s *sampler) packet(now time.Duration) (pkt []byte, gso int) {
	h := pick(s, s.hosts...)
	peer4, host4 := pick(s, s.peers...), h.v4
	if s.one(10) {
		peer4 = pick(s, append(s.others, pick(s, s.hosts...).v4)...)
	}
	peer6, err := translate.Embed(h.pref64, peer4)
	if err != nil || s.one(100) && s.own6.Is6() {
		peer6 = s.own6
	}
	if s.one(20) {
		host4 = pick(s, s.others...)
	}
	if h.pref64.Bits() < 96 && s.one(10) { // RFC 6052 §2.2: bits that are not looked at
		b := peer6.As16()
		b[8+7*s.rng.IntN(2)] = byte(s.rng.Uint32())
		peer6 = netip.AddrFrom16(b)
	}
	if s.one(2) {
		if !peer6.Is6() {
			peer6 = h.v6
		}
		host6 := h.v6
		if s.swapped && s.one(20) { // no host's
			b := host6.As16()
			b[s.rng.IntN(16)] ^= 1 << s.rng.IntN(8)
			host6 = netip.AddrFrom16(b)
		}
		pkt, gso = s.between(host6, peer6)
	} else {
		pkt, gso = s.between(host4, peer4)
	}
	if gso == 0 && s.one(8) {
		s.aim(now, pkt)
	}
	return pkt, gso
}

// between makes a packet between a host and its peer, in the direction of the translation.
func (s *sampler) between(host, peer netip.Addr) (pkt []byte, gso int) {
	if host.Is6() == s.swapped {
		host, peer = peer, host
	}
	return s.ip(host.AsSlice(), peer.AsSlice())
}

// ip makes an IP packet with the addresses.
func (s *sampler) ip(src, dst []byte) (pkt []byte, gso int) {
	v4 := len(src) == 4
	proto, data := s.transport(v4)
	if (proto == 6 || proto == 17) && s.one(5) {
		gso = pick(s, 1, 100, 536, 1200, 1220, 1232, 1240, 1248, 1252, 1260, 1400, 1440, 1452, 1460, 1+s.rng.IntN(1500))
		data = append(data, s.bytes(s.rng.IntN(3200-len(data)))...)
		if proto == 17 && s.one(4) { // as many segments as UDP may have, or one more
			gso = 1 + s.rng.IntN(20)
			data = append(data[:8], s.bytes(127*gso+1+s.rng.IntN(2*gso))...)
		}
	}
	hlen := 40
	if v4 {
		hlen = 20
	}
	size := hlen + len(data)
	if gso == 0 && s.one(6) {
		size = pick(s, s.sizes...) - 2 + s.rng.IntN(5)
	}
	if grow := min(size, maxTestBytes) - hlen - len(data); grow > 0 {
		data = append(data, s.bytes(grow)...)
	}
	if proto == 17 {
		binary.BigEndian.PutUint16(data[4:], uint16(len(data)))
	}
	ttl := byte(64)
	if s.one(10) {
		ttl = pick(s, byte(0), 1, 2, 3, 255)
	}
	if v4 {
		return s.ip4(src, dst, proto, ttl, data), gso
	}
	b := make([]byte, 40, 40+len(data))
	binary.BigEndian.PutUint32(b, 6<<28|s.rng.Uint32()>>4)
	binary.BigEndian.PutUint16(b[4:], uint16(len(data)))
	b[6], b[7] = proto, ttl
	copy(b[8:], src)
	copy(b[24:], dst)
	return s.spoil(append(b, data...)), gso
}

func (s *sampler) ip4(src, dst []byte, proto, ttl byte, data []byte) []byte {
	b := make([]byte, 20, 20+len(data))
	b[0], b[1], b[8], b[9] = 0x45, byte(s.rng.Uint32()), ttl, proto
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(data)))
	binary.BigEndian.PutUint16(b[4:], uint16(s.rng.Uint32()))
	word := pick(s, uint16(0x4000), 0x4000, 0)
	if s.one(20) {
		word = pick(s, uint16(0x2000), 1, 0x8000, 0xc000, 0x1fff, 0x6001)
	}
	binary.BigEndian.PutUint16(b[6:], word)
	copy(b[12:], src)
	copy(b[16:], dst)
	binary.BigEndian.PutUint16(b[10:], ^uint16(headerSum(b)))
	return s.spoil(append(b, data...))
}

// spoil makes one packet of some dozens invalid: other lengths, versions, or any byte.
func (s *sampler) spoil(pkt []byte) []byte {
	switch s.rng.IntN(120) {
	case 0:
		return append(pkt, s.bytes(1+s.rng.IntN(20))...)
	case 1:
		return pkt[:len(pkt)-min(len(pkt)-20, 1+s.rng.IntN(30))]
	case 2:
		pkt[0] ^= 1 << s.rng.IntN(8)
	case 3:
		pkt[s.rng.IntN(min(len(pkt), 60))] ^= 1 << s.rng.IntN(8)
	}
	return pkt
}

// transport makes a transport header, most often of those that the program knows.
func (s *sampler) transport(v4 bool) (proto byte, data []byte) {
	data = s.bytes(40 + s.rng.IntN(40))
	sum := func(at int) {
		if s.one(12) {
			binary.BigEndian.PutUint16(data[at:], pick(s, uint16(0), 0xffff))
		}
	}
	switch k := s.rng.IntN(20); {
	case k < 8:
		data[12], data[13] = pick(s, byte(5), 5, 5, 5, 8, 10, 15, 4, 0)<<4, pick(s, byte(0x10), 0x10, 0x18, 0x18, 0x10, 0x02, 0x11, 0x04, 0x12, byte(s.rng.Uint32()))
		sum(16)
		return 6, data
	case k < 14:
		sum(6)
		return 17, data
	case k < 17:
		typ := pick(s, byte(128), 129)
		if v4 {
			typ = pick(s, byte(8), 0)
		}
		if s.one(8) {
			typ = byte(s.rng.Uint32())
		}
		data[0], data[1] = typ, pick(s, byte(0), 0, 0, 1)
		sum(2)
		if s.one(16) {
			clear(data) // the message that has two checksums
			if data[0] = 0; !v4 {
				data[0] = 129
			}
		}
		if proto = protoICMP6; v4 {
			proto = protoICMP4
		}
		return proto, data
	case k < 19:
		return pick(s, byte(50), 47, 132, 4, 41, 115, 89, 103, 253), data
	}
	if s.one(2) { // extension headers, and what has a meaning in one family alone
		return pick(s, byte(0), 1, 2, 33, 43, 44, 51, 58, 59, 60, 135, 136, 139, 140), data
	}
	return byte(s.rng.Uint32()), data
}

func (s *sampler) bytes(n int) []byte {
	b := make([]byte, n)
	if s.one(16) {
		return b
	}
	for i := range b {
		b[i] = byte(s.rng.Uint32())
	}
	return b
}

// aim changes the checksum of a packet so that what it becomes is 0 or 0xffff, where
// implementations differ.
func (s *sampler) aim(now time.Duration, pkt []byte) {
	p := &s.spare[0]
	if !fits(pkt) || !p.Set(pkt) || s.worker.Translate(now, p).Verdict != translate.Forward {
		return
	}
	at, is := checksumAt(pkt), checksumAt(p.Bytes())
	if at == 0 || is == 0 {
		return
	}
	sum := uint32(binary.BigEndian.Uint16(pkt[at:])) + uint32(^binary.BigEndian.Uint16(p.Bytes()[is:]))
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(pkt[at:], uint16(sum>>16+sum))
}

// checksumAt returns where a packet has the checksum that the program updates, 0 if there is
// none.
func checksumAt(pkt []byte) int {
	at, proto := 20, pkt[9]
	if pkt[0]>>4 == 6 {
		if len(pkt) < 48 {
			return 0
		}
		at, proto = 40, pkt[6]
	}
	off := map[byte]int{6: 16, 17: 6, protoICMP4: 2, protoICMP6: 2}[proto]
	if off == 0 || pkt[0]>>4 == 4 && pkt[0] != 0x45 || len(pkt) < at+off+2 {
		return 0
	}
	return at + off
}
