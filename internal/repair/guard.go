package repair

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/steppe-nat64/steppe/internal/doctor"
)

// A Connection is one over which this process may be run.
type Connection struct{ Peer, Local netip.Addr }

// Endangered says how a command, or what undoes it, could cut one of some connections;
// it is empty if it cannot. In doubt it can.
func Endangered(all []Connection, m *doctor.Machine, touches []doctor.Touch, undo bool) string {
	for _, c := range all {
		for _, t := range touches {
			if undo {
				t.Old, t.New = t.New, t.Old
			}
			if why := c.endangered(m, t); why != "" {
				return fmt.Sprintf("the connection from %s, over which this is run, could be cut: %s", c.Peer, why)
			}
		}
	}
	return ""
}

// endangered says how one touch could cut the connection.
func (c Connection) endangered(m *doctor.Machine, t doctor.Touch) string {
	r := m.Route(c.Peer)
	home, there := holder(m, c.Local)
	doubt := ""
	switch {
	case r.Link == "":
		doubt = fmt.Sprintf("there is no route to %s here, and its way is not known", c.Peer)
	case !there:
		doubt = fmt.Sprintf("%s, to which it comes, is no address of this machine, and its way is not known", c.Local)
	}
	ours := t.Link != "" && (t.Link == r.Link || t.Link == home)
	switch t.Kind {
	case doctor.File, doctor.Node, doctor.Module:
		return ""
	case doctor.Setting:
		return c.bySetting(m, t, r.Link, home, doubt)
	case doctor.RouteTo:
		ours = false // it is for the prefix alone
	}
	if ours {
		return fmt.Sprintf("its packets pass %s, and %s is changed", t.Link, t)
	}
	if !t.Prefix.IsValid() {
		return doubt
	}
	if t.Prefix.Addr().Is6() != c.Peer.Is6() {
		return ""
	}
	for _, a := range []netip.Addr{c.Peer, c.Local, r.Via} {
		if a.IsValid() && t.Prefix.Masked().Contains(a) && !specific(m, t, a) {
			return fmt.Sprintf("%s is in %s, and %s is changed", a, t.Prefix, t)
		}
	}
	return doubt
}

// specific reports whether a route leads to an address that is more specific than the
// one that is touched, so that this one does not count.
func specific(m *doctor.Machine, t doctor.Touch, a netip.Addr) bool {
	r := m.Route(a)
	return t.Kind == doctor.RouteTo && len(m.Policy) == 0 && t.Table == 0 && r.Link != "" && r.Dst.Bits() > t.Prefix.Bits()
}

// bySetting is endangered for a setting of the kernel. Those that only let more packets
// pass cut nothing.
func (c Connection) bySetting(m *doctor.Machine, t doctor.Touch, link, home, doubt string) string {
	family, rest, _ := strings.Cut(t.Name, "/")
	if (family == "ipv6") != c.Peer.Is6() {
		return ""
	}
	scope := strings.TrimSuffix(strings.TrimPrefix(rest, "conf/"), rest[strings.LastIndex(rest, "/")+1:])
	scope = strings.TrimSuffix(scope, "/")
	name := rest[strings.LastIndex(rest, "/")+1:]
	here := scope == "all" || scope == link || scope == home || rest == "ip_forward"
	changed := fmt.Sprintf("net/%s is changed from %d to %d", t.Name, t.Old, t.New)
	switch {
	case name == "forwarding" && family == "ipv6" && t.New != 0:
		return c.byAdvertisements(m, scope, link, home, doubt, changed)
	case (name == "forwarding" || name == "ip_forward") && t.New == 0:
		if doubt != "" { // it may be forwarded here
			return doubt + ", and " + changed
		}
	case name == "accept_ra" && t.New < t.Old && here,
		name == "disable_ipv6" && t.New != 0 && here,
		name == "rp_filter" && t.New != 0 && t.New != t.Old && (t.Old == 0 || t.New == 1) && here:
		return "its packets pass " + link + ", and " + changed
	}
	return ""
}

// byAdvertisements is about forwarding of IPv6: the kernel then deletes default routes of
// router advertisements, but for interfaces whose accept_ra is 2.
func (c Connection) byAdvertisements(m *doctor.Machine, scope, link, home, doubt, changed string) string {
	for _, l := range m.Links {
		ra, _ := m.Setting("ipv6/conf/" + l.Name + "/accept_ra")
		its := l.Name == link || l.Name == home || doubt != ""
		if l.Advertised && ra == 1 && its && (scope == "all" || scope == l.Name) {
			return fmt.Sprintf("%s has its address or route from router advertisements, to which the kernel would not listen: %s", l.Name, changed)
		}
	}
	return ""
}

// holder returns the interface that has an address.
func holder(m *doctor.Machine, a netip.Addr) (name string, found bool) {
	i := slices.IndexFunc(m.Links, func(l doctor.Link) bool {
		return slices.ContainsFunc(l.Addrs, func(p netip.Prefix) bool { return p.Addr() == a })
	})
	if i < 0 {
		return "", false
	}
	return m.Links[i].Name, true
}
