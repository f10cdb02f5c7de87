package doctor

import (
	"net/netip"
	"slices"
)

// maxGaps is how many parts of a route to the device are looked at.
const maxGaps = 1000

// checkUnmapped compares the IPv4 routes to the device with maps and pools. An
// address that is routed there and has neither is translated into the prefix, and
// comes back.
func (e *examination) checkUnmapped() {
	if e.clat || len(e.Conf.Prefixes) == 0 || e.Machine.RoutesTo == nil {
		return // all of IPv4 is to come here; or what has no map has no prefix either
	}
	mapped, said := e.mapped(), 0
	for _, route := range e.Machine.RoutesTo(e.Conf.TunDevice) {
		var first netip.Addr
		looked := 0
		gaps(route.Dst, mapped, func(gap netip.Prefix) bool {
			if looked++; !first.IsValid() && e.comesHere(route, e.sample(gap)) {
				first = e.sample(gap)
			}
			return looked < maxGaps && !first.IsValid()
		})
		if first.IsValid() && said < maxFindings {
			said++
			e.addUnmapped(route.Dst, first)
		}
	}
}

// comesHere reports whether packets for an address inside a route to the device
// come there: a more specific route may lead them elsewhere.
func (e *examination) comesHere(route Route, dst netip.Addr) bool {
	if route.Table != 0 {
		return e.toDevice(e.Machine.TableRoute(route.Table, dst))
	}
	return e.toDevice(e.Machine.Route(dst))
}

// addUnmapped says that an address of a route has no mapping.
func (e *examination) addUnmapped(route netip.Prefix, a netip.Addr) {
	const text = "%s, to which the route %s leads to %s, has neither a map nor a pool, and may not be the only one: "
	if e.Conf.ChecksLoops(e.Conf.Prefixes[0]) {
		e.add(Note, "unmapped", text+"packets to them are rejected, but packets from hosts with maps loop; route only what is mapped", a, route, e.Conf.TunDevice)
		return
	}
	e.add(Warning, "unmapped", text+"packets loop until their hop limit is exceeded; route only what is mapped, or add %q unless hosts are numbered from %s",
		a, route, e.Conf.TunDevice, "loop-check yes", e.Conf.Prefixes[0])
}

// mapped lists the IPv4 addresses that have a map, a pool, or are the translator's.
func (e *examination) mapped() []netip.Prefix {
	list := slices.Concat(e.Conf.PoolPrefixes(), e.Conf.SharedPrefixes(), []netip.Prefix{netip.PrefixFrom(e.Conf.IPv4, 32)})
	for _, a := range e.Conf.ICMPPool4 {
		list = append(list, netip.PrefixFrom(a, 32))
	}
	for _, m := range e.maps {
		list = append(list, m.IPv4)
	}
	return list
}

// gaps calls f for the parts of p that no prefix of the list covers, in order and as
// large as can be, until f returns false.
func gaps(p netip.Prefix, list []netip.Prefix, f func(netip.Prefix) bool) bool {
	var inside []netip.Prefix
	for _, q := range list {
		if q.Bits() <= p.Bits() && q.Contains(p.Addr()) {
			return true
		}
		if q.Overlaps(p) {
			inside = append(inside, q)
		}
	}
	if len(inside) == 0 {
		return f(p)
	}
	low, high := halves(p)
	return gaps(low, inside, f) && gaps(high, inside, f)
}

// halves cuts an IPv4 prefix of up to 31 bits in two.
func halves(p netip.Prefix) (low, high netip.Prefix) {
	a := p.Addr().As4()
	a[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	return netip.PrefixFrom(p.Addr(), p.Bits()+1), netip.PrefixFrom(netip.AddrFrom4(a), p.Bits()+1)
}
