package clat

import (
	"cmp"
	"net/netip"
	"slices"
)

// maxUplinks is on how many interfaces a prefix is looked for at a time.
const maxUplinks = 4

// uplinks lists the interfaces that may lead to a NAT64, the best first: those of the IPv6
// default routes, by metric and then in the order of the kernel, or the one that is given.
// Those follow that have no default route yet: the advertisement that brings it may have the
// prefix, too, and the next one may be minutes away.
func (s *snapshot) uplinks(given, device string) (list []linkState) {
	add := func(l linkState, routed bool) {
		same := func(other linkState) bool { return other.index == l.index }
		if l.name == device || given != "" && l.name != given || slices.ContainsFunc(list, same) {
			return
		}
		l.routed = routed
		list = append(list, l)
	}
	for _, r := range s.defaults(true) {
		add(*s.link(r.index), true)
	}
	for _, hardware := range []bool{true, false} {
		for _, l := range s.links {
			// An uplink that is given may have no default route.
			routed := given != "" && len(s.sources(l.index)) > 0
			if l.works() && !l.port && l.mtu6 > 0 && (l.kind == "") == hardware && (given != "" || !slices.Contains(tunnels, l.kind)) {
				add(l, routed)
			}
		}
	}
	return list[:min(len(list), maxUplinks)]
}

// defaults lists the default routes of a family that work, by metric.
func (s *snapshot) defaults(six bool) (list []routeState) {
	for _, r := range s.routes {
		if r.dst.Bits() == 0 && r.dst.Addr().Is6() == six && s.carries(r) {
			list = append(list, r)
		}
	}
	slices.SortStableFunc(list, func(a, b routeState) int { return cmp.Compare(a.metric, b.metric) })
	return list
}

// routeTo returns the route to an IPv6 prefix over an uplink: of those that the kernel would
// take, that by the router that has told the prefix, if it is one of them. Another router may
// know nothing of the NAT64.
func (s *snapshot) routeTo(index int, prefix netip.Prefix, router netip.Addr) (best routeState, ok bool) {
	better := func(r routeState) bool {
		if byBits := cmp.Compare(r.dst.Bits(), best.dst.Bits()); byBits != 0 {
			return byBits > 0
		}
		if told, toldBest := r.via == router, best.via == router; router.IsValid() && told != toldBest {
			return told
		}
		return r.metric < best.metric
	}
	for _, r := range s.routes {
		if r.index != index || !r.dst.Addr().Is6() || !s.carries(r) {
			continue
		}
		if r.dst.Bits() > prefix.Bits() || !r.dst.Contains(prefix.Addr()) {
			continue
		}
		if !ok || better(r) {
			best, ok = r, true
		}
	}
	return best, ok
}

// native returns the interface that carries IPv4 without a CLAT, "" if none does, and the
// highest metric of its default routes, -1 without one. A VPN may have two halves instead of
// a default route.
func (s *snapshot) native(device string) (name string, metric int) {
	metric = -1
	for _, r := range s.defaults(false) {
		if l := s.link(r.index); l.name != device {
			name = cmp.Or(name, l.name)
			metric = max(metric, r.metric)
		}
	}
	for _, r := range s.routes {
		if r.dst == firstHalf && s.carries(r) && s.link(r.index).name != device {
			name = s.link(r.index).name
		}
	}
	return name, metric
}

var firstHalf = netip.MustParsePrefix("0.0.0.0/1")
