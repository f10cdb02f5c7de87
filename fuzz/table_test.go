package fuzz

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/steppe-nat64/steppe/internal/test/packettest"
	"github.com/steppe-nat64/steppe/translate"
)

// A stream hands out the bytes of a program, and zeros when there are no more.
type stream []byte

func (s *stream) byte() byte {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return b
}

func (s *stream) n(n int) int { return int(s.byte()) % n }

// addr4 is an address out of a few, so that prefixes meet: 198.51.0.0/18 and some
// that are far away.
func (s *stream) addr4() netip.Addr {
	a := [4]byte{198, 51, s.byte() & 0x3f, s.byte()}
	if a[2] >= 0x38 {
		a = [4]byte{s.byte(), s.byte(), s.byte(), s.byte()}
	}
	return netip.AddrFrom4(a)
}

// addr6 is the same for IPv6: around 2001:db8::, 64:ff9b:: and far away.
func (s *stream) addr6() netip.Addr {
	a := [16]byte{0x20, 0x01, 0x0d, 0xb8}
	switch s.n(8) {
	case 0:
		a = [16]byte{0, 0x64, 0xff, 0x9b}
	case 1:
		a = [16]byte{s.byte(), s.byte()}
	}
	for k := s.n(6); k > 0; k-- {
		a[4+s.n(12)] = s.byte()
	}
	return netip.AddrFrom16(a)
}

// odd is true in one of n cases, if there are to be such things at all.
func (s *stream) odd(odd bool, n int) bool { return odd && s.n(n) == 0 }

// config makes mappings: for every second first byte only such as fit the
// others, or nearly; for the rest any kind.
func (s *stream) config() (c translate.TableConfig) {
	odd := s.byte()&1 != 0
	for n := s.n(4); n > 0; n-- {
		p := netip.PrefixFrom(s.addr6(), []int{32, 40, 48, 56, 64, 96}[s.n(6)]).Masked()
		if s.odd(odd, 6) {
			p = netip.PrefixFrom(s.addr6(), s.n(140))
		} else if b := p.Addr().As16(); b[8] != 0 && !odd {
			b[8] = 0
			p = netip.PrefixFrom(netip.AddrFrom16(b), p.Bits())
		}
		c.Prefixes = append(c.Prefixes, p)
	}
	for n := s.n(12); n > 0; n-- {
		m := translate.Map{IPv4: netip.PrefixFrom(s.addr4(), 16+s.n(17))}
		m.IPv6 = netip.PrefixFrom(s.addr6(), max(0, 96+m.IPv4.Bits()-s.n(40)))
		switch {
		case s.odd(odd, 8):
			m.IPv4 = netip.PrefixFrom(m.IPv4.Addr(), s.n(40))
		case s.odd(odd, 8):
			m.IPv6 = netip.PrefixFrom(m.IPv6.Addr(), s.n(140))
		case s.odd(odd, 8):
			m.IPv4 = m.IPv6
		case s.odd(odd, 8):
			m.IPv6 = netip.PrefixFrom(netip.AddrFrom16(m.IPv4.Addr().As16()), 128) // ::ffff:…
		}
		c.Maps = append(c.Maps, m)
	}
	unbound := translate.Pool{Dynamic: allocator(0x77)}
	for n := s.n(3); n > 0; n-- {
		bits := 8 + s.n(25)
		if s.odd(odd, 4) {
			bits = s.n(34)
		}
		unbound.Prefixes = append(unbound.Prefixes, netip.PrefixFrom(s.addr4(), bits))
	}
	c.Pools = []translate.Pool{unbound}
	for n := s.n(3); n > 0 && len(c.Prefixes) > 0; n-- {
		v := translate.Pool{Pref64: c.Prefixes[s.n(len(c.Prefixes))], Dynamic: allocator(0x78)}
		if s.odd(odd, 6) {
			v.Pref64 = netip.PrefixFrom(v.Pref64.Addr(), s.n(140))
		}
		for k := s.n(3); k > 0; k-- {
			v.Prefixes = append(v.Prefixes, netip.PrefixFrom(s.addr4(), 16+s.n(17)))
		}
		c.Pools = append(c.Pools, v)
	}
	return c
}

