package autogw

import (
	"fmt"
	"net/netip"
	"slices"
)

// special are IPv4 addresses that no provider routes: RFC 6890.
var special = append(slices.Clone(private),
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("224.0.0.0/3"))

// public reports whether a provider may route an IPv4 prefix.
func public(p netip.Prefix) bool {
	return p.Addr().Is4() && p.Bits() >= 8 && !slices.ContainsFunc(special, p.Overlaps)
}

// A block is a public IPv4 prefix that seems to be routed to this machine.
type block struct {
	prefix netip.Prefix
	by     string // what shows it
}

// routed looks for a public block that is routed to this machine and that it does not use, which
// shows in one of two ways: a dummy interface has an address in it, or it is the only public
// prefix that a route refuses. Operators have such routes so that packets to unused addresses do
// not go back to the provider. Single addresses do not count, nor do several: such routes keep out
// attackers. It returns the parts that can be shared.
func (m *Machine) routed(uplinks []string) (b block, free []netip.Prefix, notes []string) {
	for _, c := range m.blocks(uplinks) {
		rest := m.unused(c.prefix)
		switch {
		case m.forwards(c.prefix):
			notes = append(notes, fmt.Sprintf("%v is not shared, although %s: parts of it are used elsewhere", c.prefix, c.by))
		case len(rest) == 0:
			notes = append(notes, fmt.Sprintf("%v is not shared, although %s: its packets stay on this machine. To share it, remove it there and give --pool %v", c.prefix, c.by, c.prefix))
		case b.prefix.IsValid():
			notes = append(notes, fmt.Sprintf("%v is not shared, although %s: it can be chosen with --pool %v", c.prefix, c.by, c.prefix))
		default:
			b, free = c, rest
		}
	}
	return b, free, notes
}

// blocks lists what seems to be routed to this machine: what interfaces have first. An uplink has
// other hosts in its networks, of whatever kind it is.
func (m *Machine) blocks(uplinks []string) (list []block) {
	add := func(p netip.Prefix, format string, args ...any) {
		if public(p) && !slices.ContainsFunc(list, func(b block) bool { return b.prefix.Overlaps(p) }) {
			list = append(list, block{p, fmt.Sprintf(format, args...)})
		}
	}
	for _, l := range m.Links {
		if (l.Kind == "dummy" || l.Loopback) && !slices.Contains(uplinks, l.Name) {
			for _, p := range l.Addrs {
				add(p.Masked(), "it is on %s", l.Name)
			}
		}
	}
	var refused []netip.Prefix
	for _, r := range m.Routes {
		if !public(r.Dst) {
			continue
		}
		onLoopback := len(r.Links) == 1 && m.loopback(r.Links[0])
		switch {
		case r.Type == Local && r.Dst.Bits() < 32 && onLoopback:
			add(r.Dst.Masked(), "there is a local route to it")
		case r.Type == Refuses && r.Table == tableMain && r.Dst.Bits() >= 20:
			refused = append(refused, r.Dst.Masked())
		}
	}
	if len(refused) == 1 && refused[0].Bits() < 32 {
		add(refused[0], "a route refuses packets to it")
	}
	return list
}

func (m *Machine) loopback(name string) bool {
	l, ok := m.link(name)
	return ok && l.Loopback
}

// forwards reports whether parts of a block are at other hosts, or on links with hosts.
func (m *Machine) forwards(block netip.Prefix) bool {
	for _, r := range m.Routes {
		if r.Type != Unicast || !r.Dst.Addr().Is4() || r.Dst.Bits() < block.Bits() || !block.Overlaps(r.Dst) || slices.Contains(r.Links, Device) {
			continue
		}
		for _, name := range r.Links {
			if l, _ := m.link(name); l.Kind != "dummy" && !l.Loopback {
				return true
			}
		}
	}
	return false
}

// unused returns what is left of a prefix without the addresses of this machine, which it gets
// the packets of before any rule or route of the gateway.
func (m *Machine) unused(p netip.Prefix) []netip.Prefix {
	rest := []netip.Prefix{p}
	cut := func(own netip.Prefix) {
		var next []netip.Prefix
		for _, r := range rest {
			next = append(next, without(r, own)...)
		}
		rest = next
	}
	for _, r := range m.Routes {
		if (r.Type == Local || r.Type == Special) && r.Dst.Addr().Is4() && r.Dst.Bits() >= p.Bits() {
			cut(r.Dst.Masked())
		} else if r.Type == Local && r.Table != tableMain && r.Dst.Overlaps(p) {
			return nil
		}
	}
	for _, l := range m.Links {
		for _, a := range l.Addrs {
			if a.Addr().Is4() {
				cut(netip.PrefixFrom(a.Addr(), 32))
			}
		}
	}
	return rest
}

// without divides p into the prefixes that own has nothing of.
func without(p, own netip.Prefix) (list []netip.Prefix) {
	if !p.Overlaps(own) {
		return []netip.Prefix{p}
	}
	if own.Bits() <= p.Bits() {
		return nil
	}
	low := netip.PrefixFrom(p.Addr(), p.Bits()+1)
	high := netip.PrefixFrom(address(number(p.Addr())|1<<(31-p.Bits())), p.Bits()+1)
	return append(without(low, own), without(high, own)...)
}

// given checks the block that the operator has named, and returns the parts that can be shared.
func (m *Machine) given(p netip.Prefix) (free []netip.Prefix, notes []string, err error) {
	switch {
	case !p.Addr().Is4() || p.Bits() < 8:
		return nil, nil, fmt.Errorf("--pool %v: an IPv4 prefix of length 8 to 32 is needed", p)
	case p != p.Masked():
		return nil, nil, fmt.Errorf("--pool %v: host bits are set: give %v", p, p.Masked())
	}
	free = m.unused(p)
	if len(free) == 0 {
		return nil, nil, fmt.Errorf("--pool %v: packets to it stay on this machine, which has it as its own: remove it %s first, or give another", p, m.owner(p))
	}
	for _, l := range m.Links {
		for _, a := range l.Addrs {
			if a.Addr().Is4() && a.Masked().Overlaps(p) && l.Kind != "dummy" && !l.Loopback && l.Name != Device {
				notes = append(notes, fmt.Sprintf("%v is part of the network %v of %s: the router there has to send its packets to this machine, which does not answer ARP requests for them", p, a.Masked(), l.Name))
			}
		}
	}
	return free, notes, nil
}

// owner says where packets to a prefix stay.
func (m *Machine) owner(p netip.Prefix) string {
	for _, l := range m.Links {
		if slices.ContainsFunc(l.Addrs, func(a netip.Prefix) bool { return p.Contains(a.Addr()) }) {
			return "from " + l.Name
		}
	}
	return "from the local routes"
}
