package autogw

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// ErrNotYet: the machine has no IPv4 yet. It may come any time.
var ErrNotYet = errors.New("there is no way to IPv4 yet")

// A LAN is an interface of clients.
type LAN struct {
	Link    string
	Own     netip.Addr     // address of this machine; zero if it has none there
	Nets    []netip.Prefix // IPv6 networks of the link
	Clients []netip.Prefix // the interface leads to other hosts as well, and clients are in these; nil: all hosts are
}

// uplinks returns the interfaces of default routes, the best first: those of the longest prefix
// and the lowest metric. It reports whether several are equally good.
func (m *Machine) uplinks(six bool) (names []string, equal bool) {
	var list []Route
	for _, r := range m.Routes {
		if r.isDefault(six) {
			list = append(list, r)
		}
	}
	order := func(a, b Route) int {
		return cmp.Or(b.Dst.Bits()-a.Dst.Bits(), a.Metric-b.Metric)
	}
	slices.SortStableFunc(list, order)
	for i, r := range list {
		for _, name := range r.Links {
			if slices.Contains(names, name) {
				continue
			}
			names = append(names, name)
			equal = equal || len(names) > 1 && order(list[0], list[i]) == 0
		}
	}
	return names, equal
}

// wan finds the interface towards IPv4.
func (m *Machine) wan(given string) (string, error) {
	names, equal := m.uplinks(false)
	if given != "" {
		if err := m.usable(given, "--wan"); err != nil {
			return "", err
		}
		if l, _ := m.link(given); !slices.Contains(names, given) && !l.has4() {
			return "", fmt.Errorf("%w: %s has neither an IPv4 address nor an IPv4 default route", ErrNotYet, given)
		}
		return given, nil
	}
	switch {
	case len(names) == 0:
		return "", fmt.Errorf("%w: no IPv4 default route", ErrNotYet)
	case equal:
		return "", fmt.Errorf("%s have IPv4 default routes that are equally good: choose one with %s", and(names), choices("--wan", names))
	}
	if names[0] == Device {
		return "", fmt.Errorf("the IPv4 default route leads to %s itself: choose the interface towards IPv4 with --wan", Device)
	}
	return names[0], nil
}

// usable reports why an interface that an option names is of no use.
func (m *Machine) usable(name, option string) error {
	l, ok := m.link(name)
	switch {
	case !ok:
		return fmt.Errorf("%s %s: there is no such interface: there are %s", option, name, and(m.names()))
	case l.Loopback || name == Device:
		return fmt.Errorf("%s %s: this interface leads to no other host", option, name)
	case l.Master != "":
		return fmt.Errorf("%s %s: it belongs to %s: give %s %s", option, name, l.Master, option, l.Master)
	case !l.Up:
		return fmt.Errorf("%s %s: the interface is down: run ip link set %s up", option, name, name)
	}
	return nil
}

// names lists the interfaces to other hosts.
func (m *Machine) names() (list []string) {
	for _, l := range m.Links {
		if !l.Loopback && l.Master == "" && l.Name != Device {
			list = append(list, l.Name)
		}
	}
	slices.Sort(list)
	return list
}

// allUplinks lists the interfaces that lead to the internet, or have done so before: they still
// lead to hosts that are no clients, whatever routes there are.
func (m *Machine) allUplinks(wan string, before *Plan) []string {
	four, _ := m.uplinks(false)
	six, _ := m.uplinks(true)
	list := append(append(four, six...), wan)
	if before != nil {
		list = append(list, before.Uplinks...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// lans finds the interfaces of the clients: those that are given, or all that have IPv6 networks
// and lead neither to IPv4 nor to the IPv6 internet, or the only one that has IPv6 at all. The
// notes are about interfaces that might have been meant.
func (m *Machine) lans(wan string, uplinks, given []string) (list []LAN, notes []string, err error) {
	if len(given) > 0 {
		list, err = m.givenLANs(uplinks, given)
		return list, nil, err
	}
	var arms []LAN
	for _, l := range m.Links {
		nets, own := l.networks()
		if !l.Up || l.Loopback || l.Master != "" || l.Name == Device || len(nets) == 0 {
			continue
		}
		lan := LAN{Link: l.Name, Own: own, Nets: nets}
		switch {
		case slices.Contains(uplinks, l.Name):
			if !l.tunnel() {
				lan.Clients = m.near(l.Name, nets)
				arms = append(arms, lan)
			}
		case l.tunnel():
			notes = append(notes, fmt.Sprintf("%s has IPv6, but is a tunnel, and is left out: if its other side are clients, name all interfaces of clients, as in --lan %s", l.Name, l.Name))
		default:
			list = append(list, lan)
		}
	}
	switch {
	case len(list) > 0:
		return list, notes, nil
	case len(arms) == 1:
		return arms, notes, nil
	case len(arms) > 1:
		var names []string
		for _, a := range arms {
			names = append(names, a.Link)
		}
		return nil, notes, fmt.Errorf("it is not clear where the clients are, since %s all have IPv6 and lead to the internet: choose with %s", and(names), choices("--lan", names))
	}
	return nil, notes, m.noLAN(wan)
}

// noLAN says what to do about clients that have no interface.
func (m *Machine) noLAN(wan string) error {
	var names []string
	for _, name := range m.names() {
		if l, _ := m.link(name); name != wan && !l.tunnel() {
			names = append(names, name)
		}
	}
	example := "eth1"
	if len(names) > 0 {
		example = names[0]
	}
	return fmt.Errorf("no interface has an IPv6 network with clients: give this machine an address there, as in "+
		"ip address add fd12:3456:789a:1::1/64 dev %s, or name the interface, as in --lan %s", example, example)
}

// givenLANs takes the interfaces that the operator has named. Those of uplinks lead to other
// hosts, too.
func (m *Machine) givenLANs(uplinks, given []string) (list []LAN, err error) {
	for _, name := range given {
		if err := m.usable(name, "--lan"); err != nil {
			return nil, err
		}
		l, _ := m.link(name)
		lan := LAN{Link: name}
		lan.Nets, lan.Own = l.networks()
		if slices.Contains(uplinks, name) {
			lan.Clients = m.near(name, lan.Nets)
			if len(lan.Clients) == 0 {
				return nil, fmt.Errorf("--lan %s: it leads to the internet and has no IPv6 network, so clients cannot be told from other hosts: give it an IPv6 address, as in ip address add fd12:3456:789a:1::1/64 dev %s", name, name)
			}
		}
		if !slices.ContainsFunc(list, func(o LAN) bool { return o.Link == name }) {
			list = append(list, lan)
		}
	}
	return list, nil
}

// near returns the networks of a link and those that routers on it lead to, default routes left
// out.
func (m *Machine) near(link string, nets []netip.Prefix) []netip.Prefix {
	list := slices.Clone(nets)
	for _, r := range m.Routes {
		if r.Type != Unicast || r.Table != tableMain || !r.Dst.Addr().Is6() || r.Dst.Bits() <= halves || !slices.Contains(r.Links, link) {
			continue
		}
		inside := slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Overlaps(r.Dst) })
		if a := r.Dst.Addr(); !inside && !a.IsLinkLocalUnicast() && !a.IsMulticast() && !Prefix.Overlaps(r.Dst) {
			list = append(list, r.Dst.Masked())
		}
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	return list
}

// and joins names.
func and(names []string) string {
	switch len(names) {
	case 0:
		return "none"
	case 1:
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// choices lists an option with each of its possible arguments.
func choices(option string, names []string) string {
	var list []string
	for _, n := range names {
		list = append(list, option+" "+n)
	}
	return strings.Join(list, " or ")
}