// accepts says by the words of NewTable's comment, with nothing but loops,
// whether mappings can stand together.
func accepts(c translate.TableConfig) bool {
	for i, p := range c.Prefixes {
		if !isPrefix6052(p) {
			return false
		}
		for _, q := range c.Prefixes[:i] {
			if p == q {
				return false
			}
		}
	}
	taken := map[netip.Prefix]bool{}
	take := func(p netip.Prefix) bool {
		was := taken[p.Masked()]
		taken[p.Masked()] = true
		return !was
	}
	for _, m := range c.Maps {
		if !m.IPv4.IsValid() || !m.IPv6.IsValid() || !m.IPv4.Addr().Is4() || !m.IPv6.Addr().Is6() ||
			32-m.IPv4.Bits() > 128-m.IPv6.Bits() {
			return false
		}
		for _, reserved := range []string{"::/128", "::1/128", "::ffff:0:0/96", "fe80::/10", "ff00::/8"} {
			if netip.MustParsePrefix(reserved).Overlaps(m.IPv6) {
				return false
			}
		}
		if free4, free6 := take(m.IPv4), take(m.IPv6); !free4 || !free6 {
			return false
		}
	}
	var pools []netip.Prefix
	for i, v := range c.Pools {
		twice := slices.ContainsFunc(c.Pools[:i], func(w translate.Pool) bool { return w.Pref64 == v.Pref64 })
		if twice || v.Pref64 != (netip.Prefix{}) && !slices.Contains(c.Prefixes, v.Pref64) {
			return false
		}
		pools = slices.Concat(pools, v.Prefixes)
	}
	for _, p := range pools {
		if !p.IsValid() || !p.Addr().Is4() || !take(p) {
			return false
		}
	}
	return true
}

// corners are the addresses at which a lookup in c can go wrong: the ends of
// every prefix, and their neighbours.
func corners(c translate.TableConfig) (v4, v6 []netip.Addr) {
	ends := func(p netip.Prefix) []netip.Addr {
		a, z := p.Masked().Addr(), last(p.Masked())
		return []netip.Addr{a, z, a.Prev(), z.Next(), a.Next()}
	}
	for _, m := range c.Maps {
		v4, v6 = append(v4, ends(m.IPv4)...), append(v6, ends(m.IPv6)...)
	}
	for _, pool := range c.Pools {
		for _, p := range pool.Prefixes {
			v4 = append(v4, ends(p)...)
		}
	}
	for _, p := range c.Prefixes {
		v6 = append(v6, ends(p)...)
		for _, a := range v4 {
			if b, err := translate.Embed(p, a); err == nil {
				v6 = append(v6, b)
			}
		}
	}
	return v4, v6
}

// allocator is a Dynamic that assigns any IPv4 address to the host that has it in
// 2001:db8:N::/96, N being its number, and the other way round.
type allocator byte

func (l allocator) Assign(host [16]byte) ([4]byte, bool) { return l.Addr(host) }

func (l allocator) Addr(host [16]byte) (addr [4]byte, ok bool) {
	addr = [4]byte(host[12:])
	leased, _ := l.Host(addr)
	return addr, leased == host
}

func (l allocator) Host(addr [4]byte) (host [16]byte, ok bool) {
	host = [16]byte{0x20, 0x01, 0x0d, 0xb8, 0, byte(l)}
	copy(host[12:], addr[:])
	return host, true
}
func (allocator) Generation() uint64 { return 0 }

