package autogw

import (
	"errors"
	"net/netip"
	"slices"
)

// private are the ranges that a pool is taken from: RFC 1918, and RFC 6598 where these are used
// up. Addresses at the end of a range are used least.
var private = []netip.Prefix{
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
}

// poolSizes are the lengths of a pool: 4096 addresses, or as many as there are. A client leases
// one for each of its own, of which it may have several.
var poolSizes = []int{20, 22, 24, 26}

// errNoPool: all private addresses are used.
var errNoPool = errors.New("all private IPv4 addresses are used by this machine or routed by it, so there is none left to translate to: " +
	"give addresses that are routed to this machine, as in --pool 198.51.100.8/29")

// taken lists the IPv4 prefixes that this machine has or routes. Routes of the gateway itself
// do not count.
func (m *Machine) taken() (list []netip.Prefix) {
	for _, l := range m.Links {
		for _, p := range l.Addrs {
			if p.Addr().Is4() && l.Name != Device {
				list = append(list, p.Masked())
			}
		}
	}
	for _, r := range m.Routes {
		if r.Dst.Addr().Is4() && r.Dst.Bits() > halves && !slices.Contains(r.Links, Device) {
			list = append(list, r.Dst.Masked())
		}
		if r.Via.Is4() {
			list = append(list, netip.PrefixFrom(r.Via, 32))
		}
	}
	return list
}

// freePool chooses private addresses that nothing else uses: keep, if that is still so.
func (m *Machine) freePool(keep netip.Prefix) (netip.Prefix, error) {
	taken := m.taken()
	free := func(p netip.Prefix) bool { return !slices.ContainsFunc(taken, p.Overlaps) }
	if keep.IsValid() && free(keep) {
		return keep, nil
	}
	for _, bits := range poolSizes {
		for _, r := range private {
			for p := last(r, bits); p.IsValid() && r.Contains(p.Addr()); p = before(p) {
				if free(p) {
					return p, nil
				}
			}
		}
	}
	return netip.Prefix{}, errNoPool
}

// last returns the last prefix of a length in an IPv4 range.
func last(r netip.Prefix, bits int) netip.Prefix {
	n := number(r.Addr()) | (1<<(32-r.Bits()) - 1)
	return netip.PrefixFrom(address(n), bits).Masked()
}

// before returns the prefix of the same length before p; the zero prefix if there is none.
func before(p netip.Prefix) netip.Prefix {
	n := number(p.Addr())
	if step := uint32(1) << (32 - p.Bits()); n >= step {
		return netip.PrefixFrom(address(n-step), p.Bits())
	}
	return netip.Prefix{}
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func address(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}
