package session

import (
	"encoding/binary"
	"net/netip"

	"github.com/steppe-nat64/steppe/translate"
)

// Addresses are integers inside the package, and netip values in what callers configure
// and see.

func bits4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func addr4(a uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], a)
	return netip.AddrFrom4(b)
}

func addr6(a netip.Addr) translate.Addr6 {
	b := a.As16()
	return translate.Addr6{Hi: binary.BigEndian.Uint64(b[:]), Lo: binary.BigEndian.Uint64(b[8:])}
}

func netip6(a translate.Addr6) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], a.Hi)
	binary.BigEndian.PutUint64(b[8:], a.Lo)
	return netip.AddrFrom16(b)
}

// canBe reports whether a host can have an address that others send to.
func canBe(host translate.Addr6) bool {
	a := netip6(host)
	return !a.Is4In6() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && !a.IsLinkLocalUnicast()
}

// mask6 is the mask of an IPv6 prefix of n bits.
func mask6(n int) translate.Addr6 {
	if n <= 64 {
		return translate.Addr6{Hi: ^uint64(0) << (64 - n)}
	}
	return translate.Addr6{Hi: ^uint64(0), Lo: ^uint64(0) << (128 - n)}
}

func and6(a, b translate.Addr6) translate.Addr6 {
	return translate.Addr6{Hi: a.Hi & b.Hi, Lo: a.Lo & b.Lo}
}

// A prefix6 is an IPv6 prefix.
type prefix6 struct{ addr, mask translate.Addr6 }

func newPrefix6(p netip.Prefix) prefix6 {
	m := mask6(p.Bits())
	return prefix6{and6(addr6(p.Addr()), m), m}
}

// isClient reports whether a host shares the pools.
func (c *settings) isClient(a translate.Addr6) bool {
	if len(c.clients) == 0 {
		return true
	}
	for _, p := range c.clients {
		if and6(a, p.mask) == p.addr {
			return true
		}
	}
	return false
}

// A span is a pool: its addresses in order.
type span struct {
	first, last uint32
	group       uint8
	low, high   uint16
	addrs       []*address
}

func newSpan(p Pool) span {
	first := bits4(p.Prefix.Addr())
	n := uint32(1) << (32 - p.Prefix.Bits()) // at most maxAddresses
	return span{first: first, last: first + n - 1, group: p.Pref64, low: p.Low, high: p.High}
}

// find returns the span of an address, or nil.
func (c *settings) find(a uint32) *span {
	lo, hi := 0, len(c.spans)
	for lo < hi {
		if m := (lo + hi) / 2; c.spans[m].last < a {
			lo = m + 1
		} else {
			hi = m
		}
	}
	if lo < len(c.spans) && c.spans[lo].first <= a {
		return &c.spans[lo]
	}
	return nil
}

// address returns the state of an address, or nil if no pool has it.
func (c *settings) address(a uint32) *address {
	if s := c.find(a); s != nil {
		return s.addrs[a-s.first]
	}
	return nil
}