// FuzzTable: prefixes, explicit maps and pools, bound to a prefix or not, from the
// fuzzer. NewTable takes
// them exactly if its own rules say so, told with loops; Warnings says something
// of every table; and packets between any two addresses at the ends of these
// prefixes, or next to them, become what the reference makes of them, which keeps its
// mappings in lists and looks at all of them.
func FuzzTable(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Add([]byte{0, 1, 2, 0, 5}, []byte{1, 2, 3, 4, 5, 6, 7, 8}) // a prefix alone
	// A prefix, two maps of which one lies in the other, a pool around them.
	f.Add([]byte{0, 1, 2, 1, 0, 64, 5, 2, 1, 7, 8, 2, 0, 16, 1, 7, 3, 16, 2, 1, 9, 9, 8, 1, 1, 0, 8}, []byte{0, 1, 1, 0, 2, 3, 3, 2, 0, 14, 13, 1})
	// Maps that differ in the last bit, and no prefix.
	f.Add([]byte{0, 0, 2, 1, 6, 16, 2, 1, 11, 6, 0, 1, 7, 16, 2, 1, 11, 7, 0, 0}, []byte{0, 5, 5, 0, 1, 6, 6, 1})
	// The same, anything goes.
	f.Add([]byte{1, 0, 2, 1, 6, 16, 2, 1, 11, 6, 0, 1, 7, 16, 2, 1, 11, 7, 0, 0}, []byte{0, 5, 5, 0, 1, 6, 6, 1})
	// Three prefixes, a pool, and another that is bound to the third.
	f.Add([]byte{0, 3, 2, 0, 5, 0, 0, 5, 3, 0, 2, 0, 1, 16, 1, 0, 1, 2, 1, 2, 0, 8}, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	// What was found: a map onto ff02::, translate.TestMapsToNoHost; a lease of
	// 224.0.0.1, translate.TestLeaseThatCannotBe.
	f.Add([]byte{1, 0, 1, 1, 7, 16, 1, 0xff, 2, 0, 0, 1, 1, 1, 1, 0}, []byte{0, 1, 0, 1})
	f.Add([]byte{0, 1, 2, 0, 5, 1, 1, 7, 16, 2, 1, 11, 6, 0, 0}, []byte{0, 0, 18, 0})
	f.Fuzz(func(t *testing.T, mappings, pairs []byte) {
		s := stream(mappings[:min(len(mappings), 400)])
		c := s.config()
		tab, err := translate.NewTable(c)
		if accepts(c) != (err == nil) {
			t.Fatalf("NewTable of %v: %v", c, err)
		}
		if err != nil {
			return
		}
		for _, line := range tab.Warnings() {
			if line == "" {
				t.Error("an empty warning")
			}
		}
		cfg := packettest.Config()
		cfg.IPv4, cfg.IPv6 = netip.MustParseAddr("192.0.2.254"), netip.MustParseAddr("2001:db8:f::254")
		x, err := newRig(packettest.Setup{Name: "fuzzed", Config: cfg, Table: c})
		if err != nil {
			t.Fatal(err)
		}
		v4, v6 := corners(c)
		v4 = append(v4, packettest.H4, s.addr4(), netip.MustParseAddr("198.51.5.5"))
		v6 = append(v6, packettest.M6, s.addr6(), netip.MustParseAddr("2001:db8:77::198.51.5.5"),
			netip.MustParseAddr("2001:db8:78::198.51.5.5"),
			netip.MustParseAddr("2001:db8:77::224.0.0.1")) // holds a lease that no pool should have given
		next := stream(pairs[:min(len(pairs), 64)])
		for len(next) > 0 {
			for _, addrs := range [][]netip.Addr{v4, v6} {
				src, dst := addrs[next.n(len(addrs))], addrs[next.n(len(addrs))]
				if src.IsValid() && dst.IsValid() {
					x.translate3(t, packettest.IP(packettest.Header{Src: src, Dst: dst},
						packettest.UDP(1, 2, binary.BigEndian.AppendUint16(nil, uint16(len(next))))))
				}
			}
		}
	})
}
