package autogw

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/steppe-nat64/steppe/internal/hostnet"
)

// Device is the TUN device of a gateway.
const Device = "nat64"

// Table is the number of the routing table of a gateway, and the priority of its rules. It is not
// that of a CLAT, which may run beside it.
const Table = 646

// Prefix is the translation prefix: the well-known one, RFC 6052 §2.1.
var Prefix = netip.MustParsePrefix("64:ff9b::/96")

// Options are what an operator may say.
type Options struct {
	LAN  []string     // interfaces of clients; empty: find them
	WAN  string       // interface towards IPv4; empty: that of the default route
	Pool netip.Prefix // IPv4 addresses that are routed to this machine; zero: find some, or masquerade

	// Printed: the plan is not for now, so a gateway may run that has the device.
	Printed bool

	// Keep is the plan that is in effect, or nil: its addresses are kept if nothing else has
	// come to use them.
	Keep *Plan
}

// A Plan is a gateway for a machine.
type Plan struct {
	WAN     string
	Uplinks []string // that have led to the internet since the first plan: they don't become interfaces of clients
	LANs    []LAN

	Pool   []netip.Prefix // of the translator
	Shared bool           // the pool is routed to this machine and shared by port; else it is private, and masqueraded
	Why    string         // of a pool that is shared: what shows that it is routed to this machine

	IPv4, IPv6 netip.Addr // of the translator itself

	Config  string           // a tayga.conf
	Changes []hostnet.Change // of the machine's network, while the daemon runs
	Notes   []string         // what may not be as it is meant
}

// New plans a gateway for a machine. The error says what to give or to do; ErrNotYet is one
// that may go away by itself.
func New(m *Machine, o Options) (*Plan, error) {
	p := new(Plan)
	var err error
	if p.WAN, err = m.wan(o.WAN); err != nil {
		return nil, err
	}
	var notes []string
	p.Uplinks = m.allUplinks(p.WAN, o.Keep)
	if p.LANs, notes, err = m.lans(p.WAN, p.Uplinks, o.LAN); err != nil {
		return nil, err
	}
	p.note(notes...)
	if err := m.rival(); err != nil && o.Keep == nil && !o.Printed {
		return nil, err
	}
	if err := p.choosePool(m, o); err != nil {
		return nil, err
	}
	if p.IPv6, err = m.ownIPv6(p.IPv4, o.Keep); err != nil {
		return nil, err
	}
	for _, l := range p.LANs {
		if len(l.Nets) == 0 {
			p.note(fmt.Sprintf("%s has no IPv6 network but the link-local one: clients need addresses of another, and this machine one of these", l.Link))
		}
	}
	p.Config = p.config()
	p.Changes = p.changes(m, o)
	return p, nil
}

func (p *Plan) note(notes ...string) { p.Notes = append(p.Notes, notes...) }

// choosePool chooses the addresses that clients are seen with.
func (p *Plan) choosePool(m *Machine, o Options) (err error) {
	var notes []string
	var b block
	switch {
	case o.Pool.IsValid():
		p.Pool, notes, err = m.given(o.Pool)
		b.by = "--pool says so"
	case o.Keep != nil && o.Keep.Shared:
		p.Pool, b.by = o.Keep.Pool, o.Keep.Why
	case o.Keep != nil: // a block that came later would end all connections
	default:
		b, p.Pool, notes = m.routed(p.Uplinks)
	}
	if err != nil {
		return err
	}
	p.note(notes...)
	if len(p.Pool) > 0 {
		p.Shared, p.Why, p.IPv4 = true, b.by, p.Pool[0].Addr()
		return nil
	}
	var keep netip.Prefix
	if o.Keep != nil {
		keep = o.Keep.Pool[0]
	}
	pool, err := m.freePool(keep)
	if err != nil {
		return err
	}
	p.Pool, p.IPv4 = []netip.Prefix{pool}, pool.Addr().Next()
	return nil
}

// rival reports a translator that this machine has already.
func (m *Machine) rival() error {
	if l, ok := m.link(Device); ok && (l.Kind != "tun" && l.Kind != "tuntap" || l.Running) {
		return fmt.Errorf("there is an interface %s already: stop the translator that uses it, such as tayga.service, or another tayga --gateway", Device)
	}
	for _, r := range m.Routes {
		if r.Type != Unicast || !r.Dst.Overlaps(Prefix) || r.Dst.Bits() < 64 {
			continue
		}
		for _, name := range r.Links {
			if l, ok := m.link(name); ok && name != Device && (l.Kind == "tun" || l.Kind == "tuntap") {
				return fmt.Errorf("%v leads to %s already: another translator runs on this machine; stop it first", r.Dst, name)
			}
		}
	}
	return nil
}

// localUse is the range for translation inside a network, RFC 8215: addresses of it have no
// meaning elsewhere.
var localUse = netip.MustParsePrefix("64:ff9b:1::/48")

// ownIPv6 chooses the address that the translator's own ICMPv6 errors come from: one that has its
// IPv4 address in the end, of a /96 that this machine has no route into.
func (m *Machine) ownIPv6(own netip.Addr, keep *Plan) (netip.Addr, error) {
	if keep != nil {
		return keep.IPv6, nil
	}
	b := localUse.Addr().As16()
	four := own.As4()
	copy(b[12:], four[:])
	for n := range 256 {
		b[6] = byte(n)
		a := netip.AddrFrom16(b)
		used := slices.ContainsFunc(m.Routes, func(r Route) bool {
			return r.Dst.Bits() > 32 && r.Dst.Contains(a) && !slices.Contains(r.Links, Device)
		})
		if !used {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("this machine routes all of %v, so the translator has no IPv6 address: write a tayga.conf", localUse)
}

// Found says what was found and what is done, a line each.
func (p *Plan) Found() []string {
	lines := []string{"IPv4 by " + p.WAN}
	for _, l := range p.LANs {
		s := "Clients at " + l.Link
		switch {
		case len(l.Clients) > 0:
			s += ": those in " + join(l.Clients)
		case len(l.Nets) > 0:
			s += ", which has " + join(l.Nets)
		}
		lines = append(lines, s)
	}
	if p.Shared {
		return append(lines, fmt.Sprintf("They share %s, which is routed to this machine: %s", join(p.Pool), p.Why))
	}
	return append(lines, fmt.Sprintf("They get addresses of %s, and are seen as this machine: masquerading", join(p.Pool)))
}

func join(list []netip.Prefix) string {
	var words []string
	for _, p := range list {
		s := p.String()
		if p.IsSingleIP() {
			s = p.Addr().String()
		}
		words = append(words, s)
	}
	return strings.Join(words, ", ")
}
