package translate

import (
	"fmt"
	"net/netip"
)

// prefix6052 is an RFC 6052 prefix made ready for the packet path.
type prefix6052 struct {
	addr      addr6 // the prefix
	mask      addr6
	bits      uint8 // 32, 40, 48, 56, 64 or 96
	wellKnown bool  // 64:ff9b::/96: not for non-global IPv4 addresses

	dropSource bool // see PrefixRule
	checkLoops bool

	number uint8 // in a Tuple6: its place in TableConfig.Prefixes, from 1 on

	bound bool // has a Pool
	dyn   Dynamic
}

// newPrefix6052 checks p against RFC 6052 §2.2.
func newPrefix6052(p netip.Prefix) (prefix6052, error) {
	if !p.IsValid() || !p.Addr().Is6() || p.Addr().Is4In6() || p.Addr().Zone() != "" {
		return prefix6052{}, fmt.Errorf("translate: prefix %s: not an IPv6 prefix", p)
	}
	switch p.Bits() {
	case 32, 40, 48, 56, 64, 96:
	default:
		return prefix6052{}, fmt.Errorf("translate: prefix %s: length %d not allowed by RFC 6052 (32, 40, 48, 56, 64 or 96)", p, p.Bits())
	}
	if p != p.Masked() {
		return prefix6052{}, fmt.Errorf("translate: prefix %s: has host bits set", p)
	}
	a := p.Addr().As16()
	if a[8] != 0 {
		return prefix6052{}, fmt.Errorf("translate: prefix %s: bits 64 to 71 are not zero (RFC 6052 §2.2)", p)
	}
	if illegal6(make6(a)) {
		return prefix6052{}, fmt.Errorf("translate: prefix %s: not a unicast prefix", p)
	}
	return prefix6052{
		addr: make6(a),
		mask: addr6{mask64(p.Bits()), mask64(p.Bits() - 64)},
		bits: uint8(p.Bits()), wellKnown: p == wellKnown,
	}, nil
}

// prefix returns p as it was given.
func (p *prefix6052) prefix() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16(p.addr.array()), int(p.bits))
}

// mask64 returns a mask of the n highest bits; n may lie outside 0 to 64.
func mask64(n int) uint64 {
	return ^(^uint64(0) >> uint(max(n, 0)))
}

// contains reports whether a lies inside the prefix.
func (p *prefix6052) contains(a addr6) bool {
	return (a.hi^p.addr.hi)&p.mask.hi|(a.lo^p.addr.lo)&p.mask.lo == 0
}

// embed composes the IPv4-embedded IPv6 address of a, RFC 6052 §2.3. Bits 64
// to 71 and the suffix are zero.
func (p *prefix6052) embed(a addr4) addr6 {
	v, v6 := uint64(a), p.addr
	if p.bits == 96 {
		v6.lo |= v
		return v6
	}
	below := uint(p.bits) - 32 // bits of v after bits 64 to 71, which the address spans
	v6.hi |= v >> below
	v6.lo |= v << (64 - below) >> 8
	return v6
}

// extract returns the IPv4 address in a. Bits 64 to 71 and the suffix are not
// looked at: RFC 6052 §2.2, §2.3.
func (p *prefix6052) extract(a addr6) addr4 {
	if p.bits == 96 {
		return addr4(a.lo)
	}
	below := uint(p.bits) - 32
	return addr4(a.hi<<below) | addr4(a.lo<<8>>(64-below))
}

// Embed composes the IPv4-embedded IPv6 address of v4 with prefix, whose length
// is 32, 40, 48, 56, 64 or 96: RFC 6052 §2.3. It allocates only to report an
// error.
func Embed(prefix netip.Prefix, v4 netip.Addr) (netip.Addr, error) {
	p, err := newPrefix6052(prefix)
	if err != nil {
		return netip.Addr{}, err
	}
	if !v4.Is4() {
		return netip.Addr{}, fmt.Errorf("translate: %s is not an IPv4 address", v4)
	}
	return netip.AddrFrom16(p.embed(make4(v4.As4())).array()), nil
}

// Extract returns the IPv4 address embedded in v6 under prefix, ignoring bits
// 64 to 71 and the suffix: RFC 6052 §2.3. It is an error if v6 lies outside
// prefix.
func Extract(prefix netip.Prefix, v6 netip.Addr) (netip.Addr, error) {
	p, err := newPrefix6052(prefix)
	if err != nil {
		return netip.Addr{}, err
	}
	if !prefix.Contains(v6) {
		return netip.Addr{}, fmt.Errorf("translate: %s is outside %s", v6, prefix)
	}
	return netip.AddrFrom4(p.extract(make6(v6.As16())).array()), nil
}
