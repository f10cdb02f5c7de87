package hostnet

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// A Policy says which changes a Manager makes and undoes. What asks for them, and what wrote
// the journal, may be a process that an attacker has taken over.
type Policy struct {
	Device string // the TUN device of the CLAT or gateway
	// Table is the number of the routing table of its own, and the priority of its rules;
	// 0 is 464.
	Table int
	// Gateway: for other machines, with any addresses. Else for a CLAT.
	Gateway bool
}

func (p Policy) table() int {
	if p.Table == 0 {
		return Table
	}
	return p.Table
}

// dsLite is the range of the addresses of a CLAT: RFC 7335.
var dsLite = netip.MustParsePrefix("192.0.0.0/29")

// programs is the address among them that the IPv4 programs of a CLAT have. The others may be
// those of DS-Lite on the same machine (RFC 6333 §5.7), which is none of ours.
var programs = netip.MustParsePrefix("192.0.0.1/32")

// leastMetric is the lowest metric of a default route of a CLAT: native IPv4 wins.
const leastMetric = 1024

// Allows reports why a change is not made.
func (p Policy) Allows(c Change) error {
	if err := c.Check(); err != nil {
		return err
	}
	if err := checkDevice(p.Device); err != nil {
		return err
	}
	var err error
	switch {
	case c.Sysctl != nil:
		err = p.sysctl(c.Sysctl)
	case c.Link != nil:
		err = p.link(c.Link)
	case c.Address != nil:
		err = p.address(c.Address)
	case c.Route != nil:
		err = p.route(c.Route)
	case c.Rule != nil:
		err = p.rule(c.Rule)
	case c.NAT != nil:
		err = p.nat(c.NAT)
	case c.Guard != nil:
		err = firstError(p.own(c.Guard.Device), p.ownTable(c.Guard.Table))
	case c.Accept != nil:
		err = p.own(c.Accept.Device)
	}
	if err != nil {
		return fmt.Errorf("not allowed: %s: %w", c.Command(), err)
	}
	return nil
}

// sysctl allows to forward, and to listen to routers nevertheless: net/ipv4/ip_forward,
// conf/*/forwarding and conf/*/force_forwarding with 1, IPv6 conf/*/accept_ra with 2, and
// rp_filter of the device.
func (p Policy) sysctl(s *Sysctl) error {
	if err := p.restores(s.Name, s.Value); err != nil {
		return err
	}
	want := "1"
	switch s.Name[strings.LastIndexByte(s.Name, '/')+1:] {
	case "accept_redirects":
		return errors.New("not one of the names")
	case "rp_filter":
		want = s.Value
	case "accept_ra":
		want = "2"
	}
	if s.Value != want {
		return fmt.Errorf("the value is not %s", want)
	}
	return nil
}

// restores allows what undo may write: the values that such a sysctl, and those that follow
// it, can have had.
func (p Policy) restores(name, value string) error {
	if err := checkSysctlName(name); err != nil {
		return err
	}
	if !allowedSysctl(name) && name != "net/ipv4/conf/"+p.Device+"/rp_filter" && name != "net/ipv4/conf/all/accept_redirects" {
		return errors.New("not one of the names")
	}
	if len(value) != 1 || value < "0" || value > "2" {
		return errors.New("the value is not 0, 1 or 2")
	}
	return nil
}

// allowedSysctl reports whether a sysctl is one of those that forwarding is about.
func allowedSysctl(name string) bool {
	if name == "net/ipv4/ip_forward" {
		return true
	}
	rest, six := strings.CutPrefix(name, "net/ipv6/conf/")
	if !six {
		rest, _ = strings.CutPrefix(name, "net/ipv4/conf/")
	}
	device, what, ok := strings.Cut(rest, "/")
	if !ok || rest == name || device == "" || len(device) > 15 {
		return false
	}
	return what == "forwarding" || six && (what == "force_forwarding" || what == "accept_ra")
}

func (p Policy) link(l *Link) error {
	if l.MTU != 0 && l.MTU < 1280 {
		return errors.New("IPv6 needs an MTU of 1280")
	}
	return p.own(l.Device)
}

func (p Policy) own(device string) error {
	if device != p.Device {
		return fmt.Errorf("the device is not %s", p.Device)
	}
	return nil
}

// address allows addresses of the device; for a CLAT those of 192.0.0.0/29 and single IPv6
// addresses.
func (p Policy) address(a *Address) error {
	ip := a.Prefix.Addr()
	if !p.Gateway && (ip.Is4() && (!dsLite.Contains(ip) || a.Prefix.Bits() < dsLite.Bits()) || ip.Is6() && a.Prefix.Bits() != 128) {
		return errors.New("no address of a CLAT")
	}
	if ip.IsLoopback() {
		return errors.New("a loopback address")
	}
	return p.own(a.Device)
}

// route allows any route in the table of its own. In main, routes go to the device: for a
// CLAT one to a single IPv6 address or an IPv4 default route that native ones are preferred
// to, for a gateway any but a default route.
func (p Policy) route(r *Route) error {
	if r.table() == p.table() {
		return nil
	}
	if r.table() != 254 {
		return fmt.Errorf("the table is neither main nor %d", p.table())
	}
	if err := p.own(r.Device); err != nil {
		return err
	}
	switch {
	case p.Gateway && r.Dst.Bits() == 0:
		return errors.New("a default route in main")
	case p.Gateway:
	case r.Dst.Addr().Is6() && r.Dst.Bits() != 128:
		return errors.New("a route in main to more than one IPv6 address")
	case r.Dst.Addr().Is4() && (r.Dst.Bits() != 0 || r.Metric < leastMetric):
		return fmt.Errorf("an IPv4 route in main that is no default route with a metric of %d at least", leastMetric)
	}
	return nil
}

// rule allows rules for the table of its own, about some packets only: for a CLAT those from
// its device or from its IPv4 address.
func (p Policy) rule(r *Rule) error {
	if r.Table != p.table() || r.Priority != p.table() {
		return fmt.Errorf("the table and the priority are not %d", p.table())
	}
	if !some(r.From) && !some(r.To) && r.In == "" {
		return errors.New("it is about all packets")
	}
	if !p.Gateway && r.In != p.Device && (!some(r.From) || r.From.Bits() < dsLite.Bits() || !dsLite.Contains(r.From.Addr())) {
		return fmt.Errorf("it is neither about packets from %s nor from %v", p.Device, dsLite)
	}
	return nil
}

// nat allows NAT for some sources: for a CLAT only of packets that come from its device, or that
// leave by it. Others are the machine's own, and those of other machines.
func (p Policy) nat(n *NAT) error {
	for _, src := range n.Sources {
		if !some(src) {
			return errors.New("it is about all sources")
		}
	}
	if err := p.ownTable(n.Table); err != nil {
		return err
	}
	if !p.Gateway && n.In != p.Device && n.Out != p.Device {
		return fmt.Errorf("it is neither about packets from %s nor about those to it", p.Device)
	}
	return nil
}

// ownTable allows tables of nftables with the name of the device.
func (p Policy) ownTable(name string) error {
	purpose, ok := strings.CutPrefix(name, TableName(p.Device, ""))
	if !ok || purpose == "" || strings.Trim(purpose, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
		return fmt.Errorf("the table is not %s…", TableName(p.Device, ""))
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
