package clat

import (
	"fmt"
	"net/netip"
	"slices"
)

// A need is which IPv6 address the IPv4 programs should have on an uplink.
type need struct {
	mode  Mode         // Own, Shared or Fixed
	index int          // of the uplink
	net   netip.Prefix // with Own: where the address is
	addr  netip.Addr   // with Fixed: the address; with Shared: that of the machine, zero if the kernel chooses
	why   string       // it is this mode
	err   string       // not empty: there is no address
	soon  bool         // with err: the kernel is checking one
}

// tunnels are kinds of links where the other end knows the addresses that were agreed on.
var tunnels = []string{"tun", "wireguard", "sit", "gre", "ip6gre", "ip6tnl", "ipip", "vti", "vti6", "xfrm"}

// need returns which address suits pref64 on an uplink.
func (s *snapshot) need(cfg Address, uplink linkState, pref64 netip.Prefix) need {
	if cfg.Mode == Fixed {
		return need{mode: Fixed, index: uplink.index, addr: cfg.Addr, why: "it is configured"}
	}
	if preferred, _ := s.byState(uplink.index); len(preferred) == 0 && cfg.Mode != Shared {
		if early := s.early(cfg, uplink, pref64); early.mode == Own && early.err == "" {
			return early
		}
	}
	return s.needOf(cfg, uplink, pref64, s.sources(uplink.index))
}

// early returns which address suits before the kernel has one that it may use, or while those
// that it has are deprecated. For one of the
// CLAT's own the network is enough, so that both are checked for duplicates at the same time.
func (s *snapshot) early(cfg Address, uplink linkState, pref64 netip.Prefix) need {
	var checking []netip.Prefix
	for _, a := range s.addrs {
		if a.index == uplink.index && a.expected() && !a.temporary {
			checking = append(checking, a.prefix)
		}
	}
	return s.needOf(cfg, uplink, pref64, checking)
}

// needOf is need, by the addresses of the uplink that count.
func (s *snapshot) needOf(cfg Address, uplink linkState, pref64 netip.Prefix, candidates []netip.Prefix) need {
	n := need{mode: cfg.Mode, index: uplink.index, why: "it is configured"}
	best := ChooseSource(pref64, candidates)
	if best < 0 {
		return s.needElsewhere(n, uplink)
	}
	source := candidates[best]
	if cfg.Mode == Shared {
		n.addr = source.Addr()
		return n
	}
	n.net = source.Masked()
	why := ""
	switch {
	case source.Bits() > MaxStableBits:
		why = fmt.Sprintf("%s is all that %s has: there is no room for another address", source, uplink.name)
	case uplink.direct && source.Bits() > 64:
		why = fmt.Sprintf("%s is point-to-point, and %s is no network of its own", uplink.name, source)
	case slices.Contains(tunnels, uplink.kind):
		why = fmt.Sprintf("%s is a tunnel, whose other end knows %s alone", uplink.name, source.Addr())
	}
	if why == "" {
		n.mode = Own
		if cfg.Mode == Auto {
			n.why = fmt.Sprintf("%s has room in %s", uplink.name, n.net)
		}
		return n
	}
	if cfg.Mode == Own {
		n.err = "no address of its own: " + why
		return n
	}
	return need{mode: Shared, index: uplink.index, addr: source.Addr(), why: why}
}

// needElsewhere is for an uplink without an address: the kernel then uses one of another
// interface, if there is one.
func (s *snapshot) needElsewhere(n need, uplink linkState) need {
	elsewhere := slices.ContainsFunc(s.addrs, func(a addrState) bool { return a.usable() && a.index != uplink.index })
	switch {
	case !elsewhere || n.mode == Own:
		n.err = fmt.Sprintf("%s has no global IPv6 address", uplink.name)
		n.soon = slices.ContainsFunc(s.addrs, func(a addrState) bool { return a.index == uplink.index && a.global && a.unusable })
	case n.mode == Auto:
		n.mode, n.why = Shared, fmt.Sprintf("%s has no IPv6 address, another interface has", uplink.name)
	}
	return n
}

// sources lists the addresses of an interface that may be a source: deprecated ones only if
// there are no others.
func (s *snapshot) sources(index int) []netip.Prefix {
	preferred, deprecated := s.byState(index)
	if len(preferred) == 0 {
		return deprecated
	}
	return preferred
}

func (s *snapshot) byState(index int) (preferred, deprecated []netip.Prefix) {
	for _, a := range s.addrs {
		switch {
		case a.index != index || !a.usable() || a.temporary:
		case a.deprecated:
			deprecated = append(deprecated, a.prefix)
		default:
			preferred = append(preferred, a.prefix)
		}
	}
	return preferred, deprecated
}

// usable reports whether an address is one that may be seen outside.
func (a *addrState) usable() bool {
	ip := a.prefix.Addr()
	return a.global && !a.unusable && ip.Is6() && ip.IsGlobalUnicast()
}

// expected reports whether an address will be usable if no other node has it.
func (a *addrState) expected() bool {
	ip := a.prefix.Addr()
	return a.global && a.checking && ip.Is6() && ip.IsGlobalUnicast()
}

// has reports whether an interface has an address in a network, or will have one; also a
// deprecated one.
func (s *snapshot) has(index int, net netip.Prefix) bool {
	return slices.ContainsFunc(s.addrs, func(a addrState) bool {
		return a.index == index && (a.usable() || a.expected()) && a.prefix.Masked() == net
	})
}
