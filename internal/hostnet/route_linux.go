package hostnet

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// routes returns the routes to the destination with the metric, in the table. The kernel
// sends those of the table alone, where it knows how to (4.20).
func (r *Route) routes(h *host) ([]netlink.Route, error) {
	six := r.Dst.Addr().Is6()
	filter := &netlink.Route{Table: r.table()}
	same, err := list(func() (same []netlink.Route, err error) {
		err = h.routes.RouteListFilteredIter(version(six), filter, netlink.RT_FILTER_TABLE, func(other netlink.Route) bool {
			if other.Priority == r.metric() && other.Tos == 0 && fromNet(other.Dst, six) == r.Dst {
				same = append(same, other)
			}
			return true
		})
		return same, err
	})
	if errors.Is(err, unix.ENOENT) { // there is no such table
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("routes: %w", err)
	}
	return same, nil
}

// goes reports whether a route goes where this one does.
func (r *Route) goes(other netlink.Route, index int) bool {
	return other.LinkIndex == index && other.Type == unix.RTN_UNICAST && len(other.MultiPath) == 0 &&
		other.Via == nil && other.Encap == nil && fromIP(other.Gw, r.Dst.Addr().Is6()) == r.Via
}

// is reports whether a route is this one.
func (r *Route) is(other netlink.Route, index int) bool {
	return r.goes(other, index) && other.MTU == r.MTU && fromIP(other.Src, r.Dst.Addr().Is6()) == r.Src
}

func (r *Route) look(h *host) (bool, error) {
	link, err := h.link(r.Device)
	if err != nil {
		return false, err
	}
	same, err := r.routes(h)
	for _, other := range same {
		if r.is(other, link.Attrs().Index) {
			return true, err
		}
	}
	return false, err
}

func (*Route) adopt(_ *host, e *entry) error {
	e.Found = true
	return nil
}

func (*Route) note(*host, *entry) error { return nil }

// make adds the route. One that it replaces, and that is still there, is replaced at once.
func (r *Route) make(h *host, e *entry, instead kind) error {
	link, err := h.link(r.Device)
	if err != nil {
		return err
	}
	route := r.netlink(link)
	add := h.nl.RouteAdd // fails if there is one already
	if before, ok := instead.(*Route); ok {
		if there, err := before.look(h); err == nil && there {
			add = h.nl.RouteReplace
		}
	} else if changed, err := r.changed(h, link, e); err != nil {
		return err
	} else if changed {
		add = h.nl.RouteReplace
	}
	if err := add(route); err != nil {
		if errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("%s: another route is there: %w", r.command(), err)
		}
		return fmt.Errorf("%s: %w", r.command(), err)
	}
	return nil
}

// changed reports whether our route is there, but another program has changed its MTU
// or source address.
func (r *Route) changed(h *host, link netlink.Link, e *entry) (bool, error) {
	if !e.Made {
		return false, nil
	}
	same, err := r.routes(h)
	return len(same) == 1 && r.goes(same[0], link.Attrs().Index), err
}

func (r *Route) netlink(link netlink.Link) *netlink.Route {
	route := &netlink.Route{
		LinkIndex: link.Attrs().Index,
		Dst:       toNet(r.Dst),
		Table:     r.table(),
		Priority:  r.metric(),
		MTU:       r.MTU,
		Protocol:  unix.RTPROT_BOOT,
		Type:      unix.RTN_UNICAST,
		Family:    version(r.Dst.Addr().Is6()),
	}
	if r.Via.IsValid() {
		route.Gw = r.Via.AsSlice()
	} else if r.Dst.Addr().Is4() {
		route.Scope = netlink.SCOPE_LINK
	}
	if r.Src.IsValid() {
		route.Src = r.Src.AsSlice()
	}
	return route
}

// undo removes the route if it still goes there. If it may not have been made, one that goes
// there but differs is another program's.
func (r *Route) undo(h *host, e *entry) error {
	link, err := h.link(r.Device)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	same, err := r.routes(h)
	if err != nil {
		return err
	}
	ours := r.is
	if e.Made {
		ours = r.goes
	}
	for _, other := range same {
		if !ours(other, link.Attrs().Index) {
			continue
		}
		err := h.nl.RouteDel(&other)
		if err != nil && !errors.Is(err, unix.ESRCH) && !gone(err) {
			return fmt.Errorf("delete the route to %v dev %s: %w", r.Dst, r.Device, err)
		}
		return nil
	}
	return nil
}
